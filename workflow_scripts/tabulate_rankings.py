"""Tabulate every measure of every ranking of the whole space."""

import pandas as pd

import job
from rlnas_core.paper.numbers import PAPER
from rlnas_core.paper.rankings import MEASURES, label_rows, summarise
from rlnas_core.paper.tables import title

log = job.start(snakemake)
results = pd.concat(
    [pd.DataFrame(columns=["labels", "indicator"]), *map(pd.read_csv, snakemake.input.results)]
)
rankings = label_rows(results, pd.read_csv(snakemake.input.baselines), PAPER["table2"])
table = summarise(rankings.replace({"column": {f"{name}_test": name for name in snakemake.params.searches}}))
table.to_csv(snakemake.output.csv, index=False)
shown = table.assign(column=table["column"].map(title), row=table["row"].map(title))
text = shown.rename(columns=MEASURES).to_markdown(index=False, floatfmt=".3f")
with open(snakemake.output.md, "w", encoding="utf-8") as file:
    file.write(text + "\n")
log(text)
