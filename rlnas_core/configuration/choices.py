"""Choose a configuration for a user's own images, from the images and the available time."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlnas_core.configuration.plan import training_seconds
from rlnas_core.images.facts import split_sizes
from rlnas_core.images.survey import Survey
from rlnas_core.spaces import get

#: Choices that a user can set, with their defaults; null is chosen from the images and the time.
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
_SMALL = 16  # pixels below which fewer cells are tried before smaller images
_SEARCH_SHARE = 1 / 3  # of the time for trainings, with labels
_FEWEST, _MOST = (20, 12), (250, 100)  # epochs of a supernet and of a network
_FEWEST_IMAGES = 10
_BATCH = 64
_SHARE = 0.75  # of the time for trainings; the rest is for starting jobs and other work
_FEW_STEPS = 1 / 3  # of the steps of a training on all labels, for trainings on few
_CLIPPING = {"nas_bench_201": {}, "darts": {"clip_norm": 5}, "mobilenet": {"clip_value": 5}}
#: Settings of supernets in the authors' code where they differ from those of NAS-Bench-201: of DARTS on
#: CIFAR-10, and of the MobileNet-like space on ImageNet. Its learning rates there are of batches of 512
#: images, and are scaled to the batch. Left out are the lighting noise of photographs, and batch norms of
#: several GPUs.
_SUPERNETS: dict[str, dict[str, Any]] = {
    "nas_bench_201": {},
    "darts": {"affine": True, "nesterov": False, "weight_decay": 0.0003},
    "mobilenet": {
        "nesterov": False,
        "schedule": "linear",
        "rate_per": "step",
        "weight_decay": 0.00004,
        "decayed": "convolutions",
        "label_smoothing": 0.1,
        "initialisation": "mobilenet",
        "learning_rate": 0.25,
        "final_learning_rate": 0.0005,
    },
}
_BATCH_OF_RATES = 512
_LIMITS = ("flops", "params", "limit_size")


@dataclass(frozen=True)
class Chosen:
    """One choice with its value and its reason."""

    name: str
    value: Any
    why: str


class _Book:
    """The choices so far; given values override those chosen from the images."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        if unknown := set(given) - set(GIVEN):
            raise ValueError(f"got unknown choice {', '.join(sorted(unknown))}; accepted: {', '.join(GIVEN)}")
        for name, value in given.items():
            _check(name, value)
        if None not in (given.get("flops"), given.get("params")):
            raise ValueError(
                f"SET: got flops={given['flops']} and params={given['params']}; accepted: one limit"
            )
        self.given, self.chosen = given, list[Chosen]()

    def __call__(self, name: str, value: Any, why: str) -> Any:
        if self.given.get(name) is not None:
            value, why = self.given[name], "given"
        self.chosen.append(Chosen(name, value, why))
        return value

    def add_unused(self) -> None:
        """Add the given values that chose nothing, such as numbers of trainings without labels."""
        used = {one.name for one in self.chosen} | set(_LIMITS)
        left = [name for name, value in self.given.items() if value is not None and name not in used]
        self.chosen += [Chosen(name, self.given[name], "given, but without effect here") for name in left]


def _check(name: str, value: Any) -> None:
    """Raise ValueError for a value that the estimate of the cost can't use; the schema checks the rest."""
    if value is None or name in ("colours", "crop", "split"):
        return
    if name == "space":
        accepted, fine = ", ".join(_LARGEST), value in tuple(_LARGEST)
    elif name == "labels":
        accepted, fine = "a list of integers above 0, such as [10,100]", isinstance(value, list | tuple)
        fine = fine and all(type(count) is int and count > 0 for count in value)
    elif name in ("flops", "params", "minutes"):
        accepted, fine = "a number above 0", type(value) in (int, float) and 0 < value < np.inf
    else:
        accepted, fine = "an integer above 0", type(value) is int and value > 0
    if not fine:
        raise ValueError(f"SET: got {name}={value}; accepted: {accepted}")


@dataclass(frozen=True)
class _Plan:
    """The trainings of a run, and how many epochs of supernets and networks the time allows.

    `images` are those that networks train on, `searched` those that supernets train on. `few` are the
    numbers of labels per class in the figure, `seconds` is the core time of all trainings.
    """

    space: str
    channels: int
    classes: int
    images: int
    searched: int
    batch: int
    seconds: float
    seeds: list[int]
    retrained: list[int]
    labelled: bool
    few: list[int]

    def epochs(self, sizes: Mapping[str, Any], image_size: int) -> tuple[float, float]:
        """Epochs of a supernet and of a network; they get a third and two thirds of the time."""
        space, network = get(self.space), {**sizes, "image_size": image_size, "classes": self.classes}
        flops = space.cost(space.sample(1000, np.random.default_rng(0)), **network)[1]
        mean, largest = float(flops.mean()), float(flops.max())
        steps = self.images / self.batch
        supernet = len(self.seeds) * training_seconds(
            self.space, mean, self.batch, self.searched / self.batch
        )
        # Found, structural, residual and random networks; with few labels only three of them
        heavy = training_seconds(self.space, largest, self.batch, steps, eager=True)
        light = training_seconds(self.space, mean, self.batch, steps, eager=True)
        network_epoch = len(self.retrained) * (
            3 * heavy + light + len(self.few) * _FEW_STEPS * (2 * heavy + light)
        )
        share = _SEARCH_SHARE if self.labelled else 1
        return share * self.seconds / supernet, (1 - share) * self.seconds / network_epoch

    def fits(self, sizes: Mapping[str, Any], image_size: int) -> bool:
        """Whether the time suffices for the fewest epochs."""
        epochs = self.epochs(sizes, image_size)
        return epochs[0] >= _FEWEST[0] and (not self.labelled or epochs[1] >= _FEWEST[1])


def choose_settings(
    run: str,
    path: Path | str,
    survey: Survey,
    labels: Path | str | bool | None = None,
    given: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], list[Chosen]]:
    """Return a configuration of a run on a user's own images, and its choices.

    `given` overrides choices of `GIVEN`: `flops` and `params` are in millions, and `minutes` is the time for
    the run on `cores` cores, as far as it can be estimated. `labels` are those of `survey`. Raises ValueError
    for an unknown choice, a value of the wrong kind, two limits and fewer than 10 training images.
    """
    book = _Book(given or {})
    space = book("space", "nas_bench_201", "the smallest space, enumerated to the exact optimum")
    reading = _choose_reading(book, survey)
    plan = _plan(book, space, survey, reading["split"], listed=bool(labels))
    sizes, image_size = _choose_sizes(book, plan, survey)
    search_epochs, epochs = _choose_epochs(book, plan, sizes, image_size)
    images = {
        "source": "image-folder",
        "path": str(path),
        "classes": plan.classes,
        "image_size": image_size,
        **reading,
    }
    datasets = _datasets(plan, images, labels)
    trained = "labelled" if "labelled" in datasets else "images"
    sizes |= _CLIPPING[space]
    book.add_unused()
    config = {
        "run": run,
        "datasets": datasets,
        "retraining": {space: _retraining(plan, trained, sizes, epochs)},
        "model": {
            "space": space,
            "images": "images",
            "labelled": trained if plan.labelled else None,
            "few": [f"few{count}" for count in plan.few],
            "seeds": plan.seeds,
            "limit": _limit(book.given),
        },
        **_supernet(plan, {**sizes, "epochs": search_epochs, "batch_size": plan.batch}),
    }
    return config, book.chosen


def _choose_reading(book: _Book, survey: Survey) -> dict[str, Any]:
    """How images are read: colours, crop and validation images."""
    grey, long = survey.grey, survey.elongated
    split = "test" if survey.test else "held-out" if survey.classes else None
    return {
        "colours": book(
            "colours", "grey" if grey >= 0.99 else "colour", f"{grey:.0%} of the images are grey"
        ),
        "crop": book(
            "crop",
            "square" if long > 0.1 else "whole",
            f"{long:.0%} of the images are more than a tenth longer than wide, or wider",
        ),
        "split": book(
            "split",
            split,
            "what accuracy is measured on" if survey.classes else "no labels: all images train",
        ),
    }


def _plan(book: _Book, space: str, survey: Survey, split: str | None, *, listed: bool) -> _Plan:
    """The trainings, their numbers and their time."""
    labelled = survey.classes > 0
    images, _ = split_sizes(survey.train, survey.test, split)
    if images < _FEWEST_IMAGES:
        raise ValueError(
            f"IMAGES: got {images} images to train on, besides those held out; accepted: {_FEWEST_IMAGES} or "
            "more; give more images"
        )
    classes = survey.classes or book("categories", 10, "random labels for images without classes")
    seeds = book("seeds", GIVEN["seeds"], "supernets, to see how far they agree")
    retrained = book("retrainings", GIVEN["retrainings"], "trainings of each network") if labelled else 1
    channels = book("channels", GIVEN["channels"], "as in the paper") if "channels" in get(space).sizes else 0
    minutes = book("minutes", GIVEN["minutes"], "what the run may take")
    cores = book("cores", GIVEN["cores"], f"cores for it; each of the {seeds} supernets uses one")
    counts = book("labels", GIVEN["labels"], "numbers of labels in the figure") if labelled else []
    smallest = np.bincount(survey.labels[survey.labels >= 0]).min() if labelled else 0
    return _Plan(
        space=space,
        channels=channels,
        classes=classes,
        images=images,
        searched=survey.images if listed else images,
        batch=_power_of_two(images // 10, _BATCH),
        seconds=_SHARE * 60 * minutes * min(cores, seeds),
        seeds=list(range(seeds)),
        retrained=list(range(retrained)),
        labelled=labelled,
        few=[count for count in counts if count < smallest * images / survey.train],
    )


def _power_of_two(images: int, most: int) -> int:
    """The largest batch size that is a power of two, from 2 to `most`."""
    return min(most, 2 ** int(np.log2(max(2, images))))


def _choose_sizes(book: _Book, plan: _Plan, survey: Survey) -> tuple[dict[str, Any], int]:
    """The sizes of the networks and of the images."""
    sizes, side = _fitting(plan, book.given, survey)
    fits = f"at least {_FEWEST[0]} epochs of a supernet"
    if plan.labelled:
        fits += f", {_FEWEST[1]} of a network"
    side = book("image_size", side, f"median short side {survey.short_side}, and time for {fits}")
    if "cells" in sizes:
        book("cells", sizes["cells"], f"of a stage, in the DARTS space of the network; time for {fits}")
    return sizes, side


def _choose_epochs(book: _Book, plan: _Plan, sizes: Mapping[str, Any], image_size: int) -> tuple[int, int]:
    """Epochs of each supernet and of each network."""
    supernet, network = np.clip(plan.epochs(sizes, image_size), _FEWEST, _MOST).astype(int).tolist()
    supernet = book("epochs", supernet, f"of each supernet, {_FEWEST[0]} to {_MOST[0]} by the time")
    if plan.labelled:
        why = f"of each network, {_FEWEST[1]} to {_MOST[1]} by the time"
        network = book("retraining_epochs", network, why)
    return supernet, network


def _datasets(plan: _Plan, images: Mapping[str, Any], labels: Path | str | bool | None) -> dict[str, Any]:
    """Images of the search, those with a list of labels, and those with few labels per class."""
    searched = images if labels is None else {**images, "labels": False}
    datasets = {"images": searched}
    if plan.labelled and labels:
        # The search uses all images without labels; the list of labels is read for training only.
        datasets = {"images": {**searched, "split": None}, "labelled": {**images, "labels": str(labels)}}
    trained = datasets.get("labelled", images)
    return datasets | {f"few{count}": {**trained, "per_class": count} for count in plan.few}


def _supernet(plan: _Plan, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of supernets, which are in another section for large spaces."""
    if plan.space == "nas_bench_201":
        return {"supernet": settings}
    own = {
        name: value * plan.batch / _BATCH_OF_RATES if name.endswith("learning_rate") else value
        for name, value in _SUPERNETS[plan.space].items()
    }
    return {"large_spaces": {plan.space: {"images": {"supernet": {**settings, **own}}}}}


def _retraining(plan: _Plan, trained: str, sizes: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """Settings of trainings: on all labels, and on few labels for a third of the steps."""
    network = {
        **sizes,
        "epochs": epochs,
        "batch_size": plan.batch,
        "learning_rate": 0.1 * plan.batch / _BATCH,
        "schedule": "cosine",
        "weight_decay": 0.0005,
        "nesterov": True,
        "label_smoothing": 0,
        "kept": "last",  # the best epoch is chosen on the held-out images whose accuracy is reported
    }
    networks = {trained: network}
    for count in plan.few:
        batch = _power_of_two(count * plan.classes // 2, plan.batch)
        steps = _FEW_STEPS * epochs * plan.images / plan.batch
        networks[f"few{count}"] = {
            **network,
            "batch_size": batch,
            "learning_rate": 0.1 * batch / _BATCH,
            "epochs": max(1, round(steps * batch / (count * plan.classes))),
        }
    return {
        name: {"found": False, "seeds": plan.retrained, "network": settings}
        for name, settings in networks.items()
    }


def _limit(given: Mapping[str, Any]) -> dict[str, Any]:
    measure = "params" if given.get("params") is not None else "flops"
    return {"measure": measure, "most": given.get(measure), "image_size": given.get("limit_size")}


def _fitting(plan: _Plan, given: Mapping[str, Any], survey: Survey) -> tuple[dict[str, Any], int]:
    """The largest sizes of a network and of images with which the trainings fit into the time."""
    sides = [side for side in _SIZES if side <= min(survey.short_side, _LARGEST[plan.space])] or [_SIZES[0]]
    sides = [given["image_size"]] if given.get("image_size") else sides[::-1]
    cells = [given["cells"]] if given.get("cells") else _CELLS[plan.space]
    ladder = [
        ({"channels": plan.channels, "cells": count, "imagenet": False}, side)
        for large in (True, False)
        for count in cells
        for side in sides
        if (side >= _SMALL) == large
    ]
    names = get(plan.space).sizes
    steps = [({name: size for name, size in sizes.items() if name in names}, side) for sizes, side in ladder]
    return next((step for step in steps if plan.fits(*step)), steps[-1])
