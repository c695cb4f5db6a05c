"""Tabulate what architectures cost and what their retrained networks reach, beside what the paper says."""

from pathlib import Path

import pandas as pd

import job
from rlnas_core import tables
from rlnas_core.spaces import published

PAPERS_RANDOM = ("random-0-600", "random-0-475")  # under the limits of the paper's searches

log = job.start(snakemake)
number = int(snakemake.wildcards.number)
rows = {name: entry.rows[number] for name, entry in published().items() if number in entry.rows}
paper = tables.paper_numbers(number)
measured = []


def add_cost(row, seed, params, macs):
    """Add what a row's network takes, in millions."""
    measured.extend([(row, "params", seed, params / 1e6), (row, "flops", seed, macs / 1e6)])


for name, row in rows.items():
    entry = published()[name]
    add_cost(row, 0, *(counts[0] for counts in entry.space.cost(entry.genes[None], **entry.network)))
for file in snakemake.input.searches:
    for search in pd.read_csv(file, dtype={"limit": str}, keep_default_na=False).to_dict("records"):
        within = "" if search["limit"] == "none" else f" within {search['limit']}M"
        row = f"this run, {search['dataset']}{within}, {search['found_by']}"
        add_cost(row, int(search["seed"]), search["params"], search["macs"])
        if search["found_by"] == "evolution":
            identity = "{dataset}-{categories}-{seed}-{limit}".format(**search)
            rows |= {identity: row, f"{identity}-scaled": f"{row}, scaled within 600M"}
for file in snakemake.input.architectures:
    choice = pd.read_csv(file).iloc[0]
    name = choice["architecture"]
    if name.startswith("random-"):
        papers = name in PAPERS_RANDOM and "random-search" in set(paper["row"])
        rows[name] = "random-search" if papers else f"this run, random within {name.rsplit('-', 1)[1]}M"
    # Of all others the cost is known already.
    known = name in published() or not name.endswith("-scaled")
    if name in rows and (name.startswith("random-") or not known):
        add_cost(rows[name], 0, choice["params"], choice["macs"])
for file in snakemake.input.accuracies:
    for run in pd.read_csv(file).to_dict("records"):
        if run["architecture"] in rows:
            # The paper's accuracies are those on ImageNet; any other dataset has columns of its own.
            column = run["column"] if run["dataset"] == "imagenet" else f"{run['dataset']}/{run['column']}"
            measured.append((rows[run["architecture"]], column, run["seed"], run["value"]))
for file in snakemake.input.measures:
    for run in pd.read_csv(file).to_dict("records"):
        if run["architecture"] in rows:
            small = snakemake.params.sources[run["dataset"]] == "miniature"
            column = f"miniature/{run['column']}" if small else run["column"]
            measured.append((rows[run["architecture"]], column, run["seed"], run["value"]))
cells = pd.DataFrame(measured, columns=["row", "column", "seed", "value"]).drop_duplicates(
    ["row", "column", "seed"]
)
unknown = "quoted: the paper doesn't say what it is made of, or it is of another space"
notes = dict.fromkeys(set(paper["row"]) - set(cells["row"]), unknown) | snakemake.params.notes
table = tables.tidy(cells, number, notes)
tables.write(table, number, Path(snakemake.output.csv).with_suffix(""))
log(table.to_string(index=False))
