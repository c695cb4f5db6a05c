"""Compare the weights of two untrained supernets with different seeds."""

import job
from rlnas_core.machine.files import read_json
from rlnas_core.spaces import get
from rlnas_core.training.supernet import SupernetSettings, untrained_statistics

log = job.start(snakemake)
wildcards = snakemake.wildcards
description = read_json(snakemake.input.description)
settings = SupernetSettings(**snakemake.params.settings, initialisation=wildcards.initialisation)
statistics = untrained_statistics(get("nas_bench_201"), description, settings, int(wildcards.seed))
statistics.save(snakemake.output.statistics)
log(f"two untrained supernets, {wildcards.initialisation} initialisation, seed {wildcards.seed}")
