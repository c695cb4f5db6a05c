"""Architectures as pictures: DARTS cells (figures 2 to 4), the chain of blocks (figure 5), one cell."""

from collections.abc import Iterable, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from rlnas_core.paper.figures import STYLE
from rlnas_core.spaces import DARTS, NASBench201, get
from rlnas_core.spaces.mobilenet import BLOCKS, FIRST, LAST, SHAPES, SKIP, STAGES, STEM
from rlnas_core.spaces.nas_bench_201 import EDGES, NONE

_COLOURS = {
    "sep_conv_3x3": "#0072B2",
    "sep_conv_5x5": "#56B4E9",
    "dil_conv_3x3": "#D55E00",
    "dil_conv_5x5": "#E69F00",
    "skip_connect": "#777777",
    "max_pool_3x3": "#009E73",
    "avg_pool_3x3": "#CC79A7",
    "nor_conv_1x1": "#56B4E9",
    "nor_conv_3x3": "#0072B2",
}
_KERNEL_COLOURS = {3: "#0072B2", 5: "#E69F00", 7: "#D55E00"}
# Positions of the two inputs, the four nodes and the output of a cell
_PLACES = [(0, 1.15), (0, -1.15), (2.0, 1.15), (3.6, -1.15), (5.2, 1.15), (6.8, -1.15), (8.6, 0)]
_CELL_PLACES = np.array([(0, 0), (2.1, 1.4), (4.7, -1.4), (6.8, 0)])  # of NAS-Bench-201's nodes
_NAMES = ["$c_{k-2}$", "$c_{k-1}$", "0", "1", "2", "3", "$c_k$"]


def found(searches: Iterable[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Return the genes that this run's searches found, by titles that distinguish the searches."""
    drawn = {}
    for search in searches:
        within = "" if search["limit"] == "none" else f" within {search['limit']}M"
        title = f"this run, {search['dataset']}{within}, seed {search['seed']}"
        drawn[title] = get(search["space"]).from_string([search["arch"]])[0]
    return drawn


def draw_cells(architectures: Mapping[str, np.ndarray]) -> Figure:
    """Draw the normal and the reduction cell of DARTS architectures (28,), one column per architecture."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.2 * len(architectures), 6.6), layout="constrained")
        axes = figure.subplots(2, len(architectures), squeeze=False)
        for column, (title, genes) in enumerate(architectures.items()):
            for row, (kind, pairs) in enumerate(
                zip(("Normal cell", "Reduction cell"), DARTS().genotype(genes), strict=True)
            ):
                _draw_cell(axes[row, column], pairs)
                axes[row, column].set_title(f"{title}: {kind.lower()}")
    return figure


def draw_cell(genes: np.ndarray) -> Figure:
    """Draw the cell of a NAS-Bench-201 architecture (6,), without its `none` edges."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.6, 3.2), layout="constrained")
        axes = figure.subplots()
        axes.set_axis_off()
        axes.set_aspect("equal")
        axes.set_xlim(-0.8, 7.6)
        axes.set_ylim(-2.0, 2.0)
        for (source, target), gene in zip(EDGES, np.asarray(genes).tolist(), strict=True):
            if gene != NONE:
                start, end = _CELL_PLACES[source], _CELL_PLACES[target]
                operation = NASBench201.operations[gene]
                _arrow(axes, start, end, 0.0, 0.36, _COLOURS[operation], operation)
        for node, (x, y) in enumerate(_CELL_PLACES):
            box = {"boxstyle": "round,pad=0.35", "fc": "#eaf2fb" if node else "#f3efe2", "ec": "#333333"}
            axes.text(x, y, str(node), ha="center", va="center", bbox=box, zorder=3)
    return figure


def _draw_cell(axes: Axes, pairs: list[tuple[str, int]]) -> None:
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(-0.8, 9.3)
    axes.set_ylim(-2.3, 2.3)
    for place, (operation, source) in enumerate(pairs):
        if operation == "none":
            continue
        _connect(axes, source, 2 + place // 2, _COLOURS[operation], operation)
    for node in range(2, 6):
        _connect(axes, node, 6, "#bbbbbb")
    for node, ((x, y), name) in enumerate(zip(_PLACES, _NAMES, strict=True)):
        inner = 2 <= node < 6
        box = {"boxstyle": "round,pad=0.35", "fc": "#eaf2fb" if inner else "#f3efe2", "ec": "#333333"}
        axes.text(x, y, name, ha="center", va="center", bbox=box, zorder=3)


def _connect(axes: Axes, source: int, target: int, colour: str, label: str = "") -> None:
    """Draw an arrow between nodes, bent away from the middle if others lie in its row."""
    start, end = np.array(_PLACES[source]), np.array(_PLACES[target])
    level = start[1] == end[1]
    bend = 0.0
    if level and abs(end[0] - start[0]) > 2.5:
        bend = -0.28 if start[1] > 0 else 0.28
    elif not level and source < 2:
        bend = 0.08 if start[1] > 0 else -0.08
    # Positions at which labels of neighbouring arrows don't overlap
    share = 0.5 if level else 0.68 if source < 2 and target == 5 else 0.36
    _arrow(axes, start, end, bend, share, colour, label)


def _arrow(
    axes: Axes, start: np.ndarray, end: np.ndarray, bend: float, share: float, colour: str, label: str
) -> None:
    """Draw a bent arrow between two points, with a label at a share of its length."""
    axes.add_patch(
        FancyArrowPatch(
            tuple(start),
            tuple(end),
            connectionstyle=f"arc3,rad={bend}",
            arrowstyle="-|>",
            color=colour,
            mutation_scale=13,
            linewidth=1.6,
            shrinkA=15,
            shrinkB=15,
            zorder=1,
        )
    )
    if label:
        way = end - start
        # The point of the quadratic curve at that share
        control = (start + end) / 2 + bend * np.array([way[1], -way[0]])
        x, y = (1 - share) ** 2 * start + 2 * share * (1 - share) * control + share**2 * end
        turn = np.degrees(np.arctan2(way[1], way[0]))
        axes.text(
            x,
            y,
            label.replace("_", " "),
            color=colour,
            fontsize=7.5,
            ha="center",
            va="center",
            rotation=turn,
            rotation_mode="anchor",
            zorder=2,
            bbox={"boxstyle": "round,pad=0.12", "fc": "white", "ec": "none"},
        )


def draw_blocks(architectures: Mapping[str, np.ndarray]) -> Figure:
    """Draw MobileNet-like architectures (21,) as chains of blocks, one row per architecture.

    The height of a block shows its kernel, the width its expansion. Its number of output channels is written
    below it where that changes.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(13, 1.9 * len(architectures) + 0.5), layout="constrained")
        axes = figure.subplots(len(architectures), 1, squeeze=False)[:, 0]
        for ax, (title, genes) in zip(axes, architectures.items(), strict=True):
            _draw_chain(ax, np.asarray(genes))
            ax.set_title(title)
        handles = [FancyBboxPatch((0, 0), 1, 1, fc=colour, ec="none") for colour in _KERNEL_COLOURS.values()]
        labels = [f"{kernel}x{kernel} kernel" for kernel in _KERNEL_COLOURS]
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _is_dark(colour: str) -> bool:
    """Whether white text on a colour has more contrast than black, by its relative luminance (WCAG 2.2)."""
    values = np.array(to_rgb(colour))
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722)) < 0.179


def _draw_chain(axes: Axes, genes: np.ndarray) -> None:
    axes.set_axis_off()
    axes.set_xlim(-0.2, 26.4)
    axes.set_ylim(-1.15, 0.85)
    starts = set(np.cumsum([0, *(blocks for _, blocks, _ in STAGES)]).tolist())
    steps: list[tuple[str, float, float, str, str]] = [
        ("conv\n3x3", 0.8, 0.5, "#999999", f"{STEM}, /2"),
        ("MB1\n3x3", 0.5, 0.5, _KERNEL_COLOURS[3], f"{FIRST}"),
    ]
    for block, (gene, (_, outputs, stride)) in enumerate(zip(genes.tolist(), BLOCKS, strict=True)):
        note = f"{outputs}" + (", /2" if stride > 1 else "") if block in starts else ""
        if gene == SKIP:
            steps.append(("skip", 0.6, 0.22, "#dddddd", note))
        else:
            ratio, kernel = SHAPES[gene]
            label = f"MB{ratio}\n{kernel}x{kernel}"
            steps.append((label, 0.6 + 0.05 * ratio, 0.2 + 0.1 * kernel, _KERNEL_COLOURS[kernel], note))
    steps.append(("conv\n1x1", 0.8, 0.5, "#999999", f"{LAST}"))
    steps.append(("pool\nlinear", 0.8, 0.5, "#999999", ""))
    x = 0.0
    pitch = 26.0 / len(steps)
    for label, width, height, colour, note in steps:
        middle = x + pitch / 2
        axes.add_patch(
            FancyBboxPatch(
                (middle - width / 2, -height / 2),
                width,
                height,
                boxstyle="round,pad=0,rounding_size=0.08",
                fc=colour,
                ec="none",
            )
        )
        axes.text(
            middle,
            0,
            label,
            ha="center",
            va="center",
            fontsize=7,
            color="white" if _is_dark(colour) else "black",
        )
        axes.text(middle, -0.75, note, ha="center", va="center", fontsize=7.5, color="#444444")
        x += pitch
    axes.plot([pitch / 2, x - pitch / 2], [0, 0], color="#666666", linewidth=1, zorder=0)
