"""Rank the whole space by every score of a supernet and compare with the benchmark's ranking."""

import job
from rlnas_core.benchmark.accuracies import read_extracted
from rlnas_core.benchmark.ranking import correlate
from rlnas_core.search.results import read_scores
from rlnas_core.spaces import get

log = job.start(snakemake)
scores = read_scores(snakemake.input.scores, get("nas_bench_201"))
accuracies, params = read_extracted(snakemake.input.accuracies), snakemake.params
seed = int(snakemake.wildcards.seed)
correlations = correlate(
    get("nas_bench_201"), dict(scores.items()), accuracies, params.columns, seed=seed, **params.settings
)
correlations = correlations.assign(**job.experiment(snakemake))
correlations.to_csv(snakemake.output.correlations, index=False)
log(correlations.to_string(index=False))
