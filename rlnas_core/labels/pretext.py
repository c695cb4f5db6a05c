"""UnNAS's pretext tasks as label sources, with the colours in CIE Lab that one of them needs (table 12)."""

from collections.abc import Mapping
from itertools import permutations
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rlnas_core.images.arrays import ImageArray
from rlnas_core.labels.methods import FIXED_METHODS, METHODS, PRETEXT_TASKS, REDRAWN_METHODS
from rlnas_core.labels.sources import FixedLabels, LabelSource, RedrawnLabels

STEP = 10
"""Height and width of a bin of a and b."""

# sRGB's primaries in CIE XYZ (IEC 61966-2-1); white is their sum, so that grey has no colour at all.
_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
_BEND = 6 / 29  # where CIE's cube root turns into a line


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
        self.bins = bins()
        self.categories = len(self.bins)

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        """Zeros, as the classes are in the images."""
        return np.zeros(len(indices), dtype=np.int64)

    def pose(self, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Lightness in place of all three channels, and the bins (b, S/4, S/4) of the colours."""
        mean, std, centres = (part.to(images) for part in (self.mean, self.std, self.bins))
        colours = lab((images * std + mean).clamp(0, 1))
        means = functional.adaptive_avg_pool2d(colours[:, 1:], -(-images.shape[-1] // 4))
        return (colours[:, :1] / 100 - mean) / std, nearest(means, centres)


def label_source(
    method: str, labels: np.ndarray | None, categories: int, data: ImageArray, rng: np.random.Generator
) -> LabelSource:
    """The source of that name, for images `data`.

    `labels` (N,) are the fixed ones, the true ones for `shuffle-each-step`, and None for what needs none.
    Raises ValueError for an unknown name, without labels that a method needs, and for another number of
    categories than a pretext task has.
    """
    if method in FIXED_METHODS:
        if labels is None:
            raise ValueError(f"labels '{method}': got none; give the labels that `draw_fixed_labels` drew")
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


def lab(rgb: Tensor) -> Tensor:
    """L (0 to 100), a and b of sRGB colours (B, 3, H, W) from 0 to 1."""
    primaries = torch.tensor(_XYZ, dtype=rgb.dtype, device=rgb.device)
    primaries = primaries / primaries.sum(1, keepdim=True)
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    # Sums rather than a product of matrices, which autocast would run in bfloat16
    xyz = (linear[:, None] * primaries[:, :, None, None]).sum(2)
    x, y, z = torch.where(xyz > _BEND**3, xyz ** (1 / 3), xyz / (3 * _BEND**2) + 4 / 29).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def bins() -> Tensor:
    """The a and b of the centres of all bins that have a colour of sRGB, (261, 2) float64."""
    shades = torch.linspace(0, 1, 86, dtype=torch.float64)
    colours = lab(torch.cartesian_prod(shades, shades, shades).T[None, :, None])[0, 1:, 0].T
    return STEP * (colours / STEP).round().unique(dim=0)


def nearest(ab: Tensor, bins: Tensor) -> Tensor:
    """The index of the bin (Q, 2) whose centre is nearest to each a and b (B, 2, H, W): int64 (B, H, W)."""
    points = ab.movedim(1, -1)
    distances = torch.cdist(points.flatten(0, 2), bins, compute_mode="donot_use_mm_for_euclid_dist")
    return distances.argmin(1).view(points.shape[:3])
