"""Search a large space by angle within a FLOPs limit: by evolution, and to optimality."""

import numpy as np
import pandas as pd

import job
from rlnas_core.search.angle import angles, group_sums, structure
from rlnas_core.search.evolution import evolve, random_architectures
from rlnas_core.search.optimum import largest_angle
from rlnas_core.search.results import results
from rlnas_core.spaces import get
from rlnas_core.training.statistics import Statistics

log = job.start(snakemake)
wildcards, params = snakemake.wildcards, snakemake.params
space = get(wildcards.space, **({"paths": params.settings["paths"]} if wildcards.space == "darts" else {}))
statistics = Statistics.load(snakemake.input.statistics)
sums = group_sums(space, statistics, pooling=params.pooling)
limit = np.inf if wildcards.limit == "none" else 1e6 * int(wildcards.limit)
rng = np.random.default_rng(int(wildcards.seed))
found = evolve(
    space,
    lambda genes: angles(space.usage(genes), sums),
    rng,
    feasible=None if wildcards.limit == "none" else lambda genes: space.cost(genes)[1] <= limit,
    **params.settings["evolution"],
)
found.trace.to_csv(snakemake.output.trace, index=False)
best = largest_angle(space, sums, found.genes, limit=limit)
genes = np.stack([found.genes, best.genes])
costs, macs = space.cost(genes)
rows = results(
    space,
    ["evolution", "optimum"],
    genes,
    angles(space.usage(genes), sums),
    bound=best.bound,
    proven=best.proven,
    params=costs,
    macs=macs,
    limit=wildcards.limit,
    channels_within_600M=[space.widest(row, 600e6) for row in genes],
).assign(**{name: wildcards[name] for name in ("space", "dataset", "labels", "categories", "seed", "search")})
rows.to_csv(snakemake.output.best, index=False)
sample = random_architectures(space, rng, params.architectures, limit)
alike = pd.DataFrame(structure(space, sums, sample).items(), columns=["with", "tau"])
alike.assign(architectures=len(sample)).to_csv(snakemake.output.structure, index=False)
log(f"{best.visited} partial architectures looked at\n{rows.to_string(index=False)}\n{alike}")
