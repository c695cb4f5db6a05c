"""Compiling the kernels on first use."""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from rlnas_core.kernels.tape import INSTRUCTION, OPERATIONS

_CODE = Path(__file__).with_name("kernels.cpp")
_FLAGS = [
    *("-O3", "-march=native", "-shared", "-fPIC"),
    f"-DOPERATIONS={','.join(OPERATIONS)}",
    f"-DINSTRUCTION_FIELDS={','.join(INSTRUCTION.names or ())}",
]


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels; None where there is no C++ compiler.

    The build is kept in the user's cache directory, one for each kind of processor and compiler.
    """
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if compiler is None or platform.system() == "Windows":
        return None
    target = subprocess.run(
        [compiler, "-march=native", "-dM", "-E", "-x", "c++", os.devnull], capture_output=True, check=False
    )
    if target.returncode:
        return None
    built_from = target.stdout + " ".join(_FLAGS).encode() + _CODE.read_bytes()
    name = hashlib.sha256(built_from).hexdigest()[:16] + ".so"
    for folder in (
        Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser(),
        Path(tempfile.gettempdir()),
    ):
        built = folder / "rlnas_core" / name
        if built.exists():
            return ctypes.CDLL(str(built))
        try:
            built.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=built.parent) as scratch:
                for openmp in (["-fopenmp"], []):  # a compiler without OpenMP builds for one thread
                    out = Path(scratch) / name
                    command = [compiler, *_FLAGS, *openmp, str(_CODE), "-o", str(out)]
                    if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                        out.replace(built)  # atomically, since another job may be building it too
                        return ctypes.CDLL(str(built))
        except OSError:
            continue
    return None


def pointers(tensors: Sequence[Tensor]) -> Any:
    """The addresses of tensors, as a C array."""
    return (ctypes.c_void_p * len(tensors))(*[tensor.data_ptr() for tensor in tensors])
