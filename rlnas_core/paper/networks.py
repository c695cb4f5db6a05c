"""Compare rankings of a large space with accuracies of stand-alone networks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rlnas_core.benchmark.ranking import add_ranks, bootstrap_interval, kendall, spearman
from rlnas_core.paper.formats import write_texts
from rlnas_core.paper.numbers import PAPER
from rlnas_core.paper.rankings import needs
from rlnas_core.paper.tables import DASH, title
from rlnas_core.search.angle import indicators
from rlnas_core.spaces import SearchSpace
from rlnas_core.training.statistics import Statistics

CEILING = "the same training with another seed"
_LABELS = "uniform-once"


@dataclass(frozen=True)
class SeedScores:
    """Scores (N,) of one seed, and whether they need images, labels and training."""

    row: str
    needs: str
    seed: int
    scores: np.ndarray


def collect(
    space: SearchSpace,
    genes: np.ndarray,
    statistics: Mapping[int, Statistics],
    proxies: Mapping[int, pd.DataFrame],
    pooling: str = "reference",
    **network: Any,
) -> list[SeedScores]:
    """Return the scores of architectures (N, genes) by every ranking of a run.

    `statistics` of supernets and `proxies` are by seed. `proxies` has one row per architecture and one column
    per score. `network` gives the sizes for `cost`.
    """
    sizes = zip(("parameters", "network-flops"), space.cost(genes, **network), strict=True)
    found = [SeedScores(name, "", 0, np.asarray(size, np.float64)) for name, size in sizes]
    for seed in sorted({*statistics, *proxies}):
        angles = indicators(space, statistics[seed], genes, pooling=pooling) if seed in statistics else {}
        others = {str(name): np.asarray(of) for name, of in proxies[seed].items()} if seed in proxies else {}
        scores = angles | others
        found += [
            SeedScores(f"{_LABELS}/{name}", needs(_LABELS, "angle"), seed, scores[name]) for name in angles
        ]
        found += [SeedScores(name, needs(_LABELS, name), seed, scores[name]) for name in others]
        for name, parts in PAPER["rankings"]["rank_sums"].items():
            columns = [column for part in parts.values() for column in part]
            if set(columns) <= scores.keys():
                values = add_ranks(scores[column] for column in columns)
                found.append(SeedScores(name, needs(_LABELS, name), seed, values))
    return found


def measure(rankings: Iterable[SeedScores], accuracies: pd.DataFrame, resamples: int) -> pd.DataFrame:
    """Return how well rankings agree with accuracies.

    `accuracies` are in percent, with one row per architecture and one column per seed. `tau` is Kendall's
    tau-b with the mean accuracy over seeds, `low` and `high` its 95% interval over networks, and `rho`
    Spearman's rho. `tau_one` is the mean of tau-b with the accuracies of each seed. The row `CEILING` is the
    agreement between two seeds, the largest `tau_one` that a ranking can be expected to reach.
    """
    mean, columns = accuracies.mean(axis=1).to_numpy(), [of.to_numpy() for _, of in accuracies.items()]
    rows = []
    for ranking in rankings:
        low, high = bootstrap_interval(
            ranking.scores, mean, np.random.default_rng(0), resamples, ties="discounted"
        )
        row = {"row": ranking.row, "needs": ranking.needs, "seed": ranking.seed}
        row |= {"tau": kendall(ranking.scores, mean, "discounted"), "low": low, "high": high}
        row["rho"] = spearman(ranking.scores, mean)
        rows.append(row | {"tau_one": np.mean([kendall(ranking.scores, of, "discounted") for of in columns])})
    pairs = [kendall(one, other, "discounted") for one, other in permutations(columns, 2)]
    if pairs:
        ceiling = {"row": CEILING, "needs": "images, labels, training", "seed": 0}
        rows.insert(0, ceiling | {"tau_one": np.mean(pairs)})
    return pd.DataFrame(rows).round(6)


def write(measured: pd.DataFrame, networks: int, stem: Path | str) -> None:
    """Write the result of `measure` as STEM.csv, and as a readable table, best first, as STEM.md."""
    values = measured.columns.drop(["row", "needs", "seed"])
    grouped = measured.groupby(["row", "needs"], sort=False)[list(values)]
    means, spread = grouped.mean(), grouped.std()
    order = means["tau_one"].sort_values(ascending=False, kind="stable").index

    def number(mean: float, deviation: float) -> str:
        text = DASH if np.isnan(mean) else f"{mean:.3f}"
        return text if np.isnan(deviation) else f"{text} ± {deviation:.3f}"

    def line(key: Any) -> dict[str, str]:
        cells = {name: number(means.loc[key, name], spread.loc[key, name]) for name in values}
        interval = f"{means.loc[key, 'low']:.2f} to {means.loc[key, 'high']:.2f}"
        return {
            "Ranking": title(key[0]),
            "Needs": key[1] or "nothing",
            "tau-b, one training": cells["tau_one"],
            "tau-b, mean accuracy": cells["tau"],
            "95% interval": DASH if np.isnan(means.loc[key, "low"]) else interval,
            "rho, mean accuracy": cells["rho"],
        }

    shown = pd.DataFrame(map(line, order))
    caption = (
        f"**Rankings of {networks} networks.** Kendall's tau-b and Spearman's rho with the accuracies of "
        "networks trained by themselves, best first: with one training of each network, and with the mean "
        "over its trainings. Mean ± sample standard deviation over seeds of the ranking; intervals are over "
        "networks, drawn with replacement. No ranking can be expected beyond what another seed of the "
        "training reaches."
    )
    text = f"{caption}\n\n{shown.to_markdown(index=False, disable_numparse=True)}\n"
    write_texts(stem, measured, md=text)
