"""Label sources: the ground truth, the paper's four kinds of random labels, and UnNAS's pretext tasks."""

from collections.abc import Mapping
from itertools import permutations
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rlnas_core import colour
from rlnas_core.config import PRETEXT_TASKS
from rlnas_core.data import ImageArray

FIXED_METHODS = ("ground-truth", "uniform-once", "shuffle-once")
REDRAWN_METHODS = ("uniform-each-step", "shuffle-each-step")
METHODS = FIXED_METHODS + REDRAWN_METHODS


def draw_fixed_labels(
    method: str, ground_truth: np.ndarray | None, n: int, categories: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw the labels of a whole training set once, before training.

    Returns an int64 array (n,) with values below `categories`. Only `uniform-once` needs no ground truth
    (n,), which may be None or -1 where an image has no label. Raises `ValueError` on an unknown or redrawn
    method, on too few categories, and where the ground truth is needed but absent or of another number of
    classes. Paper, section 4.
    """
    if method not in FIXED_METHODS:
        raise ValueError(f"labels: got '{method}'; accepted as labels drawn once: {', '.join(FIXED_METHODS)}")
    if method == "uniform-once":
        return rng.integers(_checked(categories), size=n)
    truth = _checked_truth(method, ground_truth, categories)
    if len(truth) != n:
        raise ValueError(
            f"labels '{method}': got {len(truth)} ground-truth labels for {n} images; one each is needed"
        )
    return truth.copy() if method == "ground-truth" else rng.permutation(truth)


class LabelSource:
    """Where the classes come from that a network learns to tell, and what it is shown for them."""

    name = "fixed"
    categories: int
    rng: np.random.Generator | None = None
    """What classes are drawn from; None where nothing is drawn."""
    head: Mapping[str, Any] = {}
    """What a network for these classes is built with besides."""

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        """Draw or look up the classes of a whole batch, int64 (B,), given its image indices (B,)."""
        raise NotImplementedError

    def pose(self, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Network's input and targets, of augmented images (b, C, S, S) and their classes (b,)."""
        return images, classes


class FixedLabels(LabelSource):
    """Labels (N,) that stay with their images for the whole training."""

    def __init__(self, labels: np.ndarray, categories: int | None = None) -> None:
        self.labels = np.ascontiguousarray(labels, dtype=np.int64)
        self.categories = int(self.labels.max()) + 1 if categories is None else categories
        if self.labels.min() < 0 or self.labels.max() >= self.categories:
            raise ValueError(
                f"labels: got values {self.labels.min()} to {self.labels.max()}; "
                f"accepted: 0 to {self.categories - 1} for {self.categories} categories"
            )

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        """Return the labels of a batch, int64 (B,), given its image indices (B,)."""
        return self.labels[indices]


class RedrawnLabels(LabelSource):
    """Labels drawn anew for every batch: uniformly, or the batch's true labels shuffled (section 4)."""

    rng: np.random.Generator

    def __init__(
        self, method: str, ground_truth: np.ndarray | None, categories: int, rng: np.random.Generator
    ) -> None:
        if method not in REDRAWN_METHODS:
            raise ValueError(
                f"labels: got '{method}'; accepted as labels redrawn: {', '.join(REDRAWN_METHODS)}"
            )
        self.name = self.method = method
        self.categories = _checked(categories)
        self._truth = (
            _checked_truth(method, ground_truth, categories) if method == "shuffle-each-step" else None
        )
        self.rng = rng

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        """Return new labels for a batch, int64 (B,), given its image indices (B,)."""
        if self._truth is None:
            return self.rng.integers(self.categories, size=len(indices))
        return self.rng.permutation(self._truth[indices])


class Rotation(RedrawnLabels):
    """Tell by how many quarter turns, 0 to 3, an image was turned (UnNAS's rotation task)."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__("uniform-each-step", None, 4, rng)
        self.name = "rotation"

    def pose(self, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Images turned counterclockwise, and the turns."""
        turned = torch.stack([images.rot90(turns, (2, 3)) for turns in range(4)])
        return turned[classes, torch.arange(len(images), device=images.device)], classes


class Jigsaw(RedrawnLabels):
    """Tell in which of 24 orders the four quarters of an image were put (UnNAS's jigsaw task).

    The quarters stay one image. UnNAS leaves gaps between them and shows them to the network one by one.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.orders = torch.tensor(list(permutations(range(4))))
        super().__init__("uniform-each-step", None, len(self.orders), rng)
        self.name = "jigsaw"

    def pose(self, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Images whose quarter k, row by row, is the one that the order has at k; ValueError for odd S."""
        side = images.shape[-1]
        if side % 2:
            raise ValueError(f"jigsaw: got images of {side} pixels a side; accepted: an even image_size")
        quarters = images.unflatten(3, (2, -1)).unflatten(2, (2, -1)).movedim((2, 4), (1, 2)).flatten(1, 2)
        rows = torch.arange(len(images), device=images.device)[:, None]
        shuffled = quarters[rows, self.orders.to(images.device)[classes]].unflatten(1, (2, 2))
        return shuffled.movedim((1, 2), (2, 4)).reshape(images.shape), classes


class Colorization(LabelSource):
    """Tell the colours of an image from its lightness, position by position (UnNAS's colour task).

    As in Zhang et al. (2016), a class is a bin of 10 by 10 of Lab's a and b; the bins are the 261 that have a
    colour of sRGB. Positions are those of the last feature map, a quarter of the image's height and width,
    and their colours the mean of Lab there. `mean` and `std` are what images were normalised by; ValueError
    where they are of one channel.
    """

    name = "colorization"
    head: Mapping[str, Any] = {"by_position": True}

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        if len(mean) == 1:
            raise ValueError("colorization: got grey images; give colour images, or no seeds.colorization")
        self.mean, self.std = (torch.tensor(values)[:, None, None] for values in (mean, std))
        self.bins = colour.bins()
        self.categories = len(self.bins)

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        """Zeros, as the classes are in the images."""
        return np.zeros(len(indices), dtype=np.int64)

    def pose(self, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Lightness in place of all three channels, and the bins (b, S/4, S/4) of the colours."""
        mean, std, bins = (part.to(images) for part in (self.mean, self.std, self.bins))
        lab = colour.lab((images * std + mean).clamp(0, 1))
        means = functional.adaptive_avg_pool2d(lab[:, 1:], -(-images.shape[-1] // 4))
        return (lab[:, :1] / 100 - mean) / std, colour.nearest(means, bins)


def label_source(
    method: str, labels: np.ndarray, categories: int, data: ImageArray, rng: np.random.Generator
) -> LabelSource:
    """The source of that name, for images `data`.

    `labels` (N,) are the fixed ones or, for what is redrawn from it, the ground truth. Raises ValueError for
    an unknown name, and for another number of categories than a pretext task has.
    """
    if method in FIXED_METHODS:
        return FixedLabels(labels, categories)
    if method in REDRAWN_METHODS:
        return RedrawnLabels(method, labels, categories, rng)
    if method not in PRETEXT_TASKS:
        raise ValueError(f"labels: got '{method}'; accepted: {', '.join((*METHODS, *PRETEXT_TASKS))}")
    if categories != PRETEXT_TASKS[method]:
        raise ValueError(f"labels '{method}': got {categories} categories, accepted: {PRETEXT_TASKS[method]}")
    if method == "colorization":
        return Colorization(data.mean, data.std)
    return Rotation(rng) if method == "rotation" else Jigsaw(rng)


def _checked(categories: int) -> int:
    if categories < 2:
        raise ValueError(f"categories: got {categories}; accepted: at least 2")
    return categories


def _checked_truth(method: str, ground_truth: np.ndarray | None, categories: int) -> np.ndarray:
    if ground_truth is None or len(ground_truth) == 0 or ground_truth.min() < 0:
        raise ValueError(
            f"labels '{method}' need the ground truth, but the images are unlabelled; use uniform-once"
        )
    classes = int(ground_truth.max()) + 1
    if categories != classes:
        raise ValueError(
            f"labels '{method}' keep the ground truth's classes: got {categories} categories, "
            f"accepted: {classes}; use uniform-once or uniform-each-step for any other number"
        )
    return np.asarray(ground_truth, dtype=np.int64)
