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

SPACE = get("nas_bench_201")
GENES = SPACE.sample(12, np.random.default_rng(0))
DISTINCT = len(np.unique(SPACE.canonical(GENES), axis=0))


def score(digits, lines, checkpoint=None, seed=0, **others):
    train, valid = digits
    model = SPACE.supernet(classes=10, in_channels=1, channels=4, cells=1)
    initialise(model, torch.Generator().manual_seed(seed), "default")
    options = {"images": 64, "calibration_images": 32, "seed": 0, "device": "cpu", "log": lines.append}
    options |= others
    labels = FixedLabels(valid.labels, 10)
    return scorer(SPACE, model, train.images, valid.images, labels, checkpoint=checkpoint, **options)(GENES)


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


def test_accuracies_are_of_so_many_images_and_calibrated_in_batches_of_that_size(digits):
    accuracies = score(digits, [], images=32)
    np.testing.assert_allclose(accuracies * 0.32, np.rint(accuracies * 0.32))
    assert (score(digits, [], images=None) != accuracies).any()
    assert (score(digits, [], images=32, calibration_batch=8) != accuracies).any()


def test_an_interrupted_scoring_resumes_to_the_same_accuracies(digits, tmp_path, monkeypatch):
    undisturbed, lines, path = score(digits, []), [], tmp_path / "scores.safetensors"
    stopped_after(5, monkeypatch, digits, lines, path)
    assert "the same command resumes from it" in lines[-1]
    np.testing.assert_array_equal(score(digits, lines, path), undisturbed)
    assert f"resumes from {path}: 5 distinct architectures evaluated" in lines
    assert lines[-1].startswith(f"{DISTINCT} of {DISTINCT} distinct")


def test_a_scoring_of_other_weights_starts_from_the_beginning(digits, tmp_path, monkeypatch):
    other, lines, path = score(digits, [], seed=1), [], tmp_path / "scores.safetensors"
    stopped_after(5, monkeypatch, digits, [], path)
    np.testing.assert_array_equal(score(digits, lines, path, seed=1), other)
    assert "is of other settings, inputs or code" in lines[0]
