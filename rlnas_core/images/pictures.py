"""Open one image, decode it to 8 bits, crop and resize it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SCALED = "{} of {} images have more than 8 bits or floating-point values: each is scaled by its own range"


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file and read only its header; ValueError names a damaged file."""
    try:
        with Image.open(path) as picture:
            yield picture
    except Exception as error:  # Pillow's readers raise nearly any error
        raise ValueError(f"{path} is not a readable image: {reason(error)}; replace it") from error


def read_picture(path: Path, mode: str) -> Image.Image:
    """Decode an image file to a PIL mode; ValueError names a damaged file."""
    with opened(path) as picture:
        return converted(picture, mode)


def converted(picture: Image.Image, mode: str) -> Image.Image:
    """Convert an image to PIL's mode RGB or L, upright by its EXIF orientation, transparent pixels on white.

    Images for which `is_wide` is true are scaled from their lowest and highest value to 0 and 255.
    """
    picture = ImageOps.exif_transpose(picture)
    if is_wide(picture):
        picture = _scaled(picture)
    elif picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture if picture.mode == mode else picture.convert("RGB").convert(mode)


def is_wide(picture: Image.Image) -> bool:
    """Whether an image has more than 8 bits per channel or floating-point values, which PIL would clip."""
    return picture.mode[0] in "IF"


def _scaled(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture, np.float64)
    low, high = values.min(), values.max()
    if not np.isfinite([low, high]).all():
        raise ValueError("some of its values aren't finite numbers")
    scaled = (values - low) * (255 / (high - low or 1))
    return Image.fromarray(np.rint(scaled).astype(np.uint8))


def pixels_of(picture: Image.Image, mode: str, square: bool = False) -> np.ndarray:
    """An image, or its central square, as uint8 (H, W, C) in PIL's mode RGB or L."""
    pixels = np.atleast_3d(np.asarray(converted(picture, mode)))
    return central_square(pixels) if square else pixels


def central_square(pixels: np.ndarray) -> np.ndarray:
    """The central square (S, S, C) of an image (H, W, C)."""
    side = min(pixels.shape[:2])
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """Resize uint8 images (N, H, W, C) to (N, S, S, C) by area averages, exact if S divides H and W."""
    count, height, width, channels = images.shape
    if (height, width) == (size, size):
        return images
    if height % size == 0 and width % size == 0:
        blocks = images.reshape(count, size, height // size, size, width // size, channels)
        return np.rint(blocks.mean(axis=(2, 4))).astype(np.uint8)
    pictures = (Image.fromarray(image.squeeze(-1) if channels == 1 else image) for image in images)
    resized = [np.asarray(picture.resize((size, size), Image.Resampling.BOX)) for picture in pictures]
    return np.stack(resized).reshape(count, size, size, channels)


def reason(error: Exception) -> str:
    """Pillow's message on an unreadable image, without memory addresses."""
    return "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
