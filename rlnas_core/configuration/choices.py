"""A configuration for somebody's own images: what the images and the time decide, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlnas_core.configuration.plan import training_seconds
from rlnas_core.images.survey import Survey
from rlnas_core.spaces import get

#: Each choice that can be given instead, and what it is; null is left to the images and the time.
GIVEN: dict[str, Any] = {
    "space": "nas_bench_201",
    "image_size": None,
    "colours": None,
    "crop": None,
    "split": None,
    "categories": None,
    "flops": None,
    "params": None,
    "limit_size": None,
    "channels": 16,
    "cells": None,
    "seeds": 3,
    "retrainings": 2,
    "labels": (10, 100),
    "epochs": None,
    "retraining_epochs": None,
    "minutes": 15.0,
    "cores": 2,
}
_SIZES = (8, 12, 16, 24, 32, 48, 64, 96, 128, 160, 224)
_LARGEST = {"nas_bench_201": 32, "darts": 32, "mobilenet": 64}
_CELLS: dict[str, tuple[int | None, ...]]
_CELLS = {"nas_bench_201": (5, 3, 1), "darts": (8, 5, 3), "mobilenet": (None,)}
_SMALL = 16  # pixels below which a network rather has fewer cells
_SEARCH_SHARE = 1 / 3  # of the time for trainings, where there are labels
_FEWEST, _MOST = (20, 12), (250, 100)  # epochs of a supernet and of a network
_BATCH = 64
_SHARE = 0.75  # of the time that trainings may take; starting jobs and all else takes the rest
_FEW_STEPS = 1 / 3  # of the whole training's steps, where there are few labels
_CLIPPING = {"nas_bench_201": {}, "darts": {"clip_norm": 5}, "mobilenet": {"clip_value": 5}}


@dataclass(frozen=True)
class Chosen:
    """One choice, its value and why."""

    name: str
    value: Any
    why: str


class _Book:
    """The choices so far: what was given goes before what the images say."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        if unknown := set(given) - set(GIVEN):
            raise ValueError(f"got unknown choice {', '.join(sorted(unknown))}; accepted: {', '.join(GIVEN)}")
        self.given, self.chosen = given, list[Chosen]()

    def __call__(self, name: str, value: Any, why: str) -> Any:
        if self.given.get(name) is not None:
            value, why = self.given[name], "given"
        self.chosen.append(Chosen(name, value, why))
        return value


def choose_settings(
    run: str,
    path: Path | str,
    survey: Survey,
    labels: Path | str | None = None,
    given: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], list[Chosen]]:
    """Return a configuration of a run on somebody's own images, and its choices.

    `given` are choices of `GIVEN` made instead: `flops` and `params` in millions, `minutes` what the run may
    take on so many `cores`, within the precision of the estimate. Raises ValueError for an unknown choice.
    """
    book = _Book(given or {})
    labelled = survey.classes > 0
    space = book("space", "nas_bench_201", "the smallest space, enumerated to the exact optimum")
    colours = book(
        "colours", "grey" if survey.grey >= 0.99 else "colour", f"{survey.grey:.0%} of the images are grey"
    )
    crop = book(
        "crop",
        "square" if survey.elongated > 0.1 else "whole",
        f"{survey.elongated:.0%} of the images are more than a tenth longer than wide, or wider",
    )
    split = "test" if survey.test else "held-out" if labelled else None
    split = book(
        "split", split, "what accuracy is measured on" if labelled else "no labels: all images train"
    )
    held = 0 if survey.test or not split else survey.train // (10 if split == "held-out" else 2)
    images = survey.train - held
    categories = survey.classes or book("categories", 10, "random labels for images without classes")
    batch = min(_BATCH, 2 ** int(np.log2(max(2, images // 10))))
    seeds = list(range(book("seeds", GIVEN["seeds"], "supernets, to see how far they agree")))
    retrained = list(
        range(book("retrainings", GIVEN["retrainings"], "trainings of each network") if labelled else 1)
    )
    channels = book("channels", GIVEN["channels"], "as in the paper")
    minutes = book("minutes", GIVEN["minutes"], "what the run may take")
    seconds = _SHARE * 60 * minutes * book("cores", GIVEN["cores"], "cores that it may take them on")
    counts = [
        count for count in book("labels", GIVEN["labels"], "numbers of labels in the figure") if labelled
    ]
    smallest = np.bincount(survey.labels[survey.labels >= 0]).min() if labelled else 0
    counts = [count for count in counts if count < 0.9 * smallest]
    plan = _Plan(
        space,
        survey.classes or categories,
        images,
        batch,
        seconds,
        seeds,
        retrained,
        labelled,
        len(counts),
    )
    sizes, side = _fitting(plan, channels, book.given, survey)
    fits = f"at least {_FEWEST[0]} epochs of a supernet" + (
        f", {_FEWEST[1]} of a network" if labelled else ""
    )
    size = book("image_size", side, f"median short side {survey.short_side}, and time for {fits}")
    if "cells" in sizes:
        book("cells", sizes["cells"], f"of a stage, in the DARTS space of the network; time for {fits}")
    epochs = [
        int(np.clip(of, low, high))
        for of, low, high in zip(plan.epochs(sizes, size), _FEWEST, _MOST, strict=True)
    ]
    search_epochs = book("epochs", epochs[0], f"of each supernet, {_FEWEST[0]} to {_MOST[0]} by the time")
    if labelled:
        epochs[1] = book(
            "retraining_epochs", epochs[1], f"of each network, {_FEWEST[1]} to {_MOST[1]} by the time"
        )
    known = book.given
    dataset = {
        "source": "image-folder",
        "path": str(path),
        "classes": categories,
        "image_size": size,
        "colours": colours,
        "crop": crop,
        "split": split,
    }
    datasets = {"images": dataset}
    if labelled and labels is not None:
        # The search sees all images and no label; the list of labels is read for training alone.
        datasets["images"] = {**dataset, "split": None}
        datasets["labelled"] = {**dataset, "labels": str(labels)}
    trained = "labelled" if len(datasets) > 1 else "images"
    for count in counts:
        datasets[f"few{count}"] = {**datasets[trained], "per_class": int(count)}
    network = {
        **sizes,
        **_CLIPPING[space],
        "epochs": epochs[1],
        "batch_size": batch,
        "learning_rate": 0.1 * batch / _BATCH,
        "schedule": "cosine",
        "weight_decay": 0.0005,
        "nesterov": True,
        "label_smoothing": 0,
    }
    retraining = {trained: {"found": False, "seeds": retrained, "network": network}}
    for count in counts:
        few = min(batch, 2 ** int(np.log2(max(2, count * categories // 2))))
        steps = _FEW_STEPS * epochs[1] * images / batch
        own = {**network, "batch_size": few, "learning_rate": 0.1 * few / _BATCH}
        own["epochs"] = max(1, round(steps * few / (count * categories)))
        retraining[f"few{count}"] = {"found": False, "seeds": retrained, "network": own}
    supernet = {**sizes, **_CLIPPING[space], "epochs": search_epochs, "batch_size": batch}
    measure = "params" if known.get("params") is not None else "flops"
    limit = {"measure": measure, "most": known.get(measure), "image_size": known.get("limit_size")}
    config = {
        "run": run,
        "datasets": datasets,
        "searches": {"cifar10": "images"},
        "retraining": {space: retraining},
        "model": {
            "space": space,
            "images": "images",
            "labelled": trained if labelled else None,
            "few": [f"few{count}" for count in counts],
            "seeds": seeds,
            "limit": limit,
        },
    }
    if space == "nas_bench_201":
        config["supernet"] = supernet
    else:
        config["supernet"] = {"batch_size": batch}
        config["large_spaces"] = {space: {"images": {"supernet": {**supernet, "nesterov": False}}}}
    return config, book.chosen


def _fitting(
    plan: "_Plan", channels: int, given: Mapping[str, Any], survey: Survey
) -> tuple[dict[str, Any], int]:
    """The sizes of a network and the image size, the largest whose trainings fit into the time."""
    sides = [side for side in _SIZES if side <= min(survey.short_side, _LARGEST[plan.space])] or [_SIZES[0]]
    sides = [given["image_size"]] if given.get("image_size") else sides[::-1]
    cells = [given["cells"]] if given.get("cells") else _CELLS[plan.space]
    ladder = [
        ({"channels": channels, "cells": count, "imagenet": False}, side)
        for large in (True, False)
        for count in cells
        for side in sides
        if (side >= _SMALL) == large
    ]
    names = get(plan.space).sizes
    steps = [({name: size for name, size in sizes.items() if name in names}, side) for sizes, side in ladder]
    return next((step for step in steps if plan.fits(*step)), steps[-1])


@dataclass(frozen=True)
class _Plan:
    """How many epochs the time allows, of supernets and of networks."""

    space: str
    classes: int
    images: int
    batch: int
    seconds: float
    seeds: list[int]
    retrained: list[int]
    labelled: bool
    few: int

    def epochs(self, sizes: Mapping[str, Any], image_size: int) -> tuple[float, float]:
        """Epochs of a supernet and of a network, which get a third and two thirds of the time."""
        space, network = get(self.space), {**sizes, "image_size": image_size, "classes": self.classes}
        mean = space.cost(space.sample(1000, np.random.default_rng(0)), **network)[1].mean()
        steps = self.images / self.batch
        supernet = len(self.seeds) * training_seconds(self.space, mean, self.batch, steps)
        largest = float(sum(np.max(part, axis=-1).sum() for part in space.cost_table(**network)[1][1:]))
        # Found, structural, residual and random networks, and where there are few labels three of them.
        heavy = training_seconds(self.space, largest, self.batch, steps, eager=True)
        light = training_seconds(self.space, mean, self.batch, steps, eager=True)
        network_epoch = len(self.retrained) * (
            3 * heavy + light + self.few * _FEW_STEPS * (2 * heavy + light)
        )
        share = _SEARCH_SHARE if self.labelled else 1
        return share * self.seconds / supernet, (1 - share) * self.seconds / network_epoch

    def fits(self, sizes: Mapping[str, Any], image_size: int) -> bool:
        """Whether the fewest epochs fit."""
        epochs = self.epochs(sizes, image_size)
        return epochs[0] >= _FEWEST[0] and (not self.labelled or epochs[1] >= _FEWEST[1])
