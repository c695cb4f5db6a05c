"""Walks over DARTS cells, step by step: what the counting of paths is tested against."""

import itertools
from collections.abc import Iterator

from rlnas_core.spaces import darts


def live_paths(cell, ends) -> Iterator[list[tuple[int, int]]]:
    """The (edge, operation) steps of every path of a cell (14,) from an input to one of the ends."""
    live = {edge: int(gene) for edge, gene in zip(darts.EDGES, cell, strict=True) if gene}
    for length in range(1, 5):
        for inner in itertools.combinations(range(2, 6), length):
            for start in (0, 1):
                steps = list(itertools.pairwise((start, *inner)))
                if inner[-1] in ends and all(step in live for step in steps):
                    yield [(darts.EDGES.index(step), live[step]) for step in steps]
