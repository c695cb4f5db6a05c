"""Draw how accuracy grows with the number of labels."""

from pathlib import Path

import numpy as np

import job
from rlnas_core.machine.files import read_array, read_results
from rlnas_core.paper.figures import draw_label_curve, save

log = job.start(snakemake)
pairs = zip(snakemake.params.datasets, snakemake.input.labels, strict=True)
labels = {dataset: float(np.bincount(read_array(path)).mean()) for dataset, path in pairs}
table = read_results(snakemake.input.accuracies, ["architecture", "dataset", "seed", "column", "value"])
table = table[table["column"] == "top1"].reset_index(drop=True)
table["labels"] = table["dataset"].map(labels)
table["architecture"] = table["architecture"].str.replace(r"^random-\d+$", "random", regex=True)
table = table[["architecture", "labels", "seed", "value"]].rename(columns={"value": "accuracy"})
table.to_csv(snakemake.output.csv, index=False)
save(draw_label_curve(table), Path(snakemake.output.svg).with_suffix(""))
log(table.to_string(index=False))
