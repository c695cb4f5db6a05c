"""Draw the labels of a split once before training."""

import numpy as np

import job
from rlnas_core.labels.sources import draw_fixed_labels
from rlnas_core.machine.files import read_array

log = job.start(snakemake)
wildcards = snakemake.wildcards
if truth := snakemake.input.get("ground_truth"):
    ground_truth = read_array(truth)
    count = len(ground_truth)
else:
    ground_truth, count = None, len(read_array(snakemake.input.images, mmap_mode="r"))
# Training labels depend on the seed alone, as in the reference; other images have a separate stream.
seed = [int(wildcards.seed)] if wildcards.split == "train" else [int(wildcards.seed), 1]
categories = int(wildcards.categories)
classes = None if wildcards.split == "train" else categories  # other images can lack the highest class
labels = draw_fixed_labels(
    wildcards.labels, ground_truth, count, categories, np.random.default_rng(seed), classes
)
np.save(snakemake.output.labels, labels)
log(f"{len(labels)} labels of {wildcards.categories} categories: {wildcards.labels}, seed {wildcards.seed}")
