"""The MobileNet-like space: 21 blocks, each an inverted residual of one of six shapes or a skip-connect."""

from collections.abc import Sequence

import numpy as np

from rlnas_core.spaces.base import SearchSpace
from rlnas_core.spaces.cost import convolution, linear

#: Output channels, blocks and stride of the first block of each stage.
STAGES = ((32, 4, 2), (56, 4, 2), (112, 4, 2), (128, 4, 1), (256, 4, 2), (432, 1, 1))
STEM, FIRST, LAST = 40, 24, 1728
#: Expansion ratio and kernel of each operation except the skip-connect.
SHAPES = ((3, 3), (6, 3), (3, 5), (6, 5), (3, 7), (6, 7))
SKIP = len(SHAPES)
#: Input channels, output channels and stride of each block.
BLOCKS = tuple(
    ((FIRST, *(s[0] for s in STAGES))[stage] if first else channels, channels, stride if first else 1)
    for stage, (channels, blocks, stride) in enumerate(STAGES)
    for first in (block == 0 for block in range(blocks))
)
#: Whether blocks change channels or resolution, which rules out a skip-connect.
CHANGES = np.array([inputs != outputs or stride > 1 for inputs, outputs, stride in BLOCKS])


class MobileNet(SearchSpace):
    """The MobileNet-like search space (Sec. 4.2); a gene is the operation of a block."""

    name = "mobilenet"
    extras = ("dropout",)
    num_genes = len(BLOCKS)
    operations = ("mb3_k3", "mb6_k3", "mb3_k5", "mb6_k5", "mb3_k7", "mb6_k7", "skip_connect")

    def repair(self, genes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Redraw the skip-connects of blocks that change the shape, (N, 21) int8."""
        genes = np.array(genes, dtype=np.int8)
        drawn = rng.integers(SKIP, size=genes.shape, dtype=np.int8)
        return np.where((genes == SKIP) & CHANGES, drawn, genes)

    def allowed(self) -> np.ndarray:
        """Which operations each block may have, (21, 7) bool."""
        allowed = super().allowed()
        allowed[CHANGES, SKIP] = False
        return allowed

    def layouts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The single layout: its genes (1, 21), their usage (1, 21), and the `allowed` operations (21, 7)."""
        slots = np.arange(self.num_genes)[None]
        return slots, np.ones_like(slots), self.allowed()

    def constants(self, channels: np.ndarray, pooling: str) -> np.ndarray:
        """Squared length of the identity [C, C] of a skip-connect, (1, 21, 7)."""
        constants = np.zeros((1, self.num_genes, len(self.operations)))
        constants[0, :, SKIP] = np.where(CHANGES, 0, [outputs for _, outputs, _ in BLOCKS])
        return constants

    def usage(self, genes: np.ndarray) -> np.ndarray:
        """How often V(a, W) of eq. 9 contains each weight group, (N, 148) float64: fixed part, 21 x 7."""
        return self._usage(genes, 1, 1)

    def cost_table(  # type: ignore[override]  # the sizes by name
        self, *, image_size: int = 224, classes: int = 1000
    ) -> tuple[np.ndarray, np.ndarray]:
        """Parameters and multiply-adds: of the shared part (2,), and of the operations (2, 21, 7)."""
        side = -(-image_size // 2)
        fixed = convolution(3, STEM, 3, side)
        fixed += convolution(1, STEM, 3, side) + convolution(STEM, FIRST, 1, side)
        table = np.zeros((2, self.num_genes, len(self.operations)), dtype=np.int64)
        for block, (inputs, outputs, stride) in enumerate(BLOCKS):
            after = -(-side // stride)
            for operation, (ratio, kernel) in enumerate(SHAPES):
                width = ratio * inputs
                table[:, block, operation] = (
                    convolution(inputs, width, 1, side)
                    + convolution(1, width, kernel, after)
                    + convolution(width, outputs, 1, after)
                )
            side = after
        fixed += convolution(BLOCKS[-1][1], LAST, 1, side) + linear(LAST, classes)
        return fixed, table

    def to_string(self, genes: np.ndarray) -> list[str]:
        """The operations of the 21 blocks, separated by bars."""
        return ["|".join(self.operations[gene] for gene in row) for row in self._rows(genes).tolist()]

    def from_string(self, strings: Sequence[str]) -> np.ndarray:
        """Genes (N, 21) int8; ValueError names the architecture and block that can't be read, and why."""
        rows = []
        for string in strings:
            names = string.split("|")
            if len(names) != self.num_genes:
                raise ValueError(f"{string!r}: got {len(names)} blocks; accepted: {self.num_genes}")
            for block, name in enumerate(names):
                accepted = self.operations[: SKIP if CHANGES[block] else None]
                if name not in accepted:
                    raise ValueError(
                        f"{string!r}, block {block}: got {name!r}; accepted: {', '.join(accepted)}"
                    )
            rows.append([self.operations.index(name) for name in names])
        return np.array(rows, dtype=np.int8).reshape(-1, self.num_genes)
