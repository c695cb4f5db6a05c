"""Evolutionary search for the architecture with the highest fitness, any function of genes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rlnas_core.spaces import NASBench201, SearchSpace

Fitness = Callable[[np.ndarray], np.ndarray]
"""From genes (N, genes) to scores (N,)."""
Feasible = Callable[[np.ndarray], np.ndarray]
"""From genes (N, genes) to bool (N,): which architectures are within a limit, for example on FLOPs."""

_SPARE = 8  # proposals per requested architecture where a limit rejects some
_ROUNDS = 100
"""Batches drawn in vain before a generation continues with fewer new architectures, or a limit is refused."""


@dataclass(frozen=True)
class Result:
    """The fittest architecture, `genes` (genes,) int8, and the history of its search, `trace`.

    `trace` has one row for each scored architecture: generation (from 0), rank in its generation (from 1),
    arch, fitness and origin (random, mutation or crossover).
    """

    genes: np.ndarray
    fitness: float
    trace: pd.DataFrame


def evolve(
    space: SearchSpace,
    fitness: Fitness,
    rng: np.random.Generator,
    population: int = 100,
    iterations: int = 20,
    keep: int = 30,
    mutations: int = 50,
    crossovers: int = 50,
    mutation_probability: float = 0.1,
    mutated: str = "reference",
    feasible: Feasible | None = None,
) -> Result:
    """Search for the architecture with the highest fitness (sec. 3.1; settings of sec. 4.1).

    The first generation is random. Each later one consists of mutations and crossovers of the `keep` fittest
    architectures so far, filled up to `population` with random ones. `mutated` says which genes a mutation
    may change: those that the authors' code mutates (`reference`) or `all`. No architecture is scored twice,
    so the search ends early when a small space is exhausted. Raises `ValueError` for contradictory settings,
    for scores of a wrong shape or NaN, and if no feasible architecture is found.
    """
    if mutations + crossovers > population or keep < 1:
        raise ValueError(
            f"evolution: got keep {keep}, {mutations} mutations and {crossovers} crossovers; accepted: keep "
            f"at least 1, mutations and crossovers together at most the population of {population}"
        )
    if mutated not in ("reference", "all"):
        raise ValueError(f"mutated: got {mutated!r}; accepted: reference, all")
    may_change = np.ones(space.num_genes, dtype=bool)
    if mutated == "reference":
        may_change[space.never_mutated] = False
    redrawn = np.flatnonzero(np.array(space.operations) != "none")

    def mutate(n: int) -> np.ndarray:
        parents = kept[rng.integers(len(kept), size=n)]
        redraw = (rng.random(parents.shape) < mutation_probability) & may_change
        children = np.where(redraw, rng.choice(redrawn, size=parents.shape), parents)
        return space.repair(children.astype(parents.dtype), rng)

    def cross(n: int) -> np.ndarray:
        mothers, fathers = kept[rng.integers(len(kept), size=(2, n))]
        return space.repair(np.where(rng.random(mothers.shape) < 0.5, mothers, fathers), rng)

    def sample(n: int) -> np.ndarray:
        return space.sample(n, rng)

    ways = (("mutation", mutate, mutations), ("crossover", cross, crossovers), ("random", sample, population))
    kept = scored = np.empty((0, space.num_genes), np.int8)
    scores = np.empty(0)
    trace = []
    for generation in range(iterations):
        parts: dict[str, np.ndarray] = {}
        for origin, propose, most in ways if generation else ways[-1:]:
            count = min(most, population - sum(map(len, parts.values())))
            parts[origin] = _draw(propose, count, np.concatenate([scored, *parts.values()]), feasible)
        genes = np.concatenate([*parts.values()])
        if not len(genes):
            break
        origins = np.repeat(list(parts), [len(part) for part in parts.values()])
        found = _checked(fitness(genes), genes, space)
        trace.append(_generation(generation, space.to_string(genes), found, origins))
        scored, scores = np.concatenate([scored, genes]), np.concatenate([scores, found])
        kept = scored[_fittest(scores)[:keep]]
    if not trace:
        drawn = _ROUNDS * population * (_SPARE if feasible else 1)
        raise ValueError(
            f"evolution: none of {drawn} random architectures is feasible, or iterations is "
            "0; raise the limit or give at least one iteration"
        )
    return Result(kept[0], float(scores.max()), pd.concat(trace, ignore_index=True))


def random_architectures(
    space: SearchSpace, rng: np.random.Generator, count: int, limit: float
) -> np.ndarray:
    """Draw random architectures (count, genes) whose ImageNet networks are within a FLOPs limit.

    Some may be equal. A limit that few keep takes as many more draws. Raises ValueError if a hundred thousand
    in a row exceed it.
    """
    found, in_vain, drawn = np.empty((0, space.num_genes), np.int8), 0, 0
    while len(found) < count:
        genes = space.sample(1000, rng)
        within = genes[space.cost(genes)[1] <= limit]
        found = np.concatenate([found, within])
        in_vain, drawn = 0 if len(within) else in_vain + 1, drawn + len(genes)
        if in_vain == _ROUNDS:
            raise ValueError(
                f"limit: got {limit:.4g}, which {len(found)} of {drawn} random architectures keep, of "
                f"{count} needed; accepted: more than {space.cheapest():.4g}, the cost of the cheapest"
            )
    return found[:count]


def exact_best(space: NASBench201, scores: np.ndarray) -> np.ndarray:
    """Return the genes (genes,) with the highest score (N,) of an enumerated space, the first of equals.

    Raises `ValueError` if the scores are NaN or don't fit the space.
    """
    genes = space.enumerate()
    return genes[int(np.argmax(_checked(scores, genes, space)))]


def _draw(
    propose: Callable[[int], np.ndarray], count: int, known: np.ndarray, feasible: Feasible | None
) -> np.ndarray:
    """Propose batches until `count` distinct, feasible and unknown architectures are found."""
    seen = {genes.tobytes() for genes in known}
    found: list[np.ndarray] = []
    for _ in range(_ROUNDS):
        if len(found) == count:
            break
        proposed = propose(count if feasible is None else _SPARE * count)
        for genes in proposed if feasible is None else proposed[feasible(proposed)]:
            if len(found) < count and (key := genes.tobytes()) not in seen:
                seen.add(key)
                found.append(genes)
    return np.array(found, known.dtype).reshape(-1, known.shape[1])


def _fittest(scores: np.ndarray) -> np.ndarray:
    return np.argsort(-scores, kind="stable")


def _generation(generation: int, archs: list[str], scores: np.ndarray, origins: np.ndarray) -> pd.DataFrame:
    rows = pd.DataFrame({"generation": generation, "arch": archs, "fitness": scores, "origin": origins})
    rows = rows.iloc[_fittest(scores)]
    rows.insert(1, "rank", np.arange(1, len(rows) + 1))
    return rows


def _checked(scores: np.ndarray, genes: np.ndarray, space: SearchSpace) -> np.ndarray:
    scores = np.asarray(scores, np.float64)
    if scores.shape != (len(genes),):
        raise ValueError(
            f"fitness: got scores of shape {scores.shape}; accepted: ({len(genes)},), one a row of genes"
        )
    if np.isnan(scores).any():
        broken = space.to_string(genes[np.isnan(scores)][:5])
        raise ValueError(
            f"fitness: got no number for {np.isnan(scores).sum()} architectures, first {', '.join(broken)}; "
            "was the supernet trained to the end?"
        )
    return scores
