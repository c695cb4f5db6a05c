"""Score the whole space by the sum of its ranks, or of their logarithms, under several scores."""

import pandas as pd

import job
from rlnas_core.benchmark.ranking import add_ranks
from rlnas_core.search.results import read_scores
from rlnas_core.spaces import get

log = job.start(snakemake)
params = snakemake.params
columns = [
    read_scores(file, get("nas_bench_201"))[column]
    for file, names in zip(snakemake.input, params.parts.values(), strict=True)
    for column in names
]
ranks = add_ranks(columns, logarithms=params.logarithms)
pd.DataFrame({snakemake.wildcards.rank_sum: ranks}).to_csv(snakemake.output.scores, index_label="index")
log(f"{len(ranks)} architectures scored by {len(columns)} rankings")
