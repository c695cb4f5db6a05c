"""Training for detection and segmentation repeats itself, also after a stop."""

import itertools
import signal

import numpy as np
import pytest
import torch

from rlnas_core.images.miniatures import make_cityscapes, make_coco
from rlnas_core.spaces import get, published
from rlnas_core.training.loop import Run
from rlnas_core.transfer import get as transfer_of
from rlnas_core.transfer.detection import DetectionTask
from rlnas_core.transfer.segmentation import SegmentationTask

GENES = published()["DARTS-v2"].genes
SHORT = {"epochs": 2, "batch_size": 4, "device": "cpu"}


def network():
    return get("darts").network(GENES, classes=1, channels=4, cells=3, imagenet=True)


@pytest.fixture(params=["coco", "cityscapes"])
def training(request, tmp_path):
    """A function that trains from the same start each time, and the task whose loss it calls."""
    make, task, sizes = {
        "coco": (make_coco, DetectionTask, {"short_side": 64, "channels": 16}),
        "cityscapes": (make_cityscapes, SegmentationTask, {"crop": 65}),
    }[request.param]
    make(tmp_path / "data", np.random.default_rng(0), train=12, valid=1)
    transfer = transfer_of(request.param)
    data, settings = transfer.read(tmp_path / "data")[0], transfer.settings(**sizes, **SHORT)
    return lambda **options: transfer.train(network(), data, settings, 0, **options), task


def test_stopped_training_resumes_to_the_same_bytes(training, tmp_path, monkeypatch):
    train, task = training
    undisturbed = train(run=Run(lambda line: None)).state_dict()
    calls, loss = itertools.count(1), task.loss

    def stopping(self, *arguments):
        if next(calls) == 5:  # within the second epoch
            signal.raise_signal(signal.SIGTERM)
        return loss(self, *arguments)

    lines = []
    run = Run(lines.append, checkpoint=tmp_path / "state")
    monkeypatch.setattr(task, "loss", stopping)
    with pytest.raises(SystemExit):
        train(run=run)
    resumed = train(run=run).state_dict()
    assert any(line.startswith("resumes from") for line in lines)
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in undisturbed.items())
