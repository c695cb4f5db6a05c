"""Summarise a search on a user's own images on one page of Markdown."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from rlnas_core.paper.tables import CANDIDATES
from rlnas_core.search.choice import Limit


def summarise(
    tables: Mapping[str, pd.DataFrame],
    dataset: Mapping[str, Any],
    limit: Limit,
    seconds: Mapping[str, float],
) -> str:
    """Return a page on the architecture found, in Markdown.

    `tables` are `candidates` and `agreement` of `search.choice` and, with labels, `comparison` of
    `model.comparison` and `curve` (columns architecture, labels, accuracy). `dataset` is dataset.json;
    `seconds` are the durations of jobs by rule.
    """
    candidates = tables["candidates"].set_index("architecture")
    found = candidates.loc["found"]
    within = "within the limit" if np.isfinite(limit.most) else "in the search space"
    parts = [
        f"# {dataset['name']}: the architecture found",
        f"`{found['arch']}`",
        f"{_cost(found)} at {limit.network['image_size']} pixels; limit: {_limit(limit)}. Its network is in "
        "`model/`, with a model card.",
        "## Candidates",
        _architectures(candidates),
        _proof(candidates, within),
        "## Did training change anything?",
        *_changed(candidates, tables["agreement"], within),
        "## Accuracy",
        *(_accuracies(tables["comparison"], within) if "comparison" in tables else [_UNLABELLED]),
    ]
    if "curve" in tables:
        parts += ["## Accuracy by number of labels", _curve(tables["curve"])]
    rows = [{"job": name, "seconds": f"{value:.0f}"} for name, value in seconds.items()]
    parts += ["## Cost", "Seconds of the jobs, added up:", _table(pd.DataFrame(rows))]
    return "\n\n".join(parts) + "\n"


_UNLABELLED = (
    "Not measured: there are no labels. The weights in `model/` are not trained, so that its scores mean "
    "nothing yet; train it on labelled images first."
)


def _table(rows: pd.DataFrame) -> str:
    return rows.to_markdown(index=False, disable_numparse=True)


def _cost(row: Any) -> str:
    params, flops = row["params"] / 1e6, row["flops"] / 1e6
    return f"{params:.3f} million parameters, {flops:.2f} million FLOPs (multiply-adds)"


def _limit(limit: Limit) -> str:
    return f"{limit.most / 1e6:g} million {limit.measure}" if np.isfinite(limit.most) else "none"


def _title(name: str) -> str:
    kind, _, seed = name.partition("-")
    other = {"random": "random, for seed", "seed": "found by the supernet of seed"}.get(kind)
    return f"{other} {seed}" if other else CANDIDATES[name]


def _architectures(candidates: pd.DataFrame) -> str:
    rows = [
        {
            "architecture": _title(str(name)),
            "million parameters": f"{row['params'] / 1e6:.3f}",
            "million FLOPs": f"{row['flops'] / 1e6:.2f}",
            "angle": f"{row['angle']:.4f}",
            "cell": f"`{row['arch'].replace('|', '¦')}`",
        }
        for name, row in candidates.iterrows()
    ]
    return _table(pd.DataFrame(rows))


def _proof(candidates: pd.DataFrame, within: str) -> str:
    found, evolved = candidates.loc["found"], candidates.loc["evolution"]
    certain = (
        f"is the largest {within}"
        if found["proven"]
        else f"may be exceeded {within}, by none beyond {found['bound']:.4f}"
    )
    return (
        f"The angle of the architecture found, of all supernets' weights together, {certain}; evolution "
        f"reached {evolved['angle']:.4f}."
    )


def _changed(candidates: pd.DataFrame, agreement: pd.DataFrame, within: str) -> list[str]:
    archs = candidates["arch"]
    own = archs[archs.index.str.startswith("seed-")]
    same = archs["found"] == archs["structure"]
    lines = [
        f"Structure alone, the most parameters that the output depends on {within}, "
        + ("chooses the same architecture." if same else "chooses another architecture.")
        + f" Of {len(own)} supernets, {int((own == archs['found']).sum())} choose this architecture on their "
        f"own; they choose {own.nunique()} different ones."
    ]
    if len(agreement):
        lines.append(
            f"Over {agreement['architectures'].iloc[0]} architectures {within}, Kendall's tau "
            f"between the angles of two seeds is {agreement['tau'].mean():.3f} on average (lowest "
            f"{agreement['tau'].min():.3f}), and between the angles and the number of parameters "
            f"{agreement['tau_structure'].mean():.3f}. Another seed ranks "
            f"{100 * agreement['better'].mean():.2f}% of the architectures above a seed's choice, on average."
        )
    return lines


def _accuracies(comparison: pd.DataFrame, within: str) -> list[str]:
    rows = []
    for row in comparison.to_dict("records"):
        measured = "better" in row and not np.isnan(row["better"])
        gain = f"{row['better']:+.1f}" if measured else ""
        if measured and not np.isnan(row["better_low"]):
            gain += f" ({row['better_low']:+.1f} to {row['better_high']:+.1f})"
        name = f"random {within}" if row["network"] == "random" else _title(row["network"])
        accuracy = f"{row['accuracy']:.1f} ({row['low']:.1f} to {row['high']:.1f})"
        rows.append({"network": name, "accuracy, %": accuracy, "found is better by, points": gain})
    first = comparison.iloc[0]
    others = comparison.dropna(subset=["better"]) if "better" in comparison else comparison[:0]
    certain = others[(others["better_low"] > 0) | (others["better_high"] < 0)]
    told = [_title(name) if name != "random" else "random" for name in certain["network"]]
    verdict = f"Significant differences: {', '.join(told) or 'none'}."
    return [
        _table(pd.DataFrame(rows)),
        f"95% intervals over {first['images']} held-out images and {first['runs']} seeds of training. "
        f"{verdict} `model/` is the network of the first seed.",
    ]


def _curve(curve: pd.DataFrame) -> str:
    means = curve.groupby(["architecture", "labels"], sort=False)["accuracy"].mean().unstack()
    shown = means.map("{:.1f}".format).rename(columns="{:.0f} labels per class".format)
    return _table(
        shown.rename(index=lambda name: "random" if name == "random" else _title(name)).reset_index()
    )
