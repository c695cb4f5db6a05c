"""Draw architectures at random and keep the one with the highest validation accuracy."""

import numpy as np
import pandas as pd

import job
from rlnas_core.search.results import results
from rlnas_core.spaces import get

log = job.start(snakemake)
space = get("nas_bench_201")
scores = pd.read_csv(snakemake.input.scores)["validation-accuracy"].to_numpy()
rng = np.random.default_rng(int(snakemake.wildcards.seed))
genes = space.sample(snakemake.params.architectures, rng)
best = genes[[np.argmax(scores[space.index(genes)])]]
found = results(space, ["random-search"], best, scores[space.index(best)])
found.to_csv(snakemake.output.best, index=False)
log(f"best of {len(genes)} random architectures:\n{found.to_string(index=False)}")
