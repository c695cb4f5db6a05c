"""Train the network of one architecture on true labels and write its accuracies."""

from pathlib import Path

import pandas as pd
from safetensors.torch import save_model

import job
from rlnas_core.checkpoint import remove_states
from rlnas_core.data import load
from rlnas_core.retrain import RetrainingSettings, retrain
from rlnas_core.spaces import get

log = job.start(snakemake)
wildcards, settings = snakemake.wildcards, dict(snakemake.params.settings)
job.take_devices(snakemake, settings["device"], log)
folder = Path(snakemake.input.description).parent
described = pd.read_csv(snakemake.input.architecture).iloc[0]
space = get(wildcards.space)
if channels := settings.pop("channels") or described.get("channels"):
    settings["channels"] = int(channels)
model, accuracies = retrain(
    space,
    space.from_string([described["arch"]])[0],
    load(folder, "train"),
    load(folder, "valid"),
    RetrainingSettings(**settings),
    int(wildcards.seed),
    log=log,
    csv_path=snakemake.output.training,
    state_path=snakemake.params.state,
    watch=job.watcher(snakemake),
)
if job.leads():
    columns = {**described[["space", "architecture", "arch"]], "dataset": wildcards.dataset}
    columns["seed"] = wildcards.seed
    rows = pd.DataFrame({"column": accuracies.keys(), "value": accuracies.values()}).assign(**columns)
    rows.to_csv(snakemake.output.accuracy, index=False)
    save_model(model, snakemake.output.weights, {"network": f"{space.name} {described['arch']}"})
    remove_states(snakemake.params.state)
