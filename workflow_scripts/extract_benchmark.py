"""Bring the benchmark's accuracies into one table."""

import job

from rlnas_core import benchmark

log = job.start(snakemake)
