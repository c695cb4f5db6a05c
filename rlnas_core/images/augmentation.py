"""What is drawn of images in training, and how all images are normalised."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch.nn import functional

Channels = Sequence[float] | torch.Tensor
_AREA, _RATIO = (0.08, 1.0), (3 / 4, 4 / 3)  # of a random crop, as is usual on ImageNet
# The principal components of ImageNet's colours (RGB from 0 to 1), each times its standard deviation
_COLOURS = [
    [0.2175 * -0.5675, 0.2175 * -0.5808, 0.2175 * -0.5836],
    [0.0188 * 0.7192, 0.0188 * -0.0045, 0.0188 * -0.6948],
    [0.0045 * 0.4009, 0.0045 * -0.8140, 0.0045 * 0.4203],
]
_MARGIN = 8 / 7  # what images are resized to before their centre is cut out, 256 for 224


def draw_crops(batch: int, pad: int, flip: bool, generator: torch.Generator) -> torch.Tensor:
    """Moves down and across in 0 to 2 pad, and whether mirrored, of each image: (3, B)."""
    crops = torch.randint(2 * pad + 1, (3, batch), generator=generator)
    crops[2] = torch.randint(2, (batch,), generator=generator) if flip else 0
    return crops


def augment(
    images: torch.Tensor, crops: torch.Tensor, pad: int, mean: Channels, std: Channels
) -> torch.Tensor:
    """Crop, mirror and normalise a whole batch in one gather.

    `images` (B, H, W, C) are uint8, with a margin of `pad` black pixels; `crops` (3, B), on the same device,
    say where they are cut, as `draw_crops` gives them. Returns float32 (B, C, H, W), channels last.
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
    """Standardise uint8 images (B, H, W, C) as float32 (B, C, H, W), channels last."""
    centre, scale = (
        torch.as_tensor(value, dtype=torch.float32, device=images.device) for value in (mean, std)
    )
    return torch.addcmul(-centre / scale, images.float(), 1 / (255 * scale)).permute(0, 3, 1, 2)


def centre(picture: Image.Image, size: int) -> np.ndarray:
    """The centre (S, S, C) or (S, S) of an image whose short side is resized to a seventh more than S."""
    scale = round(size * _MARGIN) / min(picture.size)
    sides = [max(size, round(side * scale)) for side in picture.size]
    picture = picture.resize(sides, Image.Resampling.BILINEAR)
    left, top = ((side - size) // 2 for side in picture.size)
    return np.asarray(picture.crop((left, top, left + size, top + size)))


def random_crop(
    picture: Image.Image, draws: np.ndarray, size: int, flip: bool, jitter: Sequence[float] | None
) -> np.ndarray:
    """A crop (S, S, 3) of random place, area and ratio of an image, resized, by nine numbers from 0 to 1.

    It is mirrored half of the time with `flip`; `jitter` gives the ranges of brightness, contrast, saturation
    and, last, hue.
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
        from torchvision.transforms.functional import adjust_hue  # takes longer to load than torch

        picture = adjust_hue(picture, hue * (2 * draws[3] - 1))
    return picture


def lighting(strength: float, count: int, part: slice, generator: torch.Generator) -> torch.Tensor:
    """Shifts (b, 3) of the colours of images, a part of `count`: PCA lighting noise, in units of 255.

    They are along the principal components of ImageNet's colours, by normal numbers of the standard deviation
    `strength` times theirs (Krizhevsky et al., 2012).
    """
    return strength * torch.randn(count, 3, generator=generator)[part] @ torch.tensor(_COLOURS)
