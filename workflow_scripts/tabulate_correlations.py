"""Tabulate Kendall's tau of every ranking of the whole space, beside the paper's."""

from pathlib import Path

import pandas as pd

import job
from rlnas_core.machine.files import read_result, read_results
from rlnas_core.paper import tables
from rlnas_core.paper.numbers import PAPER

log = job.start(snakemake)
params, number = snakemake.params, int(snakemake.wildcards.number)
paper = PAPER[f"table{number}"]
columns = ["row", "column", "seed", "value", "low", "high"]
names = {f"{name}_test": name for name in params.searches}
values = ["indicator", "column", "tau", "low", "high"]
baselines = read_result(snakemake.input.baselines, values).assign(seed=0).rename(columns={"indicator": "row"})
results = read_results(snakemake.input.results, [*values, "labels", "seed"])
rows, beyond = [], [baselines]
for row, method in paper["methods"].items():
    runs = results[results["labels"] == method["labels"]]
    rows.append(runs[runs["indicator"] == method["indicator"]].assign(row=row))
    if row in paper["indicator_rows"]:
        others = runs[~runs["indicator"].isin(["angle", "validation-accuracy"])]
        beyond.append(others.assign(row=row + "/" + others["indicator"]))
measured = pd.concat([*rows, *beyond]).rename(columns={"tau": "value"}).replace({"column": names})
table = tables.tidy(measured[columns], number, params.notes)
tables.write(table, number, Path(snakemake.output.csv).with_suffix(""))
log(table.to_string(index=False))
