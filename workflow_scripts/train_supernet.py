"""Train a supernet on one source of labels and write the statistics of its weights."""

from dataclasses import asdict
from pathlib import Path

import numpy as np

import job
from rlnas_core.images.arrays import load
from rlnas_core.labels.pretext import label_source
from rlnas_core.machine.files import read_array
from rlnas_core.spaces import get
from rlnas_core.training.checkpoint import remove_checkpoint, save_weights
from rlnas_core.training.supernet import SupernetSettings, train_supernet

log = job.start(snakemake)
settings = SupernetSettings(**snakemake.params.settings)
job.take_devices(snakemake, settings.device, log)
seed = int(snakemake.wildcards.seed)
data = load(Path(snakemake.input.description).parent, "train")
labels = label_source(
    snakemake.wildcards.labels,
    read_array(snakemake.input.labels) if snakemake.input.labels else None,
    int(snakemake.wildcards.categories),
    data,
    np.random.default_rng(seed),
)
run = job.training_run(snakemake, log)
model, statistics = train_supernet(
    get(snakemake.wildcards.space),
    data,
    labels,
    settings,
    seed,
    run=run,
)
if job.leads():
    statistics.save(snakemake.output.statistics)
    save_weights(model, snakemake.output.weights, **dict(snakemake.wildcards), settings=asdict(settings))
    # Only after writing the results: a full disk must not cost the training.
    remove_checkpoint(run.checkpoint)
