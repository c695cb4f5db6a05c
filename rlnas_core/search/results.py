"""Results of a search: the architecture found (best.csv), and those with the same score (tied.csv)."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rlnas_core.benchmark.accuracies import Benchmark
from rlnas_core.machine import files
from rlnas_core.spaces import NASBench201, SearchSpace, get

_ROUNDING = 1e-9  # scores that differ by less are equal
_SEARCHED = ("arch", "dataset", "labels", "categories", "seed", "indicator")


def result(
    space: SearchSpace, found_by: str, genes: np.ndarray, score: float, /, **others: Any
) -> pd.DataFrame:
    """Return one row with `found_by`, `arch` of genes (genes,), `score`, and the `others`.

    Of several architectures with the highest score, a search finds the one that it scored first; `tied` is
    their number.
    """
    (arch,) = space.to_string(genes[None])
    return pd.DataFrame([{"found_by": found_by, "arch": arch, "score": score, **others}])


def tied(archs: Sequence[str], scores: np.ndarray, score: float) -> pd.DataFrame:
    """Return `arch` and `score` of the architectures with this score, up to rounding."""
    same = np.isclose(scores, score, rtol=0, atol=_ROUNDING)
    return pd.DataFrame({"arch": np.asarray(archs, object)[same], "score": np.asarray(scores)[same]})


def read_best(path: Path | str) -> pd.Series:
    """Read the architecture of a best.csv; `ValueError` for a damaged file says to delete it."""
    return files.read_result(path, ("found_by", "arch", "score", "tied"), rows=1).iloc[0]


def read_scores(path: Path | str, space: NASBench201) -> pd.DataFrame:
    """Read the scores of an enumerated space, by index; raises `ValueError` as `read_best` does."""
    return files.read_result(path, ("index",), rows=len(space.enumerate())).set_index("index")


def look_up(searches: Iterable[Path | str], benchmark: Benchmark) -> pd.DataFrame:
    """Look up the accuracy (percent) of each best.csv in a benchmark; one row per search and column.

    Returns the columns of best.csv, `column` and `accuracy`. `ValueError` for a damaged file says to delete
    it.
    """
    found = files.read_results([*searches], _SEARCHED)
    genes = get("nas_bench_201").from_string(found["arch"].tolist())
    return pd.concat(
        found.assign(column=column, accuracy=benchmark.look_up(genes, column)) for column in benchmark.columns
    )
