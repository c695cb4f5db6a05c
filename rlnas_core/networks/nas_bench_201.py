"""NAS-Bench-201's macro skeleton as torch modules: the supernet and the stand-alone network."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that torch code gives it

from rlnas_core.networks.layers import Choices, SupernetModule, check_sizes, convolution, norm
from rlnas_core.spaces.nas_bench_201 import (
    CONV_1X1,
    CONV_3X3,
    EDGES,
    KERNELS,
    NODES,
    NONE,
    POOL,
    STAGES,
    NASBench201,
)


class Cell(nn.Module):
    """A cell with the convolutions of the given genes on each edge; (B, C, H, W) to the same shape."""

    def __init__(self, channels: int, choices: list[tuple[int, ...]], affine: bool, running: bool) -> None:
        super().__init__()
        self.convolutions = Choices(
            {
                (edge, gene): nn.Sequential(
                    convolution(channels, channels, KERNELS[gene]), norm(channels, affine, running)
                )
                for edge, genes in enumerate(choices)
                for gene in genes
                if gene in KERNELS
            }
        )

    def forward(self, x: Tensor, genes: list[int]) -> Tensor:
        """The output node under canonical genes; zeros where no path reaches it."""
        nodes: list[Any] = [x, *[None] * (NODES - 1)]
        active: dict[int, Tensor] = {}  # the ReLU of a node, shared by the convolutions that read it
        for edge, (gene, (source, destination)) in enumerate(zip(genes, EDGES, strict=True)):
            if gene == NONE:
                continue
            inner, total = nodes[source], nodes[destination]
            if gene in KERNELS:
                if source not in active:
                    active[source] = F.relu(inner)
                output = self.convolutions.at(edge, gene)(active[source])
            elif gene == POOL:
                output = F.avg_pool2d(inner, 3, 1, 1, count_include_pad=False)
            else:
                output = torch.positive(inner)  # the identity
            nodes[destination] = output if total is None else total + output
        return torch.zeros_like(x) if nodes[-1] is None else nodes[-1]


class Reduction(nn.Module):
    """The fixed residual block between stages, (B, C, H, W) to (B, 2C, H/2, W/2)."""

    def __init__(self, channels: int, running: bool) -> None:
        super().__init__()
        self.first = convolution(channels, 2 * channels, 3, 2)
        self.first_norm = norm(2 * channels, True, running)
        self.second = convolution(2 * channels, 2 * channels, 3)
        self.second_norm = norm(2 * channels, True, running)
        self.shortcut = convolution(channels, 2 * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Halve the resolution and double the channels; ValueError for an odd height or width."""
        if x.shape[2] % 2 or x.shape[3] % 2:
            raise ValueError(
                f"images: got {x.shape[2]}x{x.shape[3]} pixels at a block that halves them; NAS-Bench-201 "
                "halves images twice, so give images whose sides are multiples of 4"
            )
        y = self.first_norm(self.first(F.relu(x)))
        y = self.second_norm(self.second(F.relu(y)))
        return y + self.shortcut(F.avg_pool2d(x, 2))


class Supernet(SupernetModule):
    """The NAS-Bench-201 supernet (Sec. 4.1): every convolution of every edge of every cell.

    `channels` is the width of the first of three stages of `cells` cells each. With `affine`, batch norms in
    cells have affine parameters; with `running`, all batch norms have running statistics. With `by_position`
    the classifier scores each position of the last feature map. Raises ValueError for a size below 1.
    """

    def __init__(
        self,
        *,
        classes: int,
        channels: int = 16,
        cells: int = 5,
        in_channels: int = 3,
        choices: list[tuple[int, ...]] | None = None,
        affine: bool = False,
        running: bool = False,
        by_position: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(classes=classes, channels=channels, cells=cells, in_channels=in_channels)
        choices = choices or [(CONV_1X1, CONV_3X3)] * len(EDGES)
        self.stem = convolution(in_channels, channels, 3)
        self.stem_norm = norm(channels, True, running)
        self.cells = nn.ModuleList(
            Cell(channels * 2**stage, choices, affine, running)
            for stage in range(STAGES)
            for _ in range(cells)
        )
        self.reductions = nn.ModuleList(
            Reduction(channels * 2**stage, running) for stage in range(STAGES - 1)
        )
        self.last_norm = norm(4 * channels, True, running)
        self.classifier = nn.Linear(4 * channels, classes)
        self.affine, self.by_position = affine, by_position
        self.cells_per_stage = cells
        self.paths = STAGES * cells
        self.groups = (self.paths, len(EDGES), len(NASBench201.operations))

    def forward(self, images: Tensor, path: np.ndarray) -> Tensor:
        """Class scores (B, classes) of images (B, C, H, W) under a path (cells, 6), or (6,) for all cells.

        With `by_position` they are (B, classes, H/4, W/4).
        """
        return self.head(self.last_features(images, path))

    def blocks(
        self, x: Tensor, path: np.ndarray, call: Callable[..., Tensor] = nn.Module.__call__
    ) -> Iterator[Tensor]:
        """The feature maps after the stem and after every cell and reduction, in this order.

        `call` runs the cells and reductions.
        """
        genes = NASBench201().canonical(np.broadcast_to(path, (len(self.cells), len(EDGES)))).tolist()
        yield (x := self.stem_norm(self.stem(x)))
        for k, cell in enumerate(self.cells):
            if k and k % self.cells_per_stage == 0:
                yield (x := call(self.reductions[k // self.cells_per_stage - 1], x))
            yield (x := call(cell, x, genes[k]))

    def last_features(
        self, x: Tensor, path: np.ndarray, call: Callable[..., Tensor] = nn.Module.__call__
    ) -> Tensor:
        """The input of the head: the last feature map if `by_position`, else its means (B, 4C, 1, 1)."""
        for block in self.blocks(x, path, call):
            x = block
        x = F.relu(self.last_norm(x))
        return x if self.by_position else x.mean(dim=(2, 3), keepdim=True)

    def head(self, features: Tensor) -> Tensor:
        """Class scores of the features that `last_features` returns."""
        if self.by_position:
            return self.classifier(features.movedim(1, -1)).movedim(-1, 1)
        return self.classifier(features.flatten(1))

    def operation_weights(self) -> list[tuple[int, int, int, Tensor]]:
        """(cell, edge, operation, weight) of every convolution of the cells."""
        return [
            (k, edge, gene, block[0].weight)
            for k, cell in enumerate(self.cells)
            for (edge, gene), block in cell.convolutions.placed()  # type: ignore[operator, union-attr]
        ]

    def fixed_weights(self) -> list[Tensor]:
        """Every parameter outside the cells; all architectures share them in V(a, W)."""
        outside = (self.stem, self.stem_norm, self.reductions, self.last_norm, self.classifier)
        return [weight for part in outside for weight in part.parameters()]

    def cell_channels(self) -> list[int]:
        """The width of each cell."""
        return [
            self.classifier.in_features // 4 * 2 ** (k // self.cells_per_stage)
            for k in range(len(self.cells))
        ]


class Network(Supernet):
    """The stand-alone network of one architecture (6,), with affine normalisation and running statistics."""

    space = "nas_bench_201"

    def __init__(self, genes: np.ndarray, **sizes: Any) -> None:
        self.genes = [int(gene) for gene in genes]
        super().__init__(choices=[(gene,) for gene in self.genes], affine=True, running=True, **sizes)

    def forward(self, images: Tensor, path: np.ndarray | None = None) -> Tensor:
        """Class scores (B, classes) of images (B, C, H, W)."""
        return super().forward(images, np.array(self.genes if path is None else path))

    def features(self, images: Tensor) -> list[Tensor]:
        """The output of the stem, of each cell and of each reduction for images (B, C, H, W)."""
        return list(self.blocks(images, np.array(self.genes)))

    def body(self) -> list[tuple[int, int]]:
        """(channels, stride) of each of the features; the stride is in pixels of the image."""
        stages = np.repeat(range(STAGES), [1 + self.cells_per_stage] * STAGES).tolist()
        width = self.classifier.in_features // 4
        return [(width * 2**stage, 2**stage) for stage in stages]
