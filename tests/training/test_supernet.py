"""Supernet training and validation accuracy on small images."""

import dataclasses

import numpy as np
import pytest
import torch

from rlnas_core.labels.sources import FixedLabels
from rlnas_core.search.validation import scorer
from rlnas_core.spaces import get
from rlnas_core.training.loop import Run, begin
from rlnas_core.training.progress import TrainingDivergedError
from rlnas_core.training.supernet import SupernetSettings, build, compare, train_supernet

SPACE = get("nas_bench_201")
SETTINGS = SupernetSettings(channels=8, cells=1, epochs=2)


def train(data, settings=SETTINGS, log=lambda _: None, seed=0, **options):
    labels = FixedLabels(data.labels, 10)
    return train_supernet(SPACE, data.images, labels, settings, seed, run=Run(log, **options))


@pytest.mark.parametrize(
    "change", [{"path_per": "architecture"}, {"unsampled_gradient": "absent"}, {"precision": "bfloat16"}]
)
def test_named_setting_changes_the_result_and_nothing_of_the_start(digits, change):
    reference = train(digits[0])[1]
    changed = train(digits[0], dataclasses.replace(SETTINGS, **change))[1]
    np.testing.assert_array_equal(reference.operations[0], changed.operations[0])
    assert not np.allclose(reference.operations[-1], changed.operations[-1])


def test_another_seed_draws_other_weights_and_paths(digits, monkeypatch):
    sample, drawn, settings = SPACE.sample, [], dataclasses.replace(SETTINGS, epochs=1)
    monkeypatch.setattr(SPACE, "sample", lambda n, rng: drawn.append(sample(n, rng)) or drawn[-1])
    first, second = (train(digits[0], settings, seed=seed)[1].operations[0] for seed in (0, 1))
    assert (first != second)[:, :, 2:4, 1].all()  # of each convolution
    one, other = np.split(np.array(drawn), 2)
    assert (one != other).any(axis=(1, 2)).all()


def test_operation_that_no_step_sampled_decays_only_with_a_zero_gradient(digits, monkeypatch):
    path = np.array([[3, 1, 1, 1, 1, 1]] * 3)
    monkeypatch.setattr(SPACE, "sample", lambda n, rng: path)
    for gradient, still in (("zero", False), ("absent", True)):
        statistics = train(digits[0], dataclasses.replace(SETTINGS, unsampled_gradient=gradient))[1]
        unsampled = statistics.operations[:, 0, 5, 3]
        assert (unsampled[-1, 2] == unsampled[0, 2]) == still
        # Decay alone shortens a weight and does not turn it.
        assert unsampled[-1, 0] == pytest.approx(np.sqrt(unsampled[-1, 1] * unsampled[-1, 2]), rel=1e-6)


def test_true_labels_are_learned_and_validation_accuracy_shows_it(digits):
    train_data, valid = digits
    images = [train_data.images, valid.images]
    model, _ = train(train_data, dataclasses.replace(SETTINGS, epochs=20))
    options = {"images": 200, "calibration_images": 100, "seed": 0, "log": lambda _: None}
    labels = FixedLabels(valid.labels, 10)
    score = scorer(SPACE, model, *images, labels, **options)
    assert score(SPACE.sample(10, np.random.default_rng(0))).mean() > 25  # chance is 10


def test_statistics_are_of_the_start_and_of_every_epoch_until_the_weights_returned(digits):
    model, statistics = train(digits[0])
    assert statistics.epochs.tolist() == [0, 1, 2]
    seed = int(begin(SETTINGS, 0, 4)[1][0].generate_state(1)[0])
    before = build(SPACE, 10, 1, SETTINGS, seed)
    for row, weights in ((0, before), (2, model)):
        alone = compare(before, weights, {})
        np.testing.assert_allclose(statistics.operations[row], alone.operations[0], rtol=1e-9)
        np.testing.assert_allclose(statistics.fixed[row], alone.fixed[0], rtol=1e-9)
    assert ((statistics.fixed[1] != statistics.fixed[0]) == [True, False, True]).all()


def test_loss_that_is_no_number_stops_with_epoch_and_step_and_keeps_the_last_checkpoint(
    digits, tmp_path, monkeypatch
):
    from rlnas_core.training import supernet

    calls = []

    def poisoned(scores, target, **_):
        calls.append(1)
        loss = torch.nn.functional.nll_loss(scores.log_softmax(1), target)
        return loss * float("nan") if len(calls) > 16 else loss

    monkeypatch.setattr(supernet.F, "cross_entropy", poisoned)
    state = tmp_path / "checkpoints" / "last.safetensors"
    with pytest.raises(TrainingDivergedError, match="epoch 2, step 2"):
        train(digits[0], checkpoint=state)
    assert state.exists()


def test_too_few_images_for_a_batch_are_refused(digits):
    with pytest.raises(ValueError, match="too few images"):
        train(digits[0], SupernetSettings(batch_size=5000))


def test_a_remainder_of_one_image_is_left_out(digits):
    """A batch norm of one image of one pixel has no variance."""
    space, (train_data, valid) = get("mobilenet"), digits
    few = dataclasses.replace(train_data.images, images=train_data.images.images[:49])
    settings = SupernetSettings(batch_size=32, norm_batch=16, epochs=1)
    model, _ = train_supernet(space, few, FixedLabels(train_data.labels[:49], 10), settings, 0)
    options = {"images": 16, "calibration_images": 9, "calibration_batch": 8, "seed": 0}
    score = scorer(space, model, few, valid.images, FixedLabels(valid.labels, 10), **options)
    assert 0 <= score(space.sample(1, np.random.default_rng(0))) <= 100


def test_wrong_setting_is_named():
    with pytest.raises(ValueError, match="path_per: got 'edge'; accepted: cell, architecture"):
        SupernetSettings(path_per="edge")
