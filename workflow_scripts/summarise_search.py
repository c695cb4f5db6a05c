"""Summarise the architecture found and its comparison on one page."""

from pathlib import Path

import pandas as pd

import job
from rlnas_core.machine.files import read_json, read_result
from rlnas_core.paper.formats import page
from rlnas_core.paper.summary import summarise
from rlnas_core.search.choice import Limit

log = job.start(snakemake)
given, params = snakemake.input, snakemake.params
dataset = read_json(given.description)
names = [name for name in ("candidates", "agreement", "comparison", "curve") if given.get(name)]
took = pd.DataFrame(
    {"job": name.split("/")[0], "seconds": pd.read_csv(file, sep="\t")["s"].iloc[0]}
    for name, file in zip(params.jobs, given.runtimes, strict=True)
)
tables = {name: read_result(given[name], []) for name in names}
text = summarise(tables, dataset, Limit(**params.limit), took.groupby("job")["seconds"].sum())
Path(snakemake.output.md).write_text(text, encoding="utf-8")
Path(snakemake.output.html).write_text(page("summary", f"<pre>{text}</pre>", []), encoding="utf-8")
log(text)
