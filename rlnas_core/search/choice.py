"""One architecture from supernets of several seeds, within a limit, and what it has to be compared with."""

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
_DRAWN, _RARE = 10_000, 1 / 500


@dataclass(frozen=True)
class Limit:
    """How much a stand-alone network may have or take: `most` parameters or FLOPs, by `measure`.

    `network` are the sizes that cost is counted for, as the space's `cost` names them: image size, classes,
    channels and cells.
    """

    most: float = np.inf
    measure: str = "flops"
    network: Mapping[str, Any] = field(default_factory=dict)

    def cost(self, space: SearchSpace, genes: np.ndarray) -> np.ndarray:
        """What is limited, of architectures (N, genes): (N,)."""
        return space.cost(genes, **self.network)[MEASURES.index(self.measure)]

    def keeps(self, space: SearchSpace, genes: np.ndarray) -> np.ndarray:
        """Which architectures (N, genes) keep the limit, (N,) bool."""
        return self.cost(space, genes) <= self.most

    def cheapest(self, space: SearchSpace) -> float:
        """What no architecture goes below."""
        return space.cheapest(self.measure, **self.network)

    def common(self, space: SearchSpace) -> float:
        """What one of 500 random architectures doesn't exceed, so that evolution has some to begin with."""
        genes = space.sample(_DRAWN, np.random.default_rng(0))
        return float(np.quantile(self.cost(space, genes), _RARE, method="higher"))


@dataclass(frozen=True)
class Choice:
    """The architecture with the largest angle within a limit, and what is known of better ones.

    `genes` is (num_genes,) and `angle` its angle in radians; none within the limit exceeds `bound`; `proven`
    says that they are the same. `evolved` is what evolution found beside it.
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
    """Find the architecture with the largest angle of all supernets' weights, taken as one vector.

    `sums` are the (G, 3) of `angle.group_sums`, one of each supernet: their sum is that of the vector. Of
    equal angles the cheaper architecture is chosen. `evolution` are settings of `evolution.evolve`. Raises
    ValueError where no architecture keeps the limit.
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
    """Choose an architecture (genes,) without any training: the most parameters that its output depends on.

    Of equally many in NAS-Bench-201, the one that counts most of them in the vector of eq. 9, then the first.
    In the other spaces evolution looks for it.
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
    """Draw architectures (count, genes) within a limit, without operations that no output depends on.

    Raises ValueError where none turns up.
    """
    found = np.empty((0, space.num_genes), np.int8)
    for _ in range(_ROUNDS):
        genes = space.canonical(space.sample(_SAMPLE, rng))
        genes = genes[space.usage(genes).any(axis=1)]  # its output depends on the images
        found = np.concatenate([found, genes[limit.keeps(space, genes)]])
        if len(found) >= count:
            break
    if not len(found):
        raise ValueError(
            f"limit: got {limit.most:.4g} {limit.measure}; accepted: more than {limit.cheapest(space):.4g}, "
            "what the cheapest architecture has"
        )
    return found[np.arange(count) % len(found)]


def agreement(
    space: SearchSpace, sums: Mapping[int, np.ndarray], limit: Limit, rng: np.random.Generator
) -> pd.DataFrame:
    """Return how well supernets of different seeds agree on architectures within a limit, a row a pair.

    `sums` are by seed. `tau` is Kendall's tau-b of the angles of the enumerated space, or of 2,000 random
    architectures of another one; `tau_structure` is that of the seed's angles with the parameters that the
    output depends on; `better` is the share of architectures to which `other` gives a larger angle than to
    the one that `seed` likes best.
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
    """Return the architectures to compare, a row each: their cost, and their angle in all supernets together.

    `found` is the choice, `structure` what needs no training, `random-SEED` one drawn for each of `seeds`,
    `evolution` what evolution found beside the exact optimum, and `seed-SEED` the choice of each supernet of
    `sums` alone. In NAS-Bench-201, `residual` is a cell of residual blocks with the most channels that take
    no more FLOPs than `found`.
    """
    drawn = random_choices(space, limit, rng, len(seeds))
    rows = {"found": choice.genes, "structure": structural_choice(space, limit, rng, evolution)}
    rows |= {f"random-{seed}": genes for seed, genes in zip(seeds, drawn, strict=True)}
    rows["evolution"] = choice.evolved.genes
    for seed, own in sums.items():
        rows[f"seed-{seed}"] = choose(space, [own], limit, rng, evolution).genes
    residual: dict[str, Any] = {}
    if isinstance(space, NASBench201):
        _, flops = space.cost(choice.genes[None], **limit.network)
        rows["residual"] = RESIDUAL
        residual["channels"] = channels_of_equal_cost(space, RESIDUAL, flops[0], limit.network)
    total = np.sum(list(sums.values()), axis=0)
    table = []
    for name, genes in rows.items():
        sizes = {**limit.network, **(residual if name == "residual" else {})}
        (params,), (macs,) = space.cost(genes[None], **sizes)
        row = {"architecture": name, "arch": space.to_string(genes[None])[0], "params": params, "macs": macs}
        row |= {"channels": sizes["channels"]} if space.channels else {}
        row["angle"] = float(angles(space.usage(genes[None]), total)[0])
        table.append(row | {"bound": choice.bound, "proven": choice.proven} if name == "found" else row)
    return pd.DataFrame(table)


def channels_of_equal_cost(
    space: NASBench201, genes: np.ndarray, flops: float, network: Mapping[str, Any]
) -> int:
    """The most channels with which an architecture (6,) takes at most so many FLOPs, at least 1."""
    channels = 1
    while space.cost(genes[None], **{**network, "channels": channels + 1})[1][0] <= flops:
        channels += 1
    return channels


def _within(space: NASBench201, limit: Limit) -> np.ndarray:
    """All architectures (N, 6) that keep a limit and whose output depends on the images."""
    genes = space.enumerate()
    kept = genes[limit.keeps(space, genes) & space.live_paths(genes).any(axis=1)]
    if not len(kept):
        raise ValueError(
            f"limit: got {limit.most:.4g} {limit.measure}; accepted: at least {limit.cheapest(space):.4g}, "
            "what the cheapest architecture has"
        )
    return kept
