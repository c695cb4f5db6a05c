"""Validation accuracy of architectures under a supernet's weights (methods A and C, eq. 6)."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlnas_core.images.arrays import ImageArray
from rlnas_core.kernels.engine import accelerate
from rlnas_core.labels.sources import LabelSource
from rlnas_core.machine.devices import pick_device
from rlnas_core.machine.fingerprints import code_of, key_of
from rlnas_core.networks.layers import SupernetModule
from rlnas_core.spaces import SearchSpace
from rlnas_core.training.checkpoint import Checkpoint, versions

_BATCH = 256  # images evaluated at once, to limit memory
_SILENCE = 60  # seconds between lines of the log
_CODE = code_of("machine", "spaces", "networks", "kernels", "images", "labels", "search")


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
    checkpoint: str | Path | None = None,
    save_every: float = 600,
    log: Callable[[str], None] = print,
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from genes (N, genes) to accuracies in percent (N,), for any space (Sec. 4.1).

    Batch-norm statistics are recomputed for each architecture from `calibration_images` training images: as
    running statistics over batches of `calibration_batch`, or from all at once. Accuracy is measured on
    `images` validation images, None for all. Both sets of images, and the classes of the latter, are drawn
    once with `seed`. For pretext tasks with several positions per image, accuracy is the mean over positions.
    Architectures with the same canonical form are evaluated once. `device` and `kernels` are as in
    `TrainingSettings`. With a path `checkpoint` the accuracies are saved every so many seconds and when the
    process is asked to stop; the same call resumes from them. Raises ValueError without validation images.
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
    data = [x, *model.state_dict().values(), *(tensor for batch in batches for tensor in batch)]
    settings = [space.name, calibration_batch, target_device.type, kernels, versions()]
    # Hashed one by one: together they may not fit into memory beside those on a GPU.
    hashes = (key_of(tensor.cpu().numpy()) for tensor in data)
    key = key_of(*settings, *hashes, *_CODE) if checkpoint else ""
    saved = Checkpoint(checkpoint, key, every=save_every, log=log)
    known = _restored(saved)

    def score(genes: np.ndarray) -> np.ndarray:
        canonical = space.canonical(genes).astype(np.int8)
        distinct, inverse = np.unique(canonical, axis=0, return_inverse=True)
        with saved.listening():
            _evaluate(network, distinct, x, calibration_batch, batches, known, saved)
        return np.array([known[row.tobytes()] for row in distinct])[inverse.reshape(-1)]

    return score


def _restored(saved: Checkpoint) -> dict[bytes, float]:
    """The accuracies by genes that an interrupted scoring has saved."""
    if (state := saved.restore()) is None:
        return {}
    genes, accuracies = state[0]["genes"].numpy(), state[0]["accuracies"].tolist()
    saved.log(f"resumes from {saved.path}: {len(genes)} distinct architectures evaluated")
    return dict(zip((row.tobytes() for row in genes), accuracies, strict=True))


@torch.no_grad()
def _evaluate(
    network: Any,
    architectures: np.ndarray,
    calibration: Tensor,
    calibration_batch: int | None,
    batches: Sequence[tuple[Tensor, Tensor]],
    known: dict[bytes, float],
    saved: Checkpoint,
) -> None:
    """Add to `known` the accuracies in percent of architectures (N, genes) on images and targets."""
    missing = [row for row in architectures if row.tobytes() not in known]
    count, before = len(architectures), len(architectures) - len(missing)
    targets = sum(target.numel() for _, target in batches)
    started = told = time.monotonic()
    for k, architecture in enumerate(missing, 1):
        with network.calibrated(calibration, architecture, calibration_batch):
            hits = sum((network(part, architecture).argmax(1) == true).sum() for part, true in batches)
        known[architecture.tobytes()] = 100 * int(hits) / targets
        if (now := time.monotonic()) - told > _SILENCE or k == len(missing):
            told, left = now, (now - started) / k * (len(missing) - k)
            saved.log(f"{before + k} of {count} distinct architectures evaluated, {left:.0f} s left")
        if saved.due():
            genes = np.frombuffer(b"".join(known), np.int8).reshape(len(known), -1)
            accuracies = torch.tensor([*known.values()], dtype=torch.float64)
            saved.save({"genes": torch.from_numpy(genes.copy()), "accuracies": accuracies}, {})
            saved.stop_if_asked()
