"""Values derived from a validated configuration: classes, sizes, and names of found architectures."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rlnas_core.images.facts import FACTS
from rlnas_core.search.names import ArchitectureName

if TYPE_CHECKING:
    from rlnas_core.search.choice import Limit


def classes(config: Mapping[str, Any], dataset: str) -> int:
    """Return the true number of classes of an image dataset."""
    entry = config["datasets"][dataset]
    return FACTS[entry["source"]].classes if entry["source"] in FACTS else entry["classes"]


def channels(config: Mapping[str, Any], dataset: str) -> int:
    """Return the number of channels of an image dataset, 1 or 3."""
    entry = config["datasets"][dataset]
    grey = entry["colours"] == "grey" or (entry["source"] in FACTS and FACTS[entry["source"]].channels == 1)
    return 1 if grey else 3


def searched_datasets(config: Mapping[str, Any]) -> list[str]:
    """Return the image datasets that NAS-Bench-201 is searched on, those of a model included."""
    model = config["model"]
    own = [model["images"]] if model and model["space"] == "nas_bench_201" else []
    return sorted({*config["searches"].values(), *own})


def found_architectures(config: Mapping[str, Any], space: str) -> list[str]:
    """Names of the architectures that a run's searches find in a space.

    They are DATASET-CATEGORIES-SEED-LIMIT, with the method at the end for methods other than RLNAS. RLNAS's
    DARTS architectures without a limit are also listed as `-scaled`, with the channels that 600 million FLOPs
    allow.
    """
    if space == "nas_bench_201":
        return [
            str(ArchitectureName(seed, None, dataset, classes(config, dataset)))
            for dataset in searched_datasets(config)
            if dataset in config["datasets"]
            for seed in config["seeds"]["uniform-once"]
        ]
    return [
        str(ArchitectureName(seed, limit, dataset, classes(config, dataset), scaled, method))
        for dataset, search in config["large_spaces"].get(space, {}).items()
        if dataset in config["datasets"]
        for seed in search["seeds"]
        for limit in search["limits"]
        for method in search["methods"]
        for scaled in ([False, True] if space == "darts" and limit is None and method == "D" else [False])
    ]


def backbone_sizes(config: Mapping[str, Any], scenes: str, space: str) -> dict[str, int]:
    """Sizes of a backbone: those of the retrained network or, without one, those of the transfer."""
    transfer = config["transfer"][scenes]
    dataset = transfer["pretrained"]
    sizes = config["retraining"][space][dataset]["network"] if dataset else transfer["network"]
    return {name: sizes[name] for name in ("channels", "cells") if sizes[name] is not None}


def model_limit(config: Mapping[str, Any]) -> "Limit":
    """The cost limit of the model's network, with the sizes for which cost is counted."""
    from rlnas_core.search.choice import Limit
    from rlnas_core.spaces import get

    model = config["model"]
    limit, name = model["limit"], model["labelled"] or model["images"]
    network = get(model["space"]).network_sizes(config["retraining"][model["space"]][name]["network"])
    entry = config["datasets"][name]
    network |= {"image_size": limit["image_size"] or entry["image_size"], "classes": classes(config, name)}
    if model["space"] == "nas_bench_201":
        network["in_channels"] = channels(config, name)
    most = math.inf if limit["most"] is None else 1e6 * limit["most"]
    return Limit(most, limit["measure"], network)
