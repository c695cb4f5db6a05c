"""Files from elsewhere: checksums, and pickles that can hold nothing but data."""

import hashlib
import os
import pickle
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

_PLAIN_CLASSES = {
    "builtins": {"bytearray", "complex", "dict", "float", "frozenset", "int", "list", "set", "tuple"},
    "collections": {"OrderedDict", "defaultdict"},
    "numpy": {"dtype", "ndarray"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.core.numeric": {"_frombuffer"},
    "numpy._core.numeric": {"_frombuffer"},
    "_codecs": {"encode"},
}

_CLOCK_TOLERANCE = 1.0  # seconds, between clocks of a network


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the hexadecimal digest of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def verify(path: Path, checksum: str) -> None:
    """Compare a file with a checksum written as `algorithm:digest` (a bare digest is SHA-256).

    Raises `ValueError` on a mismatch or an algorithm that hashlib doesn't have.
    """
    algorithm, _, expected = checksum.rpartition(":")
    algorithm = algorithm or "sha256"
    if algorithm not in hashlib.algorithms_guaranteed:
        raise ValueError(
            f"checksum '{checksum}': unknown algorithm '{algorithm}'; accepted: md5, sha1, sha256"
        )
    got = digest(path, algorithm)
    if got != expected.lower():
        raise ValueError(
            f"checksum mismatch: {path} has {algorithm}:{got}, expected {algorithm}:{expected}; "
            "the file is damaged or another version: delete it and fetch it again"
        )


def obstacles(folder: Path, inputs: Iterable[Path]) -> list[str]:
    """Return a line where a folder can't be written and one where inputs are of the future.

    What is made of a file of the future is always older than the file: it would be made again without end.
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


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name in _PLAIN_CLASSES.get(module, ()):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(
            f"refused to load {module}.{name}: only numbers, text, lists and arrays are"
        )


def load_plain_pickle(stream: IO[bytes], name: str) -> Any:
    """Load a pickle of plain containers and NumPy arrays; Python 2's are accepted.

    Raises `ValueError` that names the file where it is damaged or holds anything that could run code.
    """
    try:
        return _PlainUnpickler(stream, encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, OSError, AttributeError, ImportError, IndexError) as error:
        raise ValueError(
            f"{name} can't be read: {error}; fetch it again from where it is published"
        ) from error
