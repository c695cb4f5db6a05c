"""The interface of all search spaces. Architectures are rows of small integers, called genes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import nn

    from rlnas_core.networks.layers import SupernetModule

#: The measures of cost, in the order of `SearchSpace.cost` and `cost_table`.
MEASURES = ("params", "flops")
_DRAWN, _RARE = 100_000, 1 / 5_000


class Networks(ABC):
    """Networks described by rows of integers, (N, numbers)."""

    name: str
    sizes: tuple[str, ...] = ()
    """The sizes of a network that a user can set."""
    channels: int | None = None
    """The default initial channels of stand-alone networks; None where they can't be set."""
    channel_step = 1
    """The step in which `widest` tries initial channels."""
    extras: tuple[str, ...] = ()
    """Options of stand-alone networks: an `auxiliary` head, `drop` (drop path), `dropout`."""

    def network_sizes(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The sizes of a stand-alone network in the settings, by name."""
        return {name: settings[name] for name in self.sizes if settings.get(name) is not None}

    def size_in_words(self, settings: Mapping[str, Any]) -> str:
        """These sizes as text, such as "8 channels, 3 cells"; empty where networks have a fixed size."""
        sizes = self.network_sizes(settings).items()
        return ", ".join(f"{int(size)} {name}" for name, size in sizes if name in ("channels", "cells"))

    @abstractmethod
    def cost(self, genes: np.ndarray, **network: Any) -> tuple[np.ndarray, np.ndarray]:
        """Parameters and FLOPs (multiply-adds) of the stand-alone networks, two int64 arrays (N,)."""

    @abstractmethod
    def to_string(self, genes: np.ndarray) -> list[str]:
        """The architectures in the notation of the space's literature."""

    @abstractmethod
    def from_string(self, strings: Sequence[str]) -> np.ndarray:
        """Genes (N, num_genes) of architectures in that notation; ValueError names one that can't be read."""

    def network(self, genes: np.ndarray, **network: Any) -> "nn.Module":
        """A stand-alone network of one architecture (num_genes,); arguments as of the space's `Network`."""
        return self._networks().Network(genes, **network)

    def _networks(self) -> Any:
        # torch is imported only where networks are built
        return import_module(f"rlnas_core.networks.{self.name}")

    def widest(self, genes: np.ndarray, limit: float, **network: Any) -> int | None:
        """The most initial channels with which an architecture (num_genes,) stays within a FLOPs limit.

        None if the fewest exceed it, and where channels can't be set. `network` gives the other sizes.
        """
        if not self.channels:
            return None
        channels = 0
        while self.cost(genes[None], **network | {"channels": channels + self.channel_step})[1][0] <= limit:
            channels += self.channel_step
        return channels or None


class SearchSpace(Networks):
    """A search space over genes; sets of architectures are integer arrays of shape (N, num_genes)."""

    num_genes: int
    operations: tuple[str, ...]
    never_mutated = slice(0)
    """The genes that mutations of the authors' code never change."""

    @abstractmethod
    def repair(self, genes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Make architectures (N, num_genes) valid: redraw only the genes that make one invalid."""

    def canonical(self, genes: np.ndarray) -> np.ndarray:
        """Genes (N, num_genes), equal for architectures that compute the same with shared weights."""
        return genes

    @abstractmethod
    def usage(self, genes: np.ndarray) -> np.ndarray:
        """How often each architecture's weight vector contains each weight group, (N, groups) float64."""

    @abstractmethod
    def constants(self, channels: np.ndarray, pooling: str) -> np.ndarray:
        """Squared length of the constant weights of each operation, broadcasts to (cells, slots, operations).

        Training doesn't change the weights of skip-connects and pooling. `channels` are the widths of cells;
        `pooling` is the shape of a pooling's weights: [C, 3, 3] (`reference`) or [C, C, 3, 3] (`paper`).
        """

    @abstractmethod
    def cost_table(self, **network: Any) -> tuple[np.ndarray, np.ndarray]:
        """Parameters and multiply-adds: shared part (2,), operations (2, num_genes, operations).

        Both arrays are int64. `network` gives the sizes by the space's names. Multiply-adds are those of
        convolutions and the classifier for one image.
        """

    def live_edges(self, genes: np.ndarray) -> np.ndarray:
        """Which operations the output depends on, (N, num_genes) bool; all of them in most spaces."""
        return np.ones(self._rows(genes).shape, dtype=bool)

    def cost(self, genes: np.ndarray, **network: Any) -> tuple[np.ndarray, np.ndarray]:
        """Parameters and multiply-adds of the stand-alone networks, two int64 arrays (N,)."""
        fixed, table = self.cost_table(**network)
        params, flops = fixed[:, None] + self.sum_chosen(table, genes)
        return params, flops

    def sum_chosen(self, table: np.ndarray, genes: np.ndarray) -> np.ndarray:
        """Sums (..., N) of the entries of a table (..., num_genes, operations) that architectures choose."""
        return table[..., np.arange(self.num_genes), self._rows(genes)].sum(axis=-1)

    def supernet(self, **network: Any) -> "SupernetModule":
        """The supernet as a torch module; arguments as of the space's `Supernet`."""
        return self._networks().Supernet(**network)

    def cheapest(self, measure: str = "flops", **network: Any) -> float:
        """The lowest cost of any architecture in `measure`, one of `MEASURES`."""
        fixed, table = (part[MEASURES.index(measure)] for part in self.cost_table(**network))
        return float(fixed + np.where(self.allowed(), table, np.inf).min(axis=1).sum())

    def common(self, measure: str = "flops", **network: Any) -> float:
        """The cost that one in 5,000 random architectures stays within; below it evolution may find none."""
        fixed, table = (part[MEASURES.index(measure)] for part in self.cost_table(**network))
        costs = fixed + self.sum_chosen(table, self.sample(_DRAWN, np.random.default_rng(0)))
        return float(np.quantile(costs, _RARE, method="higher"))

    def allowed(self) -> np.ndarray:
        """Which operations each gene may have, (num_genes, operations) bool."""
        return np.ones((self.num_genes, len(self.operations)), dtype=bool)

    def _rows(self, genes: np.ndarray) -> np.ndarray:
        """Genes (N, num_genes) as int64; ValueError for another shape or values out of range."""
        rows = np.asarray(genes, dtype=np.int64)
        if rows.ndim != 2 or rows.shape[1] != self.num_genes:
            raise ValueError(
                f"genes: got the shape {rows.shape}; accepted: (N, {self.num_genes}), a row an architecture "
                "(genes[None] of one)"
            )
        last = len(self.operations) - 1
        if rows.size and not 0 <= rows.min() <= rows.max() <= last:
            raise ValueError(f"genes: got values from {rows.min()} to {rows.max()}; accepted: 0 to {last}")
        return rows

    def _usage(self, genes: np.ndarray, fixed: Any, counts: Any) -> np.ndarray:
        """Usage (N, groups) from that of the fixed part (N,) and of the chosen operations (N, num_genes)."""
        genes = self._rows(genes)
        usage = np.zeros((len(genes), 1 + self.num_genes * len(self.operations)))
        usage[:, 0] = fixed
        groups = 1 + len(self.operations) * np.arange(self.num_genes) + genes
        np.put_along_axis(usage, groups, counts, axis=1)
        return usage

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw n valid architectures, (n, num_genes) int8: uniform genes, then repair."""
        return self.repair(rng.integers(len(self.operations), size=(n, self.num_genes), dtype=np.int8), rng)
