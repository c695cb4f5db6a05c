"""Directories and archives of images: their classes, and what is refused before a run."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from image_directories import (
    FOLDER,
    as_folder,
    as_tar,
    as_zip,
    image_folder,
    labels_of,
    picture,
    prepared,
    scientific,
)
from PIL import Image

from rlnas_core.images.arrays import load
from rlnas_core.images.preparation import Reading, inspect, prepare
from rlnas_core.images.sources import image_files, refuse_unopenable, refuse_unreadable


def test_a_list_of_files_and_classes_says_what_is_read_and_labelled(tmp_path):
    """Names are below the folder that holds all; the images that it doesn't name are left out."""
    folder = image_folder(tmp_path / "images", {f"all/{number}.png": 10 * number for number in range(8)})
    listed = tmp_path / "labels.csv"
    listed.write_text("file,class,note\n7.png,dog,\n1.png,cat,\nall/3.png,dog,x\n5.png,cat,\n")
    assert image_files(folder, labels=str(listed)).names == ("cat", "dog")
    prepare_these = partial(prepare, "image-folder", image_size=8, path=folder, split="half-of-train")
    description = prepare_these(tmp_path / "out", labels=listed)
    assert description["class_names"] == ["cat", "dog"]
    found = {
        int(image.max()): label
        for split in ("train", "valid")
        for image, label in zip(
            load(tmp_path / "out", split).images, labels_of(tmp_path / "out", split), strict=True
        )
    }
    assert found == {10: 0, 50: 0, 30: 1, 70: 1}
    for text, message in (
        ("file,class\n9.png,cat\n", r"1 files aren't in .*: 9.png; accepted: paths in it, such as all/0.png"),
        ("file,class\n1.png,cat\n1.png,dog\n", "several rows for 1.png; give each one class"),
        ("file,class\n1.png,cat\nall/1.png,dog\n", "several rows for all/1.png; give each one class"),
        ("file,class\n1.png,\n", "no class or several rows for 1.png"),
        ("file,class\n", "got no rows"),
        (
            "name,label\n1.png,cat\n",
            "got the columns name, label; class and file are missing; accepted: a CSV",
        ),
        ("file,kind\n1.png,cat\n", "got the columns file, kind; class is missing"),
        ("file;class\n1.png;cat\n", "separated by commas, whose first row is file,class"),
    ):
        listed.write_text(text)
        with pytest.raises(ValueError, match=message):
            prepare_these(tmp_path / "other", labels=listed)


def test_images_can_be_left_unlabelled_whatever_their_directories(tmp_path):
    names = {"2023/0.png": 0, "2023/1.png": 10, "2024/may/2.png": 20, "3.png": 30}
    folder = image_folder(tmp_path / "images", names)
    description = prepare("image-folder", tmp_path / "out", 8, path=folder, labels=False, classes=7)
    assert (description["labelled"], description["classes"]) == (False, 7)
    assert load(tmp_path / "out", "train").images.max(axis=(1, 2, 3)).tolist() == [0, 10, 20, 30]
    assert labels_of(tmp_path / "out", "train").tolist() == [-1] * 4


def test_every_unreadable_image_is_named_in_one_error(tmp_path):
    path = as_folder(tmp_path, FOLDER)
    (path / "train/a/1.png").write_bytes(b"no image")
    (path / "train/b/2.png").write_bytes(picture(3)[:40])
    with pytest.raises(ValueError, match=r"2 unreadable images.*train/a/1\.png, train/b/2\.png"):
        prepare("image-folder", tmp_path / "out", 8, path=path)


def test_a_link_to_an_image_that_is_gone_is_named(tmp_path):
    path = as_folder(tmp_path, FOLDER)
    (path / "train/a/gone.png").symlink_to("nowhere.png")
    with pytest.raises(
        ValueError, match=r"1 unreadable images.*: train/a/gone\.png; the first: not an image"
    ):
        refuse_unreadable(path, image_files(path).train.names)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_images_with_values_that_are_no_numbers_are_refused_by_name(value, tmp_path):
    path = scientific(tmp_path / "images", "float32", "tif", np.eye(8))
    Image.fromarray(np.where(np.eye(8), value, 0).astype(np.float32)).save(path / "a" / "4.tif")
    with pytest.raises(ValueError, match=r"1 unreadable images.*a/4\.tif; the first: .*finite numbers"):
        refuse_unreadable(path, image_files(path).train.names)
    with pytest.raises(ValueError, match=r"a/4\.tif"):
        prepare("image-folder", tmp_path / "out", 8, path=path, split="half-of-train")


def test_what_headers_tell_of_images_that_are_decoded_each_time_is_told_before(tmp_path):
    path = as_folder(tmp_path, FOLDER)
    pictures = inspect(Reading("image-folder", path, decode="each-time"))[0].train.files
    refuse_unopenable(path, pictures)
    Path(pictures[1]).write_bytes(b"no image")
    Path(pictures[2]).write_bytes(b"")
    names = ", ".join(str(Path(name).relative_to(path)) for name in pictures[1:3])
    with pytest.raises(ValueError, match=rf"2 unreadable images, remove or replace them: {names};"):
        refuse_unopenable(path, pictures)


@pytest.mark.parametrize("layout", [as_folder, as_tar, as_zip])
def test_images_damaged_anywhere_are_always_refused_by_name(layout, tmp_path):
    path, rng = layout(tmp_path, FOLDER), np.random.default_rng(0)
    file = path / "train/b/2.png" if path.is_dir() else path
    sound, messages = file.read_bytes(), []
    for copy in range(60):
        content = bytearray(sound)
        for place in rng.integers(len(content), size=4):
            content[place] = rng.integers(256)
        file.write_bytes(content[: rng.integers(len(content))] if copy % 4 == 0 else content)
        try:
            prepare("image-folder", tmp_path / "out", 8, path=path)
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 15
    assert all(path.name in message for message in messages)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"a/1.png": 1, "b/2.png": 1, "3.png": 1}, r"some images are in class folders \(a, b\)"),
        (
            {"train/a/1.png": 1, "train/b/1.png": 1, "test/c/2.png": 1},
            "only in training: a, b; only in test: c",
        ),
        (
            {"train/1.png": 1, "bus/1.png": 1},
            "'bus/1.png' is neither in train/ nor in test.*if these folders are classes, rename those with",
        ),
        (
            {"train/a/1.png": 1, "Test/a/1.png": 1, "val/a/1.png": 1},
            "got several folders of test images: test, val; give one and leave the others out",
        ),
        (
            {f"{name}/1.png": 1 for name in "abcdefg"} | {"1.png": 1},
            r"in class folders \(a, b, c, d, e and 2 more\)",
        ),
        (
            {"train/a/1.png": 1, "train/b/1.png": 1, "test/2.png": 1},
            r"training images are in class folders \(a, b\) and test images in none",
        ),
    ],
)
def test_odd_folders_are_refused(names, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        prepare("image-folder", tmp_path / "out", 8, path=as_folder(tmp_path, names))


def test_an_enormous_image_and_an_empty_file_are_named_before_the_run(tmp_path, monkeypatch):
    folder = image_folder(tmp_path / "images", {"1.png": 0})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    Image.new("1", (100, 30)).save(folder / "2.png")
    (folder / "3.png").touch()
    with pytest.raises(
        ValueError, match=r"2 unreadable images, .*: 2\.png, 3\.png; the first: .*\(3000 pixels\) exceeds"
    ):
        refuse_unreadable(folder, image_files(folder).train.names)
    with pytest.raises(ValueError, match=r"2 unreadable images.*: 2\.png, 3\.png"):
        refuse_unopenable(folder, np.array([str(folder / f"{k}.png") for k in (1, 2, 3)]))


@pytest.mark.parametrize("folder", ["cats", "train/cats"])
def test_images_of_one_class_are_unlabelled(folder, tmp_path):
    image_folder(tmp_path / "images", {f"{folder}/{k}.png": k for k in range(4)})
    images, _, described = prepared(tmp_path, classes=7)
    assert len(images) == 4
    assert (described["labelled"], described["classes"], described["class_names"]) == (False, 7, [])
    listed = tmp_path / "labels.csv"
    listed.write_text(
        "file,class\n1.png,cat\n2.png,cat\n" if folder == "cats" else "file,class\ntrain/cats/1.png,cat\n"
    )
    with pytest.raises(ValueError, match=r"labels\.csv: got the class cat alone; give two or more"):
        prepared(tmp_path, labels=listed)


def test_training_and_test_folders_are_known_in_any_case(tmp_path):
    image_folder(
        tmp_path / "images",
        {f"{part}/{kind}/{k}.png": k for part in ("Training", "TEST") for kind in "ab" for k in range(4)},
    )
    images, _, described = prepared(tmp_path)
    assert described["class_names"] == ["a", "b"]
    assert len(images) == 8
    assert len(load(tmp_path / "out", "valid")) == 4


def test_further_pages_of_an_image_are_left_out_and_the_log_says_so(tmp_path):
    path, lines = as_folder(tmp_path, FOLDER), []
    pages = [Image.new("RGB", (8, 8), (value,) * 3) for value in (7, 200)]
    pages[0].save(path / "train/a/0.tif", save_all=True, append_images=pages[1:])
    prepare("image-folder", tmp_path / "out", 8, path=path, log=lines.append)
    assert lines[1:] == ["1 of 9 images have several frames or pages: only the first is used"]
