"""The angle, against plain concatenation of weight vectors in float64."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

from rlnas_core.networks.layers import initialise
from rlnas_core.search.angle import architecture_angles, follow, group_sums, indicators
from rlnas_core.spaces import get
from rlnas_core.spaces.nas_bench_201 import NONE, POOL, SKIP
from rlnas_core.training.statistics import Statistics
from rlnas_core.training.supernet import SupernetSettings, build, compare, untrained_statistics

SPACE = get("nas_bench_201")
SETTINGS = SupernetSettings(channels=4, cells=2)
WEIGHT = "cells.{}.convolutions.{}_{}.0.weight"
PATHS = ((3,), (1, 5), (0, 2, 5), (0, 4))


@pytest.fixture(scope="module")
def supernets():
    first, second = (build(SPACE, 10, 3, SETTINGS, seed) for seed in (0, 1))
    for seed, model in enumerate((first, second)):
        generator = torch.Generator().manual_seed(seed)
        for weight in model.parameters():
            if weight.ndim == 1:  # training moves norms too
                nn.init.normal_(weight, generator=generator)
    return first, second, compare(first, second, {})


def concatenated(model, genes, pooling):
    """V(a, W): the fixed part, then path by path and cell by cell the weights of the path's operations."""
    named = {name: weight.detach().double().flatten() for name, weight in model.named_parameters()}
    vector = [weight for name, weight in named.items() if not name.startswith("cells.")]
    alive = False
    for path in PATHS:
        if any(genes[edge] == NONE for edge in path):
            continue
        alive = True
        for cell, channels in enumerate(model.cell_channels()):
            for edge in path:
                if genes[edge] == POOL:
                    size = channels * 9 * (channels if pooling == "paper" else 1)
                    vector.append(torch.full((size,), 1 / 9, dtype=torch.float64))
                elif genes[edge] != SKIP:
                    vector.append(named[WEIGHT.format(cell, edge, int(genes[edge]))])
    return torch.cat(vector) if alive else None


@pytest.mark.parametrize("pooling", ["reference", "paper"])
def test_angle_equals_plain_concatenation(supernets, pooling):
    first, second, statistics = supernets
    genes = SPACE.enumerate()[np.random.default_rng(0).choice(15625, 200, replace=False)]
    angles = architecture_angles(SPACE, statistics, genes, pooling=pooling)
    for row, angle in zip(genes, angles, strict=True):
        a, b = concatenated(first, row, pooling), concatenated(second, row, pooling)
        expected = 0.0 if a is None else torch.arccos(a @ b / (a.norm() * b.norm())).item()
        assert abs(angle - expected) < 1e-9


def test_architecture_without_a_live_path_scores_zero(supernets):
    assert architecture_angles(SPACE, supernets[2], np.zeros((1, 6), dtype=int))[0] == 0


def test_angle_of_untrained_supernet_is_zero(supernets):
    statistics = compare(supernets[0], supernets[0], {})
    np.testing.assert_allclose(architecture_angles(SPACE, statistics, SPACE.enumerate()), 0, atol=1e-7)


def test_unknown_pooling_shape_is_named(supernets):
    with pytest.raises(ValueError, match="'cubic'"):
        architecture_angles(SPACE, supernets[2], SPACE.enumerate(), pooling="cubic")


def test_layer_indicators_follow_their_definition(supernets):
    statistics = supernets[2]
    genes = SPACE.from_string(
        ["|nor_conv_3x3~0|+|avg_pool_3x3~0|none~1|+|skip_connect~0|nor_conv_1x1~1|skip_connect~2|"]
    )
    dot, initial, final = np.moveaxis(statistics.operations[0], -1, 0)
    own = [np.arccos(dot[:, e, o] / np.sqrt(initial[:, e, o] * final[:, e, o])) for e, o in ((0, 3), (4, 2))]
    total = sum(layer.sum() for layer in own)
    scores = indicators(SPACE, statistics, genes)
    assert scores["layer-angle-sum"][0] == pytest.approx(total)
    cells = len(statistics.channels)
    assert scores["layer-angle-sum-times-mean"][0] == pytest.approx(total * total / (3 * cells))
    cosines = [dot[:, :, o] / np.sqrt(initial[:, :, o] * final[:, :, o]) for o in (2, 3)]
    means = [np.arccos(cosine).mean() for cosine in cosines]
    control = cells * sum(means)  # each layer turns as its operation does over all edges and cells
    assert scores["operation-average-control"][0] == pytest.approx(control * control / (3 * cells))


def test_layers_of_a_cell_count_where_that_cell_is_and_pooling_and_identity_turn_by_nothing():
    space, settings = get("darts"), SupernetSettings(channels=2, cells=5)
    statistics = compare(*(build(space, 4, 3, settings, seed) for seed in (0, 1)), {})
    pairs = [
        [("sep_conv_3x3", 0), ("max_pool_3x3", 1)] + 3 * [("skip_connect", 0), ("skip_connect", 1)],
        [("dil_conv_5x5", 0), ("skip_connect", 1)] + 3 * [("avg_pool_3x3", 0), ("skip_connect", 2)],
    ]
    dot, initial, final = np.moveaxis(statistics.operations[0], -1, 0)

    def turned(cell, gene, operation):
        place = cell, gene, space.operations.index(operation)
        return np.arccos(dot[place] / np.sqrt(initial[place] * final[place]))

    normal, reducing = (0, 2, 4), (1, 3)
    total = sum(turned(cell, 0, "sep_conv_3x3") for cell in normal)
    # From an input of a reduction cell, a skip-connect has weights.
    total += sum(turned(cell, 14, "dil_conv_5x5") + turned(cell, 15, "skip_connect") for cell in reducing)
    counted = 2 * len(normal) + 5 * len(reducing)
    scores = indicators(space, statistics, space.from_genotype(pairs)[None])
    assert scores["layer-angle-sum"][0] == pytest.approx(total)
    assert scores["layer-angle-sum-times-mean"][0] == pytest.approx(total * total / counted)


def test_statistics_survive_the_disk_and_give_the_same_bytes(supernets, tmp_path):
    for name in ("a.npz", "b.npz"):
        supernets[2].save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    np.testing.assert_array_equal(Statistics.load(tmp_path / "a.npz").operations, supernets[2].operations)


def after_two_epochs(supernets):
    """Statistics at the start, of weights halfway to the second supernet's, and of the latter's."""
    start, end = supernets[2].operations, supernets[2].fixed
    half = [start.copy(), end.copy()]
    for sums, whole in zip(half, (start, end), strict=True):
        sums[..., 0] = (whole[..., 1] + whole[..., 0]) / 2
        sums[..., 2] = (whole[..., 1] + 2 * whole[..., 0] + whole[..., 2]) / 4
    begun = [np.repeat(whole[..., 1:2], 3, axis=-1) for whole in (start, end)]
    parts = (np.concatenate(of) for of in zip(begun, half, (start, end), strict=True))
    return Statistics(np.array([0, 10, 25]), *parts, supernets[2].channels, {})


def at(statistics, row):
    """The statistics of one epoch alone."""
    part = slice(row, row + 1)
    return replace(
        statistics,
        epochs=statistics.epochs[part],
        operations=statistics.operations[part],
        fixed=statistics.fixed[part],
    )


@pytest.mark.parametrize("pooling", ["reference", "paper"])
def test_angles_are_those_of_the_last_epoch_unless_another_is_asked(supernets, pooling):
    statistics, genes = after_two_epochs(supernets), SPACE.sample(50, np.random.default_rng(0))
    shape = {"pooling": pooling} if pooling == "paper" else {}  # the default is the reference's
    for given, row in (({}, 2), ({"epoch": 1}, 1), ({"epoch": 0}, 0)):
        alone, given = at(statistics, row), given | shape
        sums = group_sums(SPACE, statistics, **given)
        np.testing.assert_array_equal(sums, group_sums(SPACE, alone, pooling=pooling))
        expected = architecture_angles(SPACE, alone, genes, pooling=pooling)
        np.testing.assert_array_equal(architecture_angles(SPACE, statistics, genes, **given), expected)
        scores = indicators(SPACE, statistics, genes, **given)
        np.testing.assert_array_equal(scores["angle"], expected)
        for name, values in indicators(SPACE, alone, genes, pooling=pooling).items():
            np.testing.assert_array_equal(scores[name], values)
    before = [indicators(SPACE, at(statistics, row), genes)["layer-angle-sum"] for row in (0, 1, 2)]
    assert (before[0] < 1e-6).all()
    assert (before[1] <= before[2]).all()


@pytest.mark.parametrize(("pooling", "ties"), [("reference", "in-order"), ("paper", "discounted")])
def test_a_ranking_is_followed_epoch_by_epoch(supernets, pooling, ties):
    statistics = after_two_epochs(supernets)
    accuracies = pd.DataFrame({"cifar10_test": np.random.default_rng(0).permutation(15625) / 200})
    followed = follow(SPACE, statistics, accuracies, ["cifar10_test"], pooling, ties)
    assert followed["epoch"].tolist() == [10, 25]
    for row, (_, found) in enumerate(followed.iterrows(), 1):
        ranks = angles = architecture_angles(SPACE, statistics, SPACE.enumerate(), row, pooling)
        if ties == "in-order":
            ranks = -np.argsort(np.argsort(-angles, kind="stable"))
        assert found["tau"] == pytest.approx(stats.kendalltau(ranks, accuracies["cifar10_test"]).statistic)
        assert found["accuracy"] == accuracies["cifar10_test"][angles.argmax()]
    assert followed["tau"].nunique() == 2


@pytest.mark.parametrize("initialisation", ["normal", "kaiming-normal", "kaiming-uniform"])
def test_training_free_angles_are_near_a_right_angle(initialisation):
    settings = SupernetSettings(channels=8, cells=1, initialisation=initialisation)
    statistics = untrained_statistics(SPACE, {"classes": 10, "in_channels": 3}, settings, 0)
    genes = SPACE.from_string(
        ["|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"]
    )
    assert 1.2 < architecture_angles(SPACE, statistics, genes)[0] < 1.6


def test_untrained_supernets_of_different_seeds_share_no_weights_and_are_scaled():
    described = {"classes": 10, "in_channels": 3}
    first, second, scaled = (
        untrained_statistics(SPACE, described, SETTINGS, seed, scale).operations[0]
        for seed, scale in ((0, 1), (1, 1), (0, 3))
    )
    np.testing.assert_allclose(scaled, 9 * first, rtol=1e-5)
    convolutions = first[..., 1] > 0
    lengths = np.concatenate([of[convolutions][:, 1:] for of in (first, second)], axis=1)
    assert all(len(set(row)) == 4 for row in lengths)


def test_initialisation_follows_its_generator_alone():
    one, other = (
        SPACE.supernet(classes=3, channels=4, cells=1),
        SPACE.supernet(classes=3, channels=4, cells=1),
    )
    for model in (one, other):
        initialise(model, torch.Generator().manual_seed(5))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
