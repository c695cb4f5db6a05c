"""What the networks of all spaces are made of, and what every supernet can do."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that torch code gives it

from rlnas_core.kernels.engine import Engine
from rlnas_core.machine import processes

_EPS = 1e-5


class BatchNorm(nn.Module):
    """Batch normalisation by the batch at hand, or by the statistics of an earlier one."""

    def __init__(self, channels: int, affine: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.collecting = False
        self.statistics: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W) channel by channel."""
        if self.collecting:
            self.statistics = torch.var_mean(x, dim=(0, 2, 3), correction=0)
        if self.statistics is None and processes.count() > 1:
            return _standardise(x, *processes.var_mean(x)[:2], self.weight, self.bias)
        if self.statistics is None:
            return F.batch_norm(x, None, None, self.weight, self.bias, training=True)
        variance, mean = self.statistics
        return F.batch_norm(x, mean, variance, self.weight, self.bias, training=False)


class RunningBatchNorm(nn.BatchNorm2d):
    """Batch normalisation with running statistics, over the batch of all processes."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W) channel by channel."""
        if not self.training or processes.count() == 1:
            return super().forward(x)
        variance, mean, size = processes.var_mean(x)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        running = (self.running_mean, mean), (self.running_var, variance * (size / (size - 1)))
        for kept, new in running:
            if kept is not None and self.momentum is not None:
                kept.lerp_(new.detach(), self.momentum)
        return _standardise(x, variance, mean, self.weight, self.bias)


def _standardise(
    x: Tensor, variance: Tensor, mean: Tensor, weight: Tensor | None, bias: Tensor | None
) -> Tensor:
    scale = torch.rsqrt(variance + _EPS)
    x = (x - mean[:, None, None]) * (scale if weight is None else weight * scale)[:, None, None]
    return x if bias is None else x + bias[:, None, None]


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, **options: Any) -> nn.Conv2d:
    """A convolution without bias whose output is as large as its input at stride 1."""
    padding = options.get("dilation", 1) * (kernel // 2)
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False, **options)


def norm(channels: int, affine: bool, running: bool) -> nn.Module:
    """Batch normalisation with running statistics, or by the batch at hand."""
    return RunningBatchNorm(channels, affine=affine) if running else BatchNorm(channels, affine)


def check_sizes(**sizes: int) -> None:
    """Raise ValueError that names a size below 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name}: got {size}; accepted: a whole number from 1")


class SupernetModule(nn.Module, ABC):
    """A supernet: a network that runs one path a step and says which weights belong to which group.

    `groups` is (cells, genes, operations), the shape of the statistics of its operations; `paths` how many
    paths a step may take, more than one where each cell can have its own.
    """

    groups: tuple[int, int, int]
    paths: int = 1
    engine: Engine | None = None

    @abstractmethod
    def forward(self, images: Tensor, path: np.ndarray) -> Tensor:
        """Class scores (B, classes) of images (B, C, H, W) under a path of genes."""

    @abstractmethod
    def operation_weights(self) -> list[tuple[int, int, int, Tensor]]:
        """(cell, slot, operation, weight) of every weight that V(a, W) of eq. 9 holds of an operation."""

    @abstractmethod
    def fixed_weights(self) -> list[Tensor]:
        """The weights that V(a, W) holds of every architecture."""

    @abstractmethod
    def cell_channels(self) -> list[int]:
        """The width of each cell."""

    def accelerate(self) -> bool:
        """Run from now on by the CPU kernels, where they can run such a network."""
        return False

    def decelerate(self) -> None:
        """Run from now on by torch again."""
        self.engine = None

    @contextmanager
    def calibrated(self, images: Tensor, path: np.ndarray) -> Iterator[None]:
        """Normalise within the context by the statistics of these images (B, C, H, W) under this path."""
        norms = [module for module in self.modules() if isinstance(module, BatchNorm)]
        try:
            for norm in norms:
                norm.collecting = True
            self(images, path)
            for norm in norms:
                norm.collecting = False
            if self.engine:
                self.engine.frozen = True
            yield
        finally:
            for norm in norms:
                norm.collecting, norm.statistics = False, None
            if self.engine:
                self.engine.frozen = False


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
