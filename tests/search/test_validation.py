"""An interrupted scoring by validation accuracy resumes where it was stopped."""

import signal

import numpy as np
import pytest
import torch

from rlnas_core.labels.sources import FixedLabels
from rlnas_core.networks.layers import initialise
from rlnas_core.search.validation import scorer
from rlnas_core.spaces import get
from rlnas_core.training.checkpoint import Checkpoint

CPU, SPACE = torch.device("cpu"), get("nas_bench_201")
DISTINCT = 8
GENES = SPACE.sample(DISTINCT, np.random.default_rng(0))
GENES = np.concatenate([GENES, SPACE.canonical(GENES)])  # some differ, and compute the same


def untrained(seed=0):
    model = SPACE.supernet(classes=10, in_channels=1, channels=4, cells=1)
    initialise(model, torch.Generator().manual_seed(seed), "default")
    return model


def score(digits, lines, checkpoint=None, seed=0, **change):
    train, valid = digits
    options = {"images": 64, "calibration_images": 32, "seed": 0, "device": "cpu", "log": lines.append}
    images, labels = (train.images, valid.images), FixedLabels(valid.labels, 10)
    return scorer(SPACE, untrained(seed), *images, labels, checkpoint=checkpoint, **options | change)(GENES)


@pytest.mark.parametrize("images", [40, None])
def test_accuracy_is_of_so_many_images_after_calibration_in_batches_of_others(digits, images):
    rng, model, (train, valid) = np.random.default_rng(0), untrained(), digits
    calibrating = rng.choice(len(train), 50, replace=False)
    chosen = rng.choice(len(valid), images or len(valid), replace=False)
    x, y = (data.images.plain(of, CPU) for data, of in ((train, calibrating), (valid, chosen)))
    expected = []
    for genes in GENES:
        with torch.no_grad(), model.calibrated(x, genes, 10):
            expected.append(100 * np.mean(model(y, genes).argmax(1).numpy() == valid.labels[chosen]))
    found = score(digits, [], images=images, calibration_images=50, calibration_batch=10)
    np.testing.assert_allclose(found, expected)


def stopped_after(architectures, monkeypatch, *scoring):
    calls = []

    def due(checkpoint):
        calls.append(checkpoint)
        if len(calls) == architectures:
            signal.raise_signal(signal.SIGTERM)
        return checkpoint.signalled is not None

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "due", due)
        with pytest.raises(SystemExit):
            score(*scoring)


def test_an_interrupted_scoring_resumes_to_the_same_accuracies(digits, tmp_path, monkeypatch):
    undisturbed, lines, path = score(digits, []), [], tmp_path / "scores.safetensors"
    stopped_after(5, monkeypatch, digits, lines, path)
    assert "the same command resumes from it" in lines[-1]
    np.testing.assert_array_equal(score(digits, lines, path), undisturbed)
    assert f"resumes from {path}: 5 distinct architectures evaluated" in lines
    assert lines[-1].startswith(f"{DISTINCT} of {DISTINCT} distinct")


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"images": 48}, {"calibration_images": 24}, {"calibration_batch": 8}]
)
def test_a_scoring_of_other_weights_or_images_starts_from_the_beginning(
    digits, tmp_path, monkeypatch, change
):
    other, lines, path = score(digits, [], **change), [], tmp_path / "scores.safetensors"
    stopped_after(5, monkeypatch, digits, [], path)
    np.testing.assert_array_equal(score(digits, lines, path, **change), other)
    assert "is of other settings, inputs or code" in lines[0]
