"""Compare the time to score the whole space from statistics with the time by concatenating weights.

    python benchmarks/angle.py

prints milliseconds for both and their ratio per architecture, in one run, and the time for 100,000 DARTS
architectures.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rlnas_core.search.angle import angles, architecture_angles
from rlnas_core.spaces import get
from rlnas_core.spaces.nas_bench_201 import NONE, PATHS, POOL, SKIP
from rlnas_core.training.supernet import SupernetSettings, build, compare


def main() -> None:
    """Print both times and their ratio per architecture, for the paper's supernet size."""
    space, settings = get("nas_bench_201"), SupernetSettings()
    first, second = (build(space, 10, 3, settings, seed) for seed in (0, 1))
    weights = [
        {(c, e, o): w.detach().double().flatten() for c, e, o, w in m.operation_weights()}
        for m in (first, second)
    ]
    fixed = [torch.cat([w.detach().double().flatten() for w in m.fixed_weights()]) for m in (first, second)]
    statistics = compare(first, second, {})
    genes = space.enumerate()

    def concatenate(row: np.ndarray, model: int) -> torch.Tensor:
        vector = [fixed[model]]
        for path in PATHS:
            if (row[path] == NONE).any():
                continue
            for cell, width in enumerate(statistics.channels):
                for edge in np.flatnonzero(path):
                    if row[edge] == POOL:
                        vector.append(torch.full((9 * int(width),), 1 / 9, dtype=torch.float64))
                    elif row[edge] != SKIP:
                        vector.append(weights[model][cell, edge, int(row[edge])])
        return torch.cat(vector)

    def space_seconds() -> float:
        started = time.perf_counter()
        architecture_angles(space, statistics, genes)
        return time.perf_counter() - started

    whole = min(space_seconds() for _ in range(10))
    chosen = genes[np.random.default_rng(0).choice(len(genes), 100, replace=False)]
    started = time.perf_counter()
    for row in chosen:
        a, b = concatenate(row, 0), concatenate(row, 1)
        torch.arccos(a @ b / (a.norm() * b.norm())).item()
    each = (time.perf_counter() - started) / len(chosen)
    print(f"whole space from statistics: {1e3 * whole:.1f} ms")
    print(f"one architecture by concatenation: {1e3 * each:.2f} ms")
    print(f"ratio per architecture: {each / (whole / len(genes)):.0f}")
    darts = get("darts", paths="any")
    sampled, sums = darts.sample(100_000, np.random.default_rng(0)), np.ones((225, 3))
    started = time.perf_counter()
    angles(darts.usage(sampled), sums)
    print(f"100,000 DARTS architectures: {1e3 * (time.perf_counter() - started):.0f} ms")


if __name__ == "__main__":
    main()
