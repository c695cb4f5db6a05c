"""Test the paper's claims on its own numbers and on those of this run."""

from pathlib import Path

import pandas as pd

import job
from rlnas_core.paper import claims

log = job.start(snakemake)
tables = {int(Path(file).stem.removeprefix("table")): pd.read_csv(file) for file in snakemake.input.tables}
categories = next(map(pd.read_csv, snakemake.input.categories), None)
comparisons = claims.check(tables, categories)
claims.write(comparisons, Path(snakemake.output.csv).with_suffix(""))
log(claims.summarise(comparisons).to_string(index=False))
