"""Compare every NAS-Bench-201 number of the paper and the authors' repositories with a run."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from rlnas_core.paper.claims import ONE_SEED, difference, quoted
from rlnas_core.paper.formats import write_texts
from rlnas_core.paper.numbers import PAPER
from rlnas_core.paper.tables import (
    PAPERS_IMAGES,
    Cell,
    authors_number,
    decimals_of,
    number_of,
    rounding,
    title,
)

EQUAL, OTHER_IMAGES = "can't be told apart", "other images"
_HEAD = (
    "# Paper, authors' repositories and this run\n\n"
    "Accuracies in percent, Kendall's tau in table 2; mean ± sample standard deviation over runs. Above or "
    "below: the 95% interval of the difference lies on one side of 0; can't be told apart: it contains 0, or "
    "is nearer to 0 than the table rounds. "
    "Other images: searched on other images than the paper or the authors did, so there is no verdict. "
    "Searches on CIFAR-10 get one at any image size; the paper's images have 32x32 pixels. "
    "Empty cells have no number."
)


def compare(tables: Mapping[int, pd.DataFrame], sources: Mapping[str, str]) -> pd.DataFrame:
    """Return a row for each cell with a number of the paper or of the authors' repositories.

    `tables` are a run's tidy tables by number; `sources` are the kinds of images on which each dataset of the
    benchmark is searched, as in the configuration's `datasets.NAME.source`. The paper searches each dataset
    on its own images; others get no verdict against the paper. CIFAR-10's are held against the authors' taus
    of a supernet of CIFAR-10, if there are any. Verdicts follow the rule of the claims: above or below if the
    95% interval of the difference lies on one side of 0, and else, or nearer to 0 than the table rounds,
    can't be told apart. Numbers without a standard deviation count as exact.
    """
    cells = pd.concat([table.assign(table=number) for number, table in tables.items()], ignore_index=True)
    cells["dataset"] = cells["column"].str.replace("_(valid|test)$", "", regex=True)
    cells["source"] = cells["dataset"].map(lambda name: sources.get(name, PAPERS_IMAGES[name]))
    cells["own"] = cells["source"] == cells["dataset"].map(PAPERS_IMAGES)
    keys = cells[["table", "row", "dataset", "source"]].itertuples(index=False)
    found = np.array([authors_number(*key) for key in keys], dtype=float).reshape(-1, 3)
    cells[["authors_mean", "authors_std", "authors_own"]] = found
    cells = cells[cells[["paper_mean", "authors_mean"]].notna().any(axis=1)].reset_index(drop=True)
    verdicts = {"paper": PAPER["runs"], "authors": PAPER["authors"]["runs"]}
    for name, runs in verdicts.items():
        cells[f"{name}_verdict"] = [_verdict(cell, name, runs) for cell in cells.to_dict("records")]
    for name, other in (("paper", ~cells["own"]), ("authors", cells["authors_own"] == 0)):
        both = cells[["mean", f"{name}_mean"]].notna().all(axis=1)
        cells.loc[other & both, f"{name}_verdict"] = OTHER_IMAGES
    names = ["table", "row", "column", *(f"{of}_{part}" for of in verdicts for part in ("mean", "std"))]
    return cells[[*names, "mean", "std", "runs", "paper_verdict", "authors_verdict"]]


def _verdict(cell: Cell, of: str, runs: int) -> str:
    """Whether a run's mean is above or below another mean of `runs` runs; empty if either is missing."""
    apart = difference(cell, quoted(cell[f"{of}_mean"], cell[f"{of}_std"], runs))
    if np.isnan(apart.value):
        return ""
    if np.isinf(apart.high):
        return ONE_SEED
    near = rounding(cell["table"], cell["column"])
    return EQUAL if apart.low <= near and apart.high >= -near else "above" if apart.low > 0 else "below"


def write(compared: pd.DataFrame, stem: Path | str) -> None:
    """Write a comparison as STEM.csv and STEM.md."""

    def numbers(of: str) -> list[str]:
        decimals = map(decimals_of, compared["table"], compared["column"])
        return list(map(number_of, compared[f"{of}mean"], compared[f"{of}std"], decimals))

    shown = pd.DataFrame(
        {
            "Table": compared["table"],
            "Method": compared["row"].map(title),
            "Column": compared["column"].map(title),
            "Paper": numbers("paper_"),
            "Authors' repository": numbers("authors_"),
            "This run": numbers(""),
            "Runs": compared["runs"].replace(0, ""),
            "Against the paper": compared["paper_verdict"],
            "Against the repository": compared["authors_verdict"],
        }
    )
    markdown = shown.to_markdown(index=False, disable_numparse=True)
    write_texts(stem, compared, md=f"{_HEAD}\n\n{markdown}\n")
