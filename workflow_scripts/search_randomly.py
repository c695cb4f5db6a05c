"""Draw architectures at random and keep the one with the highest validation accuracy."""

import job
import numpy as np
import pandas as pd

from rlnas_core.spaces import get

log = job.start(snakemake)
space = get("nas_bench_201")
scores = pd.read_csv(snakemake.input.scores)["validation-accuracy"].to_numpy()
rng = np.random.default_rng(int(snakemake.wildcards.seed))
genes = space.sample(snakemake.params.architectures, rng)
sampled = scores[space.index(genes)]
best = int(np.argmax(sampled))
pd.DataFrame(
    {"found_by": ["random-search"], "arch": space.to_string(genes[best : best + 1]), "score": [sampled[best]]}
).to_csv(snakemake.output.best, index=False)
log(f"best of {len(genes)} random architectures: {space.to_string(genes[best : best + 1])[0]}, {sampled[best]:.2f}%")
