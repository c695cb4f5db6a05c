"""Real images in a folder, in both large spaces: supernets, searches, retraining and detection."""

import tarfile
from pathlib import Path

import pandas as pd
import pytest
from workflow import ROOT, TINY, of_this_workflow

CIFAR10_JPEG = ROOT.parent / "shared" / "data" / "cifar10_jpeg.tar.xz"


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder of 20 training and 5 test images of each class of CIFAR-10."""
    folder = tmp_path_factory.mktemp("photographs")
    with tarfile.open(CIFAR10_JPEG) as archive:
        for member in archive:
            split, _, number = Path(member.name).parts[-3:] if member.isfile() else ("", "", "")
            if number and int(Path(number).stem) < {"train": 20, "test": 5}[split]:
                archive.extract(member, folder, filter="data")
    return folder


@pytest.mark.skipif(not CIFAR10_JPEG.exists(), reason=f"needs {CIFAR10_JPEG.name} in ../shared/data")
def test_real_images_in_a_folder_go_through_the_darts_space_in_two_processes(photographs, tmp_path):
    """Supernets by two processes each, constrained search, retraining; detection from retrained weights."""
    short = {"epochs": 1, "batch_size": 40, "device": "cpu"}
    network = {**short, "channels": 8, "cells": 3, "auxiliary": 0.4}
    config = TINY | {
        "datasets": TINY["datasets"]
        | {
            "photographs": {
                "source": "image-folder",
                "path": str(photographs),
                "classes": 10,
                "split": "test",
                "decode": "each-time",
                "image_size": 32,
            }
        },
        "large_spaces": {
            "darts": {
                "photographs": {
                    "supernet": {**short, "channels": 8, "cells": 3, "imagenet": True},
                    "limits": [600],
                    "paths": "any",
                }
            },
        },
        "retraining": {
            "darts": {"photographs": {"network": network}},
        },
        "transfer": {
            "coco": TINY["transfer"]["coco"]
            | {"pretrained": "photographs", "architectures": {"darts": ["photographs-10-0-600"]}}
        },
        "jobs": {"large_supernet": {"gpus": 2}},
    }
    tables = [f"results/tiny/tables/table{number}.csv" for number in (3, 8)]
    of_this_workflow(tmp_path, *tables, config=config)
    table = pd.read_csv(tmp_path / "results/tiny/tables/table3.csv").set_index(["row", "column"])
    assert table.loc[("this run, photographs within 600M, evolution", "photographs/top5"), "runs"] == 1
    run = tmp_path / "results/tiny"
    log = (run / "logs/train_supernet/darts/photographs/uniform-once/10/0.log").read_text()
    assert "2 processes" in log
    assert log.count("epoch 1/1") == 1
    assert (run / "transferred/darts/coco/photographs-10-0-600/0/measures.csv").exists()
    assert not list((run / "checkpoints").rglob("*.safetensors"))
