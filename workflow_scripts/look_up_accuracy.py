"""Look up the accuracies of the architectures that a search found."""

import pandas as pd

import job
from rlnas_core.benchmark.accuracies import Benchmark, read_table
from rlnas_core.spaces import get

log = job.start(snakemake)
space = get("nas_bench_201")
best = pd.read_csv(snakemake.input.best)
genes = space.from_string(best["arch"])
table = read_table(snakemake.input.accuracies)
benchmark = Benchmark(table)
rows = [
    best.assign(column=column, accuracy=benchmark.look_up(genes, column), **job.experiment(snakemake))
    for column in table.columns.drop(["index", "arch"])
]
accuracy = pd.concat(rows).assign(indicator=snakemake.wildcards.search)
accuracy.to_csv(snakemake.output.accuracy, index=False)
log(accuracy.to_string(index=False))
