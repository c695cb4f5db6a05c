"""What layers cost: parameters and multiply-adds."""

import numpy as np


def convolution(inputs: int, outputs: int, kernel: int, side: int) -> np.ndarray:
    """(parameters, multiply-adds) of a convolution with an affine batch norm, int64 (2,).

    `inputs` are those of one output, 1 for a depthwise convolution; `side` is the output's, in pixels.
    """
    weights = kernel**2 * inputs * outputs
    return np.array([weights + 2 * outputs, weights * side**2])


def linear(inputs: int, outputs: int) -> np.ndarray:
    """(parameters, FLOPs) of a linear layer with bias, int64 (2,).

    An output counts as `inputs` products and `inputs` - 1 sums, where those of convolutions count as products
    alone: so count the authors' tools, whose numbers the paper prints.
    """
    return np.array([inputs * outputs + outputs, (2 * inputs - 1) * outputs])
