"""Score the whole space by its ranks under the angle and under validation accuracy, added."""

import pandas as pd

import job
from rlnas_core.benchmark.ranking import add_ranks

log = job.start(snakemake)
angles, accuracies = (pd.read_csv(file, index_col="index") for file in snakemake.input)
ranks = add_ranks(angles["angle"], accuracies["validation-accuracy"])
pd.DataFrame({"angle-and-accuracy": ranks}, index=angles.index).to_csv(snakemake.output.scores)
log(f"{len(ranks)} architectures scored")
