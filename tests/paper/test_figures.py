import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from rlnas_core.benchmark.ranking import TIES, kendall
from rlnas_core.paper.figures import (
    METHODS,
    draw_figure1,
    draw_initialisations,
    draw_label_curve,
    draw_methods,
    draw_scatter,
    draw_trajectory,
    save,
)
from rlnas_core.paper.tables import OTHER, tidy

CLASSES = {"cifar10": 10, "imagenet16": 120}
RED = "#d00000"


def categories():
    rng = np.random.default_rng(0)
    rows = [
        {
            "dataset": dataset,
            "classes": CLASSES[dataset],
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


PHOTOS = {"cifar10": f"photos at 32x32 pixels, {OTHER}", "imagenet16": "imagenet16 at 16x16 pixels"}


def scatter():
    rng = np.random.default_rng(0)
    angles = rng.uniform(1.0, 1.5, 500)
    accuracies = 100 * angles / 1.5 - rng.uniform(0, 20, 500)
    angles[:20] = 0
    figure = draw_scatter(angles, accuracies, int(angles.argmax()), "cifar10", "", 0, "in-order")
    return figure, angles, accuracies


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


def titles(figure):
    return [ax.get_title(loc="left") for ax in figure.axes]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def red_points(axes):
    lines = [line for line in axes.get_lines() if to_hex(line.get_color()) == RED]
    return [tuple(point) for line in lines for point in line.get_xydata()]


def test_figure_1_marks_the_true_number_of_classes_in_red():
    results = categories()
    figure = draw_figure1(results, {})
    ranking, *found = figure.axes
    mean = results.groupby(["dataset", "categories"])[["accuracy", "tau"]].mean()
    assert red_points(ranking) == [(count, mean.loc[(name, count), "tau"]) for name, count in CLASSES.items()]
    for axes, (name, count) in zip(found, CLASSES.items(), strict=True):
        assert red_points(axes) == [(count, mean.loc[(name, count), "accuracy"])]
    assert legend(figure) == ["CIFAR-10", "ImageNet16-120", "number of classes of the images searched"]


def test_figure_1_draws_a_single_seed_and_a_count_without_the_true_one():
    results = categories().query("seed == 0 and categories > 10")
    assert red_points(draw_figure1(results, {}).axes[1]) == []


def test_figure_1_is_as_wide_as_its_legend():
    figure = draw_figure1(categories(), dict.fromkeys(CLASSES, f"digits at 8x8 pixels, {OTHER}"))
    figure.draw_without_rendering()
    drawn = figure.legends[0].get_window_extent()
    assert 0 <= drawn.x0 < drawn.x1 <= figure.bbox.width


def methods():
    measured = [("D", name, seed, 0.5 + 0.01 * seed) for name in CLASSES for seed in range(3)]
    return tidy(pd.DataFrame(measured, columns=["row", "column", "seed", "value"]), 2)


def test_methods_stand_beside_the_papers_numbers_or_say_that_they_were_not_measured():
    figure = draw_methods(methods())
    assert len(figure.axes) == 3
    axes, place = figure.axes[0], METHODS.index("D")
    (paper,) = [line for line in axes.get_lines() if to_hex(line.get_color()) == RED]
    np.testing.assert_array_equal(paper.get_xdata()[:4], [0.4239, 0.6671, 0.0874, 0.5059])
    bars = [segment for segment in axes.collections[0].get_segments() if len(segment)]
    (bar,) = [np.ptp(segment[:, 0]) for segment in bars if np.isfinite(segment).all()]
    assert bar == pytest.approx(
        2 * 4.302653 * 0.01 / np.sqrt(3), rel=1e-5
    )  # Student's t with two degrees of freedom
    empty = [text.get_position()[1] for text in axes.texts if text.get_text() == "not measured"]
    assert empty == [row for row in range(len(METHODS)) if row != place]


def test_a_method_of_one_seed_is_hollow_and_has_no_bar():
    one = pd.DataFrame(
        [{"row": "D", "column": "cifar10", "seed": 0, "value": 0.5, "low": 0.49, "high": 0.51}]
    )
    axes = draw_methods(tidy(one, 2)).axes[0]
    drawn = [line for line in axes.get_lines() if 0.5 in line.get_xdata()]
    assert [line.get_markerfacecolor() for line in drawn] == ["white"]
    bars = [segment for of in axes.collections for segment in of.get_segments()]
    assert not any(len(bar) and np.isfinite(bar).all() for bar in bars)


def test_scatter_marks_the_chosen_architecture_and_says_what_it_leaves_out():
    figure, angles, accuracies = scatter()
    axes = figure.axes[0]
    chosen = angles.argmax()
    assert red_points(axes) == [(angles[chosen], accuracies[chosen])]
    assert axes.get_title("left").startswith("CIFAR-10: Kendall's tau 0.")
    outside = int(((angles == 0) | (accuracies < np.quantile(accuracies, 0.05))).sum())
    assert axes.get_title("right") == f"{outside} of 500\noutside the view"
    assert axes.collections[0].get_array().sum() == 500 - outside


@pytest.mark.parametrize("ties", TIES)
def test_scatter_treats_ties_as_table_2_does(ties):
    angles = np.repeat([0.0, 1.1, 1.2], 20)
    accuracies = 50 + 10 * angles + np.random.default_rng(0).uniform(0, 5, 60)
    figure = draw_scatter(angles, accuracies, 59, "cifar10", "", 0, ties)
    tau = kendall(angles, accuracies, ties)
    assert figure.axes[0].get_title("left") == f"CIFAR-10: Kendall's tau {tau:.3f}\nseed 0"


def test_trajectory_has_a_mean_and_each_seed_of_each_method():
    taus = trajectory()
    figure = draw_trajectory(taus, {})
    assert [axes.get_title("left") for axes in figure.axes] == ["CIFAR-10", "ImageNet16-120"]
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    mean = taus.query("dataset == 'cifar10' and method == 'ground-truth'").groupby("epoch")["tau"].mean()
    np.testing.assert_allclose(lines["true labels"].get_ydata(), mean)
    assert len(figure.axes[0].get_lines()) == 1 + 2 * (2 + 1)
    assert legend(figure) == ["true labels", "RLNAS, uniform once", "single seeds"]
    assert "single seeds" not in legend(draw_trajectory(taus.query("seed == 0"), {}))


def test_a_scatter_of_the_whole_space_stays_small(tmp_path):
    angles, noise = np.random.default_rng(0).normal(size=(2, 15625))
    save(
        draw_scatter(angles - angles.min() + 0.1, 60 + 5 * (angles + noise), 0, "cifar10", "", 0, "in-order"),
        tmp_path / "scatter",
    )
    for extension in ("svg", "pdf", "png"):
        assert (tmp_path / f"scatter.{extension}").stat().st_size < 500_000


def test_every_figure_names_images_that_are_not_the_papers():
    searched = "CIFAR-10\nsearched on photos at 32x32 pixels"
    first = draw_figure1(categories(), PHOTOS)
    assert first.axes[0].get_legend_handles_labels()[1] == [searched, "ImageNet16-120"]
    assert titles(draw_trajectory(trajectory(), PHOTOS)) == [searched, "ImageNet16-120"]
    angles = np.random.default_rng(0).uniform(1, 2, 50)
    (title, _) = titles(draw_scatter(angles, 50 * angles, 3, "cifar10", PHOTOS["cifar10"], 2, "in-order"))
    assert title.startswith("CIFAR-10: Kendall's tau")
    assert title.endswith("\nsearched on photos at 32x32 pixels, seed 2")
    table = methods().assign(images=lambda cells: cells["column"].map(PHOTOS).fillna(""))
    assert titles(draw_methods(table))[0] == searched


def test_every_figure_names_a_size_that_is_not_the_papers():
    small = {"cifar10": "CIFAR-10 at 8x8 pixels", "imagenet16": "ImageNet16-120 at 16x16 pixels"}
    assert titles(draw_trajectory(trajectory(), small)) == ["CIFAR-10\nat 8x8 pixels", "ImageNet16-120"]


def test_images_without_labels_have_no_true_number_of_classes():
    results = categories().assign(classes=pd.NA)
    figure = draw_figure1(results, PHOTOS)
    assert red_points(figure.axes[1]) == []
    assert "number of classes of the images searched" not in legend(figure)


def test_label_curve_has_the_mean_of_each_architecture_at_each_number_of_labels():
    names = {"found": ("found with random labels", 70), "structure": ("structure alone, no training", 60)}
    rows = [
        {"architecture": name, "labels": labels, "seed": seed, "accuracy": start + labels / 5 + 40 * seed}
        for name, (_, start) in names.items()
        for labels in (5.0, 36.5)
        for seed in (0, 1)
    ]
    axes = draw_label_curve(pd.DataFrame(rows)).axes[0]
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}
    expected = {title: [[5, start + 21], [36.5, start + 27.3]] for title, start in names.values()}
    assert lines == {title: pytest.approx(np.array(points)) for title, points in expected.items()}
    assert max(band.get_paths()[0].vertices[:, 1].max() for band in axes.collections) == 100


def test_initialisations_have_a_line_each_and_a_mark_at_the_papers_scale():
    results = pd.DataFrame(
        [
            {"dataset": "cifar10", "initialisation": name, "scale": scale, "seed": seed}
            for name in ("normal", "kaiming-normal")
            for scale in (0.1, 1, 10)
            for seed in (0, 1)
        ]
    )
    results["tau"], results["accuracy"] = results["seed"] / 2, 90 + results["seed"]
    figure = draw_initialisations(results)
    above, below = figure.axes
    assert legend(figure)[2:] == ["scale of table 7's rows", "single seeds"]
    for axes, mean in ((above, 0.25), (below, 90.5)):
        means = [line for line in axes.lines if len(line.get_xdata()) == 3]
        assert [line.get_ydata().tolist() for line in means] == [[mean] * 3] * 2
        assert [1, 1] in [list(line.get_xdata()) for line in axes.lines]
