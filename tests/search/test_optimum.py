"""The exact optimum under a cost limit against brute force over cut-down spaces."""

import itertools

import numpy as np
import pytest

from rlnas_core.benchmark.ranking import TIES, kendall
from rlnas_core.search import optimum
from rlnas_core.search.angle import angles, structure
from rlnas_core.search.evolution import evolve
from rlnas_core.search.optimum import largest_angle
from rlnas_core.spaces import DARTS, MobileNet


def plausible_sums(space, turn, rng):
    """Sums of weights that grow with their operation's size and turned by about `turn`."""
    size = space.cost_table()[1][0].reshape(-1) + 50.0
    initial = size / size.mean()
    final = initial * rng.uniform(0.3, 1.5, len(size))
    dot = np.sqrt(initial * final) * np.cos(turn + rng.normal(0, 0.15, len(size)))
    return np.concatenate([[[3.0, 5.0, 4.0]], np.stack([dot, initial, final], axis=1)])


def cut_down(space, rows, free):
    """The space with only some layouts and a choice in only some genes; and all that is left of it."""
    slots, counts, allowed = type(space).layouts(space)
    rng = np.random.default_rng(1)
    rows = np.sort(rng.choice(len(slots), min(rows, len(slots)), replace=False))
    slots, counts, allowed = slots[rows], counts[rows], allowed.copy()
    for gene in range(space.num_genes):
        possible = np.flatnonzero(allowed[gene])
        kept = rng.choice(possible, 4 if gene in free else 1, replace=False)
        allowed[gene] = np.isin(np.arange(len(space.operations)), kept)
    space.layouts = lambda: (slots, counts, allowed)
    everything = []
    for layout in slots:
        choices = itertools.product(*(np.flatnonzero(allowed[gene]) for gene in layout))
        genes = np.zeros((int(np.prod(allowed[layout].sum(axis=1))), space.num_genes), dtype=np.int8)
        genes[:, layout] = list(choices)
        everything.append(genes)
    return np.concatenate(everything)


@pytest.mark.parametrize(
    ("first_beam", "turn", "quantile"),  # each two of these values meet
    [
        ([1, 5, 1000][one], [0.6, 1.4, 1.8][other], [0.05, 0.5, None][(one + other) % 3])
        for one, other in itertools.product(range(3), range(3))
    ],
)
@pytest.mark.parametrize(
    ("space", "layouts", "free"), [(MobileNet(), 1, range(3, 9)), (DARTS("any"), 40, (0, 2, 4, 6, 15, 17))]
)
def test_optimum_is_the_one_that_brute_force_finds(
    space, layouts, free, turn, quantile, first_beam, monkeypatch
):
    monkeypatch.setattr(optimum, "_FIRST_BEAM", first_beam)
    everything = cut_down(space, layouts, free)
    sums = plausible_sums(space, turn, np.random.default_rng(0))
    flops = space.cost(everything)[1]
    limit = np.inf if quantile is None else np.quantile(flops, quantile)
    within = everything[flops <= limit]
    scores = angles(space.usage(within), sums)
    start = within[np.argmin(flops[flops <= limit])]
    found = largest_angle(space, sums, start, limit=limit)
    assert found.proven
    assert found.angle == pytest.approx(scores.max(), abs=1e-9)
    assert angles(space.usage(found.genes[None]), sums)[0] == pytest.approx(found.angle, abs=1e-9)
    assert space.cost(found.genes[None])[1][0] <= limit


@pytest.mark.parametrize(("space", "limit"), [(MobileNet(), 475e6), (DARTS("any"), 600e6)])
def test_whole_space_is_solved_and_evolution_does_not_beat_it(space, limit):
    sums = plausible_sums(space, 1.4, np.random.default_rng(2))
    evolved = evolve(
        space,
        lambda genes: angles(space.usage(genes), sums),
        np.random.default_rng(0),
        population=50,
        keep=10,
        mutations=25,
        crossovers=25,
        feasible=lambda genes: space.cost(genes)[1] <= limit,
    )
    assert space.cost(evolved.genes[None])[1][0] <= limit
    found = largest_angle(space, sums, evolved.genes, limit=limit)
    assert found.proven or found.bound - found.angle < 0.002
    assert found.angle >= evolved.fitness - 1e-12
    assert space.cost(found.genes[None])[1][0] <= limit


@pytest.mark.parametrize(
    ("layouts", "free", "turn", "seed", "quantile"),  # partial architectures are left out, or layouts alone
    [(40, (0, 2, 4, 6, 15, 17), 1.8, 0, 0.5), (200, (), 1.4, 2, 0.1)],
)
def test_search_without_a_proof_says_so_and_bounds_what_it_may_have_missed(
    layouts, free, turn, seed, quantile
):
    space = DARTS("any")
    everything = cut_down(space, layouts, free)
    sums = plausible_sums(space, turn, np.random.default_rng(seed))
    flops = space.cost(everything)[1]
    limit = np.quantile(flops, quantile)
    best = angles(space.usage(everything[flops <= limit]), sums).max()
    hasty = largest_angle(space, sums, everything[np.argmin(flops)], limit=limit, most=1)
    assert not hasty.proven
    assert hasty.angle < best - 1e-3
    assert best <= hasty.bound + 1e-9


@pytest.mark.parametrize(("space", "layouts"), [(MobileNet(), 1), (DARTS("any"), 10)])
def test_an_architecture_that_costs_as_much_as_the_limit_is_within_it(space, layouts):
    everything = cut_down(space, layouts, range(3, 7))
    sums = plausible_sums(space, 1.4, np.random.default_rng(0))
    scores, (params, flops) = angles(space.usage(everything), sums), space.cost(everything)
    best = everything[scores.argmax()]
    for measure, costs in (("params", params), ("flops", flops)):
        start, limit = everything[costs.argmin()], costs[scores.argmax()]
        found = largest_angle(space, sums, start, limit=limit, measure=measure)
        assert found.proven
        np.testing.assert_array_equal(found.genes, best)


def test_start_over_the_limit_is_refused():
    space = MobileNet()
    sums = plausible_sums(space, 1.4, np.random.default_rng(2))
    start = np.zeros(21, dtype=np.int8)
    with pytest.raises(
        ValueError, match=r"limit: the architecture to start from costs .*; accepted: at most 1e"
    ):
        largest_angle(space, sums, start, limit=1e6)


@pytest.mark.parametrize("space", [MobileNet(), DARTS()])
def test_control_ranks_as_the_angle_where_all_weights_of_an_operation_turn_alike(space):
    rng = np.random.default_rng(0)
    sums = plausible_sums(space, 1, rng)
    turns = np.tile(rng.uniform(0.5, 1.5, len(space.operations)), space.num_genes)
    genes = space.sample(200, rng)
    before = structure(space, sums, genes, "in-order")
    sums[1:, 0] = np.sqrt(sums[1:, 1] * sums[1:, 2]) * np.cos(turns)
    after = structure(space, sums, genes, "in-order")
    assert after["operation-average-angle"] > 0.999 > before["operation-average-angle"]
    assert set(after) == {"params", "flops", "operation-average-angle"}


@pytest.mark.parametrize("ties", TIES)
def test_structure_treats_ties_as_the_tables_do(ties):
    space, rng = MobileNet(), np.random.default_rng(0)
    sums, genes = plausible_sums(space, 1, rng), space.sample(50, rng)[rng.integers(50, size=200)]
    params, _ = space.cost(genes)
    scores = angles(space.usage(genes), sums)
    assert structure(space, sums, genes, ties)["params"] == kendall(params, scores, ties)
