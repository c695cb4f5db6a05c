"""The benchmark of the demo: every distinct cell trained on small noisy digits."""

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import kendalltau
from torch.nn import functional as F  # noqa: N812 - the name that torch code gives it

from rlnas_core.spaces import get
from rlnas_core.spaces.nas_bench_201_network import Network, initialise


@dataclass(frozen=True)
class EmbeddedSettings:
    """The recipe of the embedded benchmark; `noise` is in standard deviations of the images."""

    replicas: int = 1
    channels: int = 8
    cells: int = 1
    images: int = 500
    steps: int = 12
    batch_size: int = 32
    learning_rate: float = 0.1
    momentum: float = 0.9
    noise: float = 1.0
    seed: int = 0
    checked_cells: int = 300


def _digits(settings: EmbeddedSettings) -> tuple[torch.Tensor, torch.Tensor]:
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
    genes: np.ndarray, images: torch.Tensor, labels: torch.Tensor, settings: EmbeddedSettings
) -> np.ndarray:
    """Train `replicas` stand-alone networks of one cell as one; validation and test percent, (replicas, 2).

    The first `settings.images` images (N, 1, 8, 8) train; the rest are validation and test in turn.
    """
    replicas, size = settings.replicas, settings.batch_size
    # Every cell meets the same weights' seed, images and order: what differs between two cells is the cell.
    generator = torch.Generator().manual_seed(settings.seed)
    model = Network(
        genes, classes=10, channels=settings.channels, cells=settings.cells, in_channels=1, replicas=replicas
    )
    initialise(model, generator)
    model.to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(
        model.parameters(), settings.learning_rate, settings.momentum, nesterov=True, fused=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    model.train()
    for _ in range(settings.steps):
        batch = torch.randint(settings.images, (size, replicas), generator=generator)
        x = images[batch, 0].contiguous(memory_format=torch.channels_last)
        loss = F.cross_entropy(model(x).view(size * replicas, -1), labels[batch].flatten()) * replicas
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        # The running statistics of a few steps lag behind the weights: 256 training images give them anew.
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        model(images[:256].expand(-1, replicas, -1, -1))
        model.eval()
        unseen = slice(settings.images, None)
        scores = model(images[unseen].expand(-1, replicas, -1, -1)).view(-1, replicas, 10)
        hits = (scores.argmax(-1) == labels[unseen, None]).double()
    return 100 * torch.stack([hits[::2].mean(0), hits[1::2].mean(0)], dim=1).numpy()


def _train_cells(genes: np.ndarray, settings: EmbeddedSettings) -> np.ndarray:
    torch.set_num_threads(1)
    images, labels = _digits(settings)
    return np.stack([train_cell(row, images, labels, settings) for row in genes])


def train_embedded_benchmark(
    settings: EmbeddedSettings, *, workers: int = 1, log: Callable[[str], None] = print
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table (15625 rows: index, arch, digits_valid, digits_test in percent) and the record of its making.

    Accuracies are means over the replicas. The record holds settings, versions and Kendall's tau between this
    table's and the next seed's test accuracies of `checked_cells` cells: what a ranking of it can reach.
    """
    space = get("nas_bench_201")
    genes = space.enumerate()
    classes = space.isomorphism_classes()
    _, first = np.unique(classes, return_index=True)
    chunks = np.array_split(first, max(1, len(first) // 50))
    accuracies = np.empty((len(first), settings.replicas, 2))
    started, done = time.monotonic(), 0
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for part in pool.map(_train_cells, [genes[rows] for rows in chunks], [settings] * len(chunks)):
            accuracies[done : done + len(part)] = part
            done += len(part)
            log(f"{done} of {len(first)} cells, {time.monotonic() - started:.0f} s")
    means_of_cells = accuracies.mean(axis=1)
    means = means_of_cells[classes]
    table = pd.DataFrame(
        {
            "index": range(len(genes)),
            "arch": space.to_string(genes),
            "digits_valid": means[:, 0].round(4),
            "digits_test": means[:, 1].round(4),
        }
    )
    checked = np.random.default_rng(settings.seed).choice(len(first), settings.checked_cells, replace=False)
    again = _train_cells(genes[first[checked]], replace(settings, seed=settings.seed + 1)).mean(axis=1)
    record = {
        "settings": asdict(settings),
        "versions": {name: version(name) for name in ("torch", "numpy", "scikit-learn")},
        "cells": len(first),
        "tau_between_seeds": round(float(kendalltau(means_of_cells[checked, 1], again[:, 1]).statistic), 4),
        "digits_test_quantiles": np.quantile(means[:, 1], [0, 0.05, 0.5, 0.95, 1]).round(2).tolist(),
    }
    return table, record
