"""Search by evolution for the architecture with the highest score."""

import numpy as np
import pandas as pd

import job
from rlnas_core.search.evolution import evolve, exact_best
from rlnas_core.search.results import results
from rlnas_core.spaces import get

log = job.start(snakemake)
space = get("nas_bench_201")
scores = pd.read_csv(snakemake.input.scores)[snakemake.wildcards.indicator].to_numpy()
rng = np.random.default_rng(int(snakemake.wildcards.seed))
found = evolve(space, lambda genes: scores[space.index(genes)], rng, **snakemake.params.settings)
found.trace.to_csv(snakemake.output.trace, index=False)
genes = np.stack([found.genes, exact_best(space, scores)])
best = results(space, ["evolution", "enumeration"], genes, scores[space.index(genes)])
best.to_csv(snakemake.output.best, index=False)
log(f"best of the evolution and of the whole space:\n{best.to_string(index=False)}")
