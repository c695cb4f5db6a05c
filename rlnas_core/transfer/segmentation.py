"""Semantic segmentation of Cityscapes by DeepLab-v3 with a searched backbone (Sec. 4.4, tables 10 and 11)."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that torch code gives it
from torchmetrics.classification import MulticlassJaccardIndex
from torchvision.datasets import Cityscapes
from torchvision.models.segmentation import DeepLabV3

from rlnas_core.images.arrays import Reader
from rlnas_core.images.augmentation import normalise
from rlnas_core.images.pictures import opened, read_picture
from rlnas_core.machine.devices import upload
from rlnas_core.machine.files import some
from rlnas_core.machine.fingerprints import marks_of
from rlnas_core.networks.layers import BackboneModule, layer
from rlnas_core.training.settings import TrainingSettings
from rlnas_core.training.task import Task
from rlnas_core.transfer.backbone import Backbone, Transfer, drawn_from

IGNORED = 255
_EVALUATED = {kind.id: kind.train_id for kind in Cityscapes.classes if not kind.ignore_in_eval}
CLASSES = len(_EVALUATED)
#: The class, or IGNORED, of each label id.
CLASS_OF = np.array([_EVALUATED.get(label, IGNORED) for label in range(256)], dtype=np.uint8)
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as in the backbone's training
_SCALES = 0.5, 2.0
_DROPPED = 0.1
_WIDTH = 256  # channels of the head
_RATES = 6, 12, 18  # of the head's filters at an output stride of 16


@dataclass(frozen=True)
class SegmentationSettings(TrainingSettings):
    """Training of DeepLab-v3: crop and iterations are the paper's, other defaults MMSegmentation's for them.

    The paper's 40,000 iterations are 108 epochs of Cityscapes. `auxiliary` is the loss weight of a head on
    the features at stride 16.
    """

    epochs: int = 108
    batch_size: int = 8
    learning_rate: float = 0.01
    final_learning_rate: float = 1e-4
    schedule: str = "poly"
    nesterov: bool = False
    weight_decay: float = 5e-4
    crop: int = 769
    auxiliary: float = 0.4


@dataclass(frozen=True)
class CityImages:
    """Photographs of one split, and the images of their label ids in the same order."""

    photographs: list[Path]
    labels: list[Path]


def read_cityscapes(root: str | Path) -> tuple[CityImages, CityImages]:
    """Read the training and validation images of a directory with leftImg8bit/ and gtFine/.

    Raises FileNotFoundError without photographs or for a missing label image, and ValueError for a label
    image of another size than its photograph or of other pixels than ids of 8 bits.
    """
    train, valid = (_read_split(Path(root), split) for split in ("train", "val"))
    return train, valid


def _read_split(root: Path, split: str) -> CityImages:
    folder, ending = root / "leftImg8bit" / split, "_leftImg8bit.png"
    photographs = sorted(folder.glob(f"*/*{ending}"))
    if not photographs:
        raise FileNotFoundError(
            f"{folder} has no CITY/*{ending}; give the folder that holds Cityscapes' leftImg8bit/ and gtFine/"
        )
    labels = [
        root / "gtFine" / split / path.parent.name / path.name.replace(ending, "_gtFine_labelIds.png")
        for path in photographs
    ]
    if absent := [path for path in labels if not path.exists()]:
        raise FileNotFoundError(
            f"{len(absent)} label images are missing, the first is {absent[0]}; unpack "
            "gtFine_trainvaltest.zip again or take their photographs away"
        )
    wrong, coloured = [], []
    for path, label in zip(photographs, labels, strict=True):
        (size, _), (labelled, mode) = _header(path), _header(label)
        if size != labelled:
            wrong.append(f"{label} is {labelled} and its photograph {size}")
        if mode not in ("L", "P"):
            coloured.append(f"{label} ({mode})")
    if coloured:
        raise ValueError(
            f"{len(coloured)} label images have other pixels than ids of 8 bits: {some(coloured)}; give "
            "gtFine's labelIds, or grey or palette images of these ids"
        )
    if wrong:
        raise ValueError(
            f"{len(wrong)} label images have another size than their photographs: "
            f"{some(wrong)}; replace one of each two"
        )
    return CityImages(photographs, labels)


def _header(path: Path) -> tuple[str, str]:
    """The size of an image and PIL's mode."""
    with opened(path) as picture:
        return "{}x{}".format(*picture.size), picture.mode


def _ids(path: Path) -> Image.Image:
    """The image of a file as it is: label ids are no colours."""
    with opened(path) as picture:
        return picture.copy()


class ChannelDropout(nn.Module):
    """Set channels to zero in training, drawn for each image by `draw`; none before the first draw."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self._channels = channels
        self._kept: Tensor | None = None

    def draw(self, rng: np.random.Generator, images: int, part: slice, device: torch.device) -> None:
        """Draw the channels that each image of the next batch keeps; this process has `part` of the batch."""
        kept = (rng.random((images, self._channels)) >= _DROPPED) / (1 - _DROPPED)
        self._kept = upload(kept[part].astype(np.float32), device)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return x if self._kept is None or not self.training else x * self._kept[:, :, None, None]


class _Context(nn.Sequential):
    """The mean of an image's features, copied to each of its pixels."""

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        return F.interpolate(super().forward(x), size=size, mode="bilinear", align_corners=False)


class _Pyramid(nn.Module):
    """DeepLab-v3's pyramid: projects filters of several dilations and the mean of the image."""

    def __init__(self, inputs: int, outputs: int = _WIDTH) -> None:
        super().__init__()
        self.convs = nn.ModuleList([_layer(inputs, outputs, 1)])
        self.convs.extend(_layer(inputs, outputs, 3, dilation=rate) for rate in _RATES)
        self.convs.append(_Context(nn.AdaptiveAvgPool2d(1), *_layer(inputs, outputs, 1)))
        self.project = _layer(len(self.convs) * outputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W)."""
        return self.project(torch.cat([part(x) for part in self.convs], dim=1))


def _layer(inputs: int, outputs: int, kernel: int, **options: int) -> nn.Sequential:
    # Unlike torchvision's, its batch norm is over the batch of all processes.
    return layer(inputs, outputs, kernel, stride=1, running=True, activation=nn.ReLU, **options)


def _classified(width: int) -> list[nn.Module]:
    """The last layers of a head: channel dropout and class scores."""
    return [ChannelDropout(width), nn.Conv2d(width, CLASSES, 1)]


def build(network: BackboneModule, seed: int) -> DeepLabV3:
    """DeepLab-v3 on a network, which keeps its weights; those of the heads are drawn from the seed.

    The network's last stage is dilated to an output stride of 16. An auxiliary head, for training only, reads
    the stage before. Raises ValueError for a network without features at strides 8, 16 and 32.
    """
    backbone = Backbone(network, output_stride=16)
    _, middle, last = backbone.channels
    with drawn_from(seed):
        head = nn.Sequential(_Pyramid(last), *_layer(_WIDTH, _WIDTH, 3), *_classified(_WIDTH))
        width = middle // 4
        auxiliary = nn.Sequential(*_layer(middle, width, 3), *_classified(width))
    return DeepLabV3(backbone, head, auxiliary)


class SegmentationTask(Task):
    """Training of DeepLab-v3 on random crops of randomly scaled and mirrored photographs."""

    def __init__(
        self, model: DeepLabV3, data: CityImages, settings: SegmentationSettings, rng: np.random.Generator
    ) -> None:
        self.model, self.data, self.settings = model, data, settings
        self.rng, self.generators = rng, [rng]
        self._reader = Reader(lambda k: (read_picture(data.photographs[k], "RGB"), _ids(data.labels[k])))

    def expect(self, indices: np.ndarray) -> None:
        """Read the images (b,) of the next batch in advance."""
        self._reader.expect(indices)

    def __len__(self) -> int:
        return len(self.data.photographs)

    def loss(self, indices: np.ndarray, part: slice) -> tuple[Tensor, None]:
        """Mean loss over the pixels of a part of the batch `indices` (B,).

        Ignored pixels count with a loss of zero, so that the mean over parts is that of the batch.
        """
        rng, batch = self.rng, len(indices)
        draws = rng.random((batch, 4))[part]
        device = next(self.model.parameters()).device
        for dropout in self.model.modules():
            if isinstance(dropout, ChannelDropout):
                dropout.draw(rng, batch, part, device)
        pairs = self._reader.map(self._crop, indices[part], draws)
        images, labels = (upload(np.stack(arrays), device) for arrays in zip(*pairs, strict=True))
        scores = self.model(normalise(images, *_scale(device)))
        losses = [
            F.cross_entropy(scores[name].float(), labels.long(), ignore_index=IGNORED, reduction="sum")
            for name in ("out", "aux")
        ]
        return (losses[0] + self.settings.auxiliary * losses[1]) / labels.numel(), None

    def _crop(
        self, pictures: tuple[Image.Image, Image.Image], draws: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (crop, crop, 3) and classes (crop, crop) of a random crop of an image.

        `draws` are four numbers from 0 to 1: for the scale, the horizontal and vertical position, and
        mirroring. Pixels beyond the image have the mean colour and are ignored in the loss.
        """
        photograph, labels = pictures
        smallest, largest = _SCALES
        factor = smallest + (largest - smallest) * draws[0]
        whole = np.maximum(1, np.rint(factor * np.array(photograph.size))).astype(int)
        size = np.minimum(whole, self.settings.crop)
        start = np.floor(draws[1:3] * (whole - size + 1))
        # Only the part of the original in the crop is scaled.
        scale = np.tile(photograph.size / whole, 2)
        box = tuple(np.minimum(np.concatenate([start, start + size]) * scale, np.tile(photograph.size, 2)))
        pixels = np.asarray(photograph.resize(tuple(size), Image.Resampling.BILINEAR, box))
        classes = CLASS_OF[np.asarray(labels.resize(tuple(size), Image.Resampling.NEAREST, box))]
        if draws[3] < 0.5:
            pixels, classes = pixels[:, ::-1], classes[:, ::-1]
        side, (width, height) = self.settings.crop, size
        image = np.full((side, side, 3), np.rint(255 * np.array(_MEAN)), dtype=np.uint8)
        target = np.full((side, side), IGNORED, dtype=np.uint8)
        image[:height, :width], target[:height, :width] = pixels, classes
        return image, target


@cache
def _scale(device: torch.device) -> list[Tensor]:
    """Mean and standard deviation of the images, copied to a device once."""
    return [torch.tensor(values, device=device) for values in (_MEAN, _STD)]


def _identity(data: CityImages) -> list[Any]:
    files = data.photographs + data.labels
    return [[str(path) for path in files], marks_of(files)]


@torch.no_grad()
def mean_iou(model: nn.Module, data: CityImages) -> float:
    """Mean intersection over union of the 19 classes in percent, over all pixels of whole images.

    The mean is over the classes that occur in labels or predictions. `model` returns scores as DeepLabV3
    does.
    """
    model.eval()
    device = next(model.parameters(), torch.empty(0)).device
    measure = MulticlassJaccardIndex(
        CLASSES,
        ignore_index=IGNORED,
        sync_on_compute=False,  # only one process measures
    ).to(device)
    for photograph, label in zip(data.photographs, data.labels, strict=True):
        image = upload(np.array(read_picture(photograph, "RGB")), device)[None]
        target = upload(CLASS_OF[np.asarray(_ids(label))].astype(np.int64), device)
        measure.update(model(normalise(image, *_scale(device)))["out"].argmax(1), target[None])
    return 100 * measure.compute().item()


TRANSFER = Transfer(
    SegmentationSettings,
    read_cityscapes,
    lambda network, data, settings, seed: build(network, seed),
    SegmentationTask,
    _identity,
    lambda model, data, settings: {"mIoU": mean_iou(model, data)},
)
