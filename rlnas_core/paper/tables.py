"""The paper's tables with measured numbers beside its own: tidy, and as CSV, Markdown, LaTeX and HTML."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rlnas_core.paper.numbers import PAPER

COLUMNS = ("row", "column", "mean", "std", "runs", "paper_mean", "paper_std", "note")

_DASH, _MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
_LEGEND = (
    "Mean ± sample standard deviation over the runs, the paper's number in parentheses; "
    f"{_DASH} stands for what was not measured."
)
_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\^{}"}
_TEX |= {"±": r"$\pm$", _DASH: "--", _MINUS: "$-$"}
_TEX |= {character: f"\\{character}" for character in "&%$#_{}"}
_STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;margin:2em;color:#222}table{border-collapse:collapse;"
    "border-top:2px solid;border-bottom:2px solid;font-variant-numeric:tabular-nums}th,td{padding:.3em .8em;"
    "text-align:left}thead tr{border-bottom:1px solid}tr.beyond{border-top:1px solid}"
    "ol{font-size:.9em;color:#555}p{max-width:60em}"
)


def paper_numbers(number: int) -> pd.DataFrame:
    """Return the cells of the paper's table as row, column, paper_mean, paper_std, in its order.

    Raises `ValueError` on a number that isn't one of the paper's tables.
    """
    table = _paper_table(number)
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
    follow its own. `notes` maps a column or row to the reason why its empty cells were not run; a column's
    reason comes first. `never` maps a row whose empty cells no run can fill to the reason, before all others.

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
    decimals = _paper_table(number)["decimals"]
    cells = {cell: _summary(runs, decimals) for cell, runs in measured.groupby(["row", "column"], sort=False)}
    reasons, final = notes or {}, never or {}
    lines = []
    for row in dict.fromkeys([*paper["row"], *measured["row"]]):
        for column in dict.fromkeys([*paper["column"], *measured["column"]]):
            reason = final.get(row) or reasons.get(column) or reasons.get(row) or "not run"
            nothing = {"mean": np.nan, "std": np.nan, "runs": 0, "note": reason}
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
        key = f"retraining.{space}.{own[0] if own else 'imagenet'}"
    else:
        images, folder = "COCO" if scenes == "coco" else "Cityscapes", f"transfer.{scenes}.path"
        key = f"transfer.{scenes}.architectures.{space}"
    if measured:
        return f"not run: name the architecture in {key}"
    return (
        f"not run: needs {images}; give its folder as {folder} and the architectures in {key}, as "
        "config/imagenet.yaml does"
    )


def write(table: pd.DataFrame, number: int, stem: Path | str) -> None:
    """Write a tidy table as STEM.csv, STEM.md, STEM.tex (booktabs and graphicx) and STEM.html."""
    write_layout(_lay_out(table, number), table, str(number), stem)


def write_layout(layout: "Layout", table: pd.DataFrame, label: str, stem: Path | str) -> None:
    """Write a table as `write` does, laid out already; `label` is that of its LaTeX."""
    stem = Path(stem)
    texts = {
        "csv": table.to_csv(index=False, lineterminator="\n"),
        "md": _markdown(layout),
        "tex": _latex(layout, label),
        "html": _html(layout),
    }
    stem.parent.mkdir(parents=True, exist_ok=True)
    for extension, text in texts.items():
        stem.with_name(f"{stem.name}.{extension}").write_text(text, encoding="utf-8", newline="\n")


def title(name: str) -> str:
    """Return how a row or column is shown: `D` is D (RLNAS), `imagenet/SPOS` is ImageNet: SPOS."""
    return ": ".join(PAPER["titles"].get(part, part) for part in name.split("/"))


@dataclass(frozen=True)
class Layout:
    """What all formats show: plain text, where <sup>1</sup> refers to the first of the notes."""

    name: str
    caption: str
    header: list[str]
    rows: list[list[str]]
    beyond: int
    """Index of the first row that the paper doesn't have."""
    notes: list[str]


def _paper_table(number: int) -> dict[str, Any]:
    if f"table{number}" not in PAPER:
        raise ValueError(f"table: got {number}; the paper's tables are 1 to 12")
    return PAPER[f"table{number}"]


def _summary(runs: pd.DataFrame, decimals: int) -> dict[str, Any]:
    values = runs["value"].to_numpy(np.float64)
    notes = list(dict.fromkeys(runs["note"].dropna())) if "note" in runs else []
    if undefined := int(np.isnan(values).sum()):
        notes.append(f"undefined in {undefined} of {len(values)} runs")
    elif {"low", "high"} <= set(runs.columns) and runs[["low", "high"]].notna().all(axis=None):
        low, high = (f"{bound:.{decimals}f}" for bound in (runs["low"].min(), runs["high"].max()))
        notes.append(f"95% interval{'s within' if len(runs) > 1 else ''} {low} to {high}")
    std = round(float(values.std(ddof=1)), 6) if len(values) > 1 else np.nan
    return {"mean": round(float(values.mean()), 6), "std": std, "runs": len(values), "note": "; ".join(notes)}


def _lay_out(table: pd.DataFrame, number: int) -> Layout:
    paper = _paper_table(number)
    columns = list(dict.fromkeys(table["column"]))
    notes = list(dict.fromkeys(table["note"][table["mean"].isna()]))
    rows = []
    for row, cells in table.groupby("row", sort=False):
        shown = [_cell(cell, paper["decimals"], notes) for cell in cells.to_dict("records")]
        rows.append([title(str(row)), *shown, _runs(cells["runs"])])
    return Layout(
        name=f"Table {number}",
        caption=f"{paper['caption']} {_LEGEND}",
        header=["Method", *map(title, columns), "Runs"],
        rows=rows,
        beyond=len(paper["rows"]),
        notes=notes,
    )


def _cell(cell: Mapping[Any, Any], decimals: int, notes: Sequence[str]) -> str:
    decimals = PAPER["decimals"].get(cell["column"], decimals)
    measured = _number(cell["mean"], cell["std"], decimals)
    if not measured:
        measured = f"{_DASH}<sup>{notes.index(cell['note']) + 1}</sup>"
    elif cell["note"]:
        measured += f" [{cell['note']}]"
    paper = _number(cell["paper_mean"], cell["paper_std"], decimals)
    return f"{measured} (paper {paper})" if paper else measured


def _number(mean: float, std: float, decimals: int) -> str:
    if np.isnan(mean):
        return ""
    number = f"{mean:.{decimals}f}" + ("" if np.isnan(std) else f" ± {std:.{decimals}f}")
    return number.replace("-", _MINUS)


def _runs(runs: pd.Series) -> str:
    counts = sorted(set(runs[runs > 0])) or [0]
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _markdown(layout: Layout) -> str:
    lines = [f"**{layout.name}.** {layout.caption}", ""]
    for row in [layout.header, ["---"] * len(layout.header), *layout.rows]:
        lines.append("| " + " | ".join(text.replace("|", r"\|") for text in row) + " |")
    lines += ["", *(f"{place}. {note}" for place, note in enumerate(layout.notes, 1))]
    return "\n".join(lines).rstrip() + "\n"


def _latex(layout: Layout, label: str) -> str:
    header, *rows = (" & ".join(map(_tex, row)) + r" \\" for row in [layout.header, *layout.rows])
    if layout.beyond < len(rows):
        rows.insert(layout.beyond, r"\midrule")
    notes = [rf"\textsuperscript{{{place}}} {_tex(note)}\\" for place, note in enumerate(layout.notes, 1)]
    lines = [
        "% needs the packages booktabs and graphicx",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_tex(layout.caption)}}}",
        rf"\label{{tab:rlnas-{label}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{'l' * len(layout.header)}}}",
        *(r"\toprule", header, r"\midrule", *rows, r"\bottomrule"),
        r"\end{tabular}}",
        *([r"\par\smallskip\raggedright\footnotesize", *notes] if notes else []),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _tex(text: str) -> str:
    pieces = re.split(r"<sup>(\d+)</sup>", text)
    escaped = ["".join(_TEX.get(character, character) for character in piece) for piece in pieces]
    return "".join(
        rf"\textsuperscript{{{piece}}}" if place % 2 else piece for place, piece in enumerate(escaped)
    )


def _html(layout: Layout) -> str:
    def line(row: Sequence[str], tag: str, kind: str = "") -> str:
        cells = (re.sub(r"&lt;(/?sup)&gt;", r"<\1>", html.escape(text)) for text in row)
        return f"<tr{kind}>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"

    rows = [
        line(row, "td", ' class="beyond"' if place == layout.beyond else "")
        for place, row in enumerate(layout.rows)
    ]
    lines = [
        f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{layout.name}</title>',
        f"<style>{_STYLE}</style>",
        f"<p><b>{layout.name}.</b> {html.escape(layout.caption)}</p>",
        f"<table><thead>{line(layout.header, 'th')}</thead><tbody>",
        *(*rows, "</tbody></table>"),
        *(
            ["<ol>", *(f"<li>{html.escape(note)}</li>" for note in layout.notes), "</ol>"]
            if layout.notes
            else []
        ),
        "</html>",
    ]
    return "\n".join(lines) + "\n"
