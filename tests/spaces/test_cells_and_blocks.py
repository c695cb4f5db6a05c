"""The DARTS and the MobileNet-like space: notation, repair, usage and cost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from walks import live_paths

from rlnas_core.paper.numbers import PAPER
from rlnas_core.spaces import darts, get, mobilenet, published

SPACES = [get("darts"), get("mobilenet")]
DARTS, MOBILENET = SPACES


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_strings_lead_back_to_the_genes(space):
    genes = space.sample(200, np.random.default_rng(0))
    np.testing.assert_array_equal(space.from_string(space.to_string(genes)), genes)


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.lists(st.integers(0, 7), min_size=28, max_size=28), min_size=1, max_size=5))
def test_repair_leaves_two_inputs_a_node_and_changes_nothing_valid(rows):
    genes = np.array(rows, dtype=np.int8)
    repaired = DARTS.repair(genes, np.random.default_rng(0))
    for cell, before in zip(np.split(repaired, 2, axis=1), np.split(genes, 2, axis=1), strict=True):
        for node in range(2, 6):
            edges = [e for e, (_, destination) in enumerate(darts.EDGES) if destination == node]
            assert ((cell[:, edges] != darts.NONE).sum(axis=1) == 2).all()
            few = (before[:, edges] != darts.NONE).sum(axis=1) <= 2
            kept = before[:, edges][few] != darts.NONE
            np.testing.assert_array_equal(cell[:, edges][few][kept], before[:, edges][few][kept])
    np.testing.assert_array_equal(DARTS.repair(repaired, np.random.default_rng(1)), repaired)


@settings(max_examples=30, deadline=None)
@given(row=st.lists(st.integers(0, 6), min_size=21, max_size=21))
def test_repair_redraws_skip_connects_that_cannot_be_and_nothing_else(row):
    genes = np.array([row], dtype=np.int8)
    repaired = MOBILENET.repair(genes, np.random.default_rng(0))
    wrong = (genes == mobilenet.SKIP) & mobilenet.CHANGES
    assert not ((repaired == mobilenet.SKIP) & mobilenet.CHANGES).any()
    np.testing.assert_array_equal(repaired[~wrong], genes[~wrong])


@pytest.mark.parametrize(("paths", "most"), [("last", 16), ("any", 30)])
def test_usage_counts_the_paths_that_a_walk_over_the_cell_finds(paths, most):
    space = get("darts", paths=paths)
    genes = space.sample(20, np.random.default_rng(0))
    usage = space.usage(genes)[:, 1:].reshape(20, 2, 14, 8)
    ends = range(2, 6) if paths == "any" else [5]
    for row, cells in zip(genes.reshape(20, 2, 14), usage, strict=True):
        for cell, counted in zip(row, cells, strict=True):
            expected = np.zeros((14, 8))
            for path in live_paths(cell, ends):
                for step in path:
                    expected[step] += 1
            np.testing.assert_array_equal(counted, expected)
    everything = np.full((1, 28), darts.SEP_3)
    whole = space.usage(everything)[0, 1:].reshape(2, 14, 8)[0].sum(axis=1)
    # Every path starts with an edge from one of the two inputs.
    assert whole[[source < 2 for source, _ in darts.EDGES]].sum() == most


@pytest.mark.parametrize("name", published())
def test_published_architecture_costs_exactly_what_the_paper_prints_or_says_why_not(name):
    entry = published()[name]
    params, flops = (value[0] / 1e6 for value in entry.space.cost(entry.genes[None], **entry.network))
    for number, row in entry.rows.items():
        printed = dict(
            zip(PAPER[f"table{number}"]["columns"], PAPER[f"table{number}"]["rows"][row], strict=True)
        )
        differ = {
            column
            for column, counted in (("params", round(params, 1)), ("flops", round(flops)))
            if counted != printed[column]
        }
        assert differ == set(entry.disagrees.get(number, {})), (number, params, flops)
    assert (entry.space.from_string(entry.space.to_string(entry.genes[None])) == entry.genes).all()


@pytest.mark.parametrize(
    ("genotype", "message"),
    [
        ("sep_conv_3x3", "not a DARTS genotype"),
        (("sep_conv_9x9", 0), "normal cell, node 2: got operation 'sep_conv_9x9'; accepted: max_pool_3x3"),
        (("sep_conv_3x3", 2), "normal cell, node 2: got input node 2; accepted: 0 to 1"),
        (("skip_connect", 1), "normal cell, node 2: got input node 1 twice"),
    ],
)
def test_wrong_genotype_is_named(genotype, message):
    right = DARTS.to_string(DARTS.sample(1, np.random.default_rng(0)))[0]
    if isinstance(genotype, tuple):
        pairs = DARTS.genotype(DARTS.from_string([right])[0])[0]
        pairs[0], pairs[1] = genotype, ("max_pool_3x3", 1)
        genotype = (
            f"Genotype(normal={pairs}, normal_concat=range(2, 6), reduce={pairs}, reduce_concat=range(2, 6))"
        )
    with pytest.raises(ValueError, match=message):
        DARTS.from_string([genotype])


def test_wrong_block_is_named():
    blocks = MOBILENET.to_string(MOBILENET.sample(1, np.random.default_rng(0)))[0].split("|")
    with pytest.raises(ValueError, match="got 20 blocks; accepted: 21"):
        MOBILENET.from_string(["|".join(blocks[:-1])])
    with pytest.raises(ValueError, match="block 0: got 'skip_connect'; accepted: mb3_k3"):
        MOBILENET.from_string(["|".join(["skip_connect", *blocks[1:]])])


@pytest.mark.parametrize("name", ["nas_bench_201", "darts", "mobilenet"])
@pytest.mark.parametrize("use", ["cost", "usage", "to_string"])
def test_genes_of_another_shape_or_value_are_refused(name, use):
    space = get(name)
    genes = space.sample(2, np.random.default_rng(0))
    with pytest.raises(ValueError, match=rf"genes: got the shape .*accepted: \(N, {space.num_genes}\)"):
        getattr(space, use)(genes[0])
    with pytest.raises(ValueError, match="genes: got values from -1 to"):
        getattr(space, use)(np.where(np.arange(space.num_genes) == 1, -1, genes))


def test_node_of_a_cell_may_have_one_input_and_must_have_some():
    genes = published()["FairDARTS-B"].genes
    assert [pair for pair in DARTS.genotype(genes)[0] if pair[0] == "none"] == [("none", 0), ("none", 0)]
    with pytest.raises(ValueError, match="normal cell, node 2: got no input but none; accepted: one or two"):
        DARTS.from_genotype([[("none", 0), ("none", 1)] + 3 * [("skip_connect", 0), ("none", 1)]] * 2)


def test_wrong_chain_is_named():
    chain = get("chain").to_string(published()["FBNet-C"].genes[None])[0]
    for wrong in (chain.replace("k3_e6", "k3_x6"), chain.removesuffix("|head1984")):
        with pytest.raises(ValueError, match=r"not a chain: .*; accepted: relu6\|stem32"):
            get("chain").from_string([wrong])


@pytest.mark.parametrize("name", ["nas_bench_201", "darts", "mobilenet"])
def test_every_operation_is_sampled_on_every_edge_or_block_equally_often(name):
    space = get(name)
    genes = space.sample(20_000, np.random.default_rng(0))
    operations = [
        k for k, operation in enumerate(space.operations) if operation not in ("none", "skip_connect")
    ]
    counts = np.array([np.bincount(gene, minlength=len(space.operations)) for gene in genes.T])[:, operations]
    assert (abs(counts / counts.mean(axis=1, keepdims=True) - 1) < 0.1).all()


def test_the_most_channels_within_600_million_flops_are_those_of_the_papers_scaled_networks():
    for name, channels in (("RLNAS-cifar10", 46), ("RLNAS-imagenet", 42), ("NAS-DARTS", 44)):
        genes = published()[name].genes
        assert DARTS.widest(genes, 600e6) == channels
        _, (flops,) = DARTS.cost(genes[None], channels=channels)
        assert (DARTS.widest(genes, flops), DARTS.widest(genes, flops - 1)) == (channels, channels - 2)
    assert DARTS.widest(genes, 1e5) is None
    assert MOBILENET.widest(published()["RLNAS-mobilenet"].genes, 600e6) is None


@pytest.mark.parametrize("measure", ["params", "flops"])
def test_cheapest_architecture_and_the_cost_that_one_in_5000_stay_within(measure):
    small = np.where(mobilenet.CHANGES, 0, mobilenet.SKIP)[None]  # kernel 3 and expansion 3, else skipped
    costs = dict(zip(("params", "flops"), MOBILENET.cost(small, image_size=64), strict=True))
    assert MOBILENET.cheapest(measure, image_size=64) == costs[measure][0]
    drawn = MOBILENET.sample(100_000, np.random.default_rng(1))
    costs = dict(zip(("params", "flops"), MOBILENET.cost(drawn, image_size=64), strict=True))
    within = (costs[measure] <= MOBILENET.common(measure, image_size=64)).sum()
    assert 5 < within < 60  # 20 are expected
