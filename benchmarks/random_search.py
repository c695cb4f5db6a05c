"""Estimate the accuracy that random search finds: the best of 100 random architectures by a noisy ranking.

    python benchmarks/random_search.py

draws rankings with a given Kendall's tau with CIFAR-10's test accuracy from a Gaussian copula. For each
tau it prints mean, standard deviation and quantiles of the accuracy found, in percent, and quantiles of mean
and standard deviation of three searches.
"""

import sys
from pathlib import Path

import numpy as np
from scipy.stats import norm, rankdata

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rlnas_core.benchmark.accuracies import INCLUDED, read_table

TAUS = (0.424, 0.477, 0.540)  # of method A: the paper, 8x8 pixels, the authors' repository
ARCHITECTURES, SEARCHES = 100, 12_000
LEVELS = (0.02, 0.05, 0.25, 0.5, 0.75, 0.95)


def main() -> None:
    """Print a line for each tau."""
    accuracies = read_table(INCLUDED)["cifar10_test"].to_numpy()
    levels = norm.ppf(rankdata(accuracies) / (len(accuracies) + 1))
    rng = np.random.default_rng(0)
    for tau in TAUS:
        correlation = np.sin(np.pi * tau / 2)
        drawn = rng.permuted(np.tile(np.arange(len(accuracies)), (SEARCHES // 100, 1)), axis=1)
        drawn = drawn[:, : 100 * ARCHITECTURES].reshape(SEARCHES, ARCHITECTURES)
        noise = np.sqrt(1 - correlation**2) * rng.normal(size=drawn.shape)
        best = (correlation * levels[drawn] + noise).argmax(axis=1)
        found = accuracies[drawn[np.arange(SEARCHES), best]]
        three = found.reshape(-1, 3)
        print(f"tau {tau}: {found.mean():.2f} ± {found.std(ddof=1):.2f}%; quantiles {LEVELS}:")
        parts = {"one": found, "mean of three": three.mean(axis=1), "deviation": three.std(axis=1, ddof=1)}
        for name, values in parts.items():
            print(f"  {name}: " + " / ".join(f"{value:.2f}" for value in np.quantile(values, LEVELS)))


if __name__ == "__main__":
    main()
