"""The NAS-Bench-201 space: encodings, repair, live paths, cost and networks."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlnas_core.spaces import get
from rlnas_core.spaces.nas_bench_201 import EDGES, NONE

SPACE = get("nas_bench_201")
GENES = st.lists(st.integers(0, 4), min_size=6, max_size=6).map(lambda row: np.array([row], dtype=np.int8))


def test_space_has_15625_architectures_in_order_of_their_index():
    genes = SPACE.enumerate()
    assert genes.shape == (15625, 6)
    np.testing.assert_array_equal(SPACE.index(genes), np.arange(15625))


@given(GENES)
def test_string_and_genes_are_two_views(genes):
    np.testing.assert_array_equal(SPACE.from_string(SPACE.to_string(genes)), genes)


@given(GENES, st.integers(0, 2**32))
def test_repair_leaves_every_node_an_input_and_changes_nothing_else(genes, seed):
    repaired = SPACE.repair(genes, np.random.default_rng(seed))
    for node in (1, 2, 3):
        edges = [e for e, (_, destination) in enumerate(EDGES) if destination == node]
        assert (repaired[0, edges] != NONE).any()
        if (genes[0, edges] != NONE).any():
            np.testing.assert_array_equal(repaired[0, edges], genes[0, edges])


@given(GENES)
def test_canonical_form_is_stable_and_keeps_usage(genes):
    canonical = SPACE.canonical(genes)
    np.testing.assert_array_equal(SPACE.canonical(canonical), canonical)
    np.testing.assert_array_equal(SPACE.usage(canonical), SPACE.usage(genes))


@pytest.mark.parametrize(
    ("string", "message"),
    [("|none~0|", "not a NAS-Bench-201"), ("|zap~0|+|none~0|none~1|+|none~0|none~1|none~2|", "'zap'")],
)
def test_unreadable_architecture_is_named(string, message):
    with pytest.raises(ValueError, match=message):
        SPACE.from_string([string])


def test_unknown_space_lists_the_known_ones():
    with pytest.raises(ValueError, match="nas_bench_201"):
        get("nas_bench_202")


def test_isomorphic_cells_share_a_class():
    classes = SPACE.isomorphism_classes()
    assert len(np.unique(classes)) == 5273
    # A convolution behind a skip on either side of node 1 is the same function.
    one, other = SPACE.from_string(
        [
            "|skip_connect~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|none~2|",
            "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|",
        ]
    )
    assert len(set(classes[SPACE.index(np.stack([one, other]))])) == 1


def test_architectures_of_one_canonical_form_compute_the_same_function():
    model = SPACE.supernet(classes=5, channels=4, cells=1)
    x = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    genes = SPACE.sample(20, np.random.default_rng(0))
    for row, canonical in zip(genes, SPACE.canonical(genes), strict=True):
        torch.testing.assert_close(model(x, row), model(x, canonical))


def test_size_below_one_is_refused():
    with pytest.raises(ValueError, match="cells: got 0"):
        SPACE.supernet(classes=5, cells=0)
