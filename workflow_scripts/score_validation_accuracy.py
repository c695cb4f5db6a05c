"""Score the whole space by validation accuracy under the supernet's weights."""

from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.torch import load_model

import job
from rlnas_core.images.arrays import load
from rlnas_core.labels.pretext import label_source
from rlnas_core.machine.files import REMADE, read_array, reading
from rlnas_core.search.validation import validation_accuracy
from rlnas_core.spaces import get

log = job.start(snakemake)
wildcards, params = snakemake.wildcards, snakemake.params
job.take_devices(snakemake, params.supernet["device"], log)
folder = Path(snakemake.input.description).parent
train, valid = (load(folder, split) for split in ("train", "valid"))
seed = int(wildcards.seed)
# Validation images have a stream of their own, as in `draw_labels`; pretext tasks draw a class an image.
labels = label_source(
    params.labels,
    read_array(snakemake.input.labels) if snakemake.input.labels else None,
    int(wildcards.categories),
    valid,
    np.random.default_rng([seed, 1]),
)
space = get("nas_bench_201")
genes = space.enumerate()
model = space.supernet(
    classes=labels.categories,
    channels=params.supernet["channels"],
    cells=params.supernet["cells"],
    in_channels=train.channels,
    **labels.head,
)
with reading(snakemake.input.weights, REMADE):
    load_model(model, snakemake.input.weights)
accuracies = validation_accuracy(
    space,
    model,
    genes,
    train,
    valid,
    labels,
    **params.settings,
    seed=seed,
    device=params.supernet["device"],
    log=log,
)
scores = pd.DataFrame({"index": range(len(genes)), "validation-accuracy": accuracies})
scores.to_csv(snakemake.output.scores, index=False)
