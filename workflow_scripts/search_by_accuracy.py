"""Search a large space by validation accuracy under a supernet's weights, within a FLOPs limit."""

from pathlib import Path

import numpy as np
from safetensors.torch import load_model

import job
from rlnas_core.images.arrays import load
from rlnas_core.labels.pretext import label_source
from rlnas_core.search.evolution import evolve
from rlnas_core.search.results import results
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
costs, macs = space.cost(found.genes[None])
by = "random-search" if wildcards.search == "random-search" else "evolution"
widest = [space.widest(found.genes, 600e6)]
best = results(
    space,
    [by],
    found.genes[None],
    np.array([found.fitness]),
    params=costs,
    macs=macs,
    limit=wildcards.limit,
    channels_within_600M=widest,
).assign(**{name: wildcards[name] for name in ("space", "dataset", "labels", "categories", "seed", "search")})
best.to_csv(snakemake.output.best, index=False)
log(best.to_string(index=False))
