"""RLNAS: neural architecture search with random labels, as a library."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlnas_core.model.loading import load_model as load_model

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    if name == "load_model":  # only then torch is loaded
        from rlnas_core.model.loading import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
