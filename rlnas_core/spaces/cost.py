"""The cost of layers: parameters and multiply-adds."""

import numpy as np


def convolution(inputs: int, outputs: int, kernel: int, side: int) -> np.ndarray:
    """(parameters, multiply-adds) of a convolution with an affine batch norm, int64 (2,).

    `inputs` are the input channels of one output channel: 1 in a depthwise convolution. `side` is that of the
    output in pixels.
    """
    weights = kernel**2 * inputs * outputs
    return np.array([weights + 2 * outputs, weights * side**2])


def linear(inputs: int, outputs: int) -> np.ndarray:
    """(parameters, FLOPs) of a linear layer with bias, int64 (2,).

    Each output counts as `inputs` products and `inputs` - 1 sums, while convolutions count products alone.
    The authors' tools count so, and the paper prints their numbers.
    """
    return np.array([inputs * outputs + outputs, (2 * inputs - 1) * outputs])
