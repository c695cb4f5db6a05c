"""Rank the whole space by every score of a supernet and compare with the benchmark's ranking."""

import pandas as pd

import job
from rlnas_core.benchmark.accuracies import read_table
from rlnas_core.benchmark.ranking import correlate
from rlnas_core.spaces import get

log = job.start(snakemake)
scores = pd.read_csv(snakemake.input.scores, index_col="index")
accuracies, params = read_table(snakemake.input.accuracies), snakemake.params
seed = int(snakemake.wildcards.seed)
correlations = correlate(
    get("nas_bench_201"), dict(scores.items()), accuracies, params.columns, seed=seed, **params.settings
)
correlations = correlations.assign(**job.experiment(snakemake))
correlations.to_csv(snakemake.output.correlations, index=False)
log(correlations.to_string(index=False))
