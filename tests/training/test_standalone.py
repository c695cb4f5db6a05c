"""Retraining: it learns, resumes after a stop, and says what it can't do."""

import dataclasses
import itertools
import signal

import numpy as np
import pytest
import torch
from torch import nn

from rlnas_core.spaces import get, published
from rlnas_core.training.loop import Run, optimiser_of
from rlnas_core.training.settings import TrainingSettings
from rlnas_core.training.standalone import RetrainingSettings, accuracies, retrain
from rlnas_core.training.supernet import SupernetSettings

SETTINGS = RetrainingSettings(
    epochs=4, channels=4, cells=3, imagenet=False, auxiliary=0.4, drop=0.2, label_smoothing=0.1, clip_norm=5,
    batch_size=96, schedule="linear", warmup_epochs=1, learning_rate=0.1, final_learning_rate=0, device="cpu",
)  # fmt: skip
QUIET = Run(lambda line: None)
GENES = published()["RLNAS-cifar10"].genes


@pytest.fixture
def few(digits):
    """Four batches an epoch to train on and a hundred images to validate on."""
    return [
        dataclasses.replace(
            data,
            images=dataclasses.replace(data.images, images=data.images.images[:n]),
            labels=data.labels[:n],
        )
        for data, n in zip(digits, (384, 100), strict=True)
    ]


def test_retraining_learns_and_reports_top_1_and_top_5(digits):
    lines = []
    model, found = retrain(get("darts"), GENES, *digits, SETTINGS, 0, run=Run(lines.append))
    assert 50 < found["top1"] < found["top5"] <= 100  # chance is 10 and 50
    assert accuracies(model.eval(), digits[1], torch.device("cpu")) == found
    assert "top1" in lines[-1]
    assert model.auxiliary is not None
    own = get("darts").network(GENES, classes=10, in_channels=1, channels=4, cells=3)  # without that head
    assert f": {sum(weight.numel() for weight in own.parameters()) / 1e6:.3f} million parameters" in lines[0]
    assert model.drop == pytest.approx(0.2)


def test_retraining_in_the_mobilenet_like_space_runs_without_an_auxiliary_head(few):
    settings = dataclasses.replace(SETTINGS, auxiliary=0, drop=0, epochs=1)
    model, found = retrain(
        get("mobilenet"), published()["RLNAS-mobilenet"].genes, *few, settings, 0, run=QUIET
    )
    assert accuracies(model.eval(), few[1], torch.device("cpu")) == found
    with pytest.raises(ValueError, match=r"auxiliary: got 0\.4; networks of mobilenet have none: give 0"):
        retrain(get("mobilenet"), published()["RLNAS-mobilenet"].genes, *few, SETTINGS, 0)


def test_stopped_retraining_resumes_to_the_same_bytes(few, tmp_path):
    settings = dataclasses.replace(SETTINGS, epochs=2)
    undisturbed, found = retrain(get("darts"), GENES, *few, settings, 0, run=QUIET)
    lines = []

    calls = itertools.count(1)

    class Stopping(type(few[0].images)):
        def batch(self, *arguments):
            if next(calls) == 6:  # within the second epoch, where paths drop out
                signal.raise_signal(signal.SIGTERM)
            return super().batch(*arguments)

    stopping = dataclasses.replace(few[0], images=Stopping(**vars(few[0].images)))
    run = Run(lines.append, checkpoint=tmp_path / "state")
    with pytest.raises(SystemExit):
        retrain(get("darts"), GENES, stopping, few[1], settings, 0, run=run)
    resumed, again = retrain(get("darts"), GENES, *few, settings, 0, run=run)
    assert any(line.startswith("resumes from") for line in lines)
    assert again == found
    for name, tensor in undisturbed.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    _, once_more = retrain(get("darts"), GENES, *few, settings, 0, run=run)
    assert once_more == found  # from the last state, which stays until the results are written


def test_a_stop_while_accuracies_are_measured_loses_no_step(few, tmp_path, monkeypatch):
    settings = dataclasses.replace(SETTINGS, epochs=1)
    undisturbed, found = retrain(get("darts"), GENES, *few, settings, 0, run=QUIET)
    lines = []

    def cut_off(*arguments):
        raise KeyboardInterrupt

    state, record = tmp_path / "state", tmp_path / "training.csv"
    run = Run(lines.append, record, state)
    monkeypatch.setattr("rlnas_core.training.standalone.accuracies", cut_off)
    with pytest.raises(KeyboardInterrupt):
        retrain(get("darts"), GENES, *few, settings, 0, run=run)
    monkeypatch.undo()
    resumed, again = retrain(get("darts"), GENES, *few, settings, 0, run=run)
    steps = len(few[0]) // settings.batch_size
    assert f"resumes from {state}: epoch 1, step {steps + 1}" in lines
    assert again == found
    for name, tensor in undisturbed.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert record.read_text().count("\n") == 2


def test_images_without_labels_are_refused(digits):
    unlabelled = dataclasses.replace(digits[0], labels=np.full(len(digits[0]), -1))
    with pytest.raises(ValueError, match="retraining needs labels: got images without"):
        retrain(get("darts"), GENES, unlabelled, digits[1], SETTINGS, 0)


@pytest.mark.parametrize("kept", ["best", "last"])
def test_the_epoch_that_is_kept_is_the_best_or_the_last_also_after_a_stop(few, tmp_path, monkeypatch, kept):
    tops, weights = iter([30.0, 50.0, 40.0]), []

    def measured(model, *_):
        weights.append(model.classifier.weight.detach().clone())
        if len(weights) == 3 and not lines:
            lines.append("stopped")
            weights.pop()
            raise KeyboardInterrupt
        return {"top1": next(tops), "top5": 60.0}

    lines = []
    monkeypatch.setattr("rlnas_core.training.standalone.accuracies", measured)
    settings = dataclasses.replace(SETTINGS, epochs=3, warmup_epochs=0, kept=kept)
    run = Run(lambda line: None, checkpoint=tmp_path / "state")
    with pytest.raises(KeyboardInterrupt):
        retrain(get("darts"), GENES, *few, settings, 0, run=run)
    model, found = retrain(get("darts"), GENES, *few, settings, 0, run=run)
    place = {"best": 1, "last": 2}[kept]
    assert found["top1"] == (50, 40)[kept == "last"]
    assert torch.equal(model.classifier.weight, weights[place])
    assert not torch.equal(weights[1], weights[2])


@pytest.mark.parametrize(
    ("decayed", "expected"),
    [
        ("all", {"conv", "norm", "classifier", "bias"}),
        ("convolutions", {"conv"}),
        ("convolutions-and-classifier", {"conv", "classifier", "bias"}),
    ],
)
def test_decay_is_of_the_weights_that_the_setting_names(decayed, expected):
    model = nn.ModuleDict({"conv": nn.Conv2d(1, 1, 1, bias=False), "norm": nn.BatchNorm2d(1, affine=True)})
    model["classifier"] = nn.Linear(1, 1)
    sgd = optimiser_of(model, RetrainingSettings(weight_decay=0.1, decayed=decayed), "zero")
    names = [name for name, _ in model.named_parameters()]
    found = {
        "bias" if name == "classifier.bias" else name.split(".")[0]
        for name, decay in zip(names, sgd.decay, strict=True)
        if decay
    }
    assert found == expected


def test_a_norm_batch_that_does_not_divide_the_batch_is_refused():
    with pytest.raises(ValueError, match=r"norm_batch: got 100; accepted: a divisor of batch_size \(1024\)"):
        RetrainingSettings(norm_batch=100)


def test_learning_rates_follow_the_schedule():
    rate = TrainingSettings(
        epochs=250, learning_rate=0.5, final_learning_rate=0, warmup_epochs=5, schedule="linear"
    ).rate
    assert [rate(0), rate(2.5), rate(5), rate(127.5), rate(250)] == pytest.approx([0, 0.25, 0.5, 0.25, 0])
    by_epoch = TrainingSettings(rate_per="epoch", warmup_epochs=1.5)
    assert [by_epoch.rate(time) for time in (0.75, 1.5, 1.9)] == pytest.approx([0.0125, 0.025, 0.025])
    for settings, time in (
        (TrainingSettings(), 62.5),
        (TrainingSettings(rate_per="epoch"), 62),
        (SupernetSettings(), 62),
    ):
        cosine = 0.001 + (0.025 - 0.001) * (1 + np.cos(np.pi * time / 250)) / 2
        assert settings.rate(62.5) == pytest.approx(cosine, rel=1e-12)
    rate = TrainingSettings(epochs=12, learning_rate=0.01, schedule="steps", step_epochs=(8, 11)).rate
    assert [rate(7.9), rate(8), rate(11)] == pytest.approx([0.01, 0.001, 0.0001])
    rate = TrainingSettings(
        epochs=10, schedule_epochs=20, learning_rate=1, final_learning_rate=0, schedule="poly"
    ).rate
    assert rate(10) == pytest.approx(0.5**0.9)
