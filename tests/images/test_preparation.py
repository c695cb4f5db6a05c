"""Which images train and validate, in what form, and that what is prepared is the same each time."""

from functools import partial

import numpy as np
import pytest
import torch
from image_directories import FOLDER, TESTS, as_folder, as_tar, as_zip, image_folder, labels_of, prepared
from PIL import Image

from rlnas_core.images import preparation
from rlnas_core.images.arrays import load
from rlnas_core.images.augmentation import normalise
from rlnas_core.images.preparation import Reading, inspect, prepare


def test_preparing_twice_gives_the_same_bytes(tmp_path):
    for run in ("first", "second"):
        prepare("digits", tmp_path / run, 8)
    for file in (tmp_path / "first").iterdir():
        assert file.read_bytes() == (tmp_path / "second" / file.name).read_bytes()


@pytest.mark.parametrize("layout", [as_folder, as_tar, as_zip])
def test_an_image_folder_trains_on_train_and_validates_on_half_of_test(layout, tmp_path):
    prepare("image-folder", tmp_path / "out", 8, path=layout(tmp_path, FOLDER | TESTS), classes=2)
    train, valid = load(tmp_path / "out", "train"), load(tmp_path / "out", "valid")
    np.testing.assert_array_equal(train.images[:, 0, 0, 0], [0, 10, 20, 30, 1, 11, 21, 31])
    np.testing.assert_array_equal(labels_of(tmp_path / "out", "train"), [0, 0, 0, 0, 1, 1, 1, 1])
    assert len(valid) == 4
    np.testing.assert_array_equal(valid.images[:, 0, 0, 0] % 10, labels_of(tmp_path / "out", "valid"))
    assert valid.images.min() >= 100


@pytest.mark.parametrize("split", [None, "half-of-train"])
def test_a_folder_without_test_images_is_halved(split, tmp_path):
    flat = {name.removeprefix("train/"): value for name, value in FOLDER.items()}
    prepare("image-folder", tmp_path / "out", 8, path=as_folder(tmp_path, flat), split=split)
    parts = ("train", "valid")
    halves = [load(tmp_path / "out", part).images[:, 0, 0, 0] for part in parts]
    values = np.concatenate(halves)
    np.testing.assert_array_equal(np.sort(values), sorted(FOLDER.values()))
    for half, part in zip(halves, parts, strict=True):
        np.testing.assert_array_equal(half % 10, labels_of(tmp_path / "out", part))


def test_a_tenth_of_the_training_images_is_held_out_and_no_test_image(tmp_path):
    names = {f"train/{'ab'[number % 2]}/{number}.png": number for number in range(30)}
    names |= {f"test/{'ab'[number % 2]}/{number}.png": number for number in range(100, 104)}
    prepare("image-folder", tmp_path / "out", 8, path=as_folder(tmp_path, names), split="held-out")
    train, valid = (set(load(tmp_path / "out", part).images[:, 0, 0, 0]) for part in ("train", "valid"))
    assert len(valid) == 3
    assert train | valid == set(range(30))


def test_images_without_class_folders_are_unlabelled_and_all_train(tmp_path):
    path = image_folder(tmp_path / "images", {f"{number}.png": number for number in range(5)})
    description = prepare("image-folder", tmp_path / "out", 8, path=path, classes=7)
    assert (labels_of(tmp_path / "out", "train") == -1).all()
    assert len(load(tmp_path / "out", "train")) == 5
    assert description["classes"] == 7
    assert len(load(tmp_path / "out", "valid")) == 0


def test_fewer_labels_are_among_more_and_are_tested_on_the_same_images(tmp_path):
    names = {f"{kind}/{number}.png": number for kind in "ab" for number in range(20)}
    folder = image_folder(tmp_path / "images", names)
    kept = {}
    for count in (3, 6, None):
        out = tmp_path / str(count)
        prepare("image-folder", out, 8, path=folder, split="half-of-train", per_class=count)
        kept[count] = set(load(out, "train").images[:, 0, 0, 0].tolist())
        assert np.array_equal(load(out, "valid").images, load(tmp_path / "3", "valid").images)
        if count:
            assert np.bincount(labels_of(out, "train")).tolist() == [count, count]
    assert kept[3] <= kept[6] <= kept[None]
    left_out = sorted(
        set(range(20)) - kept[3] - set(load(tmp_path / "3", "valid").images[:, 0, 0, 0].tolist())
    )
    for kind in "ab":
        (folder / kind / f"{left_out[0]}.png").write_bytes(b"not an image, and not read")
    prepare("image-folder", tmp_path / "again", 8, path=folder, split="half-of-train", per_class=3)
    assert np.array_equal(load(tmp_path / "again", "train").images, load(tmp_path / "3", "train").images)


def test_duplicates_are_counted_also_between_training_and_validation(tmp_path):
    folder = image_folder(
        tmp_path / "images",
        {f"train/{kind}/{k}.png": k // 2 for k in range(6) for kind in "a"}
        | {f"train/b/{k}.png": 10 + k for k in range(6)}
        | {f"test/{kind}/{k}.png": 10 + 100 * k for k in range(2) for kind in "ab"},
    )
    Image.open(folder / "train/a/0.png").save(folder / "train/a/0.bmp")  # the same pixels
    _, lines, _ = prepared(tmp_path, split="test")
    assert lines == [
        "4 of 13 training images are duplicates of others",
        "2 of 4 validation images are duplicates of training images",
    ]


def test_classes_of_which_no_image_is_trained_on_are_named(tmp_path):
    folder = image_folder(tmp_path / "images", {f"{kind}/0.png": number for number, kind in enumerate("abc")})
    lines = []
    prepare("image-folder", tmp_path / "out", 8, path=folder, split="half-of-train", log=lines.append)
    kept = set(labels_of(tmp_path / "out", "train").tolist())
    absent = ", ".join(name for number, name in enumerate("abc") if number not in kept)
    assert f"classes without a training image: {absent}" in lines


@pytest.mark.parametrize("decode", ["once", "each-time"])
def test_mean_and_deviation_are_those_of_all_pixels_whatever_is_counted_at_once(
    tmp_path, monkeypatch, decode
):
    monkeypatch.setattr(preparation, "_COUNTED", 500)
    rng, folder = np.random.default_rng(0), tmp_path / "images"
    folder.mkdir()
    pixels = rng.integers(256, size=(70, 8, 8, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number}.png")
    found = prepare("image-folder", tmp_path / "out", 8, path=folder, decode=decode)
    # A central crop is of an image that was resized to a side of 8/7 of its own.
    tolerance = 1e-12 if decode == "once" else 0.1
    np.testing.assert_allclose(found["mean"], pixels.mean(axis=(0, 1, 2)) / 255, rtol=tolerance)
    if decode == "once":
        np.testing.assert_allclose(found["std"], pixels.std(axis=(0, 1, 2)) / 255, rtol=tolerance)


def test_an_archive_cant_be_decoded_each_time_and_that_is_known_before(tmp_path):
    with pytest.raises(ValueError, match=r"decode: got each-time; .*images\.zip isn't a folder"):
        inspect(Reading("image-folder", as_zip(tmp_path, FOLDER), decode="each-time"))


def test_wrong_settings_say_what_was_got_and_what_is_accepted(tmp_path):
    path = as_folder(tmp_path, FOLDER)
    folder = partial(prepare, "image-folder", tmp_path / "out", 8, path=path)
    with pytest.raises(ValueError, match=r"got 'mnist'; accepted: cifar10, cifar100, imagenet16-120"):
        prepare("mnist", tmp_path / "out", 8)
    with pytest.raises(
        ValueError, match=r"got 'thirds'; accepted with these images: half-of-train, held-out$"
    ):
        folder(split="thirds")
    for wrong in ({"decode": "never"}, {"colours": "red"}, {"crop": "centre"}):
        [(name, value)] = wrong.items()
        with pytest.raises(ValueError, match=f"^{name}: got '{value}'; accepted: "):
            folder(**wrong)
    with pytest.raises(ValueError, match=r"^decode each-time: got grey, whole images; accepted: colour"):
        folder(decode="each-time", colours="grey")
    with pytest.raises(ValueError, match=r"^image_size: got 0; accepted"):
        prepare("digits", tmp_path / "out", 0)
    with pytest.raises(ValueError, match=r"got 3, but .* has 2 class folders"):
        folder(classes=3)
    listed = tmp_path / "labels.csv"
    listed.write_text("file,class\ntrain/a/0.png,x\ntrain/b/1.png,y\n")
    with pytest.raises(ValueError, match=r"^classes: got 5, but .*labels\.csv has 2 classes; give 2$"):
        folder(classes=5, labels=listed)
    with pytest.raises(ValueError, match=r"got 4 training images, too few for a batch of 64"):
        folder(batch_size=64)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        prepare("cifar10", tmp_path / "out", 8, path=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="can't be downloaded"):
        prepare("imagenet16-120", tmp_path / "out", 8)


def test_normalised_training_images_have_mean_zero_and_deviation_one(tmp_path):
    prepare("digits", tmp_path, 8)
    train = load(tmp_path, "train")
    images = normalise(torch.from_numpy(np.array(train.images)), train.mean, train.std)
    assert images.mean().abs() < 1e-5
    assert abs(images.std() - 1) < 1e-4
