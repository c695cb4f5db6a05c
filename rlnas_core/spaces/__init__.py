"""The search spaces, by name, and the architectures that were published in them."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import yaml

from rlnas_core.spaces.base import SearchSpace
from rlnas_core.spaces.darts import DARTS
from rlnas_core.spaces.mobilenet import MobileNet
from rlnas_core.spaces.nas_bench_201 import NASBench201

_SPACES: dict[str, type[SearchSpace]] = {space.name: space for space in (NASBench201, DARTS, MobileNet)}


@overload
def get(name: Literal["nas_bench_201"]) -> NASBench201: ...
@overload
def get(name: Literal["darts"], *, paths: str = "any") -> DARTS: ...
@overload
def get(name: Literal["mobilenet"]) -> MobileNet: ...
@overload
def get(name: str, **settings: Any) -> SearchSpace: ...
def get(name: str, **settings: Any) -> SearchSpace:
    """The search space of that name; raises ValueError that lists the names accepted."""
    if name not in _SPACES:
        raise ValueError(f"unknown search space {name!r}; accepted: {', '.join(sorted(_SPACES))}")
    return _SPACES[name](**settings)


@dataclass(frozen=True)
class Published:
    """An architecture of the paper's tables: genes (num_genes,), millions of cost, row by table, figure."""

    space: SearchSpace
    genes: np.ndarray
    network: dict[str, int]
    params: float
    macs: float
    rows: dict[int, str]
    figure: int | None


@functools.cache
def published() -> dict[str, Published]:
    """The published architectures of the paper's tables, by name."""
    text = Path(__file__).with_name("architectures.yaml").read_text(encoding="utf-8")
    entries = {}
    for name, architectures in yaml.safe_load(text).items():
        for title, facts in architectures.items():
            space = get(name)
            if isinstance(space, DARTS):
                genes = space.from_genotype([facts["normal"], facts["reduce"]])
            else:
                genes = space.from_string(["|".join(facts["blocks"])])[0]
            entries[title] = Published(
                space,
                genes,
                {"channels": facts["channels"]} if "channels" in facts else {},
                facts["published"]["params"],
                facts["published"]["macs"],
                facts["rows"],
                facts.get("figure"),
            )
    return entries


__all__ = ["DARTS", "MobileNet", "NASBench201", "Published", "SearchSpace", "get", "published"]
