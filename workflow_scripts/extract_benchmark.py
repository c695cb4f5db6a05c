"""Bring the benchmark's accuracies into one table."""

from pathlib import Path

import job
from rlnas_core.benchmark import accuracies
from rlnas_core.machine import files

log = job.start(snakemake)
if not snakemake.input.source:
    raise FileNotFoundError(
        "benchmark.path: got null; fetch the published benchmark and name its place there"
    )
path, checksum = Path(snakemake.input.source), snakemake.params.checksum
match snakemake.params.source:
    case "official":
        table = accuracies.extract_official(path, checksum, log=log)
    case "nats-bench":
        table = accuracies.extract_nats(path, checksum, log=log)
    case _:
        if checksum:
            files.verify(path, checksum)
        table = accuracies.read_table(path)
accuracies.write_table(table, snakemake.output.accuracies)
log(f"{len(table)} architectures with {', '.join(table.columns[2:])}")
