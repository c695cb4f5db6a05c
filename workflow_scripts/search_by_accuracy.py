"""Search a large space by validation accuracy under a supernet's weights, within a FLOPs limit."""

from pathlib import Path

import numpy as np
from safetensors.torch import load_model

import job
from rlnas_core.images.arrays import load
from rlnas_core.labels.pretext import label_source
from rlnas_core.search.evolution import evolve
from rlnas_core.search.results import result, tied
from rlnas_core.search.validation import scorer
from rlnas_core.spaces import get
from rlnas_core.training.supernet import SupernetSettings, build

log = job.start(snakemake)
wildcards, params = snakemake.wildcards, snakemake.params
settings, seed = SupernetSettings(**params.supernet), int(wildcards.seed)
job.take_devices(snakemake, settings.device, log)
folder = Path(snakemake.input.description).parent
train, valid = (load(folder, split) for split in ("train", "valid"))
true, rng = np.load(snakemake.input.labels), np.random.default_rng([seed, 1])
labels = label_source(params.labels, true, int(wildcards.categories), valid, rng)
space = get(wildcards.space)
model = build(space, labels.categories, train.channels, settings, seed)
load_model(model, snakemake.input.weights)
score = scorer(
    space, model, train, valid, labels, **params.settings, seed=seed, device=settings.device, log=log
)
limit = np.inf if wildcards.limit == "none" else 1e6 * int(wildcards.limit)
rng = np.random.default_rng(seed)
found = evolve(space, score, rng, feasible=lambda genes: space.cost(genes)[1] <= limit, **params.evolution)
found.trace.to_csv(snakemake.output.trace, index=False)
ties = tied(found.trace["arch"].tolist(), found.trace["fitness"].to_numpy(), found.fitness)
costs, macs = space.cost(found.genes[None])
names = ("limit", "space", "dataset", "labels", "categories", "seed", "search")
known = {name: wildcards[name] for name in names} | {"tied": len(ties), "params": costs[0], "macs": macs[0]}
known["channels_within_600M"] = space.widest(found.genes, 600e6)
by = "random-search" if wildcards.search == "random-search" else "evolution"
best = result(space, by, found.genes, found.fitness, **known)
best.to_csv(snakemake.output.best, index=False)
ties.to_csv(snakemake.output.tied, index=False)
log(best.to_string(index=False))
