"""The search spaces by name, and the published architectures of each."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import yaml

from rlnas_core.spaces.base import Networks, SearchSpace
from rlnas_core.spaces.chain import Chain
from rlnas_core.spaces.darts import DARTS
from rlnas_core.spaces.mobilenet import MobileNet
from rlnas_core.spaces.nas_bench_201 import NASBench201

_SPACES: dict[str, type[Networks]] = {space.name: space for space in (NASBench201, DARTS, MobileNet, Chain)}


@overload
def get(name: Literal["nas_bench_201"]) -> NASBench201: ...
@overload
def get(name: Literal["darts"], *, paths: str = "any") -> DARTS: ...
@overload
def get(name: Literal["mobilenet"]) -> MobileNet: ...
@overload
def get(name: str, **settings: Any) -> SearchSpace: ...
def get(name: str, **settings: Any) -> Any:
    """The search space of that name, or `chain`, the published chains; ValueError lists the names."""
    if name not in _SPACES:
        raise ValueError(f"unknown search space {name!r}; accepted: {', '.join(sorted(_SPACES))}")
    return _SPACES[name](**settings)


@dataclass(frozen=True)
class Published:
    """An architecture of the paper's tables: genes (num_genes,), its row in each table and its figure.

    `disagrees` says, by table and column, why the paper's cost differs from the one counted here.
    """

    space: Networks
    genes: np.ndarray
    network: dict[str, int]
    rows: dict[int, str]
    disagrees: dict[int, dict[str, str]]
    figure: int | None


@functools.cache
def published() -> dict[str, Published]:
    """The published architectures of the paper's tables, by name."""
    text = Path(__file__).with_name("architectures.yaml").read_text(encoding="utf-8")
    entries = {}
    for name, architectures in yaml.load(text, yaml.CSafeLoader).items():
        for title, facts in architectures.items():
            space = get(name)
            if isinstance(space, Chain):
                genes = space.from_facts(facts)
            elif isinstance(space, DARTS):
                genes = space.from_genotype([facts["normal"], facts["reduce"]])
            else:
                genes = space.from_string(["|".join(facts["blocks"])])[0]
            entries[title] = Published(
                space,
                genes,
                {"channels": facts["channels"]} if "channels" in facts else {},
                facts["rows"],
                facts.get("disagrees", {}),
                facts.get("figure"),
            )
    return entries
