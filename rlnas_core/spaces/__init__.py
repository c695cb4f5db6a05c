"""The search spaces, by name."""

from rlnas_core.spaces.base import SearchSpace
from rlnas_core.spaces.nas_bench_201 import NASBench201

_SPACES = {NASBench201.name: NASBench201}


def get(name: str) -> NASBench201:
    """The search space of that name; raises ValueError that lists the names accepted."""
    if name not in _SPACES:
        raise ValueError(f"unknown search space {name!r}; accepted: {', '.join(sorted(_SPACES))}")
    return _SPACES[name]()


__all__ = ["NASBench201", "SearchSpace", "get"]
