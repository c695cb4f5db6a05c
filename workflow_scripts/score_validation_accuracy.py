"""Score the whole space by validation accuracy under the supernet's weights."""

from pathlib import Path

import job
import numpy as np
import pandas as pd

from rlnas_core.data import load
from rlnas_core.evaluation import validation_accuracy
from rlnas_core.spaces import get

log = job.start(snakemake)
