"""How good a ranking of the enumerated space is: on two sets, within groups of one size, and at the top."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy.stats import rankdata, spearmanr

from rlnas_core.benchmark.ranking import kendall
from rlnas_core.spaces import NASBench201

_TOP = 0.001  # of the architectures, whose mean accuracy is told


def rank_sum(scores: Iterable[np.ndarray]) -> np.ndarray:
    """Return the sum of log(rank / N) over rankings, (N,), the best of N ranking N (Lee and Ham, 2024)."""
    return np.sum([np.log(rankdata(values) / len(values)) for values in scores], axis=0)


def architecture_sets(space: NASBench201) -> dict[str, np.ndarray]:
    """Return the sets that rankings are measured on, name to mask (15625,).

    `all`, and `live`: the 9,445 architectures of which every operation but `none` reaches the output.
    """
    genes = space.enumerate()
    live = (space.canonical(genes) == genes).all(axis=1)
    return {"all": np.ones(len(genes), dtype=bool), "live": live}


def tau_within(scores: np.ndarray, accuracies: np.ndarray, groups: np.ndarray) -> float:
    """Return the mean of Kendall's tau within groups (N,) by their sizes; where all scores tie it counts 0.

    Groups of one architecture, or of one accuracy, can't be ranked and are left out.
    """
    taus, sizes = [], []
    for group in np.unique(groups):
        rows = groups == group
        if len(np.unique(accuracies[rows])) > 1:
            taus.append(np.nan_to_num(kendall(scores[rows], accuracies[rows])))
            sizes.append(rows.sum())
    return float(np.average(taus, weights=sizes)) if taus else float("nan")


def measure(space: NASBench201, scores: np.ndarray, accuracies: np.ndarray) -> pd.DataFrame:
    """Return set, measure and value of one ranking (15625,) against accuracies (15625,) in percent.

    Measures are Kendall's `tau`, `spearman`, `tau-within` groups of equal parameters, the accuracy of the
    `top` architecture and the mean of the `top-permille`, ties at the top in the space's order.
    """
    params, _ = space.cost(space.enumerate())
    rows = []
    for name, mask in architecture_sets(space).items():
        own, true = scores[mask], accuracies[mask]
        best = true[np.argsort(-own, kind="stable")]
        values = {
            "tau": kendall(own, true),
            "spearman": float(spearmanr(rankdata(own), true).statistic),
            "tau-within": tau_within(own, true, params[mask]),
            "top": best[0],
            "top-permille": best[: round(_TOP * len(best))].mean(),
        }
        rows += [{"set": name, "measure": key, "value": value} for key, value in values.items()]
    return pd.DataFrame(rows)
