"""Choose an architecture from several supernets, and the architectures to compare it with."""

import numpy as np
import pandas as pd

import job
from rlnas_core.search.angle import group_sums
from rlnas_core.search.choice import Limit, agreement, candidates, choose
from rlnas_core.training.statistics import Statistics

log = job.start(snakemake)
params = snakemake.params
space = job.search_space(params.space, params.paths)
limit, rng = Limit(**params.limit), np.random.default_rng(0)
supernets = [Statistics.load(path) for path in snakemake.input.statistics]
sums = {of.meta["seed"]: group_sums(space, of, pooling=params.pooling) for of in supernets}
choice = choose(space, list(sums.values()), limit, rng, params.evolution)
table = candidates(space, sums, choice, limit, rng, params.evolution, params.seeds)
table.to_csv(snakemake.output.candidates, index=False)
agreed = agreement(space, sums, limit, rng)
agreed.to_csv(snakemake.output.agreement, index=False)
choice.evolved.trace.to_csv(snakemake.output.trace, index=False)
with pd.option_context("display.width", 200, "display.max_columns", None):
    log(f"{table.to_string(index=False)}\n{agreed.to_string(index=False)}")
