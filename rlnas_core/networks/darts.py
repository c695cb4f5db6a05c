"""Networks of DARTS cells as torch modules: the supernet and the stand-alone network."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that torch code gives it

from rlnas_core.networks.layers import (
    BackboneModule,
    Choices,
    SupernetModule,
    check_sizes,
    classifier,
    convolution,
    drop_out,
    norm,
    spaced,
)
from rlnas_core.spaces.darts import (
    AVG_POOL,
    DARTS,
    DIL_3,
    DIL_5,
    EDGES,
    INPUTS,
    INTO,
    KERNELS,
    MAX_POOL,
    NODES,
    NONE,
    SEP_3,
    SEP_5,
    SKIP,
    reduces,
)

_AUXILIARY = 128, 768


class FactorizedReduce(nn.Module):
    """Halve the resolution with two 1x1 convolutions, one of the even and one of the odd pixels.

    At stride 1 the resolution stays the same; every second pixel then has the value of stride 2.
    """

    def __init__(self, inputs: int, outputs: int, affine: bool, running: bool, stride: int = 2) -> None:
        super().__init__()
        self.even = convolution(inputs, outputs // 2, 1, stride)
        self.odd = convolution(inputs, outputs - outputs // 2, 1, stride)
        self.norm = norm(outputs, affine, running)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, outputs, H/stride, W/stride), rounded up."""
        x = F.relu(x)
        odd = F.pad(x[:, :, 1:, 1:], (0, 1, 0, 1))
        return self.norm(torch.cat([self.even(x), self.odd(odd)], dim=1))


def _projection(inputs: int, outputs: int, affine: bool, running: bool) -> nn.Module:
    return nn.Sequential(nn.ReLU(), convolution(inputs, outputs, 1), norm(outputs, affine, running))


class DilatedPool(nn.Module):
    """Pooling of stride 1 with dilation 2: pools each of the four grids of every second pixel separately."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        out = torch.empty_like(x)
        for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
            out[:, :, row::2, column::2] = self.pool(x[:, :, row::2, column::2])
        return out


def _pool(gene: int, stride: int, dilated: bool) -> nn.Module:
    step = 1 if dilated else stride
    average = nn.AvgPool2d(3, step, 1, count_include_pad=False)
    pool = nn.MaxPool2d(3, step, 1) if gene == MAX_POOL else average
    return DilatedPool(pool) if dilated and stride == 1 else pool


def _operation(
    gene: int, channels: int, stride: int, affine: bool, running: bool, dilated: bool
) -> nn.Module:
    if gene == SKIP and stride == 1:
        return nn.Identity()
    if gene == SKIP:
        return FactorizedReduce(channels, channels, affine, running, 1 if dilated else stride)
    if gene in (MAX_POOL, AVG_POOL):
        pool = _pool(gene, stride, dilated)
        # Only the supernet has a batch norm after pooling.
        return pool if running else nn.Sequential(pool, norm(channels, affine, running))
    layers: list[nn.Module] = []
    for step in (stride, 1) if gene in (SEP_3, SEP_5) else (stride,):
        step, spacing = spaced(step, dilated)
        dilation = spacing * (2 if gene in (DIL_3, DIL_5) else 1)
        layers += [
            nn.ReLU(),
            convolution(channels, channels, KERNELS[gene], step, groups=channels, dilation=dilation),
            convolution(channels, channels, 1),
            norm(channels, affine, running),
        ]
    return nn.Sequential(*layers)


class _AuxiliaryPool(nn.Module):
    """Average pooling to 2x2.

    Maps of 7x7, those of images of 224 pixels, are pooled by 5x5 at stride 2 as in the authors' code.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, 2, 2)."""
        return F.avg_pool2d(x, 5, 2) if x.shape[2:] == (7, 7) else F.adaptive_avg_pool2d(x, 2)


class Cell(nn.Module):
    """A cell with the operations of the given genes on each edge; it reads the two cells before it.

    With `dilated` it keeps the resolution and has filters of dilation 2.
    """

    def __init__(
        self,
        inputs: tuple[int, int],
        width: int,
        choices: list[tuple[int, ...]],
        *,
        reduces: bool,
        after_reduction: bool,
        affine: bool,
        running: bool,
        dilated: bool = False,
    ) -> None:
        super().__init__()
        if after_reduction:
            # A reduction cell first brings its two inputs to one resolution.
            stride = 1 if dilated and not reduces else 2
            self.before: nn.Module = FactorizedReduce(inputs[0], width, affine, running, stride)
        else:
            self.before = _projection(inputs[0], width, affine, running)
        self.last = _projection(inputs[1], width, affine, running)
        self.operations = Choices(
            {
                (edge, gene): _operation(
                    gene, width, 2 if reduces and EDGES[edge][0] < INPUTS else 1, affine, running, dilated
                )
                for edge, genes in enumerate(choices)
                for gene in genes
                if gene != NONE
            }
        )

    def forward(
        self, before: Tensor, last: Tensor, genes: list[int], drop: Callable[[Tensor], Tensor] | None
    ) -> Tensor:
        """The concatenated four nodes; `drop` sets the output of an operation to zero for some images."""
        nodes = [self.before(before), self.last(last)]
        for edges in INTO:
            terms = []
            for edge in edges:
                if genes[edge] == NONE:
                    continue
                operation = self.operations.at(edge, genes[edge])
                term = operation(nodes[EDGES[edge][0]])
                terms.append(drop(term) if drop and not isinstance(operation, nn.Identity) else term)
            nodes.append(sum(terms[1:], terms[0]))
        return torch.cat(nodes[INPUTS:], dim=1)


def _stems(
    in_channels: int, channels: int, imagenet: bool, running: bool
) -> tuple[nn.Module, nn.Module, int]:
    """The layers that make the two inputs of the first cell, and their output channels."""
    if not imagenet:
        width = 3 * channels
        stem = nn.Sequential(convolution(in_channels, width, 3), norm(width, True, running))
        return stem, nn.Identity(), width
    stem = nn.Sequential(
        convolution(in_channels, channels // 2, 3, 2),
        norm(channels // 2, True, running),
        nn.ReLU(),
        convolution(channels // 2, channels, 3, 2),
        norm(channels, True, running),
    )
    second = nn.Sequential(nn.ReLU(), convolution(channels, channels, 3, 2), norm(channels, True, running))
    return stem, second, channels


class Supernet(SupernetModule):
    """The DARTS supernet (Sec. 4.2): every operation of every edge of every cell.

    `channels` is the width of the first cells; cells at a third and two thirds of the depth halve the
    resolution and double the width. The `imagenet` stem has an output stride of 8. `dilated_norm` says which
    batch-norm weights of a dilated convolution V(a, W) contains: the scale twice (`reference`) or scale and
    shift (`paper`). With `dilated` the last stage keeps the resolution. Raises ValueError for another
    `dilated_norm` or a size below 1.
    """

    def __init__(
        self,
        *,
        classes: int | None,
        channels: int = 16,
        cells: int = 8,
        in_channels: int = 3,
        imagenet: bool = False,
        affine: bool = False,
        running: bool = False,
        dilated_norm: str = "reference",
        choices: list[tuple[int, ...]] | None = None,
        dilated: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(classes=classes, channels=channels, cells=cells, in_channels=in_channels)
        if imagenet and channels < 2:
            raise ValueError(f"channels: got {channels}; accepted with imagenet: 2 or more")
        if dilated_norm not in ("reference", "paper"):
            raise ValueError(f"dilated_norm: got {dilated_norm!r}; accepted: reference, paper")
        self.dilated_norm = dilated_norm
        choices = choices or [tuple(range(len(DARTS.operations)))] * (2 * len(EDGES))
        self.stem_stride = 8 if imagenet else 1
        self.stem, self.second_stem, width = _stems(in_channels, channels, imagenet, running)
        inputs = (width, width)
        self.reduces = reduces(cells)
        self.groups = (cells, len(choices), len(DARTS.operations))
        self.cells, self.widths = nn.ModuleList(), []
        width, after_reduction = channels, imagenet
        last_stage = np.cumsum(self.reduces) == sum(self.reduces)
        for reducing, last in zip(self.reduces, last_stage.tolist(), strict=True):
            width *= 1 + reducing
            part = choices[len(EDGES) :] if reducing else choices[: len(EDGES)]
            shape = {"reduces": reducing, "after_reduction": after_reduction, "dilated": dilated and last}
            self.cells.append(Cell(inputs, width, part, affine=affine, running=running, **shape))
            self.widths.append(width)
            inputs, after_reduction = (inputs[1], NODES * width), reducing
        self.classifier = classifier(inputs[1], classes)

    def forward(self, images: Tensor, path: np.ndarray) -> Tensor:
        """Class scores (B, classes) of images (B, C, H, W) under a path (28,) or (1, 28)."""
        return self.classifier(self._features(images, path)[-1].mean(dim=(2, 3)))

    def _features(
        self, images: Tensor, path: np.ndarray, drop: Callable[[Tensor], Tensor] | None = None
    ) -> list[Tensor]:
        """The output of each cell."""
        kinds = np.asarray(path).reshape(2, -1).tolist()
        before = self.stem(images)
        last = self.second_stem(before)
        outputs = []
        for cell, reducing in zip(self.cells, self.reduces, strict=True):
            before, last = last, cell(before, last, kinds[reducing], drop)
            outputs.append(last)
        return outputs

    def operation_weights(self) -> list[tuple[int, int, int, Tensor]]:
        """(cell, gene index, operation, weight) of every weight of an operation in V(a, W)."""
        weights: list[tuple[int, int, int, Tensor]] = []
        for k, cell in enumerate(self.cells):
            for (edge, gene), operation in cell.operations.placed():  # type: ignore[operator, union-attr]
                slot = edge + len(EDGES) * self.reduces[k]
                held = list(operation.parameters())
                if gene in (DIL_3, DIL_5) and self.dilated_norm == "reference":
                    scale = operation[-1].weight
                    held = [*operation[:-1].parameters(), *([] if scale is None else [scale] * 2)]
                weights += [(k, slot, gene, weight) for weight in held]
        return weights

    def fixed_weights(self) -> list[Tensor]:
        """The weights of the stems, of the two input layers of each cell and of the classifier."""
        cells: Any = self.cells
        firsts = [part for cell in cells for part in (cell.before, cell.last)]
        parts = (self.stem, self.second_stem, *firsts, self.classifier)
        return [weight for part in parts for weight in part.parameters()]

    def cell_channels(self) -> list[int]:
        """The width of each cell."""
        return self.widths


class Network(Supernet, BackboneModule):
    """The stand-alone network of one architecture (28,), with affine normalisation and running statistics.

    With `auxiliary`, the network in training mode returns (scores, auxiliary scores); the auxiliary head
    reads the second reduction cell. `drop` is the probability of drop path in training: that
    an image skips an operation. `generator` draws which images do.
    """

    space = "darts"
    head = ("classifier", "auxiliary")

    def __init__(
        self,
        genes: np.ndarray,
        *,
        auxiliary: bool = False,
        drop: float = 0.0,
        generator: torch.Generator | None = None,
        **sizes: Any,
    ) -> None:
        self.genes, self.sizes = np.asarray(genes), sizes
        super().__init__(choices=[(int(g),) for g in self.genes], affine=True, running=True, **sizes)
        self.drop, self.generator = drop, generator
        self.auxiliary: nn.Module | None = None
        if auxiliary:
            if sum(self.reduces) < 2 or sizes["classes"] is None:
                raise ValueError("auxiliary: got True; accepted with 2 cells or more and a number of classes")
            self.head_at = self.reduces.index(True, self.reduces.index(True) + 1)
            inner, outer = _AUXILIARY
            self.auxiliary = nn.Sequential(
                nn.ReLU(),
                _AuxiliaryPool(),
                convolution(NODES * self.widths[self.head_at], inner, 1),
                norm(inner, True, True),
                nn.ReLU(),
                nn.Conv2d(inner, outer, 2, bias=False),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(outer, sizes["classes"]),
            )

    def forward(self, images: Tensor, path: np.ndarray | None = None) -> Any:
        """Class scores (B, classes) of images (B, C, H, W)."""
        outputs = self.features(images)
        scores = self.classifier(outputs[-1].mean(dim=(2, 3)))
        if self.auxiliary is not None and self.training:
            return scores, self.auxiliary(outputs[self.head_at])
        return scores

    def features(self, images: Tensor) -> list[Tensor]:
        """The output of each cell for images (B, C, H, W)."""
        return self._features(images, self.genes, self._drop if self.training and self.drop else None)

    def body(self) -> list[tuple[int, int]]:
        """(channels, stride) of each of the features; the stride is in pixels of the image."""
        strides = self.stem_stride * 2 ** np.cumsum(self.reduces)
        return list(zip([NODES * width for width in self.widths], strides.tolist(), strict=True))

    def drop_paths(self, chance: float) -> None:
        """Set the probability of drop path in training from now on."""
        self.drop = chance

    def _drop(self, term: Tensor) -> Tensor:
        return drop_out(term, self.drop, self.generator, whole=True)
