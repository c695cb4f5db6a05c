"""Rank correlations of scores with accuracies, and baselines that need no supernet."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import scipy  # loads its parts on first use, since most jobs that import this rank nothing

from rlnas_core.spaces import NASBench201
from rlnas_core.spaces.nas_bench_201 import KERNELS

TIES = ("in-order", "discounted")
"""How Kendall's tau treats ties."""


def kendall(scores: np.ndarray, accuracies: np.ndarray, ties: str = "in-order") -> float:
    """Return Kendall's tau between scores (N,) and accuracies (N,), as in table 2.

    `ties` is `in-order`, as in the authors' code, or `discounted`. `in-order` gives tied scores distinct
    ranks in the order of the list, so that it is defined even if all scores tie. `discounted` is tau-b, which
    is NaN then. Both are equal without ties. Raises `ValueError` for different lengths, NaN and another
    `ties`.
    """
    if ties not in TIES:
        raise ValueError(f"ties: got {ties!r}; accepted: {', '.join(TIES)}")
    pair = list(_checked(scores, accuracies))
    if ties == "in-order":
        pair = [np.argsort(np.argsort(-values, kind="stable")) for values in pair]
    return float(scipy.stats.kendalltau(*pair, variant="b").statistic)


def spearman(scores: np.ndarray, accuracies: np.ndarray) -> float:
    """Return Spearman's rho between scores (N,) and accuracies (N,); NaN if all scores tie.

    Raises `ValueError` as `kendall` does.
    """
    pair = _checked(scores, accuracies)
    return float(scipy.stats.spearmanr(*pair).statistic) if all(map(np.ptp, pair)) else np.nan


def gain_at_top(scores: np.ndarray, accuracies: np.ndarray, share: float = 0.01) -> float:
    """Return the normalised discounted cumulative gain of the `share` of architectures that score highest.

    The gain of an architecture is the share of architectures with lower accuracy, so that random scores give
    about 0.5 and a perfect ranking gives 1. Tied architectures share their gain. Raises `ValueError` as
    `kendall` does.
    """
    scores, accuracies = _checked(scores, accuracies)
    gains = (scipy.stats.rankdata(accuracies) - 1) / (len(accuracies) - 1)
    discounts = 1 / np.log2(2 + np.arange(max(1, round(share * len(scores)))))
    _, tied = np.unique(-scores, return_inverse=True)
    shared = (np.bincount(tied, gains) / np.bincount(tied))[tied]
    found, best = shared[np.argsort(tied)], np.sort(gains)[::-1]
    return float(found[: len(discounts)] @ discounts / (best[: len(discounts)] @ discounts))


def kendall_within(scores: np.ndarray, accuracies: np.ndarray, groups: np.ndarray) -> float:
    """Return the mean of Kendall's tau within groups (N,) of architectures, weighted by their sizes.

    A group in which all scores tie counts as 0. Groups of one architecture or one accuracy are left out; NaN
    if there are no others. Raises `ValueError` as `kendall` does.
    """
    scores, accuracies = _checked(scores, accuracies)
    taus, sizes = [], []
    for group in np.unique(groups):
        rows = groups == group
        if len(np.unique(accuracies[rows])) > 1:
            sizes.append(rows.sum())
            taus.append(np.nan_to_num(kendall(scores[rows], accuracies[rows], "discounted")))
    return float(np.average(taus, weights=sizes)) if sizes else np.nan


def measures(space: NASBench201, scores: np.ndarray, accuracies: np.ndarray) -> dict[str, float]:
    """Return every measure of a ranking of the enumerated space, by name.

    Measures that end in `_connected` cover the 9,445 architectures whose operations are all on live paths, a
    set that some published rankings use. `tau_within_size` compares architectures with equal numbers of
    parameters, which shows what scores add to size. `top` is the accuracy of the architecture with the
    highest score, the first of equals, and `top_permille` the mean over the 16 highest scores.
    """
    scores, accuracies = _checked(scores, accuracies)
    genes = space.enumerate()
    params, _ = space.cost(genes)
    connected = (space.canonical(genes) == genes).all(axis=1)
    best = accuracies[np.argsort(-scores, kind="stable")]
    found = {
        "tau_within_size": kendall_within(scores, accuracies, params),
        "top": float(best[0]),
        "top_permille": float(best[: len(best) // 1000 + 1].mean()),
    }
    for suffix, rows in (("", slice(None)), ("_connected", connected)):
        pair = scores[rows], accuracies[rows]
        found |= {
            f"tau_in_order{suffix}": kendall(*pair),
            f"tau_discounted{suffix}": kendall(*pair, "discounted"),
            f"rho{suffix}": spearman(*pair),
            f"gain_at_top{suffix}": gain_at_top(*pair),
        }
    return found


def bootstrap_interval(
    scores: np.ndarray,
    accuracies: np.ndarray,
    rng: np.random.Generator,
    resamples: int,
    level: float = 0.95,
    ties: str = "in-order",
) -> tuple[float, float]:
    """Return the percentile interval of Kendall's tau over architectures drawn with replacement.

    It shows the variation of tau over architectures of the space, not over seeds of the supernet. Raises
    `ValueError` as `kendall` does.
    """
    scores, accuracies = _checked(scores, accuracies)
    draws = (np.sort(rng.integers(len(scores), size=len(scores))) for _ in range(resamples))
    taus = [kendall(scores[rows], accuracies[rows], ties) for rows in draws]
    low, high = np.quantile(taus, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def correlate(
    space: NASBench201,
    scores: Mapping[str, np.ndarray],
    accuracies: pd.DataFrame,
    columns: Sequence[str],
    resamples: int,
    seed: int,
    ties: str = "in-order",
) -> pd.DataFrame:
    """Return indicator, column, tau, its low and high, and all `measures`.

    There is one row for each pair of an indicator's scores (N,) and a column of accuracies. All intervals are
    drawn with the same seed. Raises `ValueError` as `kendall` does.
    """
    rows = []
    for indicator, values in scores.items():
        for column in columns:
            pair = np.asarray(values), accuracies[column].to_numpy()
            low, high = bootstrap_interval(*pair, np.random.default_rng(seed), resamples, ties=ties)
            found = {"indicator": indicator, "column": column, "tau": kendall(*pair, ties)}
            rows.append(found | {"low": low, "high": high} | measures(space, *pair))
    return pd.DataFrame(rows)


def add_ranks(scores: Iterable[np.ndarray], *, logarithms: bool = True) -> np.ndarray:
    """Return the sums (N,) of log(rank / N), or of ranks, over several scores (N,); the best has rank N.

    Logarithms, as in AZ-NAS, let a low rank in one score cost more than a high one gains. Ties share a rank.
    """
    ranks = (scipy.stats.rankdata(values) for values in scores)
    return np.sum([np.log(rank / len(rank)) if logarithms else rank for rank in ranks], axis=0)


def baselines(space: NASBench201) -> dict[str, np.ndarray]:
    """Return scores (N,) of the enumerated space that only depend on size.

    `conv-weights` is the number of convolution weights of a cell in units of C_in * C_out, and
    `live-conv-weights` that on edges that reach the output. `network-flops` are the FLOPs (multiply-adds) of
    the benchmark's network on CIFAR-10.
    """
    genes = space.enumerate()
    weights = np.array([KERNELS.get(gene, 0) ** 2 for gene in range(len(space.operations))], np.float64)
    _, flops = space.cost(genes)
    return {
        "conv-weights": weights[genes].sum(axis=1),
        "live-conv-weights": weights[space.canonical(genes)].sum(axis=1),
        "network-flops": np.asarray(flops, np.float64),
    }


def _checked(scores: np.ndarray, accuracies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores, accuracies = (np.asarray(values, np.float64) for values in (scores, accuracies))
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
