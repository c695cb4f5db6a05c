"""Simulate random search: the best of 100 random architectures by the scores of a finished run.

    python benchmarks/random_search.py results/RUN/scores/.../validation-accuracy.csv

draws 12,000 searches. It prints mean, standard deviation and quantiles of the accuracy found on CIFAR-10, in
percent, and quantiles of mean and standard deviation of three searches.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rlnas_core.benchmark.accuracies import INCLUDED, read_table
from rlnas_core.search.results import read_scores
from rlnas_core.spaces import get

ARCHITECTURES, SEARCHES = 100, 12_000
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def main(file: Path) -> None:
    """Draw the searches and print."""
    accuracies = read_table(INCLUDED)["cifar10_test"].to_numpy()
    scores = read_scores(file, get("nas_bench_201"))[file.stem].to_numpy()
    rng = np.random.default_rng(0)
    drawn = rng.permuted(np.tile(np.arange(len(scores)), (SEARCHES // 100, 1)), axis=1)
    drawn = drawn[:, : 100 * ARCHITECTURES].reshape(SEARCHES, ARCHITECTURES)
    found = accuracies[drawn[np.arange(SEARCHES), scores[drawn].argmax(axis=1)]]
    three = found.reshape(-1, 3)
    print(f"{found.mean():.2f} ± {found.std(ddof=1):.2f}%; quantiles {LEVELS}:")
    parts = {"one": found, "mean of three": three.mean(axis=1), "deviation": three.std(axis=1, ddof=1)}
    for name, values in parts.items():
        print(f"{name}: " + " / ".join(f"{value:.2f}" for value in np.quantile(values, LEVELS)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
