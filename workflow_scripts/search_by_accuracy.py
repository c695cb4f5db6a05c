"""Search a large space by validation accuracy under a supernet's weights, within a FLOPs limit."""

from pathlib import Path

import job
from rlnas_core.search.evolution import evolve
from rlnas_core.search.results import costs, result
from rlnas_core.spaces import get
from rlnas_core.training.checkpoint import remove_checkpoint

log = job.start(snakemake)
space = get(snakemake.wildcards.space)
checkpoint = job.checkpoint(snakemake, Path(snakemake.output.best).parent)
score = job.accuracy_scorer(snakemake, space, checkpoint, log)
limit, rng, of = job.large_search(snakemake)
evolution = snakemake.params.evolution
found = evolve(space, score, rng, feasible=job.within(space, limit), **evolution)
of["tied"] = job.write_evolution(snakemake, found)
by = "random-search" if of["search"] == "random-search" else "evolution"
best = result(space, by, found.genes, found.fitness, **of, **costs(space, found.genes))
best.to_csv(snakemake.output.best, index=False)
log(best.to_string(index=False))
remove_checkpoint(checkpoint)
