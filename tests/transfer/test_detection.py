"""Searched backbones, and RetinaNet on COCO."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from descent import check_parts, descend

from rlnas_core.images.miniatures import make_coco
from rlnas_core.networks.layers import initialise
from rlnas_core.spaces import get, published
from rlnas_core.training.checkpoint import save_weights
from rlnas_core.transfer.backbone import Backbone, load_backbone
from rlnas_core.transfer.detection import (
    MEASURES,
    DetectionSettings,
    DetectionTask,
    average_precision,
    build,
    detect,
    read_coco,
)

SETTINGS = DetectionSettings(short_side=128, channels=64)
SIZES = {"darts": {"channels": 8, "cells": 3, "imagenet": True}, "mobilenet": {}, "chain": {}}
CHAINS = ("FairNAS-A", "FBNet-C")


def network(name, row=0, classes=4, **sizes):
    space = get(name)
    if name == "chain":
        genes = published()[CHAINS[row]].genes
    else:
        genes = space.sample(row + 1, np.random.default_rng(1))[row]
    return space.network(genes, classes=classes, **(SIZES[name] | sizes))


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coco")
    make_coco(folder, np.random.default_rng(0))
    return folder


@pytest.fixture
def coco(tmp_path):
    make_coco(tmp_path, np.random.default_rng(0), train=4, valid=3)
    return tmp_path


def change(root, edit, split="train2017"):
    path = root / "annotations" / f"instances_{split}.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


# Backbones


@pytest.mark.parametrize("name", SIZES)
def test_backbones_give_features_at_strides_8_16_and_32(name):
    backbone = Backbone(network(name))
    features = backbone(torch.randn(2, 3, 64, 96))
    shapes = [tuple(feature.shape) for feature in features.values()]
    assert shapes == [
        (2, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(backbone.channels, (8, 16, 32), strict=True)
    ]
    assert (
        backbone.channels
        == {
            "darts": [32, 64, 128],
            "mobilenet": [56, 128, 432],
            "chain": [40, 96, 320],
        }[name]
    )


@pytest.mark.parametrize("name", SIZES)
def test_features_of_the_last_stage_are_those_that_the_classifier_reads(name):
    whole, stripped = network(name), network(name)
    stripped.load_state_dict(whole.state_dict())
    images = torch.randn(2, 3, 64, 64)
    features = Backbone(stripped)(images)["out"]
    scores = whole.classifier((features if name == "darts" else whole.last(features)).mean(dim=(2, 3)))
    assert torch.equal(scores, whole(images))


@pytest.mark.parametrize("name", SIZES)
def test_a_backbone_leaves_its_network_as_it_was_and_shares_its_weights(name):
    whole = network(name).eval()
    layers, images = str(whole), torch.randn(1, 3, 64, 64)
    scores = whole(images)
    for stride in (32, 16):
        backbone = Backbone(whole, stride)
        weights = dict(whole.named_parameters())
        shared = dict(backbone.network.named_parameters())
        assert all(weight.data_ptr() == weights[key].data_ptr() for key, weight in shared.items())
        assert {key.split(".")[0] for key in weights.keys() - shared.keys()} == set(whole.head) & {
            key.split(".")[0] for key in weights
        }
    assert str(whole) == layers
    assert torch.equal(whole(images), scores)


@pytest.mark.parametrize(
    ("sizes", "strides"),
    [({"imagenet": False}, "1, 2, 4"), ({"cells": 2}, "16, 32"), ({"cells": 1}, "16")],
)
def test_a_backbone_whose_stages_do_not_fit_is_named(sizes, strides):
    with pytest.raises(
        ValueError, match=rf"got a darts network of . cells .* strides are {strides}; accepted"
    ):
        build(network("darts", **sizes), 3, SETTINGS, 0)


@pytest.mark.parametrize("name", SIZES)
def test_pretrained_weights_of_another_number_of_classes_are_loaded(name, tmp_path):
    own, pretrained = network(name), network(name, classes=7)
    pretrained(torch.randn(2, 3, 64, 64))
    space = get(name)
    arch = space.to_string(pretrained.genes[None])[0]
    save_weights(pretrained, tmp_path / "weights.safetensors", space=name, arch=arch)
    load_backbone(own, tmp_path / "weights.safetensors")
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(own.eval().features(images)[-1], pretrained.eval().features(images)[-1])
    other = network(name, row=1)
    with pytest.raises(ValueError, match="got weights of") as error:
        load_backbone(other, tmp_path / "weights.safetensors")
    assert arch in str(error.value)
    assert space.to_string(other.genes[None])[0] in str(error.value)


def test_pretrained_weights_of_another_width_are_refused(tmp_path):
    pretrained = network("darts", channels=4)
    arch = get("darts").to_string(pretrained.genes[None])[0]
    save_weights(pretrained, tmp_path / "weights.safetensors", space="darts", arch=arch)
    with pytest.raises(
        ValueError, match=r"weights do not fit this backbone, the first is cells\.0.*channels"
    ):
        load_backbone(network("darts"), tmp_path / "weights.safetensors")


# Reading COCO


def test_boxes_are_left_top_right_bottom_and_labels_number_the_categories(coco):
    train, valid = read_coco(coco)
    content = json.loads((coco / "annotations" / "instances_train2017.json").read_text())
    assert train.categories.tolist() == [37, 59, 84]
    assert [path.name for path in train.paths] == [image["file_name"] for image in content["images"]]
    for image in range(4):
        expected = [
            (*one["bbox"][:2], *np.add(one["bbox"][:2], one["bbox"][2:]).tolist(), one["category_id"])
            for one in content["annotations"]
            if one["image_id"] == train.ids[image]
        ]
        own = slice(*train.starts[image : image + 2])
        found = np.column_stack([train.boxes[own], train.categories[train.labels[own]]])
        np.testing.assert_array_equal(found, expected)
    assert len(valid.ids) == 3


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda content: content["annotations"][1].update(image_id=99),
            r"1 annotations have a image_id that is not among its images: 2 \(image_id 99\); add",
        ),
        (
            lambda content: content["annotations"][0].update(category_id=12),
            r"1 annotations have a category_id .* categories: 1 \(category_id 12\); add",
        ),
        (lambda content: content["categories"].append({"id": 90, "name": "toothbrush"}), "category ids"),
        (lambda content: content.pop("images"), "no COCO instances file: KeyError, 'images'; fetch"),
        (lambda content: content["annotations"][1].pop("bbox"), "no COCO instances file: KeyError, 'bbox'"),
        (lambda content: content["annotations"][1]["bbox"].pop(), "no COCO instances file: ValueError"),
    ],
)
def test_wrong_annotations_are_named_before_training(coco, edit, message):
    change(coco, edit)
    with pytest.raises(ValueError, match=rf"instances_.*{message}"):
        read_coco(coco)


def test_missing_images_and_files_are_named(coco):
    (coco / "val2017" / "000000000002.jpg").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"lists 1 images .*val2017: 000000000002\.jpg; unpack val2017"
    ):
        read_coco(coco)
    shutil.rmtree(coco / "train2017")
    with pytest.raises(FileNotFoundError, match="train2017 is missing; give the folder"):
        read_coco(coco)


def test_boxes_without_an_area_are_counted_and_skipped(coco):
    before = read_coco(coco)[0]

    def edit(content):
        content["annotations"][0]["bbox"][2:] = [0, 5]
        content["annotations"][2]["bbox"][2:] = [5, -1]

    change(coco, edit)
    with pytest.warns(UserWarning, match="skipped 2 boxes without an area, of the annotations 1, 3; fix"):
        after = read_coco(coco)[0]
    kept = np.delete(np.arange(len(before.boxes)), [0, 2])
    np.testing.assert_array_equal(after.boxes, before.boxes[kept])


def test_crowds_and_images_without_boxes_do_not_train(coco):
    crowded = read_coco(coco)[0].ids[0]

    def edit(content):
        for annotation in content["annotations"]:
            annotation["iscrowd"] = int(annotation["image_id"] == crowded)

    change(coco, edit)
    train = read_coco(coco)[0]
    task = DetectionTask(build(network("darts"), 3, SETTINGS, 0), train, np.random.default_rng(0))
    assert (len(train.ids), len(task), train.starts[1]) == (4, 3, 0)


def test_a_damaged_image_is_named(coco):
    path = coco / "val2017" / "000000000001.jpg"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"000000000001\.jpg is not a readable image.*replace"):
        detect(build(network("darts"), 3, SETTINGS, 0), read_coco(coco)[1], 2)


# Training


class Seen(torch.nn.Module):
    """Keeps what it is given to train on."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, images, targets):
        self.images, self.targets = images, targets
        return {"classification": self.weight, "bbox_regression": self.weight}


def test_half_of_the_images_are_mirrored_and_their_boxes_with_them(miniature):
    train, _ = read_coco(miniature)
    task = DetectionTask(Seen(), train, np.random.default_rng(0))
    task.loss(np.arange(40), slice(0, 40))
    mirrored = 0
    for row, (image, target) in enumerate(zip(task.model.images, task.model.targets, strict=True)):
        boxes = torch.from_numpy(train.boxes[slice(*train.starts[row : row + 2])])
        flipped = not torch.equal(boxes, target["boxes"])
        mirrored += flipped
        for box, label in zip(target["boxes"].int().tolist(), target["labels"].tolist(), strict=True):
            left, top, right, bottom = box
            middle = image[:, (top + bottom) // 2, (left + right) // 2]
            # Balls are red, pizzas yellow, books blue.
            assert (middle.argmax() == 2) == (label == 2)
    assert 10 <= mirrored <= 30


@pytest.mark.parametrize("name", SIZES)
def test_parts_of_a_batch_have_the_mean_loss_of_the_batch_and_reach_every_weight(name, miniature):
    train, _ = read_coco(miniature)
    model = build(network(name), 3, SETTINGS, 0)
    check_parts(model, lambda rng: DetectionTask(model, train, rng))


def test_new_weights_come_from_the_seed_and_leave_the_global_generator_alone():
    before = torch.random.get_rng_state()
    backbone = network("darts")
    after = torch.random.get_rng_state()
    states = []
    for seed in (0, 0, 1):
        again = network("darts")
        again.load_state_dict(backbone.state_dict())
        torch.random.set_rng_state(after)
        states.append(build(again, 3, SETTINGS, seed).state_dict())
        assert torch.equal(torch.random.get_rng_state(), after)
    assert not torch.equal(before, after)
    same, other = ([key for key in states[0] if not torch.equal(states[0][key], s[key])] for s in states[1:])
    assert same == []
    assert other
    assert not any(".network." in key for key in other)


# Evaluation


def truth(data):
    """The boxes of the annotations as detections."""
    content = json.loads(Path(data.annotations).read_text())
    return np.array([[a["image_id"], *a["bbox"], 1.0, a["category_id"]] for a in content["annotations"]])


def test_perfect_detections_have_an_ap_of_100_and_shifted_ones_less(miniature, capsys):
    _, valid = read_coco(miniature)
    perfect = truth(valid)
    found = average_precision(valid, perfect)
    assert list(found) == list(MEASURES)
    assert [found[key] for key in ("AP", "AP50", "AP75", "APM")] == [pytest.approx(100)] * 4
    assert np.isnan([found["APL"]]).all()
    shifted = perfect.copy()
    shifted[:, 1] += 0.2 * shifted[:, 3]
    moved = average_precision(valid, shifted)
    # A fifth to the side is an overlap of two thirds: above the thresholds from 0.5 to 0.65, 4 of 10.
    assert moved["AP50"] == pytest.approx(100)
    assert moved["AP75"] == 0
    assert moved["AP"] == pytest.approx(40)
    assert capsys.readouterr() == ("", "")


def test_boxes_without_an_area_do_not_count_as_missed(miniature, tmp_path):
    shutil.copytree(miniature, tmp_path / "coco")
    path = tmp_path / "coco/annotations/instances_val2017.json"
    content = json.loads(path.read_text())
    empty = content["annotations"][0] | {"id": 10**6, "bbox": [1, 1, 0, 9], "area": 0}
    path.write_text(json.dumps(content | {"annotations": [*content["annotations"], empty]}))
    with pytest.warns(UserWarning, match="skipped 1 boxes without an area"):
        _, valid = read_coco(tmp_path / "coco")
    assert average_precision(valid, truth(valid)[:-1])["AP"] == pytest.approx(100)


@pytest.mark.parametrize("number", [lambda row: row, lambda row: row // 2 + 1])
def test_numbers_of_boxes_and_fields_that_are_left_out_change_nothing(coco, number):
    def edit(content):
        for row, box in enumerate(content["annotations"]):
            del box["iscrowd"], box["area"]
            box["id"] = number(row)

    change(coco, edit, "val2017")
    _, valid = read_coco(coco)
    assert average_precision(valid, truth(valid))["AP"] == pytest.approx(100)


def test_wrong_categories_and_no_detections_have_an_ap_of_0(miniature):
    _, valid = read_coco(miniature)
    swapped = truth(valid)
    swapped[:, 6] = np.array([59, 84, 37])[np.searchsorted(valid.categories, swapped[:, 6])]
    # Boxes of several things of an image are apart, so that none is right by chance.
    assert average_precision(valid, swapped)["AP50"] == 0
    assert average_precision(valid, swapped[:0])["AP"] == 0


def test_retinanet_learns_the_miniature(miniature):
    train, valid = read_coco(miniature)
    backbone = network("darts")
    initialise(backbone, torch.Generator().manual_seed(0))
    model = build(backbone, 3, SETTINGS, 0)
    untrained = average_precision(valid, detect(model, valid, 8))["AP50"]
    descend(DetectionTask(model, train, np.random.default_rng(0)), epochs=10, batch=4, rate=0.02, clip=1)
    found = detect(model, valid, 8)
    assert set(found[:, 6]) <= {37, 59, 84}
    assert average_precision(valid, found)["AP50"] > untrained + 20
