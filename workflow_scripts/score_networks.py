"""Score the architectures of trained networks by every training-free proxy that supports their space."""

import job
from rlnas_core.machine.files import read_results
from rlnas_core.search.proxies import ANYWHERE, score
from rlnas_core.spaces import get

log = job.start(snakemake)
wildcards, params = snakemake.wildcards, snakemake.params
images, labels = job.proxy_batch(snakemake, params.settings["device"], log)
seed, space = int(wildcards.seed), get(wildcards.space)
described = read_results(snakemake.input.architectures, ["architecture", "arch"])
genes, scores = space.from_string(described["arch"].tolist()), {}
for proxy in ANYWHERE:
    sizes = {"seed": seed, "classes": int(params.classes), **space.network_sizes(params.settings)}
    scores |= score(space, proxy, genes, images, labels, **sizes, log=log)
    log(f"{len(genes)} architectures scored by {proxy}")
described[["architecture"]].assign(seed=seed, **scores).to_csv(snakemake.output.scores, index=False)
