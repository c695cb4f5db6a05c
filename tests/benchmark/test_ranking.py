import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import ndcg_score

from rlnas_core import spaces
from rlnas_core.benchmark.accuracies import INCLUDED, read_table
from rlnas_core.benchmark.ranking import (
    TIES,
    add_ranks,
    baselines,
    bootstrap_interval,
    correlate,
    gain_at_top,
    kendall,
    kendall_within,
    measures,
)


def test_kendall_counts_concordant_and_discordant_pairs():
    assert kendall([1, 2, 3, 4], [10, 20, 30, 40]) == 1
    assert kendall([1, 2, 3, 4], [4, 3, 2, 1]) == -1
    assert kendall([1, 2, 3], [1, 3, 2]) == pytest.approx(1 / 3)


def test_kendall_discounts_ties_or_takes_them_in_their_order():
    # 4 concordant pairs and none discordant of 6; one pair tied in each ranking
    assert kendall([1, 1, 2, 3], [1, 2, 3, 3], "discounted") == pytest.approx(4 / 5)
    # Ranked 3 4 2 1 by score and 4 3 1 2 by accuracy, ties in their order, both pairs are discordant
    assert kendall([1, 1, 2, 3], [1, 2, 3, 3]) == pytest.approx((4 - 2) / 6)


def test_kendall_of_scores_that_all_tie_is_undefined_or_that_of_the_list():
    assert np.isnan(kendall([1, 1, 1], [1, 2, 3], "discounted"))
    assert kendall([1, 1, 1], [1, 2, 3]) == -1
    assert kendall([1, 1, 1], [3, 2, 1]) == 1
    with pytest.raises(ValueError, match="ties: got 'a'; accepted: in-order, discounted"):
        kendall([1, 2], [1, 2], "a")


def test_gain_at_the_top_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    accuracies = rng.normal(size=1000)
    gains = accuracies.argsort().argsort() / 999
    for scores in (rng.integers(20, size=1000), accuracies + rng.normal(size=1000), accuracies):
        assert gain_at_top(scores, accuracies) == pytest.approx(ndcg_score([gains], [scores], k=10))


def test_tau_within_groups_is_weighted_by_their_size_and_counts_constant_scores_as_nothing():
    groups = np.array([0, 0, 0, 1, 1, 2, 3, 3])
    scores = np.array([1, 2, 3, 2, 1, 5, 7, 7])
    accuracies = np.array([1, 2, 3, 1, 2, 9, 1, 2])
    assert kendall_within(scores, accuracies, groups) == pytest.approx((3 * 1 + 2 * -1 + 2 * 0) / 7)
    assert np.isnan(kendall_within(scores, groups, groups))


def test_added_ranks_share_ties():
    assert add_ranks([[0.1, 0.2, 0.2], [3, 1, 2]], logarithms=False).tolist() == [4, 3.5, 4.5]
    expected = np.log([1 / 3, 2.5 / 3, 2.5 / 3]) + np.log([3 / 3, 1 / 3, 2 / 3])
    np.testing.assert_allclose(add_ranks([[-np.inf, 0.2, 0.2], [3, 1, 2]]), expected)


def test_the_top_is_what_scores_highest():
    rng = np.random.default_rng(0)
    accuracies = rng.uniform(10, 90, 15625)
    scores = accuracies + rng.normal(0, 20, 15625)
    found = measures(spaces.get("nas_bench_201"), scores, accuracies)
    assert found["top"] == accuracies[scores.argmax()]
    best = sorted(range(15625), key=lambda place: -scores[place])[:16]
    assert found["top_permille"] == pytest.approx(accuracies[best].mean())


@pytest.mark.parametrize(
    ("scores", "message"), [([1, 2], r"got scores \(2,\)"), ([1, np.nan, 2], "1 scores are no numbers")]
)
def test_scores_that_do_not_fit_are_refused(scores, message):
    with pytest.raises(ValueError, match=message):
        kendall(scores, [1, 2, 3])


@pytest.mark.parametrize("kind", [np.uint8, np.int8, bool])
def test_scores_of_any_type_of_numbers_are_ranked_alike(kind):
    scores = np.array([0, 1, 1] if kind is bool else [0, 100, np.iinfo(kind).max], kind)
    for ties in TIES:
        assert kendall(scores, [1, 2, 3], ties) == kendall(scores.astype(float), [1, 2, 3], ties)
    assert gain_at_top(scores, [1, 2, 3]) == gain_at_top(scores.astype(float), [1, 2, 3]) > 0.4


def test_bootstrap_interval_surrounds_tau_and_narrows_with_more_architectures():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=1000)
    accuracies = scores + rng.normal(size=1000)
    widths = []
    for n in (100, 1000):
        pair = scores[:n], accuracies[:n]
        low, high = bootstrap_interval(*pair, np.random.default_rng(1), 200)
        assert low < kendall(*pair) < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2
    narrow = bootstrap_interval(scores, accuracies, np.random.default_rng(1), 200, level=0.5)
    assert narrow[1] - narrow[0] < widths[1]


@pytest.fixture(scope="module")
def space():
    return spaces.get("nas_bench_201")


def test_baselines_count_what_they_say(space):
    strings = [
        "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|nor_conv_1x1~2|",  # nothing reaches the output
        "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|avg_pool_3x3~2|",
    ]
    rows = space.index(space.from_string(strings))
    counted = {name: scores[rows].tolist() for name, scores in baselines(space).items()}
    assert counted["conv-weights"] == [10, 10]
    assert counted["live-conv-weights"] == [0, 10]
    assert counted["network-flops"] == space.cost(space.from_string(strings))[1].tolist()


def test_baselines_rank_the_benchmark_as_known(space):
    accuracies = read_table(INCLUDED)
    columns = ["cifar10_test", "cifar100_test", "imagenet16_test"]
    scores = baselines(space)
    known = {"conv-weights": [0.578, 0.553, 0.520], "live-conv-weights": [0.654, 0.628, 0.607]}
    for name, taus in known.items():
        measured = [kendall(scores[name], accuracies[column], "discounted") for column in columns]
        assert measured == pytest.approx(taus, abs=1e-3)


@pytest.mark.parametrize("ties", TIES)
def test_correlations_of_each_indicator_and_column_treat_ties_as_asked(space, ties):
    rng = np.random.default_rng(0)
    params, flops = space.cost(space.enumerate())
    scores = {"coarse": rng.integers(5, size=15625), "params": params}
    accuracies = pd.DataFrame({"one": flops + rng.normal(0, 1e6, 15625), "other": rng.normal(size=15625)})
    table = correlate(space, scores, accuracies, list(accuracies), 3, 7, ties).set_index(
        ["indicator", "column"]
    )
    assert len(table) == 4
    for (indicator, column), found in table.iterrows():
        pair = scores[indicator], accuracies[column]
        assert found["tau"] == kendall(*pair, ties)
        interval = bootstrap_interval(*pair, np.random.default_rng(7), 3, ties=ties)
        assert (found["low"], found["high"]) == interval
        assert found["tau_within_size"] == kendall_within(*pair, params)
        assert found["tau_in_order"] == kendall(*pair)
        assert found["tau_discounted"] == kendall(*pair, "discounted")
        assert found["rho"] == pytest.approx(stats.spearmanr(*pair).statistic)
        assert found["gain_at_top"] == gain_at_top(*pair)


@pytest.mark.parametrize("given", [{}, {"ties": "discounted"}, {"level": 0.5}])
def test_interval_is_between_percentiles_of_taus_with_the_ties_asked(given):
    scores, accuracies = np.repeat([1, 2], 50), np.concatenate([np.arange(50), np.arange(1, 51)])
    interval = bootstrap_interval(scores, accuracies, np.random.default_rng(0), 200, **given)
    rng, taus = np.random.default_rng(0), []
    for _ in range(200):
        drawn = np.sort(rng.integers(100, size=100))
        taus.append(kendall(scores[drawn], accuracies[drawn], given.get("ties", "in-order")))
    assert interval == pytest.approx(np.percentile(taus, [25, 75] if "level" in given else [2.5, 97.5]))


def test_measures_know_the_9445_architectures_without_dead_operations(space):
    genes = space.enumerate()
    connected = (space.canonical(genes) == genes).all(axis=1)
    assert connected.sum() == 9445
    accuracies = np.random.default_rng(0).permutation(15625).astype(float)
    scores = np.where(connected, accuracies, 0)
    found = measures(space, scores, accuracies)
    assert found["tau_discounted_connected"] == found["rho_connected"] == 1
    assert found["tau_discounted"] < 0.7
