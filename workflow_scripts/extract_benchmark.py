"""Extract the benchmark's accuracies to one table and compare it with the included one."""

import job
from rlnas_core.benchmark import accuracies

log = job.start(snakemake)
params = snakemake.params
table = accuracies.extract(params.source, snakemake.input.source, params.checksum, log=log)
accuracies.write_table(table, snakemake.output.accuracies)
difference = accuracies.compare(table)
difference.to_csv(snakemake.output.difference, index=False)
log(f"{len(table)} architectures with {', '.join(table.columns[2:])}")
log(f"largest difference from the included table:\n{difference.to_string(index=False)}")
