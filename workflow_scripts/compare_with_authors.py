"""Put the paper's numbers, those of the authors' repositories and this run's side by side."""

from pathlib import Path

import job
from rlnas_core.machine.files import read_result
from rlnas_core.paper import comparison

log = job.start(snakemake)
tables = {
    int(Path(file).stem.removeprefix("table")): read_result(file, ["row", "column"])
    for file in snakemake.input.tables
}
compared = comparison.compare(tables, snakemake.params.searches)
comparison.write(compared, Path(snakemake.output.csv).with_suffix(""))
log(compared.to_string(index=False))
