"""What the paper reports, from paper.yaml, which says how it is laid out; rules read it too."""

from importlib import resources
from typing import Any

import yaml

PAPER: dict[str, Any] = yaml.safe_load(
    resources.files("rlnas_core.paper").joinpath("paper.yaml").read_text(encoding="utf-8")
)
"""Every number of the paper, and what each of its tables and figures is of."""
