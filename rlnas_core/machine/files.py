"""Reading files safely: checksums, results of other rules, and pickles that can only contain data."""

import hashlib
import json
import os
import pickle
import sys
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pandas as pd

_BUILTINS = {"bytearray", "complex", "dict", "float", "frozenset", "int", "list", "set", "tuple"}
_PLAIN_CLASSES = {
    "builtins": _BUILTINS,
    "__builtin__": _BUILTINS,
    "collections": {"OrderedDict", "defaultdict"},
    "numpy": {"dtype", "ndarray"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.core.numeric": {"_frombuffer"},
    "numpy._core.numeric": {"_frombuffer"},
    "_codecs": {"encode"},
}

_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_ALGORITHMS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
REMADE = "delete it and give the same command again, which makes a new one"
_CLOCK_TOLERANCE = 1.0  # seconds between the clocks of networked machines


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the hexadecimal digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def verify(path: Path, checksum: str) -> None:
    """Compare a file with a checksum written as `algorithm:digest` (a bare digest is SHA-256).

    Raises `ValueError` on a mismatch or for an algorithm other than MD5 and the SHA family.
    """
    algorithm, _, expected = checksum.rpartition(":")
    algorithm = algorithm or "sha256"
    if algorithm not in _ALGORITHMS:
        raise ValueError(f"checksum '{checksum}': got {algorithm}; accepted: {', '.join(_ALGORITHMS)}")
    got = digest(path, algorithm)
    if got != expected.lower():
        raise ValueError(
            f"checksum mismatch: {path} has {algorithm}:{got}, expected {algorithm}:{expected}; "
            "the file is damaged or another version: delete it and fetch it again"
        )


def obstacles(folder: Path, inputs: Iterable[Path]) -> list[str]:
    """Return a message if a directory isn't writable and one if inputs have modification times in the future.

    Results of such an input are older than the input, so every run would make them again.
    """
    parent = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    lines = [] if os.access(parent, os.W_OK) else [f"{parent}: can't be written; give a folder that can"]
    now = time.time() + _CLOCK_TOLERANCE
    future = [str(path) for path in inputs if path.exists() and path.stat().st_mtime > now]
    if future:
        others = f" and {len(future) - 1} more" if len(future) > 1 else ""
        lines.append(
            f"{future[0]}{others}: got a modification time that this machine's clock hasn't reached; set the "
            "clock, or touch what isn't a result"
        )
    return lines


def some(names: Iterable[object]) -> str:
    """The first five of some names as a message lists them, sets in order, and how many more there are."""
    texts = list(map(str, sorted(names) if isinstance(names, set) else names))
    more = f" and {len(texts) - 5} more" if len(texts) > 5 else ""
    return (", ".join(texts[:5]) or "none") + more


@contextmanager
def reading(name: Path | str, remedy: str = "replace it") -> Iterator[None]:
    """Turn any error of reading a damaged file into a ValueError with the file's name and the remedy."""
    try:
        yield
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        raise ValueError(
            f"{name} can't be read ({reason}); the file is damaged or of another kind: {remedy}"
        ) from error


def read_result(path: Path | str, columns: Iterable[str], rows: int | None = None) -> pd.DataFrame:
    """Read a CSV that another rule wrote; limits and names of datasets are text, such as `none` and `2024`.

    Raises `ValueError` that says which file to delete if it is incomplete: the last line has no end, a column
    is absent or has gaps, or it hasn't as many rows as `rows` says.
    """
    with reading(path, REMADE):
        with Path(path).open("rb") as stream:
            stream.seek(-1, os.SEEK_END)
            if stream.read() != b"\n":
                raise ValueError("its last line is incomplete")
        table = pd.read_csv(path, dtype={"limit": str, "dataset": str}, keep_default_na=False, na_values=[""])
        if absent := set(columns) - set(table.columns):
            raise ValueError(f"it has no column {', '.join(sorted(absent))}")
        if rows not in (None, len(table)):
            raise ValueError(f"got {len(table)} rows, expected {rows}")
        if (gaps := table[[*columns]].isna().any(axis=1)).any():
            raise ValueError(f"row {int(gaps.argmax())} has gaps")
    return table


def read_results(paths: Sequence[Path | str], columns: Sequence[str]) -> pd.DataFrame:
    """Read and join CSVs of the same columns, possibly none; raises the errors of `read_result`."""
    tables = [read_result(path, columns) for path in paths]
    return pd.concat(tables) if tables else pd.DataFrame(columns=[*columns])


def read_json(path: Path | str, keys: Iterable[str] = ()) -> dict[str, Any]:
    """Read a mapping that another rule wrote; `ValueError` for one that is damaged or lacks keys."""
    with reading(path, REMADE):
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if absent := [key for key in keys if key not in content]:
            raise KeyError(absent[0])
    return content


def read_array(path: Path | str, mmap_mode: Literal["r"] | None = None) -> np.ndarray:
    """Open a .npy file that another rule wrote; `ValueError` for a truncated one says to delete it."""
    with reading(path, REMADE):
        return np.load(path, mmap_mode=mmap_mode, allow_pickle=False)


_SPACE = 2**30, 6  # memory of a pickle: bytes, plus bytes per byte of its file; NAS-Bench-201's needs 4


@contextmanager
def _unpickling(path: Path | str) -> Iterator[None]:
    """Turn errors of a damaged pickle into a ValueError, and limit its memory.

    A few bytes of a pickle can allocate any number of gigabytes. Only Linux enforces the limit.
    """
    with reading(path), ExitStack() as stack:
        if sys.platform == "linux":
            import resource

            soft, hard = resource.getrlimit(resource.RLIMIT_AS)
            taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            limit = taken + _SPACE[0] + _SPACE[1] * os.path.getsize(path)
            if all(bound == resource.RLIM_INFINITY or limit < bound for bound in (soft, hard)):
                stack.callback(resource.setrlimit, resource.RLIMIT_AS, (soft, hard))
                resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        yield


class _PlainUnpickler(pickle.Unpickler):
    """Builds only the listed types, so that a pickle can't import or call anything else."""

    def find_class(self, module: str, name: str) -> Any:
        if name in _PLAIN_CLASSES.get(module, ()):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(
            f"refused to load {module}.{name}: only numbers, text, lists and arrays are"
        )


def load_plain_pickle(stream: IO[bytes], path: Path) -> Any:
    """Load a pickle of plain containers and NumPy arrays, also one of Python 2.

    Raises `ValueError` with the file's name if it is damaged, contains anything that could run code, or needs
    far more memory than a valid file of its size.
    """
    with _unpickling(path):
        return _PlainUnpickler(stream, encoding="latin1").load()


def load_plain_torch(path: Path) -> Any:
    """Load plain containers and numbers that `torch.save` wrote, in the format before or since torch 1.6.

    It is ten times as fast as `torch.load` with `weights_only`, which takes a quarter of an hour for billions
    of numbers. Raises `ValueError` as `load_plain_pickle` does, and for files with tensors.
    """
    with _unpickling(path):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                (content,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
                with archive.open(content) as stream:
                    return _PlainUnpickler(stream).load()
        with path.open("rb") as stream:
            if _PlainUnpickler(stream).load() != _TORCH_MAGIC:
                raise ValueError("it isn't a file that torch.save wrote")
            _PlainUnpickler(stream).load(), _PlainUnpickler(stream).load()  # version and system
            return _PlainUnpickler(stream).load()
