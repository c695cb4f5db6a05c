"""Draw figures 2 to 5: the architectures that the paper publishes."""

from pathlib import Path

import job
from rlnas_core.drawings import draw_blocks, draw_cells
from rlnas_core.figures import save
from rlnas_core.spaces import published

log = job.start(snakemake)
number = int(snakemake.wildcards.number)
drawn = {name: entry for name, entry in published().items() if entry.figure == number}
draw = draw_blocks if all(entry.space.name == "mobilenet" for entry in drawn.values()) else draw_cells
save(
    draw({name: entry.genes for name, entry in drawn.items()}),
    Path(snakemake.output.svg).with_suffix(""),
)
log(f"figure {number}: {', '.join(drawn)}")
