"""Prepare the arrays that trainings read from a source of images: selection, split, mean and deviation."""

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlnas_core.images import datasets, pictures
from rlnas_core.images.arrays import ImageFiles
from rlnas_core.images.facts import FACTS, default_split, split_sizes
from rlnas_core.images.sources import ImageSource, Log, Pool, image_files
from rlnas_core.machine.files import digest, some

SOURCES = (*FACTS, "image-folder")
SPLITS = ("half-of-train", "held-out", "half-of-test", "test")
MODES = {"colour": "RGB", "grey": "L"}
"""PIL's modes by the `colours` of an image folder."""
_CHOICES = {"decode": ("once", "each-time"), "colours": tuple(MODES), "crop": ("whole", "square")}
_SPLIT_SEED = 0
_COUNTED = 2**22  # values whose frequencies are counted at once
_SAMPLE = 2048  # sample for mean and deviation, where all images would take hours


@dataclass(frozen=True)
class Reading:
    """Which images of a source are read, and how.

    CIFAR is downloaded into `downloads` if no `path` is given. `split` selects the validation images: half of
    the training set (default for CIFAR-10, digits and directories without test images), a tenth of it but at
    most 50,000 (held-out), half of the test set, or the whole test set. Parts are drawn with a fixed seed.
    Unlabelled images are all for training by default. With `decode` "each-time" the training decodes the
    images of a directory. Images of a directory or archive are read in `colours` (colour or grey), `whole` or
    as their central `square`. `labels` is a CSV of file and class, or False for images without labels,
    whatever their directories; `per_class` is the largest number of training images per class.
    """

    source: str
    path: Path | str | None = None
    downloads: Path | str = "downloads"
    classes: int | None = None
    split: str | None = None
    batch_size: int = 1
    decode: str = "once"
    colours: str = "colour"
    crop: str = "whole"
    labels: Path | str | bool | None = None
    per_class: int | None = None


Part = tuple[Pool, np.ndarray]
"""Rows (n,) of a pool, the images of one split."""


def prepare(
    source: str,
    out_dir: Path | str,
    image_size: int,
    *,
    name: str | None = None,
    pad: int | None = None,
    flip: bool | None = None,
    jitter: Sequence[float] | None = None,
    log: Log = lambda line: None,
    **reading: Any,
) -> dict[str, Any]:
    """Decode a source into {train,valid}_{images,labels}.npy and dataset.json; return the latter's content.

    `reading` gives the other fields of `Reading`. `pad` is the padding of crops in pixels (default: an eighth
    of the size). Digits aren't flipped by default. Images that are decoded each time stay files, and the
    arrays contain their paths. Raises ValueError for an unknown source or split, unreadable images, a number
    of classes other than `classes`, fewer training images than `batch_size`, or unsupported values.
    """
    if image_size < 1:
        raise ValueError(f"image_size: got {image_size}; accepted: a whole number of pixels from 1")
    asked, out = Reading(source, **reading), Path(out_dir)
    found, train_rows, valid = inspect(asked)
    out.mkdir(parents=True, exist_ok=True)
    log(f"{name or source}: {len(train_rows)} training and {len(valid[1])} validation images")
    absent = np.setdiff1d(found.train.labels, found.train.labels[train_rows])
    if len(absent):
        names = found.names or range(found.classes)
        log(f"classes without a training image: {some(names[label] for label in absent)}")
    parts = {"train": (found.train, train_rows), "valid": valid}
    if asked.decode == "each-time":
        mean, std = _write_paths(parts, out, image_size, log)
    else:
        mean, std = _write_pixels(parts, out, image_size, found.channels, log)
    description = {
        "name": name or source,
        "source": source,
        "classes": found.classes or asked.classes or 0,
        "labelled": found.classes > 0,
        "class_names": list(found.names),
        "image_size": image_size,
        "in_channels": found.channels,
        "mean": mean,
        "std": std,
        "pad": max(1, image_size // 8) if pad is None else pad,
        "flip": source != "digits" if flip is None else flip,
        "decode": asked.decode,
        "crop": asked.crop,
        "jitter": list(jitter) if jitter else None,
        "checksums": found.checksums or _archive_checksum(asked),
    }
    (out / "dataset.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return description


def _archive_checksum(asked: Reading) -> dict[str, str]:
    """The checksum of an archive of images; empty for a directory."""
    path = Path(asked.path or "")
    return {path.name: f"sha256:{digest(path)}"} if path.is_file() else {}


def inspect(asked: Reading) -> tuple[ImageSource, np.ndarray, Part]:
    """Open a source without decoding it; return it, the training rows, and the validation pool and rows.

    Raises the errors of `prepare`, except those for damaged images.
    """
    where = asked.path or asked.source
    for name, accepted in _CHOICES.items():
        if getattr(asked, name) not in accepted:
            raise ValueError(f"{name}: got {getattr(asked, name)!r}; accepted: {', '.join(accepted)}")
    if asked.decode == "each-time" and (asked.colours, asked.crop) != ("colour", "whole"):
        raise ValueError(
            f"decode each-time: got {asked.colours}, {asked.crop} images; accepted: colour, whole ones"
        )
    found = _open(asked)
    if asked.decode == "each-time" and not len(found.train.files):
        raise ValueError(f"decode: got each-time; {where} isn't a folder of images: give once")
    if asked.classes is not None and found.classes not in (0, asked.classes):
        kind = f"{asked.labels} has {found.classes} classes"
        if asked.labels is None:
            kind = f"{asked.path} has {found.classes} class folders"
        raise ValueError(f"classes: got {asked.classes}, but {kind}; give {found.classes}")
    train_rows, valid = _split(found, asked)
    if asked.per_class is not None:
        train_rows = _first_of_each_class(found.train.labels, train_rows, asked.per_class)
    if len(train_rows) < asked.batch_size:
        raise ValueError(
            f"{where}: got {len(train_rows)} training images, too few for a batch of {asked.batch_size}; "
            f"give at least {asked.batch_size} or a smaller batch_size"
        )
    return found, train_rows, valid


def _open(asked: Reading) -> ImageSource:
    source, path = asked.source, Path(asked.path) if asked.path else None
    if source not in SOURCES:
        raise ValueError(f"source: got '{source}'; accepted: {', '.join(SOURCES)}")
    if path is not None and not path.exists():
        raise FileNotFoundError(
            f"path: got '{path}', which doesn't exist; give the path of the {source} images"
        )
    if source == "digits":
        return datasets.digits()
    if source in ("cifar10", "cifar100"):
        return datasets.cifar(source, Path(asked.downloads), path)
    if path is None:
        raise ValueError(f"path: got none; {source} can't be downloaded, give the path of its files")
    if source == "imagenet16-120":
        return datasets.imagenet16(path)
    return image_files(path, labels=asked.labels, mode=MODES[asked.colours], square=asked.crop == "square")


def _split(found: ImageSource, asked: Reading) -> tuple[np.ndarray, Part]:
    """Return the training rows, and the validation rows with their pool."""
    train, test = len(found.train.labels), 0 if found.test is None else len(found.test.labels)
    split = asked.split or default_split(asked.source, found.classes, train, test)
    accepted = SPLITS if test else SPLITS[:2]
    if split not in (None, *accepted):
        raise ValueError(f"split: got '{split}'; accepted with these images: {', '.join(accepted)}")
    kept, valid = split_sizes(train, test, split)
    rng = np.random.default_rng(_SPLIT_SEED)
    if found.test is not None and split in ("half-of-test", "test"):
        return np.arange(train), (found.test, np.sort(rng.permutation(test)[:valid]))
    order = rng.permutation(train)
    return np.sort(order[:kept]), (found.train, np.sort(order[kept:]))


def _first_of_each_class(labels: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """The first `count` rows of each class (n,) in a fixed order, so that fewer are a subset of more."""
    order = np.random.default_rng(_SPLIT_SEED).permutation(rows)
    kept = [order[labels[order] == label][:count] for label in np.unique(labels[rows])]
    return np.sort(np.concatenate(kept))


def _write_paths(parts: dict[str, Part], out: Path, size: int, log: Log) -> tuple[list[float], list[float]]:
    """Write the paths and labels of each part; return mean and deviation of a sample of training images."""
    for part, (pool, rows) in parts.items():
        np.save(out / f"{part}_images.npy", pool.files[rows])
        np.save(out / f"{part}_labels.npy", pool.labels[rows])
    pool, rows = parts["train"]
    return _sampled_statistics(pool.files[rows], size, log)


def _write_pixels(
    parts: dict[str, Part], out: Path, size: int, channels: int, log: Log
) -> tuple[list[float], list[float]]:
    """Write the pixels and labels of each part; return mean and deviation of the training images."""
    for pool in {id(pool): pool for pool, _ in parts.values()}.values():
        _scatter(
            pool, {part: rows for part, (own, rows) in parts.items() if own is pool}, out, size, channels, log
        )
    train, valid = (np.load(out / f"{part}_images.npy", mmap_mode="r") for part in parts)
    _log_duplicates(train, valid, log)
    return _channel_statistics(train)


def _scatter(pool: Pool, parts: dict[str, np.ndarray], out: Path, size: int, channels: int, log: Log) -> None:
    """Read the rows of all parts of a pool once and write each part to a memory-mapped array."""
    arrays, targets = {}, {}
    for part, rows in parts.items():
        np.save(out / f"{part}_labels.npy", pool.labels[rows])
        file, shape = out / f"{part}_images.npy", (len(rows), size, size, channels)
        arrays[part] = np.lib.format.open_memmap(file, "w+", dtype=np.uint8, shape=shape)
        if sys.platform == "linux":  # where a full disk would end the process without a message
            with file.open("r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)
        targets[part] = np.full(len(pool.labels), -1)
        targets[part][rows] = np.arange(len(rows))
    for rows, images in pool.read(size, np.concatenate([*parts.values()]), log):
        for part, target in targets.items():
            places = target[rows]
            arrays[part][places[places >= 0]] = images[places >= 0]
    for array in arrays.values():
        array.flush()


def _channel_statistics(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Return the exact mean and standard deviation of each channel over all pixels, in units of 255."""
    step = 1 + _COUNTED // images[0].size
    return _moments(_counts(images[start : start + step]) for start in range(0, len(images), step))


def _counts(images: np.ndarray) -> np.ndarray:
    """How often each channel of images (n, H, W, C) has each value, (C, 256)."""
    channels = np.moveaxis(images, -1, 0)
    return np.stack([np.bincount(channel.ravel(), minlength=256) for channel in channels])


def _moments(parts: Iterable[np.ndarray]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel in units of 255, from the `_counts` of all parts."""
    counts = np.sum(list(parts), axis=0)
    values = np.arange(256) / 255
    mean = counts @ values / counts.sum(1)
    variance = counts @ values**2 / counts.sum(1) - mean**2
    return mean.tolist(), np.sqrt(np.maximum(variance, 1 / 255**2)).tolist()


def _sampled_statistics(paths: np.ndarray, size: int, log: Log) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of the central crops of a fixed sample of images."""
    chosen = np.random.default_rng(_SPLIT_SEED).permutation(len(paths))[:_SAMPLE]
    sample = ImageFiles(paths, (0.0,) * 3, (1 / 255,) * 3, 0, False, size=size)
    wide = 0
    for path in paths[chosen]:
        with pictures.opened(path) as picture:
            wide += pictures.is_wide(picture)
    if wide:
        log(pictures.SCALED.format(wide, len(chosen)))

    def counts(part: np.ndarray) -> np.ndarray:
        pixels = sample.plain(part, torch.device("cpu")).permute(0, 2, 3, 1)
        return _counts(pixels.round().to(torch.uint8).numpy())

    return _moments(map(counts, np.array_split(chosen, 1 + len(chosen) // 64)))


def _log_duplicates(train: np.ndarray, valid: np.ndarray, log: Log) -> None:
    """Log the numbers of duplicate images within the training images and between the splits."""
    of_train, of_valid = ([hashlib.sha256(image).digest() for image in part] for part in (train, valid))
    known = set(of_train)
    if twice := len(of_train) - len(known):
        log(f"{twice} of {len(train)} training images are duplicates of others")
    if both := sum(image in known for image in of_valid):
        log(f"{both} of {len(valid)} validation images are duplicates of training images")
