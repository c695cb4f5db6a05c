"""Draw figure 1: RLNAS with different numbers of random-label categories."""

from pathlib import Path

import job
from rlnas_core.benchmark.accuracies import Benchmark, read_extracted
from rlnas_core.machine.files import read_json, read_results
from rlnas_core.paper import figures
from rlnas_core.search.results import look_up

log = job.start(snakemake)
params = snakemake.params
keys = ["dataset", "categories", "seed", "column"]
found = look_up(snakemake.input.searches, Benchmark(read_extracted(snakemake.input.accuracies)))
taus = read_results(snakemake.input.correlations, [*keys, "indicator"])
runs = found.merge(taus[taus["indicator"] == "angle"], on=keys)
results = job.of_searches(runs, params.searches)
descriptions = map(read_json, snakemake.input.descriptions)
known = {entry["name"]: entry["classes"] for entry in descriptions if entry["labelled"]}
classes = {name: known.get(dataset) for name, dataset in params.searches.items()}
results = results.assign(classes=results["dataset"].map(classes).astype("Int64"))
results = results[["dataset", "classes", "categories", "seed", "accuracy", "tau"]]
results.to_csv(snakemake.output.csv, index=False)
figures.save(figures.draw_figure1(results, params.images), Path(snakemake.output.svg).with_suffix(""))
log(results.to_string(index=False))
