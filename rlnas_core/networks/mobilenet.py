"""Networks of the MobileNet-like space as torch modules: the supernet and the stand-alone network."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rlnas_core.networks.layers import (
    BackboneModule,
    Choices,
    SupernetModule,
    check_sizes,
    classifier,
    layer,
    spaced,
)
from rlnas_core.spaces.mobilenet import BLOCKS, CHANGES, FIRST, LAST, SHAPES, SKIP, STEM

STEM_STRIDE = 2


def body_of(blocks: Sequence[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """(channels, stride) of the output of each block (inputs, outputs, stride), after a stem of stride 2."""
    _, outputs, strides = np.array(blocks).T
    return list(zip(outputs.tolist(), (STEM_STRIDE * strides.cumprod()).tolist(), strict=True))


def last_stage(blocks: Sequence[tuple[int, int, int]]) -> list[bool]:
    """Whether each block (inputs, outputs, stride) belongs to the stage of the lowest resolution."""
    strides = [stride for _, stride in body_of(blocks)]
    return [stride == strides[-1] for stride in strides]


class InvertedResidual(nn.Module):
    """An inverted residual: expansion, depthwise convolution, projection; a shortcut if the shape stays.

    At ratio 1 there is no expansion. With `dilated` it keeps the resolution and has a filter of dilation 2.
    """

    def __init__(
        self,
        block: tuple[int, int, int],
        ratio: int,
        kernel: int,
        running: bool,
        activation: type[nn.Module] = nn.ReLU6,
        dilated: bool = False,
    ) -> None:
        super().__init__()
        inputs, outputs, stride = block
        width = ratio * inputs
        wide = layer(inputs, width, 1, 1, running, activation) if ratio > 1 else nn.Identity()
        self.expand: nn.Module = wide
        step, dilation = spaced(stride, dilated)
        spacing = {"groups": width, "dilation": dilation}
        self.depthwise = layer(width, width, kernel, step, running, activation, **spacing)
        self.project = layer(width, outputs, 1, 1, running)[:2]
        self.shortcut = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the block's output shape."""
        inner = self.project(self.depthwise(self.expand(x)))
        return x + inner if self.shortcut else inner


class Supernet(SupernetModule):
    """The MobileNet-like supernet (Sec. 4.2): every inverted residual of every block.

    With `dilated` the last stage keeps the resolution. Raises ValueError for fewer than one class.
    """

    def __init__(
        self,
        *,
        classes: int | None,
        in_channels: int = 3,
        running: bool = False,
        choices: list[tuple[int, ...]] | None = None,
        dilated: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(classes=classes, in_channels=in_channels)
        choices = choices or [tuple(range(SKIP))] * len(BLOCKS)
        self.groups = (1, len(BLOCKS), len(SHAPES) + 1)
        self.stem = layer(in_channels, STEM, 3, STEM_STRIDE, running)
        self.first = nn.Sequential(
            layer(STEM, STEM, 3, 1, running, groups=STEM), layer(STEM, FIRST, 1, 1, running)[:2]
        )
        self.blocks = nn.ModuleList(
            Choices(
                {
                    (g,): InvertedResidual(block, *SHAPES[g], running, dilated=dilated and last)
                    for g in genes
                    if g != SKIP
                }
            )
            for block, last, genes in zip(BLOCKS, last_stage(BLOCKS), choices, strict=True)
        )
        self.last = nn.Identity() if classes is None else layer(BLOCKS[-1][1], LAST, 1, 1, running)
        self.classifier = classifier(LAST, classes)

    def forward(self, images: Tensor, path: np.ndarray) -> Tensor:
        """Class scores (B, classes) of images (B, C, H, W) under a path (21,) or (1, 21)."""
        return self.classifier(self._pooled(images, path))

    def _pooled(self, images: Tensor, path: np.ndarray) -> Tensor:
        return self.last(self._features(images, path)[-1]).mean(dim=(2, 3))

    def _features(self, images: Tensor, path: np.ndarray) -> list[Tensor]:
        """The output of each block."""
        x = self.first(self.stem(images))
        outputs = []
        for block, gene in zip(self.blocks, np.asarray(path).reshape(-1).tolist(), strict=True):
            if gene != SKIP:
                x = block.at(gene)(x)  # type: ignore[operator]
            outputs.append(x)
        return outputs

    def operation_weights(self) -> list[tuple[int, int, int, Tensor]]:
        """(0, block, operation, weight) of each block's three convolutions and first two batch norms."""
        return [
            (0, place, gene, weight)
            for place, block in enumerate(self.blocks)
            for (gene,), residual in block.placed()  # type: ignore[operator]
            for part in (residual.expand, residual.depthwise, residual.project[0])
            for weight in part.parameters()
        ]

    def fixed_weights(self) -> list[Tensor]:
        """The weights of the first and last convolution, of the ratio-1 block and of the classifier."""
        first: Any = self.first
        last: Any = self.last
        layers: list[Any] = [self.stem[0], first[0][0], first[1][0], last[0], self.classifier]
        return [layer.weight for layer in layers]

    def cell_channels(self) -> list[int]:
        """One number: the sum of the output channels of all blocks that may be skipped, as if of one cell."""
        return [sum(outputs for (_, outputs, _), changes in zip(BLOCKS, CHANGES, strict=True) if not changes)]


class Network(Supernet, BackboneModule):
    """The stand-alone network of one architecture (21,), with running statistics; see `BackboneModule`."""

    space = "mobilenet"
    head = ("last", "classifier")

    def __init__(
        self,
        genes: np.ndarray,
        *,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
        **sizes: Any,
    ) -> None:
        self.genes, self.sizes = np.asarray(genes), sizes
        super().__init__(choices=[(int(g),) for g in self.genes], running=True, **sizes)
        self.dropout, self.generator = dropout, generator

    def forward(self, images: Tensor, path: np.ndarray | None = None) -> Tensor:
        """Class scores (B, classes) of images (B, C, H, W)."""
        return self.classifier(self.drop_inputs(self._pooled(images, self.genes)))

    def features(self, images: Tensor) -> list[Tensor]:
        """The output of each block for images (B, C, H, W)."""
        return self._features(images, self.genes)

    def body(self) -> list[tuple[int, int]]:
        """(channels, stride) of each of the features; the stride is in pixels of the image."""
        return body_of(BLOCKS)
