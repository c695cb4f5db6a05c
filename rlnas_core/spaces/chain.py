"""Chains of inverted residuals of any width: networks that others found in their own search spaces."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlnas_core.spaces.base import Networks
from rlnas_core.spaces.cost import convolution, linear

ACTIVATIONS = ("relu", "relu6")
_ENDS = re.compile(r"(relu6?)\|stem(\d+)\|(.*)\|head(\d+)")
_BLOCK = re.compile(r"k(\d)_e(\d)_c(\d+)_s(\d)")


class Chain(Networks):
    """Chains of blocks: a row (3 + 4 * blocks,) is activation, stem channels, head channels, then blocks.

    A block is kernel, expansion, channels and stride. It has a shortcut if its shape stays the same, and no
    expansion layer at expansion 1.
    """

    name = "chain"
    extras = ("dropout",)

    def blocks(self, genes: np.ndarray) -> list[tuple[int, int, tuple[int, int, int]]]:
        """(kernel, expansion, (input channels, output channels, stride)) of each block of one chain."""
        kernels, ratios, channels, strides = np.asarray(genes)[3:].reshape(-1, 4).T.tolist()
        inputs = [int(genes[1]), *channels[:-1]]
        return list(zip(kernels, ratios, zip(inputs, channels, strides, strict=True), strict=True))

    def cost(  # type: ignore[override]  # the sizes by name
        self, genes: np.ndarray, *, image_size: int = 224, classes: int = 1000
    ) -> tuple[np.ndarray, np.ndarray]:
        """Parameters and FLOPs (multiply-adds) of chains, two int64 arrays (N,)."""
        params, flops = np.array([self._cost(row, image_size, classes) for row in np.asarray(genes)]).T
        return params, flops

    def _cost(self, row: np.ndarray, side: int, classes: int) -> np.ndarray:
        side = -(-side // 2)
        cost = convolution(3, int(row[1]), 3, side)
        for kernel, ratio, (inputs, outputs, stride) in self.blocks(row):
            width, after = ratio * inputs, -(-side // stride)
            cost += convolution(inputs, width, 1, side) if ratio > 1 else 0
            cost += convolution(1, width, kernel, after) + convolution(width, outputs, 1, after)
            side = after
        return cost + convolution(int(row[-2]), int(row[2]), 1, side) + linear(int(row[2]), classes)

    def from_facts(self, facts: Mapping[str, Any]) -> np.ndarray:
        """The row (3 + 4 * blocks,) int64 of an entry of architectures.yaml."""
        ends = [ACTIVATIONS.index(facts["activation"]), facts["stem"], facts["head"]]
        return np.concatenate([ends, np.ravel(facts["blocks"])]).astype(np.int64)

    def to_string(self, genes: np.ndarray) -> list[str]:
        """Chains as relu6|stem32|k3_e1_c16_s1|...|head1280."""
        return [
            "|".join([
                ACTIVATIONS[row[0]],
                f"stem{row[1]}",
                *(f"k{k}_e{e}_c{c}_s{s}" for k, e, c, s in row[3:].reshape(-1, 4)),
                f"head{row[2]}",
            ])
            for row in np.asarray(genes)
        ]  # fmt: skip

    def from_string(self, strings: Sequence[str]) -> np.ndarray:
        """Rows (N, 3 + 4 * blocks) int64 of equally long chains; ValueError names one that can't be read."""
        rows = []
        for string in strings:
            match = _ENDS.fullmatch(string)
            blocks = [_BLOCK.fullmatch(block) for block in match[3].split("|")] if match else [None]
            if match is None or not all(blocks):
                raise ValueError(
                    f"not a chain: {string!r}; accepted: relu6|stem32|k3_e1_c16_s1|...|head1280, a block by "
                    "its kernel, expansion, channels and stride"
                )
            facts = {"activation": match[1], "stem": int(match[2]), "head": int(match[4])}
            shapes = [list(map(int, block.groups())) for block in blocks if block]
            rows.append(self.from_facts({**facts, "blocks": shapes}))
        return np.array(rows)
