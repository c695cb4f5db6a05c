"""Tables 3 to 5 and 8 to 11: costs and results of networks of the large spaces, beside the paper's."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from rlnas_core.paper.numbers import PAPER
from rlnas_core.paper.tables import COSTS, OWN, not_run, paper_numbers, tidy
from rlnas_core.search.names import ArchitectureName
from rlnas_core.spaces import published

_QUOTED = "quoted: this architecture was not published"
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

    `searches` are rows of searches' best.csv, `architectures` rows of chosen architectures, and `accuracies`
    and `measures` rows of retrained and transferred networks. `sources` gives the source of each name of
    scenes. Costs of published architectures are counted and need none of these.
    """
    accuracies, measures = list(accuracies), list(measures)
    cells = _Cells(number, {run["architecture"] for run in measures})
    cells.add_published()
    for search in searches:
        cells.add_search(search)
    cells.add_chosen(architectures)
    for run in accuracies + measures:
        cells.add_measure(run, sources)
    return cells.table()


class _Cells:
    """Collects the cells of a table, and the reasons for empty ones."""

    def __init__(self, number: int, transferred: set[str]) -> None:
        self.number, self.transferred = number, transferred
        self.of: Mapping[str, Any] = PAPER[f"table{number}"]
        self.scenes, self.searched = self.of.get("scenes"), self.of.get("searched", {})
        self.published = {name: entry for name, entry in published().items() if number in entry.rows}
        self.measured: list[tuple[str, str, Any, float]] = []
        self.remarks = {(row, column): OWN for row in self.searched for column in COSTS}
        self.never: dict[str, str] = {}

    def row_of(self, name: str) -> tuple[str, Any]:
        """The row of an architecture, of the paper or of this run, and the seed of its search."""
        own = ArchitectureName.parse(name)
        if own is None:
            return self.published[name].rows[self.number] if name in self.published else name, ""
        for row, names in self.searched.items():
            if re.fullmatch(names.replace("SEED", r"\d+"), name):
                return row, own.seed
        return own.title("random search" if own.method == "random-search" else "evolution"), own.seed

    def holds(self, name: str) -> bool:
        """Whether an architecture has a row in this table."""
        own = ArchitectureName.parse(name)
        if own is None:
            return name in self.published or name in self.transferred
        if self.scenes:
            return name in self.transferred or own.random
        return not self.of.get("on_imagenet") or own.dataset == "imagenet"

    def add_costs(self, row: str, seed: Any, params: float, flops: float) -> None:
        """Add parameters and multiply-adds."""
        self.measured += [(row, "params", seed, params / 1e6), (row, "flops", seed, flops / 1e6)]

    def add_published(self) -> None:
        """Add the costs of published architectures, with notes where the paper's numbers differ."""
        for entry in self.published.values():
            row = entry.rows[self.number]
            (params,), (flops,) = entry.space.cost(entry.genes[None], **entry.network)
            self.add_costs(row, "", params, flops)
            disagrees = entry.disagrees.get(self.number, {})
            self.remarks |= {(row, column): why for column, why in disagrees.items()}

    def add_search(self, search: Record) -> None:
        """Add the costs of the architecture that a search found."""
        limit = None if search["limit"] == "none" else int(search["limit"])
        method = _METHODS[search["labels"], search["search"]]
        of = search["seed"], limit, search["dataset"], search["categories"]
        own = ArchitectureName(*of, method=method)
        row, _ = self.row_of(str(own))
        if search["found_by"] == "optimum":
            row = own.title("optimum")
            self.never[row] = "not measured: retraining takes what evolution found"
        self.add_costs(row, own.seed, search["params"], search["flops"])

    def add_chosen(self, architectures: Iterable[Record]) -> None:
        """Add the costs of chosen architectures without a row of a search."""
        known = {(row, seed) for row, _, seed, _ in self.measured}
        for choice in architectures:
            row, seed = self.row_of(choice["architecture"])
            if self.holds(choice["architecture"]) and (row, seed) not in known:
                self.add_costs(row, seed, choice["params"], choice["flops"])

    def add_measure(self, run: Record, sources: Mapping[str, str]) -> None:
        """Add a result of a trained network.

        The paper's accuracies are on ImageNet; results on other images get their own columns.
        """
        if not self.holds(run["architecture"]):
            return
        row, seed = self.row_of(run["architecture"])
        images = sources.get(run["dataset"], run["dataset"])
        column = run["column"] if images in _PAPERS_DATA else f"{images}/{run['column']}"
        self.measured.append((row, column, f"{seed}/{run['seed']}", run["value"]))
        if column != run["column"]:
            size = f" of {run['network']}" if isinstance(run.get("network"), str) else ""
            self.remarks[row, column] = (
                f"networks{size} at this run's image size; costs are those of the paper's size"
            )

    def table(self) -> pd.DataFrame:
        """All cells beside the paper's, with the reasons for empty ones."""
        cells = pd.DataFrame(self.measured, columns=["row", "column", "seed", "value"])
        cells["note"] = [self.remarks.get(cell) for cell in zip(cells["row"], cells["column"], strict=True)]
        paper = paper_numbers(self.number)
        quoted = set(paper["row"]) - set(cells["row"]) - set(self.searched)
        there = set(cells["column"])
        notes = {
            column: not_run(column, self.of["space"], self.scenes, column in there)
            for column in {*paper["column"], *there} - set(COSTS)
        }
        space = self.of["space"]
        # Where other results are measured, only the search is missing; else the images are, too.
        reasons = self.never if there - set(COSTS) else notes
        for row in self.searched.keys() - set(cells["row"]):
            name = self.searched[row].replace("SEED", "0")
            search = ArchitectureName.parse(name)
            assert search is not None
            limit = "null" if search.limit is None else search.limit
            reasons[row] = (
                f"not measured: large_spaces.{space}.{search.dataset} needs methods: [{search.method}] and "
                f"limits: [{limit}]"
            )
            if self.scenes:
                reasons[row] += f"; transfer.{self.scenes}.architectures.{space} needs {name} (of seed 0)"
        return tidy(cells, self.number, notes, self.never | dict.fromkeys(quoted, _QUOTED))
