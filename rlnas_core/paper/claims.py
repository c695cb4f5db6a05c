"""Test the paper's claims by one rule, on the paper's numbers and on those of a run."""

import html
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from rlnas_core.paper.formats import page, write_texts
from rlnas_core.paper.tables import (
    COSTS,
    DASH,
    OWN,
    PAPER,
    PAPERS_IMAGES,
    Cell,
    authors_number,
    rounding,
    title,
)

HOLDS, FAILS, OPEN, NOT_MEASURED = "holds", "doesn't hold", "open", "not measured"
SIGNS = {HOLDS: "✓", FAILS: "✗", OPEN: "≈", NOT_MEASURED: DASH}
RULE = (
    "A claim rests on comparisons, each an estimate with a 95% interval: of two rows Welch's t interval of "
    "their difference over seeds (a row with one seed takes the other's standard deviation, as if both "
    "varied alike); of one row the t interval of its mean; of a rank correlation Fisher's. A row of one seed "
    "has no interval alone, or where the other has no spread. Costs, rows that know no seed, and numbers of "
    "the paper or the authors' repositories without a standard deviation stand for themselves; so does a "
    "range over numbers of categories, but where they have one seed each, which widens it on average, it "
    "can't refute. The best of N numbers of categories was chosen by its tau, so its interval is one of 1 - "
    "0.05/N. A comparison holds where the interval lies on the claimed side, doesn't hold where it lies on "
    "the other, and is open (with these seeds) where it lies across. Rows that are claimed to be the same "
    "have to differ by less than the claim says. Published costs may differ by 1% or by the rounding of the "
    "paper's number, whichever is larger. A claim holds where all its measured comparisons do, and doesn't "
    "where one doesn't. claims.csv has them all."
)
COLUMNS = (
    "claim", "says", "unit", "of_paper", "kind", "table", "column", "compared", "margin", "paper",
    "paper_verdict", "authors", "authors_verdict", "value", "low", "high", "verdict", "reason",
)  # fmt: skip
_DECIMALS = {"tau": 3, "rho": 2, "points of accuracy": 2, "%": 1}
_LEVEL = 0.95
_ZERO: Cell = {"mean": 0.0, "std": 0.0, "runs": np.inf}
ONE_SEED = "one seed: no interval"
_TOLD = 2  # comparisons or reasons in a summary
_RUN = "This run (95% interval in brackets)"
_NUMBERS = ["Paper", "Authors' repository", _RUN]


class Estimate(NamedTuple):
    """A value and its interval; all NaN if there is none."""

    value: float = np.nan
    low: float = np.nan
    high: float = np.nan


class Comparison(NamedTuple):
    """A comparison in a column: estimates of the run, the paper and the authors' repositories.

    Each has the region that is claimed for it.
    """

    column: str
    compared: str
    run: Estimate
    paper: Estimate
    region: tuple[float, float]
    reasons: Iterable[str] = ()
    authors: Estimate = Estimate()


def check(tables: Mapping[int, pd.DataFrame], categories: pd.DataFrame | None) -> pd.DataFrame:
    """Return all comparisons of paper.yaml's claims and findings, one per row, with the columns `COLUMNS`.

    `tables` are a run's tidy tables by number. `categories` are its runs of figure 1, with the columns
    dataset, classes, categories, seed and tau. A comparison holds if the 95% interval lies inside the claimed
    region, doesn't hold if it lies outside, and is open if it crosses the border. The paper's numbers and
    those of the authors' repositories are tested by the same rule. `reason` says why a comparison wasn't
    measured. Numbers are rounded to six decimals.
    """
    lines = []
    for section in ("claims", "findings"):
        for claim, entry in PAPER[section].items():
            for asked in entry["comparisons"]:
                of = {"claim": claim, "says": entry["says"], "unit": entry["unit"]}
                of["of_paper"] = section == "claims"
                of |= {"kind": asked["kind"], "table": asked.get("table", "figure 1")}
                of["margin"] = asked.get("margin", 0)
                for found in _compare(asked, tables, categories):
                    lines.append(of | _line(found))
    return pd.DataFrame(lines, columns=list(COLUMNS)).round(6)


def summarise(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Summarise the comparisons of `check`, one row per claim.

    Returns the columns claim, says, unit, of_paper, paper, authors, run, verdict and note. A claim holds if
    all its measured comparisons do, and doesn't hold if one doesn't.
    """
    return pd.DataFrame(_summary(cells) for _, cells in comparisons.groupby("claim", sort=False))


def judge(estimate: Estimate, region: tuple[float, float]) -> str:
    """Return the verdict on a claim that the interval of an estimate lies inside a region."""
    if np.isnan(estimate.value):
        return NOT_MEASURED
    if (region[0] < estimate.low or region[0] == -np.inf) and estimate.high < region[1]:
        return HOLDS
    return FAILS if estimate.high <= region[0] or estimate.low >= region[1] else OPEN


def difference(one: Cell, two: Cell = _ZERO, *, level: float = _LEVEL) -> Estimate:
    """Return the difference of two means, or one mean, with Welch's t interval at `level`.

    A mean of infinitely many runs is exact, such as one that doesn't depend on a seed. A mean of one run gets
    the other's standard deviation; the interval is infinite if there is none, or if it is 0.
    """
    value = one["mean"] - two["mean"]
    drawn = [cell for cell in (one, two) if np.isfinite(cell["runs"])]
    if np.isnan(value) or not drawn:
        return Estimate(value, value, value)
    std = next((cell["std"] for cell in drawn if cell["runs"] > 1), 0.0)
    if not std and any(cell["runs"] == 1 for cell in drawn):
        return Estimate(value, -np.inf, np.inf)
    squares = [(cell["std"] if cell["runs"] > 1 else std) ** 2 / cell["runs"] for cell in drawn]
    freedom = sum(cell["runs"] - 1 for cell in drawn)
    if all(cell["runs"] > 1 for cell in drawn) and any(squares):
        freedom = sum(squares) ** 2 / sum(
            square**2 / (cell["runs"] - 1) for square, cell in zip(squares, drawn, strict=True)
        )
    reach = stats.t.ppf((1 + level) / 2, freedom) * np.sqrt(sum(squares))
    return Estimate(value, value - reach, value + reach)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> Estimate:
    """Return Spearman's correlation of two vectors with Fisher's interval; none of fewer than four pairs."""
    known = ~(np.isnan(first) | np.isnan(second))
    if known.sum() < 4:
        return Estimate()
    value = float(stats.spearmanr(first[known], second[known]).statistic)
    reach = stats.norm.ppf((1 + _LEVEL) / 2) / np.sqrt(known.sum() - 3)
    centre = np.arctanh(np.clip(value, -0.999999, 0.999999))
    return Estimate(value, float(np.tanh(centre - reach)), float(np.tanh(centre + reach)))


def _compare(
    asked: Mapping[str, Any], tables: Mapping[int, pd.DataFrame], categories: pd.DataFrame | None
) -> Iterator[Comparison]:
    if asked["kind"] in ("flat", "not-at-best"):
        return _of_categories(asked, categories)
    table = tables[asked["table"]]
    if asked["kind"] == "follows":
        return _of_columns(asked, table)
    return _of_costs(asked, table) if asked["kind"] == "costs" else _of_rows(asked, table)


def _of_rows(asked: Mapping[str, Any], table: pd.DataFrame) -> Iterator[Comparison]:
    cells: dict[tuple[str, str], Cell] = {
        (cell["row"], cell["column"]): cell for cell in table.to_dict("records")
    }
    for column in asked.get("columns") or PAPER[f"table{asked['table']}"]["columns"]:
        nothing: Cell = {**dict.fromkeys(table.columns, np.nan), "runs": 0, "note": "no such row in this run"}
        pair = [{**cells.get((row, column), nothing), "row": row} for row in asked["rows"]]
        for cell in pair:
            if cell["row"] in asked.get("exact", ()) and cell["runs"]:
                cell["runs"] = np.inf
        theirs = [_of_authors(asked["table"], cell["row"], column) for cell in pair]
        own, paper, authors = (difference(*cells) for cells in (pair, map(_published, pair), theirs))
        margin = asked.get("margin", 0)
        if margin == "paper":  # which can't be a test of itself
            margin, paper = abs(paper.value), Estimate(paper.value)
        region = (-margin, margin if asked["kind"] == "within" else np.inf)
        reasons = [cell["note"] for cell in pair if np.isnan(cell["mean"])]
        compared = " against ".join(map(title, asked["rows"]))
        yield Comparison(column, compared, own, paper, region, reasons, authors)


def _of_columns(asked: Mapping[str, Any], table: pd.DataFrame) -> Iterator[Comparison]:
    """The rank correlation of two columns over a table's rows."""
    first, second = asked["columns"]
    own, paper = (
        rank_correlation(*table.pivot(index="row", columns="column", values=of)[[first, second]].to_numpy().T)
        for of in ("mean", "paper_mean")
    )
    reasons = table["note"][table["column"].isin(asked["columns"]) & table["mean"].isna()]
    yield Comparison(second, f"{title(first)} and {title(second)}", own, paper, (0, np.inf), reasons)


def _of_costs(asked: Mapping[str, Any], table: pd.DataFrame) -> Iterator[Comparison]:
    """Each cost of a published architecture relative to the paper's, which is rounded, in percent."""
    known = table[table["column"].isin(COSTS) & table[["mean", "paper_mean"]].notna().all(axis=1)]
    known = known[known["note"].ne(OWN)]
    if known.empty:
        yield Comparison("params", "", Estimate(), Estimate(), (0, 0), ["not measured"])
    for cell in known.to_dict("records"):
        limit = max(asked["margin"], 100 * rounding(asked["table"], cell["column"]) / cell["paper_mean"])
        apart = Estimate(*[100 * (cell["mean"] / cell["paper_mean"] - 1)] * 3)
        yield Comparison(cell["column"], title(cell["row"]), apart, Estimate(), (-limit, limit))


def _of_categories(asked: Mapping[str, Any], categories: pd.DataFrame | None) -> Iterator[Comparison]:
    if categories is None:
        yield Comparison("tau", "", Estimate(), Estimate(), (0, 0), ["figure1 asks for none"])
        return
    for dataset, runs in categories.groupby("dataset", sort=False):
        taus = runs.groupby("categories")["tau"].agg(["mean", "std", "count"])
        taus.columns = ["mean", "std", "runs"]
        classes, others = runs["classes"].iloc[0], taus.drop(runs["classes"].iloc[0], errors="ignore")
        compared, own, region = f"{len(taus)} numbers of categories", Estimate(), (0.0, np.inf)
        shown = "best-of-others"
        if asked["kind"] == "flat":
            shown = "range"
            region = (-np.inf, asked["margin"])
            value = float(np.ptp(taus["mean"])) if len(taus) > 1 else np.nan
            # Noise between seeds widens a range on average.
            own = Estimate(value, value if taus["runs"].min() > 1 else -np.inf, value)
        elif 0 < len(others) < len(taus):
            best = others["mean"].idxmax()
            compared = f"{best}, the best of the others, against {classes:g}"
            level = 1 - (1 - _LEVEL) / len(others)
            own = difference(taus.loc[best].to_dict(), taus.loc[classes].to_dict(), level=level)
        reason = "figure1.categories needs two numbers, the number of classes among them"
        yield Comparison(f"{dataset}/{shown}", compared, own, Estimate(), region, [reason])


def _published(cell: Cell) -> Cell:
    """The paper's number as a cell."""
    return quoted(cell["paper_mean"], cell["paper_std"], PAPER["runs"])


def _of_authors(table: int, row: str, column: str) -> Cell:
    """The number of the authors' repositories as a cell: of supernets of the column's own images."""
    mean, std, own = authors_number(table, row, column, PAPERS_IMAGES.get(column, ""))
    return quoted(mean if own else np.nan, std, PAPER["authors"]["runs"])


def quoted(mean: float, std: float, runs: int) -> Cell:
    """Return a published number as a cell: of its runs, or exact without a standard deviation."""
    return {"mean": mean, "std": std, "runs": np.inf if np.isnan(std) else runs}


def _line(found: Comparison) -> dict[str, Any]:
    verdict = judge(found.run, found.region)
    reasons = found.reasons if verdict == NOT_MEASURED else []
    if verdict == OPEN and np.isinf(found.run.low):
        reasons = [ONE_SEED]
    paper, authors = (
        "" if np.isnan(estimate.low) else judge(estimate, found.region)
        for estimate in (found.paper, found.authors)
    )
    return {
        "column": found.column,
        "compared": found.compared,
        "paper": found.paper.value,
        "paper_verdict": paper,
        "authors": found.authors.value,
        "authors_verdict": authors,
        "value": found.run.value,
        "low": found.run.low,
        "high": found.run.high,
        "verdict": verdict,
        "reason": next(iter(reasons), ""),
    }


def _summary(cells: pd.DataFrame) -> dict[str, Any]:
    measured = cells[cells["verdict"] != NOT_MEASURED]
    judged = cells[cells["paper_verdict"] != ""]
    first = cells.iloc[0]
    return {
        **first[["claim", "says", "unit", "of_paper"]],
        "paper": _told(cells, "paper", _overall(judged["paper_verdict"])),
        "authors": _told(cells, "authors", _overall(cells["authors_verdict"])),
        "run": _told(measured, "value", ""),
        "verdict": _overall(measured["verdict"]) or NOT_MEASURED,
        "note": _note(cells, measured),
    }


def _note(cells: pd.DataFrame, measured: pd.DataFrame) -> str:
    """A short note: the comparisons that fail, or else why some are undecided or not measured."""
    failed = measured[measured["verdict"] == FAILS]
    names = [f"{one['compared']} ({title(one['column'])})" for one in failed.to_dict("records")]
    if names:
        return f"fails: {_some(names)}"
    reasons = cells["reason"].str.split(";").str[0].str.removeprefix("not measured: ")
    absent = _some(reasons[(cells["verdict"] == NOT_MEASURED) & (reasons != "")])
    single = _some(reasons[(cells["verdict"] != NOT_MEASURED) & (reasons != "")])
    return "; ".join(filter(None, (single, absent and f"not measured: {absent}")))


def _some(texts: Iterable[str]) -> str:
    told = list(dict.fromkeys(texts))
    return "; ".join(told[:_TOLD]) + (f" and {len(told) - _TOLD} more" if len(told) > _TOLD else "")


def _overall(verdicts: Iterable[str]) -> str:
    """The overall verdict from those on single comparisons; empty if there are none."""
    given = set(verdicts)
    return next((one for one in (FAILS, OPEN, HOLDS) if one in given), "")


def _told(cells: pd.DataFrame, value: str, verdict: str) -> str:
    """The verdict, with the smallest and largest of its numbers in each column, or one and its interval."""
    spans = []
    for column, found in cells.dropna(subset=value).groupby("column", sort=False):
        unit = str(found["unit"].iat[0])
        ends = dict.fromkeys(signed(end, unit) for end in (found[value].min(), found[value].max()))
        low, high = found[["low", "high"]].iloc[0]
        shown = value == "value" and len(found) == 1 and 0 < high - low < np.inf
        interval = f" ({signed(low, unit)} to {signed(high, unit)})" if shown else ""
        name = title(str(column).removesuffix("_test")).replace(": ", " ")
        spans.append(f"{name} {' to '.join(ends)}{interval}")
    return ": ".join(filter(None, (verdict, ", ".join(spans))))


def signed(number: float, unit: str) -> str:
    """Return a number with its sign and the decimals of a unit of paper.yaml's claims."""
    return f"{number:+z.{_DECIMALS[unit]}f}".replace("-", "\N{MINUS SIGN}")


def write(comparisons: pd.DataFrame, stem: Path | str, images: Sequence[str]) -> None:
    """Write comparisons as STEM.csv, and the claims as STEM.md, STEM.html and STEM.txt.

    `images` are lines on the images of the supernets.
    """
    claims = summarise(comparisons)
    shown = pd.DataFrame(
        {
            "": claims["verdict"].map(SIGNS),
            "Verdict": claims["verdict"],
            "Claim": claims["says"],
            "Unit": claims["unit"],
            "Paper": claims["paper"],
            "Authors' repository": claims["authors"],
            _RUN: claims["run"],
            "Note": claims["note"],
        }
    )
    headings = {"The paper's claims": True, "Findings of this project": False}
    parts = {heading: shown[claims["of_paper"] == of] for heading, of in headings.items()}
    markdown = [
        f"**{heading}**\n\n{part.to_markdown(index=False, disable_numparse=True)}\n"
        for heading, part in parts.items()
    ]
    text = [
        f"{heading}\n" + "\n".join(map(_paragraph, part.to_dict("records")))
        for heading, part in parts.items()
    ]
    tables = "".join(_html(part, heading) for heading, part in parts.items())
    texts = {
        "md": "\n".join([*markdown, RULE, "", *(f"- {line}" for line in images)]).rstrip() + "\n",
        "txt": "\n\n".join([*text, *images]) + "\n",
        "html": page("Claims", tables, [*images, RULE]),
    }
    write_texts(stem, comparisons, **texts)


def _paragraph(claim: Mapping[Any, Any]) -> str:
    head = f"{claim['']} {claim['Verdict']:<20} "
    lines = [
        f"{claim['Claim']} [{claim['Unit']}]",
        *(f"{name}: {claim[name]}" for name in (*_NUMBERS, "Note") if claim[name]),
    ]
    wrapped = [textwrap.fill(line, 110, subsequent_indent="  ") for line in lines]
    return head + textwrap.indent("\n".join(wrapped), " " * len(head)).lstrip()


def _html(claims: pd.DataFrame, heading: str) -> str:
    looks = {HOLDS: "within", FAILS: "below", OPEN: "open", NOT_MEASURED: "empty"}
    lines = claims.map(html.escape)
    notes = lines["Note"].map(lambda note: note and f"<br><small>{note}</small>")
    lines["Claim"] += " [" + lines["Unit"] + "]" + notes
    lines[_NUMBERS] = lines[_NUMBERS].replace(r"(: (?=\w+[^ ]* .[\d.])|, )", "<br>", regex=True)
    kept = lines.columns[lines.astype(bool).any()].difference(["Unit", "Note"], sort=False)
    lines = lines[kept]
    classes = pd.DataFrame("", lines.index, lines.columns)
    classes["Claim"] = "text"
    classes[""] = classes["Verdict"] = claims["Verdict"].map(looks)
    style = lines.style.hide(axis="index").set_uuid(f"claims{claims.index[0]}").set_td_classes(classes)
    return style.to_html(caption=f"<b>{heading}</b>", cell_ids=False)
