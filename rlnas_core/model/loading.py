"""A trained network with its preprocessing, loaded from a directory."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from rlnas_core.images.augmentation import centre, normalise
from rlnas_core.images.pictures import converted, pixels_of, resize
from rlnas_core.spaces import get
from rlnas_core.training.checkpoint import read_weights

DESCRIPTION, WEIGHTS = "model.json", "weights.safetensors"
_MODES = {1: "L", 3: "RGB"}

Picture = Image.Image | np.ndarray
Images = Picture | Sequence[Picture] | Tensor


@dataclass(frozen=True)
class ModelDescription:
    """Everything to rebuild a network and its preprocessing, and its provenance.

    `sizes` are the network's sizes by the names of its space. `class_names` are in the order of the scores.
    `mean` and `std` are per channel in units of 255. `crop` says how an image is reduced to `image_size`
    pixels a side: resized as a `whole`, resized from its central `square`, or as the `centre` of the image
    resized to a short side of 8/7 of that.
    """

    space: str
    arch: str
    sizes: Mapping[str, Any]
    class_names: Sequence[str]
    in_channels: int
    image_size: int
    mean: Sequence[float]
    std: Sequence[float]
    crop: str = "whole"
    made_by: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, accepted in (("in_channels", tuple(_MODES)), ("crop", ("whole", "square", "centre"))):
            if (given := getattr(self, name)) not in accepted:
                raise ValueError(f"{name}: got {given!r}; accepted: {', '.join(map(str, accepted))}")
        for name in ("mean", "std"):
            if (given := len(getattr(self, name))) != self.in_channels:
                raise ValueError(
                    f"{name}: got {given} numbers; accepted: {self.in_channels}, one per channel"
                )

    @property
    def genes(self) -> np.ndarray:
        """The architecture (genes,)."""
        return get(self.space).from_string([self.arch])[0]

    def network(self) -> nn.Module:
        """The network, untrained."""
        sizes = {**self.sizes, "classes": len(self.class_names), "in_channels": self.in_channels}
        return get(self.space).network(self.genes, **sizes)


class Model(nn.Module):
    """A trained network that takes images without preprocessing.

    It consists of `network` and its `description`, and is in evaluation mode until `train()`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, description: ModelDescription, *, features: bool = False) -> None:
        super().__init__()
        self.description, self.features = description, features
        self.network: Any = description.network()
        for name in ("mean", "std"):
            values = torch.tensor(getattr(description, name), dtype=torch.float32)
            self.register_buffer(name, values, persistent=False)
        self.eval()

    def forward(self, images: Images) -> Any:
        """Class scores (B, classes) of images, or with `features` the last feature map of each stage.

        Images are one or several PIL images or uint8 arrays (H, W, C) or (H, W) of any size; a uint8 tensor
        (B, S, S, C) of the model's size; or a floating-point tensor (B, C, H, W), normalised by `prepare` or
        by your own augmentation. Feature maps are (B, channels, H/stride, W/stride).
        """
        prepared = images if _is_prepared(images) else self.prepare(images)
        if not self.features:
            return self.network(prepared)
        strides = [stride for _, stride in self.network.body()]
        maps = self.network.features(prepared)
        return [maps[end] for end in _stage_ends(strides)]

    def stages(self) -> list[tuple[int, int]]:
        """(channels, stride) of the feature maps; the stride is in pixels of the image."""
        body = self.network.body()
        return [body[end] for end in _stage_ends([stride for _, stride in body])]

    def prepare(self, images: Images) -> Tensor:
        """Convert images, as `forward` takes them, to normalised float32 (B, C, S, S) on the model's device.

        Raises ValueError for images that are neither PIL nor uint8, and for tensors of another size.
        """
        if isinstance(images, Tensor):
            pixels, expected = images, self._shape()
            if pixels.dtype != torch.uint8 or tuple(pixels.shape[1:]) != expected:
                raise ValueError(
                    f"images: got a tensor {tuple(pixels.shape)} of {pixels.dtype}; supported: uint8 (B, "
                    f"{', '.join(map(str, expected))}), normalised floating point (B, C, H, W), PIL images"
                )
        else:
            single = isinstance(images, Image.Image) or (isinstance(images, np.ndarray) and images.ndim < 4)
            pictures: Any = [images] if single else images
            if not len(pictures):
                raise ValueError("images: got none; give at least one")
            pixels = torch.from_numpy(np.stack([self._pixels(picture) for picture in pictures]))
        return normalise(pixels.to(self.mean.device), self.mean, self.std)

    def _shape(self) -> tuple[int, int, int]:
        size = self.description.image_size
        return size, size, self.description.in_channels

    def _pixels(self, picture: Picture) -> np.ndarray:
        if not isinstance(picture, Image.Image):
            pixels = np.asarray(picture)
            if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
                raise ValueError(
                    f"images: got an array {pixels.shape} of {pixels.dtype}; supported: uint8 (H, W, C) or "
                    "(H, W), PIL images"
                )
            picture = Image.fromarray(pixels.squeeze(-1) if pixels.shape[2:] == (1,) else pixels)
        size, _, channels = self._shape()
        mode, crop = _MODES[channels], self.description.crop
        if crop == "centre":
            return centre(converted(picture, mode), size).reshape(self._shape())
        return resize(pixels_of(picture, mode, crop == "square")[None], size)[0]


def describe(dataset: Mapping[str, Any], made_by: Mapping[str, Any]) -> ModelDescription:
    """Describe a network by its prepared dataset (`dataset.json`) and the provenance of its weights.

    Classes without names are named by their numbers.
    """
    space, settings = made_by["space"], made_by["settings"]
    names = dataset["class_names"] or [str(number) for number in range(dataset["classes"])]
    return ModelDescription(
        space=space,
        arch=made_by["arch"],
        sizes={name: settings[name] for name in get(space).sizes if name in settings},
        class_names=names,
        in_channels=dataset["in_channels"],
        image_size=dataset["image_size"],
        mean=dataset["mean"],
        std=dataset["std"],
        crop=dataset["crop"] if dataset["decode"] == "once" else "centre",
        made_by={name: value for name, value in made_by.items() if name not in ("space", "arch")},
    )


def model_of(path: str | Path, dataset: Mapping[str, Any]) -> Model:
    """The model of a network of a run, from its weights and its prepared dataset (`dataset.json`).

    Raises ValueError that names `path` if the file is damaged or its weights are of another network.
    """
    weights, made_by = read_weights(path)
    model = Model(describe(dataset, made_by))
    set_weights(model, weights, path)
    return model


def _is_prepared(images: Images) -> bool:
    return isinstance(images, Tensor) and images.is_floating_point()


def _stage_ends(strides: Sequence[int]) -> list[int]:
    """Indices of the last feature map of each stage, after which the stride changes."""
    return [end for end, (own, after) in enumerate(pairwise([*strides, 0])) if own != after]


def load_model(
    folder: str | Path, *, features: bool = False, class_names: Sequence[str] | None = None
) -> Model:
    """Load a model that `save_model` wrote, ready for images; with `features` it returns feature maps.

    With `class_names` it has a new classifier for these classes with PyTorch's initial weights, to be
    trained.

    Raises FileNotFoundError if `folder` isn't such a directory, and ValueError if its weights don't fit the
    network that it describes and for no class names.
    """
    folder, names = Path(folder), None if class_names is None else list(class_names)
    if names == []:
        raise ValueError("class_names: got none; give the name of at least one class")
    missing = [name for name in (DESCRIPTION, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder} has no {', '.join(missing)}; give the directory of an exported model"
        )
    try:
        given = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        described = ModelDescription(**given)
        model = Model(
            described if names is None else replace(described, class_names=names),
            features=features,
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder / DESCRIPTION} describes no model: {error}; export it again") from error
    weights, _ = read_weights(folder / WEIGHTS)
    if names is not None:
        drawn = {
            f"classifier.{name}": weight for name, weight in model.network.classifier.state_dict().items()
        }
        weights = weights | drawn
    set_weights(model, weights, folder / WEIGHTS)
    return model


def set_weights(model: Model, weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Set a model's weights to those of its retrained network, without an auxiliary head.

    Raises ValueError that names `path` if they are weights of another network.
    """
    own = {name: weight for name, weight in weights.items() if not name.startswith("auxiliary.")}
    try:
        model.network.load_state_dict(own)
    except RuntimeError as error:
        raise ValueError(f"{path}: got weights of another network: {error}") from error
