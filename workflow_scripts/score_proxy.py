"""Score the whole space by a training-free proxy: untrained weights and one batch of images."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

import job
from rlnas_core.images.arrays import load
from rlnas_core.machine.devices import pick_device
from rlnas_core.search.proxies import score
from rlnas_core.spaces import get

log = job.start(snakemake)
wildcards, params = snakemake.wildcards, snakemake.params
job.take_devices(snakemake, params.supernet["device"], log)
device = pick_device(params.supernet["device"])
data = load(Path(snakemake.input.description).parent, "train")
seed = int(wildcards.seed)
rows = np.sort(np.random.default_rng(seed).choice(len(data), size=params.images, replace=False))
labels = torch.from_numpy(np.load(snakemake.input.labels)[rows]).to(device)
space = get("nas_bench_201")
scores = score(
    space,
    wildcards.proxy,
    space.enumerate(),
    data.plain(rows, device),
    labels,
    seed=seed,
    classes=int(wildcards.categories),
    channels=params.supernet["channels"],
    cells=params.supernet["cells"],
    log=log,
)
table = pd.DataFrame({"index": range(len(space.enumerate())), **scores})
table.to_csv(snakemake.output.scores, index=False)
log(f"{len(table)} architectures scored by {', '.join(scores)}")
