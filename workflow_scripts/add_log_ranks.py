"""Score the whole space by the logarithms of its ranks under several scores, added."""

import pandas as pd

import job
from rlnas_core.benchmark.ranking import add_log_ranks
from rlnas_core.search.results import read_scores
from rlnas_core.spaces import get

log = job.start(snakemake)
columns = [
    read_scores(file, get("nas_bench_201"))[column]
    for file, names in zip(snakemake.input, snakemake.params.parts.values(), strict=True)
    for column in names
]
scores = pd.DataFrame({snakemake.wildcards.rank_sum: add_log_ranks(columns)})
scores.to_csv(snakemake.output.scores, index_label="index")
log(f"{len(scores)} architectures scored by {len(columns)} rankings")
