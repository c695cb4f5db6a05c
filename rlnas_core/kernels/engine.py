"""Networks on the CPU by kernels of our own: compiled on first use, run from a recorded tape."""

import ctypes
import functools
import hashlib
import math
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

_CODE = Path(__file__).with_name("kernels.cpp")
_FLAGS = ["-O3", "-march=native", "-shared", "-fPIC"]
_CONVOLVE, _NORMALISE, _POOL, _RECTIFY = range(4)
# Columns of an instruction, in the order of kernels.cpp.
_SOURCE, _TARGET, _SOURCE_GRADIENT, _TARGET_GRADIENT, _ADDS, _GRADIENT_ADDS = 1, 2, 3, 4, 13, 14
_LANES = 8


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels; None where there is no C++ compiler.

    They are kept in the user's cache folder, one build for each kind of processor and compiler.
    """
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if compiler is None or platform.system() == "Windows":
        return None
    target = subprocess.run(
        [compiler, "-march=native", "-dM", "-E", "-x", "c++", os.devnull], capture_output=True, check=False
    )
    if target.returncode:
        return None
    name = hashlib.sha256(target.stdout + _CODE.read_bytes()).hexdigest()[:16] + ".so"
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
                        out.replace(built)  # at once, as another job may be building it too
                        return ctypes.CDLL(str(built))
        except OSError:
            continue
    return None


class Operations(Protocol):
    """What a network is written in: run at once by torch (`Eager`), or recorded for the kernels (`Tape`).

    With `onto`, a result is added to that value, which may be overwritten.
    """

    def convolve(self, x: Any, convolution: Any, onto: Any = None) -> Any:
        """The convolution of x."""

    def normalise(self, x: Any, norm: nn.Module, onto: Any = None) -> Any:
        """The normalised x."""

    def pool(self, x: Any, kernel: int, stride: int, onto: Any = None) -> Any:
        """Averages of x that leave padding out; a kernel of one pixel is the identity."""

    def rectify(self, x: Any) -> Any:
        """The ReLU of x."""

    def zeros(self, x: Any) -> Any:
        """Zeros of the shape of x."""

    def average(self, x: Any) -> Any:
        """The mean of x over all positions."""


class Eager:
    """The operations of a network as torch's own, on tensors (B, C, H, W)."""

    def convolve(self, x: Tensor, convolution: nn.Module, onto: Tensor | None = None) -> Tensor:
        """Convolve."""
        return self._onto(convolution(x), onto)

    def normalise(self, x: Tensor, norm: nn.Module, onto: Tensor | None = None) -> Tensor:
        """Normalise."""
        return self._onto(norm(x), onto)

    def pool(self, x: Tensor, kernel: int, stride: int, onto: Tensor | None = None) -> Tensor:
        """Average."""
        if kernel > 1:
            x = nn.functional.avg_pool2d(
                x, kernel, stride, kernel // 2 if stride == 1 else 0, count_include_pad=False
            )
        return self._onto(x, onto)

    def rectify(self, x: Tensor) -> Tensor:
        """The ReLU of x."""
        return nn.functional.relu(x)

    def zeros(self, x: Tensor) -> Tensor:
        """Zeros of the shape of x."""
        return torch.zeros_like(x)

    def average(self, x: Tensor) -> Tensor:
        """The mean over all positions, (B, C, 1, 1)."""
        return x.mean(dim=(2, 3), keepdim=True)

    @staticmethod
    def _onto(x: Tensor, onto: Tensor | None) -> Tensor:
        return x if onto is None else onto + x


class _Value:
    """A buffer of a tape, and the instruction that read it last."""

    def __init__(self, offset: int, side: int, channels: int, constant: bool) -> None:
        self.offset, self.side, self.channels, self.constant = offset, side, channels, constant
        self.reader: list[int] | None = None


class Tape:
    """Operations recorded for the kernels instead of run; their buffers lie in an arena of floats."""

    def __init__(self, images: int, side: int, channels: int) -> None:
        self.images = images
        self.weights: list[Tensor] = []
        self.blank = (0, 0)  # offset and size of what has to be zero before the run
        self.size = self.statistics = self.largest = 0
        self.normalised: list[int] = []  # channels of each normalisation, in the order of their statistics
        # The longest way, in floats, from a buffer to the end of what is there at its last use
        self.reach = 0
        self._instructions: list[list[int]] = []
        self.input = self._allocate(side, channels, constant=True)

    def _allocate(self, side: int, channels: int, constant: bool = False) -> _Value:
        value = _Value(self.size, side, channels, constant)
        size = side * side * self.images * channels
        self.size += size
        self.largest = max(self.largest, size)
        return value

    def _record(
        self,
        operation: int,
        x: _Value,
        y: _Value,
        adds: bool,
        kernel: int = 1,
        stride: int = 1,
        weight: int = -1,
    ) -> None:
        instruction = [
            operation, x.offset, y.offset, x.offset, y.offset, x.side, y.side, x.channels, y.channels,
            kernel, stride, weight, self.statistics, adds, False, not x.constant,
        ]  # fmt: skip
        if (
            x.reader is not None
        ):  # backward meets the last reader first: that one sets the gradient, the others add
            x.reader[_GRADIENT_ADDS] = True
        x.reader = instruction
        self.reach = max(self.reach, self.size - x.offset)
        self._instructions.append(instruction)

    def convolve(self, x: _Value, convolution: nn.Conv2d, onto: _Value | None = None) -> _Value:
        """Record a convolution."""
        kernel, stride = convolution.kernel_size[0], convolution.stride[0]
        y = onto or self._allocate(-(-x.side // stride), convolution.out_channels)
        self._record(_CONVOLVE, x, y, onto is not None, kernel, stride, len(self.weights))
        self.weights.append(convolution.weight)
        return y

    def normalise(self, x: _Value, norm: Any, onto: _Value | None = None) -> _Value:
        """Record a normalisation; a convolution that only it reads gets its gradient in its own place."""
        y = onto or self._allocate(x.side, x.channels)
        before = self._instructions[-1] if self._instructions else None
        self._record(
            _NORMALISE, x, y, onto is not None, weight=-1 if norm.weight is None else len(self.weights)
        )
        if before and before[0] == _CONVOLVE and before[_TARGET] == x.offset and not before[_ADDS]:
            before[_TARGET_GRADIENT] = self._instructions[-1][_SOURCE_GRADIENT] = -1
        self.statistics += 2 * x.channels
        self.normalised.append(x.channels)
        if norm.weight is not None:
            self.weights += [norm.weight, norm.bias]
        return y

    def pool(self, x: _Value, kernel: int, stride: int, onto: _Value | None = None) -> _Value:
        """Record an averaging."""
        y = onto or self._allocate(x.side // stride, x.channels)
        self._record(_POOL, x, y, onto is not None, kernel, stride)
        return y

    def rectify(self, x: _Value) -> _Value:
        """Record a ReLU."""
        y = self._allocate(x.side, x.channels)
        self._record(_RECTIFY, x, y, False)
        return y

    def zeros(self, x: _Value) -> _Value:
        """Zeros in place of x; what was recorded before has no say in the result and is dropped."""
        self._instructions.clear()
        self.weights.clear()
        y = self._allocate(x.side, x.channels, constant=True)
        self.blank = (y.offset, self.size - y.offset)
        return y

    def average(self, x: _Value) -> _Value:
        """Record the mean over all positions."""
        return self.pool(x, x.side, x.side)

    def instructions(self, keep_values: bool) -> np.ndarray:
        """(instructions, 16) int64; gradients, and values that aren't kept, reuse the memory of past ones."""
        table = np.array(self._instructions, dtype=np.int64)
        offsets = table[:, _SOURCE : _TARGET_GRADIENT + 1]
        reused = offsets if not keep_values else offsets[:, 2:]
        reused[:] = np.where(reused < 0, -1, reused % self.reach)
        return table


class _Run(torch.autograd.Function):
    """A tape as a function of its weights; the arenas hold one run at a time."""

    @staticmethod
    def forward(
        ctx: Any, engine: "Engine", tape: Tape, output: _Value, images: Tensor, *weights: Tensor
    ) -> Tensor:
        ctx.engine, ctx.tape, ctx.output = engine, tape, output
        ctx.save_for_backward(*weights)
        result = engine.forward(tape, output, images, keep_values=True)
        ctx.run = engine.runs
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.run != ctx.engine.runs:
            raise RuntimeError("another forward pass took the memory of this one; call backward before it")
        return None, None, None, None, *ctx.engine.backward(ctx.tape, ctx.output, gradient, ctx.saved_tensors)


class Engine:
    """Runs networks by the kernels; it keeps its memory, and normalisations' statistics, from run to run."""

    def __init__(self, kernels: ctypes.CDLL) -> None:
        self._kernels = kernels
        self._arenas: dict[str, Tensor] = {}
        self.runs = 0
        self.frozen = False  # normalise by the statistics of the run before

    def __call__(self, images: Tensor, network: Callable[[Tape, _Value], _Value]) -> Tensor:
        """The output (B, C, H, W) of a network, given by what it records, for images (B, C, H, W)."""
        tape = Tape(images.shape[0], images.shape[2], images.shape[1])
        output = network(tape, tape.input)
        if not torch.is_grad_enabled():
            return self.forward(tape, output, images, keep_values=False)
        return _Run.apply(self, tape, output, images, *tape.weights)

    def _arena(self, name: str, size: int) -> Tensor:
        if name not in self._arenas or len(self._arenas[name]) < size:
            self._arenas[name] = torch.empty(size)
        return self._arenas[name]

    def _shape(self, tape: Tape) -> Any:
        return (ctypes.c_int64 * 3)(tape.images, self.frozen, torch.get_num_threads())

    def forward(self, tape: Tape, output: _Value, images: Tensor, keep_values: bool) -> Tensor:
        """Run a tape on images (B, C, H, W); `backward` needs the values kept."""
        self.runs += 1
        turn, beyond = (tape.size, 0) if keep_values else (tape.reach, tape.largest)
        values = self._arena("values", turn + beyond)
        statistics = self._arena("statistics", tape.statistics)
        self._normalised = tape.normalised
        self._view(values, 0, tape, tape.input).copy_(images)
        blank, size = tape.blank
        values[blank % turn :][:size] = 0
        self._table = table = tape.instructions(keep_values)
        self._kernels.run_forward(
            ctypes.c_void_p(table.ctypes.data),
            ctypes.c_int64(len(table)),
            self._shape(tape),
            ctypes.c_void_p(values.data_ptr()),
            ctypes.c_void_p(statistics.data_ptr()),
            pointers(tape.weights),
        )
        return self._view(values, output.offset % turn, tape, output).clone()

    @staticmethod
    def _view(arena: Tensor, offset: int, tape: Tape, value: _Value) -> Tensor:
        """What lies at an offset of an arena as (B, C, H, W)."""
        shape = (value.side, value.side, tape.images, value.channels)
        return arena[offset:][: math.prod(shape)].view(shape).permute(2, 3, 0, 1)

    def blend(self, earlier: Tensor | None, momentum: float) -> Tensor:
        """Move `earlier` statistics towards those of the run before by `momentum`; `frozen` then uses them.

        They are the mean and variance of each normalisation, (2 * channels,) one after the other.
        """
        inverse = torch.cat([torch.arange(2 * width) >= width for width in self._normalised])
        statistics = self._arenas["statistics"][: len(inverse)]
        now = torch.where(inverse, statistics**-2, statistics)
        blended = now if earlier is None else earlier.lerp(now, momentum)
        statistics.copy_(torch.where(inverse, blended**-0.5, blended))
        return blended

    def backward(
        self, tape: Tape, output: _Value, gradient: Tensor, weights: Sequence[Tensor]
    ) -> list[Tensor]:
        """The gradients of the weights of the tape that ran last."""
        results = [torch.empty_like(weight) for weight in weights]
        gradients = self._arena("gradients", tape.reach + tape.largest)
        self._view(gradients, output.offset % tape.reach, tape, output).copy_(gradient)
        self._kernels.run_backward(
            ctypes.c_void_p(self._table.ctypes.data),
            ctypes.c_int64(len(self._table)),
            self._shape(tape),
            ctypes.c_void_p(self._arenas["values"].data_ptr()),
            ctypes.c_void_p(gradients.data_ptr()),
            ctypes.c_void_p(self._arenas["statistics"].data_ptr()),
            pointers(weights),
            pointers(results),
        )
        return results


def pointers(tensors: Sequence[Tensor]) -> Any:
    """The addresses of tensors, as a C array."""
    return (ctypes.c_void_p * len(tensors))(*[tensor.data_ptr() for tensor in tensors])


def accelerate(model: nn.Module) -> Engine | None:
    """Lay a model's convolutions out for the kernels and return an engine, None where it can't have one.

    The model must be on the CPU and its convolutions' widths multiples of 8; results equal torch's up to
    rounding.
    """
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    if any(c.out_channels % _LANES or c.groups > 1 for c in convolutions) or (kernels := library()) is None:
        return None
    for c in convolutions:
        c.weight.data = c.weight.data.permute(2, 3, 1, 0).contiguous().permute(3, 2, 0, 1)
    return Engine(kernels)
