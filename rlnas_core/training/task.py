"""What a training asks of a task: a model, its loss, and what it resumes from."""

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor, nn

from rlnas_core.training.optimiser import SGD

WholeStep = Callable[[np.ndarray, float], tuple[Tensor, Tensor | None]]
"""Takes a step on images (B,) at a learning rate; the loss, and how many are right."""


class Task:
    """What is trained: a model, and its loss on images by their indices."""

    model: nn.Module
    kernels: str = "torch"
    """What runs the model."""
    generators: Sequence[np.random.Generator | None] = ()
    """What the task draws from; drawn alike in every process."""
    evaluates: bool = False
    """Whether `after_epoch` takes long."""

    def __len__(self) -> int:
        """The number of training images."""
        raise NotImplementedError

    def loss(self, indices: np.ndarray, part: slice) -> tuple[Tensor, Tensor | None]:
        """Mean loss over a part of a batch of images (B,), and how many of it are right, where that counts.

        What is drawn is drawn for the whole batch.
        """
        raise NotImplementedError

    def whole_step(self, optimiser: SGD) -> WholeStep | None:
        """What takes whole steps in place of `loss` and the optimiser, whose momenta it moves, if any."""

    def expect(self, indices: np.ndarray) -> None:
        """Read images (b,) of the next batch ahead."""

    def after_epoch(self, epoch: int) -> dict[str, float]:
        """Measure what is measured after each epoch, from 1; numbers by name for its row of the record."""
        return {}

    def state(self) -> dict[str, Tensor]:
        """Tensors of a checkpoint, besides those of the model and the generators."""
        return {}

    def set_state(self, tensors: dict[str, Tensor]) -> None:
        """Resume from the tensors that `state` gave."""
