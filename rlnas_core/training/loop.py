"""The loop of all trainings: order of images, schedule, checkpoints, several processes."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
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
from rlnas_core.training.checkpoint import Checkpoint, versions
from rlnas_core.training.optimiser import SGD
from rlnas_core.training.progress import Progress
from rlnas_core.training.settings import TrainingSettings
from rlnas_core.training.task import Task

_CODE = code_of("machine", "spaces", "networks", "kernels", "images", "labels", "training")
_LOOKS = 16  # steps on a GPU between checks for a request to stop in another process


@dataclass(frozen=True)
class Run:
    """Where a training logs, records and saves checkpoints; none of this changes the result.

    `record` is a CSV with a row for each epoch. A checkpoint is saved at `checkpoint` after every epoch,
    every `save_every` seconds and when the process is asked to stop; the same training resumes from it. The
    caller removes it (`remove_checkpoint`) once the results are written.
    """

    log: Callable[[str], None] = print
    record: Path | None = None
    checkpoint: Path | None = None
    save_every: float = 600


def begin(
    settings: TrainingSettings, seed: int, streams: int
) -> tuple[torch.device, list[np.random.SeedSequence]]:
    """Join the other processes of a training; return its device and the seeds of independent random streams.

    Independent streams keep, for instance, the order of images when only a setting of paths changes.
    """
    device = pick_device(settings.device)
    processes.join(device)
    return device, np.random.SeedSequence(seed).spawn(streams)


def drawn(seed: np.random.SeedSequence) -> int:
    """An integer from a stream, as a seed of a torch generator."""
    return int(seed.generate_state(1)[0])


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

    It resumes from the run's checkpoint if `key` is the same: everything that the result depends on besides
    the settings and the code. Raises ValueError if there are too few images for a batch or the processes
    can't share one. Raises TrainingDivergedError with epoch and step if the loss is NaN or infinite; the last
    checkpoint remains.
    """
    size, images = settings.batch_size, _trained_on(len(task), settings)
    starts, order_rng = range(0, images, size), np.random.default_rng(order_seed)
    steps, leads = len(starts), processes.rank() == 0
    log = run.log if leads else lambda line: None
    log(f"device {device}, {processes.described()}, kernels: {task.kernels}")
    _set_precision(device, settings)
    normalise_together(task.model, settings.norm_batch)
    optimiser = optimiser_of(task.model, settings, unsampled_gradient)
    whole_step = task.whole_step(optimiser)
    hashed = _key(task.model, settings, key) if run.checkpoint else ""
    checkpoint = Checkpoint(run.checkpoint, hashed, every=run.save_every, log=log)
    progress = Progress(task, optimiser, order_rng, checkpoint, device)
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
            following = [batch[processes.part(len(batch))] for batch in batches[1:]] + [order[:0]]
            for step in range(first_step, steps):
                rate = settings.rate(epoch - 1 + step / steps)
                # The first process decides when; any process may be asked to stop.
                due = checkpoint.due() if leads else checkpoint.signalled is not None
                if whole_step is not None:
                    loss, hits = whole_step(batches[step], rate)
                    task.expect(following[step])
                else:
                    part = processes.part(len(batches[step]))
                    with settings.autocast(device):
                        loss, hits = task.loss(batches[step], part)
                    task.expect(following[step])
                    loss.backward()
                    look = device.type == "cpu" or step % _LOOKS == 0
                    due = processes.average_gradients(optimiser.weights, due, look)
                    clip(optimiser.weights, settings)
                    optimiser.step(rate)
                progress.add(loss, hits)
                bar.update()
                if due and step + 1 < steps:
                    progress.save(epoch, step + 1)
            if task.evaluates and first_step < steps:
                progress.save(epoch, steps)  # so that an interrupted measurement loses no step
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


def optimiser_of(model: nn.Module, settings: TrainingSettings, without_gradient: str) -> SGD:
    """The optimiser of a training, with weight decay on the weights that `decayed` names."""
    weights = list(model.parameters())
    decayed = {id(weight) for weight in weights if settings.decayed == "all" or weight.ndim == 4}
    if settings.decayed == "convolutions-and-classifier":
        decayed |= {id(weight) for weight in getattr(model, "classifier", nn.Identity()).parameters()}
    decays = [settings.weight_decay * (id(weight) in decayed) for weight in weights]
    return SGD(weights, settings.momentum, decays, without_gradient, settings.nesterov, settings.kernels)


def clip(weights: Sequence[Tensor], settings: TrainingSettings) -> None:
    """Clip the gradients of weights as the settings say."""
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
    """A hash of everything that the result of a training depends on."""
    shapes = [(name, list(tensor.shape)) for name, tensor in model.state_dict().items()]
    return key_of(asdict(settings), processes.count(), versions(), shapes, *key, *_CODE)


def _trained_on(images: int, settings: TrainingSettings) -> int:
    """The number of images of an epoch; processes get equally many, and they and norm batches two or more.

    Raises ValueError if there are too few for a batch, or a process's part is no multiple of `norm_batch`.
    """
    size = settings.batch_size
    if images < size:
        raise ValueError(
            f"too few images for a batch: got {images}, batch_size is {size}; "
            "lower batch_size or give more images"
        )
    part = processes.part(size)
    if settings.norm_batch and (part.stop - part.start) % settings.norm_batch:
        raise ValueError(
            f"norm_batch: got {settings.norm_batch}; accepted: a divisor of the {part.stop - part.start} "
            "images of a batch that a process has"
        )
    rest = images % size
    if settings.last_batch == "drop" or rest < 2 * processes.count():
        return images - rest
    own, over = divmod(rest, processes.count())
    if settings.norm_batch and own % settings.norm_batch == 1:
        over += processes.count()  # one image alone can have a single value per channel
    return images - over
