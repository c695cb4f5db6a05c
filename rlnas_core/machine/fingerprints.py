"""Fingerprints of everything that a result depends on: settings, arrays, files and the code itself."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

_HASHED = 256 * 2**20  # bytes of an array
_MARKED = 10_000  # files
_LIBRARY = Path(__file__).parents[1]
_CODE = (".py", ".cpp", ".yaml")


def key_of(*parts: Any) -> str:
    """A hash of settings (JSON data), arrays and the content of files (paths)."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            digest.update(part.read_bytes())
        elif isinstance(part, np.ndarray):
            # Of a large array only every n-th row is hashed, so that a start is fast.
            rows = np.ascontiguousarray(part[:: 1 + part.nbytes // _HASHED])
            digest.update(repr((part.shape, part.dtype.str)).encode())
            digest.update(rows.tobytes())
        else:
            digest.update(json.dumps(part, sort_keys=True, default=str).encode())
        digest.update(b"\0")  # so that parts can't run into each other
    return digest.hexdigest()


def marks_of(paths: Sequence[str | Path] | np.ndarray) -> list[tuple[int, int]]:
    """Size and modification time of files, in place of their content; of many files, of every n-th."""
    found = (os.stat(path) for path in paths[:: 1 + len(paths) // _MARKED])
    return [(file.st_size, file.st_mtime_ns) for file in found]


def code_of(*packages: str) -> list[Path]:
    """The source files of packages of this library, for `key_of`."""
    files = (path for package in packages for path in sorted((_LIBRARY / package).rglob("*")))
    return [path for path in files if path.suffix in _CODE]
