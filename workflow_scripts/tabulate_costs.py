"""Tabulate what architectures cost and what their networks reach, beside what the paper says."""

import re
from pathlib import Path

import pandas as pd

import job
from rlnas_core.paper import formats, tables
from rlnas_core.spaces import published

TRANSFER = 8  # the first of the tables of transfer
PAPERS_RANDOM = {8: "600", 9: "475", 10: "600", 11: "475"}  # limits of the paper's random search

log = job.start(snakemake)
inputs, number = snakemake.input, int(snakemake.wildcards.number)
space, scenes = snakemake.params.table
paper = tables.paper_numbers(number)
rows = {name: entry.rows[number] for name, entry in published().items() if number in entry.rows}
accuracies, measures = ([run for file in files for run in pd.read_csv(file).to_dict("records")] for files in (
    inputs.accuracies, inputs.measures
))  # fmt: skip
transferred = {run["architecture"] for run in measures}
measured, never = [], {}


def row_of(name):
    """The row of an architecture, the paper's or one that says where this run has it from, and its seed."""
    if found := re.fullmatch(r"([a-z0-9]+)-\d+-(\d+)-(none|\d+)(-scaled)?", name):
        within = "" if found[3] == "none" else f" within {found[3]}M"
        scaled = ", scaled within 600M" if found[4] else ""
        return f"this run, {found[1]}{within}, evolution{scaled}", found[2]
    if drawn := re.fullmatch(r"random-(\d+)-(\d+)", name):
        of_paper = drawn[2] == PAPERS_RANDOM.get(number)
        return "random-search" if of_paper else f"this run, random within {drawn[2]}M", drawn[1]
    return rows.get(name, name), ""


def belongs(name):
    """Whether an architecture has a place in this table."""
    if name in published():
        return name in rows or name in transferred
    if number >= TRANSFER:
        return name in transferred or name.startswith("random-")
    return number != 4 or name.startswith("imagenet-")


def add(row, seed, params, macs):
    """Add what a row's network takes, in millions."""
    measured.extend([(row, "params", seed, params / 1e6), (row, "flops", seed, macs / 1e6)])


for name, row in rows.items():
    entry = published()[name]
    (params,), (macs,) = entry.space.cost(entry.genes[None], **entry.network)
    add(row, "", params, macs)
for file in inputs.searches:
    for search in pd.read_csv(file, dtype={"limit": str}, keep_default_na=False).to_dict("records"):
        row, seed = row_of("{dataset}-{categories}-{seed}-{limit}".format(**search))
        if search["found_by"] != "evolution":
            row = row.replace("evolution", search["found_by"])
            never[row] = "not measured: retraining takes what evolution found"
        add(row, seed, search["params"], search["macs"])
known = {(row, seed) for row, _, seed, _ in measured}
for file in inputs.architectures:
    choice = pd.read_csv(file).iloc[0]
    row, seed = row_of(choice["architecture"])
    if belongs(choice["architecture"]) and (row, seed) not in known:
        add(row, seed, choice["params"], choice["macs"])
for run in accuracies + measures:
    name, dataset, column = run["architecture"], run["dataset"], run["column"]
    if belongs(name):
        row, seed = row_of(name)
        # The paper's accuracies are those on ImageNet; anything else has columns of its own.
        own = snakemake.params.sources.get(dataset, dataset)
        column = column if own in ("imagenet", "coco", "cityscapes") else f"{own}/{column}"
        measured.append((row, column, f"{seed}/{run['seed']}", run["value"]))
cells = pd.DataFrame(measured, columns=["row", "column", "seed", "value"])
quoted = "quoted: the paper doesn't say what it is made of, or it is of another space"
never |= dict.fromkeys(set(paper["row"]) - set(cells["row"]) - {"random-search"}, quoted)
there = set(cells["column"])
notes = {
    column: tables.not_run(column, space, scenes, column in there)
    for column in {*paper["column"], *there} - {"params", "flops"}
}
if limit := PAPERS_RANDOM.get(number):
    notes["random-search"] = f"not measured: name random-0-{limit} in transfer.{scenes}.architectures.{space}"
table = tables.tidy(cells, number, notes, never)
formats.write(table, number, Path(snakemake.output.csv).with_suffix(""))
log(table.to_string(index=False))
