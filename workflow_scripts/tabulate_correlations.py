"""Tabulate Kendall's tau of every ranking of the whole space, beside the paper's."""

from pathlib import Path

import job
from rlnas_core.machine.files import read_result, read_results
from rlnas_core.paper import formats, tables
from rlnas_core.paper.numbers import PAPER
from rlnas_core.paper.rankings import label_rows

log = job.start(snakemake)
params, number = snakemake.params, int(snakemake.wildcards.number)
paper = PAPER[f"table{number}"]
results = read_results(snakemake.input.results, ["labels", "indicator", "column", "seed"])
rankings = label_rows(results, read_result(snakemake.input.baselines, ["indicator", "column"]), paper)
names = {f"{name}_test": name for name in params.searches}
measured = rankings.rename(columns={"tau": "value"}).replace({"column": names})
columns = ["row", "column", "seed", "value", "low", "high"]
table = tables.tidy(measured[columns], number, params.notes)
formats.write(table, number, Path(snakemake.output.csv).with_suffix(""))
log(table.to_string(index=False))
