"""Draw Kendall's tau of every method, with the paper's number beside the measured one."""

from pathlib import Path

import job
from rlnas_core.machine.files import read_result
from rlnas_core.paper import figures

log = job.start(snakemake)
table = read_result(snakemake.input.table, ["row", "column"])
figures.save(figures.draw_methods(table), Path(snakemake.output.svg).with_suffix(""))
log(f"{table['mean'].notna().sum()} of {len(table)} numbers were measured")
