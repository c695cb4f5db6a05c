"""Search by evolution, or among random architectures, for the one with the highest score."""

from pathlib import Path

import numpy as np

import job
from rlnas_core.search.evolution import evolve, exact_best
from rlnas_core.search.results import read_scores, result, tied
from rlnas_core.spaces import get

log = job.start(snakemake)
space, search = get("nas_bench_201"), snakemake.wildcards.search
scores = read_scores(snakemake.input.scores, space)[Path(snakemake.input.scores).stem].to_numpy()
rng = np.random.default_rng(int(snakemake.wildcards.seed))
found = evolve(space, lambda genes: scores[space.index(genes)], rng, **snakemake.params.settings)
found.trace.to_csv(snakemake.output.trace, index=False)
ties = tied(space.to_string(space.enumerate()), scores, found.fitness)
known = {**job.experiment(snakemake), "indicator": search}
by = "random-search" if search == "random-search" else "evolution"
best = result(space, by, found.genes, found.fitness, tied=len(ties), **known)
optimum = result(space, "enumeration", exact_best(space, scores), scores.max())
for name, table in (("best", best), ("optimum", optimum), ("tied", ties)):
    table.to_csv(snakemake.output[name], index=False)
    log(f"{name}:\n{table.to_string(index=False)}")
