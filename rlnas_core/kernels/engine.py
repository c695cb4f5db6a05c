"""Run networks on the CPU with this project's kernels, from a recorded tape."""

import ctypes
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rlnas_core.kernels.build import library, pointers
from rlnas_core.kernels.tape import Tape, Value
from rlnas_core.machine import processes
from rlnas_core.networks.layers import RUNNING_MOMENTUM, BatchNorm
from rlnas_core.networks.nas_bench_201 import Supernet

_LANES = 8


def accelerate(model: nn.Module) -> "Engine | None":
    """Return an engine that runs a supernet with the kernels, or None where it can't.

    It changes the memory layout of the supernet's convolutions. None is returned for networks other than
    NAS-Bench-201's supernets, for widths that are no multiple of 8, for weights that aren't float32 on the
    CPU, in several processes, and without a C++ compiler. Calling the model itself still runs it on torch,
    with results equal to the engine's up to rounding.
    """
    if not isinstance(model, Supernet) or not _fits(model) or processes.count() > 1:
        return None
    if (kernels := library()) is None:
        return None
    return Engine(model, kernels)


def _fits(model: Supernet) -> bool:
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    widths = all(c.out_channels % _LANES == 0 and c.groups == 1 for c in convolutions)
    weights = all(w.dtype == torch.float32 and w.device.type == "cpu" for w in model.parameters())
    return widths and weights and isinstance(model.stem_norm, BatchNorm)


class _Run(torch.autograd.Function):
    """A tape as a function of its weights; the arenas keep the values of one run at a time."""

    @staticmethod
    def forward(
        ctx: Any, engine: "Engine", tape: Tape, output: Value, images: Tensor, *weights: Tensor
    ) -> Tensor:
        ctx.engine, ctx.tape, ctx.output = engine, tape, output
        ctx.save_for_backward(*weights)
        result = engine.forward(tape, output, images, keep_values=True)
        ctx.run = engine.runs
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.run != ctx.engine.runs:
            raise RuntimeError("another pass overwrote this one's memory; call backward once, before it")
        ctx.engine.runs += 1  # gradients take the place of values
        return None, None, None, None, *ctx.engine.backward(ctx.tape, ctx.output, gradient, ctx.saved_tensors)


class Engine:
    """Runs a supernet with the kernels; it reuses its memory and keeps batch-norm statistics between runs.

    It changes the memory layout of the supernet's convolutions.
    """

    def __init__(self, model: Supernet, kernels: ctypes.CDLL) -> None:
        self._model, self._kernels = model, kernels
        self._arenas: dict[str, Tensor] = {}
        self._memory: dict[Any, Any] = {}  # what the model's parts recorded
        self.runs = 0
        self._frozen: bytes | None = None  # the path by whose statistics batches are normalised
        self._recorded: tuple[Any, Tape, Value] | None = None
        self._first = next(model.parameters())
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                weight = module.weight
                weight.data = weight.data.permute(2, 3, 1, 0).contiguous().permute(3, 2, 0, 1)

    def __call__(self, images: Tensor, path: np.ndarray) -> Tensor:
        """Class scores of square images (B, C, H, W) under a path, as the supernet returns them.

        Raises ValueError for other images. Raises RuntimeError for gradients or another path within
        `calibrated`, and if all weights were replaced, or moved in memory, since `accelerate`.
        """
        tape, output = self._record(images.shape, path)
        if self._frozen is None and tape.images * output.side**2 < 2:
            raise ValueError("batch norm: got one image of one pixel; give larger images or batches")
        if self._frozen not in (None, path.tobytes()):
            raise RuntimeError("calibrated: got another path; statistics are those of one path")
        if next(self._model.parameters()) is not self._first or any(w.stride(0) != 1 for w in tape.weights):
            raise RuntimeError(
                "the supernet's weights were replaced or moved in memory after accelerate: call it again"
            )
        if not torch.is_grad_enabled():
            return self._model.head(self.forward(tape, output, images, keep_values=False))
        if self._frozen is not None:
            raise RuntimeError("the kernels have no gradient by fixed statistics: use torch.no_grad()")
        return self._model.head(_Run.apply(self, tape, output, images, *tape.weights))

    def _record(self, shape: torch.Size, path: np.ndarray) -> tuple[Tape, Value]:
        # Validation runs a path several times in a row, on batches of one size
        key = (shape, path.tobytes())
        if self._recorded is None or self._recorded[0] != key:
            if shape[2] != shape[3]:
                raise ValueError(f"images: got {shape[2]}x{shape[3]} pixels; accepted: square images")
            tape = Tape(shape[0], shape[2], shape[1], self._memory)
            output: Any = self._model.last_features(tape.input, path, tape.call)  # type: ignore[arg-type]
            self._recorded = key, tape, output
        return self._recorded[1:]

    @contextmanager
    def calibrated(self, images: Tensor, path: np.ndarray, batch: int | None = None) -> Iterator[None]:
        """Normalise by the statistics of these images, as `SupernetModule.calibrated` does."""
        kept = None
        for part in images.split(batch or len(images)):
            self(part, path)
            if len(part) < len(images):
                kept = self._blend(kept)
        self._frozen = path.tobytes()
        try:
            yield
        finally:
            self._frozen = None

    def _arena(self, name: str, size: int) -> Tensor:
        if name not in self._arenas or len(self._arenas[name]) < size:
            self._arenas[name] = torch.empty(size, dtype=torch.float32)
        return self._arenas[name]

    def _shape(self, tape: Tape) -> Any:
        return (ctypes.c_int64 * 3)(tape.images, self._frozen is not None, torch.get_num_threads())

    def forward(self, tape: Tape, output: Value, images: Tensor, keep_values: bool) -> Tensor:
        """Run a tape on images (B, C, H, W); `backward` needs `keep_values`."""
        self.runs += 1
        self._table = table = tape.instructions(keep_values)
        turn, beyond = (tape.size, 0) if keep_values else (tape.reach, tape.largest)
        values = self._arena("values", turn + beyond)
        statistics = self._arena("statistics", tape.statistics)
        self._normalised = tape.normalised
        self._view(values, 0, tape, tape.input).copy_(images)
        blank, size = tape.blank
        values[blank % turn :][:size] = 0
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
    def _view(arena: Tensor, offset: int, tape: Tape, value: Value) -> Tensor:
        """The value at an offset of an arena as (B, C, H, W)."""
        shape = (value.side, value.side, tape.images, value.channels)
        return arena[offset:][: math.prod(shape)].view(shape).permute(2, 3, 0, 1)

    def _blend(self, earlier: Tensor | None) -> Tensor:
        # Running statistics: mean and variance (2 * channels,) of each normalisation, one after the other
        inverse = torch.cat([torch.arange(2 * width) >= width for width in self._normalised])
        statistics = self._arenas["statistics"][: len(inverse)]
        now = torch.where(inverse, statistics**-2, statistics)
        blended = now if earlier is None else earlier.lerp(now, RUNNING_MOMENTUM)
        statistics.copy_(torch.where(inverse, blended**-0.5, blended))
        return blended

    def backward(
        self, tape: Tape, output: Value, gradient: Tensor, weights: Sequence[Tensor]
    ) -> list[Tensor]:
        """The gradients of the weights of the last tape run."""
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
