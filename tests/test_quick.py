"""`make quick` without an argument: CIFAR-10's archive comes from a server, accuracies from the library."""

import os
import shutil
import subprocess
import sys

import pandas as pd
import yaml
from cifar import facts, serving, tarred, tiny_cifar10
from workflow import ROOT, TINY

LESS = {
    "seeds": {labels: [] for labels in TINY["seeds"]} | {"uniform-once": [0]},
    "figure1": {"categories": [], "seeds": []},
    "supernet": {"channels": 8, "cells": 1, "epochs": 1, "schedule_epochs": 250, "device": "cpu"},
    "validation": {"seeds": []},
    "ranking": {"resamples": 2},
}
PUBLISHED_HERE = """
import sys

if sys.argv[0].endswith(".prepare_dataset.py"):
    from torchvision.datasets import CIFAR10

    for name, value in {facts!r}.items():
        setattr(CIFAR10, name, value)
"""


def test_make_quick_downloads_cifar10_and_needs_no_argument(tmp_path):
    copy = tmp_path / "copy"
    kept = shutil.ignore_patterns(".*", "results", "__pycache__", "tests", "downloads")
    shutil.copytree(ROOT, copy, ignore=kept)
    quick = yaml.safe_load((copy / "config/quick.yaml").read_text()) | LESS
    (copy / "config/quick.yaml").write_text(yaml.safe_dump(quick))
    (copy / ".venv/bin").mkdir(parents=True)
    files = " ".join(
        f"results/quick/{file}" for file in ("tables/table2.csv", "claims.txt", "figures/methods.svg")
    )
    (copy / ".venv/bin/snakemake").write_text(f'#!/bin/sh\nexec {sys.executable} -m snakemake {files} "$@"\n')
    (copy / ".venv/bin/snakemake").chmod(0o755)
    (copy / ".venv/.installed").touch()
    content, _ = tiny_cifar10(each=40)
    archive = tarred(content, tmp_path / "published/cifar-10-python.tar.gz")
    with serving(archive.parent) as address:
        patch = PUBLISHED_HERE.format(facts=facts(content, archive, address))
        (tmp_path / "sitecustomize.py").write_text(patch)
        result = subprocess.run(
            ["make", "quick"],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert result.returncode == 0, result.stdout + result.stderr
    run = copy / "results/quick"
    table = pd.read_csv(run / "tables/table2.csv").set_index(["row", "column"])
    assert table.loc[[("D", name) for name in ("cifar10", "cifar100", "imagenet16")], "runs"].tolist() == [
        1,
        1,
        1,
    ]
    assert (copy / "resources/downloads" / archive.name).read_bytes() == archive.read_bytes()
    assert (run / "report.html").exists()
    printed = result.stdout.rsplit("The paper's claims\n", 1)[1]
    assert "not measured" in printed
    assert f"{run}/report.html" in printed


def test_make_laptop_runs_the_same_commands_on_the_same_images():
    commands, images = {}, {}
    for name in ("quick", "laptop"):
        printed = subprocess.run(["make", "-n", name], cwd=ROOT, capture_output=True, text=True, check=True)
        commands[name] = printed.stdout.replace(f"/{name}", "/NAME")
        config = yaml.safe_load((ROOT / f"config/{name}.yaml").read_text())
        images[name] = config["datasets"], config["searches"]
    assert "config/NAME.yaml" in commands["laptop"]
    assert commands["laptop"] == commands["quick"]
    assert images["laptop"] == images["quick"]
    given = subprocess.run(
        ["make", "-n", "quick", "DATA=tests"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert given.stdout.count('--config "data=tests"') == 2
