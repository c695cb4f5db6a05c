"""SGD in which weights without a gradient either stay or are updated with a zero gradient."""

import ctypes
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rlnas_core.kernels.build import library, pointers


class SGD:
    """SGD with momentum, Nesterov's or plain, and weight decay, equal to torch's up to rounding.

    `weight_decay` is one number, or one per weight. Weights without a gradient don't change; with
    `without_gradient` "zero" they still move by momentum and weight decay. On a CPU, float32 weights are
    updated by a single kernel, unless `kernels` is "torch".
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        momentum: float,
        weight_decay: float | Sequence[float],
        without_gradient: str,
        nesterov: bool = True,
        kernels: str = "auto",
    ) -> None:
        self.weights = weights
        self.momenta = [torch.zeros_like(weight) for weight in weights]
        self.momentum, self.nesterov = momentum, nesterov
        self.decay = np.broadcast_to(weight_decay, (len(weights),)).astype(np.float64)
        self._zero, self._own = without_gradient == "zero", kernels == "auto"

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update the weights by their gradients, then drop the gradients."""
        has = np.array([weight.grad is not None for weight in self.weights])
        moved = np.arange(len(has)) if self._zero else np.flatnonzero(has)
        if not moved.size:
            return
        m, d, r = self.momentum, self.decay[moved], learning_rate
        ahead = m if self.nesterov else 0.0
        # (change of the weight, new momentum) as a matrix times (weight, momentum, gradient)
        factors = np.empty((len(moved), 2, 3))
        factors[:, 0, 0], factors[:, 0, 1] = -r * (1 + ahead) * d, -r * m * (ahead or 1)
        factors[:, 1, 0], factors[:, 1, 1] = d, m
        factors[:, :, 2] = has[moved, None] * np.array([-r * (1 + ahead), 1.0])
        chosen = moved.tolist()
        weights, momenta = [self.weights[k] for k in chosen], [self.momenta[k] for k in chosen]
        # Weights without a gradient read their momentum in its place, times zero.
        gradients = [
            momentum if weight.grad is None else weight.grad
            for weight, momentum in zip(weights, momenta, strict=True)
        ]
        _combine(weights, momenta, gradients, factors, self._own)
        for weight in weights:
            weight.grad = None

    def state(self) -> dict[str, Tensor]:
        """The momenta: all that the next steps depend on besides the weights."""
        return {f"momentum.{k}": momentum for k, momentum in enumerate(self.momenta)}

    @torch.no_grad()
    def set_state(self, tensors: dict[str, Tensor]) -> None:
        """Resume from the tensors that `state` returned."""
        for k, momentum in enumerate(self.momenta):
            momentum.copy_(tensors[f"momentum.{k}"])


def _combine(
    weights: list[Tensor], momenta: list[Tensor], gradients: list[Tensor], factors: np.ndarray, own: bool
) -> None:
    # A gradient has the memory layout of its weight, unless torch's backward chose another.
    plain = own and all(
        w.device.type == "cpu" and w.dtype == torch.float32 and w.stride() == m.stride() == g.stride()
        for w, m, g in zip(weights, momenta, gradients, strict=True)
    )
    if plain and (kernels := library()) is not None:
        sizes = np.array([weight.numel() for weight in weights], dtype=np.int64)
        flat = factors.reshape(len(weights), 6).astype(np.float32)
        kernels.combine(
            ctypes.c_int64(len(weights)),
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
    old = torch._foreach_mul(gradients, mg)
    torch._foreach_mul_(momenta, mm)
    torch._foreach_add_(momenta, torch._foreach_mul(weights, mw))
    torch._foreach_add_(momenta, old)
    torch._foreach_add_(weights, change)
