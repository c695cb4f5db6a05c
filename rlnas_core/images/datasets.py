"""The public datasets as sources: CIFAR, ImageNet16-120 and scikit-learn's digits."""

import tarfile
import tempfile
from http.client import HTTPException
from pathlib import Path

import numpy as np

from rlnas_core.images.facts import FACTS, IMAGENET16_CHECKSUMS
from rlnas_core.images.pictures import resize
from rlnas_core.images.sources import Chunks, ImageSource, Log, Pool, image_files
from rlnas_core.machine import files
from rlnas_core.machine.downloads import DOWNLOADS

_CHUNK = 1024


def cifar(source: str, downloads: Path, path: Path | None = None) -> ImageSource:
    """Read CIFAR-10 or CIFAR-100: downloaded, or from a directory with its archive or its images as files.

    Without `path` the archive is kept in `downloads`. Raises `ValueError` for a checksum mismatch or another
    number of class directories, and `ConnectionError` if the archive can't be downloaded or another file is.
    """
    # Imported here, as scikit-learn below: training needs neither, and both load slowly.
    from torchvision.datasets import CIFAR10, CIFAR100

    dataset, key = {"cifar10": (CIFAR10, "labels"), "cifar100": (CIFAR100, "fine_labels")}[source]
    classes, checksum = FACTS[source].classes, f"md5:{dataset.tgz_md5}"
    archive, batches = ((path or downloads) / name for name in FACTS[source].files)
    if path is not None and not batches.is_dir() and not archive.exists():
        neither = f"{path} holds neither {archive.name} nor {classes} class folders"
        remedy = "give the folder of one of them as path"
        try:
            found = image_files(path)
        except ValueError as error:
            raise ValueError(f"{neither}; {remedy}; as images: {error}") from error
        if found.classes != classes:
            raise ValueError(f"{neither}, but {found.classes}; {remedy}")
        return found
    if path is None:
        _download(source, dataset.url, archive, checksum)
    with tempfile.TemporaryDirectory() as unpacked:
        if path is None or not batches.is_dir():
            files.verify(archive, checksum)
            with tarfile.open(archive) as members:
                members.extractall(unpacked, filter="data")
            batches = Path(unpacked) / batches.name
        train, test = (
            _array_pool(*_batches(batches, {name: f"md5:{md5}" for name, md5 in part}, key))
            for part in (dataset.train_list, dataset.test_list)
        )
    return ImageSource(classes, 3, train, test, {archive.name: checksum})


def _download(source: str, url: str, archive: Path, checksum: str) -> None:
    """Download an archive that isn't there; it gets its name when it is complete.

    Jobs that start at the same time each download it, since some file systems have no locks.
    """
    from torchvision.datasets.utils import download_url

    if archive.exists():
        return
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{archive.name}.", dir=archive.parent) as folder:
        part = Path(folder, archive.name)
        try:
            download_url(url, folder, part.name)
            files.verify(part, checksum)
        except (OSError, RuntimeError, ValueError, HTTPException) as error:
            raise ConnectionError(
                f"{source} can't be downloaded from {url}: {error}; "
                f"fetch that file by hand and put it at {archive} ({checksum})"
            ) from error
        part.replace(archive)


def imagenet16(folder: Path) -> ImageSource:
    """Read the first 120 classes of the published ImageNet16 pickle batches (labels 1..120 become 0..119).

    Raises `FileNotFoundError` that names missing batches, and `ValueError` for a checksum mismatch.
    """
    missing = [name for name in IMAGENET16_CHECKSUMS if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"ImageNet16-120: {folder} has no {', '.join(missing)}, and nothing can download them; "
            f"give as path {DOWNLOADS['imagenet16-120']}"
        )
    classes, pools = FACTS["imagenet16-120"].classes, []
    for part in ("train", "val"):
        checksums = {name: md5 for name, md5 in IMAGENET16_CHECKSUMS.items() if name.startswith(part)}
        images, labels = _batches(folder, checksums, "labels")
        kept = labels <= classes
        pools.append(_array_pool(images[kept], labels[kept] - 1))
    return ImageSource(classes, 3, pools[0], pools[1], checksums=dict(IMAGENET16_CHECKSUMS))


def digits() -> ImageSource:
    """Read scikit-learn's 1,797 digits, 8x8 pixels and one channel, scaled from 0..16 to 0..255."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = np.rint(data.images * (255 / 16)).astype(np.uint8)[..., None]
    return ImageSource(10, 1, _array_pool(images, data.target))


def _batches(folder: Path, checksums: dict[str, str], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, S, S, 3) and labels (N,) of pickles with rows of 3*S*S bytes; `key` is of the labels."""
    images, labels = [], []
    for name, checksum in checksums.items():
        file = folder / name
        files.verify(file, checksum)
        with file.open("rb") as stream:
            batch = files.load_plain_pickle(stream, file)
        with files.reading(file):
            rows = np.asarray(batch["data"], np.uint8)
            size = round((rows.shape[1] / 3) ** 0.5)
            images.append(rows.reshape(-1, 3, size, size).transpose(0, 2, 3, 1))
            labels.append(np.asarray(batch[key], np.int64))
    return np.concatenate(images), np.concatenate(labels)


def _array_pool(images: np.ndarray, labels: np.ndarray) -> Pool:
    def read(size: int, rows: np.ndarray, log: Log) -> Chunks:
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            yield chunk, resize(images[chunk], size)

    return Pool(labels.astype(np.int64), read)
