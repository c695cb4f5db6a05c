"""Score the whole space by validation accuracy under the supernet's weights."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.torch import load_model

import job
from rlnas_core.data import load
from rlnas_core.evaluation import validation_accuracy
from rlnas_core.spaces import get

log = job.start(snakemake)
wildcards, params = snakemake.wildcards, snakemake.params
job.take_devices(snakemake, params.supernet["device"], log)
folder = Path(snakemake.input.description).parent
description = json.loads(Path(snakemake.input.description).read_text(encoding="utf-8"))
space = get("nas_bench_201")
genes = space.enumerate()
model = space.supernet(
    classes=int(wildcards.categories),
    channels=params.supernet["channels"],
    cells=params.supernet["cells"],
    in_channels=description["in_channels"],
)
load_model(model, snakemake.input.weights)
accuracies = validation_accuracy(
    space,
    model,
    genes,
    load(folder, "train"),
    load(folder, "valid"),
    np.load(snakemake.input.labels),
    images=params.images,
    calibration_images=params.calibration_images,
    seed=int(wildcards.seed),
    device=params.supernet["device"],
    log=log,
)
scores = pd.DataFrame({"index": range(len(genes)), "validation-accuracy": accuracies})
scores.to_csv(snakemake.output.scores, index=False)
