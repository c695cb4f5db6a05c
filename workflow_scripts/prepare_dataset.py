"""Decode a dataset once into memory-mapped arrays of uint8 images and their labels."""

from pathlib import Path

import job
from rlnas_core.images.preparation import prepare

log = job.start(snakemake)
prepare(
    out_dir=Path(snakemake.output.description).parent,
    name=snakemake.wildcards.dataset,
    downloads=snakemake.params.downloads,
    log=log,
    **snakemake.params.settings,
)
