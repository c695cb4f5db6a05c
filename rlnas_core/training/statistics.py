"""Statistics of a supernet's training: three sums for each weight group and epoch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlnas_core.machine import files


@dataclass
class Statistics:
    """Statistics of a supernet's training: sums <W0, Wt>, |W0|^2, |Wt|^2 of each weight group, float64.

    `operations` is (T, cells, genes, operations, 3), `fixed` (T, 3), `channels` (cells,), `epochs` (T,).
    """

    epochs: np.ndarray
    operations: np.ndarray
    fixed: np.ndarray
    channels: np.ndarray
    meta: dict[str, Any]

    def save(self, path: str | Path) -> None:
        """Write an .npz file; equal statistics give equal bytes."""
        meta = np.array(json.dumps(self.meta, sort_keys=True))
        arrays = {name: getattr(self, name) for name in ("epochs", "operations", "fixed", "channels")}
        np.savez(path, allow_pickle=False, meta=meta, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> "Statistics":
        """Read a file that `save` wrote; `ValueError` for a damaged one says to delete it."""
        with files.reading(path, files.REMADE), np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("epochs", "operations", "fixed", "channels")}
            return cls(**arrays, meta=json.loads(str(file["meta"])))
