"""Augmentation of images in training, and normalisation of all images."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch.nn import functional

Channels = Sequence[float] | torch.Tensor
_AREA, _RATIO = (0.08, 1.0), (3 / 4, 4 / 3)  # of a random crop, usual on ImageNet
# The principal components of ImageNet's colours (RGB from 0 to 1), each times its standard deviation
_COLOURS = [
    [0.2175 * -0.5675, 0.2175 * -0.5808, 0.2175 * -0.5836],
    [0.0188 * 0.7192, 0.0188 * -0.0045, 0.0188 * -0.6948],
    [0.0045 * 0.4009, 0.0045 * -0.8140, 0.0045 * 0.4203],
]
_MARGIN = 8 / 7  # size to which images are resized before the central crop: 256 for 224


def draw_crops(batch: int, pad: int, flip: bool, generator: torch.Generator) -> torch.Tensor:
    """Offsets down and right, 0 to 2 * pad, and whether mirrored, for each image: (3, B)."""
    crops = torch.randint(2 * pad + 1, (3, batch), generator=generator)
    crops[2] = torch.randint(2, (batch,), generator=generator) if flip else 0
    return crops


def augment(
    images: torch.Tensor, crops: torch.Tensor, pad: int, mean: Channels, std: Channels
) -> torch.Tensor:
    """Crop, mirror and normalise a whole batch in one gather.

    `images` (B, H, W, C) are uint8 and padded by `pad` black pixels. `crops` (3, B), on the same device, are
    those of `draw_crops`. Returns float32 (B, C, H, W) in channels-last layout.
    """
    batch, height, width, channels = images.shape
    device = images.device
    padded = functional.pad(images, (0, 0, pad, pad, pad, pad))
    down, across, mirrored = crops[:, :, None]
    columns = torch.arange(width, device=device)
    columns = across + columns + mirrored * (width - 1 - 2 * columns)
    rows = down + torch.arange(height, device=device)
    rows = rows + (height + 2 * pad) * torch.arange(batch, device=device)[:, None]
    places = rows[:, :, None] * (width + 2 * pad) + columns[:, None, :]
    crops = padded.view(-1, channels).index_select(0, places.view(-1))
    return normalise(crops.view(images.shape), mean, std)


def normalise(images: torch.Tensor, mean: Channels, std: Channels) -> torch.Tensor:
    """Normalise uint8 images (B, H, W, C) to float32 (B, C, H, W) in channels-last layout."""
    centre, scale = (
        torch.as_tensor(value, dtype=torch.float32, device=images.device) for value in (mean, std)
    )
    return torch.addcmul(-centre / scale, images.float(), 1 / (255 * scale)).permute(0, 3, 1, 2)


def centre(picture: Image.Image, size: int) -> np.ndarray:
    """The central crop (S, S, C) or (S, S) of an image whose short side is resized to 8/7 S."""
    scale = round(size * _MARGIN) / min(picture.size)
    sides = [max(size, round(side * scale)) for side in picture.size]
    picture = picture.resize(sides, Image.Resampling.BILINEAR)
    left, top = ((side - size) // 2 for side in picture.size)
    return np.asarray(picture.crop((left, top, left + size, top + size)))


def random_crop(
    picture: Image.Image, draws: np.ndarray, size: int, flip: bool, jitter: Sequence[float] | None
) -> np.ndarray:
    """A resized crop (S, S, 3) of random position, area and aspect ratio; `draws` (9,) are from 0 to 1.

    With `flip` it is mirrored half of the time. `jitter` gives the ranges of brightness, contrast, saturation
    and hue, in this order.
    """
    area, ratio, across, down, mirrored, *colours = draws
    pixels = picture.width * picture.height * (_AREA[0] + (_AREA[1] - _AREA[0]) * area)
    shape = _RATIO[0] * (_RATIO[1] / _RATIO[0]) ** ratio
    width = min(picture.width, max(1, round((pixels * shape) ** 0.5)))
    height = min(picture.height, max(1, round((pixels / shape) ** 0.5)))
    left, top = round(across * (picture.width - width)), round(down * (picture.height - height))
    box = (left, top, left + width, top + height)
    picture = picture.resize((size, size), Image.Resampling.BILINEAR, box)
    if flip and mirrored < 0.5:
        picture = ImageOps.mirror(picture)
    return np.asarray(_jittered(picture, colours, jitter) if jitter else picture)


def _jittered(picture: Image.Image, draws: Sequence[float], ranges: Sequence[float]) -> Image.Image:
    *strengths, hue = ranges
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for enhance, strength, draw in zip(enhancers, strengths, draws, strict=False):
        picture = enhance(picture).enhance(1 + strength * (2 * draw - 1))
    if hue:
        from torchvision.transforms.functional import adjust_hue  # slow to import

        picture = adjust_hue(picture, hue * (2 * draws[3] - 1))
    return picture


def lighting(strength: float, count: int, part: slice, generator: torch.Generator) -> torch.Tensor:
    """PCA lighting noise: colour shifts (b, 3) of images, a part of `count`, in units of 255.

    The shifts are along the principal components of ImageNet's colours (Krizhevsky et al., 2012). Their sizes
    are normal with a standard deviation of `strength` times that of the component.
    """
    return strength * torch.randn(count, 3, generator=generator)[part] @ torch.tensor(_COLOURS)
