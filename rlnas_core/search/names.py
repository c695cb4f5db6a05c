"""Names of the architectures that a run finds, in files, configuration and tables."""

import re
from dataclasses import dataclass

_FOUND = re.compile(r"([a-z0-9]+)-(\d+)-(\d+)-(none|\d+)(-scaled)?(?:-(A|B|random-search))?")
_RANDOM = re.compile(r"random-(\d+)-(\d+)")

_METHODS = {"A": "SPOS by ", "B": "angle with true labels by ", "random-search": ""}


@dataclass(frozen=True)
class ArchitectureName:
    """The name of an architecture of a run: one that a search found, or a random one (without dataset).

    `limit` is in million FLOPs; `scaled` says that its channels are scaled to 600 million. `method` is that
    of the search: one of table 1, or `random-search`, the random architecture with the best validation
    accuracy by method A.
    """

    seed: int
    limit: int | None
    dataset: str | None = None
    categories: int | None = None
    scaled: bool = False
    method: str = "D"

    @classmethod
    def parse(cls, name: str) -> "ArchitectureName | None":
        """Read `DATASET-CATEGORIES-SEED-LIMIT[-scaled][-METHOD]` or `random-SEED-LIMIT`; else None."""
        if drawn := _RANDOM.fullmatch(name):
            return cls(int(drawn[1]), int(drawn[2]))
        if found := _FOUND.fullmatch(name):
            limit = None if found[4] == "none" else int(found[4])
            return cls(int(found[3]), limit, found[1], int(found[2]), found[5] is not None, found[6] or "D")
        return None

    @property
    def random(self) -> bool:
        """Whether the architecture was drawn at random."""
        return self.dataset is None

    def __str__(self) -> str:
        if self.random:
            return f"random-{self.seed}-{self.limit}"
        limit = "none" if self.limit is None else self.limit
        ends = ("-scaled" if self.scaled else "") + ("" if self.method == "D" else f"-{self.method}")
        return f"{self.dataset}-{self.categories}-{self.seed}-{limit}{ends}"

    def title(self, found_by: str = "evolution") -> str:
        """The name in tables, without the seed."""
        if self.random:
            return f"this run, random within {self.limit}M"
        within = "" if self.limit is None else f" within {self.limit}M"
        found_by = found_by if self.method == "D" else f"{_METHODS[self.method]}{found_by}"
        return f"this run, {self.dataset}{within}, {found_by}{', scaled within 600M' if self.scaled else ''}"
