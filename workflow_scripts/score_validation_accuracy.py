"""Score the whole space by validation accuracy under the supernet's weights."""

import pandas as pd

import job
from rlnas_core.spaces import get

log = job.start(snakemake)
space = get("nas_bench_201")
accuracies = job.accuracy_scorer(snakemake, space, log)(space.enumerate())
scores = pd.DataFrame({"index": range(len(accuracies)), "validation-accuracy": accuracies})
scores.to_csv(snakemake.output.scores, index=False)
