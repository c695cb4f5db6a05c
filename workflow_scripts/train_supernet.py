"""Train a supernet on one source of labels and keep the statistics of its weights."""

from pathlib import Path

import numpy as np
from safetensors.torch import save_model

import job
from rlnas_core.checkpoint import remove_states
from rlnas_core.data import load
from rlnas_core.labels import FIXED_METHODS, FixedLabels, RedrawnLabels
from rlnas_core.spaces import get
from rlnas_core.training import SupernetSettings, train_supernet

log = job.start(snakemake)
method = snakemake.wildcards.labels
categories, seed = int(snakemake.wildcards.categories), int(snakemake.wildcards.seed)
labels = np.load(snakemake.input.labels)
if method in FIXED_METHODS:
    source = FixedLabels(labels, categories)
else:
    source = RedrawnLabels(method, labels, categories, np.random.default_rng(seed))
model, statistics = train_supernet(
    get(snakemake.wildcards.space),
    load(Path(snakemake.input.description).parent, "train"),
    source,
    SupernetSettings(**snakemake.params.settings),
    seed,
    log=log,
    csv_path=snakemake.output.training,
    state_path=snakemake.params.state,
)
statistics.save(snakemake.output.statistics)
save_model(model, snakemake.output.weights)
# Not before: a disk that is full by now mustn't cost the training.
remove_states(snakemake.params.state)
