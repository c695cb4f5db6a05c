"""Networks of chains of inverted residuals as torch modules."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rlnas_core.networks.layers import BackboneModule, check_sizes, classifier, layer
from rlnas_core.networks.mobilenet import STEM_STRIDE, InvertedResidual, body_of, last_stage
from rlnas_core.spaces.chain import Chain

_ACTIVATIONS = (nn.ReLU, nn.ReLU6)


class Network(BackboneModule):
    """The network of one chain (3 + 4 * blocks,), with running statistics.

    Raises ValueError for fewer than one class.
    """

    space = "chain"
    head = ("last", "classifier")

    def __init__(
        self,
        genes: np.ndarray,
        *,
        classes: int | None,
        in_channels: int = 3,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
        dilated: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(classes=classes)
        self.sizes = {"classes": classes, "in_channels": in_channels}
        self.genes, self.dropout, self.generator = np.asarray(genes), dropout, generator
        activation, stem, head = self.genes[:3].tolist()
        blocks = Chain().blocks(self.genes)
        self.shapes = [shape for *_, shape in blocks]
        options: dict[str, Any] = {"running": True, "activation": _ACTIVATIONS[activation]}
        self.stem = layer(in_channels, stem, 3, STEM_STRIDE, **options)
        self.blocks = nn.ModuleList(
            InvertedResidual(shape, ratio, kernel, **options, dilated=dilated and last)
            for (kernel, ratio, shape), last in zip(blocks, last_stage(self.shapes), strict=True)
        )
        outputs = self.shapes[-1][1]
        self.last = nn.Identity() if classes is None else layer(outputs, head, 1, 1, **options)
        self.classifier = classifier(head, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Class scores (B, classes) of images (B, C, H, W)."""
        return self.classifier(self.drop_inputs(self.last(self.features(images)[-1]).mean(dim=(2, 3))))

    def features(self, images: Tensor) -> list[Tensor]:
        """The output of each block for images (B, C, H, W)."""
        outputs = [self.stem(images)]
        for block in self.blocks:
            outputs.append(block(outputs[-1]))
        return outputs[1:]

    def body(self) -> list[tuple[int, int]]:
        """(channels, stride) of each of the features; the stride is in pixels of the image."""
        return body_of(self.shapes)
