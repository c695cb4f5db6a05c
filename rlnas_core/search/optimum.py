"""The architecture with the largest angle under a cost limit, by branch and bound with a proof."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlnas_core.spaces import DARTS, MobileNet
from rlnas_core.spaces.base import MEASURES

# The multipliers of the bounds: all positive ones give valid bounds, a grid gives tight ones.
_BALANCES = np.exp([-0.6, -0.3, -0.15, -0.07, -0.03, 0, 0.03, 0.07, 0.15, 0.3, 0.6])
_PRICES = np.concatenate([[0.0], np.geomspace(0.03, 10, 9)])
_ROWS = 2048
_BEAM = 20_000
# A search that keeps this many first improves the architecture to start from. The closer that is to the
# optimum, the fewer partial architectures the proof keeps.
_FIRST_BEAM = 1_000


@dataclass(frozen=True)
class Optimum:
    """The best architecture found, and a bound on all others.

    `genes` is (num_genes,) and `angle` its angle; no architecture within the limit has an angle above
    `bound`. Both are in radians. `proven` says that `genes` is optimal. `visited` is the number of partial
    architectures visited.
    """

    genes: np.ndarray
    angle: float
    bound: float
    proven: bool
    visited: int


def largest_angle(
    space: DARTS | MobileNet,
    sums: np.ndarray,
    incumbent: np.ndarray,
    *,
    limit: float = np.inf,
    measure: str = "flops",
    network: Mapping[str, Any] | None = None,
    most: int = 500_000,
) -> Optimum:
    """Maximise the angle of eq. 9 over a space, starting from an architecture (num_genes,) within the limit.

    `sums` (G, 3) are those of the weight groups, as in `angle.angles`. `limit` is on the FLOPs or `params` of
    the space's network, with the sizes of `network` or, by default, those for ImageNet. If more than `most`
    layouts or partial architectures have to be kept, only the most promising are, 20,000 at most, and the
    result isn't proven. Raises ValueError if `incumbent` exceeds the limit.
    """
    costs = (part[MEASURES.index(measure)] for part in space.cost_table(**(network or {})))
    search = _Search(space, np.asarray(sums, np.float64), limit, *costs)
    best = np.asarray(incumbent)
    cosine, spent = search.value(best[None])
    if spent[0] > limit:
        raise ValueError(
            f"limit: the architecture to start from costs {spent[0]:g}; accepted: at most {limit:g}"
        )
    proven = False
    for kept in sorted({min(_FIRST_BEAM, most), most}):
        while not proven:
            better, proven = search.below(best, float(cosine[0]), kept)
            if better is None or (value := search.value(better[None])[0])[0] >= cosine[0]:
                break
            best, cosine, proven = better, value, False
    angle = float(np.arccos(np.clip(cosine[0], -1, 1)))
    return Optimum(best, angle, angle if proven else search.bound(best, angle), proven, search.visited)


def _lowest(bounds: np.ndarray, most: int) -> np.ndarray:
    """Indices of all bounds (N,), or of the lowest, at most `_BEAM`, where they are more than `most`."""
    if len(bounds) <= most:
        return np.arange(len(bounds))
    kept = min(most, _BEAM)
    return np.argpartition(bounds, kept)[:kept]


class _Search:
    """The partial architectures of a space, their sums, and bounds on their completions.

    The cosine is D / sqrt(N0 N1). D, N0 and N1 are additive over genes once a layout (the inputs of each
    node) is fixed. An architecture is below a cosine c > 0 if D - c sqrt(N0 N1) < 0. Since sqrt(N0 N1) is at
    most (b N0 + N1 / b) / 2 for every b > 0, D - c (b N0 + N1 / b) / 2 is a lower bound of that, and
    additive. For c <= 0, D - c sum(sqrt(n0 n1)) is one by the Cauchy-Schwarz inequality. The excess over the
    limit, times any positive price, may be added to a bound. A partial architecture is dropped as soon as one
    bound isn't negative.
    """

    def __init__(
        self,
        space: DARTS | MobileNet,
        sums: np.ndarray,
        limit: float,
        shared: np.ndarray,
        table: np.ndarray,
    ) -> None:
        shape = (space.num_genes, len(space.operations))
        self.space, self.sums, self.limit, self.visited = space, sums, limit, 0
        self.shared, self.table = (cost.astype(np.float64) for cost in (shared, table))
        self.slots, self.counts, self.allowed = space.layouts()
        groups = sums[1:].reshape(*shape, 3)
        roots = np.sqrt(groups[..., 1:2] * groups[..., 2:])
        # D, N0, N1, the sum of roots and the cost: of one use of an operation, and of the shared part
        self.terms = np.concatenate([groups, roots, self.table[..., None]], axis=2)
        self.start = np.array([*sums[0], np.sqrt(sums[0, 1] * sums[0, 2]), self.shared])

    def value(self, genes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cosine and cost of architectures (N, num_genes)."""
        dot, first, last = (self.space.usage(genes) @ self.sums).T
        return dot / np.sqrt(first * last), self.shared + self.space.sum_chosen(self.table, genes)

    def below(self, known: np.ndarray, cosine: float, most: int) -> tuple[np.ndarray | None, bool]:
        """The best architecture below the cosine of a known one, or None, and whether this is proven.

        If more than `most` layouts or partial architectures have to be kept, only the most promising are.
        """
        self._weigh(known, cosine)
        root = self._root()
        alive = np.flatnonzero(root < 0)
        first = _lowest(root[alive], most)
        certain = len(first) == len(alive)
        alive = alive[first]
        after = self._after(alive)
        rows, layout = np.tile(self.start, (len(alive), 1)), np.arange(len(alive))
        chosen = np.empty((len(alive), 0), dtype=np.int8)
        for level in range(self.slots.shape[1]):
            slot, count = self.slots[alive, level][layout], self.counts[alive, level][layout]
            parts = []
            for operation in range(len(self.space.operations)):
                able = np.flatnonzero(self.allowed[slot, operation])
                grown = rows[able] + self._uses(slot[able], operation, count[able])
                kept, strict = self._promising(grown, after[layout[able], level + 1])
                parts.append((grown[kept], able[kept], np.full(len(kept), operation, dtype=np.int8), strict))
            rows, parents, operations, strict = (np.concatenate(part) for part in zip(*parts, strict=True))
            self.visited += len(rows)
            first = _lowest(strict, most)
            certain &= len(first) == len(rows)
            rows, parents, operations = rows[first], parents[first], operations[first]
            chosen = np.column_stack([chosen[parents], operations])
            layout = layout[parents]
        cosines = rows[:, 0] / np.sqrt(rows[:, 1] * rows[:, 2])
        good = np.flatnonzero((cosines < cosine - 1e-12) & (rows[:, 4] <= self.limit))
        if not len(good):
            return None, certain
        best = good[np.argmin(cosines[good])]
        genes = np.zeros(self.space.num_genes, dtype=np.int8)
        genes[self.slots[alive[layout[best]]]] = chosen[best]
        return genes, certain

    def bound(self, known: np.ndarray, angle: float) -> float:
        """An upper bound of the angle of all architectures, by bisection on the bounds of whole layouts."""
        low, high = angle, np.pi
        for _ in range(30):
            middle = (low + high) / 2
            self._weigh(known, float(np.cos(middle)))
            low, high = (middle, high) if (self._root() < 0).any() else (low, middle)
        return high

    def _uses(self, slot: np.ndarray, operation: int, count: np.ndarray) -> np.ndarray:
        """Sums (N, 5) of using an operation `count` times; its cost counts once."""
        times = np.column_stack([np.repeat(count[:, None], 4, axis=1), np.ones(len(count))])
        return self.terms[slot, operation] * times

    def _weigh(self, known: np.ndarray, cosine: float) -> None:
        """Set the bounds for a cosine, with multipliers around the sums of a known architecture.

        `weights` (5, bounds) are the weights of the sums; `least` (uses, slots, bounds) is the least that a
        slot adds.
        """
        price = np.abs(self.terms[..., 1]).sum() / self.table.sum()
        prices = price * _PRICES if np.isfinite(self.limit) else np.zeros(1)
        if cosine > 0:
            _, first, last = (self.space.usage(known[None]) @ self.sums)[0]
            balance = np.sqrt(last / first) * _BALANCES
            parts = [(1.0, -cosine * b / 2, -cosine / b / 2, 0.0) for b in balance]
        else:
            parts = [(1.0, 0.0, 0.0, -cosine)]
        self.weights = np.array([[*part, p] for part in parts for p in prices]).T
        finite = self.limit if np.isfinite(self.limit) else 0
        self.spare = self.weights[4] * finite
        uses = np.arange(self.counts.max() + 1)[:, None, None, None]
        values = uses * (self.terms[..., :4] @ self.weights[:4]) + self.terms[..., 4:] @ self.weights[4:]
        self.least = np.where(self.allowed[..., None], values, np.inf).min(axis=2)
        self.cheapest = np.where(self.allowed, self.table, np.inf).min(axis=1)

    def _root(self) -> np.ndarray:
        """The strictest bound of each layout (T,)."""
        start = self.start @ self.weights - self.spare
        strict = np.empty(len(self.slots))
        for first in range(0, len(self.slots), _ROWS):
            part = slice(first, first + _ROWS)
            total = sum(
                self.least[count, slot]
                for slot, count in zip(self.slots[part].T, self.counts[part].T, strict=True)
            )
            strict[part] = (start + total).max(axis=1)
        return strict

    def _after(self, layouts: np.ndarray) -> np.ndarray:
        """The least that each level and later ones add to bounds and cost, (T, levels + 1, bounds + 1)."""
        slots, counts = self.slots[layouts], self.counts[layouts]
        least = np.concatenate([self.least[counts, slots], self.cheapest[slots][..., None]], axis=2)
        after = np.zeros((len(layouts), slots.shape[1] + 1, least.shape[2]))
        after[:, :-1] = least[:, ::-1].cumsum(axis=1)[:, ::-1]
        return after

    def _promising(self, rows: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the partial architectures (N, 5) that no bound excludes, and their strictest bounds."""
        kept, strict = [np.empty(0, dtype=np.int64)], [np.empty(0)]
        for first in range(0, len(rows), _ROWS):
            part = slice(first, first + _ROWS)
            bounds = rows[part] @ self.weights - self.spare + after[part, :-1]
            fits = rows[part, 4] + after[part, -1] <= self.limit
            strictest = bounds.max(axis=1)
            good = np.flatnonzero((strictest < 0) & fits)
            kept.append(first + good)
            strict.append(strictest[good])
        return np.concatenate(kept), np.concatenate(strict)
