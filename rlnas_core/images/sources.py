"""Sources of images: training and test images and their classes, in a directory or archive."""

import io
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from rlnas_core.images.archives import SUFFIXES, TEST_FOLDERS, TRAIN_FOLDERS, contents
from rlnas_core.images.pictures import SCALED, converted, is_wide, pixels_of, reason, resize
from rlnas_core.machine.files import reading, some

_CHECKED = 100_000  # images that are decoded, or opened, for a check before a run
Chunks = Iterator[tuple[np.ndarray, np.ndarray]]
Log = Callable[[str], None]


@dataclass(frozen=True)
class Pool:
    """Images of one split: labels (N,), paths (N,) and a reader.

    The reader takes a size S, rows (n,) and a log, and yields these rows, k at a time and in any order, with
    images (k, S, S, C); it logs the changes that it made to images. The paths are empty where images aren't
    separate files. `names` are the names of images in a directory or archive.
    """

    labels: np.ndarray
    read: Callable[[int, np.ndarray, Log], Chunks]
    files: np.ndarray = field(default_factory=lambda: np.empty(0, "U1"))
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageSource:
    """Training and test images of one source, and the `names` of its classes; 0 and none if unlabelled."""

    classes: int
    channels: int
    train: Pool
    test: Pool | None = None
    checksums: dict[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()


def image_files(
    path: Path, *, labels: Path | str | bool | None = None, mode: str = "RGB", square: bool = False
) -> ImageSource:
    """Read a directory or archive (.zip, .tar) of images: train/CLASS/, test/CLASS/, CLASS/, or flat.

    Without class folders, or with a single one, the images are unlabelled (label -1); so are all with
    `labels` False. A path in `labels` is a CSV of the columns file and class; then only its files are read,
    with these classes. Images are read in PIL's `mode`, RGB or L, and with `square` as their central square.
    Raises ValueError if there are no images, only some are in class folders, there is a second folder of test
    images (such as val beside test), a name isn't UTF-8, a path leaves the archive, or the CSV names unknown
    files or a single class. Reading raises ValueError that names every file that isn't a readable image.
    """
    labels = Path(labels) if isinstance(labels, str) else labels
    names = _without_common_folder(sorted(name for name, _ in contents(path, read=False)))
    if not names:
        raise ValueError(f"{path} has no images; accepted endings: {', '.join(sorted(SUFFIXES))}")
    if leaving := {name for name in names if {"..", "/"} & set(PurePosixPath(name).parts)}:
        raise ValueError(f"{path}: paths that leave the archive: {some(leaving)}; give one without them")
    if odd := {name.encode(errors="backslashreplace").decode() for name in names} - names.keys():
        raise ValueError(f"{path}: names that aren't UTF-8: {some(odd)}; rename these files or their folders")
    class_of = dict.fromkeys(names, "") if labels is False else {}
    if isinstance(labels, Path):
        class_of = _listed_classes(path, names, labels)
        names = {full: short for full, short in names.items() if full in class_of}
    members = _splits(path, names, class_of)
    classes = _class_names(path, members)
    if len(classes) == 1 and labels:
        raise ValueError(f"{labels}: got the class {classes[0]} alone; give two or more, or leave labels out")
    if len(classes) == 1:  # a single class is no label
        members = {split: dict.fromkeys(named, "") for split, named in members.items()}
        classes = [""]
    number = {name: -1 if name == "" else row for row, name in enumerate(classes)}
    read = partial(pixels_of, mode=mode, square=square)
    train, test = (_file_pool(path, members[split], number, read) for split in ("train", "test"))
    titles = tuple(filter(None, classes))
    channels = {"L": 1, "RGB": 3}[mode]
    return ImageSource(len(titles), channels, train, test if members["test"] else None, names=titles)


def _splits(
    path: Path, names: dict[str, PurePosixPath], class_of: dict[str, str]
) -> dict[str, dict[str, str]]:
    """The class of each training and test image; empty for unlabelled images."""
    split_of = {full: short.parts[0].lower() if len(short.parts) > 1 else "" for full, short in names.items()}
    has_train = bool(set(TRAIN_FOLDERS) & set(split_of.values()))
    if has_train and len(tested := set(split_of.values()) & set(TEST_FOLDERS)) > 1:
        raise ValueError(
            f"{path}: got several folders of test images: {some(tested)}; give one and leave the others out"
        )
    members = {"train": {}, "test": {}}  # type: dict[str, dict[str, str]]
    for full, short in names.items():
        tests = has_train and split_of[full] in TEST_FOLDERS
        inner = short.parts[has_train:]
        if has_train and not tests and split_of[full] not in TRAIN_FOLDERS:
            raise ValueError(
                f"{path}: '{full}' is neither in train/ nor in {', '.join(TEST_FOLDERS)}; move it, or, if "
                "these folders are classes, rename those with such names"
            )
        name = class_of.get(full, inner[0] if len(inner) > 1 else "")
        members["test" if tests else "train"][full] = name
    return members


def _class_names(path: Path, members: dict[str, dict[str, str]]) -> list[str]:
    """The sorted classes; ValueError if only some images have one or the splits have different classes."""
    classes = sorted(set(members["train"].values()))
    tested = set(members["test"].values()) or set(classes)
    if "" in tested and "" not in classes:
        raise ValueError(
            f"{path}: training images are in class folders ({some(classes)}) and test images in none; "
            "accepted: both or neither"
        )
    if "" in classes and len(classes) > 1:
        raise ValueError(
            f"{path}: some images are in class folders ({some(classes[1:])}) and some in none; "
            "accepted: every image in a class folder, or no class folders at all; or read all as unlabelled "
            "(labels: false, for `make search` LABELS=none)"
        )
    if tested != set(classes):
        raise ValueError(
            f"{path}: the class folders of training and test images differ; only in training: "
            f"{some(set(classes) - tested)}; only in test: {some(tested - set(classes))}"
        )
    return classes


def _listed_classes(path: Path, names: dict[str, PurePosixPath], labels: Path) -> dict[str, str]:
    """The class of each image in a CSV of the columns file and class, by its path in the archive."""
    import pandas as pd

    with reading(labels, "give a CSV of the columns file and class"):
        table = pd.read_csv(labels, dtype=str, keep_default_na=False)
    if missing := {"file", "class"} - set(table.columns):
        absent = f"{' and '.join(sorted(missing))} {'are' if len(missing) > 1 else 'is'} missing"
        raise ValueError(
            f"{labels}: got the columns {some(table.columns)}; {absent}; accepted: a CSV, separated by "
            "commas, whose first row is file,class"
        )
    full_of = {short.as_posix(): full for full, short in names.items()} | {full: full for full in names}
    if unknown := set(table["file"]) - set(full_of):
        raise ValueError(
            f"{labels}: {len(unknown)} files aren't in {path}: {some(unknown)}; accepted: paths in it, such "
            f"as {next(iter(names))}"
        )
    if (empty := table["class"] == "").any() or (twice := table["file"].map(full_of).duplicated()).any():
        wrong = table["file"][empty if empty.any() else twice]
        raise ValueError(f"{labels}: no class or several rows for {some(set(wrong))}; give each one class")
    if table.empty:
        raise ValueError(f"{labels}: got no rows; give a file and its class in each")
    return {full_of[file]: name for file, name in zip(table["file"], table["class"], strict=True)}


def _without_common_folder(names: list[str]) -> dict[str, PurePosixPath]:
    """Map names to their paths below the deepest common directory (`train` is kept)."""
    paths = {name: PurePosixPath(name) for name in names}
    while True:
        tops = {path.parts[0] if len(path.parts) > 1 else "" for path in paths.values()}
        if len(tops) != 1 or {top.lower() for top in tops} <= {"", *TRAIN_FOLDERS}:
            return paths
        paths = {name: PurePosixPath(*path.parts[1:]) for name, path in paths.items()}


def _file_pool(
    path: Path,
    members: dict[str, str],
    number: dict[str, int],
    pixels: Callable[[Image.Image], np.ndarray],
) -> Pool:
    names = tuple(members)

    def read(size: int, rows: np.ndarray, log: Log) -> Chunks:
        unreadable, wide, several = {}, 0, 0
        row_of = {names[row]: row for row in rows}
        for name, content in contents(path, row_of):
            try:
                with Image.open(io.BytesIO(content)) as picture:
                    wide += is_wide(picture)
                    several += getattr(picture, "n_frames", 1) > 1
                    image = pixels(picture)
            except Exception as error:
                unreadable[name] = error
                continue
            yield np.array([row_of[name]]), resize(image[None], size)
        _refuse(path, unreadable)
        if wide:
            log(SCALED.format(wide, len(rows)))
        if several:
            log(f"{several} of {len(rows)} images have several frames or pages: only the first is used")

    files = np.array([str(path / name) for name in members]) if path.is_dir() else np.empty(0, "U1")
    labels = np.array([number[name] for name in members.values()], dtype=np.int64)
    return Pool(labels, read, files, names)


def refuse_unreadable(path: Path, names: Collection[str]) -> None:
    """Raise ValueError that gives each unreadable image of these names in a directory or archive.

    Of more than 100,000 images only the headers are read, since decoding all would take hours.
    """
    unreadable = {}
    for name, content in contents(path, names) if names else ():
        try:
            with Image.open(io.BytesIO(content)) as picture:
                if len(names) <= _CHECKED:
                    converted(picture, "RGB")
        except Exception as error:
            unreadable[name] = error
    _refuse(path, unreadable)


def refuse_unopenable(path: Path, pictures: np.ndarray) -> None:
    """Raise ValueError that names each file of a directory whose header isn't that of an image.

    Of more than 100,000 files an even sample is opened, since all would take hours on a network disk.
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
            f"{', '.join(sorted(unreadable))}; the first: {reason(next(iter(unreadable.values())))}"
        )
