"""Draw docs/measurements/tau_by_epoch.csv: Kendall's tau of the angle by epoch, at several image sizes.

    python benchmarks/tau_by_epoch.py

The file has a row for each epoch of each supernet: image_size, labels, seed, epoch and Kendall's tau on
the three datasets. `results/RUN/figures/trajectory.csv` has the tau of a run. The figure adds the angles
without shared weights of dip.csv.
"""

import sys
from pathlib import Path

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rlnas_core.paper.figures import STYLE
from rlnas_core.paper.numbers import PAPER

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "measurements"
COLOURS = {"ground-truth": "#0072B2", "uniform-once": "#E69F00"}
NAMES = {"ground-truth": "true labels", "uniform-once": "random labels"}
DASHES = {8: ":", 16: "--", 32: "-"}
ROWS = {"ground-truth": "B", "uniform-once": "D"}
AUTHORS = PAPER["authors"]["by_epoch"]["ground-truth"]


def main() -> None:
    """Write tau_by_epoch.png to the directory of the file."""
    taus = pd.read_csv(FOLDER / "tau_by_epoch.csv")
    with rc_context(STYLE):
        figure = Figure(figsize=(8.5, 4.6), layout="constrained")
        axes = figure.subplots()
        axes.axhline(0, color="#888888", linewidth=1)
        for (labels, size), runs in taus.groupby(["labels", "image_size"]):
            mean = runs.groupby("epoch")["cifar10"].mean()
            look = {"color": COLOURS[labels], "linestyle": DASHES[size]}
            axes.plot(mean.index, mean, label=f"{NAMES[labels]}, {size}x{size} pixels", **look)
        points = {"color": COLOURS["ground-truth"], "linestyle": "", "marker": "o", "fillstyle": "none"}
        axes.plot(list(AUTHORS), list(AUTHORS.values()), label="true labels, authors' repository", **points)
        parts = pd.read_csv(FOLDER / "dip.csv").set_index(["image_size", "labels", "change"])
        bare = parts.sort_index().loc[(32, "ground-truth", "no shared weights")]
        axes.plot(
            bare["epoch"],
            bare["cifar10"],
            label="true labels, 32x32, no shared weights",
            **points | {"marker": "x"},
        )
        for labels, row in ROWS.items():
            look = {"color": COLOURS[labels], "linestyle": "", "marker": "*", "markersize": 11}
            axes.plot([250], PAPER["table2"]["rows"][row][:1], label=f"{NAMES[labels]}, paper", **look)
        axes.set(xlabel="Epoch of 250", ylabel="Kendall's tau of the angle, CIFAR-10")
        figure.legend(loc="outside right")
        figure.savefig(FOLDER / "tau_by_epoch.png", metadata={"Software": None})


if __name__ == "__main__":
    main()
