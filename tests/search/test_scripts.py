"""Scripts of searches, run as Snakemake runs them."""

import logging
import runpy
import sys
import tempfile
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from rlnas_core.search.angle import angles, group_sums
from rlnas_core.spaces import DARTS
from rlnas_core.training.supernet import SupernetSettings, build, compare

SCRIPTS = Path(__file__).parents[2] / "workflow_scripts"
EVOLUTION = {"population": 10, "iterations": 1, "keep": 3, "mutations": 4, "crossovers": 3}


@pytest.mark.parametrize("paths", ["last", "any"])
def test_candidates_are_scored_with_the_paths_of_the_configuration(paths, tmp_path, monkeypatch):
    space, settings = DARTS(paths), SupernetSettings(channels=2, cells=3)
    statistics = compare(*(build(space, 3, 1, settings, seed) for seed in (0, 1)), {"seed": 0})
    statistics.save(tmp_path / "statistics.npz")
    network = {"channels": 4, "cells": 3, "image_size": 8, "classes": 3, "imagenet": False}
    params = {
        "space": "darts",
        "paths": paths,
        "limit": {"network": network},
        "seeds": [0],
        "evolution": EVOLUTION,
        "pooling": "reference",
    }
    output = {name: tmp_path / f"{name}.csv" for name in ("candidates", "agreement", "trace")}
    job = SimpleNamespace(
        input=SimpleNamespace(statistics=[tmp_path / "statistics.npz"]),
        output=SimpleNamespace(**output),
        params=SimpleNamespace(**params),
        log=[str(tmp_path / "log")],
        threads=1,
    )
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # the job replaces it
    try:
        runpy.run_path(str(SCRIPTS / "choose_candidates.py"), {"snakemake": job})
    finally:
        logging.captureWarnings(False)
    table = pd.read_csv(output["candidates"])
    usage = space.usage(space.from_string(table["arch"].tolist()))
    assert table["angle"].tolist() == pytest.approx(angles(usage, group_sums(space, statistics)))


def test_as_many_jobs_share_a_device_as_the_configuration_says(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    asked = []

    @contextmanager
    def reserve(name, count, share, *, log):
        asked.append((name, count, share))
        yield [torch.device("cpu")]

    monkeypatch.setattr("rlnas_core.machine.devices.reserve", reserve)
    job = SimpleNamespace(resources={"gpu": 1}, config={"jobs_per_gpu": 3})
    import_module("job").take_devices(job, "auto", print)
    assert asked == [("auto", 1, 3)]


def test_proxies_run_on_the_cpu_where_the_gpu_is_apples(digits, tmp_path, monkeypatch):
    """They need float64, which it doesn't have."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # of the locks of devices
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    images, lines = digits[0].images, []
    monkeypatch.setattr("rlnas_core.images.arrays.load", lambda folder, split: images)
    np.save(tmp_path / "labels.npy", digits[0].labels)
    asked = SimpleNamespace(
        input=SimpleNamespace(description="", labels=tmp_path / "labels.npy"),
        wildcards=SimpleNamespace(seed="0"),
        params=SimpleNamespace(images=4),
        resources={},
        config={"jobs_per_gpu": 1},
    )
    proxy_batch = import_module("job").proxy_batch
    assert [part.device.type for part in proxy_batch(asked, "mps", lines.append)] == ["cpu", "cpu"]
    assert lines[-1].endswith("this job runs on the CPU")
    asked.params.images, asked.wildcards.dataset = 5000, "digits"
    most = "got 5000; accepted: at most 899, the training images of digits"
    with pytest.raises(ValueError, match=f"^proxies.images: {most}"):
        proxy_batch(asked, "cpu", lines.append)


def test_a_training_saves_a_checkpoint_every_so_many_minutes(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    asked = SimpleNamespace(
        output=SimpleNamespace(training="module/results/own/supernets/digits/0/training.csv"),
        config={"save_minutes": 5, "run": "own"},
    )
    job = import_module("job")
    run = job.training_run(asked, print)
    assert run.save_every == 300
    assert run.record == Path(asked.output.training)
    assert run.checkpoint == Path("module/results/own/checkpoints/digits/0.safetensors")
    scored = job.checkpoint(asked, Path("results/own/scores/digits/0/validation-accuracy"))
    assert scored == Path("results/own/checkpoints/scores/digits/0/validation-accuracy.safetensors")
