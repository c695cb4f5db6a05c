"""Training-free proxies, against a plain float64 network written out here and against published scores."""

import math
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import rankdata, spearmanr
from torch import nn
from torch.nn import functional as F  # noqa: N812

from rlnas_core.networks.darts import FactorizedReduce
from rlnas_core.networks.layers import BatchNorm
from rlnas_core.paper.numbers import PAPER
from rlnas_core.search import proxies
from rlnas_core.search.proxies import ANYWHERE, PROXIES, Batch, score
from rlnas_core.spaces import get
from rlnas_core.spaces.nas_bench_201 import CONV_3X3, EDGES, KERNELS, NONE, POOL, SKIP

SPACE = get("nas_bench_201")
SIZES = {"classes": 4, "channels": 4, "cells": 1}
PUBLISHED = Path(__file__).parents[2].parent / "shared/data/nb201/proxies_cifar10.csv"
CELLS = [
    "|nor_conv_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|",
    "|nor_conv_1x1~0|+|nor_conv_3x3~0|none~1|+|avg_pool_3x3~0|skip_connect~1|nor_conv_3x3~2|",
]


def draw_batch(dtype=torch.float64):
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(8, 3, 8, 8, generator=generator, dtype=dtype)
    return Batch(images, torch.randint(4, (8,), generator=generator), torch.Generator().manual_seed(6))


class Written:
    """The benchmark's network as a function of weights, a ReLU before each convolution."""

    def __init__(self, model, genes, bare=False):
        self.weights = {name: w.detach().double() for name, w in model.named_parameters()}
        self.genes, self.bare = genes, bare

    def layer(self, x, weights, name, stride=1, rectify=True, norm=True):
        if rectify:
            self.codes.append((x > 0).flatten(1))
            x = x.clamp(min=0)
        weight = weights[f"{name}.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        self.outputs.append(x)
        return self.normalise(x) if norm else x

    def normalise(self, x):
        if self.bare:
            return x
        centred = x - x.mean((0, 2, 3), keepdim=True)
        variance = (centred**2).mean((0, 2, 3), keepdim=True)
        self.deviations.append(math.sqrt(variance.detach().mean() + 1e-5))
        return centred / (variance + 1e-5).sqrt()

    def cell(self, x, weights, k):
        nodes = [x]
        for node in (1, 2, 3):
            terms = []
            for edge, (source, destination) in enumerate(EDGES):
                gene = self.genes[edge]
                if destination != node or gene == NONE:
                    continue
                if gene in KERNELS:
                    name = f"cells.{k}.convolutions.{edge}_{gene}.0"
                    terms.append(self.layer(nodes[source], weights, name))
                elif gene == SKIP:
                    terms.append(nodes[source])
                else:
                    assert gene == POOL
                    ones = torch.ones_like(nodes[source])
                    mean, share = (F.avg_pool2d(t, 3, 1, 1) for t in (nodes[source], ones))
                    terms.append(mean / share)
            nodes.append(sum(terms))
        return nodes[3]

    def reduction(self, x, weights, k):
        name = f"reductions.{k}"
        inner = self.layer(x, weights, f"{name}.first", 2)
        inner = self.layer(inner, weights, f"{name}.second")
        return inner + self.layer(F.avg_pool2d(x, 2), weights, f"{name}.shortcut", rectify=False, norm=False)

    def __call__(self, images, weights=None):
        weights = weights or self.weights
        self.codes, self.outputs, self.deviations = [], [], []
        x = self.layer(images, weights, "stem", rectify=False)
        self.blocks = [x]
        for k in range(3):
            if k:
                self.blocks.append(x := self.reduction(x, weights, k - 1))
            self.blocks.append(x := self.cell(x, weights, k))
        x = self.normalise(x)
        self.codes.append((x > 0).flatten(1))
        self.last = x.clamp(min=0)
        x = self.last.mean((2, 3))
        return x @ weights["classifier.weight"].T + weights["classifier.bias"]


@pytest.fixture(params=CELLS, ids=["pooling", "dead-edge"])
def genes(request):
    return SPACE.from_string([request.param])[0]


def both(name, genes, bare=False):
    """What the proxy gives in float64, and the written-out network of the same weights."""
    model = proxies.supernet(SPACE, PROXIES[name], 3, in_channels=3, **SIZES).double()
    return PROXIES[name].measure(model, genes, draw_batch()), Written(model, genes, bare)


def gradients(written, batch, part=slice(None)):
    """Gradients of the loss by torch.func, which differentiates functions instead of recording tensors."""

    def loss(weights):
        return F.cross_entropy(written(batch.images[part], weights), batch.labels[part])

    found = torch.func.grad(loss)(written.weights)
    return loss, {n: g for n, g in found.items() if g.ndim > 1 and g.abs().sum() > 0}


def test_naswot_counts_the_units_on_which_images_agree(genes):
    got, written = both("naswot", genes)
    written(draw_batch().images)
    kernel = np.zeros((8, 8))
    for codes in written.codes:
        for i in range(8):
            for j in range(8):
                kernel[i, j] += (codes[i] == codes[j]).sum()
    assert got == pytest.approx(np.linalg.slogdet(kernel)[1], rel=1e-9)


def test_jacobian_covariance_is_of_the_jacobians_correlations(genes):
    got, written = both("jacobian-covariance", genes)
    jacobian = torch.func.grad(lambda x: written(x).sum())(draw_batch().images).flatten(1).numpy()
    values = np.linalg.eigvalsh(np.corrcoef(jacobian)) + 1e-5
    assert got == pytest.approx(-np.sum(np.log(values) + 1 / values), rel=1e-6)


def test_synflow_flows_through_absolute_weights(genes):
    got, written = both("synflow", genes, bare=True)
    ones = torch.ones(1, 3, 8, 8, dtype=torch.float64)
    absolute = {name: w.abs() for name, w in written.weights.items()}
    flow = torch.func.grad(lambda weights: written(ones, weights).sum())(absolute)
    total = sum((absolute[n] * g).abs().sum() for n, g in flow.items() if g.ndim > 1)
    assert got == pytest.approx(math.log(total), rel=1e-9)


def test_gradient_norm_snip_and_fisher(genes):
    got, written = both("gradient-norm", genes)
    _, found = gradients(written, draw_batch())
    assert got == pytest.approx(sum(float(g.norm()) for g in found.values()), rel=1e-9)

    got, written = both("snip", genes)
    assert got == pytest.approx(sum(float((written.weights[n] * g).abs().sum()) for n, g in found.items()))

    # A channel's effect on an image's loss is what a gate on it would change: its derivative at one.
    got, written = both("fisher", genes)
    batch = draw_batch()
    written(batch.images)
    count = len(written.outputs)

    def gated(gates):
        plain, written.layer = written.layer, gated_layer
        try:
            numbers.clear()
            numbers.extend(range(count))
            holders.clear()
            holders.extend(gates)
            return F.cross_entropy(written(batch.images), batch.labels)
        finally:
            written.layer = plain

    def gated_layer(x, weights, name, stride=1, rectify=True, norm=True):
        x = x.clamp(min=0) if rectify else x
        weight = weights[f"{name}.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        x = x * holders[numbers.pop(0)][:, :, None, None]
        return written.normalise(x) if norm else x

    numbers, holders = [], []
    ones = [torch.ones(out.shape[:2], dtype=torch.float64) for out in written.outputs]
    effects = torch.func.grad(gated)(ones)
    expected = sum(float((effect**2).mean(0).sum()) / 2 for effect in effects)
    assert got == pytest.approx(expected, rel=1e-9)


def test_grasp_is_the_product_with_the_hessian(genes):
    """By a difference of gradients along the gradient instead of second derivatives."""
    got, written = both("grasp", genes)
    loss, found = gradients(written, draw_batch())
    step = 1e-5

    def moved(sign):
        weights = {n: w + sign * step * found.get(n, 0) for n, w in written.weights.items()}
        return torch.func.grad(loss)(weights)

    ahead, behind = moved(1), moved(-1)
    expected = -sum(float((written.weights[n] * (ahead[n] - behind[n])).sum()) / (2 * step) for n in found)
    assert got == pytest.approx(expected, rel=1e-4)


def test_zen_puts_back_what_normalisation_takes_away(genes):
    got, written = both("zen", genes)
    batch = draw_batch()
    images, noise = batch.gaussian(), batch.gaussian()
    written(images)
    first, scales = written.last, np.log(written.deviations)
    written(images + 0.01 * noise)
    change = float((first - written.last).abs().sum((1, 2, 3)).mean())
    assert got == pytest.approx(math.log(change) + scales.sum(), rel=1e-9)


def test_zico_divides_gradients_by_their_deviation(genes):
    got, written = both("zico", genes)
    halves = [gradients(written, draw_batch(), part)[1] for part in (slice(0, 4), slice(4, 8))]
    expected = 0.0
    for name in halves[0]:
        pair = np.stack([half[name].numpy().ravel() for half in halves])
        deviation = pair.std(axis=0)
        expected += math.log(np.sum(np.abs(pair).mean(axis=0)[deviation > 0] / deviation[deviation > 0]))
    assert got == pytest.approx(expected, rel=1e-6)


def test_az_nas_measures_blocks(genes):
    got, written = both("az-nas", genes)
    batch = draw_batch()
    written(batch.gaussian())
    blocks = written.blocks
    entropies = []
    for block in blocks:
        features = block.numpy().transpose(0, 2, 3, 1).reshape(-1, block.shape[1])
        share = np.linalg.svd(features - features.mean(0), compute_uv=False) ** 2
        share /= share.sum()
        entropies.append(-np.sum(share * np.log(share + 1e-8)))
    assert got["expressivity"] == pytest.approx(sum(entropies), rel=1e-6)
    assert got["progressivity"] == pytest.approx(np.diff(entropies).min(), rel=1e-6)

    run = [
        lambda x, k=k: (written.reduction if k % 2 else written.cell)(x, written.weights, k // 2)
        for k in range(5)
    ]
    expected = []
    for source, target, step in zip(blocks, blocks[1:], run, strict=False):
        signs = 2.0 * torch.randint(2, target.shape, generator=batch.generator) - 1
        _, pull = torch.func.vjp(step, source)
        (back,) = pull(signs.double())
        stride = source.shape[2] // target.shape[2]
        b, c, h, w = source.shape
        back = back.reshape(b, c, h // stride, stride, w // stride, stride).permute(0, 2, 4, 1, 3, 5)
        matrix = np.einsum(
            "ni,nj->ij",
            back.reshape(-1, c * stride**2).numpy(),
            signs.permute(0, 2, 3, 1).reshape(-1, target.shape[1]).numpy(),
        ) / (signs.numel() / target.shape[1])
        s = np.linalg.svd(matrix, compute_uv=False).max()
        expected.append(-s - 1 / (s + 1e-6) + 2)
    assert got["trainability"] == pytest.approx(np.mean(expected), rel=1e-6)


@pytest.mark.parametrize(("name", "variance"), [("az-nas", 2), ("zen", None), ("naswot", 1 / 3)])
def test_weights_are_scaled_by_their_fan_in_but_those_of_zen(name, variance):
    """With N(0, 1) in AZ-NAS the shortcuts, which no norm follows, drown the cells."""
    model = proxies.supernet(SPACE, PROXIES[name], 0, in_channels=3, **{**SIZES, "channels": 16})
    for layer in ("cells.0.convolutions.0_3.0", "reductions.0.shortcut", "reductions.1.second"):
        weight = model.get_parameter(f"{layer}.weight")
        expected = math.sqrt(variance / weight[0].numel()) if variance else 1
        assert weight.std().item() == pytest.approx(expected, rel=0.15)


def test_a_cell_that_is_the_identity_can_not_be_trained():
    model = proxies.supernet(SPACE, PROXIES["az-nas"], 0, in_channels=3, **SIZES)
    skip = np.array([NONE, NONE, NONE, SKIP, NONE, NONE])
    assert PROXIES["az-nas"].measure(model, skip, draw_batch(torch.float32))["trainability"] == -math.inf


@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_gives_the_scores_that_are_announced_and_the_same_for_an_architecture_alone(name):
    batch = draw_batch(torch.float32)
    genes = SPACE.from_string(CELLS)
    scores, alone = (
        score(SPACE, name, each, batch.images, batch.labels, seed=0, **SIZES) for each in (genes, genes[:1])
    )
    assert list(scores) == PAPER["rankings"]["proxies"][name]["scores"]
    for part, values in scores.items():
        assert np.isfinite(values).all()
        assert alone[part] == values[0] or part == "az-nas"  # which adds ranks among all


def test_az_nas_adds_the_logarithms_of_ranks_of_its_parts_and_of_live_flops():
    batch, genes = draw_batch(torch.float32), SPACE.sample(12, np.random.default_rng(0))
    genes[:4, :3] = SPACE.from_string(CELLS[1:])[0, :3]
    genes[:4, 5] = NONE  # what leads to node 2 is dead
    scores = score(SPACE, "az-nas", genes, batch.images, batch.labels, seed=0, **SIZES)
    total = scores.pop("az-nas")
    assert (scores["complexity"] == SPACE.cost(SPACE.canonical(genes))[1]).all()
    assert (scores["complexity"] < SPACE.cost(genes)[1]).any()
    np.testing.assert_allclose(total, sum(np.log(rankdata(part) / 12) for part in scores.values()))


def test_synflow_of_a_deep_network_does_not_overflow():
    ones, deep = torch.ones(1, 3, 8, 8), np.full((1, 6), CONV_3X3)
    sizes = {"classes": 4, "channels": 8, "cells": 8}
    scores = score(SPACE, "synflow", deep, ones, torch.zeros(1, dtype=torch.long), seed=0, **sizes)
    assert math.log(torch.finfo(torch.float32).max) < scores["synflow"][0] < math.inf


def test_functions_that_are_the_same_share_a_score_and_none_is_lowest():
    batch = draw_batch(torch.float32)
    swapped = "|nor_conv_3x3~0|+|nor_conv_1x1~0|none~1|+|none~0|skip_connect~1|skip_connect~2|"
    mirror = "|nor_conv_1x1~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|skip_connect~2|"
    genes = SPACE.from_string([CELLS[0], swapped, mirror])
    genes = np.concatenate([genes, np.zeros((1, 6), np.int8)])
    scores = score(SPACE, "snip", genes, batch.images, batch.labels, seed=0, **SIZES)["snip"]
    assert scores[1] == scores[2] != scores[0]
    assert scores[3] == -math.inf


def test_unknown_proxy_is_named():
    with pytest.raises(ValueError, match="'magic'; accepted in the space nas_bench_201: naswot"):
        score(SPACE, "magic", np.zeros((1, 6), np.int8), *2 * [torch.zeros(1)], seed=0, **SIZES)


def large(name):
    """A large space, two of its architectures, and the sizes of a small supernet that contains them."""
    space = get(name)
    genes = space.sample(2, np.random.default_rng(0))
    sizes = {"channels": 2, "cells": 3} if name == "darts" else {}
    return space, genes, {"classes": 4, "choices": [tuple(set(gene)) for gene in genes.T.tolist()], **sizes}


def large_supernet(proxy, space, sizes):
    return proxies.supernet(space, PROXIES[proxy], 0, in_channels=3, **sizes).double()


@pytest.mark.parametrize("name", ["darts", "mobilenet"])
def test_every_proxy_of_anywhere_scores_architectures_of_the_large_spaces(name):
    batch = draw_batch(torch.float32)
    space, genes, sizes = large(name)
    for proxy in ANYWHERE:
        scores, (again,) = (
            score(space, proxy, some, batch.images, batch.labels, seed=0, **sizes)[proxy]
            for some in (genes, genes[-1:])
        )
        assert np.isfinite(scores).all()
        assert scores[-1] == again
        assert len(set(scores)) == len(genes), proxy


@pytest.mark.parametrize("name", ["darts", "mobilenet"])
def test_naswot_counts_every_relu_of_the_large_spaces(name):
    """The inputs of ReLU, of ReLU6, and of the ReLU inside a factorized reduction."""
    space, genes, sizes = large(name)
    model, kernel = large_supernet("naswot", space, sizes), torch.zeros(8, 8, dtype=torch.float64)

    def count(module, inputs):
        on = (inputs[0] > 0).flatten(1)
        kernel.add_((on[:, None] == on[None]).sum(dim=2))

    for module in model.modules():
        if isinstance(module, nn.ReLU | nn.ReLU6 | FactorizedReduce):
            module.register_forward_pre_hook(count)
    got = PROXIES["naswot"].measure(model, genes[0], draw_batch())
    assert got == pytest.approx(np.linalg.slogdet(kernel)[1], rel=1e-9)


def test_synflow_of_a_network_with_relu6_does_not_saturate():
    space, genes, sizes = large("mobilenet")
    model = large_supernet("synflow", space, sizes)
    got = PROXIES["synflow"].measure(model, genes[0], draw_batch())
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.ReLU6 | BatchNorm):
                setattr(parent, name, nn.ReLU() if isinstance(child, nn.ReLU6) else nn.Identity())
    model(torch.ones(1, 3, 8, 8, dtype=torch.float64), genes[0]).sum().backward()
    flows = [(w * w.grad).abs().sum().item() for w in model.parameters() if w.ndim > 1 and w.grad is not None]
    assert got == pytest.approx(math.log(sum(flows)), rel=1e-9)


def test_a_proxy_of_blocks_and_snip_in_another_space():
    space, genes, sizes = large("darts")
    batch = draw_batch()
    with pytest.raises(ValueError, match="'zen'; accepted in the space darts: naswot"):
        score(space, "zen", genes, batch.images, batch.labels, seed=0, **sizes)

    model = large_supernet("snip", space, sizes)
    weights = {name: w.detach() for name, w in model.named_parameters()}

    def loss(weights):
        scores = torch.func.functional_call(model, weights, (batch.images, genes[0]))
        return F.cross_entropy(scores, batch.labels)

    found = torch.func.grad(loss)(weights)
    expected = sum(float((weights[n] * g).abs().sum()) for n, g in found.items() if g.ndim > 1)
    assert PROXIES["snip"].measure(model, genes[0], draw_batch()) == pytest.approx(expected)


def test_published_files_number_operations_by_the_node_they_come_from():
    benchmark = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "rankings.py"))
    (genes,) = SPACE.enumerate()[benchmark["published_index"](["(4, 0, 3, 1, 2, 3)"])]
    assert SPACE.to_string(genes[None]) == [
        "|avg_pool_3x3~0|+|skip_connect~0|none~1|+|nor_conv_1x1~0|nor_conv_3x3~1|nor_conv_1x1~2|"
    ]


@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"needs {PUBLISHED.name} in ../shared/data")
@pytest.mark.parametrize(
    ("name", "column", "least"),
    [("naswot", "nwot", 0.9), ("synflow", "synflow", 0.95), ("zen", "zen", 0.9),
     ("gradient-norm", "grad_norm", 0.8),
     ("snip", "snip", 0.8), ("fisher", "fisher", 0.75), ("jacobian-covariance", "jacov", 0.65)],
)  # fmt: skip
def test_ranks_as_what_others_published(name, column, least):
    """Fifty architectures at 8x8 pixels on noise, against networks of the full size on photographs."""
    published = pd.read_csv(PUBLISHED).sample(50, random_state=0)
    genes = SPACE.from_string(published["net_str"].tolist())
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(16, 3, 8, 8, generator=generator)
    labels = torch.randint(10, (16,), generator=generator)
    scores = score(SPACE, name, genes, images, labels, seed=0, classes=10, channels=8, cells=5)[name]
    assert spearmanr(scores, published[column]).statistic > least
