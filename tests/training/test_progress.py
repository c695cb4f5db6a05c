"""What a training records of each epoch."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from rlnas_core.training.loop import Run, fit
from rlnas_core.training.settings import TrainingSettings
from rlnas_core.training.task import Task


class Told(Task):
    """Losses and hits that are given; its images are classified as they come."""

    def __init__(self, losses, hits):
        self.model, self.losses, self.hits = nn.Linear(2, 1), iter(losses), iter(hits)

    def __len__(self):
        return 32

    def loss(self, indices, part):
        return self.model.weight.sum() * 0 + next(self.losses), torch.tensor(next(self.hits))


def test_the_record_has_the_mean_loss_and_the_accuracy_of_each_epoch(tmp_path):
    settings, lines = TrainingSettings(epochs=2, batch_size=16, device="cpu"), []
    run = Run(lines.append, tmp_path / "training.csv")
    task = Told([3.0, 1.0, 0.5, 0.0], [4, 8, 16, 12])
    fit(task, settings, np.random.SeedSequence(0), device=torch.device("cpu"), run=run)
    record = pd.read_csv(tmp_path / "training.csv")
    assert record["epoch"].tolist() == [1, 2]
    assert record["loss"].tolist() == pytest.approx([2, 0.25])
    assert record["accuracy"].tolist() == pytest.approx([100 * 12 / 32, 100 * 28 / 32])
    assert [line.split()[0] for line in lines] == ["device", "epoch", "epoch"]
    assert "epoch 1/2: loss 2, " in lines[1]
    assert "accuracy 37.5; " in lines[1]
    assert "images/s" in lines[1]
