"""Layers that the networks of all spaces share, and the interfaces of supernets and backbones."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that torch code gives it

from rlnas_core.machine import processes
from rlnas_core.machine.devices import upload

_EPS = 1e-5
RUNNING_MOMENTUM = 0.1  # torch's default


class _BatchNorm(nn.Module):
    """A batch norm that can normalise parts of a training batch separately, as the authors' GPUs do."""

    _together: int | None = None

    def normalise_together(self, images: int | None) -> None:
        """Normalise this many images of a training batch together; None for the whole batch."""
        self._together = images


class BatchNorm(_BatchNorm):
    """Batch normalisation by the statistics of the present batch, or of an earlier one."""

    def __init__(self, channels: int, affine: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.collecting = False
        self.statistics: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W) channel by channel."""
        if self.collecting:
            now = torch.var_mean(x, dim=(0, 2, 3), correction=0)
            before = self.statistics or now
            self.statistics = (
                before[0].lerp(now[0], RUNNING_MOMENTUM),
                before[1].lerp(now[1], RUNNING_MOMENTUM),
            )
        elif self.statistics is None and self.training and self._together:
            return torch.cat([_by_itself(part, self.weight, self.bias) for part in x.split(self._together)])
        elif self.statistics is None and processes.count() > 1:
            return _standardise(x, *processes.var_mean(x)[:2], self.weight, self.bias)
        if self.collecting or self.statistics is None:
            return _by_itself(x, self.weight, self.bias)
        variance, mean = self.statistics
        return F.batch_norm(x, mean, variance, self.weight, self.bias, training=False)


class RunningBatchNorm(_BatchNorm, nn.BatchNorm2d):
    """Batch normalisation with running statistics, over the batch of all processes."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W) channel by channel."""
        if self.training and self._together:
            # Running statistics come from the first images, as the authors' come from the first GPU.
            first, *others = x.split(self._together)
            others = [_by_itself(part, self.weight, self.bias) for part in others]
            return torch.cat([super().forward(first), *others])
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


def _by_itself(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    return F.batch_norm(x, None, None, weight, bias, training=True)


def normalise_together(model: nn.Module, images: int | None) -> None:
    """Let batch norms normalise this many images of a training batch together; None for the whole batch."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.normalise_together(images)


def _standardise(
    x: Tensor, variance: Tensor, mean: Tensor, weight: Tensor | None, bias: Tensor | None
) -> Tensor:
    scale = torch.rsqrt(variance + _EPS)
    x = (x - mean[:, None, None]) * (scale if weight is None else weight * scale)[:, None, None]
    return x if bias is None else x + bias[:, None, None]


class PointwiseConv2d(nn.Conv2d):
    """A strided 1x1 convolution that selects its pixels first.

    On some CPUs torch 2.14 corrupts memory in the backward pass of a strided 1x1 convolution in channels-last
    layout with fewer than four output channels.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, outputs, H/stride, W/stride), rounded up."""
        down, right = self.stride
        return F.conv2d(x[:, :, ::down, ::right], self.weight)


class DilatedConv2d(nn.Conv2d):
    """A dilated depthwise convolution that computes in float32 on a CPU.

    On some CPUs torch 2.14 computes wrong weight gradients of these in bfloat16 and channels-last layout,
    from 29 pixels a side.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, outputs, H/stride, W/stride), rounded up."""
        if not torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, **options: Any) -> nn.Conv2d:
    """A convolution without bias whose output is as large as its input at stride 1."""
    dilation = options.get("dilation", 1)
    plain = DilatedConv2d if dilation > 1 and options.get("groups", 1) > 1 else nn.Conv2d
    kind = PointwiseConv2d if kernel == 1 and stride > 1 else plain
    return kind(inputs, outputs, kernel, stride, dilation * (kernel // 2), bias=False, **options)


def spaced(stride: int, dilated: bool) -> tuple[int, int]:
    """Stride and dilation of a layer; with `dilated` it keeps the resolution.

    A layer of stride 2 then has stride 1, and layers of stride 1, which read its output, have dilation 2.
    """
    return (1, 1 if stride > 1 else 2) if dilated else (stride, 1)


def norm(channels: int, affine: bool, running: bool) -> nn.Module:
    """Batch normalisation with running statistics, or by the statistics of the present batch."""
    return RunningBatchNorm(channels, affine=affine) if running else BatchNorm(channels, affine)


def layer(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int,
    running: bool,
    activation: type[nn.Module] = nn.ReLU6,
    **options: int,
) -> nn.Sequential:
    """A convolution, a batch norm and an activation."""
    return nn.Sequential(
        convolution(inputs, outputs, kernel, stride, **options), norm(outputs, True, running), activation()
    )


class Choices(nn.ModuleDict):
    """Operations by position: integers such as (edge, operation), which identify the weight group of each."""

    def __init__(self, operations: Mapping[tuple[int, ...], nn.Module]) -> None:
        super().__init__({_name(*position): operation for position, operation in operations.items()})
        self._positions = list(operations)

    def at(self, *position: int) -> nn.Module:
        """The operation at a position; KeyError where there is none."""
        return self[_name(*position)]

    def placed(self) -> Iterator[tuple[tuple[int, ...], nn.Module]]:
        """Each position and its operation, in the order of construction."""
        return zip(self._positions, self.values(), strict=True)


def _name(*position: int) -> str:
    return "_".join(map(str, position))


def check_sizes(**sizes: int | None) -> None:
    """Raise ValueError for a size below 1; the message names it."""
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise ValueError(f"{name}: got {size}; accepted: a whole number from 1")


def classifier(inputs: int, classes: int | None) -> nn.Module:
    """A linear classifier of features (B, inputs), or the identity where `classes` is None."""
    return nn.Identity() if classes is None else nn.Linear(inputs, classes)


class SupernetModule(nn.Module, ABC):
    """A supernet: a network that runs one path per step and knows the weight group of each weight.

    `groups` is (cells, genes, operations), the shape of the statistics of its operations. `paths` is the
    largest number of paths in a step: more than one where each cell can have its own path.
    """

    groups: tuple[int, int, int]
    paths: int = 1

    @abstractmethod
    def forward(self, images: Tensor, path: np.ndarray) -> Tensor:
        """Class scores (B, classes) of images (B, C, H, W) under a path of genes."""

    @abstractmethod
    def operation_weights(self) -> list[tuple[int, int, int, Tensor]]:
        """(cell, slot, operation, weight) of every weight of an operation in V(a, W) of eq. 9."""

    @abstractmethod
    def fixed_weights(self) -> list[Tensor]:
        """The weights that V(a, W) contains for every architecture."""

    @abstractmethod
    def cell_channels(self) -> list[int]:
        """The width of each cell."""

    @contextmanager
    def calibrated(self, images: Tensor, path: np.ndarray, batch: int | None = None) -> Iterator[None]:
        """Within the context, normalise by the statistics of these images (B, C, H, W) under this path.

        With `batch`, the images come in batches of that size and the statistics are running ones: they start
        with those of the first batch and move by a tenth towards those of each later batch.
        """
        norms = [module for module in self.modules() if isinstance(module, BatchNorm)]
        try:
            for norm in norms:
                norm.collecting = True
            for part in images.split(batch or len(images)):
                self(part, path)
            for norm in norms:
                norm.collecting = False
            yield
        finally:
            for norm in norms:
                norm.collecting, norm.statistics = False, None


def drop_out(x: Tensor, chance: float, generator: torch.Generator | None, *, whole: bool = False) -> Tensor:
    """Set channels of x (B, C, ...), or `whole` images, to zero with a probability; scale up the others.

    The random numbers are drawn for the whole batch, of which this process may have a part.
    """
    draws = torch.rand(processes.count() * len(x), 1 if whole else x.shape[1], generator=generator)
    kept = upload(draws, x.device)[processes.part(len(draws))] >= chance
    return x * kept.reshape(*kept.shape, *[1] * (x.ndim - 2)) / (1 - chance)


class BackboneModule(nn.Module, ABC):
    """A stand-alone network that can serve as the backbone of another task.

    `space` is the name of its space, `genes` its architecture and `sizes` its other arguments. `head` names
    the parts that only classification needs; a network without classes (None) has none of them.
    """

    space: str
    genes: np.ndarray
    sizes: dict[str, Any]
    head: tuple[str, ...]
    generator: torch.Generator | None = None
    """Draws for dropout and drop path in training; None for torch's global generator."""
    dropout: float = 0.0
    """The probability of dropout before the classifier in training."""

    def drop_inputs(self, x: Tensor) -> Tensor:
        """The inputs of the classifier (B, C) after dropout, which applies in training alone."""
        return drop_out(x, self.dropout, self.generator) if self.training and self.dropout else x

    @abstractmethod
    def features(self, images: Tensor) -> list[Tensor]:
        """The output of each cell or block for images (B, C, H, W)."""

    @abstractmethod
    def body(self) -> list[tuple[int, int]]:
        """(channels, stride) of each of the features; the stride is in pixels of the image."""

    def features_only(self, dilated: bool = False) -> Self:
        """A network of the same architecture without its head; it shares the weights of this one.

        With `dilated` its last stage keeps the resolution and has filters of dilation 2 instead.
        """
        with torch.device("meta"):
            network = type(self)(self.genes, **self.sizes | {"classes": None, "dilated": dilated})
        head = tuple(f"{name}." for name in self.head)
        weights = {name: each for name, each in self.state_dict().items() if not name.startswith(head)}
        network.load_state_dict(weights, assign=True)
        return network


_CLASSIFIER = partial(nn.init.normal_, std=0.01)
#: The functions that draw the weights of convolutions and of the classifier, by name.
INITIALISATIONS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "default": (partial(nn.init.kaiming_uniform_, a=math.sqrt(5)),) * 2,
    "normal": (nn.init.normal_,) * 2,
    "uniform": (nn.init.uniform_,) * 2,
    "kaiming-normal": (nn.init.kaiming_normal_,) * 2,
    "kaiming-uniform": (nn.init.kaiming_uniform_,) * 2,
    "darts-imagenet": (nn.init.kaiming_uniform_, _CLASSIFIER),
    "mobilenet": (partial(nn.init.kaiming_normal_, mode="fan_out"), _CLASSIFIER),
}


def initialise(model: nn.Module, generator: torch.Generator, distribution: str = "default") -> None:
    """Draw initial weights of convolutions and classifier; batch norms keep ones and zeros.

    `default` is torch's uniform range of 1/sqrt(fan in). `normal` is N(0, 1) and `uniform` is U(0, 1); they
    give table 7's numbers. `kaiming-normal` and `kaiming-uniform` have the variance 2/(fan in).
    `darts-imagenet` and `mobilenet` are those of the authors' code in the large spaces: convolutions as
    `kaiming-uniform`, or normal with the variance 2/(fan out), and a classifier N(0, 0.01^2). Raises
    ValueError for another name.
    """
    if distribution not in INITIALISATIONS:
        raise ValueError(f"initialisation: got {distribution!r}; accepted: {', '.join(INITIALISATIONS)}")
    for module in model.modules():
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        draw = INITIALISATIONS[distribution][isinstance(module, nn.Linear)]
        draw(module.weight, generator=generator)
        if module.bias is not None:
            bound = 1 / math.sqrt(module.weight[0].numel())
            nn.init.uniform_(module.bias, -bound, bound, generator=generator)
