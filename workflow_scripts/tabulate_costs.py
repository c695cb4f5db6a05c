"""Tabulate what the published architectures cost, beside what the paper says of them."""

from pathlib import Path

import pandas as pd

import job
from rlnas_core import tables
from rlnas_core.spaces import published

log = job.start(snakemake)
number = int(snakemake.wildcards.number)
measured = []
for name, architecture in published().items():
    if number in architecture.rows:
        params, macs = architecture.space.cost(architecture.genes[None], **architecture.network)
        for column, value in (("params", params[0] / 1e6), ("flops", macs[0] / 1e6)):
            row = architecture.rows[number]
            measured.append({"row": row, "column": column, "seed": 0, "value": value})
            log(f"{name}: {column} {value:.3f} million")
for file in snakemake.input.searches:
    for search in pd.read_csv(file, dtype={"limit": str}, keep_default_na=False).to_dict("records"):
        within = "" if search["limit"] == "none" else f" within {search['limit']}M"
        row = f"this run, {search['dataset']}{within}, {search['found_by']}"
        for column, name in (("params", "params"), ("flops", "macs")):
            seed, value = int(search["seed"]), search[name] / 1e6
            measured.append({"row": row, "column": column, "seed": seed, "value": value})
paper = tables.paper_numbers(number)
known = {entry["row"] for entry in measured}
notes = dict.fromkeys(set(paper["row"]) - known, "not built: the paper doesn't say what it is made of")
notes |= dict.fromkeys(set(paper["column"]) - {"params", "flops"}, "not run: needs retraining")
table = tables.tidy(pd.DataFrame(measured), number, notes)
tables.write(table, number, Path(snakemake.output.csv).with_suffix(""))
