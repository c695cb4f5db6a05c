"""What a search leaves: a row for each architecture that it found (best.csv)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from rlnas_core.spaces import SearchSpace


def results(
    space: SearchSpace, found_by: Sequence[str], genes: np.ndarray, scores: np.ndarray, **others: Any
) -> pd.DataFrame:
    """Return the columns `found_by`, `arch` and `score` of architectures (N, genes), and any others."""
    found = {"found_by": list(found_by), "arch": space.to_string(genes), "score": scores}
    return pd.DataFrame({**found, **others})
