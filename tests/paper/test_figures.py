import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from rlnas_core.paper.figures import draw_figure1, draw_scatter, draw_trajectory, save

CLASSES = {"cifar10": 10, "imagenet16": 120}
RED = "#d00000"


def categories():
    rng = np.random.default_rng(0)
    rows = [
        {
            "dataset": dataset,
            "categories": count,
            "seed": seed,
            "accuracy": 90 + rng.random(),
            "tau": rng.random(),
        }
        for dataset in CLASSES
        for count in (10, 60, 120)
        for seed in range(3)
    ]
    return pd.DataFrame(rows)


def scatter():
    rng = np.random.default_rng(0)
    angles = rng.uniform(1.0, 1.5, 500)
    accuracies = 100 * angles / 1.5 - rng.uniform(0, 20, 500)
    angles[:20] = 0
    return draw_scatter(angles, accuracies, int(angles.argmax()), "cifar10"), angles, accuracies


def trajectory(epochs=12):
    rng = np.random.default_rng(0)
    rows = [
        {"dataset": dataset, "method": method, "seed": seed, "epoch": epoch, "tau": rng.random()}
        for dataset in CLASSES
        for method in ("ground-truth", "uniform-once")
        for seed in range(2)
        for epoch in range(1, epochs + 1)
    ]
    return pd.DataFrame(rows)


def red_points(axes):
    lines = [line for line in axes.get_lines() if to_hex(line.get_color()) == RED]
    return [tuple(point) for line in lines for point in line.get_xydata()]


def test_figure_1_marks_the_true_number_of_classes_in_red():
    results = categories()
    figure = draw_figure1(results, CLASSES)
    ranking, *found = figure.axes
    mean = results.groupby(["dataset", "categories"])[["accuracy", "tau"]].mean()
    assert red_points(ranking) == [(count, mean.loc[(name, count), "tau"]) for name, count in CLASSES.items()]
    for axes, (name, count) in zip(found, CLASSES.items(), strict=True):
        assert red_points(axes) == [(count, mean.loc[(name, count), "accuracy"])]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["CIFAR-10", "ImageNet16-120", "true number of classes"]


def test_figure_1_draws_a_single_seed_and_a_count_without_the_true_one():
    results = categories().query("seed == 0 and categories > 10")
    assert red_points(draw_figure1(results, CLASSES).axes[1]) == []


def test_scatter_marks_the_chosen_architecture_and_says_what_it_leaves_out():
    figure, angles, accuracies = scatter()
    axes = figure.axes[0]
    chosen = angles.argmax()
    assert red_points(axes) == [(angles[chosen], accuracies[chosen])]
    assert axes.get_title("left").startswith("CIFAR-10: Kendall's tau 0.")
    outside = int(((angles == 0) | (accuracies < np.quantile(accuracies, 0.05))).sum())
    assert axes.get_title("right") == f"{outside} of 500 outside the view"
    assert axes.collections[0].get_array().sum() == 500 - outside


def test_trajectory_has_a_mean_and_each_seed_of_each_method():
    taus = trajectory()
    figure = draw_trajectory(taus)
    assert [axes.get_title("left") for axes in figure.axes] == ["CIFAR-10", "ImageNet16-120"]
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    mean = taus.query("dataset == 'cifar10' and method == 'ground-truth'").groupby("epoch")["tau"].mean()
    np.testing.assert_allclose(lines["true labels"].get_ydata(), mean)
    assert len(figure.axes[0].get_lines()) == 1 + 2 * (2 + 1)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: draw_figure1(categories(), CLASSES),
        lambda: scatter()[0],
        lambda: draw_trajectory(trajectory()),
    ],
    ids=["figure1", "scatter", "trajectory"],
)
def test_the_same_figure_twice_is_the_same_bytes(draw, tmp_path):
    figure = draw()
    save(figure, tmp_path / "first/figure")
    save(figure, tmp_path / "again/figure")
    save(draw(), tmp_path / "drawn_again/figure")
    for extension in ("svg", "pdf", "png"):
        first, *others = (
            (tmp_path / run / f"figure.{extension}").read_bytes() for run in ("first", "again", "drawn_again")
        )
        assert others == [first, first]


def test_a_scatter_of_the_whole_space_stays_small(tmp_path):
    angles, noise = np.random.default_rng(0).normal(size=(2, 15625))
    save(
        draw_scatter(angles - angles.min() + 0.1, 60 + 5 * (angles + noise), 0, "cifar10"),
        tmp_path / "scatter",
    )
    for extension in ("svg", "pdf", "png"):
        assert (tmp_path / f"scatter.{extension}").stat().st_size < 500_000
