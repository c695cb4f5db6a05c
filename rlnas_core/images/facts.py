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


FACTS = {
    "cifar10": Facts(10, 50_000, 10_000, downloaded=True),
    "cifar100": Facts(100, 50_000, 10_000, downloaded=True),
    "imagenet16-120": Facts(120, 151_700, 6_000),
    "digits": Facts(10, 1_797, 0, channels=1),
}
"""By the `source` of the configuration; the facts of an image folder are read from it."""
