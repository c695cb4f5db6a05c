"""The loop of all trainings, with a model whose steps a few lines compute too."""

import numpy as np
import pytest
import torch
from torch import nn

from rlnas_core.training.loop import Run, fit
from rlnas_core.training.settings import TrainingSettings
from rlnas_core.training.task import Task

EPOCHS, STEPS, SIZE = 3, 5, 4
IMAGES = np.random.default_rng(0).normal(size=(STEPS * SIZE, 6))


class Linear(Task):
    """A model whose gradient is the mean of its images; it remembers its batches."""

    def __init__(self):
        self.model = nn.Linear(6, 1, bias=False).double()
        self.batches = []
        nn.init.ones_(self.model.weight)

    def __len__(self):
        return len(IMAGES)

    def loss(self, indices, part):
        self.batches.append(indices[part])
        return self.model(torch.from_numpy(IMAGES[indices[part]])).mean(), None


def fitted(seed=0, **settings):
    settings = TrainingSettings(epochs=EPOCHS, batch_size=SIZE, device="cpu", **settings)
    task, order = Linear(), np.random.SeedSequence(seed)
    fit(task, settings, order, device=torch.device("cpu"), run=Run(lambda line: None))
    return task, settings


def test_each_epoch_has_every_image_once_in_an_order_of_its_own_and_of_the_seed():
    epochs = np.reshape([fitted(seed)[0].batches for seed in (0, 1)], (2 * EPOCHS, -1))
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), range(len(IMAGES)))
    batches = np.sort(epochs.reshape(-1, SIZE))
    assert len(np.unique(batches, axis=0)) > 0.9 * len(batches)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"momentum": 0.5},
        {"nesterov": False},
        {"weight_decay": 0.1},
        {"clip_norm": 0.5},
        {"clip_value": 0.2},
        {"rate_per": "epoch"},
    ],
)
def test_steps_are_those_of_sgd_with_the_momentum_decay_and_clipping_of_the_settings(change):
    task, settings = fitted(learning_rate=0.5, **change)
    weight, momentum = np.ones(6), np.zeros(6)
    for step, batch in enumerate(task.batches):
        gradient = IMAGES[batch].mean(axis=0)
        if settings.clip_norm:
            gradient *= min(1, settings.clip_norm / np.linalg.norm(gradient))
        if settings.clip_value:
            gradient = gradient.clip(-settings.clip_value, settings.clip_value)
        gradient += settings.weight_decay * weight
        momentum = settings.momentum * momentum + gradient
        move = gradient + settings.momentum * momentum if settings.nesterov else momentum
        weight -= settings.rate(step / STEPS) * move
    np.testing.assert_allclose(task.model.weight.detach().numpy()[0], weight, rtol=1e-5)
