"""The tiny run of the whole workflow, and Snakemake on it."""

import re
import subprocess
import sys
from pathlib import Path

import yaml
from PIL import Image

ROOT = Path(__file__).parents[1]
SHORT = {"epochs": 1, "batch_size": 256, "device": "cpu"}
TINY = {
    "run": "tiny",
    "datasets": {"digits": {"source": "digits", "image_size": 4}},
    "searches": {"cifar10": "digits"},
    "seeds": {
        "ground-truth": [0],
        "uniform-once": [0, 1],
        "shuffle-once": [],
        "uniform-each-step": [],
        "shuffle-each-step": [0],
        "untrained-normal": [0],
        "untrained-uniform": [],
        "untrained-kaiming-normal": [0],
        "untrained-kaiming-uniform": [],
        "rotation": [0],
        "colorization": [0],
        "jigsaw": [],
    },
    "figure1": {"categories": [10, 20], "seeds": [0]},
    "supernet": {"channels": 8, "cells": 1, "epochs": 2, "batch_size": 256, "device": "cpu"},
    "large_spaces": {
        "darts": {
            "digits": {
                "supernet": {"channels": 8, "cells": 3, **SHORT},
                "limits": [None, 600],
            }
        },
        "mobilenet": {
            "digits": {
                "supernet": SHORT,
                "limits": [475],
                "methods": ["A", "B", "D", "random-search"],
                "evolution": {
                    "population": 8,
                    "iterations": 2,
                    "keep": 3,
                    "mutations": 3,
                    "crossovers": 3,
                },
            }
        },
    },
    "random_search": {"architectures": 5},
    "retraining": {
        "darts": {
            "digits": {
                "published": ["RLNAS-cifar10"],
                "random": [600],
                "draws": 2,
                "network": {"channels": 8, "cells": 3, "imagenet": False, "auxiliary": 0.4, **SHORT},
            }
        },
        "mobilenet": {"digits": {"published": ["RLNAS-mobilenet"], "found": False, "network": SHORT}},
    },
    "transfer": {
        scenes: {
            "source": "miniature",
            "pretrained": None,
            "architectures": {"darts": ["DARTS-v2"]},
            "network": {"channels": 8, "cells": 3},
            "training": {"epochs": 1, "device": "cpu", **options},
        }
        for scenes, options in {
            "coco": {"short_side": 64, "channels": 16},
            "cityscapes": {"crop": 65},
        }.items()
    },
    "validation": {"seeds": [0], "images": 16, "calibration_images": 16},
    "evolution": {"iterations": 2},
    "ranking": {"resamples": 5},
    "proxies": {"names": ["synflow"], "images": 8, "seeds": [0]},
}


def snakemake(directory, *arguments, check=True, start=("-m", "snakemake")):
    command = [sys.executable, *start, "--directory", str(directory), "--cores", "2", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, cwd=directory, check=False)
    output = result.stdout + result.stderr
    assert not check or result.returncode == 0, output
    return output


def of_this_workflow(directory, *arguments, config=None, check=True, **options):
    """Run the workflow with a configuration on top of nothing, or the paper's where there is none."""
    if config is not None:
        file = directory / "config.yaml"
        file.write_text(yaml.safe_dump(config))
        arguments = (*arguments, "--configfile", str(file))
    return snakemake(directory, "--snakefile", str(ROOT / "Snakefile"), *arguments, check=check, **options)


def make_images(directory):
    for name in ("a", "b"):
        folder = directory / "images" / name
        folder.mkdir(parents=True)
        for number in range(300):
            Image.new("L", (8, 8), number % 256).save(folder / f"{number}.png")
    (directory / "images/b/7.png").write_bytes(b"no image")
    damaged = directory / "images/a/3.png"
    damaged.write_bytes(damaged.read_bytes()[:45])


def jobs_of(output):
    """Jobs of a dry run by the files that they write, each with its rule and the files that it reads."""
    jobs = {}
    for block in re.findall(r"^(?:local)?rule \w+:\n(?:    .*\n)+", output, re.MULTILINE):
        fields = dict(re.findall(r"^    (input|output): (.*)$", block, re.MULTILINE))
        reads = fields["input"].split(", ") if "input" in fields else []
        jobs |= dict.fromkeys(fields["output"].split(", ") if "output" in fields else [], reads)
    return jobs


def read_for(file, jobs):
    """All files that lie behind a file."""
    found, waiting = set(), [file]
    while waiting:
        new = set(jobs.get(waiting.pop(), [])) - found
        found |= new
        waiting += new
    return found
