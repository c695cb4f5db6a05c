"""Score the whole space by the angle, and by other indicators from the same statistics."""

import pandas as pd

import job
from rlnas_core.search.angle import indicators
from rlnas_core.spaces import get
from rlnas_core.training.statistics import Statistics

log = job.start(snakemake)
space = get("nas_bench_201")
genes = space.enumerate()
statistics = Statistics.load(snakemake.input.statistics)
scores = pd.DataFrame(indicators(space, statistics, genes, pooling=snakemake.params.pooling))
scores.insert(0, "index", range(len(genes)))
scores.to_csv(snakemake.output.scores, index=False)
log(f"{len(genes)} architectures scored by {', '.join(scores.columns[1:])}")
