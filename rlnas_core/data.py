"""Image data: decoded once into memory-mapped uint8 arrays; cropped, flipped and normalised by the batch."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from rlnas_core import image_sources
from rlnas_core.image_sources import ImageSource, Pool

SOURCES = ("cifar10", "cifar100", "imagenet16-120", "image-folder", "digits")
SPLITS = ("half-of-train", "half-of-test")
_SPLIT_SEED = 0
_CIFAR10_TRAINING_SET = (50_000, 10)


@dataclass(frozen=True)
class ImageArray:
    """Images (N, H, W, C) uint8 with labels (N,) int64 (-1: unlabelled) and what augmentation needs to know.

    `mean` and `std` are per channel, of the training images, in units of 255.
    """

    images: np.ndarray
    labels: np.ndarray
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: int
    pad: int
    flip: bool

    def __len__(self) -> int:
        return len(self.images)


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
    log: Callable[[str], None] = lambda line: None,
) -> dict:
    """Decode a source into {train,valid}_{images,labels}.npy and dataset.json, whose content it returns.

    CIFAR is downloaded into `downloads` where no `path` is given. `split` says what the validation images
    are: the other half of the training set (default for CIFAR-10, digits and folders without test images) or
    half of the test set, both drawn with a fixed seed; unlabelled images all train unless a split is asked
    for. `pad` is the crop's margin (default 4, 2 and 1 pixels at 32, 16 and 8), digits aren't flipped. Raises
    `ValueError` on an unknown source or split, unreadable images, another number of classes than `classes`,
    or fewer training images than `batch_size`.
    """
    if source not in SOURCES:
        raise ValueError(f"source: got '{source}'; accepted: {', '.join(SOURCES)}")
    found, train_rows, (valid_pool, valid_rows) = inspect(
        source, path, downloads=downloads, classes=classes, split=split, batch_size=batch_size
    )
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    log(f"{name or source}: {len(train_rows)} training and {len(valid_rows)} validation images")
    if valid_pool is found.train:
        _write(found.train, {"train": train_rows, "valid": valid_rows}, out, image_size, found.channels)
    else:
        _write(found.train, {"train": train_rows}, out, image_size, found.channels)
        _write(valid_pool, {"valid": valid_rows}, out, image_size, found.channels)
    mean, std = _channel_statistics(np.load(out / "train_images.npy", mmap_mode="r"))
    description = {
        "name": name or source,
        "source": source,
        "classes": found.classes or classes or 0,
        "image_size": image_size,
        "in_channels": found.channels,
        "mean": mean,
        "std": std,
        "pad": max(1, image_size // 8) if pad is None else pad,
        "flip": source != "digits" if flip is None else flip,
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
) -> tuple[ImageSource, np.ndarray, tuple[Pool, np.ndarray]]:
    """Open a source without decoding it: the images, training rows, and validation rows with their pool.

    Raises what `prepare` raises, but for images that turn out damaged when they are decoded.
    """
    found = _open(source, Path(path) if path else None, Path(downloads))
    if classes is not None and found.classes not in (0, classes):
        raise ValueError(
            f"classes: got {classes}, but {path} has {found.classes} class folders; give {found.classes}"
        )
    train_rows, valid = _split(found, split or _default_split(source, found))
    if len(train_rows) < batch_size:
        raise ValueError(
            f"{path or source}: got {len(train_rows)} training images, too few for a batch of {batch_size}; "
            f"give at least {batch_size} or a smaller supernet.batch_size"
        )
    return found, train_rows, valid


def load(folder: Path | str, split: str) -> ImageArray:
    """Open the prepared `train` or `valid` images of a folder, memory-mapped."""
    folder = Path(folder)
    description = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    return ImageArray(
        images=np.load(folder / f"{split}_images.npy", mmap_mode="r"),
        labels=np.load(folder / f"{split}_labels.npy"),
        mean=tuple(description["mean"]),
        std=tuple(description["std"]),
        classes=description["classes"],
        pad=description["pad"],
        flip=description["flip"],
    )


Channels = Sequence[float] | torch.Tensor


def augment(
    images: torch.Tensor, pad: int, flip: bool, mean: Channels, std: Channels, generator: torch.Generator
) -> torch.Tensor:
    """Crop, flip and normalise a whole batch in one gather.

    `images` (B, H, W, C) uint8 on any device, `generator` on the same; each image is moved by up to `pad`
    pixels, the margin filled with black, and mirrored with probability a half. Returns float32 (B, C, H, W),
    channels last.
    """
    batch, height, width, channels = images.shape
    device = images.device
    padded = functional.pad(images, (0, 0, pad, pad, pad, pad))
    moves = torch.randint(2 * pad + 1, (3, batch, 1), generator=generator, device=device)
    rows = moves[0] + torch.arange(height, device=device)
    columns = torch.arange(width, device=device)
    if flip:
        mirrored = torch.randint(2, (batch, 1), generator=generator, device=device)
        columns = columns + mirrored * (width - 1 - 2 * columns)
    columns = moves[1] + columns
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


def _open(source: str, path: Path | None, downloads: Path) -> ImageSource:
    if path is not None and not path.exists():
        raise FileNotFoundError(
            f"path: got '{path}', which doesn't exist; give the place of the {source} images"
        )
    if source == "digits":
        return image_sources.digits()
    if source in ("cifar10", "cifar100"):
        return image_sources.cifar(source, path or downloads)
    if path is None:
        raise ValueError(f"path: got none; {source} can't be downloaded, give the place of its files")
    return image_sources.imagenet16(path) if source == "imagenet16-120" else image_sources.image_files(path)


def _default_split(source: str, found: ImageSource) -> str | None:
    if found.classes == 0:
        return None
    of_train = found.test is None or (len(found.train.labels), found.classes) == _CIFAR10_TRAINING_SET
    return "half-of-train" if of_train or source == "cifar10" else "half-of-test"


def _split(found: ImageSource, split: str | None) -> tuple[np.ndarray, tuple[Pool, np.ndarray]]:
    """Return the training rows, and the validation rows with the pool that they are from."""
    rng = np.random.default_rng(_SPLIT_SEED)
    everything = np.arange(len(found.train.labels))
    if split is None:
        return everything, (found.train, everything[:0])
    if split == "half-of-train":
        order = rng.permutation(everything)
        half = (len(order) + 1) // 2
        return np.sort(order[:half]), (found.train, np.sort(order[half:]))
    if split == "half-of-test" and found.test is not None:
        order = rng.permutation(len(found.test.labels))
        return everything, (found.test, np.sort(order[: (len(order) + 1) // 2]))
    accepted = SPLITS if found.test is not None else SPLITS[:1]
    raise ValueError(f"split: got '{split}'; accepted with these images: {', '.join(accepted)}")


def _write(pool: Pool, parts: dict[str, np.ndarray], out: Path, size: int, channels: int) -> None:
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
    for rows, images in pool.read(size):
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
