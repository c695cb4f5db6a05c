"""The table and the figure of all rankings."""

import numpy as np
import pandas as pd
import pytest

from rlnas_core.benchmark.ranking import kendall, measures
from rlnas_core.paper import rankings
from rlnas_core.paper.numbers import PAPER
from rlnas_core.paper.tables import DASH, title
from rlnas_core.search.angle import POOLING_SHAPES, architecture_angles
from rlnas_core.spaces import get

SPACE = get("nas_bench_201")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of random labels, an untrained supernet and two proxies; their scores and the runtimes of jobs."""
    folder, made, scores, runtimes = tmp_path_factory.mktemp("runs"), [], [], {}
    for labels, indicator, columns in [
        ("uniform-once", "angle", ["angle", "layer-angle-sum-times-mean", "operation-average-control"]),
        ("untrained-normal", "angle", ["angle"]),
        ("uniform-once", "jacobian-covariance", ["jacobian-covariance"]),
        ("uniform-once", "angles-and-jacobians", ["angles-and-jacobians"]),
        ("uniform-once", "snip", ["snip"]),
        ("ground-truth", "snip", ["snip"]),
    ]:
        for seed in (0, 1) if labels == "uniform-once" else (0,):
            rng = np.random.default_rng([seed, len(made)])
            stem = folder / f"{labels}-{indicator}-{seed}"
            table = pd.DataFrame({"index": range(15625), **{c: rng.normal(size=15625) for c in columns}})
            table.to_csv(f"{stem}.csv", index=False)
            stem.with_suffix(".tsv").write_text(f"s\tcpu_time\n{90}\t{10 * (seed + 1)}\n")
            run = {"dataset": "cifar10", "labels": labels, "categories": 10, "seed": seed}
            made.append(run | {"indicator": indicator, "jobs": [stem.name], "followed": False})
            scores.append(f"{stem}.csv")
            runtimes[stem.name] = f"{stem}.tsv"
    return made, scores, runtimes


def test_random_labels_are_no_need(runs):
    first = rankings.collect(SPACE, *runs[:2], [], "reference")["cifar10", 0]
    assert {row: ranking.needs for row, ranking in first.items()} == {
        "uniform-once/angle": "images, training",
        "uniform-once/layer-angle-sum-times-mean": "images, training",
        "uniform-once/operation-average-control": "images, training",
        "untrained-normal/angle": "",
        "jacobian-covariance": "images",
        "uniform-once/snip": "images",
        "ground-truth/snip": "images, labels",
        "angles-and-jacobians": "images, training",
        "conv-weights": "",
        "live-conv-weights": "",
        "network-flops": "",
    }


def test_a_ranking_costs_what_its_jobs_cost(runs):
    made, scores, runtimes = runs
    both = made[0] | {"indicator": "angles-and-jacobians", "jobs": [*made[0]["jobs"], *made[1]["jobs"]]}
    found = rankings.collect(SPACE, [*made[:2], both], [*scores[:2], scores[5]], [], "reference")
    costs = rankings.core_seconds(found.values(), runtimes)
    assert costs["uniform-once/angle"] == 15
    assert costs["angles-and-jacobians"] == 30
    assert costs["network-flops"] == 0


@pytest.mark.parametrize("pooling", POOLING_SHAPES)
def test_earlier_epochs_cost_a_share_and_have_the_pooling_of_the_final_angle(pooling, runs, tmp_path):
    from rlnas_core.training.supernet import SupernetSettings, build, compare

    models = [build(SPACE, 4, 1, SupernetSettings(channels=4, cells=1), seed) for seed in range(2)]
    statistics = compare(*models, {})
    statistics.epochs = np.array([0, 3, 6])
    statistics.operations = np.repeat(statistics.operations[-1:], 3, axis=0)
    statistics.fixed = np.repeat(statistics.fixed[-1:], 3, axis=0)
    statistics.save(tmp_path / "statistics.npz")
    made, scores, runtimes = runs
    followed = [made[0] | {"followed": True}]
    found = rankings.collect(SPACE, followed, scores[:1], [tmp_path / "statistics.npz"], pooling)
    rows = found["cifar10", 0]
    assert [row for row in rows if "epoch" in row] == ["uniform-once/angle/epoch 3"]
    assert rankings.core_seconds([rows], runtimes)["uniform-once/angle/epoch 3"] == pytest.approx(10 * 3 / 6)
    final = architecture_angles(SPACE, statistics, SPACE.enumerate(), pooling=pooling)
    np.testing.assert_array_equal(rows["uniform-once/angle/epoch 3"].scores, final)


def test_table_and_figure_show_every_ranking_best_first(runs, tmp_path):
    accuracies = np.random.default_rng(5).uniform(10, 90, 15625)
    made, scores, runtimes = runs
    found = rankings.collect(SPACE, made, scores, [], "reference")
    measured = pd.DataFrame(
        {"row": row, "needs": ranking.needs, "seed": seed, "column": "cifar10"}
        | measures(SPACE, ranking.scores, accuracies)
        for (_, seed), rows in found.items()
        for row, ranking in rows.items()
    )
    table, costs = rankings.summarise(measured), rankings.core_seconds(found.values(), runtimes)
    taus = [
        kendall(found["cifar10", seed]["uniform-once/angle"].scores, accuracies, "discounted")
        for seed in (0, 1)
    ]
    line = table.set_index("row").loc["uniform-once/angle"]
    assert (line["tau_discounted"], line["tau_discounted_std"], line["runs"]) == (
        pytest.approx(np.mean(taus), abs=1e-6),
        pytest.approx(np.std(taus, ddof=1), abs=1e-6),
        2,
    )
    assert np.isnan(table.set_index("row").loc["network-flops", "tau_discounted_std"])
    shown = rankings.lay_out(table, costs)
    taus = shown["tau-b, connected"][: table["row"].nunique()].astype(float)
    assert taus.is_monotonic_decreasing
    assert list(shown["Runs"][table["row"].nunique() :]) == ["quoted"] * len(PAPER["rankings"]["quoted"])
    others = table[table["row"] != "network-flops"].assign(column="cifar100")
    both = rankings.lay_out(pd.concat([others, table]), costs).set_index("Ranking")
    assert both.loc[title("network-flops"), "tau-b, connected"].startswith(
        f"{DASH} / "
    )  # no value for CIFAR-100
    rankings.write(table, costs, tmp_path / "rankings")
    assert list(pd.read_csv(tmp_path / "rankings.csv")["row"]) == list(table["row"])
    marks = {"md": "| untrained, N(0, 1): whole-vector angle", "tex": "tab:rlnas-rankings", "html": "AZ-NAS"}
    for kind, mark in marks.items():
        assert mark in (tmp_path / f"rankings.{kind}").read_text()
    figure = rankings.draw(table, costs)
    assert len(figure.axes[0].collections) + len(figure.axes[0].lines) > 2 * table["row"].nunique()
    kinds, names = ([text.get_text() for text in legend.get_texts()] for legend in figure.legends)
    assert {"AZ-NAS, quoted", "VKDNW, quoted"} <= set(kinds)
    numbers = [text.get_text() for text in figure.axes[0].texts]
    assert numbers == [name.split()[0] for name in names]
    levels = table.groupby("row")["tau_discounted_connected"].mean()
    assert " ".join(names[-1].split()[1:]) == title(levels.idxmin())


def test_rankings_without_computation_cost_nothing_and_are_beside_the_axis_of_costs():
    rows = {"synflow": 0.25, "zen": 31.4, "conv-weights": 0}
    measured = pd.DataFrame(
        {"row": row, "needs": "", "seed": 0, "column": "cifar10"}
        | measures(SPACE, np.arange(15625.0), np.arange(15625.0) % 97)
        for row in rows
    )
    table = rankings.summarise(measured)
    costs = rankings.lay_out(table, rows).set_index("Ranking")["Core seconds"]
    assert [costs[title(row)] for row in rows] == ["0.25", "31", DASH]
    axes = rankings.draw(table, rows).axes[0]
    ticks = dict(zip([text.get_text() for text in axes.get_xticklabels()], axes.get_xticks(), strict=True))
    assert list(ticks) == ["none", "0.1", "1", "10", "100"]
    assert ticks["none"] < ticks["0.1"]
    drawn = sorted(
        line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata())
    )
    assert drawn == [ticks["none"], 0.25, 31.4]
