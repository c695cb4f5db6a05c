"""Write the paper's tables as Markdown, LaTeX and HTML, from the tidy table."""

import html
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from rlnas_core.paper.tables import COSTS, DASH, Cell, agreement, decimals_of, number_of, paper_table, title

_SIGNS = {"within": "≈", "above": "↑", "below": "↓"}
_NAMED = 4  # rows or columns in a note; HTML has the reason at each cell
_SPREAD = "Mean ± sample standard deviation over seeds."
_SINGLE = "Measured values without ± are of one seed, or don't depend on one."
_LEGEND = (
    "≈ is within twice the standard deviation of the paper's number (this run's where the paper gives none; "
    "of costs within 1%) or its rounding, ↑ above, ↓ below it."
)
_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\^{}", "±": r"$\pm$", DASH: "--"}
_TEX |= {"\N{MINUS SIGN}": "$-$", "≈": r"$\approx$", "↑": r"$\uparrow$", "↓": r"$\downarrow$"}
_TEX |= {character: f"\\{character}" for character in "&%$#_{}"}
PAGE = (
    ".rlnas{font:15px/1.45 system-ui,sans-serif;margin:1.5em;color:#222;"
    "ul{max-width:60em;font-size:.9em;color:#555}"
    "table{border-collapse:collapse;margin-bottom:1.5em;border-block:2px solid;"
    "font-variant-numeric:tabular-nums}"
    "caption{caption-side:top;text-align:left;padding-bottom:.6em;max-width:min(60em,95vw)}"
    "th,td{padding:.3em .5em;text-align:left;vertical-align:top;font-weight:normal}thead th{font-weight:600}"
    "thead tr:last-child{border-bottom:1px solid}td.paper{color:#666}td.within{background:#e3f1ea}"
    "td.above,td.below{background:#fbe3d6;font-weight:600}td.open{background:#f3f0dc}td.empty{color:#888}"
    "td{white-space:nowrap}td.text{white-space:normal;min-width:12em}small{color:#555}}"
)


def write(table: pd.DataFrame, number: int, stem: Path | str) -> None:
    """Write a tidy table as STEM.csv, STEM.md, STEM.tex (booktabs and graphicx) and STEM.html.

    Paper and measured values have separate columns. A column without measured values is named below the table
    with the reason; its numbers of the paper are in the CSV only. Intervals, numbers of runs and notes on
    single cells are in the CSV, and in HTML when the pointer rests on a cell.
    """
    texts = {"md": _markdown(table, number), "tex": _latex(table, number), "html": _html(table, number)}
    write_texts(stem, table, **texts)


def write_texts(stem: Path | str, table: pd.DataFrame, **texts: str) -> None:
    """Write a table as STEM.csv, and each text as STEM.EXTENSION by its name."""
    stem = Path(stem)
    stem.parent.mkdir(parents=True, exist_ok=True)
    for extension, text in {"csv": table.to_csv(index=False, lineterminator="\n"), **texts}.items():
        stem.with_name(f"{stem.name}.{extension}").write_text(text, encoding="utf-8", newline="\n")


def _caption(table: pd.DataFrame, number: int) -> str:
    signs = any(agreement(cell, number) for cell in table.to_dict("records"))
    single = (table["mean"].notna() & table["std"].isna() & ~table["column"].isin(COSTS)).any()
    legends = [_SPREAD, *([_SINGLE] if single else []), *([_LEGEND] if signs else [])]
    return " ".join([paper_table(number)["caption"], *legends])


def _columns(table: pd.DataFrame) -> list[tuple[str, str]]:
    """The columns to show, as (column, "paper" or "measured")."""
    filled = table.set_index("column")[["paper_mean", "mean"]].notna().groupby(level=0, sort=False).any()
    shown = filled[filled["mean"]] if filled["mean"].any() else filled
    kinds = {"paper": "paper_mean", "measured": "mean"}
    return [(str(name), kind) for name, has in shown.iterrows() for kind in kinds if has[kinds[kind]]]


def _cells(table: pd.DataFrame, number: int) -> pd.DataFrame:
    """Cell texts by row title and (column title, kind), with a dash for values that were not measured."""

    def text(cell: Cell, kind: str) -> str:
        places = decimals_of(number, cell["column"])
        if kind == "paper":
            return number_of(cell["paper_mean"], cell["paper_std"], places)
        sign = _SIGNS.get(agreement(cell, number), "")
        return f"{number_of(cell['mean'], cell['std'], places)} {sign}".rstrip() or DASH

    return _spread(table, text)


def _spread(table: pd.DataFrame, text: Callable[[Cell, str], str]) -> pd.DataFrame:
    cells = {(cell["row"], cell["column"]): cell for cell in table.to_dict("records")}
    rows = list(dict.fromkeys(table["row"]))
    return pd.DataFrame(
        [[text(cells[row, column], kind) for column, kind in _columns(table)] for row in rows],
        index=[title(str(row)) for row in rows],
        columns=pd.MultiIndex.from_tuples([(title(column), kind) for column, kind in _columns(table)]),
    )


def _beyond(number: int) -> int:
    """The number of the paper's rows; rows of this run alone follow them."""
    return len(paper_table(number)["rows"])


def _notes(table: pd.DataFrame) -> list[str]:
    """Notes that all measured cells of a column share, and reasons for empty columns and rows."""
    shown = {column for column, kind in _columns(table) if kind == "measured"}
    empty = table[table["mean"].isna()]
    of_rows, of_columns = empty[empty["column"].isin(shown)], empty[~empty["column"].isin(shown)]
    own = ~of_columns["note"].isin(of_rows["note"])  # a row's reason is no column's, where that has another
    of_columns = of_columns[own | ~own.groupby(of_columns["column"]).transform("any")]
    filled = table[table["mean"].notna() & table["column"].isin(shown)]
    notes = filled["note"].fillna("")
    shared = filled[notes.ne("") & notes.groupby(filled["column"]).transform("nunique").eq(1)]
    reasons: dict[str, list[str]] = {}
    for cells, key in ((shared, "column"), (of_columns, "column"), (of_rows, "row")):
        for reason, names in cells.groupby("note", sort=False)[key]:
            known = reasons.setdefault(_list(names), [])
            again = bool(known) and known[0].startswith("not measured: ")
            known.append(str(reason).removeprefix("not measured: " if again else ""))
    told = [f"{names} {DASH} {'; '.join(why)}" for names, why in reasons.items()]
    return images_of(table[table["column"].isin(shown)]) + told


def images_of(table: pd.DataFrame) -> list[str]:
    """Return a line for each kind of images on which the supernets of a tidy table were trained."""
    seen = table[table["images"].fillna("") != ""]
    return [
        f"{_list(names)}: supernets saw {images}"
        for images, names in seen.groupby("images", sort=False)["column"]
    ]


def _list(names: Iterable[str]) -> str:
    titles = list(dict.fromkeys(title(str(name)) for name in names))
    more = f" and {len(titles) - _NAMED} more" if len(titles) > _NAMED + 1 else ""
    return "; ".join(titles[:_NAMED] if more else titles) + more


def _markdown(table: pd.DataFrame, number: int) -> str:
    cells = _cells(table, number)
    names = cells.columns.to_frame().to_numpy()
    cells.columns = pd.Index([f"{name}, paper" if kind == "paper" else name for name, kind in names])
    cells = cells.rename_axis("Method").reset_index().replace({r"\|": r"\\|"}, regex=True)
    lines = [
        f"**Table {number}.** {_caption(table, number)}",
        "",
        cells.to_markdown(index=False, disable_numparse=True),
    ]
    return "\n".join([*lines, "", *(f"- {note}" for note in _notes(table))]).rstrip() + "\n"


def _latex(table: pd.DataFrame, number: int) -> str:
    cells = _cells(table, number).map(tex).rename(index=tex, columns=tex)
    body = cells.style.to_latex(
        hrules=True, multicol_align="l", column_format="l" * (cells.shape[1] + 1), clines=None
    ).splitlines()
    if (place := _beyond(number)) < len(cells):
        body.insert(body.index(r"\midrule") + 1 + place, r"\midrule")
    return latex_table("\n".join(body), _caption(table, number), str(number), _notes(table))


def latex_table(body: str, caption: str, label: str, notes: Iterable[str] = ()) -> str:
    """Return a LaTeX table from a tabular of pandas' Styler, at most as wide as a line."""
    lines = [
        "% needs the packages booktabs and graphicx",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{tex(caption)}}}",
        rf"\label{{tab:rlnas-{label}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        body.rstrip() + "}",
        *(rf"\par\smallskip\raggedright\footnotesize {tex(note)}" for note in notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def tex(text: str) -> str:
    """Return text with LaTeX's special characters escaped."""
    return "".join(_TEX.get(character, character) for character in text)


def _html(table: pd.DataFrame, number: int) -> str:
    def look(cell: Cell, kind: str) -> str:
        return "paper" if kind == "paper" else agreement(cell, number) if cell["runs"] else "empty"

    def details(cell: Cell, kind: str) -> str:
        if kind == "paper":
            return ""
        interval = "" if np.isnan(cell["low"]) else f"95% interval {cell['low']:.4f} to {cell['high']:.4f}"
        runs = f"{cell['runs']} run{'s' if cell['runs'] > 1 else ''}" if cell["runs"] else ""
        return html.escape("; ".join(filter(None, (runs, interval, cell["note"]))))

    cells = _cells(table, number).map(html.escape).rename(index=html.escape, columns=html.escape)
    classes, tooltips = (
        pd.DataFrame(frame.to_numpy(), cells.index, cells.columns)
        for frame in (_spread(table, look), _spread(table, details))
    )
    style = cells.style.set_uuid(f"table{number}").set_td_classes(classes)
    style = style.set_tooltips(tooltips, as_title_attribute=True)
    text = style.to_html(
        caption=f"<b>Table {number}.</b> {html.escape(_caption(table, number))}", cell_ids=False
    )
    return page(f"Table {number}", text, _notes(table), _beyond(number))


def page(name: str, table: str, notes: Iterable[str], beyond: int | None = None) -> str:
    """Return a whole HTML page of a table that pandas' Styler made, with notes below it.

    A line is drawn before row `beyond`, if given.
    """
    rule = "" if beyond is None else f".rlnas tbody tr:nth-child({beyond + 1}){{border-top:1px solid}}"
    below = [f"<li>{html.escape(note)}</li>" for note in notes]
    lines = [
        f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{name}</title>',
        f"<style>{PAGE}{rule}</style>",
        '<div class="rlnas">',
        table,
        *(["<ul>", *below, "</ul>"] if below else []),
        "</div></html>",
    ]
    return "\n".join(lines) + "\n"
