"""Fixed facts of public datasets; this module doesn't import torch."""

from typing import NamedTuple


class Facts(NamedTuple):
    """Facts of a dataset: numbers of classes, training images, test images and channels."""

    classes: int
    train: int
    test: int
    channels: int = 3
    downloaded: bool = False
    """Whether the library downloads it."""
    files: tuple[str, ...] = ()
    """Names of the published archive, the directory in it, or other published files."""


FACTS = {
    "cifar10": Facts(
        10, 50_000, 10_000, downloaded=True, files=("cifar-10-python.tar.gz", "cifar-10-batches-py")
    ),
    "cifar100": Facts(
        100, 50_000, 10_000, downloaded=True, files=("cifar-100-python.tar.gz", "cifar-100-python")
    ),
    "imagenet16-120": Facts(
        120, 151_700, 6_000, files=(*(f"train_data_batch_{part}" for part in range(1, 11)), "val_data")
    ),
    "digits": Facts(10, 1_797, 0, channels=1),
}
"""By the `source` of the configuration; the facts of an image folder are read from it."""
_HELD_OUT = 50_000


def default_split(source: str, classes: int, train: int, test: int) -> str | None:
    """The split where none is given; None, all images for training, without labels."""
    if not classes:
        return None
    cifar10 = FACTS["cifar10"]
    of_train = source == "cifar10" or (classes, train) == (cifar10.classes, cifar10.train)
    return "half-of-train" if of_train or not test else "half-of-test"


def split_sizes(train: int, test: int, split: str | None) -> tuple[int, int]:
    """Numbers of images to train on and to validate on, of numbers of training and test images."""
    match split:
        case "half-of-train":
            return train - train // 2, train // 2
        case "held-out":
            held = min(_HELD_OUT, train // 10)
            return train - held, held
        case "half-of-test":
            return train, (test + 1) // 2
        case "test":
            return train, test
    return train, 0
