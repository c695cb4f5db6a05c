"""Search by evolution for the architecture with the highest score."""

import numpy as np

import job
from rlnas_core.search.evolution import evolve, exact_best
from rlnas_core.search.results import read_scores, result, tied
from rlnas_core.spaces import get

log = job.start(snakemake)
space = get("nas_bench_201")
scores = read_scores(snakemake.input.scores, space)[snakemake.wildcards.indicator].to_numpy()
rng = np.random.default_rng(int(snakemake.wildcards.seed))
found = evolve(space, lambda genes: scores[space.index(genes)], rng, **snakemake.params.settings)
found.trace.to_csv(snakemake.output.trace, index=False)
ties = tied(space.to_string(space.enumerate()), scores, found.fitness)
known = {**job.experiment(snakemake), "indicator": snakemake.wildcards.indicator}
best = result(space, "evolution", found.genes, found.fitness, tied=len(ties), **known)
optimum = result(space, "enumeration", exact_best(space, scores), scores.max())
for name, table in (("best", best), ("optimum", optimum), ("tied", ties)):
    table.to_csv(snakemake.output[name], index=False)
    log(f"{name}:\n{table.to_string(index=False)}")
