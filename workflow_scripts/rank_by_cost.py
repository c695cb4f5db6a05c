"""Rank the whole space by what needs no supernet: weights and multiply-accumulates."""

import job
import numpy as np
import pandas as pd

from rlnas_core.benchmark import read_table
from rlnas_core.ranking import baselines, bootstrap_interval, kendall
from rlnas_core.spaces import get

log = job.start(snakemake)
accuracies = read_table(snakemake.input.accuracies)
