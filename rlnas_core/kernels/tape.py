"""Record the operations of a torch network, for the kernels to run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that torch code gives it

OPERATIONS = ("CONVOLVE", "NORMALISE", "POOL", "RECTIFY")
_CONVOLVE, _NORMALISE, _POOL, _RECTIFY = range(len(OPERATIONS))
#: An instruction; the struct of kernels.cpp is compiled from these names. Buffers are offsets in floats,
#: sides are in pixels, inputs and outputs in channels; `weight` is an index into the list of weights, -1 for
#: none; `adds` and `gradient_adds` say that a result is added to the values of its buffer.
INSTRUCTION = np.dtype(
    [
        (name, np.int64)
        for name in (
            *("operation", "source", "target", "source_gradient", "target_gradient", "side", "target_side"),
            *("inputs", "outputs", "kernel", "stride", "weight", "statistics"),
            *("adds", "gradient_adds", "wants_gradient"),
        )
    ]
)
_FIELDS = INSTRUCTION.names or ()
_BUFFERS = slice(_FIELDS.index("source"), _FIELDS.index("target_gradient") + 1)
_WEIGHT, _STATISTICS = _FIELDS.index("weight"), _FIELDS.index("statistics")


class Value:
    """A buffer of a tape; torch functions and modules take it like a tensor (B, C, H, W).

    A sum overwrites its first term, which can't be read afterwards. Raises NotImplementedError for operations
    that the kernels lack.
    """

    def __init__(self, tape: "Tape", offset: int, side: int, channels: int, constant: bool) -> None:
        self.tape, self.offset, self.side, self.channels = tape, offset, side, channels
        self.constant = constant
        self.reader: dict[str, int] | None = None  # the instruction that read it last
        self.overwritten = False

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, C, H, W)."""
        return self.tape.images, self.channels, self.side, self.side

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> "Value":
        if function not in _RECORDED:
            raise NotImplementedError(f"{function.__name__}: the CPU kernels have no such operation")
        return _RECORDED[function](args[0].tape, *args, **(kwargs or {}))

    def __add__(self, other: "Value") -> "Value":
        return self.tape.add(self, other)

    def mean(self, dim: tuple[int, ...], keepdim: bool) -> "Value":
        """The mean over all positions, (B, C, 1, 1)."""
        if (*dim, keepdim) != (2, 3, True):
            raise NotImplementedError(f"mean: got {dim}; the CPU kernels average all positions and keep them")
        return self.tape.pool(self, self.side, self.side)


@dataclass(frozen=True, slots=True)
class _Part:
    """What a module recorded, to be copied for other modules of its class.

    Entries of `table` count from the origins 0 (zero), 1 (the input), 2 (the first free float), 3 (the first
    weight) and 4 (the first statistics).
    """

    table: np.ndarray  # (instructions, fields)
    origins: np.ndarray  # (instructions, fields)
    weights: list[int]  # places among the module's parameters
    normalised: list[int]
    output: tuple[int, int, int]  # offset, side and channels
    size: int
    largest: int


class Tape:
    """The recorded operations of a network on `input`; the buffers lie in an arena of floats.

    `memory` keeps what `call` recorded, for other tapes.
    """

    def __init__(
        self,
        images: int,
        side: int,
        channels: int,
        memory: dict[Any, Any] | None = None,
        constant: bool = True,
    ) -> None:
        self.images = images
        self.weights: list[Tensor] = []
        self.blank = (0, 0)  # offset and size of the part that has to be zero before the run
        self.size = self.statistics = self.largest = 0
        self.normalised: list[int] = []  # channels of each batch norm, in the order of their statistics
        # The largest distance, in floats, from a buffer to the end of the arena in use at its last read
        self.reach = 0
        self._instructions: list[Any] = []  # dictionaries, and arrays of several
        self._memory = {} if memory is None else memory
        self.input = self._allocate(side, channels, constant)

    def _floats(self, value: Value) -> int:
        return value.side * value.side * self.images * value.channels

    def _allocate(self, side: int, channels: int, constant: bool = False) -> Value:
        value = Value(self, self.size, side, channels, constant)
        self.size += self._floats(value)
        self.largest = max(self.largest, self._floats(value))
        return value

    def _record(
        self,
        operation: int,
        x: Value,
        side: int,
        channels: int,
        kernel: int = 1,
        stride: int = 1,
        weights: Sequence[Tensor] = (),
    ) -> Value:
        if x.overwritten:
            raise NotImplementedError("a + b: the kernels add b to a in place, so a can't be read again")
        y = self._allocate(side, channels)
        instruction = {
            "operation": operation, "source": x.offset, "target": y.offset,
            "source_gradient": x.offset, "target_gradient": y.offset, "side": x.side, "target_side": side,
            "inputs": x.channels, "outputs": channels, "kernel": kernel, "stride": stride,
            "weight": len(self.weights) if weights else -1, "statistics": self.statistics,
            "adds": False, "gradient_adds": False, "wants_gradient": not x.constant,
        }  # fmt: skip
        # backward meets the last reader first: that one sets the gradient, the others add
        if x.reader is not None:
            x.reader["gradient_adds"] = True
        x.reader = instruction
        self.weights += weights
        self._instructions.append(instruction)
        return y

    def convolve(self, x: Value, weight: Tensor, bias: None, stride: tuple[int, int], *_: Any) -> Value:
        """Record a convolution without bias; ValueError if x has another number of channels."""
        outputs, inputs, kernel = weight.shape[:3]
        if x.channels != inputs:
            raise ValueError(f"images: got {x.channels} channels; the network accepts {inputs}")
        return self._record(_CONVOLVE, x, -(-x.side // stride[0]), outputs, kernel, stride[0], [weight])

    def normalise(
        self, x: Value, mean: None, variance: None, weight: Tensor | None, bias: Tensor | None, **_: Any
    ) -> Value:
        """Record a batch norm; a convolution that only it reads gets its gradient in place."""
        before = self._instructions[-1] if self._instructions else None
        weights = [] if weight is None or bias is None else [weight, bias]
        y = self._record(_NORMALISE, x, x.side, x.channels, weights=weights)
        if (
            isinstance(before, dict)
            and before["operation"] == _CONVOLVE
            and before["target"] == x.offset
            and not before["adds"]
        ):
            before["target_gradient"] = self._instructions[-1]["source_gradient"] = -1
        self.statistics += 2 * x.channels
        self.normalised.append(x.channels)
        return y

    def pool(self, x: Value, kernel: int, stride: int | None = None, *_: Any, **__: Any) -> Value:
        """Record an average pooling that doesn't count padding."""
        stride = stride or kernel
        return self._record(_POOL, x, x.side // stride, x.channels, kernel, stride)

    def copy(self, x: Value) -> Value:
        """Record a copy: an average over one pixel."""
        return self.pool(x, 1, 1)

    def rectify(self, x: Value, **_: Any) -> Value:
        """Record a ReLU."""
        return self._record(_RECTIFY, x, x.side, x.channels)

    def zeros(self, x: Value) -> Value:
        """Zeros of the shape of x, the output of a cell without a live path.

        The network's output then depends on no earlier instruction, so they are dropped.
        """
        self._instructions.clear()
        self.weights.clear()
        y = self._allocate(x.side, x.channels, constant=True)
        self.blank = (y.offset, self.size - y.offset)
        return y

    def add(self, x: Value, y: Value) -> Value:
        """Let the last instruction, which computes y, add to x instead, and free the buffer of y.

        Raises ValueError if x and y differ in shape: the kernels don't broadcast.
        """
        if (x.side, x.channels) != (y.side, y.channels):
            raise ValueError(f"a + b: got the shapes {x.shape} and {y.shape}; accepted: equal shapes")
        last = self._instructions[-1]
        read = x.reader is not None or y.reader is not None
        if read or not isinstance(last, dict) or last["target"] != y.offset:
            raise NotImplementedError("a + b: the kernels need an unread a and b from the last operation")
        last["target"] = last["target_gradient"] = x.offset
        last["adds"] = True
        self.size = y.offset
        x.overwritten = y.overwritten = True
        return Value(self, x.offset, x.side, x.channels, constant=False)

    def call(self, module: nn.Module, x: Value, *arguments: Any) -> Value:
        """Record a module on x, or copy what another one recorded; x can't be read afterwards.

        Modules of one class have to record the same for inputs of one shape and the same arguments.
        """
        key = type(module), self.images, x.side, x.channels, x.constant, str(arguments)
        if module not in self._memory:
            self._memory[module] = list(module.parameters())
        if key not in self._memory:
            self._memory[key] = self._part(module, x, arguments)
        part, parameters = self._memory[key], self._memory[module]
        if not len(part.table):
            return self.zeros(x)
        x.overwritten = True
        origins = np.array([0, x.offset, self.size, len(self.weights), self.statistics])
        self._instructions.append(part.table + origins[part.origins])
        offset, side, channels = part.output
        output = Value(self, self.size + offset, side, channels, constant=False)
        self.weights += [parameters[place] for place in part.weights]
        self.statistics += 2 * sum(part.normalised)
        self.normalised += part.normalised
        self.size += part.size
        self.largest = max(self.largest, part.largest)
        return output

    def _part(self, module: nn.Module, x: Value, arguments: tuple[Any, ...]) -> _Part:
        tape = Tape(self.images, x.side, x.channels, constant=x.constant)
        own = tape.size  # of the input, which lies before all that the module allocates
        y = module(tape.input, *arguments)
        table = tape._rows()
        buffers = table[:, _BUFFERS]
        allocated = buffers >= own
        origins = np.zeros(table.shape, dtype=np.int8)
        origins[:, _BUFFERS] = np.add(buffers >= 0, allocated, dtype=np.int8)
        origins[:, _WEIGHT] = 3 * (table[:, _WEIGHT] >= 0)
        origins[:, _STATISTICS] = 4
        buffers -= own * allocated
        places = {id(weight): place for place, weight in enumerate(self._memory[module])}
        return _Part(
            table=table,
            origins=origins,
            weights=[places[id(weight)] for weight in tape.weights],
            normalised=tape.normalised,
            output=(y.offset - own, y.side, y.channels),
            size=tape.size - own,
            largest=tape.largest,
        )

    def _rows(self) -> np.ndarray:
        """All instructions, (instructions, fields)."""
        rows = [
            part if isinstance(part, np.ndarray) else [list(part.values())] for part in self._instructions
        ]
        return np.concatenate([np.empty((0, len(_FIELDS)), np.int64), *rows])

    def instructions(self, keep_values: bool) -> np.ndarray:
        """The instructions, an array of `INSTRUCTION`; gradients and values that aren't kept reuse memory."""
        table = self._rows().view(INSTRUCTION)[:, 0]
        ends = np.maximum.accumulate(
            table["target"] + table["target_side"] ** 2 * self.images * table["outputs"]
        )
        self.reach = int((ends - table["source"]).max())
        for name in _FIELDS[_BUFFERS][2 if keep_values else 0 :]:
            table[name] = np.where(table[name] < 0, -1, table[name] % self.reach)
        return table


#: The torch functions that the kernels support.
_RECORDED: dict[Any, Callable[..., Value]] = {
    F.conv2d: Tape.convolve,
    F.batch_norm: Tape.normalise,
    F.avg_pool2d: Tape.pool,
    F.relu: Tape.rectify,
    torch.positive: Tape.copy,
    torch.zeros_like: Tape.zeros,
}
