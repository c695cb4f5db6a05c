"""Choose an architecture within a limit from supernets of several seeds, and others to compare it with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd

from rlnas_core.benchmark.ranking import kendall
from rlnas_core.search.angle import angles
from rlnas_core.search.evolution import Result, evolve
from rlnas_core.search.optimum import largest_angle
from rlnas_core.spaces import NASBench201, SearchSpace
from rlnas_core.spaces.base import MEASURES
from rlnas_core.spaces.nas_bench_201 import CONV_3X3, NONE, SKIP

RESIDUAL = np.array([CONV_3X3, NONE, NONE, SKIP, CONV_3X3, NONE], np.int8)
"""The cell of NAS-Bench-201 that is ResNet's basic block: two 3x3 convolutions beside a shortcut."""
_SAMPLE = 2000
_ROUNDS = 100


@dataclass(frozen=True)
class Limit:
    """A cost limit of stand-alone networks: at most `most` parameters or FLOPs, as `measure` says.

    `network` gives the sizes for which cost is counted, named as in the space's `cost`: image size, classes,
    channels and cells.
    """

    most: float = np.inf
    measure: str = "flops"
    network: Mapping[str, Any] = field(default_factory=dict)

    def cost(self, space: SearchSpace, genes: np.ndarray) -> np.ndarray:
        """The limited cost of architectures (N, genes), (N,)."""
        return space.cost(genes, **self.network)[MEASURES.index(self.measure)]

    def keeps(self, space: SearchSpace, genes: np.ndarray) -> np.ndarray:
        """Which architectures (N, genes) are within the limit, (N,) bool."""
        return self.cost(space, genes) <= self.most

    def cheapest(self, space: SearchSpace) -> float:
        """The lowest cost of any architecture."""
        return space.cheapest(self.measure, **self.network)

    def common(self, space: SearchSpace) -> float:
        """The cost that one in 5,000 random architectures stays within; below it evolution may find none."""
        return space.common(self.measure, **self.network)


@dataclass(frozen=True)
class Choice:
    """The architecture with the largest angle within a limit, and a bound on all others.

    `genes` is (num_genes,) and `angle` its angle in radians. No architecture within the limit has an angle
    above `bound`; `proven` says that `angle` reaches it. `evolved` is the architecture that evolution found.
    """

    genes: np.ndarray
    angle: float
    bound: float
    proven: bool
    evolved: Result


def choose(
    space: SearchSpace,
    sums: Sequence[np.ndarray],
    limit: Limit,
    rng: np.random.Generator,
    evolution: Mapping[str, Any],
) -> Choice:
    """Find the architecture with the largest angle, with the weights of all supernets joined to one vector.

    `sums` are arrays (G, 3) of `angle.group_sums`, one per supernet; the sums of the joined vector are their
    sum. Of architectures with equal angles in NAS-Bench-201 the cheapest is chosen. `evolution` gives
    settings of `evolution.evolve`. Raises ValueError if no architecture is within the limit.
    """
    total = np.sum(sums, axis=0)
    evolved = evolve(
        space,
        lambda genes: angles(space.usage(genes), total),
        rng,
        feasible=lambda genes: limit.keeps(space, genes),
        **evolution,
    )
    if isinstance(space, NASBench201):
        genes = _within(space, limit)
        found = angles(space.usage(genes), total)
        best = np.lexsort([limit.cost(space, genes), -found])[0]
        return Choice(genes[best], float(found[best]), float(found[best]), True, evolved)
    exact = largest_angle(
        space,  # type: ignore[arg-type]  # of the two spaces that are not enumerated
        total,
        evolved.genes,
        limit=limit.most,
        measure=limit.measure,
        network=limit.network,
    )
    return Choice(exact.genes, exact.angle, exact.bound, exact.proven, evolved)


def structural_choice(
    space: SearchSpace, limit: Limit, rng: np.random.Generator, evolution: Mapping[str, Any]
) -> np.ndarray:
    """Choose the architecture (genes,) with the most parameters that its output depends on, without training.

    Among equals in NAS-Bench-201, it is the one with the most weights in the vector of eq. 9, then the first.
    In the other spaces evolution searches for it.
    """

    def size(genes: np.ndarray) -> np.ndarray:
        return space.cost(space.canonical(genes), **limit.network)[0].astype(np.float64)

    if isinstance(space, NASBench201):
        genes = _within(space, limit)
        _, table = space.cost_table(**limit.network)
        counted = space.usage(genes)[:, 1:] @ table[0].ravel()
        return genes[np.lexsort([-counted, -size(genes)])[0]]
    settings = {**evolution, "mutated": "all"}
    return evolve(space, size, rng, feasible=lambda genes: limit.keeps(space, genes), **settings).genes


def random_choices(space: SearchSpace, limit: Limit, rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw different random architectures (N, genes) within a limit, without operations without effect.

    N is `count`, or lower where a limit leaves fewer than are found in 200,000 draws. Raises ValueError if
    none is found.
    """
    found = np.empty((0, space.num_genes), np.int8)
    for _ in range(_ROUNDS):
        genes = space.canonical(space.sample(_SAMPLE, rng))
        found = np.concatenate([found, genes[limit.keeps(space, genes)]])
        _, first = np.unique(found, axis=0, return_index=True)
        found = found[np.sort(first)]
        if len(found) >= count:
            break
    if not len(found):
        raise ValueError(
            f"limit: got {limit.most:.4g} {limit.measure}; accepted: more than {limit.cheapest(space):.4g}, "
            "the cost of the cheapest architecture"
        )
    return found[:count]


def agreement(
    space: SearchSpace, sums: Mapping[int, np.ndarray], limit: Limit, rng: np.random.Generator
) -> pd.DataFrame:
    """Return how well supernets of different seeds agree on architectures within a limit, one row per pair.

    `sums` are by seed. Architectures are those of the enumerated space, or up to 2,000 different random ones
    of another space. `tau` is Kendall's tau-b between the angles of both seeds. `tau_structure` is that
    between the angles of `seed` and the parameters that the output depends on. `better` is the share of
    architectures to which `other` gives a larger angle than to the best architecture of `seed`.
    """
    if isinstance(space, NASBench201):
        genes = _within(space, limit)
        genes = np.unique(space.canonical(genes), axis=0)
    else:
        genes = random_choices(space, limit, rng, _SAMPLE)
    usage, size = space.usage(genes), space.cost(genes, **limit.network)[0]
    scores = {seed: angles(usage, of) for seed, of in sums.items()}
    rows = []
    for seed, other in permutations(scores, 2):
        best = scores[seed].argmax()
        rows.append(
            {
                "seed": seed,
                "other": other,
                "tau": kendall(scores[seed], scores[other], "discounted"),
                "tau_structure": kendall(scores[seed], size, "discounted"),
                "better": float((scores[other] > scores[other][best]).mean()),
                "architectures": len(genes),
            }
        )
    return pd.DataFrame(rows, columns=["seed", "other", "tau", "tau_structure", "better", "architectures"])


def candidates(
    space: SearchSpace,
    sums: Mapping[int, np.ndarray],
    choice: Choice,
    limit: Limit,
    rng: np.random.Generator,
    evolution: Mapping[str, Any],
    seeds: Sequence[int],
) -> pd.DataFrame:
    """Return the architectures to compare, one per row, with their cost and their angle in all supernets.

    `found` is the choice and `structure` the `structural_choice`. `random-SEED` is drawn at random for each
    of `seeds`; they are different, as long as the limit leaves as many as there are seeds. `evolution` is the
    result of evolution, and `seed-SEED` is the choice of each supernet of `sums` alone. In NAS-Bench-201,
    `residual` is a cell of residual blocks with the most channels that need no more FLOPs than `found`.
    """
    drawn = random_choices(space, limit, rng, len(seeds))
    rows = {"found": choice.genes, "structure": structural_choice(space, limit, rng, evolution)}
    rows |= {f"random-{seed}": drawn[number % len(drawn)] for number, seed in enumerate(seeds)}
    rows["evolution"] = choice.evolved.genes
    for seed, own in sums.items():
        rows[f"seed-{seed}"] = choose(space, [own], limit, rng, evolution).genes
    residual: dict[str, Any] = {}
    if isinstance(space, NASBench201):
        _, flops = space.cost(choice.genes[None], **limit.network)
        rows["residual"] = RESIDUAL
        residual["channels"] = space.widest(RESIDUAL, flops[0], **limit.network) or 1
    total = np.sum(list(sums.values()), axis=0)
    table = []
    for name, genes in rows.items():
        sizes = {**limit.network, **(residual if name == "residual" else {})}
        (params,), (flops,) = space.cost(genes[None], **sizes)
        row = {
            "architecture": name,
            "arch": space.to_string(genes[None])[0],
            "params": params,
            "flops": flops,
        }
        row |= {"channels": sizes.get("channels", space.channels)} if space.channels else {}
        row["angle"] = float(angles(space.usage(genes[None]), total)[0])
        table.append(row | {"bound": choice.bound, "proven": choice.proven} if name == "found" else row)
    return pd.DataFrame(table)


def _within(space: NASBench201, limit: Limit) -> np.ndarray:
    """All architectures (N, 6) within a limit whose output depends on the images."""
    genes = space.enumerate()
    kept = genes[limit.keeps(space, genes) & space.live_paths(genes).any(axis=1)]
    if not len(kept):
        raise ValueError(
            f"limit: got {limit.most:.4g} {limit.measure}; accepted: at least {limit.cheapest(space):.4g}, "
            "the cost of the cheapest architecture"
        )
    return kept
