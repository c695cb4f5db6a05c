"""Tabulate the accuracies of the architectures that searches found, beside the paper's."""

from pathlib import Path

import pandas as pd

import job
from rlnas_core.benchmark.accuracies import BENCHMARK_COLUMNS, Benchmark, read_extracted
from rlnas_core.paper import formats, tables
from rlnas_core.paper.numbers import PAPER
from rlnas_core.search.results import look_up

log = job.start(snakemake)
params, number = snakemake.params, int(snakemake.wildcards.number)
parts = PAPER[f"table{number}"].get("parts", ["test"])
benchmark = Benchmark(read_extracted(snakemake.input.accuracies))
results = look_up(snakemake.input.searches, benchmark).rename(columns={"accuracy": "value"})
measured = [pd.DataFrame(columns=["row", "column", "seed", "value"])]
for row, method in PAPER[f"table{number}"]["methods"].items():
    runs = results[(results["labels"] == method["labels"]) & (results["indicator"] == method["indicator"])]
    for name, dataset in params.searches.items():
        for part in parts:
            cells = runs[(runs["dataset"] == dataset) & (runs["column"] == f"{name}_{part}")]
            column = f"{name}_{part}" if len(parts) > 1 else name
            measured.append(cells.assign(row=row, column=column)[["row", "column", "seed", "value"]])
absent = {
    column: f"not measured: needs {column} of the benchmark (benchmark.source: official or nats-bench)"
    for column in BENCHMARK_COLUMNS
    if column not in benchmark.columns
}
table = tables.tidy(pd.concat(measured), number, absent | params.notes, images=params.images)
formats.write(table, number, Path(snakemake.output.csv).with_suffix(""))
log(table.to_string(index=False))
