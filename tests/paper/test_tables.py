import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tidy_runs import runs

from rlnas_core.paper.numbers import PAPER
from rlnas_core.paper.tables import COLUMNS, OTHER, agreement, paper_numbers, searched_images, tidy

NOTHING = runs()


def cell(table, row, column):
    return table[(table["row"] == row) & (table["column"] == column)].iloc[0]


@pytest.mark.parametrize("number", range(1, 13))
def test_every_number_of_the_paper_appears_and_none_as_measured(number):
    table = tidy(NOTHING, number, {"cifar10": "not measured: too dear"})
    paper = paper_numbers(number)
    assert tuple(table.columns) == COLUMNS
    assert table["mean"].isna().all()
    assert (table["runs"] == 0).all()
    assert (table["note"].str.startswith("not measured")).all()
    pd.testing.assert_frame_equal(table[paper.columns], paper)


def test_the_paper_holds_as_many_numbers_as_counted_there():
    counted = [24, 12, 44, 20, 24, 12, 12, 90, 54, 40, 24, 4]
    assert [len(paper_numbers(number)) for number in range(1, 13)] == counted
    spos = paper_numbers(5).set_index(["row", "column"]).loc[("SPOS", "top5"), "paper_mean"]
    assert math.isnan(spos)


def test_mean_and_sample_standard_deviation_over_seeds():
    measured = cell(tidy(runs(93.0, 93.5, 94.3), 6), "D", "cifar10")
    assert measured["mean"] == pytest.approx(93.6)
    assert measured["std"] == pytest.approx(np.std([93.0, 93.5, 94.3], ddof=1), abs=1e-6)
    assert measured["runs"] == 3
    single = cell(tidy(runs(93.0), 6), "D", "cifar10")
    assert single["runs"] == 1
    assert math.isnan(single["std"])


def test_rows_and_columns_beyond_the_paper_follow_its_own():
    measured = pd.concat([runs(0.5, row="live-conv-weights"), runs(0.4, 0.6, column="digits")])
    table = tidy(measured, 2, {"cifar100": "not measured: not part of this run"})
    assert list(dict.fromkeys(table["row"])) == ["A", "B", "C", "D", "live-conv-weights"]
    assert list(dict.fromkeys(table["column"])) == ["cifar10", "cifar100", "imagenet16", "digits"]
    assert len(table) == 20
    assert cell(table, "live-conv-weights", "cifar100")["note"] == "not measured: not part of this run"


def test_the_interval_is_students_over_runs_or_that_of_the_only_one():
    own = {"low": [0.49, 0.51, 0.58], "high": [0.51, 0.53, 0.62]}
    table = tidy(runs(0.50, 0.52, 0.60, **own), 2)
    expected = stats.ttest_1samp([0.50, 0.52, 0.60], 0).confidence_interval(0.95)
    found = cell(table, "D", "cifar10")[["low", "high"]].astype(float)
    np.testing.assert_allclose(found, [expected.low, expected.high])
    alone = tidy(runs(0.50, low=[0.49], high=[0.51]), 2)
    assert cell(alone, "D", "cifar10")[["low", "high"]].tolist() == [0.49, 0.51]
    assert np.isnan(cell(table, "A", "cifar10")["low"])


@pytest.mark.parametrize(
    ("row", "column", "number", "values", "expected"),
    [
        ("RLNAS", "cifar10", 7, [93.6, 93.7], "within"),  # 93.45 and twice 0.11
        ("RLNAS", "cifar10", 7, [93.7, 93.8], "above"),
        ("D", "cifar10", 2, [0.44, 0.46], "below"),  # 0.5059, no standard deviation given
        ("D", "cifar10", 2, [0.46], ""),
        ("cifar10/RLNAS", "flops", 3, [623.0], "within"),  # 629 and 1%
        ("cifar10/RLNAS", "flops", 3, [622.0], "below"),
        ("D", "cifar10", 2, [], ""),
        ("B", "cifar100_test", 1, [71.1067] * 3, "within"),  # 71.11, as the paper rounds it
        ("B", "cifar100_test", 1, [71.1] * 3, "below"),
    ],
)
def test_agreement_is_with_the_spread_of_the_paper_or_of_the_run(row, column, number, values, expected):
    table = tidy(runs(*values, row=row, column=column), number)
    assert agreement(cell(table, row, column), number) == expected


def test_reason_of_a_row_that_no_run_fills_comes_first():
    notes = {"cifar10": "not measured: too dear", "D": "not measured: no seeds"}
    table = tidy(runs(93.0, row="C"), 1, notes, {"D": "quoted", "C": "quoted"})
    assert (table[table["row"] == "D"]["note"] == "quoted").all()
    assert cell(table, "C", "cifar10")["note"] == ""
    assert cell(table, "B", "cifar10")["note"] == "not measured: too dear"


def test_a_run_without_a_number_leaves_no_mean():
    undefined = cell(tidy(runs(0.5, np.nan), 2), "D", "cifar10")
    assert math.isnan(undefined["mean"])
    assert undefined["note"] == "undefined in 1 of 2 runs"


@pytest.mark.parametrize(
    ("measured", "number", "message"),
    [
        (NOTHING.drop(columns="seed"), 1, "also needed: seed"),
        (pd.concat([runs(1.0), runs(2.0)]), 1, "got seed 0 of row D, column cifar10 twice"),
        (NOTHING, 13, "got 13; the paper's tables are 1 to 12"),
    ],
)
def test_wrong_input_is_refused(measured, number, message):
    with pytest.raises(ValueError, match=message):
        tidy(measured, number)


def test_what_supernets_saw_is_named_and_compared_with_what_the_paper_searched():
    datasets = {
        "photos": {"source": "image-folder", "image_size": 32},
        "cifar10": {"source": "cifar10", "image_size": 8},
    }
    searches = {"cifar10": "cifar10", "cifar100": "cifar10", "imagenet16": "photos"}
    assert searched_images(searches, datasets) == {
        "cifar10": "CIFAR-10 at 8x8 pixels",
        "cifar100": f"CIFAR-10 at 8x8 pixels, {OTHER}",
        "imagenet16": f"photos at 32x32 pixels, {OTHER}",
    }


def test_every_table_and_figure_has_its_own_label_in_the_report():
    shown = [of["shows"] for of in PAPER.values() if isinstance(of, dict) and "shows" in of]
    assert len(shown) == len(set(shown)) == 12 + 4
