import numpy as np
import pandas as pd
import pytest

from rlnas_core.paper.comparison import EQUAL, ONE_SEED, OTHER_IMAGES, compare, write
from rlnas_core.paper.tables import tidy


@pytest.fixture
def tables():
    rows = [
        ("B", column, seed, value)
        for column in ("cifar10", "cifar100")
        for seed, value in enumerate((0.57, 0.575, 0.58))
    ]
    rows += [("C", "cifar10", 0, 0.01)]
    rows += [("D", "cifar100", seed, value) for seed, value in enumerate((0.51, 0.53))]
    measured = pd.DataFrame(rows, columns=["row", "column", "seed", "value"])
    return {2: tidy(measured.assign(low=np.nan, high=np.nan), 2)}


def test_a_run_is_compared_with_the_paper_and_with_the_authors_repository(tables):
    own = compare(tables, {"cifar10": "cifar10", "cifar100": "cifar100"}).set_index(["row", "column"])
    assert own.loc[("B", "cifar10"), "paper_verdict"] == "below"  # 0.575 against 0.667
    assert own.loc[("B", "cifar10"), "authors_verdict"] == EQUAL  # 0.575 ± 0.0025
    assert own.loc[("B", "cifar100"), "authors_verdict"] == "below"  # 0.604 ± 0.0018
    assert own.loc[("D", "cifar100"), ["authors_mean", "authors_verdict"]].tolist() == [0.516, OTHER_IMAGES]
    assert own.loc[("C", "cifar10"), "paper_verdict"] == ONE_SEED
    assert own.loc[("A", "cifar10"), ["paper_verdict", "authors_verdict"]].tolist() == ["", ""]


@pytest.mark.parametrize(("accuracy", "verdict"), [(71.1067, EQUAL), (71.1, "below"), (71.12, "above")])
def test_seeds_that_find_the_papers_architecture_have_the_number_that_it_prints(accuracy, verdict):
    measured = pd.DataFrame({"row": "B", "column": "cifar100_test", "seed": range(3), "value": accuracy})
    cells = compare({1: tidy(measured, 1)}, {"cifar100": "cifar100"}).set_index(["row", "column"])
    assert cells.loc[("B", "cifar100_test"), "paper_verdict"] == verdict  # 71.11


def test_a_supernet_of_other_images_gets_no_verdict(tables):
    compared = compare(tables, {"cifar10": "digits", "cifar100": "digits"}).set_index(["row", "column"])
    for cell in (("D", "cifar100"), ("B", "cifar10")):
        assert compared.loc[cell, ["paper_verdict", "authors_verdict"]].tolist() == [OTHER_IMAGES] * 2
    assert compared.loc[("A", "cifar10"), "authors_verdict"] == ""  # not measured


def test_a_supernet_of_cifar10_is_compared_with_the_authors_own_of_cifar10(tables, tmp_path):
    compared = compare(tables, {"cifar10": "cifar10", "cifar100": "cifar10"})
    cells = compared.set_index(["row", "column"])
    assert cells.loc[("D", "cifar100"), ["authors_mean", "authors_verdict"]].tolist() == [0.516, EQUAL]
    assert cells.loc[("D", "cifar100"), "paper_verdict"] == OTHER_IMAGES
    assert cells.loc[("B", "cifar100"), ["authors_mean", "authors_verdict"]].tolist() == [0.604, OTHER_IMAGES]
    write(compared, tmp_path / "comparison")
    line = next(line for line in (tmp_path / "comparison.md").read_text().splitlines() if "0.5748" in line)
    assert [cell.strip() for cell in line.split("|")[3:]] == [
        "CIFAR-10", "0.6671", "0.5748 ± 0.0025", "0.5750 ± 0.0050", "3", "below", EQUAL, "",
    ]  # fmt: skip
