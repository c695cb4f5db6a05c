"""Score the whole space by validation accuracy under the supernet's weights."""

from pathlib import Path

import pandas as pd

import job
from rlnas_core.spaces import get
from rlnas_core.training.checkpoint import remove_checkpoint

log = job.start(snakemake)
space = get("nas_bench_201")
checkpoint = job.checkpoint(snakemake, Path(snakemake.output.scores).with_suffix(""))
accuracies = job.accuracy_scorer(snakemake, space, checkpoint, log)(space.enumerate())
scores = pd.DataFrame({"index": range(len(accuracies)), "validation-accuracy": accuracies})
scores.to_csv(snakemake.output.scores, index=False)
remove_checkpoint(checkpoint)
