"""Differences between networks have intervals over images and over seeds of training."""

import numpy as np
import pytest

from rlnas_core.model.comparison import compare, interval, stacked


def test_intervals_cover_the_truth_nearly_as_often_as_they_say():
    """Of accuracies that vary from run to run and from image to image, never much too rarely."""
    rng, covered, rounds = np.random.default_rng(0), 0, 400
    for _ in range(rounds):
        runs, images = rng.normal(0, 0.05, (4, 1)), rng.normal(0, 0.3, (1, 200))
        right = rng.random((4, 200)) < np.clip(0.6 + runs + images, 0, 1)
        _, low, high = interval(right)
        covered += low <= 0.6 <= high
    assert covered / rounds > 0.93


def test_one_run_has_an_interval_over_images_and_no_spread_none():
    mean, low, high = interval(np.arange(100)[None] % 2)
    assert (mean, high - mean) == (0.5, pytest.approx(mean - low))
    assert 0.09 < high - mean < 0.11  # 1.98 * 0.05
    assert interval(np.ones((3, 10)))[0] == 1
    assert np.isnan(interval(np.ones((3, 10)))[1:]).all()


def test_all_right_answers_of_few_images_are_no_certainty():
    table = compare({"found": np.ones((2, 12)), "random": np.ones((2, 12))}, "found").set_index("network")
    assert list(table.loc["found", ["accuracy", "low", "high"]]) == [100, pytest.approx(75.75, abs=0.01), 100]
    assert table.loc["random", "better"] == 0
    assert np.isnan(table.loc["random", "better_low"])
    lows = []
    for wrong in (2, 1, 0):  # Student's t would go beyond 100% with one
        found = compare({"found": np.arange(12)[None] >= wrong}, "found")
        assert found["high"].item() <= 100
        lows.append(found["low"].item())
    assert lows == sorted(lows)


def test_networks_are_compared_run_by_run_and_image_by_image():
    rng = np.random.default_rng(0)
    worse = rng.random((2, 500)) < 0.6
    better = worse | (rng.random((2, 500)) < 0.3)
    right = stacked(
        {
            ("found", 1): better[1],
            ("found", 0): better[0],
            ("random-0", 0): worse[0],
            ("random-1", 1): worse[1],
        }
    )
    assert list(right) == ["found", "random"]
    assert np.array_equal(right["found"], better)
    table = compare(right, "found").set_index("network")
    assert table.loc["found", "accuracy"] == pytest.approx(100 * better.mean())
    assert table.loc["random", "better"] == pytest.approx(100 * (better.mean() - worse.mean()))
    assert table.loc["random", "better_low"] > 0
    assert np.isnan(table.loc["found", "better"])
    with pytest.raises(
        ValueError, match=r"^random: got \(1, 500\) \(runs, images\); accepted: those of found"
    ):
        compare(right | {"random": worse[:1]}, "found")
