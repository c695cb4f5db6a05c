"""Look up the accuracy of the architecture found, and the range of those with the same score."""

import pandas as pd

import job
from rlnas_core.benchmark.accuracies import Benchmark, read_extracted
from rlnas_core.machine.files import read_result
from rlnas_core.search.results import read_best
from rlnas_core.spaces import get

log = job.start(snakemake)
space = get("nas_bench_201")
best = read_best(snakemake.input.best)
ties = read_result(snakemake.input.tied, ["arch"], rows=best["tied"])
genes = space.from_string([best["arch"], *ties["arch"]])
benchmark = Benchmark(read_extracted(snakemake.input.accuracies))
rows = []
for column in benchmark.columns:
    accuracy, *tied = benchmark.look_up(genes, column)
    rows.append({"column": column, "accuracy": accuracy, "lowest": min(tied), "highest": max(tied)})
accuracies = pd.DataFrame(rows).assign(**best)
accuracies.to_csv(snakemake.output.accuracy, index=False)
log(accuracies.to_string(index=False))
