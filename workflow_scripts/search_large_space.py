"""Search a large space by angle within a FLOPs limit: by evolution, and for the exact optimum."""

import pandas as pd

import job
from rlnas_core.search.angle import angles, group_sums, structure
from rlnas_core.search.evolution import evolve, random_architectures
from rlnas_core.search.optimum import largest_angle
from rlnas_core.search.results import costs, result
from rlnas_core.training.statistics import Statistics

SAMPLE = 100  # random architectures over which the angle is compared with structure

log = job.start(snakemake)
params, output = snakemake.params, snakemake.output
space = job.search_space(snakemake.wildcards.space, params.paths)
sums = group_sums(space, Statistics.load(snakemake.input.statistics), pooling=params.pooling)
limit, rng, of = job.large_search(snakemake)
found = evolve(
    space,
    lambda genes: angles(space.usage(genes), sums),
    rng,
    feasible=job.within(space, limit),
    **params.evolution,
)
exact = largest_angle(space, sums, found.genes, limit=limit)
ties = job.write_evolution(snakemake, found)
of |= {"bound": exact.bound, "proven": exact.proven}
for file, found_by, genes, score, others in (
    (output.best, "evolution", found.genes, found.fitness, {"tied": ties}),
    (output.optimum, "optimum", exact.genes, exact.angle, {}),
):
    row = result(space, found_by, genes, score, **others, **of, **costs(space, genes))
    row.to_csv(file, index=False)
    log(row.to_string(index=False))
log(f"{exact.visited} partial architectures looked at; {ties} of those scored have the same angle")
sample = random_architectures(space, rng, SAMPLE, limit)
alike = pd.DataFrame(structure(space, sums, sample, params.ties).items(), columns=["with", "tau"])
alike.assign(architectures=len(sample)).to_csv(output.structure, index=False)
log(alike.to_string(index=False))
