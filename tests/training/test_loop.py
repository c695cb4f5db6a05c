"""What a training does with its settings: the order of images, learning rates, clipping, losses, paths."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from rlnas_core.images.arrays import ImageArray
from rlnas_core.labels.sources import FixedLabels
from rlnas_core.spaces import get
from rlnas_core.training.loop import Run, fit
from rlnas_core.training.optimiser import SGD
from rlnas_core.training.settings import TrainingSettings
from rlnas_core.training.standalone import LabelledImages, RetrainingSettings, _Network
from rlnas_core.training.supernet import SupernetSettings, SupernetTask
from rlnas_core.training.task import Task

CPU = torch.device("cpu")


class Line(Task):
    """A weight for each image; the loss is the sum of the weights of a batch, times a slope."""

    def __init__(self, images, slope=1.0):
        self.model, self.slope, self.seen = nn.Linear(images, 1, bias=False), slope, []
        nn.init.zeros_(self.model.weight)

    def __len__(self):
        return self.model.in_features

    def loss(self, indices, part):
        self.seen.append(indices)
        return self.slope * self.model.weight[0, indices].sum(), None


def fitted(task, seed=0, **settings):
    settings = TrainingSettings(device="cpu", epochs=2, **settings)
    fit(task, settings, np.random.SeedSequence(seed), device=CPU, run=Run(lambda line: None))
    return task


def test_images_come_in_a_random_order_that_differs_by_epoch_and_seed():
    orders = [np.arange(64)]
    for seed in (0, 1):
        epochs = np.reshape(fitted(Line(64), seed, batch_size=16).seen, (2, 64))
        assert (np.sort(epochs) == orders[0]).all()
        orders += list(epochs)
    for one, other in itertools.combinations(orders, 2):
        assert (one != other).any()


@pytest.mark.parametrize("per", ["epoch", "step"])
def test_the_learning_rate_falls_by_epoch_or_by_step(per, monkeypatch):
    rates = []
    monkeypatch.setattr(SGD, "step", lambda sgd, rate: rates.append(rate))
    fitted(Line(64), batch_size=16, rate_per=per, learning_rate=0.5, final_learning_rate=0.1)
    times = np.arange(8) / 4 if per == "step" else np.repeat([0, 1], 4)
    np.testing.assert_allclose(rates, 0.3 + 0.2 * np.cos(np.pi * times / 2))


@pytest.mark.parametrize("momentum", [0.9, 0.5])
@pytest.mark.parametrize(
    ("clipping", "gradient"), [({}, 3), ({"clip_norm": 0.5}, 0.5 / 4), ({"clip_value": 0.25}, 0.25)]
)
def test_a_weight_moves_by_the_clipped_gradient_and_the_momentum(momentum, clipping, gradient):
    constant = {"schedule": "steps", "learning_rate": 0.1, "weight_decay": 0.0, "nesterov": False}
    task = fitted(Line(16, slope=3.0), batch_size=16, momentum=momentum, **constant, **clipping)
    expected = torch.full((1, 16), -0.1 * gradient * (2 + momentum))  # of two steps
    torch.testing.assert_close(task.model.weight.detach(), expected)


@pytest.mark.parametrize("nesterov", [True, False])
def test_a_weight_decays_and_moves_ahead_as_the_settings_say(nesterov):
    rates = {"schedule": "steps", "learning_rate": 0.1}
    task = fitted(Line(16, slope=3.0), batch_size=16, weight_decay=0.2, nesterov=nesterov, **rates)
    weight = momentum = 0.0
    for _ in range(2):
        gradient = 3 + 0.2 * weight
        momentum = 0.9 * momentum + gradient
        weight -= 0.1 * (gradient + 0.9 * momentum if nesterov else momentum)
    torch.testing.assert_close(task.model.weight.detach(), torch.full((1, 16), weight))


def photographs(flip, pad):
    pixels = np.random.default_rng(0).integers(256, size=(40, 8, 8, 3), dtype=np.uint8)
    return ImageArray(pixels, mean=(0.5,) * 3, std=(0.25,) * 3, pad=pad, flip=flip)


def supernet_task(seed=0, data=None, **settings):
    data, labels = data or photographs(True, 2), FixedLabels(np.arange(40) % 10, 10)
    settings = SupernetSettings(channels=8, cells=1, device="cpu", **settings)
    seeds = np.random.SeedSequence(seed).spawn(3)
    return SupernetTask(get("nas_bench_201"), data, labels, settings, seeds, CPU)


class Given(nn.Module):
    """A network of given scores, which keeps what it sees and the probabilities of drop path."""

    def __init__(self, *scores):
        super().__init__()
        self.scores, self.chances = scores, []

    def forward(self, images):
        self.images = images
        return self.scores if len(self.scores) > 1 else self.scores[0]

    def drop_paths(self, chance):
        self.chances.append(chance)


def network_task(model, data=None, **settings):
    data = data or photographs(True, 2)
    train = LabelledImages(data, np.arange(40) % 10, 10)
    settings = RetrainingSettings(device="cpu", epochs=2, **settings)
    return _Network(model, train, train, settings, torch.Generator().manual_seed(0), CPU)


def smoothed(scores, target, smoothing):
    """Cross-entropy with the target (1 - smoothing) at the class and smoothing / classes at each."""
    logs = scores.double().log_softmax(1)
    at_class = logs[torch.arange(len(target)), target]
    return -((1 - smoothing) * at_class + smoothing * logs.mean(1)).mean()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_losses_are_smoothed_and_auxiliary_scores_weigh_what_the_setting_says(smoothing):
    scores, others = torch.randn(2, 40, 10, generator=torch.Generator().manual_seed(0))
    target = torch.arange(40) % 10
    expected = smoothed(scores, target, smoothing)
    found = supernet_task(label_smoothing=smoothing)._cross_entropy(scores, target)
    torch.testing.assert_close(found.double(), expected)
    task = network_task(Given(scores, others), label_smoothing=smoothing, auxiliary=0.4)
    loss, hits = task.loss(np.arange(40), slice(None))
    torch.testing.assert_close(loss.double(), expected + 0.4 * smoothed(others, target, smoothing))
    assert hits == (scores.argmax(1) == target).sum()


def test_drop_path_grows_from_0_by_epoch(monkeypatch):
    model = Given(torch.zeros(1, 10))
    monkeypatch.setattr("rlnas_core.training.standalone.accuracies", lambda *_: {"top1": 0.0})
    task = network_task(model, drop=0.2)
    for epoch in (1, 2):
        task.after_epoch(epoch)
    assert model.chances == pytest.approx([0, 0.1, 0.2])


def test_lighting_shifts_each_image_by_a_colour():
    plain = photographs(False, 0)
    everything = np.arange(40)
    for lighting in (0.0, 0.1):
        supernet = supernet_task(data=plain, lighting=lighting)._draw(everything, slice(None))[0]
        model = Given(torch.zeros(40, 10))
        network_task(model, plain, lighting=lighting).loss(everything, slice(None))
        for images in (supernet, model.images):
            shifts = images - plain.plain(everything, CPU)
            assert shifts.flatten(2).std(2).max() < 1e-5
            assert ((shifts.abs().amax((1, 2, 3)) > 1e-3) == bool(lighting)).all()


def test_supernets_and_networks_are_trained_on_random_crops_and_mirror_images():
    model, everything = Given(torch.zeros(40, 10)), np.arange(40)

    def seen(data):
        network_task(model, data).loss(everything, slice(None))
        supernet = supernet_task(data=data)
        return [supernet._draw(everything, slice(None))[0] for _ in range(2)] + [model.images]

    plain = photographs(False, 0).plain(everything, CPU)
    first, second, of_network = seen(photographs(False, 2))
    for one, other in ((first, plain), (second, plain), (first, second), (of_network, plain)):
        assert (one != other).flatten(1).any(1).float().mean() > 0.8
    for images in seen(photographs(True, 0)):
        mirrored = (images - plain.flip(-1)).flatten(1).abs().amax(1) < 1e-5
        assert 0.2 < mirrored.float().mean() < 0.8


def test_paths_are_uniform_and_differ_by_step_and_seed():
    tasks = [supernet_task(seed) for seed in (0, 1)]
    drawn = [[task._draw(np.arange(2), slice(None))[2] for _ in range(200)] for task in tasks]
    assert len(np.unique(np.concatenate(drawn).reshape(400, -1), axis=0)) > 390
    operations = np.bincount(np.ravel(drawn[0]), minlength=5) / np.size(drawn[0])
    none = (0 + 2 * (1 / 6) + 3 * (6 / 31)) / 6  # edges into a node are never all none
    np.testing.assert_allclose(operations, [none, *[(1 - none) / 4] * 4], atol=0.02)
