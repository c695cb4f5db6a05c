"""Settings that all trainings have in common."""

import math
from dataclasses import dataclass

import torch

from rlnas_core.machine.devices import NAMES


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a training by SGD; raises ValueError for an unsupported value.

    The learning rate rises over `warmup_epochs`, then falls to the final one over the rest of
    `schedule_epochs` (None: `epochs`). `schedule` is `cosine`, `linear`, `poly` (linear to the power of 0.9)
    or `steps` (a tenth at each of `step_epochs`). The rate changes at every step or, with `rate_per` epoch,
    after the warm-up only between epochs. `last_batch` says whether the last, smaller batch of an epoch is
    trained on (`keep`) or not (`drop`). `lighting` is the standard deviation of PCA lighting noise.
    `norm_batch` is the number of images that batch norms normalise together, as on each GPU of the authors'
    trainings (None: the batch).
    """

    epochs: int = 250
    schedule_epochs: int | None = None
    batch_size: int = 64
    learning_rate: float = 0.025
    final_learning_rate: float = 0.001
    schedule: str = "cosine"
    warmup_epochs: float = 0
    step_epochs: tuple[int, ...] = ()
    rate_per: str = "step"
    last_batch: str = "drop"
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    decayed: str = "all"
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None
    lighting: float = 0.0
    norm_batch: int | None = None
    precision: str = "float32"
    device: str = "auto"
    kernels: str = "auto"

    def __post_init__(self) -> None:
        for name, accepted in self.choices().items():
            if getattr(self, name) not in accepted:
                raise ValueError(f"{name}: got {getattr(self, name)!r}; accepted: {', '.join(accepted)}")
        if self.schedule_epochs is not None and self.schedule_epochs < self.epochs:
            raise ValueError(
                f"schedule_epochs: got {self.schedule_epochs}; accepted: epochs ({self.epochs}) or more"
            )
        if self.norm_batch is not None and (self.norm_batch < 1 or self.batch_size % self.norm_batch):
            raise ValueError(
                f"norm_batch: got {self.norm_batch}; accepted: a divisor of batch_size ({self.batch_size})"
            )

    @classmethod
    def choices(cls) -> dict[str, tuple[str, ...]]:
        """The supported values of each setting that has a list of them."""
        return {
            "schedule": ("cosine", "linear", "poly", "steps"),
            "rate_per": ("epoch", "step"),
            "last_batch": ("keep", "drop"),
            "decayed": ("all", "convolutions", "convolutions-and-classifier"),
            "precision": ("float32", "tensorfloat32", "bfloat16"),
            "device": NAMES,
            "kernels": ("auto", "torch"),
        }

    def autocast(self, device: torch.device) -> torch.autocast:
        """A context in which a forward pass has the precision of the settings."""
        return torch.autocast(
            device.type, torch.bfloat16, enabled=self.precision == "bfloat16", cache_enabled=False
        )

    def rate(self, epoch: float) -> float:
        """The learning rate at a time in epochs, which starts at 0."""
        if epoch < self.warmup_epochs:
            return self.learning_rate * epoch / self.warmup_epochs
        if self.rate_per == "epoch":
            epoch = max(math.floor(epoch), self.warmup_epochs)
        whole = (self.schedule_epochs or self.epochs) - self.warmup_epochs
        left = 1 - (epoch - self.warmup_epochs) / whole
        if self.schedule == "steps":
            return self.learning_rate * 0.1 ** sum(epoch >= step for step in self.step_epochs)
        powers = {"linear": left, "poly": left**0.9, "cosine": 0.5 * (1 - math.cos(math.pi * left))}
        return (
            self.final_learning_rate + (self.learning_rate - self.final_learning_rate) * powers[self.schedule]
        )
