"""Fixtures that several files of tests share, and the order of the files."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: tests run side by side, a core each

import numpy as np
import pytest
from hypothesis import settings

from rlnas_core.configuration import plan
from rlnas_core.images.arrays import load
from rlnas_core.images.preparation import prepare
from rlnas_core.training.standalone import LabelledImages

settings.register_profile("repeatable", deadline=None, derandomize=True)  # on a busy machine too
settings.load_profile("repeatable")


def pytest_collection_modifyitems(items):
    """Put runs of the whole workflow and large files first: what starts last keeps one process waiting."""
    root = Path(__file__).parent
    items.sort(key=lambda item: (item.path.parent != root, -item.path.stat().st_size, item.path))


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """Training and validation images of the digits, 8 pixels a side, with their true labels."""
    folder = tmp_path_factory.mktemp("digits")
    prepare("digits", folder, 8)
    return [
        LabelledImages(load(folder, split), np.load(folder / f"{split}_labels.npy"), 10)
        for split in ("train", "valid")
    ]


@pytest.fixture
def wide_vectors(monkeypatch):
    """Estimates are those for a processor with AVX-512, whatever this one has."""
    monkeypatch.setattr(plan, "SPEED", plan.SPEEDS["avx512"])
    monkeypatch.setattr(plan, "EAGER", plan.EAGERS["avx512"])
