"""What the images and the time decide, and that every choice can be made instead."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from rlnas_core.configuration.checks import ConfigurationError, validate
from rlnas_core.configuration.choices import GIVEN, choose_settings
from rlnas_core.configuration.derived import model_limit
from rlnas_core.configuration.plan import training_seconds
from rlnas_core.images.survey import Survey, survey
from rlnas_core.search.choice import random_choices
from rlnas_core.spaces import get

pytestmark = pytest.mark.usefixtures("wide_vectors")
CONFIG = Path(__file__).parents[2] / "config"
SCHEMA = yaml.safe_load((CONFIG / "schemas/config.schema.yaml").read_text())


def seen(**changes):
    labels = np.repeat(np.arange(10), 200)
    facts = {
        "images": changes.get("train", 2000),
        "train": 2000,
        "test": 0,
        "classes": 10,
        "labels": labels,
        "short_side": 40,
        "grey": 0,
        "elongated": 0,
    }
    facts |= changes
    if not facts["classes"]:
        facts["labels"] = np.full(facts["train"], -1)
    return Survey(**facts)


def chosen(found, **given):
    config, choices = choose_settings("photos", "photos.zip", found, given=given)
    return validate(config, SCHEMA), {one.name: one for one in choices}


def test_images_say_how_they_are_read():
    config, choices = chosen(seen())
    images = config["datasets"]["images"]
    assert (images["colours"], images["crop"], images["split"]) == ("colour", "whole", "held-out")
    assert images["image_size"] in (16, 24, 32)
    assert choices["image_size"].why.startswith("median short side 40")
    config, _ = chosen(seen(grey=1, elongated=0.5, short_side=13, test=100))
    images = config["datasets"]["images"]
    assert (images["colours"], images["crop"], images["split"]) == ("grey", "square", "test")
    assert images["image_size"] <= 12


def test_more_time_means_more_epochs_and_larger_images():
    short, long = (chosen(seen(), minutes=minutes)[0] for minutes in (1, 300))
    assert short["datasets"]["images"]["image_size"] < long["datasets"]["images"]["image_size"] == 32
    assert short["supernet"]["cells"] < long["supernet"]["cells"] == 5
    same = [chosen(seen(), minutes=minutes, image_size=32)[0] for minutes in (30, 60)]
    assert same[0]["supernet"]["epochs"] < same[1]["supernet"]["epochs"]


@pytest.mark.parametrize("space", ["nas_bench_201", "darts", "mobilenet"])
def test_every_space_gets_a_sound_configuration_with_and_without_labels(space):
    for classes in (10, 0):
        config, _ = chosen(seen(classes=classes), space=space, minutes=60)
        assert config["model"]["labelled"] == ("images" if classes else None)
        assert config["model"]["few"] == (["few10", "few100"] if classes else [])
        assert config["datasets"]["images"]["classes"] == 10
        assert config["retraining"][space]["images"]["network"]["epochs"] >= 1


def test_no_network_is_that_of_the_epoch_with_the_best_accuracy_on_the_images_that_measure_it():
    config, _ = chosen(seen())
    trained = config["retraining"]["nas_bench_201"]
    assert {name: of["network"]["kept"] for name, of in trained.items()} == dict.fromkeys(
        ("images", "few10", "few100"), "last"
    )


@pytest.mark.parametrize(
    ("space", "file", "dataset"),
    [("darts", "config.yaml", "cifar10full"), ("mobilenet", "imagenet.yaml", "imagenet")],
)
def test_a_supernet_is_trained_as_the_reference_trains_that_of_its_space(space, file, dataset):
    """Sizes, epochs and batches are chosen; learning rates of larger batches are scaled to the batch."""
    reference = yaml.safe_load((CONFIG / file).read_text())["large_spaces"][space][dataset]["supernet"]
    supernet = chosen(seen(), space=space, minutes=60)[0]["large_spaces"][space]["images"]["supernet"]
    for name in ("learning_rate", "final_learning_rate"):
        if name in reference:
            reference[name] *= supernet["batch_size"] / reference["batch_size"]
    left_out = {"channels", "cells", "epochs", "batch_size", "lighting", "norm_batch"}
    expected = {name: value for name, value in reference.items() if name not in left_out}
    assert {name: supernet[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("space", ["nas_bench_201", "darts", "mobilenet"])
def test_epochs_fill_the_time_with_networks_as_large_as_the_largest_of_a_sample(space):
    minutes = {"nas_bench_201": 15, "darts": 30, "mobilenet": 60}[space]
    given = {"minutes": minutes, "cores": 1, "image_size": 16, "labels": [], "retrainings": 1}
    given |= {} if space == "mobilenet" else {"cells": 3}
    config, choices = chosen(seen(), space=space, **given)
    network = {"channels": 16, "cells": 3} if space == "nas_bench_201" else {}
    network = {"channels": 16, "cells": 3, "imagenet": False} if space == "darts" else network
    flops = get(space).cost(
        get(space).sample(1000, np.random.default_rng(0)), **network, image_size=16, classes=10
    )[1]
    batch = config["retraining"][space]["images"]["network"]["batch_size"]
    large, mean = (
        training_seconds(space, of, batch, 1800 / batch, eager=True) for of in (flops.max(), flops.mean())
    )
    epochs = choices["retraining_epochs"].value
    assert 12 < epochs < 100
    assert epochs == int(2 / 3 * 0.75 * 60 * minutes / (3 * large + mean))


@pytest.mark.parametrize("test", [0, 100])
def test_the_time_and_few_labels_are_of_the_images_that_a_given_split_leaves(test):
    given = {"image_size": 32, "cells": 5, "labels": [10, 95, 150]}
    half = chosen(seen(test=test), split="half-of-train", **given)[0]
    assert half["model"]["few"] == ["few10", "few95"]  # of 100 that are left of 200
    tenth = chosen(seen(test=test), split="held-out", **given)[0]
    assert tenth["model"]["few"] == ["few10", "few95", "few150"]
    epochs = [config["supernet"]["epochs"] for config in (half, tenth)]
    assert epochs[0] == pytest.approx(1.8 * epochs[1], rel=0.02)


def test_every_choice_can_be_made_instead():
    given = {
        "space": "darts", "image_size": 16, "colours": "grey", "crop": "square", "split": "half-of-train",
        "categories": 7, "params": 0.5, "channels": 8, "cells": 4, "seeds": 2, "retrainings": 1,
        "labels": [20], "epochs": 3, "retraining_epochs": 4, "minutes": 1, "cores": 1, "limit_size": 32,
    }  # fmt: skip
    assert set(given) | {"flops"} == set(GIVEN)
    config, choices = chosen(seen(), **given)
    reasons = {name: one.why for name, one in choices.items() if name in given}
    assert reasons.pop("categories") == "given, but without effect here"  # there are classes
    assert set(reasons.values()) == {"given"}
    images, network = config["datasets"]["images"], config["retraining"]["darts"]["images"]["network"]
    assert [images[name] for name in ("image_size", "colours", "crop", "split")] == [
        *(16, "grey", "square", "half-of-train")
    ]
    assert (network["channels"], network["cells"], network["epochs"]) == (8, 4, 4)
    assert config["large_spaces"]["darts"]["images"]["supernet"]["epochs"] == 3
    assert config["model"]["limit"] == {"measure": "params", "most": 0.5, "image_size": 32}
    assert (config["model"]["seeds"], config["model"]["few"]) == ([0, 1], ["few20"])
    unlabelled, _ = chosen(seen(classes=0), categories=7)
    assert unlabelled["datasets"]["images"]["classes"] == 7
    _, choices = chosen(seen(classes=0), space="mobilenet", channels=8, cells=1, labels=[5], retrainings=4)
    unused = {name for name, one in choices.items() if one.why == "given, but without effect here"}
    assert unused == {"channels", "cells", "labels", "retrainings"}
    with pytest.raises(ValueError, match="got flops=3 and params=1; accepted: one limit"):
        chosen(seen(), flops=3, params=1)
    with pytest.raises(ValueError, match="got unknown choice size; accepted: space, image_size"):
        choose_settings("photos", "photos.zip", seen(), given={"size": 3})


def test_a_list_of_labels_leaves_the_searched_images_unlabelled():
    config, _ = choose_settings("photos", "photos.zip", seen(images=40_000), "labels.csv")
    assert config["datasets"]["images"]["labels"] is False
    assert config["datasets"]["labelled"]["labels"] == "labels.csv"
    few, _ = choose_settings("photos", "photos.zip", seen(), "labels.csv")
    assert config["supernet"]["epochs"] < few["supernet"]["epochs"]  # they train on all images
    assert (config["model"]["images"], config["model"]["labelled"]) == ("images", "labelled")


@pytest.mark.parametrize("space", ["nas_bench_201", "darts", "mobilenet"])
def test_a_limit_below_the_cheapest_network_is_refused_before_any_job(space):
    for measure in ("flops", "params"):
        with pytest.raises(
            ConfigurationError, match=rf"model.limit.most: got 0.001 million {measure}; accepted"
        ):
            chosen(seen(), space=space, **{measure: 0.001})


@pytest.mark.parametrize(
    ("name", "value"),
    [("space", "resnet"), ("image_size", "abc"), ("image_size", -3), ("seeds", [0, 0]), ("seeds", 0),
     ("labels", 10), ("labels", ["a"]), ("minutes", 0), ("flops", -1)],
)  # fmt: skip
def test_a_value_of_the_wrong_kind_is_refused_with_what_is_accepted(name, value):
    with pytest.raises(ValueError, match=rf"SET: got {name}={re.escape(str(value))}; accepted: "):
        choose_settings("photos", "photos.zip", seen(), given={name: value})


def test_a_handful_of_images_is_refused_before_training():
    for facts in ({"train": 9, "classes": 0}, {"train": 10, "labels": np.arange(10)}):
        with pytest.raises(ValueError, match=r"IMAGES: got 9 images to train on, .*; accepted: 10 or more"):
            chosen(seen(**facts))
    chosen(seen(train=10, classes=0))


@pytest.mark.parametrize(
    ("space", "flops"), [("nas_bench_201", 0.1), ("darts", 0.1), ("darts", 1.3), ("mobilenet", 2)]
)
def test_a_limit_that_no_random_network_meets_is_refused_before_any_job(space, flops):
    """Below the cheapest network, and just above it, where evolution would have none to begin with."""
    given = {"space": space, "image_size": 8, "cells": 8}
    message = r"got .*; accepted: at least (\S+), the cost that one in 5,000 random networks stays within"
    with pytest.raises(ConfigurationError, match=message) as raised:
        chosen(seen(), flops=flops, **given)
    least = float(re.search(message, str(raised.value))[1])
    config, _ = chosen(seen(), flops=least, **given)
    limit = model_limit(config)
    drawn = random_choices(get(space), limit, np.random.default_rng(0), 3)
    assert limit.keeps(get(space), drawn).all()


def test_a_model_of_what_isnt_configured_names_what_is_missing():
    config, _ = choose_settings("photos", "photos.zip", seen())
    for change, message in (
        ({"images": "gone"}, "model.images: got 'gone', an unknown dataset; accepted: images, few10, few100"),
        ({"space": "darts"}, "model.images: got 'images'; give its supernet in large_spaces.darts"),
        (
            {"space": "darts"},
            "model.labelled: got 'images'; give its network and seeds in retraining.darts.images",
        ),
        ({"seeds": []}, "model.seeds: got []; accepted: 1 or more of them"),
    ):
        with pytest.raises(ConfigurationError) as raised:
            validate({**config, "model": config["model"] | change}, SCHEMA)
        assert message in str(raised.value)


def test_survey_tells_grey_from_colour_and_long_from_square(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(4):
        grey = Image.fromarray(rng.integers(256, size=(10, 30), dtype=np.uint8))
        grey.convert("RGB").save(tmp_path / f"{number}.jpg")
    found = survey(tmp_path)
    assert (found.train, found.classes, found.short_side, found.grey, found.elongated) == (4, 0, 10, 1, 1)
    (tmp_path / "0.jpg").write_bytes(b"no image")
    Image.fromarray(rng.integers(256, size=(12, 12, 3), dtype=np.uint8)).save(tmp_path / "1.jpg")
    found = survey(tmp_path)
    assert (found.grey, found.elongated) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    for file in tmp_path.iterdir():
        file.write_bytes(b"no image")
    with pytest.raises(ValueError, match="none of its images can be read"):
        survey(tmp_path)


def test_directories_that_are_no_classes_leave_their_images_unlabelled(tmp_path):
    for year in ("2023", "2024"):
        (tmp_path / year).mkdir()
        for number in range(10):
            Image.new("RGB", (8, 8)).save(tmp_path / year / f"{number}.png")
    for labels, classes in ((None, 2), (False, 0)):
        found = survey(tmp_path, labels)
        assert (found.train, found.classes) == (20, classes)
        config, _ = choose_settings("own", tmp_path, found, labels)
        assert config["datasets"]["images"].get("labels") is labels
        assert config["datasets"]["images"]["split"] == ("held-out" if classes else None)
        assert config["model"]["labelled"] == ("images" if classes else None)


def test_a_survey_passes_over_what_is_unreadable_and_gone(tmp_path):
    """They are named before the first job, all at once."""
    Image.new("RGB", (40, 30), "red").save(tmp_path / "sound.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    found = survey(tmp_path)
    assert (found.train, found.short_side, found.elongated) == (3, 30, 1)
