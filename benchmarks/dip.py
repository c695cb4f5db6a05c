"""Find the cause of the dip of Kendall's tau in mid-training: change one part of the angle at a time.

    python benchmarks/dip.py results/laptop cifar10

reads the supernets of a run and writes their rows to docs/measurements/dip.csv, in place of those of the
same image size: image_size, labels, seed, epoch, change, and tau on the three datasets. The changes are

- `none`;
- `pooling shrinks`: the constants of average pooling become shorter with training, as the 3x3 kernels do;
- `no shared weights`: the weights of stem, reduction blocks and classifier are left out;
- `shared weights turn as operations`: the angle of the shared weights is replaced by the mean of the
  operations' angles;
- `edges turn alike`: each operation has its mean over the edges, so that only structure ranks.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rlnas_core.benchmark.accuracies import read_extracted
from rlnas_core.benchmark.ranking import kendall
from rlnas_core.search.angle import angles, group_sums
from rlnas_core.spaces import get
from rlnas_core.spaces.nas_bench_201 import CONV_3X3, KERNELS, POOL
from rlnas_core.training.statistics import Statistics

FILE = Path(__file__).resolve().parents[1] / "docs/measurements/dip.csv"
DATASETS = ("cifar10", "cifar100", "imagenet16")
EPOCHS = (1, 5, 10, 20, 30, 40, 50, 70, 99, 100, 130, 150, 170, 200, 210, 250)
SPACE = get("nas_bench_201")
DOT, INITIAL, FINAL = range(3)


def changed(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Sums of weight groups (G, 3), shared weights first, after each change."""
    operations = sums[1:].reshape(SPACE.num_genes, -1, 3)
    kernels = operations[:, CONV_3X3].sum(axis=0)
    shrunk, turned, bare = sums.copy(), sums.copy(), sums.copy()
    pooling = shrunk[1:].reshape(operations.shape)[:, POOL]  # a view
    pooling[:, FINAL] *= kernels[FINAL] / kernels[INITIAL]
    pooling[:, DOT] *= np.sqrt(kernels[FINAL] / kernels[INITIAL])
    trained = operations[:, list(KERNELS)].reshape(-1, 3)
    angle = angles(np.eye(len(trained)), trained).mean()
    turned[0, DOT] = np.cos(angle) * np.sqrt(sums[0, INITIAL] * sums[0, FINAL])
    bare[0] = 0
    alike = np.concatenate([sums[:1], np.tile(operations.mean(axis=0), (SPACE.num_genes, 1))])
    return {
        "none": sums,
        "pooling shrinks": shrunk,
        "no shared weights": bare,
        "shared weights turn as operations": turned,
        "edges turn alike": alike,
    }


def main(run: str, images: str) -> None:
    """Write the taus of all supernets of a run that were trained on this dataset."""
    accuracies = read_extracted(Path(run) / "benchmark/accuracies.csv")
    size = json.loads((Path(run) / f"data/{images}/dataset.json").read_text())["image_size"]
    genes = SPACE.enumerate()
    usage, rows = SPACE.usage(genes), []
    for file in sorted(Path(run).glob(f"supernets/nas_bench_201/{images}/*/10/*/statistics.npz")):
        labels, _, seed = file.parts[-4:-1]
        statistics = Statistics.load(file)
        for place, epoch in enumerate(statistics.epochs):
            if epoch in EPOCHS:
                for change, sums in changed(group_sums(SPACE, statistics, place)).items():
                    scores = angles(usage, sums)
                    taus = {name: kendall(scores, accuracies[f"{name}_test"].to_numpy()) for name in DATASETS}
                    key = {"image_size": size, "labels": labels, "seed": int(seed), "epoch": epoch}
                    rows.append({**key, "change": change, **taus})
    taus, others = pd.DataFrame(rows).round(4), pd.read_csv(FILE)
    others = others[others["image_size"] != size]
    pd.concat([others, taus]).sort_values("image_size", kind="stable").to_csv(FILE, index=False)
    print(taus.pivot(index=["labels", "seed", "epoch"], columns="change", values="cifar10").to_string())
    print(taus[taus["epoch"] == taus["epoch"].max()].to_string(index=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
