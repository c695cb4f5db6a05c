"""Export a retrained network as a model for use elsewhere."""

import job
from rlnas_core.machine.files import read_json, read_result
from rlnas_core.model.loading import model_of
from rlnas_core.model.saving import save_model

log = job.start(snakemake)
model = model_of(snakemake.input.weights, read_json(snakemake.input.description))
accuracies, images = {}, None
if measured := snakemake.input.get("accuracy"):
    rows = read_result(measured, ["column", "value"]).set_index("column")
    accuracies = rows["value"].to_dict()
    images = int(rows["images"].iloc[0]) if "images" in rows else None  # results of 0.1.0 have no number
save_model(model, snakemake.output.model, accuracies, images)
log(f"{snakemake.output.model}: {model.description.arch}")
