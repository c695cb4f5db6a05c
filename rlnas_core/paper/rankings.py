"""The table and the figure of all rankings of the enumerated space: quality, cost and requirements."""

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from rlnas_core.benchmark.ranking import baselines
from rlnas_core.paper.figures import COLOURS, STYLE
from rlnas_core.paper.formats import latex_table, page, tex, write_texts
from rlnas_core.paper.numbers import PAPER
from rlnas_core.paper.tables import DASH, title
from rlnas_core.search.angle import architecture_angles
from rlnas_core.search.results import read_scores
from rlnas_core.spaces import NASBench201
from rlnas_core.training.statistics import Statistics

_COLUMNS = {
    "tau_discounted_connected": ("tau-b, connected", 3),
    "rho_connected": ("rho, connected", 3),
    "gain_at_top_connected": ("nDCG, connected", 3),
    "tau_discounted": ("tau-b, all", 3),
    "rho": ("rho, all", 3),
    "gain_at_top": ("nDCG, all", 3),
    "tau_within_size": ("tau-b within size", 3),
    "top": ("best", 2),
    "top_permille": ("best 0.1%", 2),
}
"""Headings and decimals of the measures of `ranking.measures`."""
_KEY = "tau_discounted_connected"
_NAMED = {
    "uniform-once/angle",
    "ground-truth/angle",
    "naswot",
    "jacobian-covariance",
    "synflow",
    "zen",
    "az-nas",
}


@dataclass
class Ranking:
    """Scores (15625,) of the whole space, their needs, and the share in each job, by its name."""

    scores: np.ndarray
    needs: str
    jobs: dict[str, float]


def label_rows(results: pd.DataFrame, baselines: pd.DataFrame, table: Mapping[str, Any]) -> pd.DataFrame:
    """Return rankings with the `row` of a table of paper.yaml to which each belongs.

    Besides measures, `results` has the columns labels, indicator, seed and column; `baselines` has column and
    indicator, which names its rows. Other indicators from the sums of the angle follow as METHOD/INDICATOR,
    for the table's `indicator_rows`.
    """
    methods = {(method["labels"], method["indicator"]): row for row, method in table["methods"].items()}
    rows, others = [], [baselines.assign(row=baselines["indicator"], seed=0)]
    for (labels, indicator), runs in results.groupby(["labels", "indicator"], sort=False):
        angle = methods.get((labels, "angle"))
        if row := methods.get((labels, indicator)):
            rows.append(runs.assign(row=row))
        elif angle in table["indicator_rows"]:
            others.append(runs.assign(row=f"{angle}/{indicator}"))
    order = {row: place for place, row in enumerate(table["methods"])}
    rows.sort(key=lambda runs: order[runs["row"].iloc[0]])
    return pd.concat([*rows, *others], ignore_index=True)


def collect(
    space: NASBench201,
    runs: Iterable[Mapping[str, Any]],
    scores: Iterable[str],
    statistics: Iterable[str],
    pooling: str,
) -> dict[tuple[str, int], dict[str, Ranking]]:
    """Return every ranking by (image dataset, seed) and row.

    A run has dataset, labels, seed and indicator, and the names of its jobs. If it is `followed`, its earlier
    epochs are ranked too. `scores` are files of all runs, `statistics` those of the followed ones; `pooling`
    is that of `angle.group_sums`.
    """
    followed = iter(statistics)
    found: dict[tuple[str, int], dict[str, Ranking]] = {}
    for run, file in zip(runs, scores, strict=True):
        rankings = found.setdefault((run["dataset"], int(run["seed"])), {})
        columns = read_scores(file, space)
        alone = _stands_alone(run["indicator"])
        wanted = needs(run["labels"], run["indicator"])
        jobs = dict.fromkeys(run["jobs"], 1.0)
        for name, column in columns.items():
            row = str(name) if alone else f"{run['labels']}/{name}"
            rankings[row] = Ranking(column.to_numpy(np.float64), wanted, jobs)
        if run["followed"]:
            supernet = Statistics.load(next(followed))
            *before, last = supernet.epochs.tolist()
            for place, epoch in enumerate(before):
                if epoch in PAPER["rankings"]["angle_epochs"]:
                    angles = architecture_angles(space, supernet, space.enumerate(), place, pooling)
                    jobs = dict.fromkeys(run["jobs"], epoch / last)
                    rankings[f"{run['labels']}/angle/epoch {epoch}"] = Ranking(angles, wanted, jobs)
    for dataset in {dataset for dataset, _ in found}:
        first = min(key for key in found if key[0] == dataset)
        for name, sizes in baselines(space).items():
            found[first][name] = Ranking(sizes, "", {})
    return found


def needs(labels: str, indicator: str) -> str:
    """Return whether a ranking needs images, true labels and training, as text."""
    proxies, sums = PAPER["rankings"]["proxies"], PAPER["rankings"]["rank_sums"]
    wanted: set[str] = set()
    for part in sums.get(indicator, [indicator]):
        if part in proxies:
            wanted |= set(proxies[part]["needs"])
        elif not labels.startswith("untrained"):
            wanted |= {"images", "labels", "training"}
    if labels != "ground-truth":
        wanted -= {"labels"}
    return ", ".join(need for need in ("images", "labels", "training") if need in wanted)


def _stands_alone(indicator: str) -> bool:
    """Whether a ranking's name has no labels: it needs none, or is a sum with random labels."""
    proxy = PAPER["rankings"]["proxies"].get(indicator)
    return indicator in PAPER["rankings"]["rank_sums"] or (
        proxy is not None and "labels" not in proxy["needs"]
    )


def core_seconds(rankings: Iterable[Mapping[str, Ranking]], runtimes: Mapping[str, str]) -> dict[str, float]:
    """Return the mean over seeds of the core seconds of each row's jobs, from their files of runtimes."""
    spent: dict[str, list[float]] = {}
    for of_seed in rankings:
        for row, ranking in of_seed.items():
            seconds = (share * _seconds(runtimes[job]) for job, share in ranking.jobs.items())
            spent.setdefault(row, []).append(sum(seconds))
    return {row: float(np.mean(values)) for row, values in spent.items()}


def _seconds(file: str) -> float:
    """CPU time of a job, or its duration if Snakemake could not measure CPU time."""
    runtime = pd.read_csv(file, sep="\t", na_values=["-", "NA"]).iloc[0]
    return float(runtime["cpu_time"] if runtime.get("cpu_time", 0) > 0 else runtime["s"])


def summarise(measured: pd.DataFrame) -> pd.DataFrame:
    """Summarise seeds: return row, needs, column, runs, and mean and MEASURE_std of each measure.

    `measured` has the columns row, needs, seed and column, and all `ranking.measures`. Rows are sorted by
    their mean tau-b on connected architectures over the columns, the best first.
    """
    keys = ["row", "needs", "column"]
    grouped = measured.drop(columns="seed").groupby(keys, sort=False)
    table = grouped.mean().join(grouped.std().add_suffix("_std")).round(6)
    table.insert(0, "runs", grouped.size())
    order = -table[_KEY].groupby("row").transform("mean").fillna(-np.inf)
    return table.loc[order.sort_values(kind="stable").index].reset_index()


def lay_out(table: pd.DataFrame, costs: Mapping[str, float]) -> pd.DataFrame:
    """Return the result of `summarise` as text, one row per ranking, quoted rankings last.

    `costs` are in core seconds. A cell has one value for each column of the table.
    """
    datasets = list(dict.fromkeys(table["column"]))

    def values(numbers: Iterable[float], digits: int) -> str:
        return " / ".join(DASH if np.isnan(number) else f"{number:.{digits}f}" for number in numbers)

    rows = []
    for row, cells in table.groupby("row", sort=False):
        measured = cells.set_index("column").reindex(datasets)
        rows.append(
            {
                "Ranking": title(str(row)),
                "Needs": str(cells["needs"].iat[0] or "nothing"),
                "Core seconds": _cost(costs[str(row)]),
                **{head: values(measured[name], digits) for name, (head, digits) in _COLUMNS.items()},
                "Runs": str(cells["runs"].iat[0]),
            }
        )
    rows += [
        {"Ranking": name, "Runs": "quoted"}
        | {_COLUMNS[measure][0]: values((of[name] for name in datasets), 3) for measure, of in quoted.items()}
        for name, quoted in PAPER["rankings"]["quoted"].items()
        if set(datasets) <= quoted[_KEY].keys()
    ]
    return pd.DataFrame(rows).fillna(DASH)


def _cost(seconds: float) -> str:
    """Seconds as text, with a dash for none and two digits for a few."""
    if seconds == 0:
        return DASH
    return f"{seconds:,.0f}" if seconds >= 10 else f"{seconds:.2g}"


def write(table: pd.DataFrame, costs: Mapping[str, float], stem: Path | str) -> None:
    """Write STEM.csv, tidy and without costs, and readable tables STEM.md, STEM.tex and STEM.html."""
    shown = lay_out(table, costs)
    datasets = " / ".join(map(title, dict.fromkeys(table["column"])))
    caption = f"{PAPER['rankings']['caption']} {datasets}."
    lines = [f"**Rankings.** {caption}", "", shown.to_markdown(index=False, disable_numparse=True), ""]
    body = shown.map(tex).rename(columns=tex).style.hide(axis="index").to_latex(hrules=True)
    heading = f"<b>Rankings.</b> {html.escape(caption)}"
    lines_of = shown.map(html.escape).replace({" / ": "<br>"}, regex=True)
    lines_of.insert(3, "Dataset", "<br>".join(map(title, dict.fromkeys(table["column"]))))
    classes = pd.DataFrame("", lines_of.index, lines_of.columns)
    classes["Ranking"] = "text"
    style = lines_of.style.hide(axis="index").set_uuid("rankings").set_td_classes(classes)
    texts = {
        "md": "\n".join(lines),
        "tex": latex_table(body, caption, "rankings"),
        "html": page("Rankings", style.to_html(caption=heading, cell_ids=False), []),
    }
    write_texts(stem, table, **texts)


def draw(table: pd.DataFrame, costs: Mapping[str, float]) -> Figure:
    """Draw each ranking's Kendall's tau on connected architectures against its cost in core seconds.

    A point is the mean over datasets and a bar their range; points are filled if no true label is needed.
    Rankings that are better than all cheaper ones, the angle, the best-known proxies and the lowest ranking
    have a number, and names beside the plot. Rankings without computation are left of the axis of costs, and
    published numbers are lines.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 6.2), layout="constrained")
        axes = figure.add_subplot()
        spent = [cost for cost in costs.values() if cost > 0] or [1.0]
        decades = 10.0 ** np.arange(np.floor(np.log10(min(spent))), np.ceil(np.log10(max(spent))) + 1)
        nothing = decades[0] / 4
        means = table.groupby("row", sort=False)[_KEY].agg(["mean", "min", "max"]).dropna()
        means["cost"] = [costs[str(row)] or nothing for row in means.index]
        means = means.sort_values(["cost", "mean"], ascending=[True, False], kind="stable")
        wants = dict(zip(table["row"], table["needs"], strict=True))
        for row, (mean, low, high, cost) in means.iterrows():
            free = "labels" not in wants[row]
            colour = COLOURS[0] if free else COLOURS[1]
            axes.plot([cost, cost], [low, high], color=colour, linewidth=1, zorder=2)
            face = colour if free else "white"
            axes.plot(cost, mean, "o" if free else "s", color=colour, markerfacecolor=face, zorder=3)
        for style, (name, quoted) in zip((":", "--"), PAPER["rankings"]["quoted"].items(), strict=True):
            if set(table["column"]) <= quoted[_KEY].keys():
                level = np.mean([quoted[_KEY][dataset] for dataset in dict.fromkeys(table["column"])])
                label = f"{name.split(' (')[0]}, quoted"
                axes.axhline(level, color="#888888", linewidth=1, linestyle=style, label=label)
        axes.set_xscale("log")
        axes.set_xlim(nothing / 2, decades[-1] * 2)
        axes.set_xticks([nothing, *decades], ["none", *(f"{decade:g}" for decade in decades)])
        axes.set_xticks([], minor=True)
        axes.axvline(decades[0] / 2, color="white", linewidth=9, zorder=2.6, clip_on=False)
        better = means["mean"] > means["mean"].cummax().shift(fill_value=-1)
        lowest = means["mean"] == means["mean"].min()
        names = _number(axes, means, better | lowest | means.index.isin(_NAMED))
        axes.plot([], [], "o", color=COLOURS[0], label="needs no true label")
        axes.plot([], [], "s", color=COLOURS[1], markerfacecolor="white", label="needs true labels")
        axes.set_xlabel("Core seconds to rank the whole space")
        axes.set_ylabel("Kendall's tau-b, connected architectures\n(mean and range over datasets)")
        figure.legend(loc="outside lower center", ncols=4)
        figure.legend(handles=names, loc="outside right upper", fontsize=7, handlelength=0, handletextpad=0)
    return figure


def _number(axes: Axes, means: pd.DataFrame, named: pd.Series) -> list[Line2D]:
    """Number the named points from the highest, where fewer points are; return the legend's entries."""
    bottom, top = axes.get_ylim()
    step = 0.025 * (top - bottom)
    written: list[tuple[float, float]] = []
    entries = []
    ranked = means[named].sort_values("mean", ascending=False)[["mean", "cost"]]
    for number, (row, mean, cost) in enumerate(ranked.itertuples(), start=1):
        aside = np.log10(means["cost"][(means["mean"] - mean).abs() < step] / cost)
        side = 1 if aside.between(0, 0.2).sum() <= aside.between(-0.2, 0).sum() else -1
        near = [height for x, height in written if abs(np.log10(x / cost)) < 0.2]
        height = min([mean, *(other - step for other in near)])
        written.append((cost, height))
        line = {"arrowstyle": "-", "color": "#888888", "linewidth": 0.6, "shrinkA": 0}
        line["relpos"] = ((1 - side) / 2, 0.5)
        look: Any = {"fontsize": 8, "fontweight": "bold", "arrowprops": line, "zorder": 4}
        look |= {"ha": "left" if side == 1 else "right", "va": "center"}
        text = axes.annotate(
            str(number), (cost, mean), (9 * side, height), textcoords=("offset points", "data"), **look
        )
        text.set_path_effects([withStroke(linewidth=2, foreground="white")])
        label = fill(f"{number}  {title(str(row))}", 42, subsequent_indent="    ")
        entries.append(Line2D([], [], linestyle="", label=label))
    return entries
