"""Draw tau and accuracy of the angles of untrained supernets against the scale of the weights."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pandas as pd

import job
from rlnas_core.benchmark.accuracies import read_extracted
from rlnas_core.benchmark.ranking import kendall
from rlnas_core.machine.files import read_json
from rlnas_core.paper import figures
from rlnas_core.search.angle import architecture_angles
from rlnas_core.spaces import get
from rlnas_core.training.supernet import SupernetSettings, untrained_statistics

log = job.start(snakemake)
params = snakemake.params
descriptions = {one["name"]: one for one in map(read_json, snakemake.input.descriptions)}
settings, space = SupernetSettings(**params.settings), get("nas_bench_201")
genes, accuracies, rows = space.enumerate(), read_extracted(snakemake.input.accuracies), []
combinations = product(params.initialisations, params.scales, params.seeds, descriptions)
for name, scale, seed, images in combinations:
    drawn = replace(settings, initialisation=name)
    statistics = untrained_statistics(space, descriptions[images], drawn, seed, scale)
    angles = architecture_angles(space, statistics, genes, pooling=params.pooling)
    for dataset in (dataset for dataset, searched in params.searches.items() if searched == images):
        values = accuracies[f"{dataset}_test"].to_numpy()
        found = {"tau": kendall(angles, values, params.ties), "accuracy": values[angles.argmax()]}
        rows.append({"initialisation": name, "scale": scale, "seed": seed, "dataset": dataset, **found})
results = pd.DataFrame(rows)
results.to_csv(snakemake.output.csv, index=False)
figures.save(figures.draw_initialisations(results), Path(snakemake.output.svg).with_suffix(""))
log(results.groupby(["dataset", "initialisation", "scale"])[["tau", "accuracy"]].mean().to_string())
