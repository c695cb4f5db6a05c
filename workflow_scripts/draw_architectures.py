"""Draw figures 2 to 5: the architectures that the paper publishes."""

from pathlib import Path

import job
from rlnas_core.paper.drawings import draw_blocks, draw_cells, found
from rlnas_core.paper.figures import save
from rlnas_core.search.results import read_best
from rlnas_core.spaces import published

log = job.start(snakemake)
number = int(snakemake.wildcards.number)
entries = {name: entry for name, entry in published().items() if entry.figure == number}
drawn = {name: entry.genes for name, entry in entries.items()}
drawn |= found(map(read_best, snakemake.input.searches))
draw = draw_blocks if all(entry.space.name == "mobilenet" for entry in entries.values()) else draw_cells
save(draw(drawn), Path(snakemake.output.svg).with_suffix(""))
log(f"figure {number}: {', '.join(drawn)}")
