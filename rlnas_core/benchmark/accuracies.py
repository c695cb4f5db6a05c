"""NAS-Bench-201's accuracies: those that come along, the official file, a NATS-Bench folder, a CSV."""

import bz2
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rlnas_core import spaces
from rlnas_core.machine import files

if TYPE_CHECKING:
    from nas_201_api import ArchResults

BENCHMARK_COLUMNS = {
    "cifar10_valid": ("cifar10-valid", "x-valid"),
    "cifar10_test": ("cifar10", "ori-test"),
    "cifar100_valid": ("cifar100", "x-valid"),
    "cifar100_test": ("cifar100", "x-test"),
    "imagenet16_valid": ("ImageNet16-120", "x-valid"),
    "imagenet16_test": ("ImageNet16-120", "x-test"),
}
"""Column: the benchmark's names of the training set and of the evaluated set."""
INCLUDED = Path(__file__).with_name("nas_bench_201.csv.xz")
"""The test accuracies that come along; nas_bench_201.md beside it says where they are from."""
_EPOCHS = "200"
_SHOWN = 5


class Benchmark:
    """Accuracies of the whole space, in percent, looked up by genes."""

    def __init__(self, table: pd.DataFrame) -> None:
        self._space = spaces.get("nas_bench_201")
        self.columns = tuple(column for column in table.columns if column in BENCHMARK_COLUMNS)
        self._accuracies = {column: table[column].to_numpy(np.float64) for column in self.columns}

    def look_up(self, genes: np.ndarray, column: str) -> np.ndarray:
        """Return the accuracies (N,) of genes (N, 6) in percent.

        Raises `ValueError` on a column that the table doesn't have.
        """
        if column not in self._accuracies:
            raise ValueError(
                f"benchmark column: got '{column}'; accepted with this table: {', '.join(self.columns)}"
            )
        return self._accuracies[column][self._space.index(genes)]


def read_table(path: Path | str) -> pd.DataFrame:
    """Read a CSV with the columns index, arch and accuracies in percent, its rows in any order.

    Returns the table in the space's own order (`index` is the row in `enumerate()`). Raises `ValueError` that
    names missing, duplicate and unknown architectures, and accuracies outside 0..100.
    """
    table = pd.read_csv(path)
    absent = {"index", "arch"} - set(table.columns)
    unknown = set(table.columns) - {"index", "arch", *BENCHMARK_COLUMNS}
    if absent or unknown or len(table.columns) < 3:
        raise ValueError(
            f"{path}: got the columns {', '.join(table.columns)}; accepted: index, arch and at least one of "
            f"{', '.join(BENCHMARK_COLUMNS)}"
        )
    return _canonical(table, str(path), complete=True)


def write_table(table: pd.DataFrame, path: Path | str) -> None:
    """Write a table as CSV, accuracies with six decimals."""
    table.to_csv(path, index=False, float_format="%.6f", lineterminator="\n")


def inspect(source: str, path: Path | str, checksum: str | None = None) -> None:
    """Raise ValueError where a benchmark can't be used: by its checksum, or as `read_table` would."""
    path = Path(path)
    if source == "official":
        _verify_official(path, checksum)
    elif source == "nats-bench":
        _verify_nats(path, checksum)
    else:
        if checksum:
            files.verify(path, checksum)
        read_table(path)


def extract(
    source: str,
    path: Path | str,
    checksum: str | None = None,
    *,
    log: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Return the table of the whole space from a source of the configuration, `benchmark.source`.

    Raises `ValueError` as `extract_official`, `extract_nats` and `read_table` do.
    """
    if source == "official":
        return extract_official(path, checksum, log=log)
    if source == "nats-bench":
        return extract_nats(path, checksum, log=log)
    inspect(source, path, checksum)
    return read_table(path)


def compare(table: pd.DataFrame) -> pd.DataFrame:
    """Return how far a table is from the one that comes along: column, difference (points), arch.

    One row for each column that both have, with the largest absolute difference and the architecture that
    has it.
    """
    both = table.merge(read_table(INCLUDED), on=["index", "arch"], suffixes=("", "_included"))
    columns = [column for column in BENCHMARK_COLUMNS if f"{column}_included" in both]
    apart = [(both[column] - both[f"{column}_included"]).abs() for column in columns]
    return pd.DataFrame(
        {
            "column": columns,
            "difference": [values.max() for values in apart],
            "arch": [both["arch"].iloc[int(values.argmax())] for values in apart],
        }
    )


def extract_official(
    path: Path | str,
    checksum: str | None = None,
    *,
    complete: bool = True,
    log: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Extract the mean accuracies after 200 epochs from `NAS-Bench-201-v1_1-096897.pth` (about 20 GB of
    memory).

    The file runs code as it is loaded, so it is verified first: against `checksum` (`algorithm:digest`) or,
    without one, against the six digits that end its name, with which its hash ends. Returns a table in the
    space's own order, of all 15,625 architectures if `complete`. Raises `ValueError` on a mismatch or
    incomplete content.
    """
    # Only extraction needs torch; everything that looks accuracies up does without.
    import torch
    from nas_201_api import NASBench201API

    path = Path(path)
    _verify_official(path, checksum)
    log(f"{path}: checksum verified, loading")
    content = _Uncopied(torch.load(path, map_location="cpu", weights_only=False))
    api = NASBench201API(content, verbose=False)
    rows = []
    for index in api.evaluated_indexes:
        rows.append({"arch": api.arch(index), **_accuracies(api.arch2infos_dict[index][_EPOCHS])})
        if len(rows) % 1000 == 0:
            log(f"{len(rows)} of {len(api.evaluated_indexes)} architectures")
    return _canonical(pd.DataFrame(rows), str(path), complete)


def extract_nats(
    folder: Path | str,
    checksum: str | None = None,
    *,
    complete: bool = True,
    log: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Extract the mean accuracies after 200 epochs from an unpacked `NATS-tss-v1_0-3ffb9-simple` folder.

    `checksum` (`algorithm:digest`) is that of its meta.pickle.pbz2. Nothing in the folder can run code.
    Returns a table in the space's own order, of all 15,625 architectures if `complete`. Raises `ValueError`
    on a mismatch, damaged or missing files.
    """
    from nas_201_api import ArchResults

    folder = Path(folder)
    _verify_nats(folder, checksum)
    archs = _load_nats(folder / "meta.pickle.pbz2")["meta_archs"]
    rows = []
    for index, arch in enumerate(archs):
        file = folder / f"{index:06d}.pickle.pbz2"
        if not file.is_file() and not complete:
            continue
        try:
            results = ArchResults.create_from_state_dict(_load_nats(file)[_EPOCHS])
            rows.append({"arch": arch, **_accuracies(results)})
        except KeyError as error:
            raise ValueError(
                f"{file} has no results for {error}; unpack the published archive again"
            ) from error
        if len(rows) % 1000 == 0:
            log(f"{len(rows)} of {len(archs)} architectures")
    return _canonical(pd.DataFrame(rows), str(folder), complete)


class _Uncopied(dict):
    """A dictionary that the benchmark's interface can't double in memory by copying it."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Uncopied":
        return self


def _verify_official(path: Path, checksum: str | None) -> None:
    if checksum is not None:
        files.verify(path, checksum)
        return
    ending = re.search(r"-([0-9a-f]{6})\.pth$", path.name)
    if ending is None:
        raise ValueError(
            f"{path}: nothing to verify the file with; give its checksum as sha256:DIGEST, "
            "or keep the published name, which ends with six digits of it (NAS-Bench-201-v1_1-096897.pth)"
        )
    # The publication doesn't name the algorithm.
    got = {algorithm: files.digest(path, algorithm) for algorithm in ("md5", "sha1", "sha256")}
    if not any(value.endswith(ending[1]) or value.startswith(ending[1]) for value in got.values()):
        raise ValueError(
            f"checksum mismatch: {path} has {', '.join(map(':'.join, got.items()))}, expected one "
            f"with the digits {ending[1]} of its name; the file is damaged: fetch it again"
        )


def _verify_nats(folder: Path, checksum: str | None) -> None:
    if not (folder / "meta.pickle.pbz2").is_file():
        raise FileNotFoundError(
            f"{folder} has no meta.pickle.pbz2; give the unpacked NATS-tss-v1_0-3ffb9-simple folder"
        )
    if checksum is not None:
        files.verify(folder / "meta.pickle.pbz2", checksum)


def _load_nats(file: Path) -> Any:
    try:
        with bz2.open(file, "rb") as stream:
            return files.load_plain_pickle(stream, str(file))
    except FileNotFoundError as error:
        raise ValueError(f"{file} is missing; unpack the published archive again") from error


def _accuracies(results: "ArchResults") -> dict[str, float]:
    """Return the mean accuracy over the benchmark's seeds for every column whose dataset was trained."""
    return {
        column: results.get_metrics(dataset, part)["accuracy"]
        for column, (dataset, part) in BENCHMARK_COLUMNS.items()
        if dataset in results.dataset_seed
    }


def _canonical(table: pd.DataFrame, name: str, complete: bool) -> pd.DataFrame:
    """Return a table in the space's own order, once nothing in it is missing, duplicate or out of range."""
    space = spaces.get("nas_bench_201")
    if table.empty:
        raise ValueError(f"{name} has no architectures")
    try:
        index = space.index(space.from_string(table["arch"].astype(str).tolist()))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    accuracies = [column for column in BENCHMARK_COLUMNS if column in table.columns]
    mistakes = []
    genes = space.enumerate()
    counts = np.bincount(index, minlength=len(genes))
    for kind, rows in (("duplicate", counts > 1), ("missing", (counts == 0) & complete)):
        if rows.any():
            mistakes.append(f"{kind} architectures: {_some(space.to_string(genes[rows]))}")
    for column in accuracies:
        values = pd.to_numeric(table[column], errors="coerce")
        outside = ~values.between(0, 100)
        if outside.any():
            pairs = [f"{table['arch'][row]} has {table[column][row]}" for row in np.flatnonzero(outside)]
            mistakes.append(f"{column} outside 0..100 percent: {_some(pairs)}")
    if mistakes:
        raise ValueError(
            f"{name}: each of the {len(counts)} architectures is needed once\n  " + "\n  ".join(mistakes)
        )
    return (
        table.assign(index=index).sort_values("index")[["index", "arch", *accuracies]].reset_index(drop=True)
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
