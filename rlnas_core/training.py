"""Training a supernet on one sampled path a step (Sec. 3.1, 3.2 and the reference settings)."""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name that torch code gives it
from tqdm import tqdm

from rlnas_core.angle import Statistics
from rlnas_core.checkpoint import Checkpoint, State, generator_states, key_of, set_generators
from rlnas_core.data import ImageArray, augment
from rlnas_core.optimiser import LazySGD
from rlnas_core.spaces import SearchSpace
from rlnas_core.spaces.layers import SupernetModule, initialise

_CHOICES = {
    "path_per": ("cell", "architecture"),
    "unsampled_gradient": ("zero", "absent"),
    "initialisation": ("default", "normal", "uniform"),
    "precision": ("float32", "bfloat16"),
    "device": ("auto", "cpu", "cuda", "mps"),
    "kernels": ("auto", "torch"),
    "schedule": ("cosine", "linear"),
    "decayed": ("all", "convolutions"),
}
_CODE = [
    Path(__file__).parent / name
    for name in ("training.py", "optimiser.py", "kernels.py", "kernels.cpp", "data.py", "labels.py")
] + sorted((Path(__file__).parent / "spaces").glob("*.py"))


class Labels(Protocol):
    """A source of labels: the classes (B,) of images (B,), fixed or drawn anew at each call."""

    categories: int

    @property
    def rng(self) -> np.random.Generator | None:
        """What classes are drawn from; None where they are fixed."""

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        """Draw or look up the classes (B,)."""
        ...


@dataclass(frozen=True)
class SupernetSettings:
    """Settings of a supernet and its training; defaults are the reference's; ValueError for a wrong one."""

    channels: int = 16
    cells: int = 5
    imagenet: bool = False
    affine: bool = False
    epochs: int = 250
    schedule_epochs: int | None = None
    batch_size: int = 64
    learning_rate: float = 0.025
    final_learning_rate: float = 0.001
    momentum: float = 0.9
    schedule: str = "cosine"
    weight_decay: float = 5e-4
    decayed: str = "all"
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None
    path_per: str = "cell"
    unsampled_gradient: str = "zero"
    initialisation: str = "default"
    precision: str = "float32"
    device: str = "auto"
    kernels: str = "auto"

    def __post_init__(self) -> None:
        for name, accepted in _CHOICES.items():
            if getattr(self, name) not in accepted:
                raise ValueError(f"{name}: got {getattr(self, name)!r}; accepted: {', '.join(accepted)}")
        if self.schedule_epochs is not None and self.schedule_epochs < self.epochs:
            raise ValueError(
                f"schedule_epochs: got {self.schedule_epochs}; accepted: epochs ({self.epochs}) or more"
            )


class TrainingDivergedError(RuntimeError):
    """The loss became NaN or infinite."""


def pick_device(name: str) -> torch.device:
    """The device of that name; `auto` takes CUDA, then MPS, then the CPU."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def build(
    space: SearchSpace, classes: int, in_channels: int, settings: SupernetSettings, seed: int
) -> SupernetModule:
    """An untrained supernet whose weights are drawn from its own generator."""
    sizes = {name: getattr(settings, name) for name in space.sizes}
    model = space.supernet(classes=classes, in_channels=in_channels, **sizes)
    initialise(model, torch.Generator().manual_seed(seed), settings.initialisation)
    return model


def _copies(model: SupernetModule) -> list[torch.Tensor]:
    weights = [weight for *_, weight in model.operation_weights()] + model.fixed_weights()
    return [weight.detach().double().cpu().clone(memory_format=torch.contiguous_format) for weight in weights]


def weight_sums(model: SupernetModule, initial: list[torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Sums <W0, Wt>, |W0|^2, |Wt|^2: operations (cells, genes, operations, 3), fixed part (3,)."""
    now = _copies(model)
    sums = np.array(
        [
            ((a * b).sum().item(), (a * a).sum().item(), (b * b).sum().item())
            for a, b in zip(initial, now, strict=True)
        ]
    )
    groups = [(cell, edge, operation) for cell, edge, operation, _ in model.operation_weights()]
    operations = np.zeros((*model.groups, 3))
    np.add.at(operations, tuple(np.array(groups).T), sums[: len(groups)])
    return operations, sums[len(groups) :].sum(axis=0)


def _statistics(
    model: SupernetModule,
    epochs: list[int],
    records: list[tuple[np.ndarray, np.ndarray]],
    meta: dict[str, Any],
) -> Statistics:
    operations, fixed = (np.array(part) for part in zip(*records, strict=True))
    versions = {name: version(name) for name in ("torch", "numpy")}
    return Statistics(
        np.array(epochs), operations, fixed, np.array(model.cell_channels()), {**meta, "versions": versions}
    )


def compare(first: SupernetModule, second: SupernetModule, meta: dict[str, Any]) -> Statistics:
    """Statistics between the weights of two supernets of the same shape, T = 1."""
    return _statistics(second, [0], [weight_sums(second, _copies(first))], meta)


def untrained_statistics(
    space: SearchSpace, description: dict[str, Any], settings: SupernetSettings, seed: int
) -> Statistics:
    """Statistics between two untrained supernets of different seeds (table 7's training-free rows), T = 1."""
    seeds = np.random.SeedSequence(seed).generate_state(2)
    first, second = (
        build(space, description["classes"], description["in_channels"], settings, int(s)) for s in seeds
    )
    return compare(first, second, {"settings": asdict(settings), "seed": seed})


def train_supernet(
    space: SearchSpace,
    data: ImageArray,
    labels: Labels,
    settings: SupernetSettings,
    seed: int,
    *,
    log: Callable[[str], None] = print,
    csv_path: str | Path | None = None,
    state_path: str | Path | None = None,
    save_every: float = 600,
) -> tuple[SupernetModule, Statistics]:
    """Train a supernet on images (N, H, W, C) and labels by SGD, one sampled path a step (eq. 5 and 7).

    Statistics are kept of the start and every epoch. A state is kept at `state_path` after every epoch, every
    `save_every` seconds and when the process is asked to stop; the same call goes on from it. It is the
    caller's to remove (`remove_states`) once the results are written. Raises ValueError where a batch has too
    few images, TrainingDivergedError with epoch and step where the loss is no number; the state of the last
    whole epoch then remains.
    """
    steps = len(data) // settings.batch_size
    if steps == 0:
        raise ValueError(
            f"too few images for a batch: got {len(data)}, batch_size is {settings.batch_size}; "
            "lower supernet.batch_size or give more images"
        )
    device = pick_device(settings.device)
    # Independent streams, so that for instance another path setting leaves the order of images as it was.
    weights_seed, path_seed, order_seed, crop_seed = np.random.SeedSequence(seed).spawn(4)
    path_rng, order_rng = np.random.default_rng(path_seed), np.random.default_rng(order_seed)
    crops = torch.Generator(device).manual_seed(int(crop_seed.generate_state(1)[0]))
    model = build(
        space, labels.categories, data.images.shape[-1], settings, int(weights_seed.generate_state(1)[0])
    )
    initial = _copies(model)
    kernels = "torch"
    if settings.kernels == "auto" and device.type == "cpu" and settings.precision == "float32":
        kernels = "own" if model.accelerate() else kernels
    if kernels == "torch":
        model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    log(f"device {device}, {torch.get_num_threads()} threads, kernels: {kernels}")
    weights = list(model.parameters())
    decays = [settings.weight_decay * (settings.decayed == "all" or weight.ndim == 4) for weight in weights]
    optimiser = LazySGD(weights, settings.momentum, decays, settings.unsampled_gradient)
    mean, std = (torch.tensor(value, dtype=torch.float32, device=device) for value in (data.mean, data.std))
    total = steps * settings.epochs
    scheduled = steps * (settings.schedule_epochs or settings.epochs)
    records, rows = [weight_sums(model, initial)], list[dict[str, Any]]()
    paths = model.paths if settings.path_per == "cell" else 1
    progress = tqdm(total=total, unit="step", disable=not sys.stderr.isatty())
    settled = [space.name, asdict(settings), seed, labels.categories, device.type, kernels, torch.__version__]
    fixed = data.labels if labels.rng else labels(np.arange(len(data)))
    key = key_of(settled, data.images, fixed, *_CODE) if state_path else ""
    checkpoint = Checkpoint(state_path, key, every=save_every, log=log)
    # Sums over an epoch of loss, hits and sound losses; the order's generator is kept as the epoch began.
    sums = torch.zeros(3, dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)
    generators = [path_rng, labels.rng, order_rng]
    first_epoch, first_step, spent = 1, 0, 0.0

    def state(epoch: int, step: int) -> State:
        tensors = {f"weight.{name}": weight for name, weight in model.named_parameters()} | optimiser.state()
        tensors |= {"crops": crops.get_state(), "sums": sums}
        for part, values in enumerate(zip(*records, strict=True)):
            tensors[f"records.{part}"] = torch.from_numpy(np.array(values))
        position = {"epoch": epoch, "step": step, "rows": rows, "spent": time.monotonic() - started}
        return tensors, position | {"generators": generator_states(generators[:2]) + order_state}

    if (restored := checkpoint.restore()) is not None:
        tensors, position = restored
        with torch.no_grad():
            for name, weight in model.named_parameters():
                weight.copy_(tensors[f"weight.{name}"])
            sums.copy_(tensors["sums"])
        optimiser.set_state(tensors)
        crops.set_state(tensors["crops"])
        set_generators(generators, position["generators"])
        records = list(zip(*(tensors[f"records.{part}"].numpy() for part in range(2)), strict=True))
        rows, spent = position["rows"], position["spent"]
        first_epoch, first_step = position["epoch"], position["step"]
        progress.update((first_epoch - 1) * steps + first_step)
        log(f"goes on from {state_path}: epoch {first_epoch}, step {first_step + 1}")
    order_state = generator_states([order_rng])
    started = time.monotonic() - spent
    with checkpoint.listening():
        for epoch in range(first_epoch, settings.epochs + 1):
            order = order_rng.permutation(len(data))
            for step in range(first_step, steps):
                done = (epoch - 1) * steps + step
                left = 1 - done / scheduled
                share = left if settings.schedule == "linear" else 0.5 * (1 - math.cos(math.pi * left))
                rate = (
                    settings.final_learning_rate
                    + (settings.learning_rate - settings.final_learning_rate) * share
                )
                indices = np.sort(order[step * settings.batch_size : (step + 1) * settings.batch_size])
                images = torch.from_numpy(data.images[indices]).to(device)
                target = torch.from_numpy(labels(indices)).to(device)
                x = augment(images, data.pad, data.flip, mean, std, crops)
                with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
                    scores = model(x, space.sample(paths, path_rng))
                loss = F.cross_entropy(scores.float(), target, label_smoothing=settings.label_smoothing)
                loss.backward()
                if settings.clip_norm is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
                if settings.clip_value is not None:
                    nn.utils.clip_grad_value_(model.parameters(), settings.clip_value)
                optimiser.step(rate)
                # Looked at after the epoch: a device that has to answer at every step stands still meanwhile.
                sums[0] += loss.detach()
                sums[1] += (scores.detach().argmax(1) == target).sum()
                sums[2] += torch.isfinite(sums[0])
                progress.update()
                if checkpoint.due() and step + 1 < steps:
                    checkpoint.save(*state(epoch, step + 1))
                    checkpoint.stop_if_asked()
            first_step = 0
            optimiser.settle()
            loss_sum, hits, sound = sums.tolist()
            sums.zero_()
            mean_loss = loss_sum / steps
            if sound < steps:
                raise _diverged(mean_loss, epoch, int(sound) + 1, state_path)
            accuracy = 100 * hits / (steps * settings.batch_size)
            elapsed = time.monotonic() - started
            speed, remaining = (
                epoch * steps * settings.batch_size / elapsed,
                elapsed / epoch * settings.epochs,
            )
            log(
                f"epoch {epoch}/{settings.epochs}: loss {mean_loss:.4f}, accuracy {accuracy:.2f}%, "
                f"learning rate {rate:.5f}, {speed:.0f} images/s, {remaining - elapsed:.0f} s left"
            )
            rows.append({"epoch": epoch, "loss": mean_loss, "accuracy": accuracy, "learning_rate": rate})
            records.append(weight_sums(model, initial))
            order_state = generator_states([order_rng])
            checkpoint.save(*state(epoch + 1, 0))
            checkpoint.stop_if_asked()
    progress.close()
    if csv_path is not None:
        pd.DataFrame(rows).to_csv(csv_path, index=False)
    meta = {
        "settings": asdict(settings), "seed": seed, "categories": labels.categories, "kernels": kernels,
        "device": device.type,
    }  # fmt: skip
    model.engine = None
    return model.cpu(), _statistics(model, list(range(settings.epochs + 1)), records, meta)


def _diverged(loss: float, epoch: int, step: int, state_path: str | Path | None) -> TrainingDivergedError:
    kept = f"; the state after epoch {epoch - 1} is kept at {state_path}" if state_path and epoch > 1 else ""
    return TrainingDivergedError(
        f"the loss is {loss} at epoch {epoch}, step {step}{kept}; lower supernet.learning_rate"
    )
