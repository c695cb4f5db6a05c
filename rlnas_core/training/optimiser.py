"""SGD that leaves weights alone until they are needed."""

import ctypes
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rlnas_core.kernels.engine import library, pointers


class LazySGD:
    """SGD with momentum, Nesterov's or plain, and weight decay, equal to torch's up to rounding.

    `weight_decay` is one for all or one a weight. A step moves the weights that have a gradient. Those
    without one are left alone for good, or, where `without_gradient` is "zero", move as if it were zero; as
    such moves are linear in weight and momentum, they are collected as a 2 x 2 matrix a weight tensor and
    made when that next has a gradient, or by `settle`.
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        momentum: float,
        weight_decay: float | Sequence[float],
        without_gradient: str,
        nesterov: bool = True,
    ) -> None:
        self.weights = weights
        self.momenta = [torch.zeros_like(weight) for weight in weights]
        self._momentum, self._zero, self._nesterov = momentum, without_gradient == "zero", nesterov
        self._decay = np.broadcast_to(weight_decay, (len(weights),)).astype(np.float64)
        self._pending = np.tile(np.eye(2), (len(weights), 1, 1))
        self._late = np.zeros(len(weights), dtype=bool)

    def step(self, learning_rate: float) -> None:
        """Move the weights by their gradients, which are then dropped."""
        m, d, r = self._momentum, self._decay, learning_rate
        # (weight, momentum) after a step: a matrix times what they were, plus a column times the gradient.
        ahead = m if self._nesterov else 0.0
        matrix = np.empty((len(self.weights), 2, 2))
        matrix[:, 0, 0], matrix[:, 0, 1] = 1 - r * (1 + ahead) * d, -r * m * (ahead or 1)
        matrix[:, 1, 0], matrix[:, 1, 1] = d, m
        gradient = np.array([-r * (1 + ahead), 1.0])
        moved = np.array([k for k, weight in enumerate(self.weights) if weight.grad is not None], dtype=int)
        reached = matrix @ self._pending
        columns = np.broadcast_to(gradient, (len(moved), 2))
        self._combine(moved, [self.weights[k].grad for k in moved], reached[moved], columns)
        for k in moved:
            self.weights[k].grad = None
        if self._zero:
            self._pending, self._late[:] = reached, True
            self._pending[moved], self._late[moved] = np.eye(2), False

    def state(self) -> dict[str, Tensor]:
        """Everything that the next steps depend on besides the weights."""
        momenta = {f"momentum.{k}": momentum for k, momentum in enumerate(self.momenta)}
        return momenta | {"pending": torch.from_numpy(self._pending), "late": torch.from_numpy(self._late)}

    @torch.no_grad()
    def set_state(self, tensors: dict[str, Tensor]) -> None:
        """Return to a state that `state` gave."""
        for k, momentum in enumerate(self.momenta):
            momentum.copy_(tensors[f"momentum.{k}"])
        self._pending, self._late = tensors["pending"].numpy().copy(), tensors["late"].numpy().copy()

    def settle(self) -> None:
        """Make the moves that were put off."""
        late = np.flatnonzero(self._late)
        self._combine(late, [self.momenta[k] for k in late], self._pending[late], np.zeros((len(late), 2)))
        self._pending[late] = np.eye(2)
        self._late[:] = False

    @torch.no_grad()
    def _combine(
        self, chosen: np.ndarray, gradients: list[Tensor], matrices: np.ndarray, columns: np.ndarray
    ) -> None:
        if not len(chosen):
            return
        weights, momenta = [self.weights[k] for k in chosen], [self.momenta[k] for k in chosen]
        factors = np.concatenate([matrices, columns[:, :, None]], axis=2)
        factors[:, 0, 0] -= 1  # the change of a weight, since a factor close to one would lose the decay
        # A gradient has its weight's layout, unless torch's own backward chose another.
        plain = all(
            w.device.type == "cpu" and w.dtype == torch.float32 and w.stride() == g.stride()
            for w, g in zip(weights, gradients, strict=True)
        )
        if plain and (kernels := library()) is not None:
            sizes = np.array([weight.numel() for weight in weights], dtype=np.int64)
            flat = factors.reshape(len(chosen), 6).astype(np.float32)
            kernels.combine(
                ctypes.c_int64(len(chosen)),
                pointers(weights),
                pointers(momenta),
                pointers(gradients),
                ctypes.c_void_p(sizes.ctypes.data),
                ctypes.c_void_p(flat.ctypes.data),
            )
            return
        (ww, wm, wg), (mw, mm, mg) = factors.transpose(1, 2, 0).tolist()
        change = torch._foreach_mul(weights, ww)
        torch._foreach_add_(change, torch._foreach_mul(momenta, wm))
        torch._foreach_add_(change, torch._foreach_mul(gradients, wg))
        torch._foreach_mul_(momenta, mm)
        torch._foreach_add_(momenta, torch._foreach_mul(weights, mw))
        torch._foreach_add_(momenta, torch._foreach_mul(gradients, mg))
        torch._foreach_add_(weights, change)
