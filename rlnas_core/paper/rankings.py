"""Every measure of every ranking of the whole space, beyond the one of table 2."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

MEASURES = {
    "tau_in_order": "tau, ties in order",
    "tau_discounted": "tau-b",
    "rho": "Spearman's rho",
    "gain_at_top": "nDCG, top 1%",
    "tau_in_order_connected": "tau, ties in order (9,445)",
    "tau_discounted_connected": "tau-b (9,445)",
    "rho_connected": "rho (9,445)",
    "gain_at_top_connected": "nDCG (9,445)",
    "tau_within_size": "tau-b within equal size",
}
"""How each of `ranking.measures` is shown."""


def label_rows(results: pd.DataFrame, baselines: pd.DataFrame, table: Mapping[str, Any]) -> pd.DataFrame:
    """Return rankings with the `row` of a table of paper.yaml that each belongs to.

    Beside the measures `results` has the columns labels, indicator, seed and column; `baselines` has
    indicator, which names its rows, and column. What else the sums of the angle give follows as
    METHOD/INDICATOR, for the table's `indicator_rows`.
    """
    methods = {(method["labels"], method["indicator"]): row for row, method in table["methods"].items()}
    rows, others = [], [baselines.assign(row=baselines["indicator"], seed=0)]
    for (labels, indicator), runs in results.groupby(["labels", "indicator"], sort=False):
        angle = methods.get((labels, "angle"))
        if row := methods.get((labels, indicator)):
            rows.append(runs.assign(row=row))
        elif angle in table["indicator_rows"]:
            others.append(runs.assign(row=f"{angle}/{indicator}"))
    order = {row: place for place, row in enumerate(table["methods"])}
    rows.sort(key=lambda runs: order[runs["row"].iloc[0]])
    return pd.concat([*rows, *others], ignore_index=True)


def summarise(rankings: pd.DataFrame) -> pd.DataFrame:
    """Return column, row, runs and the mean of each measure over seeds, a line a column and row."""
    grouped = rankings.groupby(["column", "row"], sort=False)
    means = grouped[list(MEASURES)].mean().round(4)
    means.insert(0, "runs", grouped.size())
    return means.reset_index().sort_values("column", kind="stable", ignore_index=True)
