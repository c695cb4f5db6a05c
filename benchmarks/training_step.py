"""Compare a training step of the supernet with the same network in float32 NCHW eager mode, in one run.

`plain` is that network; `torch` are PyTorch's kernels, as used without a C++ compiler; `own` this project's.
Steps are timed when their paths come for the second time: a long training has met nearly all cells before.
"""

import argparse
import functools
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


def main() -> None:
    """Print the median milliseconds per step of each and its ratio; all use the same paths."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    space, settings = get("nas_bench_201"), SupernetSettings()
    images = torch.randn(settings.batch_size, 3, arguments.image_size, arguments.image_size)
    target = torch.randint(10, (settings.batch_size,))
    times: dict[str, list[float]] = {"plain": [], "torch": [], "own": []}
    runs: dict[str, Any] = {}
    for name in times:
        model = build(space, 10, 3, settings, 0)
        weights = list(model.parameters())
        if name == "plain":
            for weight in weights:
                weight.grad = torch.zeros_like(weight)
            plain = torch.optim.SGD(weights, 0.025, 0.9, weight_decay=5e-4, nesterov=True, foreach=False)
            runs[name] = model, plain.step
        else:
            trained = accelerate(model) if name == "own" else model.to(memory_format=torch.channels_last)
            if trained is None:
                sys.exit("this project's kernels can't be used here; a log of a training says why")
            runs[name] = trained, functools.partial(SGD(weights, 0.9, 5e-4, "zero").step, 0.025)
    rng = np.random.default_rng(0)
    paths = [space.sample(15, rng) for _ in range(arguments.steps)]
    for step, path in enumerate([*paths, *paths]):
        for name, (model, move) in runs.items():
            given = images.contiguous(memory_format=torch.channels_last) if name == "torch" else images
            started = time.perf_counter()
            if name == "plain":
                model.zero_grad(set_to_none=False)
            F.cross_entropy(model(given, path), target).backward()
            move()
            if step >= len(paths):
                times[name].append(time.perf_counter() - started)
    medians = {name: 1e3 * float(np.median(measured)) for name, measured in times.items()}
    for name, median in medians.items():
        print(f"{name}: {median:.1f} ms, {median / medians['plain']:.2f} of plain")


if __name__ == "__main__":
    main()
