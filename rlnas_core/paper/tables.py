"""The paper's tables with measured numbers beside its own, as tidy data; `formats` shows them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from rlnas_core.machine.downloads import DOWNLOADS
from rlnas_core.paper.numbers import PAPER

COLUMNS = ("row", "column", "mean", "std", "runs", "low", "high", "paper_mean", "paper_std", "note")
COSTS = ("params", "flops")
DASH = "\N{EN DASH}"

Cell = Mapping[Any, Any]
"""A line of a tidy table, by `COLUMNS`."""


def paper_numbers(number: int) -> pd.DataFrame:
    """Return the cells of the paper's table as row, column, paper_mean, paper_std, in its order.

    Raises `ValueError` on a number that isn't one of the paper's tables.
    """
    table = paper_table(number)
    cells = []
    for row, values in table["rows"].items():
        for column, value in zip(table["columns"], values, strict=True):
            mean, std = value if isinstance(value, list) else (value, None)
            cells.append({"row": row, "column": column, "paper_mean": mean, "paper_std": std})
    return pd.DataFrame(cells).astype({"paper_mean": float, "paper_std": float})


def tidy(
    measured: pd.DataFrame,
    number: int,
    notes: Mapping[str, str] | None = None,
    never: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Summarise measured values over seeds and join them with the cells of the paper's table.

    `measured` has one row a run: row, column, seed, value, and where there are such, note (shown beside the
    mean) and low and high (a 95% interval of the value). Rows and columns that the paper doesn't have
    follow its own. `notes` maps a column or row to the reason why its empty cells were not measured; a
    column's reason comes first. `never` maps a row whose empty cells no run can fill to the reason, before
    all others.

    Returns the columns `COLUMNS`, one line for every cell; runs is 0 and mean empty where nothing was
    measured, std is empty below two runs. Raises `ValueError` on missing columns and on a seed that stands
    twice in a cell.
    """
    absent = {"row", "column", "seed", "value"} - set(measured.columns)
    if absent:
        raise ValueError(
            f"table {number}: got the columns {', '.join(measured.columns)}; also needed: "
            f"{', '.join(sorted(absent))}"
        )
    if twice := measured[measured.duplicated(["row", "column", "seed"])].to_dict("records"):
        first = twice[0]
        raise ValueError(
            f"table {number}: got seed {first['seed']} of row {first['row']}, column {first['column']} "
            "twice; give one value a run"
        )
    paper = paper_numbers(number)
    cells = {cell: _summary(runs) for cell, runs in measured.groupby(["row", "column"], sort=False)}
    reasons, final = notes or {}, never or {}
    lines = []
    for row in dict.fromkeys([*paper["row"], *measured["row"]]):
        for column in dict.fromkeys([*paper["column"], *measured["column"]]):
            reason = final.get(row) or reasons.get(column) or reasons.get(row) or "not measured"
            nothing = {**dict.fromkeys(("mean", "std", "low", "high"), np.nan), "runs": 0, "note": reason}
            lines.append({"row": row, "column": column, **cells.get((row, column), nothing)})
    return pd.DataFrame(lines).merge(paper, how="left", on=["row", "column"])[list(COLUMNS)]


def not_run(column: str, space: str, scenes: str | None, measured: bool) -> str:
    """Return why a network's accuracy is missing, with the key that asks for it.

    `scenes` is what the table's networks are transferred to, if anything; `measured` says whether other cells
    of the column were, so that the images are there.
    """
    *own, measure = column.split("/")
    if measure in ("top1", "top5"):
        images, folder = "ImageNet", "datasets.imagenet.path"
        source = "imagenet"
        key = f"retraining.{space}.{own[0] if own else 'imagenet'}"
    else:
        images, folder = "COCO" if scenes == "coco" else "Cityscapes", f"transfer.{scenes}.path"
        key, source = f"transfer.{scenes}.architectures.{space}", str(scenes)
    if measured:
        return f"not measured: name the architecture in {key}"
    return (
        f"not measured: needs {images} ({DOWNLOADS[source].home}); give its folder as {folder} and the "
        f"architectures in {key}, as config/imagenet.yaml does"
    )


def title(name: str) -> str:
    """Return how a row or column is shown: `D` is D (RLNAS), `imagenet/SPOS` is ImageNet: SPOS."""
    return ": ".join(PAPER["titles"].get(part, part) for part in name.split("/"))


def paper_table(number: int) -> dict[str, Any]:
    """Return what paper.yaml says of a numbered table; raises `ValueError` where the paper has none."""
    if f"table{number}" not in PAPER:
        raise ValueError(f"table: got {number}; the paper's tables are 1 to 12")
    return PAPER[f"table{number}"]


def _summary(runs: pd.DataFrame) -> dict[str, Any]:
    values = runs["value"].to_numpy(np.float64)
    notes = list(dict.fromkeys(runs["note"].dropna())) if "note" in runs else []
    low, high = (runs["low"].min(), runs["high"].max()) if "low" in runs else (np.nan, np.nan)
    if undefined := int(np.isnan(values).sum()):
        notes.append(f"undefined in {undefined} of {len(values)} runs")
        low = high = np.nan
    return {
        "mean": round(float(values.mean()), 6),
        "std": round(float(values.std(ddof=1)), 6) if len(values) > 1 else np.nan,
        "runs": len(values),
        "low": low,
        "high": high,
        "note": "; ".join(notes),
    }


def agreement(cell: Cell) -> str:
    """Return how a measured mean stands to the paper's: `within` its spread, `above`, `below`, or empty.

    The spread is twice the standard deviation that the paper gives, or this run's where it gives none; of
    parameters and FLOPs 1%, and half of the last digit that the paper prints. Empty where something is
    missing.
    """
    if cell["column"] in COSTS:
        spread = max(0.01 * cell["paper_mean"], 0.5 * 10.0 ** -PAPER["decimals"][cell["column"]])
    else:
        spread = 2 * (cell["std"] if np.isnan(cell["paper_std"]) else cell["paper_std"])
    apart = cell["mean"] - cell["paper_mean"]
    if np.isnan(apart) or np.isnan(spread):
        return ""
    return "within" if abs(apart) <= spread else "above" if apart > 0 else "below"


def number_of(mean: float, std: float, decimals: int) -> str:
    """Return a mean, and where there is one its standard deviation, as text; empty where there is no mean."""
    if np.isnan(mean):
        return ""
    number = f"{mean:.{decimals}f}" + ("" if np.isnan(std) else f" ± {std:.{decimals}f}")
    return number.replace("-", "\N{MINUS SIGN}")
