"""Progress of a training: its position, checkpoints, sums of the current epoch and record."""

import math
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlnas_core.machine import processes
from rlnas_core.training.checkpoint import Checkpoint, State, generator_states, set_generators
from rlnas_core.training.optimiser import SGD
from rlnas_core.training.task import Task


class TrainingDivergedError(RuntimeError):
    """The loss became NaN or infinite."""


class Progress:
    """Progress of a training: its position, sums of the current epoch and record of earlier epochs."""

    def __init__(
        self,
        task: Task,
        optimiser: SGD,
        order_rng: np.random.Generator,
        checkpoint: Checkpoint,
        device: torch.device,
    ) -> None:
        self.task, self.optimiser, self.checkpoint, self.device = task, optimiser, checkpoint, device
        self.epoch, self.step, self.rows = 1, 0, list[dict[str, Any]]()
        self.generators = [*task.generators, order_rng]
        # Sums over an epoch of loss, hits (NaN where they aren't counted) and finite losses
        number = torch.float32 if device.type == "mps" else torch.float64
        self.sums = torch.zeros(3, dtype=number, device=device)
        spent = self._resume()
        self.started = time.monotonic() - spent
        self._order_state = generator_states([order_rng])  # at the start of the epoch

    def _resume(self) -> float:
        """Return to the last checkpoint, if any; return the seconds of training until then."""
        restored: State | None = processes.first_then_others(self.checkpoint.restore)
        if restored is None:
            return 0.0
        tensors, position = restored
        self.task.model.load_state_dict(_named(tensors, "model."))
        if processes.rank() == 0:  # which has the sums of all processes
            self.sums.copy_(tensors["sums"])
        self.optimiser.set_state(tensors)
        self.task.set_state(_named(tensors, "task."))
        set_generators(self.generators, position["generators"])
        self.epoch, self.step, self.rows = position["epoch"], position["step"], position["rows"]
        self.checkpoint.log(f"resumes from {self.checkpoint.path}: epoch {self.epoch}, step {self.step + 1}")
        return position["spent"]

    def save(self, epoch: int, step: int) -> None:
        """Save a checkpoint from which a training resumes at an epoch, from 1, and a step, from 0."""
        if step == 0:
            self._order_state = generator_states(self.generators[-1:])
        total = processes.add_up(self.sums.clone())
        if processes.rank() == 0 and torch.isfinite(total[0]):
            tensors = {f"model.{name}": tensor for name, tensor in self.task.model.state_dict().items()}
            tensors |= self.optimiser.state() | {"sums": total}
            tensors |= {f"task.{name}": tensor for name, tensor in self.task.state().items()}
            states = generator_states(self.generators[:-1]) + self._order_state
            position = {"epoch": epoch, "step": step, "rows": self.rows, "generators": states}
            self.checkpoint.save(tensors, position | {"spent": time.monotonic() - self.started})
        # If one process is asked to stop, all stop.
        signalled = processes.largest(self.checkpoint.signalled or 0, self.device)
        self.checkpoint.signalled = signalled or None
        self.checkpoint.stop_if_asked()

    def add(self, loss: Tensor, hits: Tensor | None) -> None:
        """Add a step; the sums are read after the epoch, since reading them at each step stalls a GPU."""
        self.sums[0] += loss.detach()
        self.sums[1] += math.nan if hits is None else hits
        self.sums[2] += torch.isfinite(self.sums[0])

    def mean_of_epoch(self, epoch: int, steps: int, images: int) -> dict[str, float]:
        """Mean loss, and accuracy in percent if counted; TrainingDivergedError for a NaN or infinite loss."""
        loss, right, sound = processes.add_up(self.sums).tolist()
        self.sums.zero_()
        loss /= steps * processes.count()
        if sound < steps * processes.count():
            path, step = self.checkpoint.path, int(sound) // processes.count() + 1
            kept = f"; the last valid checkpoint is kept at {path}" if path and epoch > 1 else ""
            raise TrainingDivergedError(
                f"the loss is {loss} at epoch {epoch}, step {step}{kept}; lower learning_rate"
            )
        return {"loss": loss} | ({} if math.isnan(right) else {"accuracy": 100 * right / images})

    def report(self, row: dict[str, Any], epochs: int, images: int) -> None:
        """Record an epoch and log it with its speed and the remaining time."""
        self.rows.append(row)
        epoch, elapsed = row["epoch"], time.monotonic() - self.started
        speed, left = epoch * images / elapsed, elapsed * (epochs / epoch - 1)
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "epoch")
        self.checkpoint.log(f"epoch {epoch}/{epochs}: {numbers}; {speed:.0f} images/s, {left:.0f} s left")


def _named(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
