"""Train a supernet on one sampled path per step (Sec. 3.1, 3.2 and the reference settings)."""

from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that torch code gives it

from rlnas_core.images.arrays import ImageArray
from rlnas_core.kernels.engine import Engine, accelerate
from rlnas_core.labels.sources import LabelSource
from rlnas_core.machine import processes
from rlnas_core.machine.devices import upload
from rlnas_core.networks.layers import INITIALISATIONS, SupernetModule, initialise
from rlnas_core.networks.nas_bench_201 import Supernet
from rlnas_core.spaces import SearchSpace
from rlnas_core.training.checkpoint import versions
from rlnas_core.training.graphs import StaticStep, StaticSupernet
from rlnas_core.training.loop import Run, begin, drawn, fit
from rlnas_core.training.optimiser import SGD
from rlnas_core.training.settings import TrainingSettings
from rlnas_core.training.statistics import Statistics
from rlnas_core.training.task import Task, WholeStep


@dataclass(frozen=True)
class SupernetSettings(TrainingSettings):
    """Settings of a supernet and its training; the defaults are the reference's for NAS-Bench-201.

    Those for the large spaces are in `config/config.yaml` and `config/imagenet.yaml`. Raises ValueError for
    an unsupported value.
    """

    channels: int = 16
    cells: int = 5
    imagenet: bool = False
    affine: bool = False
    dilated_norm: str = "reference"
    path_per: str = "cell"
    unsampled_gradient: str = "zero"
    initialisation: str = "default"
    rate_per: str = "epoch"
    last_batch: str = "keep"

    @classmethod
    def choices(cls) -> dict[str, tuple[str, ...]]:
        """The supported values of each setting that has a list of them."""
        return super().choices() | {
            "dilated_norm": ("reference", "paper"),
            "path_per": ("cell", "architecture"),
            "unsampled_gradient": ("zero", "absent"),
            "initialisation": tuple(INITIALISATIONS),
        }


def build(
    space: SearchSpace, classes: int, in_channels: int, settings: SupernetSettings, seed: int, **head: Any
) -> SupernetModule:
    """Return an untrained supernet with weights drawn from `seed`; `head` is that of its label source."""
    sizes = {name: getattr(settings, name) for name in space.sizes}
    model = space.supernet(classes=classes, in_channels=in_channels, **sizes, **head)
    initialise(model, torch.Generator().manual_seed(seed), settings.initialisation)
    return model


def _copies(model: SupernetModule) -> list[torch.Tensor]:
    weights = [weight for *_, weight in model.operation_weights()] + model.fixed_weights()
    if weights[0].device.type == "mps":  # which has no float64
        weights = [weight.cpu() for weight in weights]
    return [weight.detach().double().clone(memory_format=torch.contiguous_format) for weight in weights]


def weight_sums(model: SupernetModule, initial: list[torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Sums <W0, Wt>, |W0|^2, |Wt|^2 of the operations (cells, genes, operations, 3) and fixed part (3,)."""
    now = _copies(model)
    products = [((a * b).sum(), (a * a).sum(), (b * b).sum()) for a, b in zip(initial, now, strict=True)]
    sums = torch.stack([torch.stack(three) for three in products]).cpu().numpy()
    groups = [(cell, edge, operation) for cell, edge, operation, _ in model.operation_weights()]
    operations = np.zeros((*model.groups, 3))
    np.add.at(operations, tuple(np.array(groups).T), sums[: len(groups)])
    return operations, sums[len(groups) :].sum(axis=0)


def _statistics(
    model: SupernetModule,
    epochs: list[int],
    records: list[tuple[np.ndarray, np.ndarray]],
    meta: dict[str, Any],
) -> Statistics:
    operations, fixed = (np.array(part) for part in zip(*records, strict=True))
    return Statistics(
        np.array(epochs), operations, fixed, np.array(model.cell_channels()), {**meta, "versions": versions()}
    )


def compare(first: SupernetModule, second: SupernetModule, meta: dict[str, Any]) -> Statistics:
    """Statistics between the weights of two supernets of the same shape, with T = 1."""
    return _statistics(second, [0], [weight_sums(second, _copies(first))], meta)


def untrained_statistics(
    space: SearchSpace, description: dict[str, Any], settings: SupernetSettings, seed: int, scale: float = 1
) -> Statistics:
    """Statistics of two untrained supernets of different seeds (table 7's untrained rows), with T = 1.

    `scale` multiplies the weights of convolutions and the classifier.
    """
    seeds = np.random.SeedSequence(seed).generate_state(2)
    first, second = (
        build(space, description["classes"], description["in_channels"], settings, int(s)) for s in seeds
    )
    for model in (first, second):
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.weight.data *= scale
    return compare(first, second, {"settings": asdict(settings), "seed": seed})


class SupernetTask(Task):
    """Training of a supernet on images and labels; each step samples one path for all processes."""

    def __init__(
        self,
        space: SearchSpace,
        data: ImageArray,
        labels: LabelSource,
        settings: SupernetSettings,
        seeds: list[np.random.SeedSequence],
        device: torch.device,
    ) -> None:
        weights_seed, path_seed, crop_seed = seeds
        self.space, self.data, self.labels, self.settings, self.device = space, data, labels, settings, device
        self.path_rng = np.random.default_rng(path_seed)
        self.crops = torch.Generator().manual_seed(drawn(crop_seed))
        self.generators = [self.path_rng, labels.rng]
        self.model: SupernetModule = build(
            space, labels.categories, data.channels, settings, drawn(weights_seed), **labels.head
        )
        self.paths = self.model.paths if settings.path_per == "cell" else 1
        self._engine = self._accelerated()
        self.kernels = self._kernels()
        if self.kernels != "own":
            self.model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.initial = _copies(self.model)
        self.records = [weight_sums(self.model, self.initial)]

    def _accelerated(self) -> Engine | None:
        settings = self.settings
        able = settings.kernels == "auto" and settings.precision == "float32" and not settings.norm_batch
        return accelerate(self.model) if able and self.device.type == "cpu" else None

    def _kernels(self) -> str:
        """How the network runs: by our `own` kernels on a CPU, as a CUDA `graph`, or by `torch`."""
        settings = self.settings
        if self._engine:
            return "own"
        # A graph supports one process only, since batch norms need the whole batch.
        if settings.kernels != "auto" or processes.count() > 1:
            return "torch"
        clipped = settings.clip_norm is not None or settings.clip_value is not None
        static = isinstance(self.model, Supernet) and not clipped
        zero = settings.unsampled_gradient == "zero" and not settings.norm_batch
        return "graph" if self.device.type == "cuda" and static and zero else "torch"

    def __len__(self) -> int:
        return len(self.data)

    def loss(self, indices: np.ndarray, part: slice) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy over a part of a batch (B,), and how many of its images are classified right."""
        images, target, path = self._draw(indices, part)
        scores = (self._engine or self.model)(images, path).float()
        return self._cross_entropy(scores, target), _hits(scores.detach(), target)

    def whole_step(self, optimiser: SGD) -> WholeStep | None:
        """A function that takes steps as a CUDA graph, if `kernels` is `graph`."""
        if self.kernels != "graph":
            return None
        network = StaticSupernet(cast(Supernet, self.model))
        autocast = partial(self.settings.autocast, self.device)
        compiled = self.settings.batch_size if find_spec("triton") else None
        step = StaticStep(network, optimiser, self._cross_entropy, autocast, compiled)

        def take(indices: np.ndarray, learning_rate: float) -> tuple[Tensor, Tensor]:
            images, target, path = self._draw(indices, slice(None))
            loss, scores = step(images, target, path, learning_rate)
            return loss, _hits(scores, target)

        return take

    def _draw(self, indices: np.ndarray, part: slice) -> tuple[Tensor, Tensor, np.ndarray]:
        classes = upload(self.labels(indices)[part], self.device)
        images = self.data.batch(indices, part, self.crops, self.device)
        images = self.data.lit(images, self.settings.lighting, len(indices), part, self.crops)
        images, target = self.labels.pose(images, classes)
        return images, target, self.space.sample(self.paths, self.path_rng)

    def _cross_entropy(self, scores: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(scores, target, label_smoothing=self.settings.label_smoothing)

    def expect(self, indices: np.ndarray) -> None:
        """Read the images (b,) of the next batch in advance."""
        self.data.expect(indices)

    def after_epoch(self, epoch: int) -> dict[str, float]:
        """Record the `weight_sums`."""
        self.records.append(weight_sums(self.model, self.initial))
        return {}

    def state(self) -> dict[str, Tensor]:
        """The recorded sums and the state of the crops' generator, as tensors of a checkpoint."""
        records = zip(("operations", "fixed"), zip(*self.records, strict=True), strict=True)
        return {name: torch.from_numpy(np.array(values)) for name, values in records} | {
            "crops": self.crops.get_state()
        }

    def set_state(self, tensors: dict[str, Tensor]) -> None:
        """Resume from the tensors that `state` returned."""
        operations, fixed = (tensors[name].numpy() for name in ("operations", "fixed"))
        self.records = list(zip(operations, fixed, strict=True))
        self.crops.set_state(tensors["crops"])


def _hits(scores: Tensor, target: Tensor) -> Tensor:
    right = scores.argmax(1) == target
    return right.sum() / right[0].numel()


def train_supernet(
    space: SearchSpace,
    data: ImageArray,
    labels: LabelSource,
    settings: SupernetSettings,
    seed: int,
    *,
    run: Run = Run(),  # noqa: B008 - a frozen value
) -> tuple[SupernetModule, Statistics]:
    """Train a supernet on images (N, H, W, C) and labels by SGD, one sampled path per step (eq. 5 and 7).

    Returns the supernet and its statistics at the start and after every epoch. Under `torchrun` each process
    takes a part of every batch. `run` and errors are those of `loop.fit`.
    """
    device, (weights_seed, path_seed, order_seed, crop_seed) = begin(settings, seed, 4)
    task = SupernetTask(space, data, labels, settings, [weights_seed, path_seed, crop_seed], device)
    told = [space.name, seed, labels.categories, labels.name, device.type, task.kernels]
    fit(
        task,
        settings,
        order_seed,
        device=device,
        key=[*told, *data.identity(), *labels.identity()],
        unsampled_gradient=settings.unsampled_gradient,
        run=run,
    )
    meta = {
        "space": space.name, "settings": asdict(settings), "seed": seed, "categories": labels.categories,
        "kernels": task.kernels, "device": device.type,
    }  # fmt: skip
    return task.model.cpu(), _statistics(task.model, list(range(settings.epochs + 1)), task.records, meta)
