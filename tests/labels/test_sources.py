import numpy as np
import pytest

from rlnas_core.labels.methods import METHODS
from rlnas_core.labels.sources import FixedLabels, RedrawnLabels, draw_fixed_labels

TRUTH = np.arange(1000) % 10


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_the_five_label_methods_have_the_names_of_the_paper():
    assert METHODS == (
        "ground-truth",
        "uniform-once",
        "shuffle-once",
        "uniform-each-step",
        "shuffle-each-step",
    )


def test_ground_truth_is_kept():
    np.testing.assert_array_equal(draw_fixed_labels("ground-truth", TRUTH, 1000, 10, rng()), TRUTH)


def test_shuffled_labels_keep_the_class_counts_and_lose_the_order():
    labels = draw_fixed_labels("shuffle-once", TRUTH, 1000, 10, rng())
    np.testing.assert_array_equal(np.bincount(labels), np.bincount(TRUTH))
    assert (labels == TRUTH).mean() < 0.2


@pytest.mark.parametrize("categories", [2, 10, 200])
def test_uniform_labels_cover_any_number_of_categories_without_ground_truth(categories):
    labels = draw_fixed_labels("uniform-once", None, 50 * categories, categories, rng())
    assert labels.dtype == np.int64
    assert set(labels) == set(range(categories))
    assert np.bincount(labels).std() < 12


def test_the_same_seed_draws_the_same_labels():
    first, second = (draw_fixed_labels("uniform-once", None, 100, 10, rng()) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_fixed_labels_stay_with_their_images():
    labels = FixedLabels(TRUTH)
    assert labels.categories == 10
    indices = np.array([5, 3, 5])
    np.testing.assert_array_equal(labels(indices), [5, 3, 5])
    np.testing.assert_array_equal(labels(indices), labels(indices))


def test_fixed_labels_may_state_more_categories_than_occur():
    assert FixedLabels(np.array([0, 1]), categories=5).categories == 5


@pytest.mark.parametrize(("labels", "categories"), [([-1, 0], None), ([0, 7], 7)])
def test_fixed_labels_outside_the_categories_are_refused(labels, categories):
    with pytest.raises(ValueError, match="accepted: 0 to"):
        FixedLabels(np.array(labels), categories)


def test_uniform_labels_of_each_step_change_between_steps():
    labels = RedrawnLabels("uniform-each-step", None, 50, rng())
    indices = np.arange(64)
    first, second = labels(indices), labels(indices)
    assert labels.categories == 50
    assert first.shape == (64,)
    assert first.dtype == np.int64
    assert (first != second).any()
    assert first.max() < 50


def test_shuffled_labels_of_each_step_permute_the_labels_of_the_batch():
    labels = RedrawnLabels("shuffle-each-step", TRUTH, 10, rng())
    indices = np.arange(100, 164)
    drawn = np.array([labels(indices) for _ in range(200)])
    np.testing.assert_array_equal(np.sort(drawn), np.tile(np.sort(TRUTH[indices]), (200, 1)))
    # Every image gets every label of the batch, its own among them.
    assert all(set(column) == set(TRUTH[indices]) for column in drawn.T)


def test_a_training_depends_on_the_true_labels_that_it_shuffles_and_on_no_others():
    (truth,) = RedrawnLabels("shuffle-each-step", TRUTH, 10, rng()).identity()
    np.testing.assert_array_equal(truth, TRUTH)
    assert RedrawnLabels("uniform-each-step", TRUTH, 10, rng()).identity() == []


@pytest.mark.parametrize("method", ["ground-truth", "shuffle-once"])
def test_another_number_of_categories_than_classes_is_refused(method):
    with pytest.raises(ValueError, match=r"got 20 categories, accepted: 10.*uniform-once"):
        draw_fixed_labels(method, TRUTH, 1000, 20, rng())
    with pytest.raises(ValueError, match="got 20 categories, accepted: 10"):
        RedrawnLabels("shuffle-each-step", TRUTH, 20, rng())


def test_images_that_lack_the_highest_class_keep_their_labels():
    lacking = TRUTH[TRUTH < 9]
    redrawn = RedrawnLabels("shuffle-each-step", lacking, 10, rng(), classes=10)(np.arange(50))
    np.testing.assert_array_equal(np.sort(redrawn), np.sort(lacking[:50]))
    drawn = draw_fixed_labels("ground-truth", lacking, len(lacking), 10, rng(), classes=10)
    np.testing.assert_array_equal(drawn, lacking)
    with pytest.raises(ValueError, match="got 9 categories, accepted: 10"):
        draw_fixed_labels("ground-truth", TRUTH, 1000, 9, rng(), classes=9)


@pytest.mark.parametrize("truth", [None, np.full(10, -1)])
def test_unlabelled_images_have_uniform_labels_only(truth):
    with pytest.raises(ValueError, match="unlabelled"):
        draw_fixed_labels("shuffle-once", truth, 10, 10, rng())
    assert len(draw_fixed_labels("uniform-once", truth, 10, 10, rng())) == 10


def test_unknown_methods_are_refused_with_those_accepted():
    with pytest.raises(ValueError, match=r"got 'random'; accepted.*uniform-once"):
        draw_fixed_labels("random", TRUTH, 1000, 10, rng())
    with pytest.raises(ValueError, match=r"got 'uniform-once'; accepted.*uniform-each-step"):
        RedrawnLabels("uniform-once", TRUTH, 10, rng())


def test_a_label_for_every_image_is_needed():
    with pytest.raises(ValueError, match="1000 ground-truth labels for 999 images"):
        draw_fixed_labels("shuffle-once", TRUTH, 999, 10, rng())


def test_one_category_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        draw_fixed_labels("uniform-once", None, 10, 1, rng())
