"""The numbers in the paper, from paper.yaml, which explains its layout; rules read it too."""

from importlib import resources
from typing import Any

import yaml

# Every call of Snakemake reads it; libyaml takes a tenth of the time.
PAPER: dict[str, Any] = yaml.load(
    resources.files("rlnas_core.paper").joinpath("paper.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader
)
"""Every number of the paper, and the contents of its tables and figures."""
