"""Tabulate the accuracies of the architectures that searches found, beside the paper's."""

from pathlib import Path

import pandas as pd

import job
from rlnas_core.benchmark.accuracies import BENCHMARK_COLUMNS
from rlnas_core.machine.files import read_results
from rlnas_core.paper import formats, tables
from rlnas_core.paper.numbers import PAPER

log = job.start(snakemake)
params, number = snakemake.params, int(snakemake.wildcards.number)
parts = PAPER[f"table{number}"].get("parts", ["test"])
columns = ["dataset", "labels", "indicator", "column", "seed", "accuracy"]
results = read_results(snakemake.input.results, columns).rename(columns={"accuracy": "value"})
measured = [pd.DataFrame(columns=["row", "column", "seed", "value"])]
for row, method in PAPER[f"table{number}"]["methods"].items():
    runs = results[(results["labels"] == method["labels"]) & (results["indicator"] == method["indicator"])]
    for name, dataset in params.searches.items():
        for part in parts:
            cells = runs[(runs["dataset"] == dataset) & (runs["column"] == f"{name}_{part}")]
            column = f"{name}_{part}" if len(parts) > 1 else name
            measured.append(cells.assign(row=row, column=column)[["row", "column", "seed", "value"]])
in_benchmark = pd.read_csv(snakemake.input.accuracies, nrows=0).columns
absent = {
    column: f"not measured: benchmark table has no {column}"
    for column in BENCHMARK_COLUMNS
    if column not in in_benchmark
}
table = tables.tidy(pd.concat(measured), number, absent | params.notes)
formats.write(table, number, Path(snakemake.output.csv).with_suffix(""))
log(table.to_string(index=False))
