"""Batches of images for trainings, from memory-mapped arrays or from files decoded at each use."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlnas_core.images.augmentation import (
    Channels,
    augment,
    centre,
    draw_crops,
    lighting,
    normalise,
    random_crop,
)
from rlnas_core.images.pictures import read_picture
from rlnas_core.machine import files
from rlnas_core.machine.devices import upload
from rlnas_core.machine.fingerprints import marks_of

CPU = torch.device("cpu")
_KEPT = 0.25  # share of a GPU's free memory that images may occupy during a training


@dataclass(frozen=True)
class ImageArray:
    """Images (N, H, W, C) uint8 with the settings of their augmentation; labels are separate files.

    `mean` and `std` are per channel over the training images, in units of 255.
    """

    images: np.ndarray
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pad: int
    flip: bool

    def __len__(self) -> int:
        return len(self.images)

    @property
    def channels(self) -> int:
        """1 or 3."""
        return self.images.shape[-1]

    def batch(
        self, indices: np.ndarray, part: slice, generator: torch.Generator, device: torch.device = CPU
    ) -> torch.Tensor:
        """Augmented images (b, C, S, S) of a part of a batch, on a device.

        Crops are drawn for the whole batch, so that they don't depend on the number of processes, and by a
        CPU generator, so that they don't depend on the device.
        """
        crops = upload(draw_crops(len(indices), self.pad, self.flip, generator)[:, part], device)
        return augment(self._pixels(indices[part], device), crops, self.pad, *self._scale(device))

    def lit(
        self, images: torch.Tensor, strength: float, count: int, part: slice, generator: torch.Generator
    ) -> torch.Tensor:
        """Normalised colour images (b, 3, S, S), a part of `count`, with PCA lighting noise.

        See `augmentation.lighting`. Nothing is drawn if `strength` is 0. Raises ValueError for grey images.
        """
        if not strength:
            return images
        if self.channels != 3:
            raise ValueError(f"lighting: got {strength:g}; images without colours accept 0")
        shifts = lighting(strength, count, part, generator)
        scaled = upload(shifts / torch.tensor(self.std), images.device)
        return images + scaled[:, :, None, None].to(images.dtype)

    def plain(self, indices: np.ndarray, device: torch.device) -> torch.Tensor:
        """Images (B, C, S, S) for evaluation: normalised, without augmentation."""
        return normalise(self._pixels(indices, device), *self._scale(device))

    def _pixels(self, indices: np.ndarray, device: torch.device) -> torch.Tensor:
        """Images (b, H, W, C) uint8; a GPU with room for all images keeps them after the first call."""
        if device.type == "cuda":
            if device not in self._kept:
                room = self.images.nbytes < _KEPT * torch.cuda.mem_get_info(device)[0]
                self._kept[device] = torch.tensor(self.images, device=device) if room else None
            if self._kept[device] is not None:
                return self._kept[device][upload(indices, device)]
        return upload(self.images[indices], device)

    def _scale(self, device: torch.device) -> tuple[Channels, Channels]:
        if device.type != "cuda":
            return self.mean, self.std
        if ("scale", device) not in self._kept:
            self._kept["scale", device] = tuple(
                torch.tensor(values, device=device) for values in (self.mean, self.std)
            )
        return self._kept["scale", device]

    @cached_property
    def _kept(self) -> dict[Any, Any]:
        return {}

    def expect(self, indices: np.ndarray) -> None:
        """Read these images (b,) in advance; they are needed next."""

    def identity(self) -> list[Any]:
        """Everything about these images that a training depends on."""
        public = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return [public.pop("images"), public]


class Reader:
    """Reads by index in as many threads as torch uses, and the indices of `expect` in advance."""

    def __init__(self, read: Callable[[int], Any]) -> None:
        self._read = read
        self._threads = ThreadPoolExecutor(torch.get_num_threads())
        self._coming: dict[int, Future[Any]] = {}

    def expect(self, indices: np.ndarray) -> None:
        """Start reading these indices (b,) in the background."""
        self._coming = {index: self._threads.submit(self._read, index) for index in indices.tolist()}

    def map(self, work: Callable[..., Any], indices: np.ndarray, *others: Iterable[Any]) -> list[Any]:
        """Results of `work` on the item read for each index (b,) and the matching entries of `others`."""

        def do(index: int, *rest: Any) -> Any:
            coming = self._coming.get(index)
            return work(coming.result() if coming else self._read(index), *rest)

        return list(self._threads.map(do, indices.tolist(), *others))


@dataclass(frozen=True)
class ImageFiles(ImageArray):
    """Images that are decoded at each use; `images` (N,) are their paths, `size` is that of crops in pixels.

    A crop of random position, area (8% to 100%) and aspect ratio (3:4 to 4:3) is resized and, with `flip`,
    mirrored half of the time. `jitter` gives the ranges of brightness, contrast, saturation and hue. As many
    threads decode as torch uses. Raises ValueError with the path of an unreadable file.
    """

    size: int = 224
    jitter: tuple[float, ...] | None = None

    @cached_property
    def _reader(self) -> Reader:
        return Reader(lambda index: read_picture(Path(self.images[index]), "RGB"))

    @property
    def channels(self) -> int:
        """Always 3."""
        return 3

    def expect(self, indices: np.ndarray) -> None:
        """Start decoding these images (b,) in the background."""
        self._reader.expect(indices)

    def identity(self) -> list[Any]:
        """Everything about these images that a training depends on; files by size and modification time."""
        return [*super().identity(), marks_of(self.images)]

    def batch(
        self, indices: np.ndarray, part: slice, generator: torch.Generator, device: torch.device = CPU
    ) -> torch.Tensor:
        """Augmented images (b, 3, S, S) of a part of a batch, on a device."""
        draws = torch.rand(9, len(indices), generator=generator)
        cut = partial(random_crop, size=self.size, flip=self.flip, jitter=self.jitter)
        return self._stack(self._reader.map(cut, indices[part], draws.numpy().T[part]), device)

    def plain(self, indices: np.ndarray, device: torch.device) -> torch.Tensor:
        """The central crops (B, 3, S, S) of images whose short side is resized to 8/7 S."""
        views = self._reader.map(partial(centre, size=self.size), indices)
        return self._stack(views, device)

    def _stack(self, views: list[np.ndarray], device: torch.device) -> torch.Tensor:
        return normalise(upload(np.stack(views), device), *self._scale(device))


def load(folder: Path | str, split: str) -> ImageArray:
    """Open the prepared `train` or `valid` images of a directory, memory-mapped."""
    folder = Path(folder)
    description = files.read_json(folder / "dataset.json", ("pad", "flip", "mean", "std", "decode"))
    known = {name: description[name] for name in ("pad", "flip")}
    known |= {name: tuple(description[name]) for name in ("mean", "std")}
    images = files.read_array(folder / f"{split}_images.npy", mmap_mode="r")
    if description["decode"] == "once":
        return ImageArray(images, **known)
    return ImageFiles(images, size=description["image_size"], jitter=description["jitter"], **known)
