"""Write the initial weights of the training of an architecture."""

import job
from rlnas_core.machine.files import read_json, read_result
from rlnas_core.model.loading import describe
from rlnas_core.training.checkpoint import save_weights
from rlnas_core.training.standalone import draw_weights

log = job.start(snakemake)
wildcards = snakemake.wildcards
described = read_result(snakemake.input.architecture, ["arch"], rows=1).iloc[0]
settings = job.with_channels(snakemake.params.settings, described)
dataset = read_json(snakemake.input.description)
made_by = {**dict(wildcards), "arch": described["arch"], "settings": settings, "trained": False}
network = describe(dataset, made_by).network()
draw_weights(network, int(wildcards.seed))
save_weights(network, snakemake.output.weights, **made_by)
log(f"{described['arch']}: not trained")
