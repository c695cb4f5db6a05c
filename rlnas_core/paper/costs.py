"""Tables 3 to 5 and 8 to 11: what networks of the large spaces cost and reach, beside what the paper says."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from rlnas_core.paper.numbers import PAPER
from rlnas_core.paper.tables import not_run, paper_numbers, tidy
from rlnas_core.search.names import ArchitectureName
from rlnas_core.spaces import published

_QUOTED = "quoted: nobody published what it is made of"
_PAPERS_DATA = ("imagenet", "coco", "cityscapes")
_METHODS = {(of["labels"], of["indicator"]): method for method, of in PAPER["large_methods"].items()}
Record = Mapping[Any, Any]


def cost_table(
    number: int,
    searches: Iterable[Record],
    architectures: Iterable[Record],
    accuracies: Iterable[Record],
    measures: Iterable[Record],
    sources: Mapping[str, str],
) -> pd.DataFrame:
    """Return a table of costs in millions and accuracies in percent, as `tidy` does.

    `searches` are rows of searches' best.csv, `architectures` of chosen architectures, `accuracies` and
    `measures` of retrained and transferred networks; `sources` says where each name of scenes has its images
    from. Costs of published architectures are counted and need none of these.
    """
    table = PAPER[f"table{number}"]
    scenes, limit = table.get("scenes"), table.get("limit")
    rows = {name: entry.rows[number] for name, entry in published().items() if number in entry.rows}
    accuracies, measures = list(accuracies), list(measures)
    transferred = {run["architecture"] for run in measures}
    measured: list[tuple[str, str, Any, float]] = []
    remarks: dict[tuple[str, str], str] = {}
    never: dict[str, str] = {}

    def row_of(name: str) -> tuple[str, Any]:
        """The row of an architecture, the paper's or one of this run, and the seed of its search."""
        own = ArchitectureName.parse(name)
        if own is None:
            return rows.get(name, name), ""
        if own.method == "random-search":
            return "random-search" if limit and own.limit == limit else own.title("random search"), own.seed
        return own.title(), own.seed

    def belongs(name: str) -> bool:
        """Whether an architecture has a place in this table."""
        own = ArchitectureName.parse(name)
        if own is None:
            return name in rows or name in transferred
        if scenes:
            return name in transferred or own.random
        return not table.get("on_imagenet") or own.dataset == "imagenet"

    def add(row: str, seed: Any, params: float, macs: float) -> None:
        measured.extend([(row, "params", seed, params / 1e6), (row, "flops", seed, macs / 1e6)])

    for name, row in rows.items():
        entry = published()[name]
        (params,), (macs,) = entry.space.cost(entry.genes[None], **entry.network)
        add(row, "", params, macs)
        remarks |= {(row, column): why for column, why in entry.disagrees.get(number, {}).items()}
    for search in searches:
        limit_of_search = None if search["limit"] == "none" else int(search["limit"])
        method = _METHODS[search["labels"], search["search"]]
        of = search["seed"], limit_of_search, search["dataset"], search["categories"]
        own = ArchitectureName(*of, method=method)
        row, _ = row_of(str(own))
        if search["found_by"] == "optimum":
            row = own.title("optimum")
            never[row] = "not measured: retraining takes what evolution found"
        add(row, own.seed, search["params"], search["macs"])
    known = {(row, seed) for row, _, seed, _ in measured}
    for choice in architectures:
        row, seed = row_of(choice["architecture"])
        if belongs(choice["architecture"]) and (row, seed) not in known:
            add(row, seed, choice["params"], choice["macs"])
    for run in accuracies + measures:
        if belongs(run["architecture"]):
            row, seed = row_of(run["architecture"])
            # The paper's accuracies are those on ImageNet; anything else has columns of its own.
            images = sources.get(run["dataset"], run["dataset"])
            column = run["column"] if images in _PAPERS_DATA else f"{images}/{run['column']}"
            measured.append((row, column, f"{seed}/{run['seed']}", run["value"]))
            if column != run["column"]:
                size = f" of {run['network']}" if isinstance(run.get("network"), str) else ""
                remarks[row, column] = (
                    f"networks{size} at this run's image size; costs are those of the paper's size"
                )
    cells = pd.DataFrame(measured, columns=["row", "column", "seed", "value"])
    cells["note"] = [remarks.get(cell) for cell in zip(cells["row"], cells["column"], strict=True)]
    paper = paper_numbers(number)
    never |= dict.fromkeys(set(paper["row"]) - set(cells["row"]) - {"random-search"}, _QUOTED)
    there = set(cells["column"])
    notes = {
        column: not_run(column, table["space"], scenes, column in there)
        for column in {*paper["column"], *there} - {"params", "flops"}
    }
    if limit:
        key = f"transfer.{scenes}.architectures.{table['space']}"
        name = f"DATASET-CATEGORIES-SEED-{limit}-random-search"
        notes["random-search"] = f"not measured: name {name} in {key}, which large_spaces has to search for"
    return tidy(cells, number, notes, never)
