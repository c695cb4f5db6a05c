"""Write one architecture: published, found by a search, a candidate of the model, or random."""

import job
from rlnas_core.search.results import named
from rlnas_core.spaces import get

log = job.start(snakemake)
space, name = get(snakemake.wildcards.space), snakemake.wildcards.architecture
architecture = named(space, name, **dict(snakemake.input.items()))
architecture.to_csv(snakemake.output.architecture, index=False)
log(architecture.to_string(index=False))
