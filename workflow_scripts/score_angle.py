"""Score the whole space by the angle, and by what else the same statistics tell."""

import pandas as pd

import job
from rlnas_core.angle import indicators
from rlnas_core.spaces import get
from rlnas_core.training import Statistics

log = job.start(snakemake)
space = get("nas_bench_201")
genes = space.enumerate()
scores = pd.DataFrame(indicators(space, Statistics.load(snakemake.input.statistics), genes))
scores.insert(0, "index", range(len(genes)))
scores.to_csv(snakemake.output.scores, index=False)
log(f"{len(genes)} architectures scored by {', '.join(scores.columns[1:])}")
