"""Search a large space by angle within a FLOPs limit: by evolution, and for the exact optimum."""

import numpy as np
import pandas as pd

import job
from rlnas_core.search.angle import angles, group_sums, structure
from rlnas_core.search.evolution import evolve, random_architectures
from rlnas_core.search.optimum import largest_angle
from rlnas_core.search.results import result, tied
from rlnas_core.training.statistics import Statistics

log = job.start(snakemake)
wildcards, params = snakemake.wildcards, snakemake.params
space = job.search_space(wildcards.space, params.paths)
statistics = Statistics.load(snakemake.input.statistics)
sums = group_sums(space, statistics, pooling=params.pooling)
limit = np.inf if wildcards.limit == "none" else 1e6 * int(wildcards.limit)
rng = np.random.default_rng(int(wildcards.seed))
found = evolve(
    space,
    lambda genes: angles(space.usage(genes), sums),
    rng,
    feasible=None if wildcards.limit == "none" else lambda genes: space.cost(genes)[1] <= limit,
    **params.evolution,
)
found.trace.to_csv(snakemake.output.trace, index=False)
exact = largest_angle(space, sums, found.genes, limit=limit)
ties = tied(found.trace["arch"].tolist(), found.trace["fitness"].to_numpy(), found.fitness)
names = ("limit", "space", "dataset", "labels", "categories", "seed", "search")
known = {name: wildcards[name] for name in names} | {"bound": exact.bound, "proven": exact.proven}
for name, found_by, genes, score, others in (
    ("best", "evolution", found.genes, found.fitness, {"tied": len(ties)}),
    ("optimum", "optimum", exact.genes, exact.angle, {}),
):
    costs, macs = space.cost(genes[None])
    known |= {"params": costs[0], "macs": macs[0], "channels_within_600M": space.widest(genes, 600e6)}
    row = result(space, found_by, genes, score, **others, **known)
    row.to_csv(snakemake.output[name], index=False)
    log(row.to_string(index=False))
ties.to_csv(snakemake.output.tied, index=False)
log(f"{exact.visited} partial architectures looked at; {len(ties)} of those scored have the same angle")
sample = random_architectures(space, rng, params.architectures, limit)
alike = pd.DataFrame(structure(space, sums, sample, params.ties).items(), columns=["with", "tau"])
alike.assign(architectures=len(sample)).to_csv(snakemake.output.structure, index=False)
log(alike.to_string(index=False))
