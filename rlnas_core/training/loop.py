"""The loop of all trainings: order of images, schedule, checkpoints, several processes."""

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
from rlnas_core.machine.devices import pick_device
from rlnas_core.machine.fingerprints import code_of, key_of
from rlnas_core.networks.layers import normalise_together
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
    The last, smaller batch of an epoch is trained on too (`last_batch` keep) or left out. `lighting` is the
    standard deviation of PCA lighting noise, and `norm_batch` how many images batch norms see together, as
    they do on each GPU of the authors' trainings (null: the batch).
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
    lighting: float = 0.0
    norm_batch: int | None = None
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
        if self.norm_batch is not None and self.batch_size % self.norm_batch:
            raise ValueError(
                f"norm_batch: got {self.norm_batch}; accepted: a divisor of batch_size ({self.batch_size})"
            )

    @classmethod
    def choices(cls) -> dict[str, tuple[str, ...]]:
        """The words that settings accept."""
        return {
            "schedule": ("cosine", "linear", "poly", "steps"),
            "rate_per": ("epoch", "step"),
            "last_batch": ("keep", "drop"),
            "decayed": ("all", "convolutions", "convolutions-and-classifier"),
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
    kernels: str = "torch"
    """What runs the model."""
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
        """Tensors that the task resumes from, besides its model's and its generators' states."""
        return {}

    def set_state(self, tensors: dict[str, Tensor]) -> None:
        """Return to a state that `state` gave."""


@dataclass(frozen=True)
class Run:
    """Where a training says how it goes and what it leaves on the way; nothing of it changes the result.

    `record` is a CSV with a row for each epoch. A checkpoint is kept at `checkpoint` after every epoch, every
    `save_every` seconds and when the process is asked to stop; the same training resumes from it. It is the
    caller's to remove (`remove_states`) once the results are written.
    """

    log: Callable[[str], None] = print
    record: Path | None = None
    checkpoint: Path | None = None
    save_every: float = 600


def begin(
    settings: TrainingSettings, seed: int, streams: int
) -> tuple[torch.device, list[np.random.SeedSequence]]:
    """The device of a training, joined with its other processes, and seeds of independent streams.

    They are independent so that, for instance, another path setting leaves the order of images as it was.
    """
    device = pick_device(settings.device)
    processes.join(device)
    return device, np.random.SeedSequence(seed).spawn(streams)


def drawn(seed: np.random.SeedSequence) -> int:
    """A number from a stream, as torch's generators take it for a seed."""
    return int(seed.generate_state(1)[0])


class _Progress:
    """How far a training is: the position, the sums of the epoch at hand, and the record of those before."""

    def __init__(
        self,
        task: Task,
        optimiser: SGD,
        order_rng: np.random.Generator,
        checkpoint: Checkpoint,
        device: torch.device,
    ) -> None:
        self.task, self.optimiser, self.checkpoint, self.device = task, optimiser, checkpoint, device
        self.epoch, self.step, self.rows = 1, 0, list[dict[str, Any]]()
        self.generators = [*task.generators, order_rng]
        # Sums over an epoch of loss, hits (NaN where none count) and sound losses
        number = torch.float32 if device.type == "mps" else torch.float64
        self.sums = torch.zeros(3, dtype=number, device=device)
        spent = self._resume()
        self.started = time.monotonic() - spent
        self._order_state = generator_states([order_rng])  # as the epoch began

    def _resume(self) -> float:
        """Return to the last checkpoint, if there is one; the seconds that were spent until then."""
        restored: State | None = processes.first_then_others(self.checkpoint.restore)
        if restored is None:
            return 0.0
        tensors, position = restored
        self.task.model.load_state_dict(_named(tensors, "model."))
        if processes.rank() == 0:  # whose the sums of all have become
            self.sums.copy_(tensors["sums"])
        self.optimiser.set_state(tensors)
        self.task.set_state(_named(tensors, "task."))
        set_generators(self.generators, position["generators"])
        self.epoch, self.step, self.rows = position["epoch"], position["step"], position["rows"]
        self.checkpoint.log(f"resumes from {self.checkpoint.path}: epoch {self.epoch}, step {self.step + 1}")
        return position["spent"]

    def save(self, epoch: int, step: int) -> None:
        """Save a checkpoint from which a training resumes at an epoch, from 1, and a step, from 0."""
        if step == 0:
            self._order_state = generator_states(self.generators[-1:])
        total = processes.add_up(self.sums.clone())
        if processes.rank() == 0 and torch.isfinite(total[0]):
            tensors = {f"model.{name}": tensor for name, tensor in self.task.model.state_dict().items()}
            tensors |= self.optimiser.state() | {"sums": total}
            tensors |= {f"task.{name}": tensor for name, tensor in self.task.state().items()}
            states = generator_states(self.generators[:-1]) + self._order_state
            position = {"epoch": epoch, "step": step, "rows": self.rows, "generators": states}
            self.checkpoint.save(tensors, position | {"spent": time.monotonic() - self.started})
        # Any process may be asked to stop; all do.
        signalled = processes.largest(self.checkpoint.signalled or 0, self.device)
        self.checkpoint.signalled = signalled or None
        self.checkpoint.stop_if_asked()

    def add(self, loss: Tensor, hits: Tensor | None) -> None:
        """Add a step; read after the epoch, as a device that has to answer at every step stands still."""
        self.sums[0] += loss.detach()
        self.sums[1] += math.nan if hits is None else hits
        self.sums[2] += torch.isfinite(self.sums[0])

    def mean_of_epoch(self, epoch: int, steps: int, images: int) -> dict[str, float]:
        """Mean loss, and accuracy in percent where it counts; TrainingDivergedError for a NaN loss."""
        loss, right, sound = processes.add_up(self.sums).tolist()
        self.sums.zero_()
        loss /= steps * processes.count()
        if sound < steps * processes.count():
            path, step = self.checkpoint.path, int(sound) // processes.count() + 1
            kept = f"; the last sound checkpoint is kept at {path}" if path and epoch > 1 else ""
            raise TrainingDivergedError(
                f"the loss is {loss} at epoch {epoch}, step {step}{kept}; lower learning_rate"
            )
        return {"loss": loss} | ({} if math.isnan(right) else {"accuracy": 100 * right / images})

    def report(self, row: dict[str, Any], epochs: int, images: int) -> None:
        """Record an epoch and log it with speed and time left."""
        self.rows.append(row)
        epoch, elapsed = row["epoch"], time.monotonic() - self.started
        speed, left = epoch * images / elapsed, elapsed * (epochs / epoch - 1)
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "epoch")
        self.checkpoint.log(f"epoch {epoch}/{epochs}: {numbers}; {speed:.0f} images/s, {left:.0f} s left")


def fit(
    task: Task,
    settings: TrainingSettings,
    order_seed: np.random.SeedSequence,
    *,
    device: torch.device,
    key: Sequence[Any] = (),
    unsampled_gradient: str = "zero",
    run: Run = Run(),
) -> None:
    """Train a task's model by SGD over epochs of its images in random order.

    It resumes from the run's checkpoint where `key` (all that decides the result besides the settings and the
    code) is the same. Raises ValueError where a batch has too few images or can't be shared by the processes,
    TrainingDivergedError with epoch and step where the loss is NaN or infinite; the last checkpoint remains.
    """
    size, images = settings.batch_size, _trained_on(len(task), settings)
    if len(task) < size:
        raise ValueError(
            f"too few images for a batch: got {len(task)}, batch_size is {size}; "
            "lower batch_size or give more images"
        )
    part = processes.part(size)
    if settings.norm_batch and (part.stop - part.start) % settings.norm_batch:
        raise ValueError(
            f"norm_batch: got {settings.norm_batch}; accepted: a divisor of the {part.stop - part.start} "
            "images of a batch that a process has"
        )
    starts, order_rng = range(0, images, size), np.random.default_rng(order_seed)
    steps, leads = len(starts), processes.rank() == 0
    log = run.log if leads else lambda line: None
    log(f"device {device}, {processes.described()}, kernels: {task.kernels}")
    _set_precision(device, settings)
    normalise_together(task.model, settings.norm_batch)
    optimiser = _optimiser(task.model, settings, unsampled_gradient)
    whole_step = task.whole_step(optimiser)
    hashed = _key(task.model, settings, key) if run.checkpoint else ""
    checkpoint = Checkpoint(run.checkpoint, hashed, every=run.save_every, log=log)
    progress = _Progress(task, optimiser, order_rng, checkpoint, device)
    first_epoch, first_step = progress.epoch, progress.step
    bar = tqdm(
        total=steps * settings.epochs,
        initial=(first_epoch - 1) * steps + first_step,
        unit="step",
        disable=not (leads and sys.stderr.isatty()),
    )
    task.model.train()
    with checkpoint.listening():
        for epoch in range(first_epoch, settings.epochs + 1):
            order = order_rng.permutation(len(task))[:images]
            batches = [np.sort(order[start : start + size]) for start in starts]
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
                    due = processes.average_gradients(optimiser.weights, due, look)
                    _clip(optimiser.weights, settings)
                    optimiser.step(rate)
                progress.add(loss, hits)
                bar.update()
                if due and step + 1 < steps:
                    progress.save(epoch, step + 1)
            if task.evaluates and first_step < steps:
                progress.save(epoch, steps)  # a measurement may be cut off
            first_step = 0
            mean = progress.mean_of_epoch(epoch, steps, images)
            rate = settings.rate(epoch - 1 / steps)
            row = {"epoch": epoch, "loss": mean.pop("loss"), "learning_rate": rate, **mean}
            task.model.eval()
            row |= task.after_epoch(epoch)
            task.model.train()
            progress.report(row, settings.epochs, images)
            progress.save(epoch + 1, 0)
    bar.close()
    if leads and run.record is not None:
        pd.DataFrame(progress.rows).to_csv(run.record, index=False)


def _optimiser(model: nn.Module, settings: TrainingSettings, without_gradient: str) -> SGD:
    weights = list(model.parameters())
    decayed = {id(weight) for weight in weights if settings.decayed == "all" or weight.ndim == 4}
    if settings.decayed == "convolutions-and-classifier":
        decayed |= {id(weight) for weight in getattr(model, "classifier", nn.Identity()).parameters()}
    decays = [settings.weight_decay * (id(weight) in decayed) for weight in weights]
    return SGD(weights, settings.momentum, decays, without_gradient, nesterov=settings.nesterov)


def _clip(weights: Sequence[Tensor], settings: TrainingSettings) -> None:
    if settings.clip_norm is not None:
        nn.utils.clip_grad_norm_(weights, settings.clip_norm)
    if settings.clip_value is not None:
        nn.utils.clip_grad_value_(weights, settings.clip_value)


def _set_precision(device: torch.device, settings: TrainingSettings) -> None:
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = not torch.are_deterministic_algorithms_enabled()
        torch.backends.cudnn.allow_tf32 = settings.precision != "float32"
        torch.backends.cuda.matmul.allow_tf32 = settings.precision != "float32"


def _key(model: nn.Module, settings: TrainingSettings, key: Sequence[Any]) -> str:
    """A hash of everything that decides the result of a training."""
    shapes = [(name, list(tensor.shape)) for name, tensor in model.state_dict().items()]
    versions = [version(name) for name in ("torch", "torchvision", "pillow")]
    return key_of(asdict(settings), processes.count(), versions, shapes, *key, *_CODE)


def _trained_on(images: int, settings: TrainingSettings) -> int:
    """How many images an epoch trains on: batches that processes can share, of two images each at least."""
    rest = images % settings.batch_size
    if settings.last_batch == "drop" or rest < 2 * processes.count():
        return images - rest
    return images - rest % processes.count()


def _named(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
