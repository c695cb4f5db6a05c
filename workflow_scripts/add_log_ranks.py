"""Score the whole space by the logarithms of its ranks under several scores, added."""

import pandas as pd

import job
from rlnas_core.benchmark.ranking import add_log_ranks

log = job.start(snakemake)
columns = [
    pd.read_csv(file)[column]
    for file, names in zip(snakemake.input, snakemake.params.parts.values(), strict=True)
    for column in names
]
scores = pd.DataFrame({snakemake.wildcards.rank_sum: add_log_ranks(columns)})
scores.to_csv(snakemake.output.scores, index_label="index")
log(f"{len(scores)} architectures scored by {len(columns)} rankings")
