"""Hold the documented numbers of `make laptop` against the paper's and those of the authors' repositories.

    python benchmarks/laptop_verdicts.py [DIRECTORY]

reads docs/measurements/laptop.csv, a cell of the paper's tables in each line, and laptop_figure1.csv,
trajectory.csv, initialisations.csv, and laptop_rankings.csv with laptop_costs.csv. It writes the claims'
verdicts (laptop_claims.csv), the comparison of all NAS-Bench-201 numbers (laptop_comparison.csv and .md), the
figure of the methods (laptop_methods.png) and those of the other files (laptop_figure1.png, trajectory.png,
initialisations.png, laptop_rankings.png) to DIRECTORY, by default docs/measurements.
"""

import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rlnas_core.paper import claims, comparison, figures, rankings
from rlnas_core.paper.costs import cost_table
from rlnas_core.paper.tables import searched_images, tidy

MEASUREMENTS = Path(__file__).resolve().parents[1] / "docs" / "measurements"
COST_TABLES = (3, 4, 5, 8, 9, 10, 11)
SOURCES = dict.fromkeys(("cifar10", "cifar100", "imagenet16"), "cifar10")
IMAGES = searched_images(SOURCES, {"cifar10": {"source": "cifar10", "image_size": 8}})
KEYS = ["row", "column"]
DRAWN = ("laptop_figure1", "trajectory", "initialisations", "laptop_rankings")


def tables() -> dict[int, pd.DataFrame]:
    """Return the paper's tables with the documented numbers, as a run writes them."""
    found = {number: cost_table(number, [], [], [], [], {}) for number in COST_TABLES}
    nothing = pd.DataFrame(columns=[*KEYS, "seed", "value"])
    for number, cells in pd.read_csv(MEASUREMENTS / "laptop.csv").groupby("table"):
        table = tidy(nothing, number, images=IMAGES).set_index(KEYS)
        measured = cells.drop(columns="table").set_index(KEYS)
        table = table.reindex(table.index.union(measured.index, sort=False))
        table.loc[measured.index, measured.columns] = measured
        found[number] = table.astype({"runs": int}).reset_index()
    return found


def verdicts() -> pd.DataFrame:
    """Return the comparisons of all claims."""
    return claims.check(tables(), pd.read_csv(MEASUREMENTS / "laptop_figure1.csv"))


def main(directory: Path) -> None:
    """Write the verdicts, the comparison and the figures."""
    verdicts().to_csv(directory / "laptop_claims.csv", index=False)
    accuracies = {number: table for number, table in tables().items() if number not in COST_TABLES}
    comparison.write(comparison.compare(accuracies, SOURCES), directory / "laptop_comparison")
    read = {name: pd.read_csv(MEASUREMENTS / f"{name}.csv") for name in DRAWN}
    costs = pd.read_csv(MEASUREMENTS / "laptop_costs.csv", index_col="row")["core_seconds"].to_dict()
    ranked = read["laptop_rankings"][read["laptop_rankings"]["row"].isin(costs)].fillna({"needs": ""})
    for name, figure in {
        "laptop_methods": figures.draw_methods(accuracies[2]),
        "laptop_figure1": figures.draw_figure1(read["laptop_figure1"], IMAGES),
        "trajectory": figures.draw_trajectory(read["trajectory"], IMAGES),
        "initialisations": figures.draw_initialisations(read["initialisations"]),
        "laptop_rankings": rankings.draw(ranked, costs),
    }.items():
        figure.savefig(directory / f"{name}.png", dpi=150)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else MEASUREMENTS)
