"""Score the whole space by its ranks under the angle and under validation accuracy, added."""

import pandas as pd

import job
from rlnas_core.benchmark.ranking import add_ranks
from rlnas_core.search.results import read_scores
from rlnas_core.spaces import get

log = job.start(snakemake)
angles, accuracies = (read_scores(file, get("nas_bench_201")) for file in snakemake.input)
ranks = add_ranks(angles["angle"], accuracies["validation-accuracy"])
pd.DataFrame({"angle-and-accuracy": ranks}, index=angles.index).to_csv(snakemake.output.scores)
log(f"{len(ranks)} architectures scored")
