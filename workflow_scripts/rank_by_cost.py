"""Rank the whole space by weights and multiply-adds, without a supernet."""

import job
from rlnas_core.benchmark.accuracies import read_extracted
from rlnas_core.benchmark.ranking import baselines, correlate
from rlnas_core.spaces import get

log = job.start(snakemake)
accuracies, params = read_extracted(snakemake.input.accuracies), snakemake.params
space = get("nas_bench_201")
correlations = correlate(space, baselines(space), accuracies, params.columns, seed=0, **params.settings)
correlations.to_csv(snakemake.output.correlations, index=False)
log(correlations.to_string(index=False))
