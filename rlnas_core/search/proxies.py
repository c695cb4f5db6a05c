"""Training-free proxies: scores of architectures from untrained weights and one batch of images.

All architectures share the initial weights of one supernet, so that scores depend on structure and not on
luck. The proxies of `ANYWHERE` score every space; the others use the feature maps between NAS-Bench-201's
cells.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that torch code gives it
from torch.overrides import TorchFunctionMode

from rlnas_core.benchmark.ranking import add_ranks
from rlnas_core.networks.layers import SupernetModule, initialise
from rlnas_core.networks.nas_bench_201 import Supernet
from rlnas_core.spaces import NASBench201, SearchSpace

_EPS = 1e-5
_RECTIFIERS = (F.relu, F.hardtanh)  # nn.ReLU6 calls the latter


@dataclass(frozen=True)
class Batch:
    """The input of a proxy: images (B, C, H, W), labels (B,), and a generator of noise."""

    images: Tensor
    labels: Tensor
    generator: torch.Generator

    def gaussian(self) -> Tensor:
        """Gaussian noise of the shape of the images."""
        return torch.randn(
            self.images.shape,
            generator=self.generator,
            dtype=self.images.dtype,
            device=self.generator.device,
        ).to(self.images.device)


def naswot(model: SupernetModule, path: np.ndarray, batch: Batch) -> float:
    """How differently ReLUs split the images (Mellor et al., 2021).

    It is log |K|, where K_ij is the number of units on which images i and j agree.
    """
    with torch.no_grad(), _Codes() as codes:
        model(batch.images, path)
    return torch.linalg.slogdet(codes.agreement)[1].item()


def jacobian_covariance(model: SupernetModule, path: np.ndarray, batch: Batch) -> float:
    """How little the Jacobians of images correlate (Mellor et al., 2020; Abdelfattah et al., 2021).

    It is -sum(log(v + k) + 1 / (v + k)) over the eigenvalues v of their correlation matrix, with k = 1e-5.
    """
    images = batch.images.detach().requires_grad_()
    (jacobian,) = torch.autograd.grad(model(images, path).sum(), images)
    values = torch.linalg.eigvalsh(torch.corrcoef(jacobian.flatten(1).double())) + _EPS
    return -(values.log() + 1 / values).sum().item()


def synflow(model: SupernetModule, path: np.ndarray, batch: Batch) -> float:
    """Synaptic flow: log sum |w dR/dw| (Tanaka et al., 2020).

    R is the sum of the outputs with absolute weights, an input of ones, no batch norms, and ReLU for ReLU6.
    """
    ones = torch.ones_like(batch.images[:1])
    weights = _weights(model)
    with _Bare():
        flow = model(ones, path).sum()
    gradients = _gradients(flow, weights)
    return math.log(sum((w * g).abs().sum().item() for w, g in gradients))


def gradient_norm(model: SupernetModule, path: np.ndarray, batch: Batch) -> float:
    """Sum over layers of the norm of the loss gradient (Abdelfattah et al., 2021)."""
    return sum(g.norm().item() for _, g in _gradients(_loss(model, batch, path), _weights(model)))


def snip(model: SupernetModule, path: np.ndarray, batch: Batch) -> float:
    """Sensitivity of the loss to removing weights: sum |w dL/dw| (Lee et al., 2019)."""
    gradients = _gradients(_loss(model, batch, path), _weights(model))
    return sum((w * g).abs().sum().item() for w, g in gradients)


def grasp(model: SupernetModule, path: np.ndarray, batch: Batch) -> float:
    """Effect of weights on the gradient flow: -sum w (Hg) with the Hessian H (Wang et al., 2020)."""
    loss = _loss(model, batch, path)
    first = _gradients(loss, _weights(model), create_graph=True)
    length = sum((g * g.detach()).sum() for _, g in first)
    second = _gradients(length, [w for w, _ in first])
    return -sum((w * hg).sum().item() for w, hg in second)


def fisher(model: SupernetModule, path: np.ndarray, batch: Batch) -> float:
    """Fisher information of channels (Turner et al., 2020).

    It is the sum over layers of mean_b (sum_hw a dL/da)^2 / 2.
    """
    with _Outputs() as layers:
        loss = _loss(model, batch, path)
    gradients = torch.autograd.grad(loss, layers.outputs)
    # The loss is already a mean over the batch, as in the published code.
    effects = ((a * g).sum(dim=(2, 3)) for a, g in zip(layers.outputs, gradients, strict=True))
    return sum((effect**2).mean(0).sum().item() / 2 for effect in effects)


def zen(model: Supernet, path: np.ndarray, batch: Batch) -> float:
    """Expressivity of a network with Gaussian weights: log E |f(x) - f(x + 0.01 e)| (Lin et al., 2021).

    Images x and e are Gaussian noise. The scales that batch norms remove are added back.
    """
    images = batch.gaussian()
    with torch.no_grad():
        with _Scales() as norms:
            first = _last_map(model, images, path)
        second = _last_map(model, images + 0.01 * batch.gaussian(), path)
    return ((first - second).abs().sum(dim=(1, 2, 3)).mean().log() + sum(norms.scales)).item()


def zico(model: SupernetModule, path: np.ndarray, batch: Batch) -> float:
    """Sum over layers of log sum E|g| / sd(g), over two halves of the batch (Li et al., 2023)."""
    weights = _weights(model)
    halves = zip(batch.images.chunk(2), batch.labels.chunk(2), strict=True)
    gradients = [
        [g for _, g in _gradients(_loss(model, Batch(x, y, batch.generator), path), weights)]
        for x, y in halves
    ]
    total = 0.0
    for first, second in zip(*gradients, strict=True):
        deviation = (first - second).abs() / 2
        ratio = ((first.abs() + second.abs()) / 2)[deviation > 0] / deviation[deviation > 0]
        total += ratio.sum().log().item() if ratio.numel() else 0.0
    return total


def az_nas(model: Supernet, path: np.ndarray, batch: Batch) -> dict[str, float]:
    """Expressivity, progressivity and trainability of AZ-NAS (Lee and Ham, 2024) on Gaussian images.

    Expressivity is the entropy of the principal components of each block's features, summed over blocks.
    Progressivity is its least increase from block to block. Trainability is the mean over blocks of
    -s - 1/s + 2, where s estimates the largest singular value of the block's Jacobian.
    """
    blocks = list(model.blocks(batch.gaussian(), path))
    entropies = [_entropy(block.detach()) for block in blocks]
    trainability = [_trainability(source, target, batch) for source, target in pairwise(blocks)]
    return {
        "expressivity": sum(entropies),
        "progressivity": float(np.diff(entropies).min()),
        "trainability": float(np.mean(trainability)),
    }


def _entropy(features: Tensor) -> float:
    """Entropy of the variance shares of the principal components of features (B, C, H, W)."""
    features = features.movedim(1, -1).flatten(0, 2)
    features = features - features.mean(0)
    values = torch.linalg.eigvalsh(features.T @ features / len(features))
    share = (values / values.sum()).clamp(min=0)
    return -(share * (share + 1e-8).log()).sum().item()


def _trainability(source: Tensor, target: Tensor, batch: Batch) -> float:
    """-s - 1/s + 2 of a block from source to target, -inf where it is the identity."""
    signs = torch.randint(2, target.shape, generator=batch.generator, device=batch.generator.device)
    out = (2 * signs - 1).to(target)
    (back,) = torch.autograd.grad(target, source, out, retain_graph=True)
    if back.shape == out.shape and torch.equal(back, out):
        return -math.inf
    back = F.pixel_unshuffle(back, source.shape[2] // target.shape[2])
    out, back = (x.movedim(1, -1).flatten(0, 2) for x in (out, back))
    largest = torch.linalg.matrix_norm(back.T @ out / len(out), 2).item()
    return -largest - 1 / (largest + 1e-6) + 2


@dataclass(frozen=True)
class Proxy:
    """A proxy's score, and how its weights are drawn; paper.yaml says whether it needs images or labels."""

    measure: Callable[[Any, np.ndarray, Batch], Any]
    initialisation: str = "default"


PROXIES = {
    "naswot": Proxy(naswot),
    "jacobian-covariance": Proxy(jacobian_covariance),
    "synflow": Proxy(synflow, initialisation="absolute"),
    "gradient-norm": Proxy(gradient_norm),
    "snip": Proxy(snip),
    "grasp": Proxy(grasp),
    "fisher": Proxy(fisher),
    "zen": Proxy(zen, initialisation="gaussian"),
    "zico": Proxy(zico),
    "az-nas": Proxy(az_nas, initialisation="kaiming-normal"),
}
ANYWHERE = tuple(name for name in PROXIES if name not in ("zen", "az-nas"))
"""The proxies that score architectures of every space."""


def supernet(space: SearchSpace, proxy: Proxy, seed: int, **sizes: Any) -> SupernetModule:
    """A supernet of the space with weights drawn as the proxy specifies, from `seed`."""
    model = space.supernet(**sizes)
    generator = torch.Generator().manual_seed(seed)
    own = proxy.initialisation in ("absolute", "gaussian")
    initialise(model, generator, "default" if own else proxy.initialisation)
    if proxy.initialisation == "gaussian":
        for weight in _weights(model):
            nn.init.normal_(weight, generator=generator)
    if proxy.initialisation == "absolute":
        model.double()  # the flow of a deep network without batch norms overflows float32
        for parameter in model.parameters():
            parameter.data.abs_()
    return model


def score(
    space: SearchSpace,
    name: str,
    genes: np.ndarray,
    images: Tensor,
    labels: Tensor,
    *,
    seed: int,
    log: Callable[[str], None] = print,
    **sizes: Any,
) -> dict[str, np.ndarray]:
    """The scores (N,) of architectures (N, genes) by a proxy, by name; some proxies have several scores.

    `images` (B, C, H, W) and `labels` (B,) are on the device that computes; `sizes` are those of the space's
    supernet. All architectures get the same images, noise and weights. In NAS-Bench-201, architectures of one
    of the `isomorphism_classes` have the score of the first of them in `genes`, whose edges have weights of
    their own, and the score without a live path is -inf. Raises ValueError for an unknown proxy, or one that
    can't score architectures of the space.
    """
    accepted = PROXIES if isinstance(space, NASBench201) else ANYWHERE
    if name not in accepted:
        raise ValueError(f"proxy: got '{name}'; accepted in the space {space.name}: {', '.join(accepted)}")
    proxy = PROXIES[name]
    model = supernet(space, proxy, seed, in_channels=images.shape[1], **sizes).to(images.device)
    images = images.to(next(model.parameters()).dtype)
    distinct, inverse, live = _distinct(space, np.asarray(genes))
    rows: list[dict[str, float] | None] = []
    started = time.monotonic()
    for k, (path, alive) in enumerate(zip(distinct, live, strict=True), 1):
        batch = Batch(images, labels, torch.Generator().manual_seed(seed))
        measured = proxy.measure(model, path, batch) if alive else None
        rows.append({name: measured} if isinstance(measured, float) else measured)
        if k % 500 == 0:
            left = (time.monotonic() - started) / k * (len(distinct) - k)
            log(f"{k} of {len(distinct)} distinct architectures scored, {left:.0f} s left")
    names = dict.fromkeys(key for row in rows if row for key in row) or [name]
    scores = {key: np.array([row[key] if row else -np.inf for row in rows])[inverse] for key in names}
    if name == "az-nas" and isinstance(space, NASBench201):
        _, flops = space.cost(space.canonical(genes))
        scores["complexity"] = np.asarray(flops, np.float64)
        scores[name] = add_ranks(scores.values())
    return scores


def _distinct(space: SearchSpace, genes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Architectures of different functions, the index of each given one, and whether each has a live path."""
    if not isinstance(space, NASBench201):
        distinct, inverse = np.unique(genes, axis=0, return_inverse=True)
        return distinct, inverse, np.ones(len(distinct), bool)
    _, first, inverse = np.unique(
        space.isomorphism_classes()[space.index(genes)], return_index=True, return_inverse=True
    )
    distinct = space.canonical(genes[first])
    return distinct, inverse, np.any(space.live_paths(distinct), axis=1, keepdims=False)


class _Codes(TorchFunctionMode):
    """Counts the ReLU units on which pairs of images agree; a unit counts once per layer that reads it.

    The benchmark's network counts the same, since it has a ReLU before every convolution.
    """

    def __init__(self) -> None:
        super().__init__()
        self.agreement: Any = 0
        self._codes: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in (F.conv2d, Tensor.mean) and _memory(args[0]) in self._codes:
            self.agreement = self.agreement + self._codes[_memory(args[0])][1].double()
        result = function(*args, **(kwargs or {}))
        if function in _RECTIFIERS:
            on = (result > 0).flatten(1).float()
            # The tensor is kept, since its memory is the key
            self._codes[_memory(result)] = result, on @ on.T + (1 - on) @ (1 - on).T
        return result


def _memory(x: Tensor) -> int:
    """Where a tensor's numbers are in memory; the same for a selection of its pixels."""
    return x.untyped_storage().data_ptr()


class _Bare(TorchFunctionMode):
    """Runs a network without its batch norms, and with ReLU for ReLU6, which would saturate without them."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in _RECTIFIERS:
            return F.relu(args[0])
        return args[0] if function is F.batch_norm else function(*args, **(kwargs or {}))


class _Outputs(TorchFunctionMode):
    """Keeps the output of each convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[Tensor] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function == F.conv2d:
            self.outputs.append(result)
        return result


class _Scales(TorchFunctionMode):
    """Keeps the logarithm of the mean standard deviation at each batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.scales: list[Tensor] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is F.batch_norm:
            self.scales.append(args[0].var(dim=(0, 2, 3), correction=0).mean().add(_EPS).log() / 2)
        return function(*args, **(kwargs or {}))


def _weights(model: nn.Module) -> list[Tensor]:
    return [layer.weight for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


def _last_map(model: Supernet, images: Tensor, path: np.ndarray) -> Tensor:
    *_, x = model.blocks(images, path)
    return F.relu(model.last_norm(x))


def _loss(model: SupernetModule, batch: Batch, path: np.ndarray) -> Tensor:
    return F.cross_entropy(model(batch.images, path), batch.labels)


def _gradients(loss: Any, weights: Sequence[Tensor], **options: Any) -> list[tuple[Tensor, Tensor]]:
    """Each weight that the loss depends on, and its gradient."""
    gradients = torch.autograd.grad(loss, weights, allow_unused=True, **options)
    return [(w, g) for w, g in zip(weights, gradients, strict=True) if g is not None]
