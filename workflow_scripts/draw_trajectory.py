"""Draw Kendall's tau of the angle after each epoch of training."""

from pathlib import Path

import job
from rlnas_core.machine.files import read_results
from rlnas_core.paper import figures

log = job.start(snakemake)
columns = ["dataset", "labels", "seed", "column", "epoch"]
runs = read_results(snakemake.input.trajectories, columns).rename(columns={"labels": "method"})
taus = job.of_searches(runs, snakemake.params.searches)
figures.save(figures.draw_trajectory(taus), Path(snakemake.output.svg).with_suffix(""))
last = taus[taus["epoch"] == taus["epoch"].max()]
log(last[["dataset", "method", "seed", "epoch", "tau"]].to_string(index=False))
