"""Tabulate Kendall's tau of every ranking of the whole space, beside the paper's."""

from pathlib import Path

import pandas as pd

import job
from rlnas_core.paper import formats, tables

log = job.start(snakemake)
params = snakemake.params
columns = ["row", "column", "seed", "value", "low", "high"]
names = {f"{name}_test": name for name in params.searches}
baselines = pd.read_csv(snakemake.input.baselines).assign(seed=0).rename(columns={"indicator": "row"})
empty = pd.DataFrame(columns=["labels", "indicator", "source"])
results = pd.concat([empty, *map(pd.read_csv, snakemake.input.results)])
rows, beyond = [], [baselines]
for row, (labels, indicator) in params.methods.items():
    runs = results[results["labels"] == labels]
    rows.append(runs[runs["indicator"] == indicator].assign(row=row))
    if indicator == "angle" and row in params.indicator_rows:
        others = runs[~runs["indicator"].isin(["angle", "validation-accuracy"])]
        beyond.append(others.assign(row=row + "/" + others["indicator"]))
measured = pd.concat([*rows, *beyond]).rename(columns={"tau": "value"}).replace({"column": names})
table = tables.tidy(measured[columns], 2, params.notes)
formats.write(table, 2, Path(snakemake.output.csv).with_suffix(""))
log(table.to_string(index=False))
