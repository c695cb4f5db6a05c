"""Train every distinct cell on small noisy digits and write the table that the demo looks up."""

import json

import job
from rlnas_core.benchmark.accuracies import write_table
from rlnas_core.embedded import EmbeddedSettings, train_embedded_benchmark
from rlnas_core.training.checkpoint import remove_states

# Worker processes import this script's module again: only the job itself may start them.
if __name__ == "__main__":
    log = job.start(snakemake)
    state = snakemake.params.state
    table, record = train_embedded_benchmark(
        EmbeddedSettings(),
        workers=snakemake.threads,
        log=log,
        state_path=state,
        save_every=60 * snakemake.config["save_minutes"],
    )
    write_table(table, snakemake.output.table)
    with open(snakemake.output.record, "w", encoding="utf-8") as file:
        json.dump(record, file, indent=2, sort_keys=True)
        file.write("\n")
    remove_states(state)
