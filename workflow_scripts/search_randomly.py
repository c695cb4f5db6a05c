"""Draw random architectures and keep the one with the highest validation accuracy."""

import numpy as np

import job
from rlnas_core.search.results import read_scores, result, tied
from rlnas_core.spaces import get

log = job.start(snakemake)
space = get("nas_bench_201")
scores = read_scores(snakemake.input.scores, space)["validation-accuracy"].to_numpy()
rng = np.random.default_rng(int(snakemake.wildcards.seed))
genes = space.sample(snakemake.params.architectures, rng)
drawn = scores[space.index(genes)]
ties = tied(space.to_string(space.enumerate()), scores, drawn.max())
known = {**job.experiment(snakemake), "indicator": "random-search"}
best = result(space, "random-search", genes[np.argmax(drawn)], drawn.max(), tied=len(ties), **known)
best.to_csv(snakemake.output.best, index=False)
ties.to_csv(snakemake.output.tied, index=False)
log(f"best of {len(genes)} random architectures:\n{best.to_string(index=False)}")
