"""Search a large space by validation accuracy under a supernet's weights, within a FLOPs limit."""

import numpy as np

import job
from rlnas_core.search.evolution import evolve
from rlnas_core.search.results import result, tied
from rlnas_core.spaces import get

log = job.start(snakemake)
wildcards, params = snakemake.wildcards, snakemake.params
space = get(wildcards.space)
score = job.accuracy_scorer(snakemake, space, log)
limit = np.inf if wildcards.limit == "none" else 1e6 * int(wildcards.limit)
rng = np.random.default_rng(int(wildcards.seed))
found = evolve(space, score, rng, feasible=lambda genes: space.cost(genes)[1] <= limit, **params.evolution)
found.trace.to_csv(snakemake.output.trace, index=False)
ties = tied(found.trace["arch"].tolist(), found.trace["fitness"].to_numpy(), found.fitness)
costs, macs = space.cost(found.genes[None])
names = ("limit", "space", "dataset", "labels", "categories", "seed", "search")
known = {name: wildcards[name] for name in names} | {"tied": len(ties), "params": costs[0], "macs": macs[0]}
known["channels_within_600M"] = space.widest(found.genes, 600e6)
by = "random-search" if wildcards.search == "random-search" else "evolution"
best = result(space, by, found.genes, found.fitness, **known)
best.to_csv(snakemake.output.best, index=False)
ties.to_csv(snakemake.output.tied, index=False)
log(best.to_string(index=False))
