"""Directories and archives of small images, as a user would give them."""

import io
import zipfile
from pathlib import Path

import numpy as np
from cifar import tarred
from PIL import Image

from rlnas_core.images.arrays import load
from rlnas_core.images.preparation import prepare


def picture(value: int, size: int = 8, suffix: str = "png") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((size, size, 3), value, np.uint8)).save(stream, suffix)
    return stream.getvalue()


def image_folder(root: Path, names: dict[str, int]) -> Path:
    for name, value in names.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(value))
    return root


def labels_of(folder: Path, split: str) -> np.ndarray:
    return np.load(folder / f"{split}_labels.npy")


FOLDER = {
    f"train/{name}/{number}.png": 10 * number + row for row, name in enumerate("ab") for number in range(4)
}


TESTS = {
    f"test/{name}/{number}.png": 100 + 10 * number + row
    for row, name in enumerate("ab")
    for number in range(4)
}


def as_folder(tmp_path: Path, names: dict[str, int]) -> Path:
    return image_folder(tmp_path / "images", names)


def as_tar(tmp_path: Path, names: dict[str, int]) -> Path:
    content = {f"./{name}": picture(value) for name, value in reversed(names.items())}
    return tarred(content, tmp_path / "images.tar.xz", "w:xz")


def as_zip(tmp_path: Path, names: dict[str, int]) -> Path:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for name, value in names.items():
            archive.writestr(f"images/{name}", picture(value))
        archive.writestr("images/README.txt", "not an image")
    return tmp_path / "images.zip"


def prepared(folder: Path, size: int = 8, **settings) -> tuple[np.ndarray, list[str], dict]:
    """Training images of the folder `images`, the log's lines and the description."""
    lines = []
    described = prepare(
        "image-folder", folder / "out", size, path=folder / "images", log=lines.append, **settings
    )
    return load(folder / "out", "train").images, lines[1:], described


def scientific(root: Path, dtype: str, suffix: str, values: np.ndarray) -> Path:
    """Twelve images of two classes, each a ramp between its own lowest and highest value."""
    for number in range(12):
        file = root / "ab"[number % 2] / f"{number}.{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((values * (number + 1)).astype(dtype)).save(file)
    return root
