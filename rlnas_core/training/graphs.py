"""NAS-Bench-201's supernet on a GPU: a training step as one CUDA graph, with the path as input data.

A step runs hundreds of kernels of a few microseconds each, and launching them one by one takes longer than
running them. A CUDA graph launches them all at once, but it has to contain the same kernels at every step,
whatever path is sampled. Therefore every edge runs one 3x3 convolution with the kernel of the sampled
operation (a 1x1 convolution is a padded 3x3 one). Masks then select what reaches the next node: the
convolution's output, the edge's input or its average. Operations that a step didn't sample get gradients of
exactly zero, as in the reference. Scores and gradients equal those of `Supernet.forward` up to rounding on
any device; only the capture needs CUDA.
"""

import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from types import FunctionType

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that torch code gives it

from rlnas_core.machine.devices import upload
from rlnas_core.networks.nas_bench_201 import Supernet
from rlnas_core.spaces.nas_bench_201 import CONV_1X1, CONV_3X3, EDGES, POOL, SKIP, NASBench201
from rlnas_core.training.optimiser import SGD

_WARM_UPS = 3  # runs before a capture, so that libraries choose their kernels
#: The edges by source node; the edges from one source share a convolution.
_ORDER = sorted(range(len(EDGES)), key=lambda edge: EDGES[edge])
_ENDS = np.cumsum([0, *np.bincount([source for source, _ in EDGES])]).tolist()
_SLICES = [slice(*ends) for ends in pairwise(_ENDS)]
Loss = Callable[[Tensor, Tensor], Tensor]


def static_cell(x: Tensor, ones: Tensor, threes: Tensor, chosen: Tensor) -> Tensor:
    """The output (B, C, H, W) of a cell of the supernet for its input of the same shape.

    `ones` (6, C, C, 1, 1) and `threes` (6, C, C, 3, 3) are the kernels of the edges. `chosen` (6, 5) is 1 at
    the operation of an edge and 0 elsewhere. Edges are in the order of their sources.
    """
    channels = x.shape[1]
    parts = chosen.unbind(1)
    one, three, skip, pool = (parts[operation] for operation in (CONV_1X1, CONV_3X3, SKIP, POOL))
    kernels = threes * three[:, None, None, None, None]
    kernels = kernels + F.pad(ones, (1, 1, 1, 1)) * one[:, None, None, None, None]
    scale = (one + three).repeat_interleave(channels)
    shift = torch.zeros_like(scale)
    nodes = [x]
    coming: dict[int, Tensor] = {}
    for source, edges in enumerate(_SLICES):
        x = nodes[source]
        rows = slice(edges.start * channels, edges.stop * channels)
        y = F.conv2d(F.relu(x), kernels[edges].flatten(0, 1), padding=1)
        y = F.batch_norm(y, None, None, scale[rows], shift[rows], training=True)
        mean = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        for position, part in enumerate(y.split(channels, dim=1)):
            edge = edges.start + position
            node = EDGES[_ORDER[edge]][1]
            part = part + x * skip[edge] + mean * pool[edge]
            coming[node] = coming[node] + part if node in coming else part
        nodes.append(coming[source + 1])
    return nodes[-1]


def _compiled_cell() -> Callable[..., Tensor]:
    # With its own code object: torch compiles each at most 8 times, and a training needs 3 of them.
    own = FunctionType(static_cell.__code__.replace(), static_cell.__globals__)
    return torch.compile(own, dynamic=False)


class StaticSupernet:
    """A supernet whose forward pass runs the same operations for every path; it shares the model's weights.

    The kernels of each stage move into two tensors, and the model's parameters become views of them. Raises
    ValueError for affine batch norms in cells, which aren't supported.
    """

    def __init__(self, model: Supernet) -> None:
        if model.affine:
            raise ValueError("affine: got true; a static supernet's cells have no affine batch norms")
        self.model = model
        self.leaves: list[Tensor] = []
        self.parameters: list[list[Tensor]] = []
        per = model.cells_per_stage
        weights = {(cell, edge, operation): w for cell, edge, operation, w in model.operation_weights()}
        self._kernels = [
            [
                self._join(
                    [weights[k, edge, operation] for k in range(first, first + per) for edge in _ORDER]
                )
                for operation in (CONV_1X1, CONV_3X3)
            ]
            for first in range(0, len(model.cells), per)
        ]
        for weight in model.fixed_weights():
            self.leaves.append(weight)
            self.parameters.append([weight])

    def _join(self, weights: list[Tensor]) -> Tensor:
        joined = torch.stack([weight.data for weight in weights])
        # Channels last, as the images are
        joined = joined.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3).requires_grad_()
        for weight, part in zip(weights, joined.detach(), strict=True):
            weight.data = part
        self.leaves.append(joined)
        self.parameters.append(weights)
        return joined

    def share(self, of_weights: Sequence[Tensor], values: list[Tensor]) -> list[Tensor]:
        """Join tensors, one per parameter, like the leaves; those in `values` become views of the result."""
        number = {id(weight): k for k, weight in enumerate(of_weights)}
        joined = []
        for leaf, weights in zip(self.leaves, self.parameters, strict=True):
            rows = [number[id(weight)] for weight in weights]
            whole = torch.stack([values[k] for k in rows]) if len(rows) > 1 else values[rows[0]]
            whole = torch.empty_like(leaf).copy_(whole)
            for k, part in zip(rows, whole if len(rows) > 1 else [whole], strict=True):
                values[k] = part
            joined.append(whole)
        return joined

    @staticmethod
    def encode(path: np.ndarray) -> np.ndarray:
        """A path (cells, 6) one-hot encoded as (cells, 6, 5), edges in the order of their sources."""
        return np.eye(len(NASBench201.operations))[np.asarray(path)[:, _ORDER]]

    def __call__(
        self, images: Tensor, chosen: Tensor, run_cell: Callable[..., Tensor] = static_cell
    ) -> Tensor:
        """Class scores, as `Supernet.forward` returns them, under an encoded path (cells, 6, 5)."""
        model, per = self.model, self.model.cells_per_stage
        x = model.stem_norm(model.stem(images))
        for k in range(len(model.cells)):
            stage, cell = divmod(k, per)
            if k and not cell:
                x = model.reductions[stage - 1](x)
            ones, threes = (k.unflatten(0, (per, len(EDGES)))[cell] for k in self._kernels[stage])
            x = run_cell(x, ones, threes, chosen[k])
        x = F.relu(model.last_norm(x))
        return model.head(x if model.by_position else x.mean(dim=(2, 3), keepdim=True))


class StaticStep:
    """A step of SGD on a static supernet: images, targets, path and learning rate in, loss and scores out.

    It updates the weights and the optimiser's momenta like the optimiser itself, with zero gradients for
    operations that weren't sampled. On CUDA, each batch size is captured as a graph at its first step. For
    batches of `compiled` images the cells are compiled first, which takes a minute and pays off after about
    ten epochs; if that fails, a warning says why, and they run uncompiled.
    """

    def __init__(
        self,
        network: StaticSupernet,
        optimiser: SGD,
        loss: Loss,
        autocast: Callable[[], torch.autocast],
        compiled: int | None = None,
    ) -> None:
        self._run_cell = {compiled: _compiled_cell()} if compiled else {}
        self.network, self._loss, self._autocast = network, loss, autocast
        self._momentum, self._nesterov = optimiser.momentum, optimiser.nesterov
        self._momenta = network.share(optimiser.weights, optimiser.momenta)
        decay = {id(weight): float(d) for weight, d in zip(optimiser.weights, optimiser.decay, strict=True)}
        self._decay = [decay[id(weights[0])] for weights in network.parameters]
        self._captured: dict[int, tuple[torch.cuda.CUDAGraph, list[Tensor], tuple[Tensor, Tensor]]] = {}

    def __call__(
        self, images: Tensor, target: Tensor, path: np.ndarray, learning_rate: float
    ) -> tuple[Tensor, Tensor]:
        """Take a step on images (B, C, H, W) under a path (cells, 6); return the loss and the scores."""
        chosen = np.broadcast_to(path, (len(self.network.model.cells), len(EDGES)))
        small = torch.from_numpy(np.append(self.network.encode(chosen), learning_rate))
        inputs = [images, target, upload(small.to(self.network.leaves[0].dtype), images.device)]
        if images.device.type != "cuda":
            return self.run(*inputs)
        if len(images) not in self._captured:
            self._captured[len(images)] = self._capture(inputs)
        graph, buffers, outputs = self._captured[len(images)]
        for buffer, value in zip(buffers, inputs, strict=True):
            buffer.copy_(value, non_blocking=True)
        graph.replay()
        return outputs

    def run(self, images: Tensor, target: Tensor, small: Tensor) -> tuple[Tensor, Tensor]:
        """Take a step; `small` contains the encoded path and the learning rate."""
        chosen = small[:-1].view(len(self.network.model.cells), len(EDGES), -1)
        leaves = self.network.leaves
        with self._autocast():
            run_cell = self._run_cell.get(len(images), static_cell)
            scores = self.network(images, chosen, run_cell).to(leaves[0].dtype)
            loss = self._loss(scores, target)
        gradients = torch.autograd.grad(loss, leaves)
        with torch.no_grad():
            gradients = torch._foreach_add(gradients, torch._foreach_mul(leaves, self._decay))
            torch._foreach_mul_(self._momenta, self._momentum)
            torch._foreach_add_(self._momenta, gradients)
            moves = torch._foreach_mul(self._momenta, self._momentum if self._nesterov else 1.0)
            if self._nesterov:
                torch._foreach_add_(moves, gradients)
            torch._foreach_sub_(leaves, torch._foreach_mul(moves, small[-1]))
        return loss.detach(), scores.detach()

    def _capture(
        self, inputs: list[Tensor]
    ) -> tuple[torch.cuda.CUDAGraph, list[Tensor], tuple[Tensor, Tensor]]:
        buffers = [value.clone() for value in inputs]
        kept = [*self.network.leaves, *self._momenta]
        before = [tensor.detach().clone() for tensor in kept]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            try:
                self.run(*buffers)
            except Exception as error:  # of many kinds: no C compiler, no headers of Python, an old GPU
                if not self._run_cell.pop(len(inputs[0]), None):
                    raise
                warnings.warn(f"the cells run uncompiled, which takes longer: {error}", stacklevel=2)
            for _ in range(_WARM_UPS):
                self.run(*buffers)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = self.run(*buffers)
        with torch.no_grad():
            torch._foreach_copy_([tensor.detach() for tensor in kept], before)
        return graph, buffers, outputs
