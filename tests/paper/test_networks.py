"""How rankings of a space without a table are measured against networks trained by themselves."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau, rankdata, spearmanr

from rlnas_core.paper import networks
from rlnas_core.spaces import get
from rlnas_core.training.supernet import SupernetSettings, build, compare

SPACE = get("darts")
SIZES = {"channels": 2, "cells": 3}


@pytest.fixture(scope="module")
def genes():
    return SPACE.sample(12, np.random.default_rng(0))


@pytest.fixture(scope="module")
def accuracies(genes):
    values = np.random.default_rng(1).normal(50, 5, (len(genes), 2))
    return pd.DataFrame(values, columns=[0, 1])


@pytest.fixture(scope="module")
def found(genes):
    models = [build(SPACE, 4, 1, SupernetSettings(**SIZES), seed) for seed in range(2)]
    proxies = pd.DataFrame({"jacobian-covariance": np.random.default_rng(2).normal(size=len(genes))})
    sizes = {**SIZES, "imagenet": False, "image_size": 8, "classes": 4}
    return networks.collect(SPACE, genes, {0: compare(*models, {})}, {0: proxies, 1: proxies + 1}, **sizes)


def test_sizes_angles_proxies_and_their_sums_rank(found, genes):
    rows = {(ranking.row, ranking.seed): ranking for ranking in found}
    assert rows["angles-and-jacobians", 0].needs == "images, training"
    assert rows["jacobian-covariance", 1].needs == "images"
    assert ("angles-and-jacobians", 1) not in rows  # no supernet of that seed
    parts = [
        rows[name, 0].scores for name in ("uniform-once/operation-average-control", "jacobian-covariance")
    ]
    expected = sum(np.log(rankdata(part) / len(genes)) for part in parts)
    np.testing.assert_allclose(rows["control-and-jacobians", 0].scores, expected)
    params, _ = SPACE.cost(genes, **SIZES, imagenet=False, image_size=8, classes=4)
    np.testing.assert_array_equal(rows["parameters", 0].scores, params)


def test_the_ceiling_is_how_well_two_trainings_agree(found, accuracies, tmp_path):
    measured = networks.measure(found, accuracies, resamples=20)
    first, *_ = measured.to_dict("records")
    tau = kendalltau(accuracies[0], accuracies[1]).statistic
    assert (first["row"], first["tau_one"]) == (networks.CEILING, pytest.approx(tau, abs=1e-6))
    line = measured.set_index("row").loc["parameters"]
    params = next(ranking.scores for ranking in found if ranking.row == "parameters")
    mean = accuracies.mean(axis=1)
    assert line["tau"] == pytest.approx(kendalltau(params, mean).statistic, abs=1e-6)
    assert line["rho"] == pytest.approx(spearmanr(params, mean).statistic, abs=1e-6)
    each = [kendalltau(params, accuracies[seed]).statistic for seed in (0, 1)]
    assert line["tau_one"] == pytest.approx(np.mean(each), abs=1e-6)
    assert line["low"] < line["tau"] < line["high"]
    networks.write(measured, len(accuracies), tmp_path / "networks")
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "networks.csv", keep_default_na=False, na_values=[""]).fillna({"needs": ""}),
        measured,
    )
    shown = (tmp_path / "networks.md").read_text().splitlines()
    values = [float(line.split("|")[3].split()[0]) for line in shown[4:]]
    assert values == sorted(values, reverse=True)
    assert sum("±" in line for line in shown[4:]) == 1  # two seeds of one proxy


def test_the_control_of_layer_angles_knows_structure_alone(found, genes):
    """Two operations of one kind weigh the same wherever they are; layers' own angles don't."""
    from rlnas_core.search.angle import indicators

    models = [build(SPACE, 4, 1, SupernetSettings(**SIZES), seed) for seed in range(2)]
    statistics = compare(*models, {})
    moved = np.repeat(genes[:1], 2, axis=0)
    moved[:, 14:] = genes[0, 14:]
    moved[0, :5] = [4, 4, 4, 1, 0]  # a separable convolution or pooling on the second node's inputs
    moved[1, :5] = [4, 4, 1, 4, 0]
    scores = indicators(SPACE, statistics, moved)
    assert scores["operation-average-control"][0] == pytest.approx(scores["operation-average-control"][1])
    assert scores["layer-angle-sum"][0] != scores["layer-angle-sum"][1]
