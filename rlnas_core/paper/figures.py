"""The figures: tau by method, the paper's figure 1, angle against accuracy, and tau during training.

Inputs are tidy tables with one row per run. Outputs are matplotlib figures; `save` writes equal figures as
equal bytes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from rlnas_core.benchmark.ranking import kendall
from rlnas_core.paper.tables import CANDIDATES, panel, title

# Okabe and Ito's colours, for all kinds of colour vision; markers and dashes distinguish lines too.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#555555")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
_RED = "#D00000"
_METHODS = {
    "A": "A: true labels, accuracy",
    "B": "B: true labels, angle",
    "C": "C: random labels, accuracy",
    "D": "D: random labels, angle (RLNAS)",
    "live-conv-weights": "no network: weights on live edges",
    "D/layer-angle-sum-times-mean": "D, layer by layer",
    "D/operation-average-control": "its control: structure alone",
}
METHODS = tuple(_METHODS)
"""Rows of table 2 that `draw_methods` draws by default."""
STYLE: Any = {
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "savefig.dpi": 150,
    "svg.hashsalt": "rlnas",
}
_METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
    "png": {"Software": None},
}


def draw_figure1(results: pd.DataFrame, images: Mapping[str, str]) -> Figure:
    """Draw figure 1: test accuracy and Kendall's tau against the number of random-label categories.

    `results` has the columns dataset, classes, categories, seed, accuracy (percent) and tau. The number of
    classes of the images searched is marked in red, if they are labelled. Lines are means over seeds, bands
    one sample standard deviation on either side. `images` are those of each dataset, as in
    `tables.searched_images`.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 4.6), layout="constrained")
        datasets = {str(name): runs for name, runs in results.groupby("dataset", sort=False)}
        grid = figure.add_gridspec(len(datasets), 2)
        ranking = figure.add_subplot(grid[:, 1])
        found = [figure.add_subplot(grid[place, 0], sharex=ranking) for place in range(len(datasets))]
        for place, (dataset, runs) in enumerate(datasets.items()):
            for axes, value in ((found[place], "accuracy"), (ranking, "tau")):
                name = panel(dataset, images.get(dataset, ""))
                mean = _draw_runs(axes, runs, "categories", value, place, name)
                true = mean[mean.index == runs["classes"].iloc[0]]
                axes.plot(true.index, true, "*", color=_RED, markersize=14, markeredgecolor="white", zorder=5)
            found[place].tick_params(labelbottom=place == len(datasets) - 1)
            found[place].margins(y=0.15)
        for axes in (found[-1], ranking):
            axes.set_xlabel("Number of random-label categories")
        ranking.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        ranking.set_ylabel("Kendall's tau")
        ranking.set_title("(b) Ranking of the whole space")
        found[0].set_title("(a) Architecture found")
        found[len(datasets) // 2].set_ylabel("Test accuracy (%)")
        handles, labels = ranking.get_legend_handles_labels()
        if results["classes"].notna().any():
            handles.append(Line2D([], [], marker="*", linestyle="", color=_RED, markersize=12))
            labels.append("number of classes of the images searched")
        columns = 2 if any("\n" in label for label in labels) else len(labels)
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    return figure


def draw_methods(table: pd.DataFrame) -> Figure:
    """Draw Kendall's tau of each method, the paper's number beside the measured one, one panel per dataset.

    `table` is the tidy table 2, of which the rows `METHODS` are drawn from top to bottom. A bar is the t
    interval of the mean over seeds. A value of one run has none and is hollow, since its spread over seeds is
    unknown; its bootstrap interval over architectures is much narrower, and stays in the table.
    """
    with mpl.rc_context(STYLE):
        datasets = [str(name) for name in dict.fromkeys(table["column"])]
        figure = Figure(figsize=(1.9 + 2.8 * len(datasets), 1.3 + 0.36 * len(METHODS)), layout="constrained")
        panels = figure.subplots(1, len(datasets), sharex=True, sharey=True, squeeze=False)[0]
        for axes, dataset in zip(panels, datasets, strict=True):
            cells = table[table["column"] == dataset].set_index("row").reindex(list(METHODS))
            places = np.arange(len(METHODS))
            several, one = cells["mean"].where(cells["runs"] > 1), cells["mean"].where(cells["runs"] == 1)
            look: Any = {"fmt": "o", "color": COLOURS[0], "markersize": 6}
            axes.axvline(0, color="#888888", linewidth=1)
            axes.errorbar(
                *(several, places), xerr=(cells["high"] - cells["low"]) / 2, capsize=3,
                label="mean, 95% interval over seeds", **look,
            )  # fmt: skip
            axes.errorbar(
                *(one, places), markerfacecolor="white", label="one seed or no network", **look
            )  # fmt: skip
            axes.plot(
                *(cells["paper_mean"], places), "D", color=_RED, markersize=7, markerfacecolor="none",
                markeredgewidth=1.5, label="paper",
            )  # fmt: skip
            for place in places[cells["mean"].isna()]:
                why = "undefined: all tie" if cells["runs"].iloc[place] > 0 else "not measured"
                axes.text(0.16, place, why, va="center", fontsize=8, color="#777777")
            axes.set_title(panel(dataset, next(iter(cells["images"].dropna()), "")), fontsize=9)
            axes.set_xlabel("Kendall's tau")
        panels[0].set_yticks(places, [_METHODS.get(row, title(row)) for row in METHODS])
        panels[0].invert_yaxis()
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def draw_scatter(
    angles: np.ndarray, accuracies: np.ndarray, chosen: int, dataset: str, images: str, seed: int, ties: str
) -> Figure:
    """Draw each architecture's angle (N,) in radians against its accuracy (N,) in percent, as counts.

    `chosen` is the row of the architecture that the search chose; `images` and `seed` say which search it is.
    `ties` is that of `ranking.kendall`, for tau in the title. Architectures without a live path have angle 0
    by definition. They and the lowest 5% of accuracies lie outside the view; their number is written in it.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 5.0), layout="constrained")
        axes = figure.subplots()
        floor = min(np.quantile(accuracies, 0.05), accuracies[chosen])
        shown = (accuracies >= floor) & ((angles > 0) | (angles.max() == 0))
        counts = axes.hexbin(
            angles[shown],
            accuracies[shown],
            gridsize=60,
            bins="log",
            mincnt=1,
            cmap="cividis",
            linewidths=0.1,
        )
        counts.set_rasterized(True)
        figure.colorbar(counts, ax=axes, label="Architectures", pad=0.01)
        best = accuracies.max()
        axes.axhline(
            best, color="#555555", linewidth=1, linestyle="--", label=f"best of the space: {best:.2f}%"
        )
        axes.plot(
            *(angles[chosen], accuracies[chosen]), "*", color=_RED, markersize=17, markeredgecolor="white",
            zorder=5, label=f"chosen: {accuracies[chosen]:.2f}%",
        )  # fmt: skip
        name, *searched = panel(dataset, images).splitlines()
        tau = kendall(angles, accuracies, ties)
        axes.set_title(f"{name}: Kendall's tau {tau:.3f}\n" + ", ".join([*searched, f"seed {seed}"]))
        outside = f"{len(angles) - shown.sum():,} of {len(angles):,}\noutside the view"
        axes.set_title(outside, loc="right", fontsize=8, color="#555555")
        axes.set_xlabel("Angle between initial and trained weights (rad)")
        axes.set_ylabel("Test accuracy (%)")
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def draw_trajectory(taus: pd.DataFrame, images: Mapping[str, str]) -> Figure:
    """Draw Kendall's tau after each epoch, one panel per dataset and one line per method.

    `taus` has the columns dataset, method, seed, epoch and tau. Thick lines are means over seeds, thin lines
    single seeds.
    """
    with mpl.rc_context(STYLE):
        datasets = list(dict.fromkeys(taus["dataset"]))
        figure = Figure(figsize=(1.2 + 3.9 * len(datasets), 4.0), layout="constrained")
        panels = figure.subplots(1, len(datasets), sharey=True, squeeze=False)[0]
        methods = list(dict.fromkeys(taus["method"]))
        for axes, dataset in zip(panels, datasets, strict=True):
            axes.axhline(0, color="#888888", linewidth=1)
            for place, method in enumerate(methods):
                runs = taus[(taus["dataset"] == dataset) & (taus["method"] == method)]
                by_seed = runs.pivot(index="epoch", columns="seed", values="tau")
                axes.plot(by_seed.index, by_seed, color=COLOURS[place], linewidth=0.7, alpha=0.5)
                mean = by_seed.mean(axis=1)
                axes.plot(
                    mean.index, mean, color=COLOURS[place], linestyle=_DASHES[place], label=title(method)
                )
            axes.set_title(panel(str(dataset), images.get(str(dataset), "")))
            axes.set_xlabel("Epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        panels[0].set_ylabel("Kendall's tau of the angle")
        handles, _ = panels[0].get_legend_handles_labels()
        if taus["seed"].nunique() > 1:
            handles.append(Line2D([], [], color="#555555", linewidth=0.7, alpha=0.5, label="single seeds"))
        columns = min(len(handles), 3 * len(datasets) - 1)
        figure.legend(handles=handles, loc="outside lower center", ncols=columns)
    return figure


def draw_initialisations(results: pd.DataFrame) -> Figure:
    """Draw tau and accuracy of untrained angles against the scale of the weights, one column per dataset.

    `results` has the columns dataset, initialisation, scale, seed, tau and accuracy (percent). Lines are
    means over seeds, points single seeds. The rows of table 7 have scale 1.
    """
    with mpl.rc_context(STYLE):
        datasets = list(dict.fromkeys(results["dataset"]))
        figure = Figure(figsize=(1.2 + 3.6 * len(datasets), 5.6), layout="constrained")
        panels = figure.subplots(2, len(datasets), sharex=True, squeeze=False)
        for column, dataset in zip(panels.T, datasets, strict=True):
            for place, name in enumerate(dict.fromkeys(results["initialisation"])):
                runs = results[(results["dataset"] == dataset) & (results["initialisation"] == name)]
                style = {"color": COLOURS[place], "marker": _MARKERS[place]}
                for axes, value in zip(column, ("tau", "accuracy"), strict=True):
                    mean = runs.groupby("scale")[value].mean()
                    axes.plot(mean.index, mean, markersize=5, label=title(f"untrained-{name}"), **style)
                    axes.plot(runs["scale"], runs[value], linestyle="", markersize=3, alpha=0.4, **style)
            for axes in column:
                axes.axvline(1, color="#888888", linewidth=1, linestyle=":", label="scale of table 7's rows")
            column[0].set_title(title(dataset))
            column[1].set_xscale("log")
            column[1].set_xlabel("Scale of the weights")
        panels[0, 0].set_ylabel("Kendall's tau of the angle")
        panels[1, 0].set_ylabel("Test accuracy found (%)")
        handles, _ = panels[0, 0].get_legend_handles_labels()
        point: Any = {"marker": "o", "color": "#555555", "markersize": 3, "alpha": 0.4, "linestyle": ""}
        handles.append(Line2D([], [], label="single seeds", **point))
        figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def draw_label_curve(results: pd.DataFrame) -> Figure:
    """Draw accuracy on held-out images against the number of labels per class, one line per architecture.

    `results` has the columns architecture, labels (per class, on average), seed and accuracy (percent). Lines
    are means over seeds, bands one sample standard deviation on either side.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.4), layout="constrained")
        axes = figure.subplots()
        for place, (name, runs) in enumerate(results.groupby("architecture", sort=False)):
            _draw_runs(axes, runs, "labels", "accuracy", place, CANDIDATES.get(str(name), str(name)))
        axes.set_xscale("log")
        ticks = sorted(set(results["labels"]))
        axes.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("Labels per class")
        axes.set_ylabel("Accuracy on held-out images (%)")
        axes.legend()
    return figure


def save(figure: Figure, stem: Path | str) -> None:
    """Write a figure as STEM.svg, STEM.pdf and STEM.png; equal figures give equal bytes."""
    stem = Path(stem)
    stem.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # otherwise each format and call would shift the axes a little
        for extension, metadata in _METADATA.items():
            figure.savefig(stem.with_name(f"{stem.name}.{extension}"), metadata=metadata)


def _draw_runs(axes: Axes, runs: pd.DataFrame, x: str, y: str, place: int, label: str) -> pd.Series:
    """Draw the mean of column y at each x, with a band of one standard deviation; return the mean.

    The band of accuracies ends at 0 and 100%.
    """
    groups = runs.groupby(x)[y]
    mean, std = groups.mean(), groups.std().fillna(0)
    look: Any = {"color": COLOURS[place], "linestyle": _DASHES[place], "marker": _MARKERS[place]}
    low, high = mean - std, mean + std
    if y == "accuracy":
        low, high = low.clip(lower=0), high.clip(upper=100)
    axes.fill_between(mean.index, low, high, color=look["color"], alpha=0.18, linewidth=0)
    axes.plot(mean.index, mean, **look, markersize=5, label=label)
    return mean
