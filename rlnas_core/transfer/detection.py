"""Object detection on COCO by RetinaNet with a searched network as backbone (Sec. 4.4, tables 8 and 9)."""

import contextlib
import io
import json
import math
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from rlnas_core.images.arrays import Reader
from rlnas_core.images.pictures import read_picture
from rlnas_core.machine.devices import upload
from rlnas_core.machine.files import some
from rlnas_core.machine.fingerprints import marks_of
from rlnas_core.networks.layers import BackboneModule
from rlnas_core.training.settings import TrainingSettings
from rlnas_core.training.task import Task
from rlnas_core.transfer.backbone import Backbone, Transfer, drawn_from

MEASURES = ("AP", "AP50", "AP75", "APS", "APM", "APL")
_CHANNELS = 256


@dataclass(frozen=True)
class DetectionSettings(TrainingSettings):
    """RetinaNet and its training; defaults are Detectron2's 1x schedule with the paper's 800 pixels.

    Its warm-up of 1000 steps is 0.14 epochs of COCO. Images are resized to a short side of `short_side`
    pixels, or less if the long side would exceed `long_side`. `channels` is the width of the feature pyramid.
    """

    epochs: int = 12
    batch_size: int = 16
    learning_rate: float = 0.01
    schedule: str = "steps"
    step_epochs: tuple[int, ...] = (8, 11)
    warmup_epochs: float = 0.14
    nesterov: bool = False
    weight_decay: float = 1e-4
    short_side: int = 800
    long_side: int = 1333
    channels: int = 256


@dataclass(frozen=True)
class CocoImages:
    """Images of one split: paths (N), ids (N,) and the boxes of all images.

    `boxes` (M, 4) float32 are left, top, right and bottom in pixels; those of image k are boxes[starts[k] :
    starts[k + 1]]. `labels` (M,) are indices into `categories`, the category ids of the file. Crowds aren't
    trained on; the evaluation reads them from `annotations`.
    """

    annotations: Path
    paths: list[Path]
    ids: np.ndarray
    starts: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    categories: np.ndarray


def read_coco(root: str | Path) -> tuple[CocoImages, CocoImages]:
    """Read the training and validation images of a directory with annotations/, train2017/ and val2017/.

    Raises FileNotFoundError for a missing file or image. Raises ValueError for annotations of an unlisted
    image or category, and if the two splits have different categories. Boxes without an area are skipped with
    a warning.
    """
    train, valid = (_read_split(Path(root), split) for split in ("train2017", "val2017"))
    if not np.array_equal(train.categories, valid.categories):
        raise ValueError(
            f"{valid.annotations}: got the category ids {valid.categories.tolist()}; accepted: those of "
            f"{train.annotations.name}, {train.categories.tolist()}"
        )
    return train, valid


def _read_split(root: Path, split: str) -> CocoImages:
    path, folder = root / "annotations" / f"instances_{split}.json", root / split
    for place in (path, folder):
        if not place.exists():
            raise FileNotFoundError(
                f"{place} is missing; give the folder that holds COCO's annotations/, train2017/ and val2017/"
            )
    try:
        content = json.loads(path.read_bytes())
        images, annotations, categories = (content[key] for key in ("images", "annotations", "categories"))
        files = [image["file_name"] for image in images]
        ids, categories = (
            np.array([one["id"] for one in listed], np.int64) for listed in (images, categories)
        )
        own, of_image, of_category = (
            np.array([annotation[key] for annotation in annotations], np.int64)
            for key in ("id", "image_id", "category_id")
        )
        boxes = np.array([annotation["bbox"] for annotation in annotations], np.float32)
        boxes = boxes.reshape(len(annotations), 4)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} is no COCO instances file: {type(error).__name__}, {error}; fetch it again"
        ) from error
    order, categories = np.argsort(ids), np.unique(categories)
    ids, names = ids[order], [files[k] for k in order]
    there = {file.name for file in folder.iterdir()}
    if absent := [name for name in names if name not in there]:
        raise FileNotFoundError(
            f"{path} lists {len(absent)} images that are not in {folder}: {some(absent)}; "
            f"unpack {split}.zip again or take them and their annotations out of the file"
        )
    image = _places(path, own, "image_id", of_image, ids)
    label = _places(path, own, "category_id", of_category, categories)
    flat = (boxes[:, 2:] <= 0).any(axis=1)
    if flat.any():
        warnings.warn(
            f"{path}: skipped {flat.sum()} boxes without an area, of the annotations {some(own[flat])}; "
            "fix their width and height (bbox: [left, top, width, height]) or remove them",
            stacklevel=3,
        )
    crowd = np.array([bool(annotation.get("iscrowd")) for annotation in annotations], dtype=bool)
    kept = np.flatnonzero(~flat & ~crowd)
    kept = kept[np.argsort(image[kept], kind="stable")]
    boxes[:, 2:] += boxes[:, :2]
    starts = np.searchsorted(image[kept], np.arange(len(ids) + 1))
    paths = [folder / name for name in names]
    return CocoImages(path, paths, ids, starts, boxes[kept], label[kept], categories)


def _places(path: Path, own: np.ndarray, key: str, ids: np.ndarray, listed: np.ndarray) -> np.ndarray:
    """The index of each of `ids` in `listed`, the sorted ids of the file; ValueError if absent."""
    wrong = ~np.isin(ids, listed)
    if wrong.any():
        kind = "images" if key == "image_id" else "categories"
        raise ValueError(
            f"{path}: {wrong.sum()} annotations have a {key} that is not among its {kind}: "
            f"{some(f'{name} ({key} {got})' for name, got in zip(own[wrong], ids[wrong], strict=True))}; "
            f"add what is missing to {kind} or take these annotations out"
        )
    return np.searchsorted(listed, ids)


class _Pyramid(nn.Sequential):
    """A backbone with a feature pyramid; RetinaNet reads its `out_channels`."""

    def __init__(self, backbone: Backbone, features: FeaturePyramidNetwork, channels: int) -> None:
        super().__init__(backbone, features)
        self.out_channels = channels


def build(network: BackboneModule, classes: int, settings: DetectionSettings, seed: int) -> RetinaNet:
    """RetinaNet on a network, which keeps its weights; those of pyramid and heads are drawn from the seed.

    The pyramid has the network's features at strides 8, 16 and 32 and two coarser levels. Raises ValueError
    for a network without these strides.
    """
    backbone = Backbone(network)
    with drawn_from(seed):
        coarser = LastLevelP6P7(backbone.channels[-1], settings.channels)
        features = FeaturePyramidNetwork(backbone.channels, settings.channels, coarser)
        pyramid = _Pyramid(backbone, features, settings.channels)
        model = RetinaNet(
            pyramid,
            classes,
            min_size=settings.short_side,
            max_size=settings.long_side,
            detections_per_img=100,
        )
    # The initial weights of the heads suit 256 channels; with fewer channels the outputs would be too small.
    for head in (model.head.classification_head, model.head.regression_head):
        for weight in head.conv.parameters():
            weight.data *= math.sqrt(_CHANNELS / settings.channels)
    return model


class DetectionTask(Task):
    """Training of RetinaNet on images with boxes, each mirrored with probability 0.5."""

    def __init__(self, model: RetinaNet, data: CocoImages, rng: np.random.Generator) -> None:
        self.model, self.data, self.rng, self.generators = model, data, rng, [rng]
        self.images = np.flatnonzero(np.diff(data.starts))
        self._reader = _reader(data)

    def expect(self, indices: np.ndarray) -> None:
        """Read the images (b,) of the next batch in advance."""
        self._reader.expect(self.images[indices])

    def __len__(self) -> int:
        return len(self.images)

    def loss(self, indices: np.ndarray, part: slice) -> tuple[Tensor, None]:
        """Mean loss over a part of the batch `indices` (B,)."""
        mirrored = self.rng.random(len(indices))[part] < 0.5
        rows = self.images[indices[part]]
        device = next(self.model.parameters()).device
        images = self._reader.map(partial(_tensor, device), rows)
        targets = []
        for k, row in enumerate(rows):
            chosen = slice(*self.data.starts[row : row + 2])
            boxes = upload(self.data.boxes[chosen], device)
            if mirrored[k]:
                images[k] = images[k].flip(-1)
                left, top, right, bottom = boxes.unbind(1)
                width = images[k].shape[-1]
                boxes = torch.stack([width - right, top, width - left, bottom], dim=1)
            targets.append({"boxes": boxes, "labels": upload(self.data.labels[chosen], device)})
        losses = self.model(images, targets)
        return losses["classification"] + losses["bbox_regression"], None


def _reader(data: CocoImages) -> Reader:
    return Reader(lambda row: np.array(read_picture(data.paths[row], "RGB")))


def _tensor(device: torch.device, pixels: np.ndarray) -> Tensor:
    """An image (3, H, W) with values from 0 to 1."""
    return upload(pixels, device).permute(2, 0, 1) / 255


@torch.no_grad()
def detect(model: RetinaNet, data: CocoImages, batch_size: int) -> np.ndarray:
    """The model's detections: rows (K, 7) of image id, left, top, width, height, score and category id."""
    model.eval()
    device = next(model.parameters()).device
    reader, rows = _reader(data), [np.empty((0, 7))]
    for batch in np.split(np.arange(len(data.ids)), range(batch_size, len(data.ids), batch_size)):
        found = model(reader.map(partial(_tensor, device), batch))
        for image, one in zip(data.ids[batch], found, strict=True):
            boxes, scores, labels = (one[key].cpu().double().numpy() for key in ("boxes", "scores", "labels"))
            boxes[:, 2:] -= boxes[:, :2]
            categories = data.categories[labels.astype(int)]
            rows.append(np.column_stack([np.full(len(boxes), image), boxes, scores, categories]))
    return np.concatenate(rows)


def average_precision(data: CocoImages, detections: np.ndarray) -> dict[str, float]:
    """COCO's AP, AP50, AP75 and those of small, medium and large objects, in percent.

    `detections` are those of `detect`. The result is NaN for sizes without objects.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(data.annotations))
        # Boxes without an area can't be detected; `read_coco` has warned about them. COCOeval takes the id 0
        # for no match, and boxes of one id for one box.
        boxes = [box for box in truth.dataset["annotations"] if min(box["bbox"][2:]) > 0]
        truth.dataset["annotations"] = [
            {"iscrowd": 0, "area": box["bbox"][2] * box["bbox"][3], **box, "id": number}
            for number, box in enumerate(boxes, 1)
        ]
        truth.createIndex()
        found = truth.loadRes(detections) if len(detections) else COCO()
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    values = evaluation.stats[: len(MEASURES)]
    return dict(zip(MEASURES, np.where(values < 0, np.nan, 100 * values).tolist(), strict=True))


def measure(model: RetinaNet, data: CocoImages, settings: DetectionSettings) -> dict[str, float]:
    """The `average_precision` of the model's detections, in batches of the training's size."""
    return average_precision(data, detect(model, data, settings.batch_size))


TRANSFER = Transfer(
    DetectionSettings,
    read_coco,
    lambda network, data, settings, seed: build(network, len(data.categories), settings, seed),
    lambda model, data, settings, rng: DetectionTask(model, data, rng),
    lambda data: [data.ids, data.boxes, data.labels, marks_of(data.paths)],
    measure,
)
