"""A self-contained page that shows every ranking of the enumerated space against every accuracy."""

import base64
import html
import json
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd
from bokeh.core.types import ID
from bokeh.embed import json_item
from bokeh.models import BoxSelectTool, ColumnDataSource, HoverTool, LinearColorMapper, Range1d
from bokeh.models.annotations import ColorBar
from bokeh.palettes import Cividis256
from bokeh.plotting import figure
from bokeh.resources import Resources
from scipy.stats import rankdata

from rlnas_core.benchmark.ranking import kendall
from rlnas_core.paper.rankings import Ranking
from rlnas_core.paper.tables import title
from rlnas_core.spaces import NASBench201
from rlnas_core.spaces.nas_bench_201 import CONV_3X3, EDGES

LIMIT = 5_000_000
"""Largest size of a page in bytes."""


def explorer(
    space: NASBench201, rankings: Mapping[str, Ranking], accuracies: pd.DataFrame, ties: str, about: str
) -> str:
    """Return an HTML page of rankings of all architectures, and their accuracies in percent (columns).

    `ties` is that of `ranking.kendall`. `about` says in the heading what was ranked: run, images and seed.
    Places count from 1, the best; tied architectures share their best place. Raises ValueError if the page is
    larger than `LIMIT`.
    """
    genes = space.enumerate()
    params, _ = space.cost(genes)
    columns = {title(str(name)): values for name, values in accuracies.items()}
    content = {
        "operations": space.operations,
        "edges": EDGES,
        "genes": _pack(genes, "u1"),
        "colours": {
            "parameters (thousands)": _pack(params / 1000, "f4"),
            "3x3 convolutions": _pack((genes == CONV_3X3).sum(axis=1), "f4"),
        },
        "accuracies": {name: _pack(values, "f4") for name, values in columns.items()},
        "rankings": [
            {
                "title": title(row),
                "needs": ranking.needs or "nothing",
                "tau": {name: _tau(ranking.scores, values, ties) for name, values in columns.items()},
                "places": _pack(rankdata(-ranking.scores, "min"), "u2"),
            }
            for row, ranking in rankings.items()
        ],
    }
    template = resources.files("rlnas_core.paper").joinpath("explorer.html").read_text(encoding="utf-8")
    page = template
    for place, text in {
        "<!-- ABOUT -->": html.escape(about),
        "/* BOKEH */": "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw),
        "/* PLOT */ null": _numbered(_script(json_item(_plot(), ID("plot")))),
        "/* CONTENT */ null": _script(content),
    }.items():
        page = page.replace(place, text)
    if len(page.encode()) > LIMIT:
        raise ValueError(
            f"explorer: got {len(page.encode()):,} bytes for {len(rankings)} rankings; accepted: {LIMIT:,}; "
            "show fewer rankings"
        )
    return page


def _pack(values: Any, kind: str) -> str:
    return base64.b64encode(np.asarray(values).astype(f"<{kind}").tobytes()).decode()


def _tau(scores: np.ndarray, accuracies: pd.Series, ties: str) -> float | None:
    tau = kendall(scores, accuracies.to_numpy(), ties)
    return None if np.isnan(tau) else round(tau, 3)


def _script(value: Any) -> str:
    """JSON that can't close the script element that contains it."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _numbered(text: str) -> str:
    """Renumber Bokeh's models from 0, since Bokeh numbers them throughout the process."""
    numbers: dict[str, int] = {}
    return re.sub(r'"p\d+"', lambda match: f'"p{numbers.setdefault(match[0], len(numbers))}"', text)


def _plot() -> Any:
    """The empty plot; the page's script fills it."""
    fields: dict[str, list[float]] = {"x": [], "y": [], "c": [], "i": []}
    plot = figure(
        name="figure",
        height=560,
        sizing_mode="stretch_width",
        x_axis_label="place in the ranking (the best at the right)",
        y_axis_label="test accuracy (%)",
        tools="pan,wheel_zoom,box_zoom,tap,reset",
        active_scroll="wheel_zoom",
        x_range=Range1d(start=15625, end=1),
        y_range=Range1d(start=0, end=100),
    )
    plot.toolbar.logo = None
    mapper = LinearColorMapper(palette=Cividis256, low=0, high=1, name="mapper")
    rest, points, marks, chosen = (
        ColumnDataSource(data=dict(fields), name=name) for name in ("rest", "points", "marks", "chosen")
    )
    plot.scatter("x", "y", source=rest, size=3, color="#cccccc", alpha=0.4)
    shown = plot.scatter(
        "x",
        "y",
        source=points,
        size=5,
        color={"field": "c", "transform": mapper},
        alpha=0.75,
        selection_line_color="#d00000",
        selection_alpha=1,
        nonselection_alpha=0.25,
    )
    looks: Any = {"fill_color": None, "line_color": "#d00000", "line_width": 2}
    plot.scatter("x", "y", source=marks, marker="star", size=14, **looks)
    plot.scatter("x", "y", source=chosen, marker="circle", size=18, **looks)
    plot.add_tools(
        BoxSelectTool(renderers=[shown]),
        HoverTool(renderers=[shown], tooltips=[("place", "@x"), ("accuracy", "@y{0.00}%")]),
    )
    plot.add_layout(ColorBar(color_mapper=mapper, name="bar", title="", width=12), "right")
    return plot
