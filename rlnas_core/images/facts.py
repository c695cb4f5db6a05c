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
FACTS = {
    "cifar10": Facts(
        10, 50_000, 10_000, downloaded=True, files=("cifar-10-python.tar.gz", "cifar-10-batches-py")
    ),
    "cifar100": Facts(
        100, 50_000, 10_000, downloaded=True, files=("cifar-100-python.tar.gz", "cifar-100-python")
    ),
    "imagenet16-120": Facts(120, 151_700, 6_000, files=tuple(IMAGENET16_CHECKSUMS)),
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
