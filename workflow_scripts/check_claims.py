"""Test the paper's claims on its own numbers and on those of this run."""

from pathlib import Path

import job
from rlnas_core.machine.files import read_result
from rlnas_core.paper import claims

log = job.start(snakemake)
tables = {
    int(Path(file).stem.removeprefix("table")): read_result(file, ["row", "column"])
    for file in snakemake.input.tables
}
categories = next((read_result(file, ["categories"]) for file in snakemake.input.categories), None)
comparisons = claims.check(tables, categories)
claims.write(comparisons, Path(snakemake.output.csv).with_suffix(""))
log(claims.summarise(comparisons).to_string(index=False))
