"""Draw figures 2 to 5: the architectures that the paper publishes."""

from pathlib import Path

import pandas as pd

import job
from rlnas_core.drawings import draw_blocks, draw_cells
from rlnas_core.figures import save
from rlnas_core.spaces import get, published

log = job.start(snakemake)
number = int(snakemake.wildcards.number)
entries = {name: entry for name, entry in published().items() if entry.figure == number}
drawn = {name: entry.genes for name, entry in entries.items()}
for file in snakemake.input.searches:
    search = pd.read_csv(file).set_index("found_by").loc["evolution"]
    title = f"this run, {search['dataset']}, seed {search['seed']}"
    drawn[title] = get(search["space"]).from_string([search["arch"]])[0]
draw = draw_blocks if all(entry.space.name == "mobilenet" for entry in entries.values()) else draw_cells
save(draw(drawn), Path(snakemake.output.svg).with_suffix(""))
log(f"figure {number}: {', '.join(drawn)}")
