import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlnas_core import spaces
from rlnas_core.search.evolution import _fittest, evolve, exact_best, random_architectures


class ToySpace:
    """Chains of operations that start with something."""

    operations = ("none", "skip", "conv", "pool")
    never_mutated = slice(0)

    def __init__(self, num_genes=4):
        self.num_genes = num_genes

    def sample(self, n, rng):
        return self.repair(rng.integers(len(self.operations), size=(n, self.num_genes), dtype=np.int8), rng)

    def repair(self, genes, rng):
        genes = genes.copy()
        genes[genes[:, 0] == 0, 0] = 1
        return genes

    def enumerate(self):
        grid = np.indices((len(self.operations),) * self.num_genes, dtype=np.int8)
        return grid.reshape(self.num_genes, -1).T

    def to_string(self, genes):
        return ["-".join(self.operations[gene] for gene in row) for row in genes]


class Counting:
    """A fitness that remembers what it was asked."""

    def __init__(self, function):
        self.function = function
        self.asked = []

    def __call__(self, genes):
        self.asked.append(genes.copy())
        return self.function(genes)


def many_convs(genes):
    return (genes == 2).sum(axis=1).astype(float)


@given(
    seed=st.integers(0, 2**32 - 1),
    num_genes=st.integers(1, 6),
    bred=st.tuples(st.integers(0, 8), st.integers(0, 8)),
    filled=st.integers(1, 5),
    keep=st.integers(1, 12),
    iterations=st.integers(1, 5),
)
@settings(max_examples=40, deadline=None)
def test_every_architecture_is_repaired_and_scored_once(seed, num_genes, bred, filled, keep, iterations):
    space = ToySpace(num_genes)
    fitness = Counting(many_convs)
    population = sum(bred) + filled
    found = evolve(space, fitness, np.random.default_rng(seed), population, iterations, keep, *bred)
    asked = np.concatenate(fitness.asked)
    assert asked.dtype == np.int8
    assert len(np.unique(asked, axis=0)) == len(asked) == len(found.trace)
    assert (asked[:, 0] != 0).all()
    assert all(len(genes) <= population for genes in fitness.asked)
    assert found.fitness == many_convs(asked).max() == many_convs(found.genes[None])[0]


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_the_limit_holds_for_every_architecture_scored(seed):
    fitness = Counting(many_convs)
    feasible = lambda genes: (genes == 2).sum(axis=1) <= 1  # noqa: E731
    found = evolve(ToySpace(), fitness, np.random.default_rng(seed), 20, 4, 5, 10, 5, feasible=feasible)
    assert feasible(np.concatenate(fitness.asked)).all()
    assert found.fitness == 1


def test_impossible_limit_is_refused():
    nothing = lambda genes: np.zeros(len(genes), bool)  # noqa: E731
    with pytest.raises(ValueError, match=r"none of 16000 random architectures is feasible.*raise the limit"):
        evolve(ToySpace(), many_convs, np.random.default_rng(0), 20, 2, 5, 5, 5, feasible=nothing)


def test_a_generation_holds_what_the_settings_say():
    trace = evolve(ToySpace(8), many_convs, np.random.default_rng(0), 40, 4, 10, 20, 15).trace
    assert list(trace.columns) == ["generation", "rank", "arch", "fitness", "origin"]
    counts = trace.groupby("generation")["origin"].value_counts().unstack(fill_value=0)
    assert counts.loc[0].to_dict() == {"random": 40, "mutation": 0, "crossover": 0}
    assert (counts.loc[1:, ["mutation", "crossover", "random"]].to_numpy() == [20, 15, 5]).all()
    for _, generation in trace.groupby("generation"):
        assert generation["rank"].tolist() == list(range(1, 41))
        assert generation["fitness"].is_monotonic_decreasing


@pytest.mark.parametrize(("probability", "given"), [(0.1, {}), (0.5, {"mutation_probability": 0.5})])
def test_each_gene_is_redrawn_with_the_mutation_probability(probability, given):
    fitness = Counting(many_convs)
    evolve(ToySpace(40), fitness, np.random.default_rng(0), 50, 2, 1, 50, 0, **given)
    parent = fitness.asked[0][_fittest(many_convs(fitness.asked[0]))[0]]
    same = np.where(parent == 0, 0, 1 / 3)  # of what is drawn: skip, conv or pool
    changed = (fitness.asked[1] != parent).mean()
    assert changed == pytest.approx(probability * (1 - same).mean(), abs=0.02)


def test_redrawn_genes_are_never_none_and_crossovers_only_mix_the_kept():
    space = ToySpace(6)
    only_none = lambda genes: (genes == 0).sum(axis=1).astype(float)  # noqa: E731
    fitness = Counting(only_none)
    evolve(space, fitness, np.random.default_rng(1), 30, 2, 1, 30, 0, mutation_probability=1.0)
    assert (fitness.asked[1] != 0).all()
    fitness = Counting(only_none)
    trace = evolve(space, fitness, np.random.default_rng(1), 30, 2, 2, 0, 30).trace
    first, second = fitness.asked[0][np.argsort(-only_none(fitness.asked[0]), kind="stable")[:2]]
    mixed = fitness.asked[1][: (trace["origin"] == "crossover").sum()]
    assert len(mixed)
    assert ((mixed == first) | (mixed == second)).all()


def test_parents_are_all_of_the_kept_alike_and_give_half_of_the_genes_each():
    space, fitness = ToySpace(60), Counting(many_convs)
    evolve(space, fitness, np.random.default_rng(0), 400, 2, 4, 200, 200)
    first, second = fitness.asked
    kept = first[_fittest(many_convs(first))[:4]]
    mutated, crossed = np.split((second[:, None] == kept).sum(axis=2), 2)
    assert np.bincount(mutated.argmax(axis=1), minlength=4).min() > 30  # of 50 each
    mates = np.argsort(-crossed, axis=1)[:, :2]
    assert np.bincount(mates.ravel(), minlength=4).min() > 70  # of 100 each
    for child, (one, other) in zip(second[200:], kept[mates], strict=True):
        differ = one != other
        assert ((child == one) | (child == other)).all()
        assert 0.15 < (child == one)[differ].mean() < 0.85


@pytest.mark.parametrize("name", ["nas_bench_201", "darts", "mobilenet"])
def test_mutations_and_crossovers_of_every_space_are_valid_architectures(name):
    space, rng = spaces.get(name), np.random.default_rng(0)
    fitness = Counting(lambda genes: (genes == 0).sum(axis=1) + (genes == genes[:, :1]).mean(axis=1))
    evolve(space, fitness, rng, 40, 4, 10, 20, 20, mutation_probability=0.5, mutated="all")
    asked = np.concatenate(fitness.asked)
    np.testing.assert_array_equal(space.repair(asked, rng), asked)


def test_evolution_finds_the_exact_best_and_ends_when_the_space_is_used_up():
    space = ToySpace(3)
    genes = space.enumerate()
    scores = np.random.default_rng(0).random(len(genes)) * (genes[:, 0] != 0)
    fitness = lambda some: scores[(some @ [16, 4, 1]).astype(int)]  # noqa: E731
    found = evolve(space, fitness, np.random.default_rng(0), 20, 20, 5, 10, 5)
    assert len(found.trace) == 48
    np.testing.assert_array_equal(found.genes, exact_best(space, scores))
    assert found.fitness == scores.max()


@pytest.mark.parametrize("wrong", [{"mutations": 60, "crossovers": 50}, {"keep": 0}])
def test_contradictory_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=r"evolution: got .*accepted: .*the population of 100"):
        evolve(ToySpace(), many_convs, np.random.default_rng(0), **wrong)


def test_scores_that_are_no_numbers_are_named():
    with pytest.raises(ValueError, match=r"no number for \d+ architectures, first \w+-\w+"):
        evolve(ToySpace(), lambda genes: np.full(len(genes), np.nan), np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"shape \(3,\); accepted: \(256,\)"):
        exact_best(ToySpace(), np.zeros(3))


def test_evolution_on_nas_bench_201_finds_the_largest_of_all_scores():
    space = spaces.get("nas_bench_201")
    genes = space.enumerate()
    scores = space.usage(genes) @ np.random.default_rng(3).random(space.usage(genes[:1]).shape[1])
    found = evolve(space, lambda some: scores[space.index(some)], np.random.default_rng(0))
    assert len(found.trace) == 2000
    assert found.trace["arch"].is_unique
    assert found.fitness >= np.sort(scores)[-30]
    assert space.to_string(found.genes[None])[0] == found.trace.loc[found.trace["fitness"].idxmax(), "arch"]


@pytest.mark.parametrize("mutated", ["reference", "all"])
def test_mutations_of_the_reference_leave_the_reduction_cell_alone(mutated):
    space = spaces.get("darts")
    settings = {"population": 20, "keep": 5, "mutations": 10, "crossovers": 0, "iterations": 5}
    rng = np.random.default_rng(0)
    trace = evolve(space, lambda genes: genes @ np.arange(28.0), rng, mutated=mutated, **settings).trace
    genes = {origin: space.from_string(rows["arch"]) for origin, rows in trace.groupby("origin")}
    parents = {tuple(row) for row in genes["random"][:, 14:].tolist()}
    inherited = [tuple(row) in parents for row in genes["mutation"][:, 14:].tolist()]
    assert all(inherited) == (mutated == "reference")


def test_unknown_mutation_is_refused():
    with pytest.raises(ValueError, match="mutated: got 'none'; accepted: reference, all"):
        evolve(ToySpace(), lambda genes: genes.sum(axis=1), np.random.default_rng(0), mutated="none")


# Of MobileNet-like architectures three in a thousand are within the limit.
@pytest.mark.parametrize(("space", "limit", "count"), [("darts", 450e6, 30), ("mobilenet", 475e6, 500)])
def test_random_architectures_keep_their_limit(space, limit, count):
    space = spaces.get(space)
    drawn = random_architectures(space, np.random.default_rng(0), count, limit)
    assert (space.cost(drawn)[1] <= limit).all()
    assert len(np.unique(drawn, axis=0)) == count
    with pytest.raises(ValueError, match="the cost of the cheapest"):
        random_architectures(space, np.random.default_rng(0), 1, 1e6)
