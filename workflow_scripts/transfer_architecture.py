"""Train RetinaNet on COCO, or DeepLab-v3 on Cityscapes, with the network of an architecture as backbone."""

from dataclasses import asdict
from pathlib import Path

import pandas as pd

import job
from rlnas_core import spaces, transfer
from rlnas_core.machine.files import read_result
from rlnas_core.training.checkpoint import remove_checkpoint, save_weights

log = job.start(snakemake)
wildcards, params = snakemake.wildcards, snakemake.params
task = transfer.get(wildcards.scenes)
settings = task.settings(**params.settings)
job.take_devices(snakemake, settings.device, log)
described = read_result(snakemake.input.architecture, ["arch"], rows=1).iloc[0]
space = spaces.get(wildcards.space)
network = job.with_channels(params.network, described) | {"imagenet": True}
genes = space.from_string([described["arch"]])[0]
sizes = {name: int(value) for name, value in network.items() if name in space.sizes}
run = job.training_run(snakemake, log)
train, valid = task.read(snakemake.input.scenes)
model = task.train(
    space.network(genes, classes=1, **sizes),
    train,
    settings,
    int(wildcards.seed),
    pretrained=Path(snakemake.input.weights) if snakemake.input.get("weights") else None,
    run=run,
)
if job.leads():
    measures = task.measure(model, valid, settings)
    rows = pd.DataFrame({"column": measures.keys(), "value": measures.values()})
    names = {"space": space.name, "architecture": wildcards.architecture, "seed": wildcards.seed}
    names["network"] = space.size_in_words(sizes)
    rows.assign(dataset=wildcards.scenes, **names).to_csv(snakemake.output.measures, index=False)
    made_by = {**dict(wildcards), "arch": described["arch"], "sizes": sizes, "settings": asdict(settings)}
    save_weights(model, snakemake.output.weights, **made_by)
    remove_checkpoint(run.checkpoint)
    log(rows.to_string(index=False))
