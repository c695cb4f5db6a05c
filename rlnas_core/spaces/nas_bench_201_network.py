"""NAS-Bench-201's macro skeleton as torch modules: the supernet and the stand-alone network."""

import math
import re

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that torch code gives it

from rlnas_core.spaces.nas_bench_201 import CONV_1X1, CONV_3X3, EDGES, KERNELS, NONE, POOL, SKIP

_OPERATION = re.compile(r"cells\.(\d+)\.convolutions\.(\d+)_(\d+)\.0\.weight")


class BatchNorm(nn.Module):
    """Batch normalisation by the batch at hand, or, where `calibration` is set, by its first images alone."""

    def __init__(self, channels: int, affine: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.calibration: int | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W) channel by channel."""
        if self.calibration is None:
            return F.batch_norm(x, None, None, self.weight, self.bias, training=True)
        variance, mean = torch.var_mean(x[: self.calibration], dim=(0, 2, 3))
        return F.batch_norm(x, mean, variance, self.weight, self.bias, training=False)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(
        inputs * groups, outputs * groups, kernel, stride, kernel // 2, groups=groups, bias=False
    )


def _norm(channels: int, affine: bool, running: bool) -> nn.Module:
    return nn.BatchNorm2d(channels, affine=affine) if running else BatchNorm(channels, affine)


class Cell(nn.Module):
    """A cell that holds the convolutions of the given genes on each edge; (B, C, H, W) to the same shape."""

    def __init__(self, channels: int, choices: list[tuple[int, ...]], running: bool, groups: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleDict()
        for edge, genes in enumerate(choices):
            for gene in genes:
                if gene in KERNELS:
                    self.convolutions[f"{edge}_{gene}"] = nn.Sequential(
                        _convolution(channels, channels, KERNELS[gene], groups=groups),
                        _norm(channels * groups, running, running),
                    )

    def forward(self, x: Tensor, genes: list[int]) -> Tensor:
        """The output node, zeros where no path is live."""
        nodes: list[Tensor | None] = [x, None, None, None]
        active: dict[int, Tensor] = {}  # a node's ReLU serves every convolution that reads the node
        for edge, (gene, (source, destination)) in enumerate(zip(genes, EDGES, strict=True)):
            inner = nodes[source]
            if gene == NONE or inner is None:
                continue
            if gene == SKIP:
                term = inner
            elif gene == POOL:
                term = F.avg_pool2d(inner, 3, 1, 1, count_include_pad=False)
            else:
                if source not in active:
                    active[source] = F.relu(inner)
                term = self.convolutions[f"{edge}_{gene}"](active[source])
            total = nodes[destination]
            nodes[destination] = term if total is None else total + term
        output = nodes[3]
        return torch.zeros_like(x) if output is None else output


class Reduction(nn.Module):
    """The fixed residual block between stages, (B, C, H, W) to (B, 2C, H/2, W/2)."""

    def __init__(self, channels: int, running: bool, groups: int) -> None:
        super().__init__()
        self.first = _convolution(channels, 2 * channels, 3, 2, groups)
        self.first_norm = _norm(2 * channels * groups, True, running)
        self.second = _convolution(2 * channels, 2 * channels, 3, 1, groups)
        self.second_norm = _norm(2 * channels * groups, True, running)
        self.shortcut = _convolution(channels, 2 * channels, 1, 1, groups)

    def forward(self, x: Tensor) -> Tensor:
        """Halve the resolution and double the channels."""
        inner = self.first_norm(self.first(F.relu(x)))
        inner = self.second_norm(self.second(F.relu(inner)))
        return inner + self.shortcut(F.avg_pool2d(x, 2, 2))


class Supernet(nn.Module):
    """The NAS-Bench-201 supernet (Sec. 4.1): every convolution of every edge of every cell.

    `channels` is the width of the first of three stages of `cells` cells each; normalisation inside cells has
    no affine parameters and nothing has running statistics, unless `running` gives both. With `replicas` R, R
    networks of separate weights run as one: images are (B, R * in_channels, H, W), scores (B, R, classes).
    Raises ValueError for a size below 1.
    """

    def __init__(
        self,
        *,
        classes: int,
        channels: int = 16,
        cells: int = 5,
        in_channels: int = 3,
        choices: list[tuple[int, ...]] | None = None,
        running: bool = False,
        replicas: int = 1,
    ) -> None:
        super().__init__()
        sizes = {"classes": classes, "channels": channels, "cells": cells, "in_channels": in_channels}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name}: got {size}; accepted: a whole number from 1")
        choices = choices or [(CONV_1X1, CONV_3X3)] * len(EDGES)
        self.stem = _convolution(in_channels, channels, 3, groups=replicas)
        self.stem_norm = _norm(channels * replicas, True, running)
        self.cells = nn.ModuleList(
            Cell(channels * 2**stage, choices, running, replicas) for stage in range(3) for _ in range(cells)
        )
        self.reductions = nn.ModuleList(
            Reduction(channels * 2**stage, running, replicas) for stage in range(2)
        )
        self.last_norm = _norm(4 * channels * replicas, True, running)
        self.classifier = nn.Linear(4 * channels, classes * replicas)
        self.replicas = replicas
        self.cells_per_stage = cells

    def forward(self, images: Tensor, path: np.ndarray) -> Tensor:
        """Class scores (B, classes) of images (B, C, H, W) under a path (cells, 6), or (6,) for all cells."""
        genes = np.broadcast_to(np.asarray(path), (len(self.cells), len(EDGES))).tolist()
        x = self.stem_norm(self.stem(images))
        for k, cell in enumerate(self.cells):
            if k and k % self.cells_per_stage == 0:
                x = self.reductions[k // self.cells_per_stage - 1](x)
            x = cell(x, genes[k])
        features = F.relu(self.last_norm(x)).mean(dim=(2, 3))
        if self.replicas == 1:
            return self.classifier(features)
        weight = self.classifier.weight.view(self.replicas, -1, self.classifier.in_features)
        scores = torch.einsum("brf,rcf->brc", features.unflatten(1, (self.replicas, -1)), weight)
        return scores + self.classifier.bias.view(self.replicas, -1)

    def operation_weights(self) -> list[tuple[int, int, int, Tensor]]:
        """(cell, edge, operation, weight) of every convolution of the cells."""
        weights: list[tuple[int, int, int, Tensor]] = []
        for name, weight in self.named_parameters():
            match = _OPERATION.match(name)
            if match:
                cell, edge, operation = (int(part) for part in match.groups())
                weights.append((cell, edge, operation, weight))
        return weights

    def fixed_weights(self) -> list[Tensor]:
        """Every parameter outside the cells: the part of V(a, W) that all architectures share."""
        return [weight for name, weight in self.named_parameters() if not name.startswith("cells.")]

    def cell_channels(self) -> list[int]:
        """The width of each cell."""
        return [
            self.classifier.in_features // 4 * 2 ** (k // self.cells_per_stage)
            for k in range(len(self.cells))
        ]

    def calibrate(self, images: int | None) -> None:
        """Normalise every batch by its first `images` images; None returns to the whole batch."""
        for module in self.modules():
            if isinstance(module, BatchNorm):
                module.calibration = images


class Network(Supernet):
    """The stand-alone network of one architecture (6,), with affine normalisation and running statistics."""

    def __init__(self, genes: np.ndarray, **sizes: int) -> None:
        self.genes = [int(gene) for gene in genes]
        super().__init__(choices=[(gene,) for gene in self.genes], running=True, **sizes)

    def forward(self, images: Tensor, path: np.ndarray | None = None) -> Tensor:
        """Class scores (B, classes) of images (B, C, H, W)."""
        return super().forward(images, np.array(self.genes if path is None else path))


def initialise(model: nn.Module, generator: torch.Generator, distribution: str = "default") -> None:
    """Draw the weights of convolutions and classifier anew; normalisation keeps ones and zeros.

    `default` is torch's own uniform range 1/sqrt(fan in); `normal` and `uniform` are the two of table 7, both
    with the variance 2/(fan in). Raises ValueError for another name.
    """
    for module in model.modules():
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        if distribution == "default":
            nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5), generator=generator)
        elif distribution == "normal":
            nn.init.kaiming_normal_(module.weight, generator=generator)
        elif distribution == "uniform":
            nn.init.kaiming_uniform_(module.weight, generator=generator)
        else:
            raise ValueError(f"initialisation: got {distribution!r}; accepted: default, normal, uniform")
        if module.bias is not None:
            bound = 1 / math.sqrt(module.weight[0].numel())
            nn.init.uniform_(module.bias, -bound, bound, generator=generator)
