"""Where images come from: CIFAR, ImageNet16-120, image files in folders and archives, digits."""

import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from rlnas_core.images.facts import FACTS
from rlnas_core.machine import files
from rlnas_core.machine.downloads import DOWNLOADS

IMAGENET16_CHECKSUMS = {
    "train_data_batch_1": "md5:27846dcaa50de8e21a7d1a35f30f0e91",
    "train_data_batch_2": "md5:c7254a054e0e795c69120a5727050e3f",
    "train_data_batch_3": "md5:4333d3df2e5ffb114b05d2ffc19b1e87",
    "train_data_batch_4": "md5:1620cdf193304f4a92677b695d70d10f",
    "train_data_batch_5": "md5:348b3c2fdbb3940c4e9e834affd3b18d",
    "train_data_batch_6": "md5:6e765307c242a1b3d7d5ef9139b48945",
    "train_data_batch_7": "md5:564926d8cbf8fc4818ba23d2faac7564",
    "train_data_batch_8": "md5:f4755871f718ccb653440b9dd0ebac66",
    "train_data_batch_9": "md5:bb6dd660c38c58552125b1a92f86b5d4",
    "train_data_batch_10": "md5:8f03f34ac4b42271a294f91bf480f29b",
    "val_data": "md5:3410e3017fdaefba8d5073aaa65e4bd6",
}
_CHUNK = 1024
_CHECKED = 100_000  # images that are decoded, or opened, once more before a run
_ENCRYPTED = 1  # of a zip entry's flags
_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_TRAIN_FOLDERS = ("train", "training")
_TEST_FOLDERS = ("test", "testing", "val", "valid", "validation")  # in any case

SCALED = "{} of {} images have more than 8 bits or floating-point values: each is scaled by its own range"

Chunks = Iterator[tuple[np.ndarray, np.ndarray]]
Log = Callable[[str], None]


@dataclass(frozen=True)
class Pool:
    """Images of one split: labels (N,), a reader by size S of rows (k,) with images (k, S, S, C), paths.

    The reader tells a second argument, a log, what it had to change. The paths (N,) are those of a folder's
    images; there are none where images aren't files of their own.
    """

    labels: np.ndarray
    read: Callable[[int, Log], Chunks]
    files: np.ndarray = field(default_factory=lambda: np.empty(0, "U1"))


@dataclass(frozen=True)
class ImageSource:
    """Training and test images of one source; `classes` is 0 where they are unlabelled, `names` theirs."""

    classes: int
    channels: int
    train: Pool
    test: Pool | None = None
    checksums: dict[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """Resize uint8 images (N, H, W, C) to (N, S, S, C) by area averages, exact where S divides H and W."""
    count, height, width, channels = images.shape
    if (height, width) == (size, size):
        return images
    if height % size == 0 and width % size == 0:
        blocks = images.reshape(count, size, height // size, size, width // size, channels)
        return np.rint(blocks.mean(axis=(2, 4))).astype(np.uint8)
    pictures = (Image.fromarray(image.squeeze(-1) if channels == 1 else image) for image in images)
    resized = [np.asarray(picture.resize((size, size), Image.Resampling.BOX)) for picture in pictures]
    return np.stack(resized).reshape(count, size, size, channels)


def cifar(source: str, downloads: Path, path: Path | None = None) -> ImageSource:
    """Read CIFAR-10 or CIFAR-100: downloaded, or from a folder with its archive, or with its images as files.

    Archives are unpacked in `downloads`. Raises `ValueError` on a checksum mismatch or another number of
    class folders, and `ConnectionError` where the archive can't be downloaded.
    """
    # Here, as scikit-learn below: what trains needs neither, and both take longer to load than torch.
    from torchvision.datasets import CIFAR10, CIFAR100
    from torchvision.datasets.utils import check_integrity, download_and_extract_archive

    dataset, key = {"cifar10": (CIFAR10, "labels"), "cifar100": (CIFAR100, "fine_labels")}[source]
    classes = FACTS[source].classes
    checksum, lists = f"md5:{dataset.tgz_md5}", (dict(dataset.train_list), dict(dataset.test_list))
    archive, batches = ((path or downloads) / name for name in (dataset.filename, dataset.base_folder))
    unpacked = batches.is_dir()
    if path is not None and not unpacked and not archive.exists():
        found = image_files(path)
        if found.classes != classes:
            raise ValueError(
                f"{path} holds neither {dataset.filename} nor {classes} class folders, but {found.classes}; "
                f"give the folder of one of them as path"
            )
        return found
    if archive.exists():
        files.verify(archive, checksum)
    if path is not None and not unpacked:
        batches = downloads / dataset.base_folder
        with tarfile.open(archive) as members:
            members.extractall(downloads, filter="data")
    intact = all(check_integrity(batches / name, md5) for part in lists for name, md5 in part.items())
    if path is None and not intact:
        try:
            download_and_extract_archive(dataset.url, downloads, md5=dataset.tgz_md5)
        except (OSError, RuntimeError) as error:
            if archive.exists():
                files.verify(archive, checksum)
            raise ConnectionError(
                f"{source} can't be downloaded from {dataset.url}: {error}; "
                f"fetch that file by hand and put it at {archive} (md5 {dataset.tgz_md5})"
            ) from error
    train, test = (
        _array_pool(*_batches(batches, {name: f"md5:{md5}" for name, md5 in part.items()}, key))
        for part in lists
    )
    return ImageSource(classes, 3, train, test, {dataset.filename: checksum})


def imagenet16(folder: Path) -> ImageSource:
    """Read the first 120 classes of the published ImageNet16 pickle batches (labels 1..120 become 0..119).

    Raises `FileNotFoundError` that names the missing batches, `ValueError` on a checksum mismatch.
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


def _batches(folder: Path, checksums: dict[str, str], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, S, S, 3) and labels (N,) of pickles with rows of 3 S S bytes, and labels under a key."""
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


def digits() -> ImageSource:
    """Read scikit-learn's 1,797 digits, 8x8 pixels and one channel, scaled from 0..16 to 0..255."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = np.rint(data.images * (255 / 16)).astype(np.uint8)[..., None]
    return ImageSource(10, 1, _array_pool(images, data.target))


def image_files(
    path: Path, *, labels: Path | None = None, mode: str = "RGB", square: bool = False
) -> ImageSource:
    """Read a folder or a .zip or .tar archive of images: train/CLASS/, test/CLASS/, or CLASS/, or images
    alone.

    Archives are read in a stream and nothing is extracted to disk. Without class folders, or with one class
    alone, the images are unlabelled (label -1). `labels` is a CSV of the columns file and class, which then
    say what is read and its class. Images come in PIL's `mode`, RGB or L, and as their central square where
    that is asked for. Raises `ValueError` where there are no images, some have class folders and some have
    none, a path leaves the archive, or the CSV names others or one class alone; reading raises `ValueError`
    that names every file which isn't a readable image.
    """
    names = _without_common_folder(sorted(name for name, _ in _contents(path, read=False)))
    if not names:
        raise ValueError(f"{path} has no images; accepted endings: {', '.join(sorted(_SUFFIXES))}")
    if leaving := {name for name in names if {"..", "/"} & set(PurePosixPath(name).parts)}:
        raise ValueError(f"{path}: paths that leave the archive: {_some(leaving)}; give one without them")
    class_of = _listed_classes(path, names, labels) if labels else {}
    if labels:
        names = {full: short for full, short in names.items() if full in class_of}
    split_of = {full: short.parts[0].lower() if len(short.parts) > 1 else "" for full, short in names.items()}
    has_train = bool(set(_TRAIN_FOLDERS) & set(split_of.values()))
    members = {"train": {}, "test": {}}  # type: dict[str, dict[str, str]]
    for full, short in names.items():
        tests = has_train and split_of[full] in _TEST_FOLDERS
        inner = short.parts[has_train:]
        if has_train and not tests and split_of[full] not in _TRAIN_FOLDERS:
            raise ValueError(f"{path}: '{full}' is neither in train/ nor in {', '.join(_TEST_FOLDERS)}")
        name = class_of.get(full) or (inner[0] if len(inner) > 1 else "")
        members["test" if tests else "train"][full] = name
    classes = sorted(set(members["train"].values()))
    tested = set(members["test"].values()) or set(classes)
    if "" in classes and len(classes) > 1:
        raise ValueError(
            f"{path}: some images are in class folders ({', '.join(classes[1:])}) and some in none; "
            "accepted: every image in a class folder, or no class folders at all"
        )
    if tested != set(classes):
        raise ValueError(
            f"{path}: the class folders of training and test images differ; only in training: "
            f"{_some(set(classes) - tested)}; only in test: {_some(tested - set(classes))}"
        )
    if len(classes) == 1 and labels:
        raise ValueError(f"{labels}: got the class {classes[0]} alone; give two or more, or leave labels out")
    if len(classes) == 1:  # nothing to tell apart
        members = {split: dict.fromkeys(named, "") for split, named in members.items()}
        classes = [""]
    number = {name: -1 if name == "" else row for row, name in enumerate(classes)}
    read = partial(pixels_of, mode=mode, square=square)
    train, test = (_file_pool(path, members[split], number, read) for split in ("train", "test"))
    checksums = {path.name: f"sha256:{files.digest(path)}"} if path.is_file() else {}
    titles = tuple(filter(None, classes))
    channels = {"L": 1, "RGB": 3}[mode]
    return ImageSource(len(titles), channels, train, test if members["test"] else None, checksums, titles)


def _listed_classes(path: Path, names: dict[str, PurePosixPath], labels: Path) -> dict[str, str]:
    """The class of each image that a CSV of the columns file and class names, by its path in the archive."""
    import pandas as pd

    with files.reading(labels, "give a CSV of the columns file and class"):
        table = pd.read_csv(labels, dtype=str, keep_default_na=False)[["file", "class"]]
    full_of = {short.as_posix(): full for full, short in names.items()} | {full: full for full in names}
    if unknown := set(table["file"]) - set(full_of):
        raise ValueError(
            f"{labels}: {len(unknown)} files aren't in {path}: {_some(unknown)}; accepted: paths in it, such "
            f"as {next(iter(names))}"
        )
    if (empty := table["class"] == "").any() or (twice := table["file"].duplicated()).any():
        wrong = table["file"][empty if empty.any() else twice]
        raise ValueError(f"{labels}: no class or several rows for {_some(set(wrong))}; give each one class")
    if table.empty:
        raise ValueError(f"{labels}: got no rows; give a file and its class in each")
    return {full_of[file]: name for file, name in zip(table["file"], table["class"], strict=True)}


def central_square(pixels: np.ndarray) -> np.ndarray:
    """The central square (S, S, C) of an image (H, W, C)."""
    side = min(pixels.shape[:2])
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def pixels_of(picture: Image.Image, mode: str, square: bool = False) -> np.ndarray:
    """An image, or its central square, as uint8 (H, W, C) in PIL's mode RGB or L."""
    pixels = np.atleast_3d(np.asarray(converted(picture, mode)))
    return central_square(pixels) if square else pixels


def _some(names: set[str]) -> str:
    first = ", ".join(sorted(names)[:10]) or "none"
    return first if len(names) <= 10 else f"{first} and {len(names) - 10} more"


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """An image file, of which only the header is read yet; ValueError names a damaged one."""
    try:
        with Image.open(path) as picture:
            yield picture
    except Exception as error:  # Pillow's readers raise nearly anything
        raise ValueError(f"{path} is no sound image: {_reason(error)}; replace it") from error


def read_picture(path: Path, mode: str) -> Image.Image:
    """An image file, decoded to one of PIL's modes; ValueError names a damaged one."""
    with opened(path) as picture:
        return converted(picture, mode)


def converted(picture: Image.Image, mode: str) -> Image.Image:
    """An image in PIL's mode RGB or L: upright by its EXIF orientation, transparent pixels on white.

    Wide images are scaled from their lowest and highest value to 0 and 255.
    """
    picture = ImageOps.exif_transpose(picture)
    if is_wide(picture):
        picture = _scaled(picture)
    elif picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture if picture.mode == mode else picture.convert("RGB").convert(mode)


def is_wide(picture: Image.Image) -> bool:
    """Whether an image has more than 8 bits a channel or floating-point values, which PIL would clip."""
    return picture.mode[0] in "IF"


def _scaled(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture, np.float64)
    low, high = values.min(), values.max()
    if not np.isfinite([low, high]).all():
        raise ValueError("some of its values aren't finite numbers")
    scaled = (values - low) * (255 / (high - low or 1))
    return Image.fromarray(np.rint(scaled).astype(np.uint8))


def refuse_unreadable(path: Path, count: int) -> None:
    """Raise ValueError that names each file of a folder or archive of `count` images that isn't one.

    Of more than 100,000 images only the headers are read, since decoding them twice would take hours.
    """
    unreadable = {}
    for name, content in _contents(path, read=True):
        try:
            with Image.open(io.BytesIO(content)) as picture:
                if count <= _CHECKED:
                    converted(picture, "RGB")
        except Exception as error:
            unreadable[name] = error
    _refuse(path, unreadable)


def refuse_unopenable(path: Path, pictures: np.ndarray) -> None:
    """Raise ValueError that names each file of a folder whose header isn't an image's; nothing is decoded.

    Of more than 100,000 files an even sample is opened, since all would take hours on a network's disk.
    """
    unreadable = {}
    for name in pictures[:: 1 + len(pictures) // _CHECKED]:
        try:
            with Image.open(name):
                pass
        except Exception as error:
            unreadable[str(Path(name).relative_to(path))] = error
    _refuse(path, unreadable)


def _refuse(path: Path, unreadable: dict[str, Exception]) -> None:
    if unreadable:
        raise ValueError(
            f"{path}: {len(unreadable)} unreadable images, remove or replace them: "
            f"{', '.join(sorted(unreadable))}; the first: {_reason(next(iter(unreadable.values())))}"
        )


def _reason(error: Exception) -> str:
    """What Pillow says, but for the address of an object in memory."""
    return "not an image" if isinstance(error, UnidentifiedImageError) else str(error)


def _array_pool(images: np.ndarray, labels: np.ndarray) -> Pool:
    def read(size: int, log: Log) -> Chunks:
        for start in range(0, len(images), _CHUNK):
            chunk = images[start : start + _CHUNK]
            yield np.arange(start, start + len(chunk)), resize(chunk, size)

    return Pool(labels.astype(np.int64), read)


def _file_pool(
    path: Path,
    members: dict[str, str],
    number: dict[str, int],
    pixels: Callable[[Image.Image], np.ndarray],
) -> Pool:
    rows = {name: row for row, name in enumerate(members)}

    def read(size: int, log: Log) -> Chunks:
        unreadable, wide, several = {}, 0, 0
        for name, content in _contents(path, read=True):
            if name not in rows:
                continue
            try:
                with Image.open(io.BytesIO(content)) as picture:
                    wide += is_wide(picture)
                    several += getattr(picture, "n_frames", 1) > 1
                    image = pixels(picture)
            except Exception as error:
                unreadable[name] = error
                continue
            yield np.array([rows[name]]), resize(image[None], size)
        _refuse(path, unreadable)
        if wide:
            log(SCALED.format(wide, len(rows)))
        if several:
            log(f"{several} of {len(rows)} images have several frames or pages: only the first is used")

    files = np.array([str(path / name) for name in members]) if path.is_dir() else np.empty(0, "U1")
    return Pool(np.array([number[name] for name in members.values()], dtype=np.int64), read, files)


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every image file of a folder or archive; an unreadable file has no bytes."""
    return _contents(path, read=True)


def _contents(path: Path, read: bool) -> Iterator[tuple[str, bytes]]:
    """Yield the name and, if `read`, the bytes of every image file; an unreadable file has no bytes."""
    try:
        if path.is_dir():
            for file in _files_below(path):
                if _is_image(name := file.relative_to(path).as_posix()):
                    yield name, _bytes(file.read_bytes) if read else b""
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for entry in archive.infolist():
                    if _is_image(entry.filename) and not entry.is_dir():
                        if entry.flag_bits & _ENCRYPTED:
                            raise ValueError(
                                f"{entry.filename} is encrypted; give an archive without a password"
                            )
                        yield entry.filename, _bytes(partial(archive.read, entry)) if read else b""
        else:
            with tarfile.open(path, "r|*") as stream:
                for member in stream:
                    content = (
                        stream.extractfile(member) if _is_image(member.name) and member.isfile() else None
                    )
                    if content is not None:
                        with closing(content):
                            yield member.name, content.read() if read else b""
    except Exception as error:  # of four compressions
        raise ValueError(f"{path} is neither a folder nor a sound .zip or .tar archive: {error}") from error


def _files_below(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Files and links to nothing; links to folders are followed, but not to one that holds them."""
    above |= {folder.resolve()}
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            if entry.resolve() not in above:
                yield from _files_below(entry, above)
        elif entry.is_file() or not entry.exists():
            yield entry


def _bytes(read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except Exception:
        return b""


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in _SUFFIXES and not any(
        part.startswith(("._", "__MACOSX")) for part in path.parts
    )


def _without_common_folder(names: list[str]) -> dict[str, PurePosixPath]:
    """Map names to their paths below the deepest folder that holds them all (`train` is kept)."""
    paths = {name: PurePosixPath(name) for name in names}
    while True:
        tops = {path.parts[0] if len(path.parts) > 1 else "" for path in paths.values()}
        if len(tops) != 1 or {top.lower() for top in tops} <= {"", *_TRAIN_FOLDERS}:
            return paths
        paths = {name: PurePosixPath(*path.parts[1:]) for name, path in paths.items()}
