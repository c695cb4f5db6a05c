"""The loop of all trainings: order of images, schedule, states to go on from, several processes."""

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from rlnas_core.machine import processes
from rlnas_core.machine.fingerprints import code_of, key_of
from rlnas_core.training.checkpoint import Checkpoint, State, generator_states, set_generators
from rlnas_core.training.optimiser import SGD

_CODE = code_of("machine", "spaces", "networks", "kernels", "images", "labels", "training")
_LOOKS = 16  # steps of a GPU between two looks at whether another process was asked to stop


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a training by SGD; ValueError for a wrong one.

    The learning rate rises over `warmup_epochs` and falls to the final one over the rest of `schedule_epochs`
    (null: `epochs`): by `schedule` along a cosine, a line, a line to the power of 0.9 (`poly`), or to a tenth
    at each of `step_epochs` (`steps`). It changes with every step or, `rate_per` epoch, only between epochs.
    The last, smaller batch of an epoch is trained on too (`last_batch` keep) or left out.
    """

    epochs: int = 250
    schedule_epochs: int | None = None
    batch_size: int = 64
    learning_rate: float = 0.025
    final_learning_rate: float = 0.001
    schedule: str = "cosine"
    warmup_epochs: float = 0
    step_epochs: tuple[int, ...] = ()
    rate_per: str = "step"
    last_batch: str = "drop"
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    decayed: str = "all"
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None
    precision: str = "float32"
    device: str = "auto"
    kernels: str = "auto"

    def __post_init__(self) -> None:
        for name, accepted in self.choices().items():
            if getattr(self, name) not in accepted:
                raise ValueError(f"{name}: got {getattr(self, name)!r}; accepted: {', '.join(accepted)}")
        if self.schedule_epochs is not None and self.schedule_epochs < self.epochs:
            raise ValueError(
                f"schedule_epochs: got {self.schedule_epochs}; accepted: epochs ({self.epochs}) or more"
            )

    @classmethod
    def choices(cls) -> dict[str, tuple[str, ...]]:
        """The words that settings accept."""
        return {
            "schedule": ("cosine", "linear", "poly", "steps"),
            "rate_per": ("epoch", "step"),
            "last_batch": ("keep", "drop"),
            "decayed": ("all", "convolutions"),
            "precision": ("float32", "tensorfloat32", "bfloat16"),
            "device": ("auto", "cpu", "cuda", "mps"),
            "kernels": ("auto", "torch"),
        }

    def autocast(self, device: torch.device) -> torch.autocast:
        """The context in which a forward pass has the precision asked for."""
        return torch.autocast(
            device.type, torch.bfloat16, enabled=self.precision == "bfloat16", cache_enabled=False
        )

    def rate(self, epoch: float) -> float:
        """The learning rate at a time in epochs, from 0."""
        if self.rate_per == "epoch":
            epoch = math.floor(epoch)
        if epoch < self.warmup_epochs:
            return self.learning_rate * epoch / self.warmup_epochs
        whole = (self.schedule_epochs or self.epochs) - self.warmup_epochs
        left = 1 - (epoch - self.warmup_epochs) / whole
        if self.schedule == "steps":
            return self.learning_rate * 0.1 ** sum(epoch >= step for step in self.step_epochs)
        powers = {"linear": left, "poly": left**0.9, "cosine": 0.5 * (1 - math.cos(math.pi * left))}
        return (
            self.final_learning_rate + (self.learning_rate - self.final_learning_rate) * powers[self.schedule]
        )


class TrainingDivergedError(RuntimeError):
    """The loss became NaN or infinite."""


WholeStep = Callable[[np.ndarray, float], tuple[Tensor, Tensor | None]]
"""Takes a step on images (B,) at a learning rate; the loss, and how many are right."""


class Task:
    """What is trained: a model, and its loss on images by their indices."""

    model: nn.Module
    generators: Sequence[np.random.Generator | None] = ()
    """What the task draws from; drawn alike in every process."""
    evaluates: bool = False
    """Whether `after_epoch` takes long."""

    def __len__(self) -> int:
        """The number of training images."""
        raise NotImplementedError

    def loss(self, indices: np.ndarray, part: slice) -> tuple[Tensor, Tensor | None]:
        """Mean loss over a part of a batch of images (B,), and how many of it are right, where that counts.

        What is drawn is drawn for the whole batch.
        """
        raise NotImplementedError

    def whole_step(self, optimiser: SGD) -> WholeStep | None:
        """What takes whole steps in place of `loss` and the optimiser, whose state it keeps, if anything."""

    def expect(self, indices: np.ndarray) -> None:
        """Make ready for images (b,) that come next."""

    def after_epoch(self, epoch: int) -> dict[str, float]:
        """Do what is due when an epoch has ended, and return numbers for its line in the record."""
        return {}

    def state(self) -> dict[str, Tensor]:
        """Tensors that the task goes on from besides its model's and its generators' states."""
        return {}

    def set_state(self, tensors: dict[str, Tensor]) -> None:
        """Return to a state that `state` gave."""


def fit(
    task: Task,
    settings: TrainingSettings,
    order_rng: np.random.Generator,
    *,
    device: torch.device,
    key: Sequence[Any] = (),
    unsampled_gradient: str = "zero",
    log: Callable[[str], None] = print,
    csv_path: str | Path | None = None,
    state_path: str | Path | None = None,
    save_every: float = 600,
    watch: Callable[[dict[str, Any]], None] | None = None,
) -> None:
    """Train a task's model by SGD over epochs of its images in random order.

    A state is kept at `state_path` after every epoch, every `save_every` seconds and when the process is
    asked to stop; the same call goes on from it, where `key` (all that decides the result besides the
    settings and the code here) is the same. The states are the caller's to remove (`remove_states`) once the
    results are written. `watch` is shown each epoch's row of the record. Raises ValueError where a batch has
    too few images or can't be shared by the processes, TrainingDivergedError with epoch and step where the
    loss is no number; the last sound state then remains.
    """
    size = settings.batch_size
    if len(task) < size:
        raise ValueError(
            f"too few images for a batch: got {len(task)}, batch_size is {size}; "
            "lower batch_size or give more images"
        )
    processes.part(size)
    starts = range(0, _trained_on(len(task), settings), size)
    steps, trained_on = len(starts), _trained_on(len(task), settings)
    leads = processes.rank() == 0
    log = log if leads else lambda line: None
    model, weights = task.model, list(task.model.parameters())
    decays = [settings.weight_decay * (settings.decayed == "all" or weight.ndim == 4) for weight in weights]
    optimiser = SGD(weights, settings.momentum, decays, unsampled_gradient, nesterov=settings.nesterov)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = not torch.are_deterministic_algorithms_enabled()
        torch.backends.cudnn.allow_tf32 = settings.precision != "float32"
        torch.backends.cuda.matmul.allow_tf32 = settings.precision != "float32"
    whole_step = task.whole_step(optimiser)
    hashed = ""
    if state_path:
        shapes = [(name, list(tensor.shape)) for name, tensor in model.state_dict().items()]
        versions = [version(name) for name in ("torch", "torchvision", "pillow")]
        hashed = key_of(asdict(settings), processes.count(), versions, shapes, *key, *_CODE)
    checkpoint = Checkpoint(state_path, hashed, every=save_every, log=log)
    rows = list[dict[str, Any]]()
    progress = tqdm(total=steps * settings.epochs, unit="step", disable=not (leads and sys.stderr.isatty()))
    # Sums over an epoch of loss, hits (NaN where none count) and sound losses. The order's generator is kept
    # as the epoch began.
    sums = torch.zeros(3, dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)
    generators = [*task.generators, order_rng]
    first_epoch, first_step, spent = 1, 0, 0.0

    def save(epoch: int, step: int) -> None:
        total = processes.add_up(sums.clone())
        if leads and torch.isfinite(total[0]):
            tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
            tensors |= optimiser.state() | {"sums": total}
            tensors |= {f"task.{name}": tensor for name, tensor in task.state().items()}
            position = {"epoch": epoch, "step": step, "rows": rows, "spent": time.monotonic() - started}
            states = generator_states(generators[:-1]) + order_state
            checkpoint.save(tensors, position | {"generators": states})

    def stop_if_asked() -> None:
        checkpoint.signalled = processes.largest(checkpoint.signalled or 0, device) or None
        checkpoint.stop_if_asked()

    restored: State | None = processes.first_then_others(checkpoint.restore)
    if restored is not None:
        tensors, position = restored
        model.load_state_dict(_named(tensors, "model."))
        if leads:  # whose the sums of all have become
            sums.copy_(tensors["sums"])
        optimiser.set_state(tensors)
        task.set_state(_named(tensors, "task."))
        set_generators(generators, position["generators"])
        rows, spent = position["rows"], position["spent"]
        first_epoch, first_step = position["epoch"], position["step"]
        progress.update((first_epoch - 1) * steps + first_step)
        log(f"goes on from {state_path}: epoch {first_epoch}, step {first_step + 1}")
    order_state = generator_states([order_rng])
    started = time.monotonic() - spent
    model.train()
    with checkpoint.listening():
        for epoch in range(first_epoch, settings.epochs + 1):
            order = order_rng.permutation(len(task))
            batches = [np.sort(order[:trained_on][start : start + size]) for start in starts]
            for step in range(first_step, steps):
                rate = settings.rate(epoch - 1 + step / steps)
                # One clock says when; any process may be asked to stop.
                due = checkpoint.due() if leads else checkpoint.signalled is not None
                if whole_step is not None:
                    loss, hits = whole_step(batches[step], rate)
                else:
                    part = processes.part(len(batches[step]))
                    with settings.autocast(device):
                        loss, hits = task.loss(batches[step], part)
                    if step + 1 < steps:
                        task.expect(batches[step + 1][processes.part(len(batches[step + 1]))])
                    loss.backward()
                    look = device.type == "cpu" or step % _LOOKS == 0
                    due = processes.average_gradients(weights, due, look)
                    if settings.clip_norm is not None:
                        nn.utils.clip_grad_norm_(weights, settings.clip_norm)
                    if settings.clip_value is not None:
                        nn.utils.clip_grad_value_(weights, settings.clip_value)
                    optimiser.step(rate)
                # Looked at after the epoch: a device that has to answer at every step stands still meanwhile.
                sums[0] += loss.detach()
                sums[1] += math.nan if hits is None else hits
                sums[2] += torch.isfinite(sums[0])
                progress.update()
                if due and step + 1 < steps:
                    save(epoch, step + 1)
                    stop_if_asked()
            if task.evaluates and first_step < steps:
                save(epoch, steps)  # a measurement may be cut off
            first_step = 0
            loss_sum, right, sound = processes.add_up(sums).tolist()
            sums.zero_()
            mean_loss = loss_sum / steps / processes.count()
            if sound < steps * processes.count():
                raise _diverged(mean_loss, epoch, int(sound) // processes.count() + 1, state_path)
            row = {"epoch": epoch, "loss": mean_loss, "learning_rate": settings.rate(epoch - 1 / steps)}
            if not math.isnan(right):
                row["accuracy"] = 100 * right / trained_on
            model.eval()
            row |= task.after_epoch(epoch)
            model.train()
            rows.append(row)
            if watch is not None and leads:
                watch(row)
            elapsed = time.monotonic() - started
            speed, left = epoch * trained_on / elapsed, elapsed * (settings.epochs / epoch - 1)
            numbers = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "epoch")
            log(f"epoch {epoch}/{settings.epochs}: {numbers}; {speed:.0f} images/s, {left:.0f} s left")
            order_state = generator_states([order_rng])
            save(epoch + 1, 0)
            stop_if_asked()
    progress.close()
    if leads and csv_path is not None:
        pd.DataFrame(rows).to_csv(csv_path, index=False)


def _trained_on(images: int, settings: TrainingSettings) -> int:
    """How many images an epoch trains on: batches that processes can share, of two images each at least."""
    rest = images % settings.batch_size
    if settings.last_batch == "drop" or rest < 2 * processes.count():
        return images - rest
    return images - rest % processes.count()


def _named(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _diverged(loss: float, epoch: int, step: int, state_path: str | Path | None) -> TrainingDivergedError:
    kept = f"; the last sound state is kept at {state_path}" if state_path and epoch > 1 else ""
    return TrainingDivergedError(
        f"the loss is {loss} at epoch {epoch}, step {step}{kept}; lower learning_rate"
    )
