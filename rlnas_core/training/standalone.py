"""Training a stand-alone network of one architecture, for its accuracy (Sec. 4.2, tables 3 to 5)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that torch code gives it

from rlnas_core.images.arrays import ImageArray
from rlnas_core.machine import processes
from rlnas_core.machine.devices import pick_device, upload
from rlnas_core.networks.layers import initialise
from rlnas_core.spaces import SearchSpace
from rlnas_core.training.loop import Task, TrainingSettings, fit

_BATCH = 256  # images evaluated at once
_TOP = (1, 5)


@dataclass(frozen=True)
class RetrainingSettings(TrainingSettings):
    """Settings of a stand-alone network and its training; ValueError for a wrong one.

    `auxiliary` is the weight of the auxiliary head's loss, 0 for no such head; `drop` the chance that an
    image goes without an operation at the end of training, to which it grows along a line.
    """

    channels: int = 48
    cells: int = 14
    imagenet: bool = True
    auxiliary: float = 0.0
    drop: float = 0.0


class _Network(Task):
    """A network, and images with their true labels."""

    def __init__(
        self,
        model: Any,
        train: ImageArray,
        valid: ImageArray,
        settings: RetrainingSettings,
        draws: torch.Generator,
        device: torch.device,
    ) -> None:
        self.model: Any = model
        self.device = device
        self.train, self.valid, self.settings, self.draws = train, valid, settings, draws
        self.accuracies: dict[str, float] = {}
        self.evaluates = len(valid) > 0
        model.drop = 0.0

    def __len__(self) -> int:
        return len(self.train)

    def loss(self, indices: np.ndarray, part: slice) -> tuple[Tensor, Tensor]:
        target = upload(self.train.labels[indices[part]], self.device)
        scores = self.model(self.train.batch(indices, part, self.draws, self.device))
        scores, *auxiliary = scores if isinstance(scores, tuple) else (scores,)
        smoothing = self.settings.label_smoothing
        loss = F.cross_entropy(scores.float(), target, label_smoothing=smoothing)
        for other in auxiliary:
            loss = loss + self.settings.auxiliary * F.cross_entropy(
                other.float(), target, label_smoothing=smoothing
            )
        return loss, (scores.detach().argmax(1) == target).sum()

    def expect(self, indices: np.ndarray) -> None:
        self.train.expect(indices)

    def after_epoch(self, epoch: int) -> dict[str, float]:
        self.model.drop = self.settings.drop * epoch / self.settings.epochs
        self.accuracies = accuracies(self.model, self.valid, self.device) if len(self.valid) else {}
        return self.accuracies

    def state(self) -> dict[str, Tensor]:
        kept = {"drop": self.model.drop, **self.accuracies}
        numbers = {name: torch.tensor(value, dtype=torch.float64) for name, value in kept.items()}
        return {"draws": self.draws.get_state(), **numbers}

    def set_state(self, tensors: dict[str, Tensor]) -> None:
        self.draws.set_state(tensors["draws"])
        self.model.drop = tensors["drop"].item()
        self.accuracies = {name: tensors[name].item() for name in tensors if name.startswith("top")}


@torch.no_grad()
def accuracies(model: nn.Module, data: ImageArray, device: torch.device) -> dict[str, float]:
    """Top-1 and top-5 accuracy in percent of a network in evaluation mode; each process takes a part."""
    hits = torch.zeros(len(_TOP), dtype=torch.int64)
    indices = np.arange(processes.rank(), len(data), processes.count())
    for batch in np.array_split(indices, max(1, len(indices) // _BATCH)):
        scores = model(data.plain(batch, device))
        places = scores.topk(min(max(_TOP), scores.shape[1])).indices.cpu()
        right = places == torch.from_numpy(data.labels[batch])[:, None]
        hits += torch.stack([right[:, :top].sum() for top in _TOP])
    hits = processes.add_up(hits.to(device)).cpu()
    return {f"top{top}": 100 * int(hit) / len(data) for top, hit in zip(_TOP, hits, strict=True)}


def retrain(
    space: SearchSpace,
    genes: np.ndarray,
    train: ImageArray,
    valid: ImageArray,
    settings: RetrainingSettings,
    seed: int,
    *,
    log: Callable[[str], None] = print,
    **options: Any,
) -> tuple[nn.Module, dict[str, float]]:
    """Train the network of an architecture (genes,) on true labels; return it and its accuracies.

    They are `top1` and `top5` on the validation images in percent, none where there are no such images. Under
    `torchrun` each process takes a part of every batch. Options, states and errors are those of `loop.fit`;
    ValueError too where images have no labels or the space's networks don't have what a setting asks for.
    """
    if (train.labels < 0).any():
        raise ValueError("retraining needs labels: got images without; give class folders")
    for name in ("auxiliary", "drop"):
        value = getattr(settings, name)
        if value and name not in space.extras:
            raise ValueError(f"{name}: got {value}; networks of {space.name} have none: give 0")
    sizes = {name: getattr(settings, name) for name in space.sizes if hasattr(settings, name)}
    sizes |= {"auxiliary": True} if settings.auxiliary else {}
    device = pick_device(settings.device)
    processes.join(device)
    weights_seed, order_seed, draws_seed = np.random.SeedSequence(seed).spawn(3)
    model: Any = space.network(genes, classes=train.classes, in_channels=train.channels, **sizes)
    initialise(model, torch.Generator().manual_seed(int(weights_seed.generate_state(1)[0])))
    model.to(device, memory_format=torch.channels_last)
    draws = torch.Generator().manual_seed(int(draws_seed.generate_state(1)[0]))
    model.generator = draws
    if processes.rank() == 0:
        weights = sum(weight.numel() for weight in model.parameters()) / 1e6
        log(f"device {device}, {processes.described()}")
        log(f"{space.to_string(np.asarray(genes)[None])[0]}: {weights:.3f} million parameters")
    task = _Network(model, train, valid, settings, draws, device)
    key = [space.name, np.asarray(genes), seed, device.type, *train.identity(), *valid.identity()]
    fit(
        task,
        settings,
        np.random.default_rng(order_seed),
        device=device,
        key=key,
        log=log,
        **options,
    )
    return model.cpu(), task.accuracies
