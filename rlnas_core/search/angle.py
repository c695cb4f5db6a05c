"""The angle between initial and trained weights, from three sums per weight group (eq. 9)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rlnas_core.benchmark.ranking import kendall
from rlnas_core.spaces import NASBench201, SearchSpace
from rlnas_core.training.statistics import Statistics

POOLING_SHAPES = ("reference", "paper")
_DECIMALS = 12


def _angle_of(sums: np.ndarray) -> np.ndarray:
    """Angle in radians (...) of sums (..., 3), 0 where there are no weights."""
    dot, initial, final = np.moveaxis(sums, -1, 0)
    norm = np.sqrt(initial * final)
    cosine = np.divide(dot, norm, out=np.ones_like(dot), where=norm > 0)
    return np.arccos(np.clip(cosine, -1, 1))


def angles(usage: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Angle in radians of each architecture (N,), from the usage of groups (N, G) and their sums (G, 3).

    The angle of an architecture without weights is 0. Angles are rounded to 1e-12, so that equal ones tie.
    """
    return _angle_of(np.asarray(usage, dtype=np.float64) @ sums).round(_DECIMALS)


def group_sums(
    space: SearchSpace, statistics: Statistics, epoch: int = -1, pooling: str = "reference"
) -> np.ndarray:
    """Sums (G, 3) of the weight groups of the space's `usage`, added over cells.

    `epoch` is an index into `statistics.epochs`. The weights of pooling are the constant 1/9 of shape
    [C, 3, 3] (`reference`) or [C, C, 3, 3] (`paper`). Raises ValueError for another `pooling` and for
    statistics of another space.
    """
    if pooling not in POOLING_SHAPES:
        raise ValueError(f"pooling: got {pooling!r}; accepted: {', '.join(POOLING_SHAPES)}")
    slots = (space.num_genes, len(space.operations))
    if statistics.operations.shape[2:4] != slots:
        raise ValueError(
            f"statistics: got (genes, operations) {statistics.operations.shape[2:4]}; accepted: {slots}, "
            f"those of the space {space.name}"
        )
    constants = space.constants(statistics.channels.astype(np.float64), pooling)
    sums = statistics.operations[epoch] + constants[..., None]
    return np.concatenate([statistics.fixed[epoch][None], sums.sum(axis=0).reshape(-1, 3)])


def architecture_angles(
    space: SearchSpace, statistics: Statistics, genes: np.ndarray, epoch: int = -1, pooling: str = "reference"
) -> np.ndarray:
    """Angle in radians of the whole weight vector of each architecture, (N,) (eq. 9)."""
    return angles(space.usage(genes), group_sums(space, statistics, epoch, pooling))


def indicators(
    space: SearchSpace, statistics: Statistics, genes: np.ndarray, epoch: int = -1, pooling: str = "reference"
) -> dict[str, np.ndarray]:
    """The angle and other indicators from the same sums, as name to scores (N,).

    `layer-angle-sum` is the sum of the angles of single layers over live edges and cells.
    `layer-angle-sum-times-mean` multiplies it by the mean over live operations, where pooling counts as 0.
    `operation-average-control` replaces the angle of each layer by the average of its operation, so that only
    structure remains.
    """
    layers = _angle_of(statistics.operations[epoch])
    trained: np.ndarray = statistics.operations[epoch, ..., 1] > 0
    pooling_operations = np.array(["pool" in operation for operation in space.operations])
    pools = np.logical_and(trained.any(axis=2, keepdims=True), pooling_operations)
    genes = np.asarray(genes)
    live = space.live_edges(genes)

    def sums(table: np.ndarray) -> np.ndarray:
        return (table.sum(axis=0)[np.arange(space.num_genes), genes] * live).sum(axis=1)

    counted = np.maximum(sums(trained | pools), 1)
    total = sums(layers)
    operations = layers.sum(axis=(0, 1)) / np.maximum(trained.sum(axis=(0, 1)), 1)
    average = sums(np.where(trained, operations, 0))
    scores = {
        "angle": architecture_angles(space, statistics, genes, epoch, pooling),
        "layer-angle-sum": total,
        "layer-angle-sum-times-mean": total * total / counted,
        "operation-average-control": average * average / counted,
    }
    return {name: values.round(_DECIMALS) for name, values in scores.items()}


def structure(space: SearchSpace, sums: np.ndarray, genes: np.ndarray, ties: str) -> dict[str, float]:
    """Kendall's tau between the angle and scores of structure alone, over architectures (N, genes).

    The scores are parameters, FLOPs and `operation-average-angle`: the angle after that of each weight
    group is replaced by the average angle of its operation. `sums` (G, 3) are those of `group_sums`; `ties`
    is that of `kendall`.
    """
    operations = sums[1:].reshape(space.num_genes, -1, 3)
    lengths = np.sqrt(operations[..., 1] * operations[..., 2])
    trained = lengths > 0
    turned = _angle_of(operations)
    mean = turned.sum(axis=0, where=trained) / np.maximum(trained.sum(axis=0), 1)
    control = sums.copy()
    control[1:, 0] = (np.cos(mean) * lengths).ravel()
    usage = space.usage(genes)
    scores = angles(usage, sums)
    params, flops = space.cost(genes)
    others = {"params": params, "flops": flops, "operation-average-angle": angles(usage, control)}
    return {name: kendall(values, scores, ties) for name, values in others.items()}


def follow(
    space: NASBench201,
    statistics: Statistics,
    accuracies: pd.DataFrame,
    columns: Sequence[str],
    pooling: str = "reference",
    ties: str = "in-order",
) -> pd.DataFrame:
    """Return how the angle ranks the enumerated space after each epoch: epoch, column, tau and accuracy.

    `accuracies` are of the whole space in percent; the column `accuracy` is that of the architecture with the
    largest angle. Before training every angle is 0. Raises `ValueError` as `kendall` does.
    """
    genes, rows = space.enumerate(), []
    for row, epoch in list(enumerate(statistics.epochs))[1:]:
        scores = architecture_angles(space, statistics, genes, row, pooling)
        for column in columns:
            values = accuracies[column].to_numpy()
            found = {"tau": kendall(scores, values, ties), "accuracy": values[np.argmax(scores)]}
            rows.append({"epoch": int(epoch), "column": column, **found})
    return pd.DataFrame(rows)
