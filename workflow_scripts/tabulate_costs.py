"""Tabulate costs and accuracies of architectures' networks, beside the paper's."""

from pathlib import Path

import job
from rlnas_core.machine.files import read_result
from rlnas_core.paper import formats
from rlnas_core.paper.costs import cost_table

log = job.start(snakemake)
number = int(snakemake.wildcards.number)
kinds = ("searches", "architectures", "accuracies", "measures")
records = {
    kind: [row for file in snakemake.input[kind] for row in read_result(file, ()).to_dict("records")]
    for kind in kinds
}
table = cost_table(number, **records, sources=snakemake.params.sources)
formats.write(table, number, Path(snakemake.output.csv).with_suffix(""))
log(table.to_string(index=False))
