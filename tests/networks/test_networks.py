"""Supernets and networks of the DARTS and the MobileNet-like space: cost, angle, training."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from walks import live_paths

from rlnas_core.images.arrays import ImageArray
from rlnas_core.labels.sources import FixedLabels
from rlnas_core.networks.layers import RunningBatchNorm, convolution, initialise, norm, normalise_together
from rlnas_core.search.angle import architecture_angles
from rlnas_core.spaces import darts, get, mobilenet, published
from rlnas_core.training.loop import Run
from rlnas_core.training.supernet import SupernetSettings, build, compare, train_supernet

CHAINS = ("FairNAS-A", "FBNet-C")
SPACES = {
    "darts": (get("darts", paths="last"), {"channels": 8, "cells": 5}),
    "darts-affine": (get("darts"), {"channels": 8, "cells": 5, "affine": True, "dilated_norm": "paper"}),
    "darts-imagenet": (get("darts"), {"channels": 8, "cells": 5, "imagenet": True, "affine": True}),
    "mobilenet": (get("mobilenet"), {}),
}


@pytest.fixture(params=SPACES)
def case(request):
    return SPACES[request.param]


@pytest.mark.parametrize("outputs", [1, 2, 3, 8])
def test_strided_pointwise_convolution_is_torchs_in_float64(outputs):
    ours = convolution(4, outputs, 1, 2).to(memory_format=torch.channels_last)
    plain = nn.Conv2d(4, outputs, 1, 2, bias=False).double()
    plain.load_state_dict(ours.state_dict())
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):  # torch's own writes outside of its memory here, which a single pass may survive
        images = torch.randn(64, 4, 8, 8, generator=generator).to(memory_format=torch.channels_last)
        inputs = images.requires_grad_(), images.detach().double().requires_grad_()
        scores = ours(inputs[0]), plain(inputs[1])
        torch.testing.assert_close(scores[0].double(), scores[1], rtol=1e-5, atol=1e-5)
        for score in scores:
            score.square().sum().backward()
        torch.testing.assert_close(inputs[0].grad.double(), inputs[1].grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.weight.grad.double(), plain.weight.grad, rtol=1e-4, atol=1e-3)


def test_gradients_of_a_dilated_depthwise_convolution_in_bfloat16_are_those_in_float64():
    ours = convolution(16, 16, 3, groups=16, dilation=2).to(memory_format=torch.channels_last)
    plain = nn.Conv2d(16, 16, 3, padding=2, groups=16, dilation=2, bias=False).double()
    plain.load_state_dict(ours.state_dict())
    images = torch.randn(4, 16, 32, 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        score = ours(images.to(memory_format=torch.channels_last))
    for scored in (score, plain(images.double())):
        scored.square().sum().backward()
    torch.testing.assert_close(ours.weight.grad.double(), plain.weight.grad, rtol=0.02, atol=1)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("name", ["nas_bench_201", "darts"])
def test_every_weight_is_of_one_group(name, affine):
    settings = SupernetSettings(channels=4, cells=3, affine=affine, dilated_norm="paper")
    model = build(get(name), 10, 3, settings, 0)
    held = [weight for *_, weight in model.operation_weights()] + model.fixed_weights()
    assert len(held) == len({id(weight) for weight in held})
    assert {id(weight) for weight in held} == {id(weight) for weight in model.parameters()}


def counted(model, images):
    """Parameters, and multiply-adds of convolutions and linear layers, by hooks on a forward pass."""
    flops = []

    def count(module, inputs, output):
        weights = module.weight[0].numel()
        if isinstance(module, nn.Linear):
            weights = 2 * weights - 1  # products and sums
        flops.append(weights * output[0].numel())

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    model.eval()
    with torch.no_grad():
        model(images)
    return sum(weight.numel() for weight in model.parameters()), sum(flops)


@pytest.mark.parametrize(
    ("space", "network", "side"),
    [
        (get("darts"), {"channels": 8, "cells": 7, "imagenet": True}, 64),
        (get("darts"), {"channels": 4, "cells": 5, "imagenet": False}, 16),
        (get("mobilenet"), {}, 64),
        (get("chain"), {}, 64),
        (get("nas_bench_201"), {"channels": 4, "cells": 2}, 8),
    ],
)
def test_cost_table_counts_what_hooks_count_in_the_built_network(space, network, side):
    if space.name == "chain":
        genes = np.stack([np.append(published()[name].genes[:75], [3, 1, 9, 1]) for name in CHAINS])
    else:
        genes = space.canonical(space.sample(3, np.random.default_rng(0)))
    params, flops = space.cost(genes, classes=7, image_size=side, **network)
    x = torch.zeros(1, 3, side, side)
    for row, expected in zip(genes, zip(params, flops, strict=True), strict=True):
        with torch.device("meta"):
            model = space.network(row, classes=7, **network)
        assert counted(model, x.to("meta")) == expected


def vector(space, model, row, pooling):
    """V(a, W) of eq. 9 by walking over the paths of the architecture."""

    def flat(weights):
        return [weight.detach().double().flatten() for weight in weights]

    if space.name == "mobilenet":
        alone = (model.stem[0], *(layer[0] for layer in model.first), model.last[0], model.classifier)
        parts = flat(layer.weight for layer in alone)
        for block, gene in enumerate(row):
            if gene == mobilenet.SKIP:
                parts.append(torch.eye(mobilenet.BLOCKS[block][1], dtype=torch.float64).flatten())
                continue
            inner = model.blocks[block][str(int(gene))]
            parts += flat(
                [*inner.expand.parameters(), *inner.depthwise.parameters(), inner.project[0].weight]
            )
        return torch.cat(parts)
    shared = [model.stem, model.second_stem, model.classifier]
    shared += [part for cell in model.cells for part in (cell.before, cell.last)]
    parts = flat(weight for part in shared for weight in part.parameters())
    for cell, (reducing, width) in enumerate(zip(model.reduces, model.cell_channels(), strict=True)):
        kind = row.reshape(2, 14)[int(reducing)]
        ends = range(2, 6) if space.paths == "any" else [5]
        for edge, gene in itertools.chain.from_iterable(live_paths(kind, ends)):
            operation = model.cells[cell].operations[f"{edge}_{gene}"]
            own = list(operation.parameters())
            if gene in (darts.DIL_3, darts.DIL_5) and len(own) == 4 and model.dilated_norm == "reference":
                own[3] = own[2]  # the norm's scale, again in place of its shift
            if gene in (darts.MAX_POOL, darts.AVG_POOL):
                size = width * 9 * (1 if pooling == "reference" else width)
                parts.append(torch.full((size,), 1 / 9, dtype=torch.float64))
            elif isinstance(operation, nn.Identity):
                parts.append(torch.eye(width, dtype=torch.float64).flatten())
            parts += flat(own)
    return torch.cat(parts)


@pytest.mark.parametrize("pooling", ["reference", "paper"])
def test_angle_from_sums_equals_that_of_the_concatenated_vectors(case, pooling):
    space, sizes = case
    models = [space.supernet(classes=4, **sizes) for _ in range(2)]
    for seed, model in enumerate(models):
        generator = torch.Generator().manual_seed(seed)
        initialise(model, generator)
        for weight in model.parameters():
            if weight.ndim == 1:  # training moves norms too
                nn.init.normal_(weight, generator=generator)
    genes = space.sample(20, np.random.default_rng(0))
    found = architecture_angles(space, compare(*models, {}), genes, pooling=pooling)
    for row, angle in zip(genes, found, strict=True):
        first, last = (vector(space, model, row, pooling) for model in models)
        cosine = first @ last / (first.norm() * last.norm())
        assert angle == pytest.approx(torch.arccos(cosine).item(), abs=1e-9)


def test_dilated_norm_setting_counts_the_scale_twice_or_scale_and_shift():
    for setting, names in (("reference", {"scale": 2}), ("paper", {"scale": 1, "shift": 1})):
        model = get("darts").supernet(classes=4, channels=4, cells=3, affine=True, dilated_norm=setting)
        dilated = [
            w for cell, place, gene, w in model.operation_weights() if (cell, place, gene) == (0, 0, 6)
        ]
        norms = [weight for weight in dilated if weight.ndim == 1]
        found = {}
        for weight in norms:
            name = "scale" if weight.eq(1).all() else "shift"
            found[name] = found.get(name, 0) + 1
        assert found == names


def test_supernet_trains_in_every_space_and_scores_differ(case):
    space, sizes = case
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, size=(16, 32, 32, 3), dtype=np.uint8)
    data = ImageArray(images, (0.5,) * 3, (0.25,) * 3, 4, True)
    settings = SupernetSettings(epochs=1, batch_size=8, clip_norm=5.0, label_smoothing=0.1, **sizes)
    _, statistics = train_supernet(
        space, data, FixedLabels(np.arange(16) % 4, 4), settings, 0, run=Run(lambda line: None)
    )
    scores = architecture_angles(space, statistics, space.sample(50, rng))
    assert len(np.unique(scores)) > 40
    assert (scores > 0).all()
    assert architecture_angles(space, statistics, space.sample(5, rng), epoch=0).max() == pytest.approx(
        0, abs=1e-6
    )


def test_auxiliary_head_and_dropped_paths_act_in_training_alone():
    space = get("darts")
    genes = space.sample(1, np.random.default_rng(0))[0]
    model = space.network(genes, classes=4, channels=4, cells=6, auxiliary=True, drop=0.3)
    x = torch.randn(4, 3, 32, 32)
    scores, auxiliary = model(x)
    assert scores.shape == auxiliary.shape == (4, 4)
    assert not torch.equal(scores, model(x)[0])
    dropped = model._drop(torch.ones(5000, 2))
    assert dropped.eq(0).all(dim=1).double().mean().item() == pytest.approx(0.3, abs=0.03)
    torch.testing.assert_close(dropped, dropped.ne(0).all(dim=1, keepdim=True).expand(-1, 2) / 0.7)
    model.drop_paths(0)
    assert torch.equal(model(x)[0], model(x)[0])
    model.drop_paths(0.3)
    model.eval()
    assert torch.equal(model(x), model(x))


def test_auxiliary_head_is_the_authors():
    genes = published()["RLNAS-imagenet"].genes
    model = get("darts").network(genes, classes=4, channels=4, cells=6, auxiliary=True)
    head = model.auxiliary
    assert sum(isinstance(layer, RunningBatchNorm) for layer in head) == 1
    x = torch.randn(2, 3, 7, 7)
    torch.testing.assert_close(head[1](x), nn.AvgPool2d(5, stride=2)(x))
    assert head[1](x[..., :4, :4]).shape == (2, 3, 2, 2)


@pytest.mark.parametrize("name", ["RLNAS-mobilenet", "FairNAS-A"])
def test_dropout_leaves_out_inputs_of_the_classifier_in_training_alone(name):
    entry = published()[name]
    generator = torch.Generator().manual_seed(0)
    model = entry.space.network(entry.genes, classes=4, dropout=0.25, generator=generator)
    x, seen = torch.randn(4, 3, 32, 32), []
    model.classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    with torch.no_grad():
        model(x)
        model.dropout = 0
        model(x)
        model.dropout = 0.25
        assert torch.equal(model.eval()(x), model(x))
    dropped, whole = seen[:2]
    dropped, whole = dropped[whole != 0], whole[whole != 0]
    kept = dropped != 0
    assert kept.double().mean().item() == pytest.approx(0.75, abs=0.03)
    torch.testing.assert_close(dropped[kept], whole[kept] / 0.75)


@pytest.mark.parametrize("running", [False, True])
def test_batch_norm_sees_so_many_images_together_in_training(running):
    layer, alone = (norm(3, True, running) for _ in range(2))
    x = 2 * torch.randn(8, 3, 5, 5) + torch.arange(8)[:, None, None, None]
    normalise_together(nn.Sequential(layer), 4)
    torch.testing.assert_close(layer(x), torch.cat([alone(x[:4]), norm(3, True, running)(x[4:])]))
    if running:  # its statistics are those of the first images, as the authors keep the first GPU's
        torch.testing.assert_close(layer.running_mean, alone.running_mean)
        torch.testing.assert_close(layer.eval()(x), alone.eval()(x))


@pytest.mark.parametrize(
    ("name", "convolution", "classifier"),
    [
        ("default", (0, 1 / 3 / 144), (0, 1 / 3 / 64)),
        ("normal", (0, 1), (0, 1)),
        ("uniform", (0.5, 1 / 12), (0.5, 1 / 12)),
        ("kaiming-normal", (0, 2 / 144), (0, 2 / 64)),
        ("kaiming-uniform", (0, 2 / 144), (0, 2 / 64)),
        ("darts-imagenet", (0, 2 / 144), (0, 1e-4)),
        ("mobilenet", (0, 2 / 288), (0, 1e-4)),
    ],
)
def test_initial_weights_have_the_mean_and_variance_of_their_name(name, convolution, classifier):
    model = nn.Sequential(nn.Conv2d(16, 32, 3, bias=False), nn.Linear(64, 500))
    initialise(model, torch.Generator().manual_seed(0), name)
    for layer, (mean, variance) in zip(model, (convolution, classifier), strict=True):
        assert layer.weight.mean().item() == pytest.approx(mean, abs=0.05 * variance**0.5)
        assert layer.weight.var().item() == pytest.approx(variance, rel=0.06)


def test_running_statistics_of_calibration_are_those_of_torch():
    space = get("nas_bench_201")
    model = space.supernet(classes=3, channels=4, cells=1).double()
    genes, images = np.full(6, 3), torch.randn(30, 3, 8, 8, dtype=torch.float64)
    reference = nn.BatchNorm2d(4).double()
    first = model.stem(images[:10])
    reference.running_mean = first.mean((0, 2, 3))
    reference.running_var = first.var((0, 2, 3), correction=0)
    with torch.no_grad(), model.calibrated(images, genes, 10):
        for part in images[10:].split(10):
            reference(model.stem(part))
        variance, mean = model.stem_norm.statistics
        torch.testing.assert_close(mean, reference.running_mean)
        # torch's running variance has n - 1 in place of n
        torch.testing.assert_close(variance, reference.running_var, rtol=2e-3, atol=0)


@pytest.mark.parametrize(
    ("name", "sizes", "message"),
    [
        ("nas_bench_201", {"in_channels": 0}, "in_channels: got 0; accepted: a whole number from 1"),
        ("darts", {"in_channels": 0}, "in_channels: got 0; accepted: a whole number from 1"),
        ("mobilenet", {"in_channels": 0}, "in_channels: got 0; accepted: a whole number from 1"),
        ("darts", {"channels": 1, "imagenet": True}, "channels: got 1; accepted with imagenet: 2 or more"),
        ("darts", {"cells": 1, "auxiliary": True}, "auxiliary: got True; accepted with 2 cells or more"),
        ("darts", {"classes": None, "auxiliary": True}, "auxiliary: got True; .* and a number of classes"),
    ],
)
def test_sizes_that_no_network_has_are_refused(name, sizes, message):
    space = get(name)
    with pytest.raises(ValueError, match=f"^{message}"):
        space.network(space.sample(1, np.random.default_rng(0))[0], **{"classes": 3} | sizes)
