"""Score the whole space by a training-free proxy: untrained weights and one batch of images."""

import pandas as pd

import job
from rlnas_core.search.proxies import score
from rlnas_core.spaces import get

log = job.start(snakemake)
wildcards, params = snakemake.wildcards, snakemake.params
images, labels = job.proxy_batch(snakemake, params.settings["device"], log)
space = get("nas_bench_201")
scores = score(
    space,
    wildcards.proxy,
    space.enumerate(),
    images,
    labels,
    seed=int(wildcards.seed),
    classes=int(wildcards.categories),
    **space.network_sizes(params.settings),
    log=log,
)
table = pd.DataFrame({"index": range(len(space.enumerate())), **scores})
table.to_csv(snakemake.output.scores, index=False)
log(f"{len(table)} architectures scored by {', '.join(scores)}")
