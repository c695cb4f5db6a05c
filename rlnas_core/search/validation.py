"""Validation accuracy of architectures under a supernet's weights (methods A and C, eq. 6)."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlnas_core.images.arrays import ImageArray
from rlnas_core.kernels.engine import accelerate
from rlnas_core.labels.sources import LabelSource
from rlnas_core.machine.devices import pick_device
from rlnas_core.networks.layers import SupernetModule
from rlnas_core.spaces import SearchSpace

_BATCH = 256  # images evaluated at once, to limit memory
_SILENCE = 60  # seconds between lines of the log


def _draw(data: ImageArray, images: int, rng: np.random.Generator) -> np.ndarray:
    return rng.choice(len(data), size=min(images, len(data)), replace=False)


def scorer(
    space: SearchSpace,
    model: SupernetModule,
    calibration: ImageArray,
    validation: ImageArray,
    labels: LabelSource,
    *,
    images: int | None,
    calibration_images: int,
    calibration_batch: int | None = None,
    seed: int,
    device: str = "auto",
    kernels: str = "auto",
    log: Callable[[str], None] = print,
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from genes (N, genes) to accuracies in percent (N,), for any space (Sec. 4.1).

    Batch-norm statistics are recomputed for each architecture from `calibration_images` training images: as
    running statistics over batches of `calibration_batch`, or from all at once. Accuracy is measured on
    `images` validation images, None for all. Both sets of images, and the classes of the latter, are drawn
    once with `seed`. For pretext tasks with several positions per image, accuracy is the mean over positions.
    Architectures with the same canonical form are evaluated once. `device` and `kernels` are as in
    `TrainingSettings`. Raises ValueError without validation images.
    """
    if len(validation) == 0:
        raise ValueError(
            "validation accuracy needs validation images: got 0; give the dataset a labelled part"
        )
    rng = np.random.default_rng(seed)
    calibrating = _draw(calibration, calibration_images, rng)
    if calibration_batch and len(calibrating) % calibration_batch == 1 < len(calibrating):
        calibrating = calibrating[:-1]  # one image alone can have a single value per channel
    chosen = _draw(validation, images or len(validation), rng)
    target_device = pick_device(device)
    model.to(target_device)
    engine = accelerate(model) if target_device.type == "cpu" and kernels == "auto" else None
    if engine is None:
        model.to(memory_format=torch.channels_last)
    model.eval()
    network = engine or model

    def posed(data: ImageArray, indices: np.ndarray, classes: np.ndarray) -> tuple[Tensor, Tensor]:
        return labels.pose(data.plain(indices, target_device), torch.from_numpy(classes).to(target_device))

    # Calibration images get random classes: only pretext tasks use them, to transform the images.
    x, _ = posed(calibration, calibrating, rng.integers(labels.categories, size=len(calibrating)))
    classes = labels(chosen)
    size = _BATCH if target_device.type == "cpu" else 8 * _BATCH
    parts = [slice(start, start + size) for start in range(0, len(chosen), size)]
    batches = [posed(validation, chosen[part], classes[part]) for part in parts]

    def score(genes: np.ndarray) -> np.ndarray:
        distinct, inverse = np.unique(space.canonical(genes), axis=0, return_inverse=True)
        accuracies = _accuracies(network, distinct, x, calibration_batch, batches, log)
        return accuracies[inverse.reshape(-1)]

    return score


@torch.no_grad()
def _accuracies(
    network: Any,
    architectures: np.ndarray,
    calibration: Tensor,
    calibration_batch: int | None,
    batches: Sequence[tuple[Tensor, Tensor]],
    log: Callable[[str], None],
) -> np.ndarray:
    """Accuracies in percent (N,) of architectures (N, genes) on batches of images and targets."""
    accuracies, targets = np.empty(len(architectures)), sum(target.numel() for _, target in batches)
    started = told = time.monotonic()
    for k, architecture in enumerate(architectures):
        with network.calibrated(calibration, architecture, calibration_batch):
            hits = sum((network(part, architecture).argmax(1) == true).sum() for part, true in batches)
        accuracies[k] = 100 * int(hits) / targets
        if (now := time.monotonic()) - told > _SILENCE or k + 1 == len(architectures):
            told, left = now, (now - started) / (k + 1) * (len(architectures) - k - 1)
            log(f"{k + 1} of {len(architectures)} distinct architectures evaluated, {left:.0f} s left")
    return accuracies
