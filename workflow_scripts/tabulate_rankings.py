"""Tabulate every measure of every ranking of the whole space."""

import job
from rlnas_core.machine.files import read_result, read_results
from rlnas_core.paper.numbers import PAPER
from rlnas_core.paper.rankings import MEASURES, label_rows, summarise
from rlnas_core.paper.tables import title

log = job.start(snakemake)
results = read_results(snakemake.input.results, ["labels", "indicator", "column", "seed"])
rankings = label_rows(
    results, read_result(snakemake.input.baselines, ["indicator", "column"]), PAPER["table2"]
)
table = summarise(rankings.replace({"column": {f"{name}_test": name for name in snakemake.params.searches}}))
table.to_csv(snakemake.output.csv, index=False)
shown = table.assign(column=table["column"].map(title), row=table["row"].map(title))
text = shown.rename(columns=MEASURES).to_markdown(index=False, floatfmt=".3f")
with open(snakemake.output.md, "w", encoding="utf-8") as file:
    file.write(text + "\n")
log(text)
