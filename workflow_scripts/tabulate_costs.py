"""Tabulate what the published architectures cost, beside what the paper says of them."""

from pathlib import Path

import pandas as pd

import job
from rlnas_core import tables
from rlnas_core.spaces import published

log = job.start(snakemake)
number = int(snakemake.wildcards.number)
costs = []
for name, architecture in published().items():
    if number in architecture.rows:
        params, macs = architecture.space.cost(architecture.genes[None], **architecture.network)
        costs.append((architecture.rows[number], 0, params[0], macs[0]))
        log(f"{name}: {params[0] / 1e6:.3f} million parameters, {macs[0] / 1e6:.3f} million FLOPs")
for file in snakemake.input.searches:
    for search in pd.read_csv(file, dtype={"limit": str}, keep_default_na=False).to_dict("records"):
        within = "" if search["limit"] == "none" else f" within {search['limit']}M"
        row = f"this run, {search['dataset']}{within}, {search['found_by']}"
        costs.append((row, int(search["seed"]), search["params"], search["macs"]))
measured = pd.DataFrame(costs, columns=["row", "seed", "params", "flops"])
measured = measured.melt(["row", "seed"], var_name="column").assign(value=lambda cells: cells["value"] / 1e6)
paper = tables.paper_numbers(number)
known = set(measured["row"])
notes = dict.fromkeys(set(paper["row"]) - known, "not built: the paper doesn't say what it is made of")
notes |= dict.fromkeys(set(paper["column"]) - {"params", "flops"}, "not run: needs retraining")
table = tables.tidy(measured, number, notes)
tables.write(table, number, Path(snakemake.output.csv).with_suffix(""))
