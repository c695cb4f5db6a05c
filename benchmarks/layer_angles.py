"""Write docs/measurements/layer_angles.csv: rankings by other values from the statistics of supernets.

    python benchmarks/layer_angles.py results/RUN DATASET

Each row of the file is one idea and has, on the connected architectures or on all, Kendall's tau-b with a
dataset's accuracies, mean and standard deviation over seeds, and the margin over its control. The control
is the same formula with each layer's value replaced by the average of its operation.
"""

import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rlnas_core.benchmark.accuracies import INCLUDED, read_table
from rlnas_core.benchmark.ranking import add_ranks, kendall
from rlnas_core.search.results import read_scores
from rlnas_core.spaces import get
from rlnas_core.spaces.nas_bench_201 import CONV_1X1, CONV_3X3, NONE, SKIP
from rlnas_core.training.statistics import Statistics

CSV = Path(__file__).resolve().parents[1] / "docs" / "measurements" / "layer_angles.csv"
SPACE = get("nas_bench_201")
GENES = SPACE.enumerate()
LIVE = SPACE.live_edges(GENES)
CONVOLUTIONS = [CONV_1X1, CONV_3X3]


def score(layers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum times mean of layers' values (cells, 6, 5) over live edges, and its control."""
    kept = np.zeros_like(layers)
    kept[..., CONVOLUTIONS] = layers[..., CONVOLUTIONS]
    counted = len(layers) * np.maximum((LIVE & (GENES != NONE) & (GENES != SKIP)).sum(axis=1), 1)

    def sum_times_mean(values: np.ndarray) -> np.ndarray:
        total = (values.sum(axis=0)[np.arange(6), GENES] * LIVE).sum(axis=1)
        return (total * np.abs(total) / counted).round(12)

    return sum_times_mean(kept), sum_times_mean(np.broadcast_to(kept.mean(axis=(0, 1)), kept.shape))


def added(layers: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `score`, with the logarithms of the ranks of other scores (15625,) added."""
    own, control = score(layers)
    return add_ranks([own, other]), add_ranks([control, other])


def trajectory(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Layers' angles and lengths (T, cells, 6, 5), relative to the first, and the T - 1 learning rates."""
    dot, initial, now = np.moveaxis(Statistics.load(folder / "statistics.npz").operations, -1, 0)
    lengths = np.sqrt(np.where(initial > 0, initial * now, 1))
    angles = np.arccos(np.clip(np.where(initial > 0, dot / lengths, 1), -1, 1))
    rates = (
        pd.read_csv(folder / "training.csv")["learning_rate"] if (folder / "training.csv").exists() else []
    )
    return angles, np.sqrt(np.where(initial > 0, now / np.maximum(initial, 1e-30), 1)), np.asarray(rates)


def ideas(folder: Path, dataset: str) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """Yield each idea with its scores (15625,) and its control's, once per seed."""
    supernets = folder / "supernets/nas_bench_201" / dataset
    seeds = sorted((supernets / "uniform-once/10").iterdir())
    final = {}
    for place in seeds:
        angles, growth, rates = trajectory(place)
        last, final[place] = len(angles) - 1, angles[-1]
        yield "angle at the end", score(angles[-1])
        for draw in range(10):
            order = np.random.default_rng(draw).permutation(angles.shape[2])
            yield "angle at the end, edges shuffled", score(angles[-1][:, order])
        for share in (10, 4, 2):
            yield f"angle after 1/{share} of the training", score(angles[last // share])
        yield "angle gained in the second half", score(angles[-1] - angles[last // 2])
        yield "mean over all epochs", score(angles[1:].mean(axis=0))
        yield "gain per unit of learning rate", score(np.tensordot(1 / rates, np.diff(angles, axis=0), 1))
        yield (
            "share gained in the first quarter",
            score(angles[last // 4] / np.where(angles[-1] > 0, angles[-1], 1)),
        )
        yield "growth of the length", score(np.log(growth[-1]))
        for kind in ("normal", "uniform", "kaiming-normal", "kaiming-uniform"):
            pair = supernets / f"untrained-{kind}/10" / place.name
            if pair.exists():
                untrained, _ = score(trajectory(pair)[0][-1])
                yield f"ranks of an untrained pair added, {kind}", added(angles[-1], untrained)
        file = folder / f"scores/nas_bench_201/{dataset}/jigsaw/24/0/validation-accuracy.csv"
        if file.exists():
            pretext = read_scores(file, SPACE)["validation-accuracy"].to_numpy()
            yield "ranks of jigsaw accuracy added", added(angles[-1], pretext)
        if (supernets / "ground-truth/10" / place.name).exists():
            yield (
                "true labels, for comparison",
                score(trajectory(supernets / "ground-truth/10" / place.name)[0][-1]),
            )
    for one, other in combinations(final.values(), 2):
        yield "mean of two seeds", score((one + other) / 2)
        yield "lower of two seeds", score(np.minimum(one, other))
        disagreement = np.abs(one - other)
        weight = 1 / (1 + disagreement / disagreement[..., CONVOLUTIONS].mean())
        yield "mean of two seeds, weighted by agreement", score(weight * (one + other) / 2)


def main(folder: Path, dataset: str) -> None:
    """Compute, write and print the table."""
    accuracies = read_table(INCLUDED)
    connected = (SPACE.canonical(GENES) == GENES).all(axis=1)
    rows = [
        {"idea": idea, "architectures": int(rows.sum()), "accuracies": name}
        | {"tau": taus[0], "margin": taus[0] - taus[1]}
        for idea, pair in ideas(folder, dataset)
        for rows in (connected, np.ones_like(connected))
        for name in ("cifar10", "cifar100", "imagenet16")
        for reached in [accuracies[f"{name}_test"].to_numpy()[rows]]
        for taus in [[kendall(scores[rows], reached, "discounted") for scores in pair]]
    ]
    keys = ["idea", "architectures", "accuracies"]
    grouped = pd.DataFrame(rows).groupby(keys, sort=False)
    table = grouped.mean().join(grouped.std().add_suffix("_std")).assign(runs=grouped.size())
    table = table.round(4).reset_index().assign(images=f"{folder.name}/{dataset}")
    others = pd.read_csv(CSV).query("images != @table.images.iloc[0]") if CSV.exists() else None
    pd.concat([others, table]).to_csv(CSV, index=False, lineterminator="\n")
    for count, part in table.groupby("architectures"):
        text = {
            name: part[name].map("{:.3f}".format) + " ± " + part[f"{name}_std"].map("{:.3f}".format)
            for name in ("tau", "margin")
        }
        shown = part.assign(**text).pivot(index="idea", columns="accuracies", values=["tau", "margin"])
        print(count, shown.loc[part["idea"].unique()].to_markdown(), sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
