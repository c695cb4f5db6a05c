"""Compare this run's numbers with those of the paper and of the authors' repositories."""

from pathlib import Path

import job
from rlnas_core.machine.files import read_result
from rlnas_core.paper import comparison

log = job.start(snakemake)
tables = {
    int(Path(file).stem.removeprefix("table")): read_result(file, ["row", "column"])
    for file in snakemake.input.tables
}
compared = comparison.compare(tables, snakemake.params.sources)
comparison.write(compared, Path(snakemake.output.csv).with_suffix(""))
log(compared.to_string(index=False))
