"""DeepLab-v3 on Cityscapes."""

import shutil

import numpy as np
import pytest
import torch
from descent import check_parts, descend, freeze_norms
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter

from rlnas_core.images.miniatures import make_cityscapes
from rlnas_core.networks.layers import initialise
from rlnas_core.spaces import get
from rlnas_core.transfer.backbone import Backbone
from rlnas_core.transfer.segmentation import (
    _MEAN,
    _STD,
    CLASS_OF,
    CLASSES,
    IGNORED,
    SegmentationSettings,
    SegmentationTask,
    build,
    mean_iou,
    read_cityscapes,
)

SETTINGS = SegmentationSettings(crop=97)
SIZES = {
    "darts-3": ("darts", {"channels": 8, "cells": 3, "imagenet": True}),
    "darts-6": ("darts", {"channels": 4, "cells": 6, "imagenet": True}),
    "mobilenet": ("mobilenet", {}),
}


def network(name, row=0, **sizes):
    space, own = get(SIZES[name][0]), SIZES[name][1]
    return space.network(space.sample(row + 1, np.random.default_rng(1))[row], classes=4, **(own | sizes))


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cityscapes")
    make_cityscapes(folder, np.random.default_rng(0))
    return folder


@pytest.fixture
def cityscapes(tmp_path):
    make_cityscapes(tmp_path, np.random.default_rng(0), train=4, valid=3)
    return tmp_path


# Backbones


@pytest.mark.parametrize("row", range(3))
@pytest.mark.parametrize("side", [97, 128])
@pytest.mark.parametrize("name", SIZES)
def test_at_output_stride_16_every_second_feature_is_that_of_stride_32(name, side, row):
    images = torch.randn(2, 3, side, side + 32)
    plain, dilated = network(name, row), network(name, row)
    plain(images)  # sets the running statistics
    dilated.load_state_dict(plain.state_dict())
    with torch.no_grad():
        coarse, fine = (
            Backbone(part, stride).eval()(images) for part, stride in ((plain, 32), (dilated, 16))
        )
    assert fine["out"].shape[2:] == fine["aux"].shape[2:] == (-(-side // 16), -(-(side + 32) // 16))
    torch.testing.assert_close(fine["out"][:, :, ::2, ::2], coarse["out"])
    assert torch.equal(fine["aux"], coarse["aux"])


def test_another_output_stride_is_refused():
    with pytest.raises(ValueError, match="output_stride: got 8; accepted: 16, 32"):
        Backbone(network("darts-3"), 8)


# Reading Cityscapes


def test_the_19_evaluated_classes_are_numbered_in_order_of_their_ids():
    assert CLASSES == 19
    assert np.flatnonzero(CLASS_OF != IGNORED).tolist() == [
        7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33,
    ]  # fmt: skip
    assert CLASS_OF[CLASS_OF != IGNORED].tolist() == list(range(19))


def test_photographs_and_labels_are_read_side_by_side(cityscapes):
    train, valid = read_cityscapes(cityscapes)
    assert (len(train.photographs), len(valid.photographs)) == (4, 3)
    for photograph, label in zip(train.photographs, train.labels, strict=True):
        assert photograph.name.split("_leftImg8bit")[0] == label.name.split("_gtFine")[0]
        assert set(np.unique(np.asarray(Image.open(label)))) <= {3, 7, 11, 21, 24, 26}


def test_missing_labels_and_photographs_are_named(cityscapes):
    train, _ = read_cityscapes(cityscapes)
    train.labels[2].unlink()
    with pytest.raises(
        FileNotFoundError, match=rf"1 label images are missing.*{train.labels[2].name}; unpack"
    ):
        read_cityscapes(cityscapes)
    shutil.rmtree(cityscapes / "leftImg8bit" / "train")
    with pytest.raises(FileNotFoundError, match=r"has no CITY/\*_leftImg8bit\.png; give the folder"):
        read_cityscapes(cityscapes)


def test_a_label_image_of_another_size_is_named_with_both_sizes(cityscapes):
    _, valid = read_cityscapes(cityscapes)
    Image.open(valid.labels[1]).resize((96, 48)).save(valid.labels[1])
    with pytest.raises(
        ValueError, match=r"000001.*labelIds\.png is 96x48 and its photograph 192x96; replace"
    ):
        read_cityscapes(cityscapes)


def test_label_images_of_other_pixels_than_ids_are_refused(cityscapes):
    _, valid = read_cityscapes(cityscapes)
    for label, mode in zip(valid.labels, ("RGB", "I;16", "P"), strict=True):
        ids = np.asarray(Image.open(label))
        Image.fromarray(ids.astype(np.uint16) if mode == "I;16" else ids).convert(mode).save(label)
    with pytest.raises(
        ValueError, match=r"^2 label images .*000000_000019_gtFine_labelIds\.png \(RGB\), .*\(I;16\)"
    ):
        read_cityscapes(cityscapes)


# Training


def coded(data):
    """Write into the red of every photograph the label id of the pixel."""
    for photograph, label in zip(data.photographs, data.labels, strict=True):
        ids = np.asarray(Image.open(label))
        Image.fromarray(np.stack([ids, ids * 0, ids * 0], axis=-1)).save(photograph)


def crop(task, index, draws):
    (found,) = task._reader.map(task._crop, np.array([index]), np.array([draws], dtype=float))
    return found


@pytest.mark.parametrize("draws", [(0, 0, 0, 0), (0, 1, 1, 1), (0.4, 0.3, 0.8, 0.2), (1, 0.99, 0.5, 0.9)])
def test_crops_of_photograph_and_labels_show_the_same_place(cityscapes, draws):
    train, _ = read_cityscapes(cityscapes)
    coded(train)
    task = SegmentationTask(None, train, SETTINGS, np.random.default_rng(0))
    image, classes = crop(task, 1, draws)
    assert image.shape == (97, 97, 3)
    assert classes.shape == (97, 97)
    outside = image[:, :, 1] > 0  # the mean colour
    assert (classes[outside] == IGNORED).all()
    # Half of 192x96 pixels leaves one row free at the largest side, and half of the crop at the smallest.
    height, width = (min(97, round((0.5 + 1.5 * draws[0]) * side)) for side in (96, 192))
    assert (~outside).sum() == height * width
    # Between two classes the photograph's pixels are mixed.
    alike = maximum_filter(classes, 5) == minimum_filter(classes, 5)
    assert (alike & ~outside).mean() > 0.1
    assert (CLASS_OF[image[:, :, 0]] == classes)[alike & ~outside].all()


def test_mirrored_crops_are_those_of_the_same_place_mirrored(cityscapes):
    task = SegmentationTask(None, read_cityscapes(cityscapes)[0], SETTINGS, np.random.default_rng(0))
    (image, classes), (other, mirrored) = (crop(task, 0, (0.6, 0.2, 0.3, flip)) for flip in (0.9, 0.1))
    np.testing.assert_array_equal(image, other[:, ::-1])
    np.testing.assert_array_equal(classes, mirrored[:, ::-1])


@pytest.mark.parametrize("name", ["darts-3", "mobilenet"])
def test_parts_of_a_batch_have_the_mean_loss_of_the_batch_and_reach_every_weight(name, miniature):
    train, _ = read_cityscapes(miniature)
    model = build(network(name), 0)
    check_parts(model, lambda rng: SegmentationTask(model, train, SETTINGS, rng))


def test_channels_are_dropped_in_training_alone_and_as_the_generator_draws(miniature):
    train, _ = read_cityscapes(miniature)
    model = build(network("darts-3"), 0)
    images = torch.randn(2, 3, 97, 97)
    before = model.eval()(images)["out"]
    freeze_norms(model)
    draws = [
        SegmentationTask(model, train, SETTINGS, np.random.default_rng(seed)).loss(np.arange(2), slice(0, 2))[
            0
        ]
        for seed in (0, 0, 1)
    ]
    assert draws[0] == draws[1] != draws[2]
    assert not torch.equal(model(images)["out"], before)
    assert torch.equal(model.eval()(images)["out"], before)


# Evaluation


class Oracle(torch.nn.Module):
    """Reads the label id from the red of a photograph, and finds the class some pixels to the right."""

    def __init__(self, shift):
        super().__init__()
        self.shift = shift

    def forward(self, x):
        ids = (255 * (x[:, 0] * _STD[0] + _MEAN[0])).round().long()
        classes = torch.from_numpy(CLASS_OF.astype(np.int64))[ids]
        classes[classes == IGNORED] = 18  # what is said of ignored pixels doesn't matter
        return {"out": torch.nn.functional.one_hot(classes.roll(self.shift, 2), CLASSES).permute(0, 3, 1, 2)}


def test_perfect_predictions_have_a_mean_iou_of_100_and_shifted_ones_less(cityscapes):
    _, valid = read_cityscapes(cityscapes)
    coded(valid)
    palette = Image.open(valid.labels[0])
    palette.putpalette(bytes(range(255, -1, -1)) * 3)  # its numbers are ids, whatever colours it gives them
    palette.save(valid.labels[0])
    assert Image.open(valid.labels[0]).mode == "P"
    assert mean_iou(Oracle(0), valid) == pytest.approx(100)
    classes = np.stack([CLASS_OF[np.asarray(Image.open(label))] for label in valid.labels])
    said = np.roll(np.where(classes == IGNORED, 18, classes), 8, axis=2)
    counted = classes != IGNORED
    overlaps = [
        ((classes == kind) & (said == kind) & counted).sum()
        / (((classes == kind) | (said == kind)) & counted).sum()
        for kind in np.unique([*classes[counted], *said[counted]])
    ]
    assert len(overlaps) == 5
    assert 40 < mean_iou(Oracle(8), valid) < 95
    assert mean_iou(Oracle(8), valid) == pytest.approx(100 * np.mean(overlaps), abs=1e-3)


def test_deeplab_learns_the_miniature(miniature):
    train, valid = read_cityscapes(miniature)
    backbone = network("darts-3")
    initialise(backbone, torch.Generator().manual_seed(0))
    model = build(backbone, 0)
    untrained = mean_iou(model, valid)
    descend(SegmentationTask(model, train, SETTINGS, np.random.default_rng(0)), epochs=8, batch=8, rate=0.02)
    # One class for all pixels has at most a fifth of the mean over five classes.
    assert mean_iou(model, valid) > max(untrained, 20)
