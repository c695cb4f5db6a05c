import numpy as np
import pytest
from scipy.stats import kendalltau

from rlnas_core import spaces
from rlnas_core.benchmark.accuracies import INCLUDED, read_table
from rlnas_core.benchmark.ranking import baselines, bootstrap_interval, kendall


def test_kendall_counts_concordant_and_discordant_pairs():
    assert kendall([1, 2, 3, 4], [10, 20, 30, 40]) == 1
    assert kendall([1, 2, 3, 4], [4, 3, 2, 1]) == -1
    assert kendall([1, 2, 3], [1, 3, 2]) == pytest.approx(1 / 3)


def test_kendall_is_variant_b_which_discounts_ties():
    # 4 concordant pairs and none discordant of 6; one pair tied in each ranking
    assert kendall([1, 1, 2, 3], [1, 2, 3, 3]) == pytest.approx(4 / 5)


def test_kendall_of_scores_that_all_tie_is_undefined():
    assert np.isnan(kendall([1, 1, 1], [1, 2, 3]))


@pytest.mark.parametrize(
    ("scores", "message"), [([1, 2], r"got scores \(2,\)"), ([1, np.nan, 2], "1 scores are no numbers")]
)
def test_scores_that_do_not_fit_are_refused(scores, message):
    with pytest.raises(ValueError, match=message):
        kendall(scores, [1, 2, 3])


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


def test_bootstrap_interval_depends_on_the_generator_alone():
    scores, accuracies = np.random.default_rng(0).normal(size=(2, 50))
    intervals = [bootstrap_interval(scores, accuracies, np.random.default_rng(5), 20) for _ in range(2)]
    assert intervals[0] == intervals[1]


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
    assert counted["macs"] == space.cost(space.from_string(strings))[1].tolist()


def test_baselines_rank_the_benchmark_as_known(space):
    accuracies = read_table(INCLUDED)
    columns = ["cifar10_test", "cifar100_test", "imagenet16_test"]
    scores = baselines(space)
    known = {"conv-weights": [0.578, 0.553, 0.520], "live-conv-weights": [0.654, 0.628, 0.607]}
    for name, taus in known.items():
        measured = [kendall(scores[name], accuracies[column]) for column in columns]
        assert measured == pytest.approx(taus, abs=1e-3)


def test_kendall_is_scipys():
    scores, accuracies = np.random.default_rng(0).integers(10, size=(2, 200))
    assert kendall(scores, accuracies) == kendalltau(scores, accuracies).statistic
