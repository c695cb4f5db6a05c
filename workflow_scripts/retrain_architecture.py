"""Train the network of one architecture on true labels and write its accuracies."""

from dataclasses import asdict
from pathlib import Path

import pandas as pd

import job
from rlnas_core.images.arrays import load
from rlnas_core.machine.files import read_array, read_result
from rlnas_core.spaces import get
from rlnas_core.training.checkpoint import remove_checkpoint, save_weights
from rlnas_core.training.standalone import LabelledImages, RetrainingSettings, retrain

log = job.start(snakemake)
wildcards, params = snakemake.wildcards, snakemake.params
job.take_devices(snakemake, params.settings["device"], log)
folder = Path(snakemake.input.description).parent
described = read_result(snakemake.input.architecture, ["arch"], rows=1).iloc[0]
space = get(wildcards.space)
settings = RetrainingSettings(**job.with_channels(params.settings, described))
data = [
    LabelledImages(load(folder, split), read_array(snakemake.input[f"{split}_labels"]), params.classes)
    for split in ("train", "valid")
]
run = job.training_run(snakemake, log)
model, accuracies = retrain(
    space,
    space.from_string([described["arch"]])[0],
    *data,
    settings,
    int(wildcards.seed),
    run=run,
)
if job.leads():
    columns = {**described[["space", "architecture", "arch"]], "dataset": wildcards.dataset}
    columns |= {
        "seed": wildcards.seed,
        "network": space.size_in_words(asdict(settings)),
        "images": len(data[1]),
    }
    rows = pd.DataFrame({"column": accuracies.keys(), "value": accuracies.values()}).assign(**columns)
    rows.to_csv(snakemake.output.accuracy, index=False)
    made_by = {**dict(wildcards), "arch": described["arch"], "settings": asdict(settings)}
    save_weights(model, snakemake.output.weights, **made_by)
    remove_checkpoint(run.checkpoint)
