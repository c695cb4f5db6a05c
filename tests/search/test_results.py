"""A search leaves one architecture, and says how many tie with it."""

import numpy as np
import pandas as pd
import pytest

from rlnas_core.benchmark.accuracies import Benchmark
from rlnas_core.search.evolution import evolve
from rlnas_core.search.results import costs, look_up, named, read_best, read_scores, result, tied
from rlnas_core.spaces import get, published

SPACE, MOBILENET = get("nas_bench_201"), get("mobilenet")
ARCHS = SPACE.to_string(SPACE.enumerate())


def test_of_ties_the_one_scored_first_is_the_result_and_all_are_listed(tmp_path):
    scores = np.zeros(len(ARCHS))
    scores[7::50] = 1
    scores[8::50] = 1 - 1e-8  # near, but not equal up to rounding
    order = []

    def fitness(genes):
        order.extend(SPACE.index(genes))
        return scores[SPACE.index(genes)]

    found = evolve(SPACE, fitness, np.random.default_rng(0), iterations=3)
    ties = tied(ARCHS, scores + 1e-14 * np.arange(len(ARCHS)), found.fitness)
    assert ties["arch"].tolist() == ARCHS[7::50]
    result(SPACE, "evolution", found.genes, found.fitness, tied=len(ties), space="x").to_csv(
        tmp_path / "best.csv", index=False
    )
    best = read_best(tmp_path / "best.csv")
    assert best["arch"] == ARCHS[next(index for index in order if scores[index] == 1)]
    assert best["tied"] == len(ARCHS[7::50])


def test_two_architectures_are_no_result(tmp_path):
    (tmp_path / "best.csv").write_text("found_by,arch,score,tied\nevolution,a,1,1\nenumeration,b,1,1\n")
    with pytest.raises(ValueError, match=r"best\.csv can't be read .*got 2 rows, expected 1.*delete it"):
        read_best(tmp_path / "best.csv")


def test_what_searches_found_is_looked_up_in_every_column(tmp_path):
    accuracies = np.linspace(10, 90, len(ARCHS))
    columns = {"cifar10_test": accuracies, "cifar100_test": accuracies[::-1]}
    benchmark = Benchmark(pd.DataFrame({"arch": ARCHS, **columns}))
    of = {"dataset": "digits", "labels": "uniform-once", "categories": 10, "indicator": "angle"}
    genes = SPACE.enumerate()
    for seed in (0, 1):
        best = result(SPACE, "evolution", genes[seed], 1.0, tied=1, seed=seed, **of)
        best.to_csv(tmp_path / f"{seed}.csv", index=False)
    found = look_up([tmp_path / "0.csv", tmp_path / "1.csv"], benchmark).set_index(["column", "seed"])
    assert found.loc["cifar10_test", "accuracy"].tolist() == accuracies[:2].tolist()
    assert found.loc["cifar100_test", "accuracy"].tolist() == accuracies[:-3:-1].tolist()
    assert look_up([], benchmark).empty


def test_an_architecture_that_nobody_published_is_refused():
    with pytest.raises(ValueError, match=r"architecture: got typo; accepted: .*DARTS-v2"):
        named(get("darts"), "typo")


def test_scores_of_a_part_of_the_space_are_refused(tmp_path):
    lines = ["index,angle\n", *(f"{index},0.5\n" for index in range(8247))]
    (tmp_path / "angle.csv").write_text("".join(lines))
    with pytest.raises(ValueError, match=r"angle\.csv .*got 8247 rows, expected 15625.*delete it"):
        read_scores(tmp_path / "angle.csv", SPACE)


def test_an_architecture_is_published_random_found_or_a_candidate(tmp_path):
    darts, rng = get("darts"), np.random.default_rng(0)
    first, second = darts.to_string(darts.sample(2, rng))
    best, candidates = tmp_path / "best.csv", tmp_path / "candidates.csv"
    best.write_text(f'found_by,arch,score,tied,channels_within_600M\nevolution,"{first}",1,1,40\n')
    candidates.write_text(
        f'architecture,arch,params,flops,channels\nfound,"{first}",9,90,8\nstructure,"{second}",5,50,12\n'
    )
    rows = {
        "published": named(darts, "RLNAS-cifar10"),
        "random": named(darts, "random-1-450"),
        "found": named(darts, "imagenet-1000-0-none", best=best),
        "scaled": named(darts, "imagenet-1000-0-none-scaled", best=best),
        "candidate": named(darts, "structure", candidates=candidates),
        "mobilenet": named(MOBILENET, "RLNAS-mobilenet"),
    }
    of = {name: row.iloc[0] for name, row in rows.items()}
    assert of["published"]["arch"] == darts.to_string(published()["RLNAS-cifar10"].genes[None])[0]
    assert of["random"]["flops"] <= 450e6
    assert of["random"].equals(named(darts, "random-1-450").iloc[0])
    assert of["random"]["arch"] != named(darts, "random-2-450").iloc[0]["arch"]
    assert (of["found"]["arch"], of["found"]["channels"]) == (first, darts.channels)
    assert (of["scaled"]["arch"], of["scaled"]["channels"]) == (first, 40)
    assert of["scaled"]["params"] < of["found"]["params"]
    assert of["candidate"][["arch", "params", "flops", "channels"]].tolist() == [second, 5, 50, 12]
    assert "channels" not in of["mobilenet"]


def test_costs_of_what_a_search_found_are_those_of_the_default_size_and_say_how_wide_it_may_be():
    for space, name, channels in ((get("darts"), "RLNAS-cifar10", 46), (MOBILENET, "RLNAS-mobilenet", None)):
        genes = published()[name].genes
        params, flops = (int(cost[0]) for cost in space.cost(genes[None]))
        assert costs(space, genes) == {"params": params, "flops": flops, "channels_within_600M": channels}
