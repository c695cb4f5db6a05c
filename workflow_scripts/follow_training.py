"""Rank the whole space by the angle after every epoch, and say what its largest angle would choose."""

import numpy as np
import pandas as pd

import job
from rlnas_core.benchmark.accuracies import read_extracted
from rlnas_core.benchmark.ranking import kendall
from rlnas_core.search.angle import architecture_angles
from rlnas_core.spaces import get
from rlnas_core.training.statistics import Statistics

log = job.start(snakemake)
space = get("nas_bench_201")
genes = space.enumerate()
statistics = Statistics.load(snakemake.input.statistics)
accuracies = read_extracted(snakemake.input.accuracies)
rows = []
for row, epoch in list(enumerate(statistics.epochs))[1:]:  # before training every angle is 0
    angles = architecture_angles(space, statistics, genes, row, snakemake.params.pooling)
    for column in snakemake.params.columns:
        values = accuracies[column].to_numpy()
        chosen = values[int(np.argmax(angles))]
        tau = kendall(angles, values, snakemake.params.ties)
        rows.append({"epoch": int(epoch), "column": column, "tau": tau, "accuracy": chosen})
trajectory = pd.DataFrame(rows).assign(**job.experiment(snakemake))
trajectory.to_csv(snakemake.output.trajectory, index=False)
log(trajectory.tail(len(snakemake.params.columns)).to_string(index=False))
