"""Rank by angles from the initial weights or those after the first epoch, with and without shared weights.

    python benchmarks/first_weights.py results/laptop/data/cifar10 ground-truth 60 [architecture]

trains the first 60 of 250 epochs of a supernet (16 channels, 5 cells, seed 0) on a run's images with true
labels (`ground-truth`) or random ones (`uniform-once`), and adds Kendall's tau by epoch to
docs/measurements/first_weights.csv. With `architecture` all cells of a step have the same path. The code of
the preceding work on angles saves no initial weights: the first checkpoint, from which it computes angles, is
written after the first epoch. `shared` are the weights of stem, reduction blocks and classifier.
"""

import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rlnas_core.benchmark.accuracies import INCLUDED, read_table
from rlnas_core.benchmark.ranking import kendall
from rlnas_core.images.arrays import load
from rlnas_core.labels.sources import FixedLabels, draw_fixed_labels
from rlnas_core.search.angle import architecture_angles
from rlnas_core.spaces import get
from rlnas_core.training.loop import begin, fit
from rlnas_core.training.supernet import SupernetSettings, SupernetTask, compare

FILE = Path(__file__).resolve().parents[1] / "docs/measurements/first_weights.csv"
DATASETS = ("cifar10", "cifar100", "imagenet16")
SPACE = get("nas_bench_201")
SEED, CATEGORIES = 0, 10


class FollowedTask(SupernetTask):
    """A supernet's training that ranks the space after every epoch by each of the four angles."""

    def follow(self, known: dict[str, object]) -> None:
        """Prepare to rank; `known` are the columns that all rows share."""
        self.known, self.rows = known, []
        self.starts = {"initial": deepcopy(self.model)}
        self.accuracies = read_table(INCLUDED)

    def after_epoch(self, epoch: int) -> dict[str, float]:
        """Add a row for each angle, and write all."""
        for start, model in self.starts.items():
            statistics = compare(model, self.model, {})
            for shared, fixed in ((True, statistics.fixed), (False, np.zeros_like(statistics.fixed))):
                statistics.fixed = fixed
                scores = architecture_angles(SPACE, statistics, SPACE.enumerate())
                taus = {name: kendall(scores, self.accuracies[f"{name}_test"]) for name in DATASETS}
                self.rows.append({**self.known, "epoch": epoch, "start": start, "shared": shared, **taus})
        if epoch == 1:
            self.starts["after the first epoch"] = deepcopy(self.model)
        table = pd.DataFrame(self.rows)
        if FILE.exists():
            kept = pd.read_csv(FILE)
            same = (kept[list(self.known)] == pd.Series(self.known)).all(axis=1)
            table = pd.concat([kept[~same], table])
        table.round(4).to_csv(FILE, index=False)
        return super().after_epoch(epoch)


def main(folder: str, labels: str, epochs: str, path_per: str = "cell") -> None:
    """Train, and write the file after every epoch; earlier rows of such a supernet are replaced."""
    images, truth = load(Path(folder), "train"), np.load(Path(folder) / "train_labels.npy")
    drawn = draw_fixed_labels(labels, truth, len(truth), CATEGORIES, np.random.default_rng([SEED]))
    settings = SupernetSettings(epochs=int(epochs), schedule_epochs=250, path_per=path_per, device="cpu")
    device, (weights, paths, order, crops) = begin(settings, SEED, 4)
    source = FixedLabels(drawn, CATEGORIES)
    task = FollowedTask(SPACE, images, source, settings, [weights, paths, crops], device)
    size = images.images.shape[1]
    task.follow({"image_size": size, "labels": labels, "path_per": path_per, "seed": SEED})
    fit(task, settings, order, device=device, unsampled_gradient=settings.unsampled_gradient)


if __name__ == "__main__":
    main(*sys.argv[1:])
