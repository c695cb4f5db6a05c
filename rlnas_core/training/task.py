"""The interface between the training loop and a task: a model, its loss and its checkpoint data."""

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor, nn

from rlnas_core.training.optimiser import SGD

WholeStep = Callable[[np.ndarray, float], tuple[Tensor, Tensor | None]]
"""Takes a step on images (B,) at a learning rate; returns the loss and how many are classified right."""


class Task:
    """A model to train, and its loss on images given by their indices."""

    model: nn.Module
    kernels: str = "torch"
    """How the model runs; for the log."""
    generators: Sequence[np.random.Generator | None] = ()
    """The generators of the task; every process draws the same numbers."""
    evaluates: bool = False
    """Whether `after_epoch` takes long, so that a checkpoint is saved before it."""

    def __len__(self) -> int:
        """The number of training images."""
        raise NotImplementedError

    def loss(self, indices: np.ndarray, part: slice) -> tuple[Tensor, Tensor | None]:
        """Mean loss over a part of a batch (B,), and how many of its images are classified right, or None.

        Random numbers are drawn for the whole batch.
        """
        raise NotImplementedError

    def whole_step(self, optimiser: SGD) -> WholeStep | None:
        """A function that takes steps in place of `loss` and `optimiser`, with its momenta; None if none."""

    def expect(self, indices: np.ndarray) -> None:
        """Read the images (b,) of the next batch in advance."""

    def after_epoch(self, epoch: int) -> dict[str, float]:
        """Measure after an epoch, counted from 1; return numbers by name for its row of the record."""
        return {}

    def state(self) -> dict[str, Tensor]:
        """Tensors of a checkpoint, besides those of the model and the generators."""
        return {}

    def set_state(self, tensors: dict[str, Tensor]) -> None:
        """Resume from the tensors that `state` returned."""
