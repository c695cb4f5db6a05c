"""NAS-Bench-201's accuracies: the included table, the official file, a NATS-Bench folder or a CSV."""

import bz2
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
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
"""Column name: the benchmark's names of the training set and of the evaluated set."""
INCLUDED = Path(__file__).with_name("nas_bench_201.csv.xz")
"""The included test accuracies; nas_bench_201.md beside the file states their source."""
_PUBLISHED_ORDER = "83abc799e45cf34e9d2163654668ab998b9a54d01c39e72ca1f71f2cdf356d84"
"""SHA-256 of the architectures, one per line, in the order of NAS-Bench-201's own file."""


class Benchmark:
    """Accuracies of the whole space, in percent, looked up by genes."""

    def __init__(self, table: pd.DataFrame) -> None:
        self._space = spaces.get("nas_bench_201")
        self.columns = tuple(column for column in table.columns if column in BENCHMARK_COLUMNS)
        self._accuracies = {column: table[column].to_numpy(np.float64) for column in self.columns}

    def look_up(self, genes: np.ndarray, column: str) -> np.ndarray:
        """Return the accuracies (N,) of genes (N, 6) in percent.

        Raises `ValueError` for a column that the table doesn't have.
        """
        if column not in self._accuracies:
            raise ValueError(
                f"benchmark column: got '{column}'; accepted with this table: {', '.join(self.columns)}"
            )
        return self._accuracies[column][self._space.index(genes)]


def read_table(path: Path | str) -> pd.DataFrame:
    """Read a CSV with the columns index, arch and accuracies in percent; rows may be in any order.

    Returns the table in the order of the space: `index` is the row in `enumerate()`. In the file, `index` may
    also be the number in NAS-Bench-201's own file. Raises `ValueError` that names missing, duplicate and
    unknown architectures, those with another index, and accuracies outside 0..100.
    """
    with files.reading(path):
        table = pd.read_csv(path)
    absent = {"index", "arch"} - set(table.columns)
    unknown = set(table.columns) - {"index", "arch", *BENCHMARK_COLUMNS}
    if absent or unknown or len(table.columns) < 3:
        raise ValueError(
            f"{path}: got the columns {', '.join(table.columns)}; accepted: index, arch and at least one of "
            f"{', '.join(BENCHMARK_COLUMNS)}"
        )
    canonical = _canonical(table, str(path))
    _verify_numbers(table, str(path))
    return canonical


def _verify_numbers(table: pd.DataFrame, name: str) -> None:
    """Raise ValueError if index and arch disagree, since the accuracies may then belong to either."""
    space = spaces.get("nas_bench_201")
    own = space.index(space.from_string(table["arch"].tolist()))
    given = pd.to_numeric(table["index"], errors="coerce").to_numpy()
    other = np.flatnonzero(given != own)
    ordered = "\n".join(table["arch"].iloc[np.argsort(given)])
    published = np.array_equal(np.sort(given), np.arange(len(given)))
    published = published and hashlib.sha256(ordered.encode()).hexdigest() == _PUBLISHED_ORDER
    if len(other) and not published:
        rows = [f"{table['arch'][row]} has {table['index'][row]}, expected {own[row]}" for row in other]
        raise ValueError(f"{name}: index and arch disagree: {files.some(rows)}")


def read_extracted(path: Path | str) -> pd.DataFrame:
    """Read the table that a run extracted; `ValueError` for a damaged file says to delete it."""
    with files.reading(path, files.REMADE):
        return read_table(path)


def write_table(table: pd.DataFrame, path: Path | str) -> None:
    """Write a table as CSV with six decimals."""
    table.to_csv(path, index=False, float_format="%.6f", lineterminator="\n")


def inspect(source: str, path: Path | str, checksum: str | None = None, searches: Iterable[str] = ()) -> None:
    """Raise ValueError if a benchmark can't be used.

    Reasons are another checksum, the errors of `read_table`, and a table without the test accuracies of a
    dataset in `searches`.
    """
    path = Path(path)
    if source == "official":
        _verify_official(path, checksum)
    elif source == "nats-bench":
        _verify_nats(path, checksum)
    else:
        if checksum:
            files.verify(path, checksum)
        columns = read_table(path).columns
        if absent := [f"{name}_test" for name in searches if f"{name}_test" not in columns]:
            raise ValueError(
                f"{path} has no {', '.join(absent)}; it has {', '.join(columns[2:])}: give a "
                "table with them, or leave their searches out"
            )


def extract(
    source: str,
    path: Path | str,
    checksum: str | None = None,
    *,
    log: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Return the table of the whole space from `source`, the configuration's `benchmark.source`.

    `official` is NAS-Bench-201-v1_1-096897.pth (reading it takes about 20 GB of memory), `nats-bench` an
    unpacked NATS-tss-v1_0-3ffb9-simple directory. Their accuracies are means after 200 epochs, and reading
    them can't run code. A damaged file is detected by `checksum` (`algorithm:digest`; of meta.pickle.pbz2 in
    a directory) or, without one, by the six digits at the end of the official file's name; these don't prove
    its origin. The table is in the order of the space. Raises `ValueError` for a checksum mismatch, damaged
    or missing files, and incomplete content.
    """
    path = Path(path)
    inspect(source, path, checksum)
    if source not in ("official", "nats-bench"):
        return read_table(path)
    log(f"{path}: loading")
    rows: list[dict[str, Any]] = []
    for row in read_trained(source, path):
        rows.append(row)
        if len(rows) % 1000 == 0:
            log(f"{len(rows)} architectures")
    return _canonical(pd.DataFrame(rows), str(path))


def read_trained(source: str, path: Path) -> Iterator[dict[str, Any]]:
    """Yield `arch` and its accuracies by column, for each architecture of an `official` file or directory.

    Raises `ValueError` for damaged or missing files.
    """
    from nas_201_api import ArchResults  # imports torch

    epochs, found = ("full", _official(path)) if source == "official" else ("200", _nats(path))
    for file, arch, results in found:
        with files.reading(file):
            row = {"arch": arch, **_accuracies(ArchResults.create_from_state_dict(results[epochs]))}
        yield row


def _official(path: Path) -> list[tuple[Path, str, Any]]:
    """The file, the architecture and its results by epochs, for each architecture."""
    content = files.load_plain_torch(path)
    with files.reading(path):
        archs, trained = content["meta_archs"], content["arch2infos"]
        return [(path, archs[index], trained[index]) for index in sorted(trained)]


def _nats(folder: Path) -> Iterator[tuple[Path, str, Any]]:
    """The same as `_official` for a directory, read one architecture at a time."""
    meta = _load_nats(folder / "meta.pickle.pbz2")
    with files.reading(folder / "meta.pickle.pbz2"):
        archs = [(folder / f"{index:06d}.pickle.pbz2", arch) for index, arch in enumerate(meta["meta_archs"])]
    return ((file, arch, _load_nats(file)) for file, arch in archs)


def compare(table: pd.DataFrame) -> pd.DataFrame:
    """Compare a table with the included one; return column, difference (percentage points) and arch.

    There is one row for each common column, with the largest absolute difference and its architecture.
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


def _verify_official(path: Path, checksum: str | None) -> None:
    if checksum is not None:
        files.verify(path, checksum)
        return
    ending = re.search(r"-([0-9a-f]{6})\.pth$", path.name)
    if ending is None:
        return
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
    if not file.is_file():
        raise ValueError(f"{file} is missing; unpack the published archive again")
    with bz2.open(file, "rb") as stream:
        return files.load_plain_pickle(stream, file)


def _accuracies(results: "ArchResults") -> dict[str, float]:
    """Return the mean accuracy over the benchmark's seeds for every column with a trained network."""
    return {
        column: results.get_metrics(dataset, part)["accuracy"]
        for column, (dataset, part) in BENCHMARK_COLUMNS.items()
        if dataset in results.dataset_seed
    }


def _canonical(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return a table in the order of the space; ValueError for missing, duplicate or wrong entries."""
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
    for kind, rows in (("duplicate", counts > 1), ("missing", counts == 0)):
        if rows.any():
            mistakes.append(f"{kind} architectures: {files.some(space.to_string(genes[rows]))}")
    for column in accuracies:
        values = pd.to_numeric(table[column], errors="coerce")
        outside = ~values.between(0, 100)
        if outside.any():
            pairs = [f"{table['arch'][row]} has {table[column][row]}" for row in np.flatnonzero(outside)]
            mistakes.append(f"{column} outside 0..100 percent: {files.some(pairs)}")
        elif values.max() <= 1:
            mistakes.append(
                f"{column}: got {values.max():g} at most, which looks like fractions; give percent"
            )
    if mistakes:
        raise ValueError(
            f"{name}: each of the {len(counts)} architectures is needed once\n  " + "\n  ".join(mistakes)
        )
    return (
        table.assign(index=index).sort_values("index")[["index", "arch", *accuracies]].reset_index(drop=True)
    )
