"""How good a ranking is: ties, groups, sets and the top, against plain counting."""

from itertools import combinations

import numpy as np
import pytest

from rlnas_core.benchmark.ranking import kendall
from rlnas_core.benchmark.rankings import architecture_sets, measure, rank_sum, tau_within
from rlnas_core.spaces import get

SPACE = get("nas_bench_201")


def test_the_best_in_every_ranking_has_the_largest_rank_sum():
    first, second = np.array([3.0, 1, 2, 2]), np.array([9.0, 8, 1, -np.inf])
    expected = np.log([4 / 4, 1 / 4, 2.5 / 4, 2.5 / 4]) + np.log([4 / 4, 3 / 4, 2 / 4, 1 / 4])
    np.testing.assert_allclose(rank_sum([first, second]), expected)


def test_live_architectures_are_those_that_others_measure():
    sets = architecture_sets(SPACE)
    assert sets["all"].sum() == 15625
    assert sets["live"].sum() == 9445
    dead = SPACE.from_string(
        ["|none~0|+|nor_conv_1x1~0|none~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"]
    )
    assert not sets["live"][SPACE.index(dead)[0]]


def test_tau_within_groups_compares_only_within_them():
    scores = np.array([1.0, 2, 3, 9, 8, 7, 5])
    accuracies = np.array([10.0, 20, 30, 1, 2, 2, 50])
    groups = np.array([0, 0, 0, 1, 1, 1, 2])

    def counted(rows):
        pairs = [(scores[i] - scores[j], accuracies[i] - accuracies[j]) for i, j in combinations(rows, 2)]
        signs = sum(np.sign(a * b) for a, b in pairs)
        return signs / np.sqrt(np.prod([sum(p[k] != 0 for p in pairs) for k in (0, 1)]))

    expected = (3 * counted(range(3)) + 3 * counted(range(3, 6))) / 6
    assert tau_within(scores, accuracies, groups) == pytest.approx(expected)
    assert tau_within(groups.astype(float), accuracies, groups) == 0


def test_a_ranking_is_measured_on_both_sets_and_at_the_top():
    rng = np.random.default_rng(0)
    accuracies = rng.uniform(10, 90, 15625)
    scores = accuracies + rng.normal(0, 20, 15625)
    values = measure(SPACE, scores, accuracies).set_index(["set", "measure"])["value"]
    live = architecture_sets(SPACE)["live"]
    assert values["live", "tau"] == kendall(scores[live], accuracies[live])
    assert values["all", "top"] == accuracies[scores.argmax()]
    best = sorted(range(15625), key=lambda i: -scores[i])[:16]
    assert values["all", "top-permille"] == pytest.approx(accuracies[best].mean())
    order = rng.permutation(15625)
    assert values["all", "spearman"] > 0.6 > abs(measure(SPACE, scores[order], accuracies)["value"].iloc[1])
