"""Export a retrained network as a model for use elsewhere."""

import job
from rlnas_core.machine.files import read_json, read_result
from rlnas_core.model.loading import Model, describe, set_weights
from rlnas_core.model.saving import save_model
from rlnas_core.training.checkpoint import read_weights

log = job.start(snakemake)
weights, made_by = read_weights(snakemake.input.weights)
dataset = read_json(snakemake.input.description)
model = Model(describe(dataset, made_by))
set_weights(model, weights, snakemake.input.weights)
accuracies, images = {}, None
if measured := snakemake.input.get("accuracy"):
    rows = read_result(measured, ["column", "value"]).set_index("column")
    accuracies = rows["value"].to_dict()
    images = int(rows["images"].iloc[0]) if "images" in rows else None  # results of 0.1.0 have no number
save_model(model, snakemake.output.model, accuracies, images)
log(f"{snakemake.output.model}: {made_by['arch']}")
