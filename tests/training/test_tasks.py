"""What a step of either training gives the network, and the loss of the network's scores."""

import dataclasses
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from rlnas_core.images.arrays import ImageArray
from rlnas_core.labels.sources import FixedLabels
from rlnas_core.spaces import get
from rlnas_core.training.standalone import LabelledImages, RetrainingSettings, _Network
from rlnas_core.training.supernet import SupernetSettings, SupernetTask

CPU, RNG = torch.device("cpu"), np.random.default_rng(0)
LABELS = RNG.integers(10, size=64)
COLOURS = ImageArray(RNG.integers(256, size=(64, 8, 8, 3), dtype=np.uint8), (0.5,) * 3, (0.25,) * 3, 0, False)
SCORES, OTHERS = torch.from_numpy(RNG.normal(size=(2, 64, 10)))


def supernet(data, scores, **settings):
    settings = SupernetSettings(channels=4, cells=1, device="cpu", kernels="torch", **settings)
    labels, seeds = FixedLabels(LABELS, 10), np.random.SeedSequence(0).spawn(3)
    task = SupernetTask(get("nas_bench_201"), data, labels, settings, seeds, CPU)
    task.model = Mock(return_value=scores)
    return task


def network(data, scores, **settings):
    images, settings = LabelledImages(data, LABELS, 10), RetrainingSettings(**settings)
    nothing = dataclasses.replace(images, images=dataclasses.replace(data, images=data.images[:0]))
    return _Network(Mock(return_value=scores), images, nothing, settings, torch.Generator(), CPU)


def loss(task):
    return task.loss(np.arange(64), slice(None))


@pytest.mark.parametrize("kind", [supernet, network])
def test_images_are_cropped_mirrored_and_lit_in_training(kind):
    def seen(lighting=0.0, **change):
        task = kind(dataclasses.replace(COLOURS, **change), SCORES, lighting=lighting)
        loss(task)
        return task.model.call_args.args[0]

    plain = COLOURS.plain(np.arange(64), CPU)
    torch.testing.assert_close(seen(), plain)
    cropped = (seen(pad=2) != plain).flatten(1).any(dim=1).double()
    assert cropped.mean() > 0.8  # of 25 crops one is the image itself
    mirrored = (seen(flip=True) - plain.flip(-1)).flatten(1).abs().amax(dim=1) < 1e-5
    assert 0.3 < mirrored.double().mean() < 0.7
    shifts = seen(lighting=0.1) - plain
    assert shifts.std(dim=(2, 3)).max() < 1e-5 < shifts.std(dim=0).min()


def cross_entropy(scores, smoothing):
    wanted = smoothing / 10 + (1 - smoothing) * np.eye(10)[LABELS]
    return -(wanted * (scores - scores.exp().sum(dim=1, keepdim=True).log()).numpy()).sum(axis=1).mean()


@pytest.mark.parametrize("smoothing", [0, 0.1, 0.3])
def test_loss_is_the_cross_entropy_with_smoothed_labels_plus_the_weighted_auxiliary_loss(smoothing):
    expected, auxiliary = (cross_entropy(scores, smoothing) for scores in (SCORES, OTHERS))
    for task in (kind(COLOURS, SCORES, label_smoothing=smoothing) for kind in (supernet, network)):
        found, hits = loss(task)
        assert found.item() == pytest.approx(expected, rel=1e-6)
        assert hits == (SCORES.argmax(dim=1).numpy() == LABELS).sum()
    task = network(COLOURS, (SCORES, OTHERS), label_smoothing=smoothing, auxiliary=0.4)
    assert loss(task)[0].item() == pytest.approx(expected + 0.4 * auxiliary, rel=1e-6)


def test_every_step_draws_a_path_for_each_cell_uniformly_among_the_valid_ones():
    space, task = get("nas_bench_201"), supernet(COLOURS, SCORES[:2])
    for _ in range(500):
        task.loss(np.arange(2), slice(None))
    paths = np.concatenate([args[1] for args, _ in task.model.call_args_list])
    assert len(paths) == 3 * 500
    assert len(np.unique(paths, axis=0)) > 0.9 * len(paths)
    cells = space.enumerate()
    valid = cells[(space.repair(cells, RNG) == cells).all(axis=1)]
    shares, expected = (np.mean(genes[:, :, None] == np.arange(5), axis=0) for genes in (paths, valid))
    np.testing.assert_allclose(shares, expected, atol=0.04)


def test_drop_path_grows_to_its_setting():
    task = network(COLOURS, SCORES, drop=0.2, epochs=4)
    for epoch in range(1, 5):
        task.after_epoch(epoch)
    chances = [args[0] for args, _ in task.model.drop_paths.call_args_list]
    assert chances == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
