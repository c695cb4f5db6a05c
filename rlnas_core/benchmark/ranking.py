"""How well scores rank the whole space: Kendall's tau, its interval, and baselines that need no supernet."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from rlnas_core.spaces import NASBench201
from rlnas_core.spaces.nas_bench_201 import KERNELS


def kendall(scores: np.ndarray, accuracies: np.ndarray) -> float:
    """Return Kendall's tau (variant b) between scores (N,) and accuracies (N,), as in table 2.

    It is nan where all scores tie. Raises `ValueError` on different lengths or values that are no numbers.
    """
    scores, accuracies = _checked(scores, accuracies)
    return float(kendalltau(scores, accuracies, variant="b").statistic)


def bootstrap_interval(
    scores: np.ndarray, accuracies: np.ndarray, rng: np.random.Generator, resamples: int, level: float = 0.95
) -> tuple[float, float]:
    """Return the percentile interval of Kendall's tau over architectures drawn with replacement.

    It says how far tau would move with other architectures of the space, not with another seed of the
    supernet. Raises `ValueError` as `kendall` does.
    """
    scores, accuracies = _checked(scores, accuracies)
    draws = (rng.integers(len(scores), size=len(scores)) for _ in range(resamples))
    taus = [kendall(scores[rows], accuracies[rows]) for rows in draws]
    low, high = np.quantile(taus, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def correlate(
    scores: Mapping[str, np.ndarray],
    accuracies: pd.DataFrame,
    columns: Sequence[str],
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Return indicator, column, tau, low and high: each indicator's scores (N,) against each column.

    Every interval is drawn with the same seed. Raises `ValueError` as `kendall` does.
    """
    rows = []
    for indicator, values in scores.items():
        for column in columns:
            pair = np.asarray(values), accuracies[column].to_numpy()
            low, high = bootstrap_interval(*pair, np.random.default_rng(seed), resamples)
            rows.append(
                {"indicator": indicator, "column": column, "tau": kendall(*pair), "low": low, "high": high}
            )
    return pd.DataFrame(rows)


def baselines(space: NASBench201) -> dict[str, np.ndarray]:
    """Return scores (N,) of the enumerated space that only look at its size.

    `conv-weights` counts convolution weights, `live-conv-weights` those on edges that reach the output, both
    of one cell and in units of C_in * C_out; `macs` are the multiply-accumulates of the benchmark's network
    on CIFAR-10.
    """
    genes = space.enumerate()
    weights = np.array([KERNELS.get(gene, 0) ** 2 for gene in range(len(space.operations))], np.float64)
    _, macs = space.cost(genes)
    return {
        "conv-weights": weights[genes].sum(axis=1),
        "live-conv-weights": weights[space.canonical(genes)].sum(axis=1),
        "macs": np.asarray(macs, np.float64),
    }


def _checked(scores: np.ndarray, accuracies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores, accuracies = np.asarray(scores), np.asarray(accuracies)
    if scores.shape != accuracies.shape or scores.ndim != 1 or len(scores) < 2:
        raise ValueError(
            f"ranking: got scores {scores.shape} and accuracies {accuracies.shape}; accepted: two vectors "
            "of the same architectures, two at least"
        )
    for name, values in (("scores", scores), ("accuracies", accuracies)):
        if np.isnan(values).any():
            raise ValueError(
                f"ranking: {np.isnan(values).sum()} {name} are no numbers; give one for every architecture"
            )
    return scores, accuracies
