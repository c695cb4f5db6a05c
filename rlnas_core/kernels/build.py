"""Compiling the kernels on first use."""

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from rlnas_core.kernels.tape import INSTRUCTION, OPERATIONS

_CODE = Path(__file__).with_name("kernels.cpp")
_FLAGS = [
    *("-std=c++17", "-O3", "-march=native", "-shared", "-fPIC"),
    f"-DOPERATIONS={','.join(OPERATIONS)}",
    f"-DINSTRUCTION_FIELDS={','.join(INSTRUCTION.names or ())}",
]


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels; None where there is no C++ compiler.

    The build is kept in the user's cache directory, one for each kind of processor and compiler, or in a
    temporary directory of the user where the first can't be used.
    """
    compiler = _compiler()
    if not compiler or platform.system() == "Windows":
        return None
    query = [*compiler, "-march=native", "-dM", "-E", "-x", "c++", os.devnull]
    try:
        target = subprocess.run(query, capture_output=True, check=False)
    except OSError:  # CXX names a program that doesn't exist
        return None
    if target.returncode:
        return None
    flags = [*_FLAGS, *_openmp(compiler)]
    built_from = target.stdout + " ".join(flags).encode() + _CODE.read_bytes()
    for folder in _folders():
        with suppress(OSError):
            kernels = _loaded(folder, _digest(built_from), [*compiler, *flags])
            if kernels is not None:
                return kernels
    return None


def _openmp(compiler: Sequence[str]) -> list[str]:
    """The flag for threads, if the compiler links with it; without it the build is for one thread."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [*compiler, "-fopenmp", "-shared", "-x", "c++", os.devnull, "-o", f"{scratch}/nothing.so"]
        failed = subprocess.run(command, capture_output=True, check=False).returncode
    return [] if failed else ["-fopenmp"]


def _compiler() -> list[str]:
    """The command of the C++ compiler, such as [ccache, g++]; empty without one."""
    if chosen := os.environ.get("CXX"):
        with suppress(ValueError):  # quotes that aren't closed
            return shlex.split(chosen)
        return []
    return [path for path in map(shutil.which, ("c++", "g++")) if path][:1]


def _folders() -> Iterator[Path]:
    """Where builds are kept: the user's cache, then a temporary directory that nobody else can write to."""
    with suppress(RuntimeError):  # a user without a home directory
        yield Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "rlnas_core"
    own = Path(tempfile.gettempdir()) / f"rlnas_core-{os.getuid()}"
    with suppress(OSError):
        own.mkdir(mode=0o700, exist_ok=True)
        found = own.lstat()
        others_write = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not others_write:
            yield own


def _loaded(folder: Path, key: str, command: Sequence[str]) -> ctypes.CDLL | None:
    """Load the build of a key, or compile it; None if that fails, OSError if the folder can't be used.

    The name of a build ends with the digest of its content, since loading a truncated one ends the process.
    """
    for built in folder.glob(f"{key}-*.so"):
        with suppress(OSError):
            if built.stem == f"{key}-{_digest(built.read_bytes())}":
                return ctypes.CDLL(str(built))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        out = Path(scratch) / "kernels.so"
        whole = [*command, str(_CODE), "-o", str(out)]
        if subprocess.run(whole, capture_output=True, check=False).returncode:
            return None
        built = folder / f"{key}-{_digest(out.read_bytes())}.so"
        out.replace(built)  # atomically, since another job may be building it too
        return ctypes.CDLL(str(built))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def pointers(tensors: Sequence[Tensor]) -> Any:
    """The addresses of tensors, as a C array."""
    return (ctypes.c_void_p * len(tensors))(*[tensor.data_ptr() for tensor in tensors])
