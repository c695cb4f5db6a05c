"""Rank the whole space by what needs no supernet: weights and multiply-accumulates."""

import numpy as np
import pandas as pd

import job
from rlnas_core.benchmark import read_table
from rlnas_core.ranking import baselines, bootstrap_interval, kendall
from rlnas_core.spaces import get

log = job.start(snakemake)
accuracies = read_table(snakemake.input.accuracies)
rows = []
for indicator, scores in baselines(get("nas_bench_201")).items():
    for column in snakemake.params.columns:
        pair = scores, accuracies[column].to_numpy()
        low, high = bootstrap_interval(*pair, np.random.default_rng(0), snakemake.params.resamples)
        rows.append(
            {"indicator": indicator, "column": column, "tau": kendall(*pair), "low": low, "high": high}
        )
correlations = pd.DataFrame(rows)
correlations.to_csv(snakemake.output.correlations, index=False)
log(correlations.to_string(index=False))
