"""The DARTS space: a normal and a reduction cell of 14 edges each, 8 operations per edge."""

import itertools
import re
from collections.abc import Sequence

import numpy as np

from rlnas_core.spaces.base import SearchSpace
from rlnas_core.spaces.cost import convolution, linear

NODES = 4
INPUTS = 2
#: (source, destination) of each edge of a cell; nodes 0 and 1 are the outputs of the two cells before.
EDGES = tuple((source, node) for node in range(INPUTS, INPUTS + NODES) for source in range(node))
NONE, MAX_POOL, AVG_POOL, SKIP, SEP_3, SEP_5, DIL_3, DIL_5 = range(8)
KERNELS = {SEP_3: 3, SEP_5: 5, DIL_3: 3, DIL_5: 5}
_TERM = re.compile(r"\(\s*'([^']*)'\s*,\s*(\d+)\s*\)")
_LISTS = re.compile(r"normal\s*=\s*\[(.*?)\].*?reduce\s*=\s*\[(.*?)\]", re.DOTALL)
#: The edges into each of the four nodes.
INTO = [[e for e, (_, d) in enumerate(EDGES) if d == node] for node in range(INPUTS, INPUTS + NODES)]


def reduces(cells: int) -> list[bool]:
    """Which cells of a network halve the resolution: those at a third and at two thirds of its depth."""
    return [cell in (cells // 3, 2 * cells // 3) for cell in range(cells)]


class DARTS(SearchSpace):
    """The DARTS search space (Sec. 4.2): genes 0 to 13 are the normal cell's edges, 14 to 27 the reduction's.

    `paths` says where the paths that the angle counts end: at the `last` node (16 paths) or at `any` node
    (30). Raises ValueError for another value.
    """

    name = "darts"
    num_genes = 2 * len(EDGES)
    operations = (
        "none", "max_pool_3x3", "avg_pool_3x3", "skip_connect",
        "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5",
    )  # fmt: skip
    sizes = ("channels", "cells", "imagenet", "affine", "dilated_norm")
    channels = 48
    channel_step = 2  # the stem for ImageNet begins with half of them
    never_mutated = slice(len(EDGES), None)  # the reduction cell's
    extras = ("auxiliary", "drop")

    def __init__(self, paths: str = "any") -> None:
        if paths not in ("last", "any"):
            raise ValueError(f"paths: got {paths!r}; accepted: last, any")
        self.paths = paths

    def repair(self, genes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Give every node two inputs that aren't `none`, (N, 28) int8; drop or draw inputs at random."""
        genes = np.array(genes, dtype=np.int8)
        for edges in INTO + [[len(EDGES) + e for e in edges] for edges in INTO]:
            part = genes[:, edges]
            order = np.argsort((part == NONE) + rng.random(part.shape), axis=1)
            kept, dropped = order[:, :2], order[:, 2:]
            chosen = np.take_along_axis(part, kept, axis=1)
            drawn = rng.integers(1, len(self.operations), size=chosen.shape, dtype=np.int8)
            np.put_along_axis(part, kept, np.where(chosen == NONE, drawn, chosen), axis=1)
            np.put_along_axis(part, dropped, np.int8(NONE), axis=1)
            genes[:, edges] = part
        return genes

    def layouts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The T = 32,400 choices of two inputs per node in both cells.

        Returns the genes that aren't `none` (T, 16), the number of paths through each (T, 16), and which
        operations such a gene may have (28, 8).
        """
        pairs = [list(itertools.combinations(edges, 2)) for edges in INTO]
        cells = np.array([sum(choice, ()) for choice in itertools.product(*pairs)])
        live = np.zeros((len(cells), len(EDGES)), dtype=np.int8)
        np.put_along_axis(live, cells, np.int8(SKIP), axis=1)
        paths = np.take_along_axis(self._paths(live), cells, axis=1).astype(np.int64)
        normal, reduce = (part.ravel() for part in np.indices((len(cells), len(cells))))
        slots = np.concatenate([cells[normal], len(EDGES) + cells[reduce]], axis=1)
        allowed = np.repeat(np.arange(len(self.operations))[None] != NONE, self.num_genes, axis=0)
        return slots, np.concatenate([paths[normal], paths[reduce]], axis=1), allowed

    def constants(self, channels: np.ndarray, pooling: str) -> np.ndarray:
        """Squared length of pooling's 1/9 and of the identity [C, C] of a skip-connect, (cells, 28, 8).

        On edges from the inputs of a reduction cell, a skip-connect has trained weights instead.
        """
        constants = np.zeros((len(channels), 2, len(EDGES), len(self.operations)))
        for cell, (width, reducing) in enumerate(zip(channels, reduces(len(channels)), strict=True)):
            kind = constants[cell, int(reducing)]
            kind[:, [MAX_POOL, AVG_POOL]] = width ** (1 if pooling == "reference" else 2) / 9
            kind[[not reducing or source >= INPUTS for source, _ in EDGES], SKIP] = width
        return constants.reshape(len(channels), self.num_genes, -1)

    def usage(self, genes: np.ndarray) -> np.ndarray:
        """How often V(a, W) of eq. 9 contains each weight group, (N, 225) float64.

        Groups are the fixed part, then the eight operations of each edge of both cells. An operation counts
        once for every path through its edge.
        """
        cells = np.split(self._rows(genes), 2, axis=1)
        return self._usage(genes, 1, np.concatenate([self._paths(cell) for cell in cells], axis=1))

    def _paths(self, cell: np.ndarray) -> np.ndarray:
        """The number of paths through each edge of cells (N, 14), (N, 14) float64."""
        live = (cell != NONE).astype(np.float64)
        nodes = INPUTS + NODES
        before, after = np.zeros((2, nodes, len(cell)))
        before[:INPUTS] = 1
        after[INPUTS if self.paths == "any" else -1 :] = 1
        for edge, (source, destination) in enumerate(EDGES):
            before[destination] += live[:, edge] * before[source]
        for edge, (source, destination) in reversed(list(enumerate(EDGES))):
            after[source] += live[:, edge] * after[destination]
        sources, destinations = np.array(EDGES).T
        return live * (before[sources] * after[destinations]).T

    def cost_table(  # type: ignore[override]  # the sizes by name
        self,
        *,
        channels: int = 48,
        image_size: int = 224,
        classes: int = 1000,
        cells: int = 14,
        imagenet: bool = True,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Parameters and multiply-adds: of the shared part (2,), and of the operations (2, 28, 8).

        `imagenet` selects the ImageNet stem. The auxiliary head isn't counted.
        """
        fixed, last, side = _stem_cost(channels, image_size, imagenet)
        table = np.zeros((2, 2, len(EDGES), len(self.operations)), dtype=np.int64)
        width, before = channels, last
        for reducing in reduces(cells):
            width *= 1 + reducing
            # The input layers bring both inputs to this cell's width and the later input's resolution.
            fixed += convolution(before, width, 1, side) + convolution(last, width, 1, side)
            side = -(-side // 2) if reducing else side
            table[:, int(reducing)] += _cell_cost(width, side, reducing)
            before, last = last, NODES * width
        fixed += linear(last, classes)
        return fixed, table.reshape(2, self.num_genes, len(self.operations))

    def to_string(self, genes: np.ndarray) -> list[str]:
        """Genotypes in the notation of the DARTS literature."""
        return [
            f"Genotype(normal={normal}, normal_concat=range(2, 6), "
            f"reduce={reduce}, reduce_concat=range(2, 6))"
            for normal, reduce in map(self.genotype, self._rows(genes))
        ]

    def genotype(self, genes: np.ndarray) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """The (operation, input node) pairs of both cells of one architecture (28,), two per node.

        The second is `none` for nodes of published architectures that have one input only.
        """
        normal, reduce = (
            [
                (self.operations[cell[edge]], EDGES[edge][0])
                for edges in INTO
                for edge in sorted(sorted(edges, key=lambda edge: cell[edge] == NONE)[:2])
            ]
            for cell in np.split(np.asarray(genes), 2)
        )
        return normal, reduce

    def from_genotype(self, cells: Sequence[Sequence[tuple[str, int]]]) -> np.ndarray:
        """Genes (28,) int8 of a normal and a reduction cell, each eight (operation, input node) pairs.

        Raises ValueError for another number of pairs, an unknown operation, an input that its node can't have
        or has twice, and a node without inputs.
        """
        genes = np.zeros((2, len(EDGES)), dtype=np.int8)
        for row, (kind, pairs) in enumerate(zip(("normal", "reduce"), cells, strict=True)):
            if len(pairs) != 2 * NODES:
                raise ValueError(f"{kind} cell: got {len(pairs)} inputs; accepted: {2 * NODES}, two a node")
            for place, (operation, source) in enumerate(pairs):
                node = INPUTS + place // 2
                if operation not in self.operations:
                    raise ValueError(
                        f"{kind} cell, node {node}: got operation {operation!r}; accepted: "
                        f"{', '.join(self.operations[1:])}"
                    )
                if not 0 <= source < node:
                    raise ValueError(
                        f"{kind} cell, node {node}: got input node {source}; accepted: 0 to {node - 1}"
                    )
                edge = EDGES.index((source, node))
                if genes[row, edge] != NONE:
                    raise ValueError(
                        f"{kind} cell, node {node}: got input node {source} twice; accepted: two different"
                    )
                genes[row, edge] = self.operations.index(operation)
            for node, edges in enumerate(INTO, INPUTS):
                if not genes[row, edges].any():
                    raise ValueError(f"{kind} cell, node {node}: got no input but none; accepted: one or two")
        return genes.reshape(-1)

    def from_string(self, strings: Sequence[str]) -> np.ndarray:
        """Genes (N, 28) int8 of genotypes; ValueError names one that can't be read and the reason."""
        rows = []
        for string in strings:
            match = _LISTS.search(string)
            if match is None:
                raise ValueError(
                    f"not a DARTS genotype: {string!r}; accepted: Genotype(normal=[('op', node), ...], "
                    "normal_concat=range(2, 6), reduce=[...], reduce_concat=range(2, 6))"
                )
            cells = [[(name, int(node)) for name, node in _TERM.findall(part)] for part in match.groups()]
            try:
                rows.append(self.from_genotype(cells))
            except ValueError as error:
                raise ValueError(f"{string!r}: {error}") from error
        return np.array(rows, dtype=np.int8).reshape(-1, self.num_genes)


def _stem_cost(channels: int, side: int, imagenet: bool) -> tuple[np.ndarray, int, int]:
    """Parameters and multiply-adds (2,) of the stem, its output channels and their side."""
    if not imagenet:
        return convolution(3, 3 * channels, 3, side), 3 * channels, side
    cost = np.zeros(2, dtype=np.int64)
    for inputs, outputs in itertools.pairwise((3, channels // 2, channels, channels)):
        side = -(-side // 2)
        cost += convolution(inputs, outputs, 3, side)
    return cost, channels, side


def _cell_cost(width: int, side: int, reducing: bool) -> np.ndarray:
    """Parameters and multiply-adds (2, 14, 8) of a cell's operations, whose outputs have this side."""
    cost = np.zeros((2, len(EDGES), len(DARTS.operations)), dtype=np.int64)
    for operation, kernel in KERNELS.items():
        unit = convolution(1, width, kernel, side) + convolution(width, width, 1, side) - (2 * width, 0)
        cost[:, :, operation] = (unit * (2 if operation in (SEP_3, SEP_5) else 1))[:, None]
    if reducing:
        halved = [source < INPUTS for source, _ in EDGES]
        cost[:, halved, SKIP] = convolution(width, width, 1, side)[:, None]
    return cost
