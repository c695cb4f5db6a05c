"""Measure how well rankings of a large space agree with accuracies of stand-alone networks."""

from pathlib import Path

import job
from rlnas_core.machine.files import read_results
from rlnas_core.paper import networks
from rlnas_core.training.statistics import Statistics

log = job.start(snakemake)
wildcards, given, params = snakemake.wildcards, snakemake.input, snakemake.params
space = job.search_space(wildcards.space, params.paths)
described = read_results(given.architectures, ["architecture", "arch"]).set_index("architecture")
trained = read_results(given.accuracies, ["architecture", "seed", "column", "value"])
trained = trained[trained["column"] == "top1"].pivot(index="architecture", columns="seed", values="value")
scores = read_results(given.scores, ["architecture", "seed"]).set_index("architecture")
supernets = map(Statistics.load, given.statistics)
found = networks.collect(
    space,
    space.from_string(described["arch"].tolist()),
    {statistics.meta["seed"]: statistics for statistics in supernets},
    {seed: of.drop(columns="seed").loc[described.index] for seed, of in scores.groupby("seed")},
    params.pooling,
    **space.network_sizes(params.settings),
    image_size=params.image_size,
    classes=params.classes,
)
measured = networks.measure(found, trained.loc[described.index], params.resamples)
networks.write(measured, len(described), Path(snakemake.output.csv).with_suffix(""))
log(measured.to_string(index=False))
