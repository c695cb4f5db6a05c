"""A network with the weights with which its training begins."""

import numpy as np
import torch

from rlnas_core.model.loading import Model, ModelDescription
from rlnas_core.networks.layers import initialise
from rlnas_core.training.loop import drawn


def initial_model(description: ModelDescription, seed: int) -> Model:
    """Return the described network with the weights with which `retrain` begins for this seed."""
    model = Model(description)
    (weights_seed,) = np.random.SeedSequence(seed).spawn(1)  # the first random stream of `retrain`
    initialise(model.network, torch.Generator().manual_seed(drawn(weights_seed)))
    return model
