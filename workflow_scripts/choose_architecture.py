"""Write one architecture of a large space: published, found by a search, or random."""

import numpy as np
import pandas as pd

import job
from rlnas_core.machine.files import read_result
from rlnas_core.search.evolution import random_architectures
from rlnas_core.search.names import ArchitectureName
from rlnas_core.search.results import read_best
from rlnas_core.spaces import get, published

log = job.start(snakemake)
wildcards = snakemake.wildcards
space = get(wildcards.space)
name, network = ArchitectureName.parse(wildcards.architecture), {}
if candidates := snakemake.input.get("candidates"):
    chosen = read_result(candidates, ["architecture", "arch"]).set_index("architecture")
    row = chosen.loc[wildcards.architecture]
    genes = space.from_string([row["arch"]])[0]
    network = {"channels": row["channels"]} if space.channels else {}
elif name is None:
    genes, network = published()[wildcards.architecture].genes, published()[wildcards.architecture].network
elif name.random:
    genes = random_architectures(space, np.random.default_rng(name.seed), 1, 1e6 * name.limit)[0]
else:
    found = read_best(snakemake.input.search)
    genes = space.from_string([found["arch"]])[0]
    if name.scaled:
        network = {"channels": int(found["channels_within_600M"])}
costs, macs = space.cost(genes[None], **network)
row = {
    "space": space.name,
    "architecture": wildcards.architecture,
    "arch": space.to_string(genes[None])[0],
    "params": costs[0],
    "macs": macs[0],
}
if space.channels:
    row["channels"] = network.get("channels", space.channels)
pd.DataFrame([row]).to_csv(snakemake.output.architecture, index=False)
log(row)
