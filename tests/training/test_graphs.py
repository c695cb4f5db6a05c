"""The supernet with its path as data equals the one with its path as control flow."""

from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional

from rlnas_core.networks.nas_bench_201 import Supernet
from rlnas_core.spaces import get
from rlnas_core.training.graphs import StaticStep, StaticSupernet
from rlnas_core.training.optimiser import SGD
from rlnas_core.training.supernet import SupernetSettings, build

SPACE = get("nas_bench_201")


def supernet(**settings):
    settings = SupernetSettings(**{"channels": 4, "cells": 2, **settings})
    return build(SPACE, 10, 3, settings, 0).double().to(memory_format=torch.channels_last)


@pytest.mark.parametrize("nesterov", [True, False])
def test_steps_with_the_path_as_data_equal_those_with_the_path_as_control_flow(nesterov):
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    eager, static = supernet(), supernet()
    optimisers = [SGD(list(m.parameters()), 0.9, 5e-4, "zero", nesterov) for m in (eager, static)]
    step = StaticStep(StaticSupernet(static), optimisers[1], functional.cross_entropy, nullcontext)
    for paths in (6, 6, 1, 6, 6):
        path = SPACE.sample(paths, rng)
        path[0, :2] = 0  # dead operations too
        images = torch.randn(5, 3, 8, 8, dtype=torch.float64, generator=generator)
        target = torch.randint(10, (5,), generator=generator)
        rate = float(rng.uniform(0.01, 0.1))
        scores = eager(images, path)
        loss = functional.cross_entropy(scores, target)
        loss.backward()
        optimisers[0].step(rate)
        loss_of_static, scores_of_static = step(images, target, path, rate)
        torch.testing.assert_close(scores_of_static, scores.detach(), rtol=1e-9, atol=1e-9)
        assert loss_of_static.item() == pytest.approx(loss.item(), abs=1e-10)
    for one, other in zip(eager.state_dict().items(), static.state_dict().items(), strict=True):
        assert one[0] == other[0]
        torch.testing.assert_close(one[1], other[1], rtol=1e-9, atol=1e-11)
    states = [optimiser.state() for optimiser in optimisers]
    for name in states[0]:
        if name.startswith("momentum"):
            torch.testing.assert_close(states[0][name], states[1][name], rtol=1e-9, atol=1e-11)


def test_operations_that_were_not_sampled_get_gradients_of_exactly_zero():
    model = supernet()
    static = StaticSupernet(model)
    path = SPACE.sample(6, np.random.default_rng(1))
    chosen = torch.from_numpy(static.encode(path))
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    gradients = torch.autograd.grad(static(images, chosen).square().sum(), static.leaves)
    sampled = {(cell, edge, gene) for cell, row in enumerate(path) for edge, gene in enumerate(row)}
    for leaf, weights, gradient in zip(static.leaves, static.parameters, gradients, strict=True):
        assert leaf.shape == gradient.shape
        if len(weights) == 1:
            continue
        number = {id(weight): part for weight, part in zip(weights, gradient, strict=True)}
        for cell, edge, operation, weight in model.operation_weights():
            if id(weight) in number and (cell, edge, operation) not in sampled:
                assert not number[id(weight)].any()
    assert any(gradient.any() for gradient in gradients)


def test_state_is_restored_into_the_shared_weights_and_momenta():
    model = supernet()
    optimiser = SGD(list(model.parameters()), 0.9, 5e-4, "zero")
    step = StaticStep(StaticSupernet(model), optimiser, functional.cross_entropy, nullcontext)
    images, target = torch.randn(4, 3, 8, 8, dtype=torch.float64), torch.arange(4)
    rng = np.random.default_rng(2)
    take = partial(step, images, target, SPACE.sample(6, rng), 0.1)
    take()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = {name: tensor.clone() for name, tensor in optimiser.state().items()}
    first = take()[0].clone(), take()[0].clone()
    model.load_state_dict(weights)
    optimiser.set_state(state)
    assert (take()[0], take()[0]) == first


def test_affine_cells_are_refused():
    with pytest.raises(ValueError, match="affine"):
        StaticSupernet(Supernet(classes=10, channels=4, cells=1, affine=True))
