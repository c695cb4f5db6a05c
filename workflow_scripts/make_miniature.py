"""Draw a miniature dataset in the layout of COCO or Cityscapes."""

import numpy as np

import job
from rlnas_core.images.miniatures import make_cityscapes, make_coco

log = job.start(snakemake)
make = {"coco": make_coco, "cityscapes": make_cityscapes}[snakemake.wildcards.scenes]
make(snakemake.output.folder, np.random.default_rng(0))
log(f"a miniature of {snakemake.wildcards.scenes} at {snakemake.output.folder}")
