"""Draw every architecture's angle against its accuracy, and mark the chosen one."""

from pathlib import Path

import job
from rlnas_core.benchmark.accuracies import read_extracted
from rlnas_core.paper import figures
from rlnas_core.search.results import read_best, read_scores
from rlnas_core.spaces import get

log = job.start(snakemake)
space = get("nas_bench_201")
name = snakemake.wildcards.benchmark_dataset
images = snakemake.params.images[name]
angles = read_scores(snakemake.input.scores, space)["angle"].to_numpy()
accuracies = read_extracted(snakemake.input.accuracies)[f"{name}_test"].to_numpy()
best = read_best(snakemake.input.best)
chosen = int(space.index(space.from_string([best["arch"]]))[0])
figure = figures.draw_scatter(angles, accuracies, chosen, name, images, best["seed"], snakemake.params.ties)
figures.save(figure, Path(snakemake.output.svg).with_suffix(""))
log(f"chosen: {best['arch']}, {accuracies[chosen]:.2f}% on {name}")
