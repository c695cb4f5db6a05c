"""Image data: decoded once into memory-mapped uint8 arrays, or at each use; augmented by the batch."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch.nn import functional

from rlnas_core.images import sources
from rlnas_core.images.facts import FACTS
from rlnas_core.images.sources import ImageSource, Pool
from rlnas_core.machine import files
from rlnas_core.machine.devices import upload
from rlnas_core.machine.fingerprints import marks_of

CPU = torch.device("cpu")
SOURCES = (*FACTS, "image-folder")
SPLITS = ("half-of-train", "held-out", "half-of-test", "test")
MODES = {"colour": "RGB", "grey": "L"}
"""Of PIL, by the colours of an image folder."""
_HELD_OUT = 50_000
_SPLIT_SEED = 0
_SAMPLE = 2048  # images that stand for all where mean and deviation of all would take hours
_KEPT = 0.25  # share of a GPU's free memory that images may take for good
_AREA, _RATIO = (0.08, 1.0), (3 / 4, 4 / 3)  # of a random crop, as is usual on ImageNet
# The principal components of ImageNet's colours (RGB from 0 to 1), each times its standard deviation
_COLOURS = [
    [0.2175 * -0.5675, 0.2175 * -0.5808, 0.2175 * -0.5836],
    [0.0188 * 0.7192, 0.0188 * -0.0045, 0.0188 * -0.6948],
    [0.0045 * 0.4009, 0.0045 * -0.8140, 0.0045 * 0.4203],
]
_MARGIN = 8 / 7  # what images are resized to before their centre is cut out, 256 for 224


@dataclass(frozen=True)
class ImageArray:
    """Images (N, H, W, C) uint8 and what augmentation needs to know; labels are files of their own.

    `mean` and `std` are per channel, of the training images, in units of 255.
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

        Crops are drawn for the whole batch, so that processes with a part each see what one would, and by a
        generator of the CPU, so that every device sees the same.
        """
        crops = upload(draw_crops(len(indices), self.pad, self.flip, generator)[:, part], device)
        return augment(self._pixels(indices[part], device), crops, self.pad, *self._scale(device))

    def lit(
        self, images: torch.Tensor, strength: float, count: int, part: slice, generator: torch.Generator
    ) -> torch.Tensor:
        """Normalised colour images (b, 3, S, S), a part of `count`, with PCA lighting noise.

        Each is shifted along the principal components of ImageNet's colours by normal numbers of the standard
        deviation `strength` times their deviations (Krizhevsky et al., 2012). Nothing is drawn where it is 0;
        ValueError for grey images.
        """
        if not strength:
            return images
        if self.channels != len(_COLOURS):
            raise ValueError(f"lighting: got {strength:g}; images without colours accept 0")
        shift = strength * torch.randn(count, 3, generator=generator)[part] @ torch.tensor(_COLOURS)
        scaled = upload(shift / torch.tensor(self.std), images.device)
        return images + scaled[:, :, None, None].to(images.dtype)

    def plain(self, indices: np.ndarray, device: torch.device) -> torch.Tensor:
        """Images (B, C, S, S) as they are evaluated: normalised, nothing drawn."""
        return normalise(self._pixels(indices, device), *self._scale(device))

    def _pixels(self, indices: np.ndarray, device: torch.device) -> torch.Tensor:
        """Images (b, H, W, C) uint8; a GPU that has room for all of them gets them once and keeps them."""
        if device.type == "cuda":
            if device not in self._kept:
                room = self.images.nbytes < _KEPT * torch.cuda.mem_get_info(device)[0]
                self._kept[device] = torch.tensor(self.images, device=device) if room else None
            if self._kept[device] is not None:
                return self._kept[device][upload(indices, device)]
        return upload(self.images[indices], device)

    def _scale(self, device: torch.device) -> "tuple[Channels, Channels]":
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
        """Make ready for these images to be asked for next."""

    def identity(self) -> list[Any]:
        """Everything that a training on these images depends on."""
        public = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return [public.pop("images"), public]


class Reader:
    """Reads by index in as many threads as torch uses, ahead where it was told what comes next."""

    def __init__(self, read: Callable[[int], Any]) -> None:
        self._read = read
        self._threads = ThreadPoolExecutor(torch.get_num_threads())
        self._coming: dict[int, Future[Any]] = {}

    def expect(self, indices: np.ndarray) -> None:
        """Read these while something else is done."""
        self._coming = {index: self._threads.submit(self._read, index) for index in indices.tolist()}

    def map(self, work: Callable[..., Any], indices: np.ndarray, *others: Iterable[Any]) -> list[Any]:
        """Do some work with what was read for each index and what stands at its place in the others."""

        def do(index: int, *rest: Any) -> Any:
            coming = self._coming.get(index)
            return work(coming.result() if coming else self._read(index), *rest)

        return list(self._threads.map(do, indices.tolist(), *others))


@dataclass(frozen=True)
class ImageFiles(ImageArray):
    """Images that are decoded at each use; `images` (N,) are their paths, `size` is the crop's in pixels.

    A crop of random place, area (8% to all) and ratio (3:4 to 4:3) is resized and perhaps mirrored; `jitter`
    gives the ranges of brightness, contrast, saturation and hue. As many threads decode as torch uses; an
    unreadable file is named in a ValueError.
    """

    size: int = 224
    jitter: tuple[float, ...] | None = None

    @cached_property
    def _reader(self) -> Reader:
        return Reader(lambda index: sources.read_picture(Path(self.images[index]), "RGB"))

    @property
    def channels(self) -> int:
        """Always 3."""
        return 3

    def expect(self, indices: np.ndarray) -> None:
        """Decode these images while something else is done."""
        self._reader.expect(indices)

    def identity(self) -> list[Any]:
        """Everything that a training on these images depends on, files by size and time of change."""
        return [*super().identity(), marks_of(self.images)]

    def batch(
        self, indices: np.ndarray, part: slice, generator: torch.Generator, device: torch.device = CPU
    ) -> torch.Tensor:
        """Augmented images (b, 3, S, S) of a part of a batch, on a device."""
        draws = torch.rand(9, len(indices), generator=generator)
        return self._stack(self._reader.map(self._view, indices[part], draws.numpy().T[part]), device)

    def plain(self, indices: np.ndarray, device: torch.device) -> torch.Tensor:
        """The centres (B, 3, S, S) of images whose short side is resized to a seventh more than S."""
        views = self._reader.map(lambda picture: centre(picture, self.size), indices)
        return self._stack(views, device)

    def _stack(self, views: list[np.ndarray], device: torch.device) -> torch.Tensor:
        return normalise(upload(np.stack(views), device), *self._scale(device))

    def _view(self, picture: Image.Image, draws: np.ndarray) -> np.ndarray:
        area, ratio, across, down, mirrored, *colours = draws
        pixels = picture.width * picture.height * (_AREA[0] + (_AREA[1] - _AREA[0]) * area)
        shape = _RATIO[0] * (_RATIO[1] / _RATIO[0]) ** ratio
        width = min(picture.width, max(1, round((pixels * shape) ** 0.5)))
        height = min(picture.height, max(1, round((pixels / shape) ** 0.5)))
        left, top = round(across * (picture.width - width)), round(down * (picture.height - height))
        box = (left, top, left + width, top + height)
        picture = picture.resize((self.size, self.size), Image.Resampling.BILINEAR, box)
        if self.flip and mirrored < 0.5:
            picture = ImageOps.mirror(picture)
        if self.jitter:
            *strengths, hue = self.jitter
            enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
            for enhance, strength, draw in zip(enhancers, strengths, colours, strict=False):
                picture = enhance(picture).enhance(1 + strength * (2 * draw - 1))
            if hue:
                from torchvision.transforms.functional import adjust_hue  # takes longer to load than torch

                picture = adjust_hue(picture, hue * (2 * colours[3] - 1))
        return np.asarray(picture)


def centre(picture: Image.Image, size: int) -> np.ndarray:
    """The centre (S, S, C) or (S, S) of an image whose short side is resized to a seventh more than S."""
    scale = round(size * _MARGIN) / min(picture.size)
    sides = [max(size, round(side * scale)) for side in picture.size]
    picture = picture.resize(sides, Image.Resampling.BILINEAR)
    left, top = ((side - size) // 2 for side in picture.size)
    return np.asarray(picture.crop((left, top, left + size, top + size)))


def prepare(
    source: str,
    out_dir: Path | str,
    image_size: int,
    *,
    path: Path | str | None = None,
    downloads: Path | str = "downloads",
    name: str | None = None,
    classes: int | None = None,
    pad: int | None = None,
    flip: bool | None = None,
    split: str | None = None,
    batch_size: int = 1,
    decode: str = "once",
    jitter: Sequence[float] | None = None,
    colours: str = "colour",
    crop: str = "whole",
    labels: Path | str | None = None,
    per_class: int | None = None,
    log: sources.Log = lambda line: None,
) -> dict:
    """Decode a source into {train,valid}_{images,labels}.npy and dataset.json, whose content it returns.

    With `decode` "each-time" the images of a folder are not decoded now: the arrays hold their paths.

    CIFAR is downloaded into `downloads` where no `path` is given. `split` says what the validation images
    are: the other half of the training set (default for CIFAR-10, digits and folders without test images),
    half of the test set, both drawn with a fixed seed, or the whole test set; unlabelled images all train
    unless a split is asked for. `pad` is the crop's margin (default an eighth of the size); digits aren't
    flipped. Of a folder or archive, images come in `colours` (colour or grey), `whole` or as their central
    `square`; `labels` is a CSV of file and class, and `per_class` the most training images of a class. Raises
    `ValueError` on an unknown source or split, unreadable images, another number of
    classes than `classes`, or fewer training images than `batch_size`.
    """
    if source not in SOURCES:
        raise ValueError(f"source: got '{source}'; accepted: {', '.join(SOURCES)}")
    found, train_rows, (valid_pool, valid_rows) = inspect(
        source,
        path,
        downloads=downloads,
        classes=classes,
        split=split,
        batch_size=batch_size,
        decode=decode,
        colours=colours,
        crop=crop,
        labels=labels,
        per_class=per_class,
    )
    each_time = decode == "each-time"
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    log(f"{name or source}: {len(train_rows)} training and {len(valid_rows)} validation images")
    parts = {"train": (found.train, train_rows), "valid": (valid_pool, valid_rows)}
    if each_time:
        for part, (pool, rows) in parts.items():
            np.save(out / f"{part}_images.npy", pool.files[rows])
            np.save(out / f"{part}_labels.npy", pool.labels[rows])
        mean, std = _sampled_statistics(found.train.files[train_rows], image_size, log)
    else:
        for pool in {id(pool): pool for pool, _ in parts.values()}.values():
            of_pool = {part: rows for part, (source_pool, rows) in parts.items() if source_pool is pool}
            _write(pool, of_pool, out, image_size, found.channels, log)
        train, valid = (np.load(out / f"{part}_images.npy", mmap_mode="r") for part in parts)
        mean, std = _channel_statistics(train)
        _log_duplicates(train, valid, log)
    description = {
        "name": name or source,
        "source": source,
        "classes": found.classes or classes or 0,
        "labelled": found.classes > 0,
        "class_names": list(found.names),
        "image_size": image_size,
        "in_channels": found.channels,
        "mean": mean,
        "std": std,
        "pad": max(1, image_size // 8) if pad is None else pad,
        "flip": source != "digits" if flip is None else flip,
        "decode": decode,
        "crop": crop,
        "jitter": list(jitter) if jitter else None,
        "checksums": found.checksums,
    }
    (out / "dataset.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return description


def inspect(
    source: str,
    path: Path | str | None,
    *,
    downloads: Path | str = "downloads",
    classes: int | None = None,
    split: str | None = None,
    batch_size: int = 1,
    decode: str = "once",
    colours: str = "colour",
    crop: str = "whole",
    labels: Path | str | None = None,
    per_class: int | None = None,
) -> tuple[ImageSource, np.ndarray, tuple[Pool, np.ndarray]]:
    """Open a source without decoding it: the images, training rows, and validation rows with their pool.

    Raises what `prepare` raises, but for images that turn out damaged when they are decoded.
    """
    read = {"mode": MODES[colours], "square": crop == "square", "labels": Path(labels) if labels else None}
    found = _open(source, Path(path) if path else None, Path(downloads), read)
    if decode == "each-time" and not len(found.train.files):
        raise ValueError(f"decode: got each-time; {path or source} isn't a folder of images: give once")
    if classes is not None and found.classes not in (0, classes):
        raise ValueError(
            f"classes: got {classes}, but {path} has {found.classes} class folders; give {found.classes}"
        )
    train_rows, valid = _split(found, split or _default_split(source, found))
    if per_class is not None:
        train_rows = _first_of_each_class(found.train.labels, train_rows, per_class)
    if len(train_rows) < batch_size:
        raise ValueError(
            f"{path or source}: got {len(train_rows)} training images, too few for a batch of {batch_size}; "
            f"give at least {batch_size} or a smaller batch_size"
        )
    return found, train_rows, valid


def load(folder: Path | str, split: str) -> ImageArray:
    """Open the prepared `train` or `valid` images of a folder, memory-mapped."""
    folder = Path(folder)
    with files.reading(folder / "dataset.json", files.REMADE):
        description = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        known = {name: description[name] for name in ("pad", "flip")}
        known |= {name: tuple(description[name]) for name in ("mean", "std")}
    images = files.read_array(folder / f"{split}_images.npy", mmap_mode="r")
    if description["decode"] == "once":
        return ImageArray(images, **known)
    return ImageFiles(images, size=description["image_size"], jitter=description["jitter"], **known)


Channels = Sequence[float] | torch.Tensor


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


def _first_of_each_class(labels: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """So many rows (n,) of each class in a fixed order: fewer are among more."""
    order = np.random.default_rng(_SPLIT_SEED).permutation(rows)
    kept = [order[labels[order] == label][:count] for label in np.unique(labels[rows])]
    return np.sort(np.concatenate(kept))


def _open(source: str, path: Path | None, downloads: Path, read: dict[str, Any]) -> ImageSource:
    if path is not None and not path.exists():
        raise FileNotFoundError(
            f"path: got '{path}', which doesn't exist; give the place of the {source} images"
        )
    if source == "digits":
        return sources.digits()
    if source in ("cifar10", "cifar100"):
        return sources.cifar(source, downloads, path)
    if path is None:
        raise ValueError(f"path: got none; {source} can't be downloaded, give the place of its files")
    return sources.imagenet16(path) if source == "imagenet16-120" else sources.image_files(path, **read)


def _default_split(source: str, found: ImageSource) -> str | None:
    if found.classes == 0:
        return None
    of_train = found.test is None or (len(found.train.labels), found.classes) == (
        FACTS["cifar10"].train,
        FACTS["cifar10"].classes,
    )
    return "half-of-train" if of_train or source == "cifar10" else "half-of-test"


def _split(found: ImageSource, split: str | None) -> tuple[np.ndarray, tuple[Pool, np.ndarray]]:
    """Return the training rows, and the validation rows with the pool that they are from."""
    rng = np.random.default_rng(_SPLIT_SEED)
    everything = np.arange(len(found.train.labels))
    if split is None:
        return everything, (found.train, everything[:0])
    if split in ("half-of-train", "held-out"):
        order = rng.permutation(everything)
        valid = len(order) // 2 if split == "half-of-train" else min(_HELD_OUT, len(order) // 10)
        kept = len(order) - valid
        return np.sort(order[:kept]), (found.train, np.sort(order[kept:]))
    if split == "half-of-test" and found.test is not None:
        order = rng.permutation(len(found.test.labels))
        return everything, (found.test, np.sort(order[: (len(order) + 1) // 2]))
    if split == "test" and found.test is not None:
        return everything, (found.test, np.arange(len(found.test.labels)))
    accepted = SPLITS if found.test is not None else SPLITS[:2]
    raise ValueError(f"split: got '{split}'; accepted with these images: {', '.join(accepted)}")


def _write(
    pool: Pool, parts: dict[str, np.ndarray], out: Path, size: int, channels: int, log: sources.Log
) -> None:
    """Read a pool once and scatter its images into one memory-mapped array a part."""
    arrays, targets = {}, {}
    for part, rows in parts.items():
        np.save(out / f"{part}_labels.npy", pool.labels[rows])
        shape = (len(rows), size, size, channels)
        arrays[part] = np.lib.format.open_memmap(
            out / f"{part}_images.npy", "w+", dtype=np.uint8, shape=shape
        )
        targets[part] = np.full(len(pool.labels), -1)
        targets[part][rows] = np.arange(len(rows))
    for rows, images in pool.read(size, log):
        for part, target in targets.items():
            places = target[rows]
            arrays[part][places[places >= 0]] = images[places >= 0]
    for array in arrays.values():
        array.flush()


def _channel_statistics(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Return each channel's exact mean and standard deviation over all pixels, in units of 255."""
    counts = np.zeros((images.shape[-1], 256))
    for start in range(0, len(images), 4096):
        chunk = images[start : start + 4096]
        counts += [np.bincount(chunk[..., channel].ravel(), minlength=256) for channel in range(len(counts))]
    values = np.arange(256) / 255
    mean = counts @ values / counts.sum(1)
    variance = counts @ values**2 / counts.sum(1) - mean**2
    return mean.tolist(), np.sqrt(np.maximum(variance, 1 / 255**2)).tolist()


def _log_duplicates(train: np.ndarray, valid: np.ndarray, log: sources.Log) -> None:
    """Log how many images have the very pixels of another one: those of training are known in validation."""
    of_train, of_valid = ([hashlib.sha256(image).digest() for image in part] for part in (train, valid))
    known = set(of_train)
    if twice := len(of_train) - len(known):
        log(f"{twice} of {len(train)} training images are duplicates of others")
    if both := sum(image in known for image in of_valid):
        log(f"{both} of {len(valid)} validation images are duplicates of training images")


def _sampled_statistics(paths: np.ndarray, size: int, log: sources.Log) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of the centres of some images, the same ones each time."""
    chosen = np.random.default_rng(_SPLIT_SEED).permutation(len(paths))[:_SAMPLE]
    sample = ImageFiles(paths, (0.0,) * 3, (1 / 255,) * 3, 0, False, size=size)
    wide = 0
    for path in paths[chosen]:
        with sources.opened(path) as picture:
            wide += sources.is_wide(picture)
    if wide:
        log(sources.SCALED.format(wide, len(chosen)))
    means = [
        sample.plain(part, torch.device("cpu")) for part in np.array_split(chosen, 1 + len(chosen) // 64)
    ]
    pixels = torch.cat(means).permute(0, 2, 3, 1).round().to(torch.uint8)
    return _channel_statistics(pixels.numpy())
