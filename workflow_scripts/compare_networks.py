"""Compare trained networks on the same held-out images."""

from pathlib import Path

import job
from rlnas_core.images.arrays import load
from rlnas_core.machine.files import read_array, read_json
from rlnas_core.model.comparison import compare, hits, stacked
from rlnas_core.model.loading import model_of

log = job.start(snakemake)
folder = Path(snakemake.input.description).parent
dataset = read_json(snakemake.input.description)
images, labels = load(folder, "valid"), read_array(snakemake.input.labels)
right = {}
for path in snakemake.input.weights:
    model = model_of(path, dataset)
    of = model.description.made_by
    right[of["architecture"], int(of["seed"])] = hits(model, images, labels)
table = compare(stacked(right), "found")
table.to_csv(snakemake.output.comparison, index=False)
log(table.to_string(index=False))
