"""Fingerprints tell settings, arrays and files apart."""

import numpy as np
import pytest

from rlnas_core.machine.fingerprints import key_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1, 23), (12, 3)),
        (("a", "b"), ("ab",)),
        ((np.zeros(2),), (np.zeros(2, np.float32),)),
        ((np.zeros((2, 3)),), (np.zeros((3, 2)),)),
        (({"epochs": 1},), ({"epochs": 2},)),
    ],
)
def test_different_parts_have_different_keys(one, other):
    assert key_of(*one) == key_of(*one)
    assert key_of(*one) != key_of(*other)
