"""Fixtures that several files of tests share."""

import numpy as np
import pytest

from rlnas_core.images.arrays import load, prepare
from rlnas_core.training.standalone import LabelledImages


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """Training and validation images of the digits, 8 pixels a side, with their true labels."""
    folder = tmp_path_factory.mktemp("digits")
    prepare("digits", folder, 8)
    return [
        LabelledImages(load(folder, split), np.load(folder / f"{split}_labels.npy"), 10)
        for split in ("train", "valid")
    ]
