"""Draw Kendall's tau of the angle after each epoch of training."""

from pathlib import Path

import pandas as pd

import job
from rlnas_core.benchmark.accuracies import read_extracted
from rlnas_core.paper import figures
from rlnas_core.search.angle import follow
from rlnas_core.spaces import get
from rlnas_core.training.statistics import Statistics

log = job.start(snakemake)
params, accuracies = snakemake.params, read_extracted(snakemake.input.accuracies)
rows = []
for run, file in zip(params.runs, snakemake.input.statistics, strict=True):
    columns = [f"{name}_test" for name, images in params.searches.items() if images == run["dataset"]]
    statistics = Statistics.load(file)
    found = follow(get("nas_bench_201"), statistics, accuracies, columns, params.pooling, params.ties)
    rows.append(found.assign(dataset=run["dataset"], method=run["labels"], seed=run["seed"]))
taus = job.of_searches(pd.concat(rows), params.searches)[
    ["dataset", "method", "seed", "epoch", "tau", "accuracy"]
]
taus.to_csv(snakemake.output.csv, index=False)
figures.save(figures.draw_trajectory(taus, params.images), Path(snakemake.output.svg).with_suffix(""))
log(taus[taus["epoch"] == taus["epoch"].max()].to_string(index=False))
