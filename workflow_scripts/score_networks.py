"""Score the architectures whose networks are trained by every training-free proxy that their space allows."""

from pathlib import Path

import numpy as np
import torch

import job
from rlnas_core.images.arrays import load
from rlnas_core.machine.devices import pick_device
from rlnas_core.machine.files import read_array, read_results
from rlnas_core.search.proxies import ANYWHERE, score
from rlnas_core.spaces import get

log = job.start(snakemake)
wildcards, params = snakemake.wildcards, snakemake.params
job.take_devices(snakemake, params.settings["device"], log)
device = pick_device(params.settings["device"])
data = load(Path(snakemake.input.description).parent, "train")
seed, space = int(wildcards.seed), get(wildcards.space)
rows = np.sort(np.random.default_rng(seed).choice(len(data), size=params.images, replace=False))
images, labels = data.plain(rows, device), torch.from_numpy(read_array(snakemake.input.labels)[rows])
described = read_results(snakemake.input.architectures, ["architecture", "arch"])
genes, scores = space.from_string(described["arch"].tolist()), {}
for proxy in ANYWHERE:
    sizes = {"seed": seed, "classes": int(params.classes), **space.network_sizes(params.settings)}
    scores |= score(space, proxy, genes, images, labels.to(device), **sizes, log=log)
    log(f"{len(genes)} architectures scored by {proxy}")
described[["architecture"]].assign(seed=seed, **scores).to_csv(snakemake.output.scores, index=False)
