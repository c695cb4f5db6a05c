"""A searched network as the backbone of another task, with features at strides 8, 16 and 32."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rlnas_core.machine.fingerprints import code_of
from rlnas_core.networks.layers import BackboneModule, initialise
from rlnas_core.spaces import get
from rlnas_core.training.checkpoint import read_weights
from rlnas_core.training.loop import Run, begin, drawn, fit
from rlnas_core.training.settings import TrainingSettings
from rlnas_core.training.task import Task

_STRIDES = [8, 16, 32]


@dataclass(frozen=True)
class Transfer:
    """A task to which networks are transferred: how its images are read, trained on and measured.

    `read` takes a directory and returns training and validation images. `build` makes a model from a network,
    training images, settings and a seed. `task` makes its training from model, images, settings and a
    generator. `identity` returns everything about images that a training depends on. `measure` takes the
    model, validation images and settings, and returns measures in percent by name.
    """

    settings: type[TrainingSettings]
    read: Callable[[str | Path], tuple[Any, Any]]
    build: Callable[[BackboneModule, Any, Any, int], nn.Module]
    task: Callable[[Any, Any, Any, np.random.Generator], Task]
    identity: Callable[[Any], list[Any]]
    measure: Callable[[Any, Any, Any], dict[str, float]]

    def train(
        self,
        network: BackboneModule,
        data: Any,
        settings: TrainingSettings,
        seed: int,
        *,
        pretrained: Path | None = None,
        run: Run = Run(),  # noqa: B008 - a frozen value
    ) -> nn.Module:
        """Build a model on a network, train it and return it.

        The network gets the weights `pretrained` (`load_backbone`) or, without them, weights drawn from the
        seed. Under `torchrun` each process takes a part of every batch. `run` and errors are those of
        `loop.fit`.
        """
        device, (weights_seed, order_seed, draws_seed) = begin(settings, seed, 3)
        weights = drawn(weights_seed)
        if pretrained:
            load_backbone(network, pretrained)
        else:
            initialise(network, torch.Generator().manual_seed(weights))
        model = self.build(network, data, settings, weights).to(device)
        files = [*code_of("transfer"), *([pretrained] if pretrained else [])]
        fit(
            self.task(model, data, settings, np.random.default_rng(draws_seed)),
            settings,
            order_seed,
            device=device,
            key=[network.space, network.genes, seed, device.type, *files, *self.identity(data)],
            run=run,
        )
        return model


class Backbone(nn.Module):
    """The features of a network's last cell or block at strides 8, 16 and 32, without its classifier.

    It shares the network's weights. With `output_stride` 16 the last stage has dilation 2 instead of a
    stride; every second feature then equals that at stride 32. Features of MobileNet-like networks are those
    before the last 1x1 convolution, which belongs to the classifier. Raises ValueError for a network of other
    strides and for another output stride.
    """

    #: Names of the features in torchvision's segmentation models.
    names = ("early", "aux", "out")

    def __init__(self, network: BackboneModule, output_stride: int = 32) -> None:
        super().__init__()
        channels, strides = zip(*network.body(), strict=True)
        ends = [end for end, stride in enumerate(strides) if stride not in strides[end + 1 :]]
        if [strides[end] for end in ends if strides[end] >= _STRIDES[0]] != _STRIDES:
            raise ValueError(
                f"the backbone's stages do not fit: got a {network.space} network of {len(strides)} cells or "
                f"blocks whose strides are {', '.join(str(strides[end]) for end in ends)}; accepted: "
                "features at strides 8, 16 and 32 (of the DARTS space: imagenet: true and 3 or more cells)"
            )
        if output_stride not in _STRIDES[1:]:
            raise ValueError(f"output_stride: got {output_stride}; accepted: 16, 32")
        self.network = network.features_only(dilated=output_stride < _STRIDES[-1])
        self.ends = ends[-len(_STRIDES) :]
        self.channels = [channels[end] for end in self.ends]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Features (B, channels, H/stride, W/stride) of images (B, C, H, W), highest resolution first."""
        features = self.network.features(images)
        return OrderedDict(zip(self.names, (features[end] for end in self.ends), strict=True))


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Within the context, draw the initial weights of new modules from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def load_backbone(network: BackboneModule, path: str | Path) -> None:
    """Load weights of the same architecture, retrained as a classifier of any classes.

    `path` is a file that `checkpoint.save_weights` wrote with `space` and `arch`. Raises ValueError if it is
    of another architecture, with the names of both, or of other sizes.
    """
    weights, made_by = read_weights(path)
    own = (network.space, get(network.space).to_string(network.genes[None])[0])
    theirs = (made_by.get("space"), made_by.get("arch"))
    if own != theirs:
        raise ValueError(
            f"{path}: got weights of {' '.join(map(str, theirs))}; accepted for this backbone: those of "
            f"{' '.join(own)}; retrain that architecture or give the backbone of these weights"
        )
    heads = tuple(f"{name}." for name in network.head)
    weights = {name: weight for name, weight in weights.items() if not name.startswith(heads)}
    expected = {name: weight for name, weight in network.state_dict().items() if not name.startswith(heads)}
    wrong = sorted(
        name
        for name in weights.keys() | expected.keys()
        if name not in weights or name not in expected or weights[name].shape != expected[name].shape
    )
    if wrong:
        raise ValueError(
            f"{path}: {len(wrong)} weights do not fit this backbone, the first is {wrong[0]}; give the "
            "backbone the channels and cells that the weights were retrained with"
        )
    network.load_state_dict(weights, strict=False)
