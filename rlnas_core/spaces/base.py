"""What every search space offers: architectures are rows of small integers, called genes."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np


class SearchSpace(ABC):
    """A search space over genes; sets of architectures are integer arrays of shape (N, num_genes)."""

    name: str
    num_genes: int
    operations: tuple[str, ...]

    @abstractmethod
    def repair(self, genes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Valid architectures (N, num_genes), redrawing only what makes an architecture invalid."""

    @abstractmethod
    def usage(self, genes: np.ndarray) -> np.ndarray:
        """How often each architecture's weight vector holds each weight group, (N, groups) float64."""

    @abstractmethod
    def cost(
        self, genes: np.ndarray, *, channels: int = 16, image_size: int = 32, classes: int = 10
    ) -> tuple[np.ndarray, np.ndarray]:
        """Parameters and multiply-accumulates of the stand-alone networks, two arrays (N,)."""

    @abstractmethod
    def to_string(self, genes: np.ndarray) -> list[str]:
        """The architectures in the notation of the space's literature."""

    @abstractmethod
    def from_string(self, strings: Sequence[str]) -> np.ndarray:
        """Genes (N, num_genes) of written architectures; ValueError names the one it cannot read."""

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw n valid architectures, (n, num_genes) int8: uniform genes, then repair."""
        return self.repair(rng.integers(len(self.operations), size=(n, self.num_genes), dtype=np.int8), rng)
