"""Tabulate the accuracies of the architectures that searches found, beside the paper's."""

from pathlib import Path

import pandas as pd

import job
from rlnas_core.benchmark.accuracies import BENCHMARK_COLUMNS
from rlnas_core.paper import formats, tables

log = job.start(snakemake)
params = snakemake.params
empty = pd.DataFrame(columns=["found_by", "dataset", "labels", "indicator", "column", "seed", "accuracy"])
results = pd.concat([empty, *map(pd.read_csv, snakemake.input.results)])
results = results[results["found_by"] != "enumeration"].rename(columns={"accuracy": "value"})
measured = [pd.DataFrame(columns=["row", "column", "seed", "value"])]
for row, (labels, indicator) in params.methods.items():
    runs = results[(results["labels"] == labels) & (results["indicator"] == indicator)]
    for name, dataset in params.searches.items():
        for part in params.parts:
            cells = runs[(runs["dataset"] == dataset) & (runs["column"] == f"{name}_{part}")]
            column = f"{name}_{part}" if len(params.parts) > 1 else name
            measured.append(cells.assign(row=row, column=column)[["row", "column", "seed", "value"]])
in_benchmark = pd.read_csv(snakemake.input.accuracies, nrows=0).columns
absent = {
    column: f"not measured: benchmark table has no {column}"
    for column in BENCHMARK_COLUMNS
    if column not in in_benchmark
}
table = tables.tidy(pd.concat(measured), params.number, absent | params.notes)
formats.write(table, params.number, Path(snakemake.output.csv).with_suffix(""))
log(table.to_string(index=False))
