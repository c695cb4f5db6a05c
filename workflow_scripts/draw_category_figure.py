"""Draw figure 1: RLNAS with different numbers of random-label categories."""

from pathlib import Path

import job
from rlnas_core.machine.files import read_results
from rlnas_core.paper import figures

log = job.start(snakemake)
params = snakemake.params
keys = ["dataset", "categories", "seed", "column"]
accuracies = read_results(snakemake.input.results, [*keys, "accuracy"])
taus = read_results(snakemake.input.correlations, [*keys, "indicator"])
runs = accuracies.merge(taus[taus["indicator"] == "angle"], on=keys)
results = job.of_searches(runs, params.searches)
classes = {name: params.classes[dataset] for name, dataset in params.searches.items()}
results = results.assign(classes=results["dataset"].map(classes))
results = results[["dataset", "classes", "categories", "seed", "accuracy", "tau"]]
results.to_csv(snakemake.output.csv, index=False)
figures.save(figures.draw_figure1(results), Path(snakemake.output.svg).with_suffix(""))
log(results.to_string(index=False))
