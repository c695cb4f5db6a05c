"""Measure every ranking of the whole space for each seed, and show quality beside cost."""

from pathlib import Path

import pandas as pd

import job
from rlnas_core.benchmark.accuracies import read_extracted
from rlnas_core.benchmark.ranking import measures
from rlnas_core.paper import figures, rankings
from rlnas_core.spaces import get

log = job.start(snakemake)
given, params, space = snakemake.input, snakemake.params, get("nas_bench_201")
accuracies = read_extracted(given.accuracies)
found = rankings.collect(space, params.runs, given.scores, given.statistics, params.pooling)
measured = pd.DataFrame(
    {"row": row, "needs": ranking.needs, "seed": seed, "column": name}
    | measures(space, ranking.scores, accuracies[f"{name}_test"].to_numpy())
    for (dataset, seed), rows in found.items()
    for name in (name for name, images in params.searches.items() if images == dataset)
    for row, ranking in rows.items()
)
runtimes = dict(zip(params.jobs, given.runtimes, strict=True))
table, costs = rankings.summarise(measured), rankings.core_seconds(found.values(), runtimes)
rankings.write(table, costs, Path(snakemake.output.csv).with_suffix(""))
figures.save(rankings.draw(table, costs), Path(snakemake.output.svg).with_suffix(""))
log(f"{table['row'].nunique()} rankings, best first: {', '.join(table['row'].unique())}")
