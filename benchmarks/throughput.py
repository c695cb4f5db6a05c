"""Measure the core seconds of training steps against their FLOPs, for `rlnas_core.configuration.plan`.

    python benchmarks/throughput.py

prints milliseconds per step and GFLOP/s (multiply-adds) of each network on one core, and the line through
the networks of each search space.
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - the name that torch code gives it

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rlnas_core.kernels.engine import accelerate
from rlnas_core.spaces import get
from rlnas_core.training.optimiser import SGD
from rlnas_core.training.supernet import SupernetSettings, build

PATHS, REPEATS = 6, 6
DARTS = {"channels": 16, "cells": 8}
MEASURED: list[tuple[str, dict[str, Any], int, int]] = [  # space, sizes, image size, batch
    ("nas_bench_201", {"channels": 8, "cells": 1}, 8, 64),
    ("nas_bench_201", {}, 8, 64),
    ("nas_bench_201", {}, 16, 64),
    ("nas_bench_201", {}, 32, 64),
    ("darts", {"channels": 4, "cells": 3}, 8, 64),
    ("darts", DARTS, 16, 64),
    ("darts", DARTS, 32, 64),
    ("darts", {"channels": 48, "cells": 14, "imagenet": True, "affine": True}, 224, 16),
    ("mobilenet", {}, 8, 64),
    ("mobilenet", {}, 64, 64),
    ("mobilenet", {}, 224, 16),
]


def main() -> None:
    """Print each network's measurement, and for each space the line fitted to its networks."""
    torch.set_num_threads(1)
    points: dict[str, list[tuple[float, float]]] = {}
    for name, sizes, image_size, batch in MEASURED:
        space, settings = get(name), SupernetSettings(**sizes)
        model = build(space, 10, 3, settings, 0)
        network = accelerate(model) or model
        kernels = "torch" if network is model else "own"
        optimiser = SGD(list(model.parameters()), 0.9, 5e-4, "zero")
        images = torch.randn(batch, 3, image_size, image_size).to(memory_format=torch.channels_last)
        target = torch.randint(10, (batch,))
        paths = [space.sample(model.paths, np.random.default_rng(seed)) for seed in range(PATHS)]
        times = np.full((REPEATS, PATHS), np.inf)
        for repeat in range(REPEATS):
            for number, path in enumerate(paths):
                started = time.process_time()
                F.cross_entropy(network(images, path), target).backward()
                optimiser.step(0.025)
                times[repeat, number] = time.process_time() - started
        step = times.min(axis=0).mean()  # minimum, since other processes only make a step longer
        known = {key: value for key, value in sizes.items() if key != "affine"}
        known |= {} if name != "darts" else {"imagenet": settings.imagenet}
        flops = space.cost(np.concatenate(paths), image_size=image_size, classes=10, **known)[1].mean()
        points.setdefault(name, []).append((3 * batch * flops, step))
        print(
            f"{name} {sizes} {image_size} px, batch {batch}, kernels {kernels}: {1e3 * step:.1f} ms, "
            f"{3e-9 * batch * flops / step:.1f} GFLOP/s (multiply-adds)",
            flush=True,
        )
    for name, measured in points.items():
        flops, step = np.array(measured).T
        # Relative errors are minimised, so that small networks count as well.
        constant, slope = np.linalg.lstsq(
            np.stack([1 / step, flops / step], 1), np.ones(len(step)), rcond=None
        )[0]
        print(f"{name}: {1e3 * constant:.1f} ms and {1e-9 / slope:.1f} GFLOP/s (multiply-adds)")


if __name__ == "__main__":
    main()
