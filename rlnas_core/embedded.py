"""The benchmark of the demo: every distinct cell trained on small noisy digits."""

import math
import signal
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import kendalltau
from torch.nn import functional as F  # noqa: N812 - the name that torch code gives it

from rlnas_core.kernels.engine import accelerate
from rlnas_core.machine import processes
from rlnas_core.machine.fingerprints import code_of, key_of
from rlnas_core.networks.layers import initialise
from rlnas_core.networks.nas_bench_201 import Supernet
from rlnas_core.spaces import get
from rlnas_core.training.checkpoint import Checkpoint
from rlnas_core.training.optimiser import SGD

_CODE = [Path(__file__), *code_of("kernels", "networks", "training")]
_CALIBRATION = 256  # training images that the statistics of normalisations are recomputed on


@dataclass(frozen=True)
class EmbeddedSettings:
    """The recipe of the embedded benchmark; `noise` is in standard deviations of the images."""

    seed: int = 0
    seeds: int = 8
    channels: int = 8
    cells: int = 1
    images: int = 500
    steps: int = 30
    batch_size: int = 32
    learning_rate: float = 0.3
    momentum: float = 0.9
    weight_decay: float = 0.0
    noise: float = 1.0


def digits(settings: EmbeddedSettings) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy digits (N, 1, 8, 8), standardised and in random order, and their labels (N,)."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(settings.seed)
    order = rng.permutation(len(images))
    images = (images - images.mean()) / images.std()
    images = images + settings.noise * rng.standard_normal(images.shape)
    return (
        torch.from_numpy(images[order].reshape(-1, 1, 8, 8).astype(np.float32)),
        torch.from_numpy(labels[order]),
    )


def train_cell(
    genes: np.ndarray, images: torch.Tensor, labels: torch.Tensor, settings: EmbeddedSettings, seed: int
) -> tuple[float, float]:
    """Train the network of one cell on one seed; its validation and test accuracy in percent.

    The first `settings.images` images (N, 1, 8, 8) train; the rest are validation and test in turn.
    """
    model = Supernet(
        classes=10,
        channels=settings.channels,
        cells=settings.cells,
        in_channels=1,
        choices=[(int(gene),) for gene in genes],
        affine=True,
    )
    initialise(model, torch.Generator().manual_seed(seed))
    network = accelerate(model) or model
    optimiser = SGD(list(model.parameters()), settings.momentum, settings.weight_decay, "zero")
    # Every cell of a seed meets the same batches: what differs between two cells is the cell.
    order = torch.Generator().manual_seed(seed)
    for step in range(settings.steps):
        batch = torch.randint(settings.images, (settings.batch_size,), generator=order)
        F.cross_entropy(network(images[batch], genes), labels[batch]).backward()
        optimiser.step(settings.learning_rate * 0.5 * (1 + math.cos(math.pi * step / settings.steps)))
    unseen = slice(settings.images, None)
    with torch.no_grad(), network.calibrated(images[: min(_CALIBRATION, settings.images)], genes):
        hits = (network(images[unseen], genes).argmax(1) == labels[unseen]).double()
    return 100 * hits[::2].mean().item(), 100 * hits[1::2].mean().item()


def _train_cells(genes: np.ndarray, settings: EmbeddedSettings) -> np.ndarray:
    torch.set_num_threads(1)
    images, labels = digits(settings)
    seeds = range(settings.seed, settings.seed + settings.seeds)
    return np.array([[train_cell(row, images, labels, settings, seed) for seed in seeds] for row in genes])


def _leave_signals_to_parent() -> None:
    processes.end_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def train_embedded_benchmark(
    settings: EmbeddedSettings,
    *,
    workers: int = 1,
    log: Callable[[str], None] = print,
    state_path: str | Path | None = None,
    save_every: float = 600,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table (15625 rows: index, arch, digits_valid, digits_test in percent) and the record of its making.

    Accuracies are means over the seeds. The record holds settings, versions and how well two halves of the
    seeds agree on the test accuracies of the distinct cells (Kendall's tau): what a ranking of it can reach.
    A state is kept at `state_path` every `save_every` seconds and when the process is asked to stop; the same
    call goes on from it, and the caller removes it (`checkpoint.remove_states`).
    """
    space = get("nas_bench_201")
    genes = space.enumerate()
    classes = space.isomorphism_classes()
    _, first = np.unique(classes, return_index=True)
    chunks = np.array_split(np.arange(len(first)), max(1, len(first) // 50))
    accuracies = np.zeros((len(first), settings.seeds, 2))
    versions = {name: version(name) for name in ("torch", "numpy", "scikit-learn")}
    key = key_of(asdict(settings), versions, *_CODE) if state_path else ""
    checkpoint = Checkpoint(state_path, key, every=save_every, log=log)
    trained, spent = 0, 0.0
    if (restored := checkpoint.restore()) is not None:
        tensors, meta = restored
        accuracies[:] = tensors["accuracies"].numpy()
        trained, spent = meta["trained"], meta["spent"]
        log(f"goes on from {state_path}: {trained} of {len(chunks)} parts are trained")
    started = time.monotonic() - spent
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _leave_signals_to_parent)
    with checkpoint.listening():
        try:
            left = chunks[trained:]
            parts = pool.map(_train_cells, [genes[first[rows]] for rows in left], [settings] * len(left))
            for rows, part in zip(left, parts, strict=True):
                accuracies[rows] = part
                trained += 1
                log(f"{rows[-1] + 1} of {len(first)} cells, {time.monotonic() - started:.0f} s")
                if checkpoint.due() or trained == len(chunks):
                    position = {"trained": trained, "spent": time.monotonic() - started}
                    checkpoint.save({"accuracies": torch.from_numpy(accuracies)}, position)
                    checkpoint.stop_if_asked()
        finally:
            pool.shutdown(cancel_futures=True)
    means = accuracies.mean(axis=1)[classes]
    table = pd.DataFrame(
        {
            "index": range(len(genes)),
            "arch": space.to_string(genes),
            "digits_valid": means[:, 0].round(4),
            "digits_test": means[:, 1].round(4),
        }
    )
    test = accuracies[:, :, 1]
    halves = kendalltau(test[:, ::2].mean(axis=1), test[:, 1::2].mean(axis=1)).statistic
    single = [kendalltau(test[:, 0], other).statistic for other in test.T[1:]]
    record = {
        "settings": asdict(settings),
        "versions": versions,
        "cells": len(first),
        "seconds": round(time.monotonic() - started),
        "workers": workers,
        "tau_between_halves": round(float(halves), 4),
        "tau_between_seeds": round(float(np.mean(single)), 4),
        "digits_test_quantiles": np.quantile(means[:, 1], [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1])
        .round(2)
        .tolist(),
    }
    return table, record
