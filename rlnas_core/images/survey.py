"""Survey a directory or archive of images, to decide how to read it."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from rlnas_core.images.archives import contents
from rlnas_core.images.pictures import pixels_of
from rlnas_core.images.sources import image_files

_SAMPLE = 500  # images to decode
_TOLERANCE = 8  # largest difference between the channels of a grey pixel after JPEG, of 255
_ELONGATED = 1.1  # ratio of sides above which resizing to a square distorts an image


@dataclass(frozen=True)
class Survey:
    """Facts of a directory of images; shares and sides are those of an even sample.

    `train` and `test` are numbers of images; `images` are the training images with those that a list of
    labels leaves out. `labels` (train,) are the classes, -1 where unlabelled. `short_side` is the median in
    pixels. `grey` is the share of images without colours. `elongated` is the share of images with one side
    more than a tenth longer than the other.
    """

    images: int
    train: int
    test: int
    classes: int
    labels: np.ndarray
    short_side: int
    grey: float
    elongated: float


def survey(path: Path | str, labels: Path | str | bool | None = None) -> Survey:
    """Survey the images of a directory or archive; `labels` is a CSV of file and class, or False for none.

    Raises the errors of `image_files`, and ValueError if no image of the sample can be read.
    """
    path = Path(path)
    found = image_files(path, labels=labels)
    searched = image_files(path, labels=False) if labels else found
    images = len(searched.train.labels)
    every = 1 + images // _SAMPLE
    if path.is_dir():
        sample = map(Path, searched.train.files[::every].tolist())
        read = ((file.name, file.read_bytes()) for file in sample if file.is_file())
    else:
        read = (one for place, one in enumerate(contents(path)) if place % every == 0)
    sides, grey = [], []
    for _, content in read:
        try:
            with Image.open(io.BytesIO(content)) as picture:
                pixels = pixels_of(picture, "RGB").astype(np.int16)
        except Exception:
            continue  # the checks before a run name it
        sides.append(pixels.shape[:2])
        grey.append(np.ptp(pixels, axis=2).max() <= _TOLERANCE)
    if not sides:
        raise ValueError(f"{path}: none of its images can be read")
    short, long = np.sort(np.array(sides), axis=1).T
    return Survey(
        images,
        len(found.train.labels),
        0 if found.test is None else len(found.test.labels),
        found.classes,
        found.train.labels,
        int(np.median(short)),
        float(np.mean(grey)),
        float(np.mean(long > _ELONGATED * short)),
    )
