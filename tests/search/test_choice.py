"""One architecture of several supernets, within a limit, and those that it is compared with."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from rlnas_core.search.angle import angles
from rlnas_core.search.choice import (
    RESIDUAL,
    Limit,
    agreement,
    candidates,
    choose,
    random_choices,
    structural_choice,
)
from rlnas_core.spaces import DARTS, MobileNet, NASBench201
from rlnas_core.spaces.nas_bench_201 import PATHS

EVOLUTION = {"population": 20, "iterations": 3, "keep": 5, "mutations": 10, "crossovers": 5}
SIZES = {
    "nas_bench_201": {"channels": 8, "cells": 1, "image_size": 16, "classes": 3, "in_channels": 1},
    "darts": {"channels": 4, "cells": 3, "image_size": 16, "classes": 3, "imagenet": False},
    "mobilenet": {"image_size": 32, "classes": 3},
}


def sums(space, seed):
    """Sums of weight groups that turned by angles of their own, around a right one."""
    rng, size = np.random.default_rng(seed), space.cost_table()[1][0].reshape(-1) + 50.0
    initial = size / size.mean()
    dot = initial * np.cos(1.2 + rng.normal(0, 0.2, len(size)))
    return np.concatenate([[[3.0, 5.0, 4.0]], np.stack([dot, initial, initial], axis=1)])


@pytest.mark.parametrize(
    ("space", "measure"),
    [
        (NASBench201(), "flops"),
        (NASBench201(), "params"),
        (DARTS("any"), "params"),
        (MobileNet(), "params"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_choice_keeps_the_limit_at_the_stated_size_in_every_space(space, measure):
    """No random architecture within the limit has a larger angle."""
    free = Limit(np.inf, measure, SIZES[space.name])
    sample = space.sample(2000, np.random.default_rng(0))
    limit = Limit(float(np.quantile(free.cost(space, sample), 0.4)), measure, SIZES[space.name])
    both = [sums(space, seed) for seed in (0, 1)]
    found = choose(space, both, limit, np.random.default_rng(0), EVOLUTION)
    assert limit.keeps(space, found.genes[None])[0]
    scores = angles(space.usage(sample), np.sum(both, axis=0))
    assert found.angle >= scores[limit.keeps(space, sample)].max() - 1e-9
    assert found.bound >= found.angle >= found.evolved.fitness - 1e-9
    structural = structural_choice(space, limit, np.random.default_rng(0), EVOLUTION)
    drawn = random_choices(space, limit, np.random.default_rng(0), 3)
    assert limit.keeps(space, np.stack([structural, *drawn])).all()


def test_of_equal_angles_the_cheaper_architecture_is_chosen():
    space, limit = NASBench201(), Limit(network=SIZES["nas_bench_201"])
    found = choose(space, [sums(space, 0)], limit, np.random.default_rng(0), EVOLUTION)
    assert np.array_equal(space.canonical(found.genes[None])[0], found.genes)


def test_structure_alone_chooses_the_largest_cell_and_needs_no_supernet():
    space = NASBench201()
    free = structural_choice(
        space, Limit(network=SIZES["nas_bench_201"]), np.random.default_rng(0), EVOLUTION
    )
    assert (free == 3).all()  # 3x3 convolutions everywhere


@pytest.mark.parametrize("measure", ["params", "flops"])
def test_structure_within_a_limit_is_the_most_live_parameters_then_the_most_on_paths(measure):
    space, free = NASBench201(), Limit(np.inf, measure, SIZES["nas_bench_201"])
    genes = space.enumerate()
    genes = genes[space.live_paths(genes).any(axis=1)]
    _, table = space.cost_table(**free.network)
    weights, cost, choices = table[0, 0], free.cost(space, genes), []
    live = (weights[genes] * space.live_edges(genes)).sum(axis=1)
    on_paths = (weights[genes] * (space.live_paths(genes) @ PATHS.astype(int))).sum(axis=1)
    for share in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9):
        limit = replace(free, most=float(np.quantile(cost, share)))
        within = [row for row in range(len(genes)) if cost[row] <= limit.most]
        best = max(within, key=lambda row: (live[row], on_paths[row], -row))
        found = structural_choice(space, limit, np.random.default_rng(0), EVOLUTION)
        np.testing.assert_array_equal(found, genes[best])
        choices.append(best)
    assert len(set(choices)) > 3


def test_agreement_is_of_the_different_functions_within_the_limit():
    space, free = NASBench201(), Limit(network=SIZES["nas_bench_201"])
    genes = space.enumerate()
    limit = replace(free, most=float(np.median(free.cost(space, genes))))
    genes = genes[limit.keeps(space, genes) & space.live_paths(genes).any(axis=1)]
    genes = genes[(space.canonical(genes) == genes).all(axis=1)]
    by_seed = {3: sums(space, 0), 5: sums(space, 1)}
    scores = {seed: angles(space.usage(genes), of) for seed, of in by_seed.items()}
    params, _ = space.cost(genes)
    table = agreement(space, by_seed, limit, np.random.default_rng(0)).set_index(["seed", "other"])
    assert list(table.index) == [(3, 5), (5, 3)]
    for (seed, other), found in table.iterrows():
        better = (scores[other] > scores[other][scores[seed].argmax()]).mean()
        assert found["better"] == better > 0
        assert found["tau"] == pytest.approx(stats.kendalltau(scores[seed], scores[other]).statistic)
        assert found["tau_structure"] == pytest.approx(stats.kendalltau(scores[seed], params).statistic)
        assert found["architectures"] == len(genes)


def test_seeds_agree_with_themselves_and_less_with_others():
    space, limit = NASBench201(), Limit(network=SIZES["nas_bench_201"])
    same = agreement(space, {0: sums(space, 0), 1: sums(space, 0)}, limit, np.random.default_rng(0))
    assert same["tau"].tolist() == pytest.approx([1, 1])
    assert same["better"].tolist() == [0, 0]
    other = agreement(space, {0: sums(space, 0), 1: sums(space, 1)}, limit, np.random.default_rng(0))
    assert (other["tau"] < 0.9).all()


def test_candidates_name_each_seeds_choice_and_a_residual_cell_of_equal_cost():
    space, limit = NASBench201(), Limit(network=SIZES["nas_bench_201"])
    by_seed = {seed: sums(space, seed) for seed in (3, 5)}
    choice = choose(space, list(by_seed.values()), limit, np.random.default_rng(0), EVOLUTION)
    table = candidates(space, by_seed, choice, limit, np.random.default_rng(0), EVOLUTION, [0, 1])
    names = ["found", "structure", "random-0", "random-1", "evolution", "seed-3", "seed-5", "residual"]
    assert table["architecture"].tolist() == names
    table = table.set_index("architecture")
    assert table.loc["found", "angle"] == pytest.approx(choice.angle)
    for seed, own in by_seed.items():
        alone = choose(space, [own], limit, np.random.default_rng(1), EVOLUTION).genes[None]
        assert table.loc[f"seed-{seed}", "arch"] == space.to_string(alone)[0] != table.loc["found", "arch"]
    assert table["bound"].dropna().to_dict() == {"found": choice.bound}
    assert table["proven"].dropna().to_dict() == {"found": choice.proven}
    assert table.loc["residual", "flops"] <= table.loc["found", "flops"]
    wider = space.widest(RESIDUAL, table.loc["residual", "flops"], **limit.network)
    assert table.loc["residual", "channels"] == wider
    limit = replace(limit, network={k: v for k, v in limit.network.items() if k != "channels"})
    table = candidates(space, by_seed, choice, limit, np.random.default_rng(0), EVOLUTION, [0])
    assert table.set_index("architecture").loc["found", "channels"] == space.channels


@pytest.mark.parametrize("space", [NASBench201(), MobileNet()], ids=lambda space: space.name)
def test_random_architectures_are_different_and_as_many_as_a_limit_leaves(space):
    free = Limit(network=SIZES[space.name])
    costs = np.unique(free.cost(space, space.canonical(space.sample(20_000, np.random.default_rng(1)))))
    limit = Limit(float(costs[2]), network=free.network)
    drawn = random_choices(space, limit, np.random.default_rng(0), 2000)
    assert 1 < len(drawn) < 2000
    assert len(np.unique(drawn, axis=0)) == len(drawn)
    first = random_choices(space, limit, np.random.default_rng(0), 2)
    assert np.array_equal(first, drawn[:2])
    if space.name == "mobilenet":
        by_seed = {seed: sums(space, seed) for seed in (0, 1)}
        agreed = agreement(space, by_seed, limit, np.random.default_rng(0))
        assert agreed["architectures"].tolist() == [len(drawn)] * 2


def test_random_candidates_differ_and_repeat_only_if_the_limit_leaves_too_few():
    space, free = NASBench201(), Limit(network=SIZES["nas_bench_201"])
    genes = space.enumerate()
    genes = np.unique(space.canonical(genes[space.live_paths(genes).any(axis=1)]), axis=0)
    for most in np.unique(free.cost(space, genes))[[0, 2]]:
        limit = Limit(float(most), network=free.network)
        left = int(limit.keeps(space, genes).sum())
        seeds, by_seed = range(left + 1), {0: sums(space, 0)}
        choice = choose(space, [by_seed[0]], limit, np.random.default_rng(0), EVOLUTION)
        table = candidates(space, by_seed, choice, limit, np.random.default_rng(0), EVOLUTION, seeds)
        archs = table.set_index("architecture").loc[[f"random-{seed}" for seed in seeds], "arch"]
        assert archs.iloc[:-1].nunique() == left
        assert archs.iloc[-1] == archs.iloc[0]


def test_a_limit_below_the_cheapest_network_names_what_that_takes():
    space, limit = NASBench201(), Limit(10, "flops", SIZES["nas_bench_201"])
    refused = r"limit: got 10 flops; accepted: at least 4.*, the cost of the cheapest"
    with pytest.raises(ValueError, match=refused):
        structural_choice(space, limit, np.random.default_rng(0), EVOLUTION)
    with pytest.raises(ValueError, match="limit: got 10 flops; accepted: more than"):
        random_choices(space, limit, np.random.default_rng(0), 1)
