"""Draw the labels of training and validation images once, before training."""

import numpy as np

import job
from rlnas_core.labels.sources import draw_fixed_labels

log = job.start(snakemake)
of, seed = snakemake.wildcards, int(snakemake.wildcards.seed)
# Training labels come from the seed alone, as in the reference; validation images have a stream of their own.
for split, stream in {"train": [seed], "valid": [seed, 1]}.items():
    truth, rng = np.load(snakemake.input[split]), np.random.default_rng(stream)
    labels = draw_fixed_labels(of.labels, truth, len(truth), int(of.categories), rng)
    np.save(snakemake.output[split], labels)
    log(f"{len(labels)} labels of {of.categories} categories, {split}: {of.labels}, seed {seed}")
