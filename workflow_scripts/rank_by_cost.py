"""Rank the whole space by what needs no supernet: weights and multiply-accumulates."""

import job
from rlnas_core.benchmark.accuracies import read_extracted
from rlnas_core.benchmark.ranking import baselines, correlate
from rlnas_core.spaces import get

log = job.start(snakemake)
accuracies, params = read_extracted(snakemake.input.accuracies), snakemake.params
correlations = correlate(
    baselines(get("nas_bench_201")), accuracies, params.columns, params.resamples, seed=0
)
correlations.to_csv(snakemake.output.correlations, index=False)
log(correlations.to_string(index=False))
