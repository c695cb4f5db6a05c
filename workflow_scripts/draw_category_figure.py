"""Draw figure 1: RLNAS with different numbers of random-label categories."""

from pathlib import Path

import pandas as pd

import job
from rlnas_core.paper import figures

log = job.start(snakemake)
params = snakemake.params
accuracies = pd.concat(map(pd.read_csv, snakemake.input.results))
taus = pd.concat(map(pd.read_csv, snakemake.input.correlations))
keys = ["dataset", "categories", "seed", "column"]
runs = accuracies[accuracies["found_by"] == "evolution"].merge(taus[taus["indicator"] == "angle"], on=keys)
results = job.of_searches(runs, params.searches)
classes = {name: params.classes[dataset] for name, dataset in params.searches.items()}
results = results.assign(classes=results["dataset"].map(classes))
results = results[["dataset", "classes", "categories", "seed", "accuracy", "tau"]]
results.to_csv(snakemake.output.csv, index=False)
figures.save(figures.draw_figure1(results), Path(snakemake.output.svg).with_suffix(""))
log(results.to_string(index=False))
