"""Rank the whole space by every score of a supernet and compare with the benchmark's ranking."""

import numpy as np
import pandas as pd

import job
from rlnas_core.benchmark import read_table
from rlnas_core.ranking import bootstrap_interval, kendall

log = job.start(snakemake)
scores = pd.read_csv(snakemake.input.scores, index_col="index")
accuracies = read_table(snakemake.input.accuracies)
rows = []
for indicator in scores.columns:
    for column in snakemake.params.columns:
        pair = scores[indicator].to_numpy(), accuracies[column].to_numpy()
        rng = np.random.default_rng(int(snakemake.wildcards.seed))
        low, high = bootstrap_interval(*pair, rng, snakemake.params.resamples)
        rows.append(
            {"indicator": indicator, "column": column, "tau": kendall(*pair), "low": low, "high": high}
        )
correlations = pd.DataFrame(rows).assign(**job.experiment(snakemake))
correlations.to_csv(snakemake.output.correlations, index=False)
log(correlations.to_string(index=False))
