"""Train a stand-alone network of one architecture, for its accuracy (Sec. 4.2, tables 3 to 5)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that torch code gives it

from rlnas_core.images.arrays import ImageArray
from rlnas_core.machine import processes
from rlnas_core.machine.devices import upload
from rlnas_core.networks.layers import initialise
from rlnas_core.spaces import SearchSpace
from rlnas_core.training.loop import Run, begin, drawn, fit
from rlnas_core.training.settings import TrainingSettings
from rlnas_core.training.task import Task

_BATCH = 256  # images evaluated at once, up to twice as many
_TOP = (1, 5)


@dataclass(frozen=True)
class RetrainingSettings(TrainingSettings):
    """Settings of a stand-alone network and its training; raises ValueError for an unsupported value.

    `auxiliary` is the weight of the auxiliary head's loss, 0 for no such head. `drop` is the probability of
    drop path at the end of training, to which it grows linearly. `dropout` is the probability of dropout
    before the classifier. `kept` says which epoch's network is the result: the one with the `best` top-1
    accuracy on the validation images, as the authors report, or the `last`.
    """

    batch_size: int = 1024
    learning_rate: float = 0.5
    final_learning_rate: float = 0.0
    schedule: str = "linear"
    nesterov: bool = False
    weight_decay: float = 3e-5
    label_smoothing: float = 0.1
    channels: int = 48
    cells: int = 14
    imagenet: bool = True
    auxiliary: float = 0.0
    drop: float = 0.0
    dropout: float = 0.0
    kept: str = "best"

    @classmethod
    def choices(cls) -> dict[str, tuple[str, ...]]:
        """The supported values of each setting that has a list of them."""
        return super().choices() | {"kept": ("best", "last")}


@dataclass(frozen=True)
class LabelledImages:
    """Images, their true labels (N,) int64, -1 where an image has none, and the number of classes."""

    images: ImageArray
    labels: np.ndarray
    classes: int

    def __len__(self) -> int:
        return len(self.images)

    def identity(self) -> list[Any]:
        """Everything about these images that a training depends on."""
        return [*self.images.identity(), self.labels]


class _Network(Task):
    """A network, and images with their true labels."""

    def __init__(
        self,
        model: Any,
        train: LabelledImages,
        valid: LabelledImages,
        settings: RetrainingSettings,
        draws: torch.Generator,
        device: torch.device,
    ) -> None:
        self.model: Any = model
        self.device = device
        self.train, self.valid, self.settings, self.draws = train, valid, settings, draws
        self.accuracies: dict[str, float] = {}
        self.best: dict[str, Tensor] = {}
        self.evaluates = len(valid) > 0
        self._drop_paths(0.0)

    def __len__(self) -> int:
        return len(self.train)

    def _drop_paths(self, chance: float) -> None:
        self.drop = chance
        if self.settings.drop:
            self.model.drop_paths(chance)

    def loss(self, indices: np.ndarray, part: slice) -> tuple[Tensor, Tensor]:
        target = upload(self.train.labels[indices[part]], self.device)
        images = self.train.images.batch(indices, part, self.draws, self.device)
        images = self.train.images.lit(images, self.settings.lighting, len(indices), part, self.draws)
        scores = self.model(images)
        scores, *auxiliary = scores if isinstance(scores, tuple) else (scores,)
        smoothing = self.settings.label_smoothing
        loss = F.cross_entropy(scores.float(), target, label_smoothing=smoothing)
        for other in auxiliary:
            loss = loss + self.settings.auxiliary * F.cross_entropy(
                other.float(), target, label_smoothing=smoothing
            )
        return loss, (scores.detach().argmax(1) == target).sum()

    def expect(self, indices: np.ndarray) -> None:
        self.train.images.expect(indices)

    def after_epoch(self, epoch: int) -> dict[str, float]:
        self._drop_paths(self.settings.drop * epoch / self.settings.epochs)
        if not self.evaluates:
            return {}
        if self.settings.norm_batch:
            processes.share(self.model.buffers())
        found = accuracies(self.model, self.valid, self.device)
        if self.settings.kept == "last" or found["top1"] > self.accuracies.get("top1", -1):
            self.accuracies = found
            if self.settings.kept == "best":
                self.best = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        return found

    def state(self) -> dict[str, Tensor]:
        kept = {"drop": self.drop, **self.accuracies}
        numbers = {name: torch.tensor(value, dtype=torch.float64) for name, value in kept.items()}
        best = {f"best.{name}": tensor for name, tensor in self.best.items()}
        return {"draws": self.draws.get_state(), **numbers, **best}

    def set_state(self, tensors: dict[str, Tensor]) -> None:
        self.draws.set_state(tensors["draws"])
        self._drop_paths(tensors["drop"].item())
        self.accuracies = {name: tensors[name].item() for name in tensors if name.startswith("top")}
        best = {name: tensor for name, tensor in tensors.items() if name.startswith("best.")}
        self.best = {name.removeprefix("best."): tensor.to(self.device) for name, tensor in best.items()}


@torch.no_grad()
def accuracies(model: nn.Module, data: LabelledImages, device: torch.device) -> dict[str, float]:
    """Top-1 and top-5 accuracy of a network in evaluation mode, in percent; processes share the images."""
    hits = torch.zeros(len(_TOP), dtype=torch.int64)
    indices = np.arange(processes.rank(), len(data), processes.count())
    for batch in np.array_split(indices, max(1, len(indices) // _BATCH)):
        scores = model(data.images.plain(batch, device))
        places = scores.topk(min(max(_TOP), scores.shape[1])).indices.cpu()
        right = places == torch.from_numpy(data.labels[batch])[:, None]
        hits += torch.stack([right[:, :top].sum() for top in _TOP])
    hits = processes.add_up(hits.to(device)).cpu()
    return {f"top{top}": 100 * int(hit) / len(data) for top, hit in zip(_TOP, hits, strict=True)}


def draw_weights(network: nn.Module, seed: int) -> None:
    """Give a network the weights with which `retrain` begins for this seed."""
    (stream,) = np.random.SeedSequence(seed).spawn(1)
    initialise(network, torch.Generator().manual_seed(drawn(stream)))


def retrain(
    space: SearchSpace,
    genes: np.ndarray,
    train: LabelledImages,
    valid: LabelledImages,
    settings: RetrainingSettings,
    seed: int,
    *,
    run: Run = Run(),  # noqa: B008 - a frozen value
) -> tuple[nn.Module, dict[str, float]]:
    """Train the network of an architecture (genes,) on true labels; return it and its accuracies.

    The accuracies are `top1` and `top5` on the validation images in percent, and empty without such images.
    Under `torchrun` each process takes a part of every batch. `run` and errors are those of `loop.fit`.
    Raises ValueError too if images have no labels or the space's networks don't support a setting.
    """
    if any((part.labels < 0).any() for part in (train, valid)):
        raise ValueError("retraining needs labels: got images without; give class folders")
    for name in ("auxiliary", "drop", "dropout"):
        value = getattr(settings, name)
        if value and name not in space.extras:
            raise ValueError(f"{name}: got {value}; networks of {space.name} have none: give 0")
    sizes = {name: getattr(settings, name) for name in space.sizes if hasattr(settings, name)}
    sizes |= {"auxiliary": True} if settings.auxiliary else {}
    sizes |= {"dropout": settings.dropout} if settings.dropout else {}
    device, (_, order_seed, draws_seed) = begin(settings, seed, 3)  # the first stream is of draw_weights
    draws = torch.Generator().manual_seed(drawn(draws_seed))
    sizes |= {"generator": draws} if settings.drop or settings.dropout else {}
    model: Any = space.network(genes, classes=train.classes, in_channels=train.images.channels, **sizes)
    draw_weights(model, seed)
    model.to(device, memory_format=torch.channels_last)
    if processes.rank() == 0:
        named = model.named_parameters()
        weights = sum(weight.numel() for name, weight in named if not name.startswith("auxiliary.")) / 1e6
        run.log(f"{space.to_string(np.asarray(genes)[None])[0]}: {weights:.3f} million parameters")
    task = _Network(model, train, valid, settings, draws, device)
    key = [space.name, np.asarray(genes), seed, device.type, *train.identity(), *valid.identity()]
    fit(task, settings, order_seed, device=device, key=key, run=run)
    if task.best:
        model.load_state_dict(task.best)
    return model.cpu(), task.accuracies
