"""Label sources: the ground truth, and the paper's four kinds of random labels."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rlnas_core.labels.methods import FIXED_METHODS, REDRAWN_METHODS

if TYPE_CHECKING:  # importing torch takes seconds, drawing labels doesn't
    from torch import Tensor


def draw_fixed_labels(
    method: str,
    ground_truth: np.ndarray | None,
    n: int,
    categories: int,
    rng: np.random.Generator,
    classes: int | None = None,
) -> np.ndarray:
    """Draw the labels of a whole set of images once, before training.

    Returns an int64 array (n,) with values below `categories` (paper, section 4). All methods but
    `uniform-once` need the ground truth (n,), which may be None or -1 where an image has no label; `classes`
    is its number of classes, by default those that are there. Raises `ValueError` for an unknown or redrawn
    method, for too few categories, and if a method needs the ground truth and it is absent or has another
    number of classes.
    """
    if method not in FIXED_METHODS:
        raise ValueError(f"labels: got '{method}'; accepted as labels drawn once: {', '.join(FIXED_METHODS)}")
    if method == "uniform-once":
        return rng.integers(_checked(categories), size=n)
    truth = _checked_truth(method, ground_truth, categories, classes)
    if len(truth) != n:
        raise ValueError(
            f"labels '{method}': got {len(truth)} ground-truth labels for {n} images; one each is needed"
        )
    return truth.copy() if method == "ground-truth" else rng.permutation(truth)


class LabelSource:
    """The source of the classes that a network learns, and of its inputs for them."""

    name = "fixed"
    categories: int
    rng: np.random.Generator | None = None
    """The generator that draws classes; None where nothing is drawn."""
    head: Mapping[str, Any] = {}
    """Further arguments of a network for these classes."""

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        """Draw or look up the classes of a whole batch, int64 (B,), given its image indices (B,)."""
        raise NotImplementedError

    def identity(self) -> list[Any]:
        """Labels that the result of a training depends on, besides the method and its seed."""
        return []

    def pose(self, images: "Tensor", classes: "Tensor") -> "tuple[Tensor, Tensor]":
        """The network's input and targets for augmented images (b, C, S, S) of classes (b,)."""
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

    def identity(self) -> list[Any]:
        """The labels themselves."""
        return [self.labels]

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        """Return the labels of a batch, int64 (B,), given its image indices (B,)."""
        return self.labels[indices]


class RedrawnLabels(LabelSource):
    """Labels redrawn for every batch: uniformly, or the batch's true labels shuffled (section 4)."""

    rng: np.random.Generator

    def __init__(
        self,
        method: str,
        ground_truth: np.ndarray | None,
        categories: int,
        rng: np.random.Generator,
        classes: int | None = None,
    ) -> None:
        if method not in REDRAWN_METHODS:
            raise ValueError(
                f"labels: got '{method}'; accepted as labels redrawn: {', '.join(REDRAWN_METHODS)}"
            )
        self.name = method
        self.categories = _checked(categories)
        self._truth = (
            _checked_truth(method, ground_truth, categories, classes)
            if method == "shuffle-each-step"
            else None
        )
        self.rng = rng

    def identity(self) -> list[Any]:
        """The true labels to shuffle, if any."""
        return [] if self._truth is None else [self._truth]

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        """Return new labels for a batch, int64 (B,), given its image indices (B,)."""
        if self._truth is None:
            return self.rng.integers(self.categories, size=len(indices))
        return self.rng.permutation(self._truth[indices])


def _checked(categories: int) -> int:
    if categories < 2:
        raise ValueError(f"categories: got {categories}; accepted: at least 2")
    return categories


def _checked_truth(
    method: str, ground_truth: np.ndarray | None, categories: int, classes: int | None = None
) -> np.ndarray:
    if ground_truth is None or len(ground_truth) == 0 or ground_truth.min() < 0:
        raise ValueError(
            f"labels '{method}' need the ground truth, but the images are unlabelled; use uniform-once"
        )
    classes = max(int(ground_truth.max()) + 1, classes or 0)
    if categories != classes:
        raise ValueError(
            f"labels '{method}' keep the ground truth's classes: got {categories} categories, "
            f"accepted: {classes}; use uniform-once or uniform-each-step for any other number"
        )
    return np.asarray(ground_truth, dtype=np.int64)
