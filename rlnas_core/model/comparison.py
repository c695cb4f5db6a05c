"""Accuracies of trained networks on the same held-out images, and differences, with intervals."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest
from scipy.stats import t as student
from torch import nn

from rlnas_core.images.arrays import ImageArray

_BATCH = 256
_LEVEL = 0.95


@torch.no_grad()
def hits(model: nn.Module, images: ImageArray, labels: np.ndarray) -> np.ndarray:
    """Which of N images a model, set to evaluation mode, classifies as in `labels` (N,), (N,) bool."""
    model.eval()
    device = next(model.parameters()).device
    parts = np.array_split(np.arange(len(images)), 1 + len(images) // _BATCH)
    found = [model(images.plain(part, device)).argmax(1).cpu().numpy() for part in parts]
    return np.concatenate(found) == labels


def stacked(right: Mapping[tuple[str, int], np.ndarray]) -> dict[str, np.ndarray]:
    """Join the `hits` (images,) of each (network, seed) to an array (runs, images) per network.

    The networks `random-SEED` count as runs of one network, `random`.
    """
    runs: dict[str, list[np.ndarray]] = {}
    for (name, _), values in sorted(right.items(), key=lambda item: item[0][1]):
        runs.setdefault("random" if name.startswith("random-") else name, []).append(values)
    return {name: np.stack(values) for name, values in runs.items()}


def interval(right: np.ndarray) -> tuple[float, float, float]:
    """Mean of values (runs, images), and its 95% confidence interval over runs and images.

    Runs and images are both samples. The variance of the mean is the variance of the runs' means divided by
    the number of runs, plus the variance of the images' means divided by the number of images. The interval
    uses Student's t with Satterthwaite's degrees of freedom. For one run it is over images alone. Values
    without any variance have none: NaN.
    """
    right = np.asarray(right, np.float64)
    variances, degrees = [], []
    for means in (right.mean(axis=1), right.mean(axis=0)):
        if len(means) > 1:
            variances.append(means.var(ddof=1) / len(means))
            degrees.append(len(means) - 1)
    mean, total = float(right.mean()), sum(variances)
    if not total:
        return mean, np.nan, np.nan
    freedom = total**2 / sum(v**2 / d for v, d in zip(variances, degrees, strict=True))
    reach = float(student.ppf((1 + _LEVEL) / 2, freedom) * np.sqrt(total))
    return mean, mean - reach, mean + reach


def _accuracy(right: np.ndarray) -> tuple[float, float, float]:
    """Share of right answers (runs, images) and its interval, Wilson's over images if t's leaves 0 to 1."""
    share, low, high = interval(right)
    if not 0 <= low <= high <= 1:
        images = right.shape[1]
        low, high = binomtest(round(share * images), images).proportion_ci(_LEVEL, method="wilson")
    return share, low, high


def compare(right: Mapping[str, np.ndarray], reference: str) -> pd.DataFrame:
    """Return accuracies of networks in percent, and by how much `reference` is better than each.

    `right` says which images each run classified right, (runs, images) bool, by network; runs and images of
    all networks are paired by index. Columns are network, runs, images, accuracy, low, high, and better,
    better_low and better_high in percentage points; a difference that is the same on all images and in all
    runs has no interval. Raises ValueError for different numbers of runs or images.
    """
    rows = []
    for name, own in right.items():
        if own.shape != right[reference].shape:
            raise ValueError(
                f"{name}: got {own.shape} (runs, images); accepted: those of {reference}, "
                f"{right[reference].shape}"
            )
        accuracy = _accuracy(own)
        better = interval(right[reference].astype(np.float64) - own)
        row = {"network": name, "runs": own.shape[0], "images": own.shape[1]}
        row |= dict(zip(("accuracy", "low", "high"), accuracy, strict=True))
        if name != reference:
            row |= dict(zip(("better", "better_low", "better_high"), better, strict=True))
        rows.append(row)
    table = pd.DataFrame(rows)
    measured = table.columns[3:]
    table[measured] = 100 * table[measured]
    return table
