"""Build one page that shows every ranking with the first seed against every accuracy."""

from pathlib import Path

import job
from rlnas_core.benchmark.accuracies import read_extracted
from rlnas_core.paper import rankings
from rlnas_core.paper.explorer import explorer
from rlnas_core.paper.tables import sized
from rlnas_core.spaces import get

log = job.start(snakemake)
given, params, space = snakemake.input, snakemake.params, get("nas_bench_201")
accuracies = read_extracted(given.accuracies)
found = rankings.collect(space, params.runs, given.scores, given.statistics, params.pooling)
dataset = params.runs[0]["dataset"]
seed, shown = next((seed, rows) for (images, seed), rows in sorted(found.items()) if images == dataset)
columns = [column for column in accuracies.columns if column.endswith("_test")]
about = f"run {params.run}, {sized(dataset, params.sizes[dataset])}, seed {seed}"
page = explorer(space, shown, accuracies[columns], params.ties, about)
Path(snakemake.output.html).write_text(page, encoding="utf-8", newline="\n")
log(f"{len(shown)} rankings with the images of {dataset}, {len(page):,} bytes")
