"""The paper's tables with measured numbers beside its own, as tidy data; `formats` writes them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from rlnas_core.machine.downloads import DOWNLOADS
from rlnas_core.paper.numbers import PAPER

COLUMNS = ("row", "column", "mean", "std", "runs", "low", "high", "paper_mean", "paper_std", "images", "note")
COSTS = ("params", "flops")
DASH = "\N{EN DASH}"

OTHER, OWN = "not the paper's images", "of this run's architecture"
PAPERS_IMAGES = {"cifar10": "cifar10", "cifar100": "cifar100", "imagenet16": "imagenet16-120"}
PAPERS_SIZES = {"cifar10": 32, "cifar100": 32, "imagenet16": 16}
"""Image size in pixels, by dataset of the benchmark."""
CANDIDATES = {
    "found": "found with random labels",
    "structure": "structure alone, no training",
    "evolution": "found by evolution",
    "residual": "residual blocks, as many FLOPs",
}
"""Titles of the candidates of a search on own images."""

Cell = Mapping[Any, Any]
"""A row of a tidy table, by `COLUMNS`."""


def paper_numbers(number: int) -> pd.DataFrame:
    """Return the cells of the paper's table as row, column, paper_mean, paper_std, in its order.

    Raises `ValueError` for a number that isn't one of the paper's tables.
    """
    table = paper_table(number)
    cells = []
    for row, values in table["rows"].items():
        for column, value in zip(table["columns"], values, strict=True):
            mean, std = value if isinstance(value, list) else (value, None)
            cells.append({"row": row, "column": column, "paper_mean": mean, "paper_std": std})
    return pd.DataFrame(cells).astype({"paper_mean": float, "paper_std": float})


def authors_number(table: int, row: str, dataset: str, source: str) -> tuple[float, float, bool]:
    """Return mean and standard deviation in the authors' repositories for a cell, or NaN.

    The third value is whether their supernets are of the same images as those of `source`, which are
    preferred.
    """
    kinds = {"cifar10_images": source == "cifar10", "own_images": source == PAPERS_IMAGES.get(dataset)}
    for kind in sorted(kinds, key=kinds.__getitem__, reverse=True) if table == 2 else ():
        found = PAPER["authors"][kind].get(row, {}).get(dataset)
        if found is not None:
            return (*found, kinds[kind]) if isinstance(found, list) else (found, np.nan, kinds[kind])
    return np.nan, np.nan, False


def searched_images(searches: Mapping[str, str], datasets: Mapping[str, Any]) -> dict[str, str]:
    """Return the images of the supernets that are searched for each dataset of the benchmark, as text.

    `searches` maps datasets of the benchmark to names in `datasets`, as in the configuration. The text ends
    with `OTHER` if the paper searched on other images; its numbers can't be compared then.
    """
    texts = {}
    for name, dataset in searches.items():
        size, source = datasets[dataset]["image_size"], datasets[dataset]["source"]
        other = "" if source == PAPERS_IMAGES[name] else f", {OTHER}"
        texts[name] = sized(dataset, size) + other
    return texts


def sized(dataset: str, size: int) -> str:
    """Return a dataset's title and the size of its images."""
    return f"{title(dataset)} at {size}x{size} pixels"


def tidy(
    measured: pd.DataFrame,
    number: int,
    notes: Mapping[str, str] | None = None,
    never: Mapping[str, str] | None = None,
    images: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Summarise measured values over seeds and join them with the cells of the paper's table.

    `measured` has one row per run with row, column, seed and value, and optionally note (shown beside the
    mean), low and high (a 95% interval of the value). Rows and columns that the paper doesn't have follow its
    own. `notes` maps a column or row to the reason why its empty cells were not measured; the column's reason
    takes precedence. `never` does the same, with highest precedence, for rows whose empty cells no run can
    fill. `images` are those of `searched_images`.

    Returns the columns `COLUMNS`, one row per cell. In cells without measured values, runs is 0 and mean is
    empty; std is empty for fewer than two runs. `low` and `high` are the 95% t interval of the mean, or of
    one run its own. Raises `ValueError` for missing columns and for a seed that occurs twice in a cell.
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
    table = pd.DataFrame(lines).merge(paper, how="left", on=["row", "column"])
    datasets = table["column"].str.replace(r"_(valid|test)$", "", regex=True)
    seen = [(images or {}).get(name, "") for name in datasets]
    return table.assign(images=seen)[list(COLUMNS)]


def not_run(column: str, space: str, scenes: str | None, measured: bool) -> str:
    """Return why a network's accuracy is missing, with the configuration key that would add it.

    `scenes` are those to which the table's networks are transferred, if any. `measured` says whether other
    cells of the column were measured, so that the images exist.
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


def panel(name: str, images: str) -> str:
    """Return the title of a dataset of the benchmark in figures, with images or size if not the paper's.

    `images` are those of `searched_images`, or empty.
    """
    others = images.removesuffix(f", {OTHER}")
    if others != images:
        return f"{title(name)}\nsearched on {others}"
    size = images.rpartition(" at ")[2]
    papers = f"{PAPERS_SIZES[name]}x{PAPERS_SIZES[name]} pixels"
    return title(name) if size in ("", papers) else f"{title(name)}\nat {size}"


def title(name: str) -> str:
    """Return the title of a row or column: `D` is D (RLNAS), `imagenet/SPOS` is ImageNet: SPOS."""
    return ": ".join(PAPER["titles"].get(part, part) for part in name.split("/"))


def paper_table(number: int) -> dict[str, Any]:
    """Return the entry of a numbered table in paper.yaml; raises `ValueError` if there is none."""
    if f"table{number}" not in PAPER:
        raise ValueError(f"table: got {number}; the paper's tables are 1 to 12")
    return PAPER[f"table{number}"]


def _summary(runs: pd.DataFrame) -> dict[str, Any]:
    values = runs["value"].to_numpy(np.float64)
    notes = list(dict.fromkeys(runs["note"].dropna())) if "note" in runs else []
    mean, std = values.mean(), values.std(ddof=1) if len(values) > 1 else np.nan
    low, high = interval(mean, std, len(values))
    if len(values) == 1 and "low" in runs and not np.isnan(mean):
        low, high = runs[["low", "high"]].iloc[0]
    if undefined := int(np.isnan(values).sum()):
        notes.append(f"undefined in {undefined} of {len(values)} runs")
    return {
        "mean": round(float(mean), 6),
        "std": round(float(std), 6),
        "runs": len(values),
        "low": low,
        "high": high,
        "note": "; ".join(notes),
    }


def interval(mean: float, std: float, runs: int) -> tuple[float, float]:
    """Return the 95% t interval of a mean over runs; NaN for fewer than two."""
    if runs < 2:
        return np.nan, np.nan
    from scipy import stats  # which Snakemake's linter doesn't have

    reach = stats.t.ppf(0.975, runs - 1) * std / np.sqrt(runs)
    return float(mean - reach), float(mean + reach)


def agreement(cell: Cell, number: int) -> str:
    """Return whether a measured mean is `within` the spread of the paper's, `above` or `below` it, or empty.

    The spread is twice the paper's standard deviation, or this run's if the paper gives none, and for
    parameters and FLOPs 1%. It is at least half of the last digit that the paper's table `number` prints. The
    result is empty if a number is missing, the supernets were trained on other images than the paper's, or
    the costs are those of this run's own architecture.
    """
    if OTHER in cell["images"] or OWN in str(cell["note"]):
        return ""
    if cell["column"] in COSTS:
        spread = 0.01 * cell["paper_mean"]
    else:
        spread = 2 * (cell["std"] if np.isnan(cell["paper_std"]) else cell["paper_std"])
    apart = cell["mean"] - cell["paper_mean"]
    if np.isnan(apart) or np.isnan(spread):
        return ""
    close = abs(apart) <= max(spread, rounding(number, cell["column"]))
    return "within" if close else "above" if apart > 0 else "below"


def rounding(number: int, column: str) -> float:
    """Return half of the last digit that the paper's table prints in a column."""
    return 0.5 * 10.0 ** -decimals_of(number, column)


def decimals_of(number: int, column: str) -> int:
    """Return the digits after the point that the paper's table prints in a column."""
    return PAPER["decimals"].get(column, paper_table(number)["decimals"])


def number_of(mean: float, std: float, decimals: int) -> str:
    """Return a mean, with its standard deviation if there is one, as text; empty without a mean."""
    if np.isnan(mean):
        return ""
    number = f"{mean:.{decimals}f}" + ("" if np.isnan(std) else f" ± {std:.{decimals}f}")
    return number.replace("-", "\N{MINUS SIGN}")
