"""UnNAS's pretext tasks as label sources, and the CIE Lab colours that colorization needs (table 12)."""

from collections.abc import Mapping
from functools import cache
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

# sRGB's primaries in CIE XYZ (IEC 61966-2-1). White is their sum, so that a and b of grey are zero.
_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
_BEND = 6 / 29  # where CIE's cube root becomes linear


class Rotation(RedrawnLabels):
    """Predict the rotation of an image, 0 to 3 quarter turns (UnNAS's rotation task)."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__("uniform-each-step", None, 4, rng)
        self.name = "rotation"

    def pose(self, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Images turned counterclockwise, and the numbers of quarter turns (b,)."""
        turned = torch.stack([images.rot90(turns, (2, 3)) for turns in range(4)])
        return turned[classes, torch.arange(len(images), device=images.device)], classes


class Jigsaw(RedrawnLabels):
    """Predict the order of the four quarters of an image, one of 24 (UnNAS's jigsaw task).

    The shuffled quarters form one image. UnNAS leaves gaps between them and gives them to the network one by
    one.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.orders = torch.tensor(list(permutations(range(4))))
        super().__init__("uniform-each-step", None, len(self.orders), rng)
        self.name = "jigsaw"

    def pose(self, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Images with their quarters, row by row, in the drawn orders; ValueError for odd S."""
        side = images.shape[-1]
        if side % 2:
            raise ValueError(f"jigsaw: got images of {side} pixels a side; accepted: an even image_size")
        quarters = images.unflatten(3, (2, -1)).unflatten(2, (2, -1)).movedim((2, 4), (1, 2)).flatten(1, 2)
        rows = torch.arange(len(images), device=images.device)[:, None]
        self.orders = self.orders.to(images.device)  # kept there: every copy waits for a GPU
        shuffled = quarters[rows, self.orders[classes]].unflatten(1, (2, 2))
        return shuffled.movedim((1, 2), (2, 4)).reshape(images.shape), classes


class Colorization(LabelSource):
    """Predict the colour at each position of an image from its lightness (UnNAS's colour task).

    As in Zhang et al. (2016), a class is a bin of 10 by 10 in Lab's a and b; 261 bins contain an sRGB colour.
    Positions are those of the last feature map, of a quarter of the image's height and width. The colour of a
    position is the mean of Lab there. `mean` and `std` are those that images were normalised with. Raises
    ValueError for grey images.
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
        """Zeros (B,), since the targets are computed from the images."""
        return np.zeros(len(indices), dtype=np.int64)

    def pose(self, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Images with lightness in all three channels, and the colour bins (b, S/4, S/4)."""
        # Kept on the images' device: every copy waits for a GPU
        self.mean, self.std, self.bins = (part.to(images) for part in (self.mean, self.std, self.bins))
        colours = lab((images * self.std + self.mean).clamp(0, 1))
        means = functional.adaptive_avg_pool2d(colours[:, 1:], -(-images.shape[-1] // 4))
        return (colours[:, :1] / 100 - self.mean) / self.std, nearest(means, self.bins)


def label_source(
    method: str,
    labels: np.ndarray | None,
    categories: int,
    data: ImageArray,
    rng: np.random.Generator,
    classes: int | None = None,
) -> LabelSource:
    """Return the label source of that name for the images `data`.

    `labels` (N,) are the fixed labels, the true labels for `shuffle-each-step`, and None for methods without
    labels. `classes` is the number of true classes, by default of those that are there. Raises ValueError for
    an unknown name, for absent labels that a method needs, and for a number of categories other than the
    pretext task's.
    """
    if method in FIXED_METHODS:
        if labels is None:
            raise ValueError(f"labels '{method}': got none; give the labels that `draw_fixed_labels` drew")
        return FixedLabels(labels, categories)
    if method in REDRAWN_METHODS:
        return RedrawnLabels(method, labels, categories, rng, classes)
    if method not in PRETEXT_TASKS:
        raise ValueError(f"labels: got '{method}'; accepted: {', '.join((*METHODS, *PRETEXT_TASKS))}")
    if categories != PRETEXT_TASKS[method]:
        raise ValueError(f"labels '{method}': got {categories} categories, accepted: {PRETEXT_TASKS[method]}")
    if method == "colorization":
        return Colorization(data.mean, data.std)
    return Rotation(rng) if method == "rotation" else Jigsaw(rng)


def lab(rgb: Tensor) -> Tensor:
    """L (0 to 100), a and b of sRGB colours (B, 3, H, W) from 0 to 1."""
    primaries = _primaries(rgb.dtype, rgb.device)
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    # Sums, since autocast would run a matrix product in bfloat16
    xyz = (linear[:, None] * primaries[:, :, None, None]).sum(2)
    x, y, z = torch.where(xyz > _BEND**3, xyz ** (1 / 3), xyz / (3 * _BEND**2) + 4 / 29).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


@cache
def _primaries(dtype: torch.dtype, device: torch.device) -> Tensor:
    primaries = torch.tensor(_XYZ, dtype=dtype, device=device)
    return primaries / primaries.sum(1, keepdim=True)


@cache
def bins() -> Tensor:
    """The a and b of the centres of all bins that contain an sRGB colour, (261, 2) float64."""
    shades = torch.linspace(0, 1, 86, dtype=torch.float64)
    colours = lab(torch.cartesian_prod(shades, shades, shades).T[None, :, None])[0, 1:, 0].T
    return STEP * (colours / STEP).round().unique(dim=0)


def nearest(ab: Tensor, bins: Tensor) -> Tensor:
    """The index of the bin (Q, 2) whose centre is nearest to each a and b (B, 2, H, W): int64 (B, H, W)."""
    points = ab.movedim(1, -1)
    distances = torch.cdist(points.flatten(0, 2), bins, compute_mode="donot_use_mm_for_euclid_dist")
    return distances.argmin(1).view(points.shape[:3])
