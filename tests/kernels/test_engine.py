"""The CPU kernels and the lazy optimiser against torch in float64."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name that torch code gives it
from torch.overrides import TorchFunctionMode

from rlnas_core.kernels import engine
from rlnas_core.kernels.build import library
from rlnas_core.kernels.tape import Tape
from rlnas_core.networks.mobilenet import Supernet as MobileNetSupernet
from rlnas_core.networks.nas_bench_201 import Supernet
from rlnas_core.spaces import get
from rlnas_core.training import optimiser
from rlnas_core.training.optimiser import SGD

SPACE = get("nas_bench_201")
needs_compiler = pytest.mark.skipif(library() is None, reason="there is no C++ compiler")


def twins(channels=8, cells=1, in_channels=3, affine=False, by_position=False):
    """The same supernet on the kernels in float32 and on torch in float64."""
    sizes = {"classes": 5, "channels": channels, "cells": cells, "in_channels": in_channels}
    ours, reference = (Supernet(affine=affine, by_position=by_position, **sizes) for _ in range(2))
    generator = torch.Generator().manual_seed(0)
    for own, other in zip(ours.parameters(), reference.parameters(), strict=True):
        own.data.copy_(torch.randn(own.shape, generator=generator) * own[0].numel() ** -0.5)
        other.data.copy_(own.data)
    return engine.accelerate(ours), reference.double(), ours


class Rectified(TorchFunctionMode):
    """How near to 0 the inputs of ReLUs are, those that are 0 left out."""

    nearest = np.inf

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is F.relu:
            inputs = args[0].detach().abs()
            self.nearest = min(self.nearest, inputs.where(inputs > 0, np.inf).min().item())
        return function(*args, **(kwargs or {}))


def off_zero(model, path, batches):
    """The batch with which no ReLU is about to switch, as far as possible."""

    def nearest(x):
        with torch.no_grad(), Rectified() as rectified:
            model(x.double(), path)
        return rectified.nearest

    return max(batches, key=nearest)


@needs_compiler
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    genes=st.lists(st.integers(0, 4), min_size=18, max_size=18),
    channels=st.sampled_from([8, 16, 24]),
    images=st.integers(6, 21),
    side=st.sampled_from([4, 8, 12]),
    in_channels=st.sampled_from([1, 3]),
    affine=st.booleans(),
    by_position=st.booleans(),
)
def test_scores_and_gradients_equal_those_of_torch(
    genes, channels, images, side, in_channels, affine, by_position
):
    ours, reference, network = twins(channels, 1, in_channels, affine, by_position)
    path = np.array(genes).reshape(3, 6)
    draws = torch.Generator().manual_seed(1)
    batches = [torch.randn(images, in_channels, side, side, generator=draws) for _ in range(10)]
    x = off_zero(reference, path, batches)
    target = torch.arange(images) % 5
    if by_position:
        row = torch.arange(side // 4)
        target = (target[:, None, None] + row[:, None] + row) % 5
    for model, images_of_model in ((ours, x), (reference, x.double())):
        F.cross_entropy(model(images_of_model, path), target).backward()
    scores = ours(x, path)
    torch.testing.assert_close(scores.double(), reference(x.double(), path), rtol=1e-3, atol=1e-3)
    with torch.no_grad():  # values that no gradient needs share memory
        assert torch.equal(ours(x, path), scores)
    if not SPACE.live_paths(path).any(axis=1).all():
        return  # after a cell without a path constants are normalised, and gradients are multiplied rounding
    for (name, own), other in zip(network.named_parameters(), reference.parameters(), strict=True):
        if own.grad is None:
            assert other.grad is None or not other.grad.any(), name
        else:
            # Among many ReLUs some may switch, which moves a gradient by more than rounding does.
            assert (own.grad - other.grad).norm() <= 0.02 * other.grad.norm() + 1e-4, name


class Convolutions(nn.Module):
    """Convolutions of two layers, the second a sum; linear, so that gradients differ by rounding alone."""

    def __init__(self, widths, kernel=3, stride=1):
        super().__init__()
        torch.manual_seed(0)
        settings = {"stride": stride, "padding": kernel // 2, "bias": False}
        self.first = nn.Conv2d(widths[0], widths[1], kernel, **settings)
        self.second, self.third = (nn.Conv2d(widths[1], widths[2], kernel, **settings) for _ in range(2))
        self.head = nn.Identity()

    def last_features(self, x, path=None, call=None):
        hidden = self.first(x)
        return self.second(hidden) + self.third(hidden)

    def accelerated(self):
        model = copy.deepcopy(self)
        return engine.Engine(model, library()), model


@needs_compiler
@pytest.mark.parametrize("side", [1, 3, 4, 6, 8, 13])  # 4 pixels, and 6 and more, by tiles
@pytest.mark.parametrize("widths", [(3, 8, 24), (8, 24, 8), (16, 64, 32)])
@pytest.mark.parametrize("images", [5, 40])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 1)])
def test_convolutions_equal_those_of_torch(side, widths, images, kernel, stride):
    reference = Convolutions(widths, kernel, stride)
    run, model = reference.accelerated()
    x = torch.randn(images, widths[0], side, side)
    scores = run(x, np.zeros(1))
    expected = reference.double().last_features(x.double())
    wanted = torch.randn(scores.shape)
    scores.backward(wanted)
    expected.backward(wanted.double())
    gradients = [[weight.grad for weight in network.parameters()] for network in (model, reference)]
    for own, other in [(scores, expected), *zip(*gradients, strict=True)]:
        assert (own - other).abs().max() <= 3e-5 * other.std()


@pytest.fixture
def restored_threads():
    """Give torch its number of threads back, also after a failure."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@needs_compiler
@pytest.mark.usefixtures("restored_threads")
def test_threads_do_not_change_a_bit_of_convolutions():
    network = Convolutions((8, 24, 8))
    x = torch.randn(40, 8, 13, 13)
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        run, model = network.accelerated()
        scores = run(x, np.zeros(1))
        scores.square().sum().backward()
        results.append([scores, *(weight.grad for weight in model.parameters())])
    for others in results[1:]:
        assert all(torch.equal(*pair) for pair in zip(results[0], others, strict=True))


@needs_compiler
@pytest.mark.parametrize("batch", [None, 9])
def test_calibrated_scores_equal_those_of_torch(batch):
    ours, reference, _ = twins(16, 2)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 3, 8, 8, generator=generator)
    genes = SPACE.sample(1, np.random.default_rng(0))[0]
    scores = []
    for model, images in ((ours, x), (reference, x.double())):
        with torch.no_grad(), model.calibrated(images[:24], genes, batch):
            scores.append(torch.cat([model(part, genes) for part in images[24:].split(7)]).double())
    torch.testing.assert_close(*scores, rtol=1e-4, atol=1e-4)


@needs_compiler
@pytest.mark.usefixtures("restored_threads")
def test_threads_do_not_change_a_bit():
    x, path = torch.randn(16, 3, 8, 8), SPACE.sample(3, np.random.default_rng(3))
    gradients = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        run, _, model = twins()
        run(x, path).square().sum().backward()
        # The classifier is torch's, which sums in another order with more threads.
        gradients.append([weight.grad for _, _, _, weight in model.operation_weights()])
    pairs = [pair for pair in zip(*gradients, strict=True) if pair[0] is not None]
    assert pairs
    assert all(torch.equal(*pair) for pair in pairs)


@needs_compiler
def test_number_that_is_none_reaches_the_scores():
    model, *_ = twins()
    x = torch.randn(4, 3, 8, 8)
    x[2, 0, 3, 3] = float("nan")
    assert model(x, np.full((3, 6), 3)).isnan().all()


@needs_compiler
def test_backward_after_another_forward_is_refused():
    model, *_ = twins()
    x, path = torch.randn(4, 3, 8, 8), np.full((3, 6), 3)
    scores = model(x, path)
    model(x, path)
    with pytest.raises(RuntimeError, match="call backward once, before it"):
        scores.sum().backward()


@needs_compiler
def test_what_the_kernels_would_compute_wrongly_is_refused():
    model, *_ = twins()
    x, path = torch.randn(4, 3, 8, 8), np.full((3, 6), 3)
    loss = model(x, path).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="call backward once"):
        loss.backward()
    refused = pytest.raises(RuntimeError, match=r"no gradient by fixed statistics: use torch.no_grad\(\)")
    with torch.no_grad(), model.calibrated(x, path), torch.enable_grad(), refused:
        model(x, path)
    refused = pytest.raises(RuntimeError, match="got another path; statistics are those of one path")
    with torch.no_grad(), model.calibrated(x, path), refused:
        model(x, np.full((3, 6), 2))
    for images, message in (
        (torch.randn(4, 3, 8, 12), "got 8x12 pixels; accepted: square images"),
        (torch.randn(4, 1, 8, 8), "got 1 channels; the network accepts 3"),
        (torch.randn(1, 3, 4, 4), "got one image of one pixel"),
    ):
        with pytest.raises(ValueError, match=message):
            model(images, path)


@needs_compiler
def test_weights_that_were_replaced_or_moved_are_not_those_of_the_engine():
    x, path = torch.randn(2, 3, 8, 8), np.full((3, 6), 3)
    for change in (
        lambda model: model.to(memory_format=torch.channels_last),
        lambda model: model.load_state_dict(model.state_dict(), assign=True),
    ):
        run, _, model = twins()
        expected = run(x, path)
        change(model)
        with pytest.raises(RuntimeError, match="after accelerate: call it again"):
            run(x, path)
        torch.testing.assert_close(engine.accelerate(model)(x, path), expected)


@needs_compiler
def test_a_single_image_of_one_pixel_is_scored_by_fixed_statistics():
    run, reference, _ = twins()
    x, path = torch.randn(5, 3, 4, 4), np.full((3, 6), 3)
    with torch.no_grad(), run.calibrated(x, path), reference.calibrated(x.double(), path):
        torch.testing.assert_close(run(x[:1], path), reference(x[:1].double(), path).float())


def test_what_the_kernels_lack_leaves_the_network_to_torch(monkeypatch):
    assert engine.accelerate(Supernet(classes=5, channels=4, cells=1)) is None
    assert engine.accelerate(Supernet(classes=5, channels=8, cells=1).double()) is None
    assert engine.accelerate(MobileNetSupernet(classes=5)) is None
    monkeypatch.setattr(engine, "library", lambda: None)
    model = Supernet(classes=5, channels=8, cells=1)
    assert engine.accelerate(model) is None
    assert model(torch.randn(2, 3, 8, 8), np.full(6, 3)).shape == (2, 5)


@pytest.mark.parametrize("affine", [False, True])
def test_copied_parts_equal_recorded_ones(affine):
    network, memory = Supernet(classes=5, channels=8, cells=2, affine=affine), {}
    paths = SPACE.sample(40 * 6, np.random.default_rng(0)).reshape(40, 6, 6)
    paths[0] = 3
    paths[-1, 4] = 0  # a cell without a path
    sizes = []
    for path in [*paths, *paths]:
        plain, copying = Tape(7, 8, 3), Tape(7, 8, 3, memory)
        outputs = (
            network.last_features(plain.input, path),
            network.last_features(copying.input, path, copying.call),
        )
        sizes.append(len(memory))
        for keep_values in (True, False):
            np.testing.assert_array_equal(*(tape.instructions(keep_values) for tape in (plain, copying)))
        assert all(one is other for one, other in zip(plain.weights, copying.weights, strict=True))
        for name in ("reach", "size", "largest", "statistics", "normalised", "blank"):
            assert getattr(plain, name) == getattr(copying, name)
        assert len({(y.offset, y.side, y.channels, y.constant) for y in outputs}) == 1
    assert sizes[-1] == sizes[len(paths) - 1]  # nothing was recorded the second time


def test_operations_that_cannot_be_recorded_are_refused():
    x = Tape(2, 8, 3).input
    with pytest.raises(NotImplementedError, match="sigmoid"):
        torch.sigmoid(x)
    y = F.relu(x)
    total = y + F.relu(x)
    with pytest.raises(NotImplementedError, match="read again"):
        F.relu(y)
    F.relu(total)
    with pytest.raises(NotImplementedError, match="unread"):
        _ = total + F.relu(x)


def test_sums_of_other_shapes_are_refused():
    x = Tape(2, 8, 3).input
    y = F.relu(x)
    with pytest.raises(
        ValueError, match=r"got the shapes \(2, 3, 8, 8\) and \(2, 3, 4, 4\); accepted: equal"
    ):
        _ = y + F.avg_pool2d(x, 2)
    with pytest.raises(ValueError, match=r"got the shapes \(2, 3, 8, 8\) and \(2, 5, 8, 8\)"):
        _ = y + torch.nn.Conv2d(3, 5, 1, bias=False)(x)


@needs_compiler
@pytest.mark.parametrize("side", [5, 6, 7, 10])  # torch broadcasts at 6 pixels
def test_sides_that_can_not_be_halved_twice_are_refused(side):
    ours, reference, _ = twins()
    images = torch.randn(2, 3, side, side)
    for run, x in ((ours, images), (reference, images.double())):
        with pytest.raises(ValueError, match=r"NAS-Bench-201 .* multiples of 4"):
            run(x, np.full((3, 6), 3))


@pytest.mark.parametrize("gradient", ["zero", "absent"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_steps_equal_those_of_torch_where_gradients_depend_on_the_weights(gradient, dtype):
    rng = np.random.default_rng(0)
    start = [torch.randn(3, 4, dtype=dtype) for _ in range(5)]
    ours, theirs = ([weight.clone().requires_grad_() for weight in start] for _ in range(2))
    optimiser = SGD(ours, 0.9, 5e-3, gradient)
    reference = torch.optim.SGD(theirs, 0.1, 0.9, weight_decay=5e-3, nesterov=True)
    for step in range(30):
        rate = 0.1 * (1 - step / 40)
        for own, other, chosen in zip(ours, theirs, rng.random(5) < 0.4, strict=True):
            other.grad = torch.zeros_like(other) if gradient == "zero" else None
            if chosen:
                own.grad, other.grad = own.detach().sin(), other.detach().sin()
        optimiser.step(rate)
        reference.param_groups[0]["lr"] = rate
        reference.step()
        tolerance = 1e-12 if dtype == torch.float64 else 1e-5
        for own, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(own, other, rtol=tolerance, atol=tolerance)


def test_weights_are_updated_by_the_kernel_unless_torch_is_asked_for(monkeypatch):
    asked = []
    monkeypatch.setattr(optimiser, "library", lambda: asked.append(1))
    for kernels, expected in (("torch", []), ("auto", [1])):
        weight = torch.ones(3, requires_grad=True)
        weight.grad = torch.ones(3)
        SGD([weight], 0.9, 0.0, "zero", kernels=kernels).step(0.1)
        assert asked == expected
        assert (weight < 1).all()
