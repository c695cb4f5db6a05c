"""Files from elsewhere: checksums, and pickles that can hold nothing but data."""

import hashlib
import pickle
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
