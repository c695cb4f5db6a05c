"""The NAS-Bench-201 cell: 4 nodes, 6 edges, 5 operations, 15,625 architectures."""

import re
from collections.abc import Sequence

import numpy as np

from rlnas_core.spaces.base import SearchSpace
from rlnas_core.spaces.cost import convolution, linear

NODES = 4
STAGES = 3
#: (source, destination) of each edge, in the order of the benchmark's strings.
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
#: Edges of the four paths 0-3, 0-2-3, 0-1-2-3 and 0-1-3 from a cell's input to its output.
PATHS = np.array([[0, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 1], [1, 0, 1, 0, 0, 1], [1, 0, 0, 0, 1, 0]], dtype=bool)
NONE, SKIP, CONV_1X1, CONV_3X3, POOL = range(5)
KERNELS = {CONV_1X1: 1, CONV_3X3: 3}
_TERM = re.compile(r"^\|([a-z_0-9]+)~0\|\+\|([a-z_0-9]+)~0\|([a-z_0-9]+)~1\|\+"
                   r"\|([a-z_0-9]+)~0\|([a-z_0-9]+)~1\|([a-z_0-9]+)~2\|$")  # fmt: skip


class NASBench201(SearchSpace):
    """The NAS-Bench-201 search space (Sec. 4.1); a gene is the operation of an edge."""

    name = "nas_bench_201"
    num_genes = len(EDGES)
    operations = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    sizes = ("channels", "cells")
    channels = 16

    def enumerate(self) -> np.ndarray:
        """All 15,625 architectures in lexicographic order of their genes, (15625, 6) int8."""
        grid = np.indices((len(self.operations),) * self.num_genes, dtype=np.int8)
        return grid.reshape(self.num_genes, -1).T.copy()

    def index(self, genes: np.ndarray) -> np.ndarray:
        """The row of each architecture in `enumerate()`, (N,) int64."""
        return self._rows(genes) @ len(self.operations) ** np.arange(self.num_genes)[::-1]

    def repair(self, genes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Redraw the incoming edges of each node until one of them is not `none`, (N, 6) int8."""
        genes = np.array(genes, dtype=np.int8)
        for node in range(1, NODES):
            edges = [e for e, (_, destination) in enumerate(EDGES) if destination == node]
            while (cut := np.flatnonzero((genes[:, edges] == NONE).all(axis=1))).size:
                drawn = rng.integers(len(self.operations), size=(cut.size, len(edges)), dtype=np.int8)
                genes[cut[:, None], edges] = drawn
        return genes

    def live_paths(self, genes: np.ndarray) -> np.ndarray:
        """Which of the four paths contain no `none`, (N, 4) bool."""
        some = self._rows(genes) != NONE
        return np.stack([np.logical_and.reduce(some.T[path]) for path in PATHS], axis=1)

    def live_edges(self, genes: np.ndarray) -> np.ndarray:
        """Which edges are on a live path, (N, 6) bool."""
        return self.live_paths(genes) @ PATHS

    def canonical(self, genes: np.ndarray) -> np.ndarray:
        """The architectures with every edge that is on no live path set to `none`, (N, 6) int8.

        Architectures with the same canonical form compute the same function with shared weights.
        """
        return np.where(self.live_edges(genes), genes, NONE).astype(np.int8)

    def isomorphism_classes(self) -> np.ndarray:
        """The class of each architecture of `enumerate()`, (15625,) int64 below 5,273.

        Architectures of one class compute the same function up to the order of their nodes' sums. The
        literature counts 6,466 classes, since it keeps the zeros that a `none` adds to a sum as terms.
        Without these terms some of its classes are the same.
        """
        classes: dict[str, int] = {}
        rows = []
        for genes in self.enumerate().tolist():
            nodes = ["x"]
            for node in range(1, NODES):
                terms = []
                for gene, (source, destination) in zip(genes, EDGES, strict=True):
                    if destination == node:
                        inner = nodes[source]
                        dead = gene == NONE or inner == ""
                        terms.append("" if dead else inner if gene == SKIP else f"{gene}({inner})")
                nodes.append("+".join(sorted(filter(None, terms))))
            rows.append(classes.setdefault(nodes[3], len(classes)))
        return np.array(rows)

    def constants(self, channels: np.ndarray, pooling: str) -> np.ndarray:
        """Squared length of average pooling's weights 1/9, (cells, 1, 5); a skip-connect has no weights."""
        constants = np.zeros((len(channels), 1, len(self.operations)))
        constants[:, 0, POOL] = channels ** (1 if pooling == "reference" else 2) / 9
        return constants

    def usage(self, genes: np.ndarray) -> np.ndarray:
        """How often V(a, W) of eq. 9 contains each weight group, (N, 31) float64.

        Groups are the fixed part, then the five operations of each edge. An operation counts once for every
        live path through its edge. An architecture without a live path uses nothing, not even the fixed part.
        """
        paths = self.live_paths(genes)
        on_edge = paths.astype(np.float64) @ PATHS.astype(np.float64)
        return self._usage(genes, paths.any(axis=1), on_edge)

    def cost_table(  # type: ignore[override]  # the sizes by name
        self,
        *,
        channels: int = 16,
        cells: int = 5,
        image_size: int = 32,
        in_channels: int = 3,
        classes: int = 10,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Parameters and multiply-adds: of the shared part (2,), and of the operations (2, 6, 5).

        Every edge of the network is counted, whether on a live path or not.
        """
        fixed = convolution(in_channels, channels, 3, image_size)
        edge = np.zeros((2, len(self.operations)), dtype=np.int64)
        width, side = channels, image_size
        for stage in range(STAGES):
            if stage:
                side = (side + 1) // 2
                fixed += convolution(width, 2 * width, 3, side) + convolution(2 * width, 2 * width, 3, side)
                fixed += convolution(width, 2 * width, 1, side) - (4 * width, 0)  # no batch norm
                width *= 2
            for gene, kernel in KERNELS.items():
                edge[:, gene] += cells * convolution(width, width, kernel, side)
        fixed += np.array([2 * width, 0]) + linear(width, classes)
        return fixed, np.repeat(edge[:, None], len(EDGES), axis=1)

    def to_string(self, genes: np.ndarray) -> list[str]:
        """The benchmark's strings, e.g. `|a~0|+|b~0|c~1|+|d~0|e~1|f~2|`."""
        pattern = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|"
        return [pattern.format(*(self.operations[g] for g in row)) for row in self._rows(genes).tolist()]

    def from_string(self, strings: Sequence[str]) -> np.ndarray:
        """Genes (N, 6) int8 of the benchmark's strings; ValueError names the string and the operation."""
        codes = {name: code for code, name in enumerate(self.operations)}
        rows = []
        for string in strings:
            match = _TERM.match(string)
            if match is None:
                raise ValueError(
                    f"not a NAS-Bench-201 architecture: {string!r}; "
                    "accepted: |op~0|+|op~0|op~1|+|op~0|op~1|op~2|"
                )
            unknown = [name for name in match.groups() if name not in codes]
            if unknown:
                raise ValueError(
                    f"unknown operation {unknown[0]!r} in {string!r}; accepted: {', '.join(self.operations)}"
                )
            rows.append([codes[name] for name in match.groups()])
        return np.array(rows, dtype=np.int8).reshape(-1, self.num_genes)
