"""Summarise the searches of a run in the large spaces: agreement of seeds, exact optimum, structure.

    python benchmarks/large_searches.py results/large [DIRECTORY]

prints three tables: agreement of seeds and exact optimum of all searches by angle, rank correlation of the
angle with structure, and angles of the supernets' weights. For each seed, RUN_searches.csv in DIRECTORY, by
default docs/measurements, has the architectures found and the optima, RUN_structure.csv the correlations and
RUN_angles.csv the angles.
"""

import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rlnas_core.search.angle import angles, group_sums
from rlnas_core.search.evolution import random_architectures
from rlnas_core.spaces import get
from rlnas_core.training.statistics import Statistics

MEASUREMENTS = Path(__file__).resolve().parents[1] / "docs" / "measurements"
PAIRS = 5_000
KEYS = ["space", "dataset", "labels", "limit"]


def alike(genes: np.ndarray) -> float:
    """Equal genes in percent, mean over all pairs of architectures (N, genes)."""
    return 100 * float(np.mean([(one == other).mean() for one, other in combinations(genes, 2)]))


def by_chance(name: str, limit: str, seeds: int) -> tuple[float, float]:
    """Mean and 95th percentile of `alike` for random architectures within a limit, one per seed."""
    most = np.inf if limit == "none" else 1e6 * int(limit)
    drawn = random_architectures(get(name), np.random.default_rng(0), PAIRS * seeds, most)
    shares = [alike(genes) for genes in drawn.reshape(PAIRS, seeds, -1)]
    return float(np.mean(shares)), float(np.quantile(shares, 0.95))


def read(run: Path, name: str) -> pd.DataFrame:
    """Rows of the file NAME.csv of all searches by angle, with each search's keys."""
    rows = []
    for file in sorted(run.glob(f"searches/*/*/*/*/*/*/angle/{name}.csv")):
        *_, space, dataset, labels, _, seed, limit, _, _ = file.parts
        of = {"space": space, "dataset": dataset, "labels": labels, "limit": limit, "seed": int(seed)}
        rows.append(pd.read_csv(file, keep_default_na=False).assign(**of))
    return pd.concat(rows, ignore_index=True)


def turned(run: Path) -> pd.DataFrame:
    """Angles in radians of the shared weights and of each operation's weights over all genes."""
    rows = []
    for file in sorted(run.glob("supernets/*/*/*/*/*/statistics.npz")):
        *_, name, dataset, labels, _, seed, _ = file.parts
        if name in ("darts", "mobilenet"):
            space = get(name)
            sums = group_sums(space, Statistics.load(file))
            parts = np.concatenate([sums[:1], sums[1:].reshape(space.num_genes, -1, 3).sum(axis=0)])
            found = zip(("shared", *space.operations), angles(np.eye(len(parts)), parts), strict=True)
            rows += [
                {
                    "space": name,
                    "dataset": dataset,
                    "labels": labels,
                    "part": part,
                    "seed": seed,
                    "angle": angle,
                }
                for part, angle in found
                if angle
            ]
    return pd.DataFrame(rows)


def main(run: Path, directory: Path) -> None:
    """Print the tables of the run in results/RUN and write its files."""
    best, optimum, structure = (read(run, name) for name in ("best", "optimum", "structure"))
    found = []
    for key, rows in optimum.groupby(KEYS, sort=False):
        space, limit, evolved = get(key[0]), key[3], best.merge(rows[[*KEYS, "seed"]])
        gap = (rows["score"].to_numpy() - evolved["score"].to_numpy()).max()
        same = (evolved["arch"].to_numpy() == rows["arch"].to_numpy()).sum()
        line = dict(zip(KEYS, key, strict=True)) | {"seeds": len(rows)}
        line |= {
            "angle of the optimum": f"{rows['score'].min():.3f} to {rows['score'].max():.3f}",
            "proven": f"{rows['proven'].astype(str).eq('True').sum()} of {len(rows)}",
            "evolution below the optimum by at most": f"{gap:.4f}",
            "evolution finds the optimum": f"{same} of {len(rows)}",
        }
        if len(rows) > 1:
            mean, high = by_chance(key[0], limit, len(rows))
            for name, of in (("evolution", evolved), ("optimum", rows)):
                line[f"equal genes, {name}"] = f"{alike(space.from_string(of['arch'].tolist())):.0f}%"
            line["equal genes by chance (95%)"] = f"{mean:.0f}% ({high:.0f}%)"
        found.append(line)
    print(pd.DataFrame(found).to_markdown(index=False), end="\n\n")
    taus = structure.pivot_table(
        index=KEYS, columns="with", values="tau", aggfunc=["mean", "std"], sort=False
    ).round(3)
    taus.columns = [f"{name}, {of}" for of, name in taus.columns]
    print(taus.reset_index().to_markdown(index=False), end="\n\n")
    weights = turned(run)
    parts = weights.groupby(["space", "dataset", "labels", "part"], sort=False)["angle"]
    print(parts.agg(["mean", "std"]).round(3).reset_index().to_markdown(index=False), end="\n\n")
    columns = [*KEYS, "seed", "found by", "score", "params", "flops", "arch"]
    both = [best.assign(**{"found by": "evolution"}), optimum.assign(**{"found by": "proof"})]
    pd.concat(both)[columns].to_csv(directory / f"{run.name}_searches.csv", index=False)
    structure[[*KEYS, "seed", "with", "tau"]].to_csv(directory / f"{run.name}_structure.csv", index=False)
    weights.to_csv(directory / f"{run.name}_angles.csv", index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2:] else MEASUREMENTS)
