"""Results of a search: the architecture found (best.csv), and those with the same score (tied.csv)."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rlnas_core.benchmark.accuracies import Benchmark
from rlnas_core.machine import files
from rlnas_core.search.evolution import random_architectures
from rlnas_core.search.names import ArchitectureName
from rlnas_core.spaces import NASBench201, SearchSpace, get, published

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


def costs(space: SearchSpace, genes: np.ndarray) -> dict[str, Any]:
    """Return `params` and `flops` of genes (genes,), and the most channels within 600 million FLOPs."""
    (params,), (flops,) = space.cost(genes[None])
    return {"params": params, "flops": flops, "channels_within_600M": space.widest(genes, 600e6)}


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


def named(
    space: SearchSpace, name: str, *, best: Path | str | None = None, candidates: Path | str | None = None
) -> pd.DataFrame:
    """Return one row with `space`, `architecture`, `arch`, `params`, `flops` and, if any, `channels`.

    The architecture with this name is read from `candidates` (candidates.csv) or from the `best` of the
    search that the name gives; without these files it is published or drawn at random. Raises `ValueError` as
    `read_best` and `random_architectures` do.
    """
    of = ArchitectureName.parse(name)
    network: Mapping[str, Any] = {}
    if candidates:  # with the cost of the run's own sizes
        listed = files.read_result(candidates, ["architecture", "arch", "params", "flops"])
        kept = ["arch", "params", "flops", *(["channels"] if space.channels else [])]
        row = listed.set_index("architecture").loc[[name], kept].reset_index()
        row.insert(0, "space", space.name)
        return row
    if best:
        found = read_best(best)
        genes = space.from_string([found["arch"]])[0]
        network = {"channels": int(found["channels_within_600M"])} if of and of.scaled else {}
    elif of:
        limit = np.inf if of.limit is None else 1e6 * of.limit
        genes = random_architectures(space, np.random.default_rng(of.seed), 1, limit)[0]
    elif name not in published():
        raise ValueError(f"architecture: got {name}; accepted: {', '.join(published())}")
    else:
        genes, network = published()[name].genes, published()[name].network
    params, flops = space.cost(genes[None], **network)
    (arch,) = space.to_string(genes[None])
    row = pd.DataFrame(
        {"space": space.name, "architecture": name, "arch": arch, "params": params, "flops": flops}
    )
    return row.assign(channels=network.get("channels", space.channels)) if space.channels else row
