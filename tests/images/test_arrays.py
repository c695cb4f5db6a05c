import dataclasses
import hashlib
import io
import itertools
import json
import pickle
import tarfile
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from cifar import facts, pickled, serving, tarred, tiny_cifar10
from PIL import Image

from rlnas_core.images import arrays, sources
from rlnas_core.images.arrays import Reader, augment, draw_crops, load, normalise, prepare

CIFAR10_JPEG = Path(__file__).parents[3] / "shared" / "data" / "cifar10_jpeg.tar.xz"


def picture(value: int, size: int = 8, suffix: str = "png") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((size, size, 3), value, np.uint8)).save(stream, suffix)
    return stream.getvalue()


def image_folder(root: Path, names: dict[str, int]) -> Path:
    for name, value in names.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(value))
    return root


def labels_of(folder: Path, split: str) -> np.ndarray:
    return np.load(folder / f"{split}_labels.npy")


# Sources


def test_digits_are_one_channel_in_fixed_halves(tmp_path):
    description = prepare("digits", tmp_path, 8)
    train, valid = load(tmp_path, "train"), load(tmp_path, "valid")
    assert train.images.shape == (899, 8, 8, 1)
    assert valid.images.shape == (898, 8, 8, 1)
    assert isinstance(train.images, np.memmap)
    assert train.images.dtype == np.uint8
    assert train.images.max() == 255
    assert labels_of(tmp_path, "train").dtype == np.int64
    assert (description["classes"], train.pad, train.flip) == (10, 1, False)
    assert train.mean == pytest.approx([(train.images / 255).mean()])
    assert train.std == pytest.approx([(train.images / 255).std()])
    assert description == json.loads((tmp_path / "dataset.json").read_text())


def test_preparing_twice_gives_the_same_bytes(tmp_path):
    for run in ("first", "second"):
        prepare("digits", tmp_path / run, 8)
    for file in (tmp_path / "first").iterdir():
        assert file.read_bytes() == (tmp_path / "second" / file.name).read_bytes()


FOLDER = {
    f"train/{name}/{number}.png": 10 * number + row for row, name in enumerate("ab") for number in range(4)
}
TESTS = {
    f"test/{name}/{number}.png": 100 + 10 * number + row
    for row, name in enumerate("ab")
    for number in range(4)
}


def as_folder(tmp_path: Path, names: dict[str, int]) -> Path:
    return image_folder(tmp_path / "images", names)


def as_tar(tmp_path: Path, names: dict[str, int]) -> Path:
    content = {f"./{name}": picture(value) for name, value in reversed(names.items())}
    return tarred(content, tmp_path / "images.tar.xz", "w:xz")


def as_zip(tmp_path: Path, names: dict[str, int]) -> Path:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for name, value in names.items():
            archive.writestr(f"images/{name}", picture(value))
        archive.writestr("images/README.txt", "not an image")
    return tmp_path / "images.zip"


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


def test_a_list_of_files_and_classes_says_what_is_read_and_labelled(tmp_path):
    """Names are below the folder that holds all; the images that it doesn't name are left out."""
    folder = image_folder(tmp_path / "images", {f"all/{number}.png": 10 * number for number in range(8)})
    listed = tmp_path / "labels.csv"
    listed.write_text("file,class,note\n7.png,dog,\n1.png,cat,\nall/3.png,dog,x\n5.png,cat,\n")
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
        ("file,class\n1.png,\n", "no class or several rows for 1.png"),
        ("file,class\n", "got no rows"),
        ("name,label\n1.png,cat\n", "give a CSV of the columns file and class"),
    ):
        listed.write_text(text)
        with pytest.raises(ValueError, match=message):
            prepare_these(tmp_path / "other", labels=listed)


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


def test_grey_images_have_one_channel_and_squares_are_cut_from_the_centre(tmp_path):
    (tmp_path / "images").mkdir()
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = (255, 0, 0)
    Image.fromarray(wide).save(tmp_path / "images/1.png")
    asked = {"path": tmp_path / "images", "colours": "grey", "crop": "square"}
    description = prepare("image-folder", tmp_path / "out", 4, **asked)
    assert (description["in_channels"], description["crop"]) == (1, "square")
    images = load(tmp_path / "out", "train").images
    assert images.shape == (1, 4, 4, 1)
    assert (images == 76).all()  # the luma of red
    prepare("image-folder", tmp_path / "whole", 4, path=tmp_path / "images")
    assert load(tmp_path / "whole", "train").images[..., 0].mean() == pytest.approx(255 / 3, abs=1)


def test_every_unreadable_image_is_named_in_one_error(tmp_path):
    path = as_folder(tmp_path, FOLDER)
    (path / "train/a/1.png").write_bytes(b"no image")
    (path / "train/b/2.png").write_bytes(picture(3)[:40])
    with pytest.raises(ValueError, match=r"2 unreadable images.*train/a/1\.png, train/b/2\.png"):
        prepare("image-folder", tmp_path / "out", 8, path=path)


def scientific(root: Path, dtype: str, suffix: str, values: np.ndarray) -> Path:
    """Twelve images of two classes, each a ramp between its own lowest and highest value."""
    for number in range(12):
        file = root / "ab"[number % 2] / f"{number}.{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((values * (number + 1)).astype(dtype)).save(file)
    return root


@pytest.mark.parametrize(
    ("dtype", "suffix", "values"),
    [
        ("uint16", "png", 1000 + np.arange(64).reshape(8, 8) * 50),
        ("uint16", "tif", 1000 + np.arange(64).reshape(8, 8) * 5),
        ("int32", "tif", np.arange(64).reshape(8, 8) * 100_000 - 10),
        ("float32", "tif", np.arange(64).reshape(8, 8) / 1000 - 0.01),
    ],
)
@pytest.mark.parametrize("decode", ["once", "each-time"])
def test_images_of_many_bits_and_floats_are_scaled_by_their_range(dtype, suffix, values, decode, tmp_path):
    path, lines = scientific(tmp_path / "images", dtype, suffix, values), []
    prepare(
        "image-folder", tmp_path / "out", 8, path=path, split="half-of-train", decode=decode, log=lines.append
    )
    train = load(tmp_path / "out", "train")
    if decode == "once":
        expected = np.rint(np.arange(64).reshape(8, 8) * (255 / 63))
        assert np.abs(train.images - expected[..., None]).max() <= 2
    images = train.plain(np.arange(6), torch.device("cpu"))
    assert images.std() == pytest.approx(1, abs=0.2)
    assert [line for line in lines if "more than 8 bits or floating-point values" in line]


def test_further_pages_of_an_image_are_left_out_and_the_log_says_so(tmp_path):
    path, lines = as_folder(tmp_path, FOLDER), []
    pages = [Image.new("RGB", (8, 8), (value,) * 3) for value in (7, 200)]
    pages[0].save(path / "train/a/0.tif", save_all=True, append_images=pages[1:])
    prepare("image-folder", tmp_path / "out", 8, path=path, log=lines.append)
    assert lines[1:] == ["1 of 9 images have several frames or pages: only the first is used"]


def test_a_link_to_an_image_that_is_gone_is_named(tmp_path):
    path = as_folder(tmp_path, FOLDER)
    (path / "train/a/gone.png").symlink_to("nowhere.png")
    with pytest.raises(
        ValueError, match=r"1 unreadable images.*: train/a/gone\.png; the first: not an image"
    ):
        sources.refuse_unreadable(path, 9)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_images_with_values_that_are_no_numbers_are_refused_by_name(value, tmp_path):
    path = scientific(tmp_path / "images", "float32", "tif", np.eye(8))
    Image.fromarray(np.where(np.eye(8), value, 0).astype(np.float32)).save(path / "a" / "4.tif")
    with pytest.raises(ValueError, match=r"1 unreadable images.*a/4\.tif; the first: .*finite numbers"):
        sources.refuse_unreadable(path, 12)
    with pytest.raises(ValueError, match=r"a/4\.tif"):
        prepare("image-folder", tmp_path / "out", 8, path=path, split="half-of-train")


def test_an_archive_cant_be_decoded_each_time_and_that_is_known_before(tmp_path):
    with pytest.raises(ValueError, match=r"decode: got each-time; .*images\.zip isn't a folder"):
        arrays.inspect("image-folder", as_zip(tmp_path, FOLDER), decode="each-time")


def test_what_headers_tell_of_images_that_are_decoded_each_time_is_told_before(tmp_path):
    path = as_folder(tmp_path, FOLDER)
    pictures = arrays.inspect("image-folder", path, decode="each-time")[0].train.files
    sources.refuse_unopenable(path, pictures)
    Path(pictures[1]).write_bytes(b"no image")
    Path(pictures[2]).write_bytes(b"")
    names = ", ".join(str(Path(name).relative_to(path)) for name in pictures[1:3])
    with pytest.raises(ValueError, match=rf"2 unreadable images, remove or replace them: {names};"):
        sources.refuse_unopenable(path, pictures)


def test_a_damaged_entry_of_an_archive_is_named(tmp_path):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(4):
            archive.writestr(f"a/{number}.png", picture(number, 64, "bmp"))
    content = bytearray(path.read_bytes())
    place = content.find(b"a/2.png") + 7
    content[place : place + 20] = b"\xff" * 20
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"images\.zip: 1 unreadable images.*a/2\.png"):
        sources.refuse_unreadable(path, 4)


def test_an_encrypted_archive_is_refused_before_its_images_are_read(tmp_path):
    path = as_zip(tmp_path, FOLDER)
    content = bytearray(path.read_bytes())
    place = 0
    while (place := content.find(b"PK\x01\x02", place)) >= 0:
        content[place + 8] |= 1  # the flag of each entry in the directory
        place += 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"images\.zip.*train/a/0\.png is encrypted"):
        sources.image_files(path)


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


def test_a_damaged_archive_is_named(tmp_path):
    path = as_tar(tmp_path, FOLDER)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"images\.tar\.xz is neither"):
        prepare("image-folder", tmp_path / "out", 8, path=path)


def test_links_in_an_archive_are_not_followed(tmp_path):
    with tarfile.open(tmp_path / "images.tar", "w") as archive:
        member = tarfile.TarInfo("a/link.png")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(ValueError, match="has no images"):
        prepare("image-folder", tmp_path / "out", 8, path=tmp_path / "images.tar")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"a/1.png": 1, "b/2.png": 1, "3.png": 1}, r"some images are in class folders \(a, b\)"),
        (
            {"train/a/1.png": 1, "train/b/1.png": 1, "test/c/2.png": 1},
            "only in training: a, b; only in test: c",
        ),
        ({"train/a/1.png": 1, "rest/b/1.png": 1}, "neither in train/ nor in test"),
    ],
)
def test_odd_folders_are_refused(names, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        prepare("image-folder", tmp_path / "out", 8, path=as_folder(tmp_path, names))


def prepared(folder: Path, size: int = 8, **settings) -> tuple[np.ndarray, list[str], dict]:
    """Training images of the folder `images`, the log's lines and the description."""
    lines = []
    described = prepare(
        "image-folder", folder / "out", size, path=folder / "images", log=lines.append, **settings
    )
    return load(folder / "out", "train").images, lines[1:], described


def test_every_mode_of_a_colour_gives_that_colour(tmp_path):
    (tmp_path / "images").mkdir()
    colour = Image.new("RGB", (9, 7), (204, 0, 51))
    for mode, suffix in (("RGB", "bmp"), ("RGBA", "png"), ("P", "png"), ("CMYK", "tif")):
        colour.convert(mode).save(tmp_path / f"images/{mode}.{suffix}")
    images, _, _ = prepared(tmp_path)
    assert np.abs(images.astype(int) - (204, 0, 51)).max() <= 3
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    for mode in ("L", "LA"):
        colour.convert("L").convert(mode).save(tmp_path / f"images/{mode}.png")
    images, _, _ = prepared(tmp_path)
    assert (images == 67).all()


@pytest.mark.parametrize("colours", ["colour", "grey"])
def test_transparent_pixels_are_white_in_every_mode(colours, tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "images/1.png")
    Image.new("LA", (8, 8), (0, 0)).save(tmp_path / "images/2.png")
    Image.new("P", (8, 8)).save(tmp_path / "images/3.png", transparency=bytes(1))
    images, _, _ = prepared(tmp_path, colours=colours)
    assert len(images) == 3
    assert (images == 255).all()


@pytest.mark.parametrize("decode", ["once", "each-time"])
def test_a_photograph_is_turned_as_its_camera_was_held(decode, tmp_path):
    (tmp_path / "images").mkdir()
    left_is_black, tag = np.full((8, 8), 255, np.uint8), Image.Exif()
    left_is_black[:, :4], tag[0x0112] = 0, 6  # the camera was held upright: left is top
    Image.fromarray(left_is_black).save(tmp_path / "images/1.png", exif=tag)
    prepared(tmp_path, decode=decode)
    [image] = load(tmp_path / "out", "train").plain(np.arange(1), torch.device("cpu"))
    assert image[:, :2].max() < image[:, -2:].min()


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


def test_images_of_any_size_and_shape_are_brought_to_one(tmp_path):
    (tmp_path / "images").mkdir()
    for number, shape in enumerate([(1, 1), (1, 3000), (3000, 2), (7, 9), (64, 64)]):
        Image.new("RGB", shape, (50, 60, 70)).save(tmp_path / f"images/{number}.png")
    for settings in ({}, {"crop": "square"}):
        images, _, _ = prepared(tmp_path, **settings)
        assert images.shape == (5, 8, 8, 3)
        assert (images == (50, 60, 70)).all()
    prepared(tmp_path, decode="each-time")
    assert load(tmp_path / "out", "train").plain(np.arange(5), torch.device("cpu")).shape == (5, 3, 8, 8)


def test_an_enormous_image_and_an_empty_file_are_named_before_the_run(tmp_path, monkeypatch):
    folder = image_folder(tmp_path / "images", {"1.png": 0})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    Image.new("1", (100, 30)).save(folder / "2.png")
    (folder / "3.png").touch()
    with pytest.raises(
        ValueError, match=r"2 unreadable images, .*: 2\.png, 3\.png; the first: .*\(3000 pixels\) exceeds"
    ):
        sources.refuse_unreadable(folder, 3)
    with pytest.raises(ValueError, match=r"2 unreadable images.*: 2\.png, 3\.png"):
        sources.refuse_unopenable(folder, np.array([str(folder / f"{k}.png") for k in (1, 2, 3)]))


@pytest.mark.parametrize("layout", [as_folder, as_tar, as_zip])
def test_names_may_be_in_any_script(layout, tmp_path):
    path = layout(
        tmp_path, {f"{kind}/{k} \u00e9.png": k for kind in ("Katze \u00fc", "\u732b") for k in range(4)}
    )
    described = prepare("image-folder", tmp_path / "out", 8, path=path)
    assert described["class_names"] == ["Katze \u00fc", "\u732b"]
    assert json.loads((tmp_path / "out/dataset.json").read_text("utf-8")) == described


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_with_paths_that_leave_it_is_refused_and_writes_nothing(kind, tmp_path):
    names, path = ("../../out/1.png", "/absolute/2.png", "a/3.png"), tmp_path / f"images.{kind}"
    if kind == "tar":
        tarred({name: picture(1) for name in names}, path, "w")
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, picture(1))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(
        ValueError, match=r"paths that leave the archive: \.\./\.\./out/1\.png, /absolute/2\.png;"
    ):
        arrays.inspect("image-folder", path)
    assert sorted(tmp_path.rglob("*")) == before


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


def test_linked_class_folders_are_followed_and_a_circle_of_links_ends(tmp_path):
    stored = image_folder(tmp_path / "stored", {f"{kind}/{k}.png": k for kind in "ab" for k in range(4)})
    image_folder(tmp_path / "images", {f"a/{k}.png": k for k in range(4)})
    (tmp_path / "images/b").symlink_to(stored / "b")
    (tmp_path / "images/a/above").symlink_to(tmp_path / "images")
    _, _, described = prepared(tmp_path, split="half-of-train")
    assert described["class_names"] == ["a", "b"]
    assert sum(len(load(tmp_path / "out", part)) for part in ("train", "valid")) == 8


def test_wrong_settings_say_what_was_got_and_what_is_accepted(tmp_path):
    path = as_folder(tmp_path, FOLDER)
    folder = partial(prepare, "image-folder", tmp_path / "out", 8, path=path)
    with pytest.raises(ValueError, match=r"got 'mnist'; accepted: cifar10, cifar100, imagenet16-120"):
        prepare("mnist", tmp_path / "out", 8)
    with pytest.raises(
        ValueError, match=r"got 'thirds'; accepted with these images: half-of-train, held-out$"
    ):
        folder(split="thirds")
    with pytest.raises(ValueError, match=r"got 3, but .* has 2 class folders"):
        folder(classes=3)
    with pytest.raises(ValueError, match=r"got 4 training images, too few for a batch of 64"):
        folder(batch_size=64)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        prepare("cifar10", tmp_path / "out", 8, path=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="can't be downloaded"):
        prepare("imagenet16-120", tmp_path / "out", 8)


# Downloads, from a server on this machine


@pytest.fixture
def cifar10_server(tmp_path, monkeypatch):
    """The images of a tiny CIFAR-10 that a server on this machine publishes."""
    content, images = tiny_cifar10()
    archive = tarred(content, tmp_path / "published/cifar-10-python.tar.gz")
    with serving(archive.parent) as address:
        for name, value in facts(content, archive, address).items():
            monkeypatch.setattr(torchvision.datasets.CIFAR10, name, value)
        yield images


def test_cifar10_is_downloaded_and_trains_on_a_half_of_its_training_set(cifar10_server, tmp_path):
    description = prepare("cifar10", tmp_path / "out", 32, downloads=tmp_path / "downloads")
    train, valid = load(tmp_path / "out", "train"), load(tmp_path / "out", "valid")
    assert (len(train), len(valid), description["classes"], train.pad, train.flip) == (25, 25, 10, 4, True)
    assert list(description["checksums"]) == ["cifar-10-python.tar.gz"]
    got = {image.tobytes() for image in (*train.images, *valid.images)}
    assert got == {image.tobytes() for image in cifar10_server[:50]}
    row = next(row for row, image in enumerate(cifar10_server) if (image == train.images[7]).all())
    assert labels_of(tmp_path / "out", "train")[7] == row % 10


@pytest.mark.parametrize("unpacked", [False, True])
def test_a_folder_of_the_user_holds_cifar10s_own_archive(cifar10_server, tmp_path, unpacked):
    folder = tmp_path / "published"
    if unpacked:
        with tarfile.open(folder / "cifar-10-python.tar.gz") as archive:
            archive.extractall(folder, filter="data")
        (folder / "cifar-10-python.tar.gz").unlink()
    before = sorted(folder.rglob("*"))
    prepare("cifar10", tmp_path / "out", 32, path=folder, downloads=tmp_path / "downloads")
    assert sorted(folder.rglob("*")) == before
    assert len(load(tmp_path / "out", "train")) == 25


def test_a_folder_of_the_user_holds_cifar10_as_images(tmp_path):
    names = {
        f"{split}/{name}/{row}.png": row
        for split in ("train", "test")
        for name in "abcdefghij"
        for row in (0, 1)
    }
    prepare("cifar10", tmp_path / "out", 8, path=as_folder(tmp_path, names))
    train, valid = load(tmp_path / "out", "train"), load(tmp_path / "out", "valid")
    assert (len(train), len(valid)) == (10, 10)
    with pytest.raises(
        ValueError, match=r"holds neither cifar-100-python.tar.gz nor 100 class folders, but 10"
    ):
        prepare("cifar100", tmp_path / "out", 8, path=tmp_path / "images")


def test_a_cifar_batch_that_would_run_code_is_refused(cifar10_server, tmp_path, monkeypatch):
    prepare("cifar10", tmp_path / "out", 32, downloads=tmp_path / "downloads")
    content = pickle.dumps(print)
    (tmp_path / "downloads" / "cifar-10-batches-py" / "test_batch").write_bytes(content)
    monkeypatch.setattr(
        torchvision.datasets.CIFAR10, "test_list", [["test_batch", hashlib.md5(content).hexdigest()]]
    )
    with pytest.raises(ValueError, match=r"test_batch can't be read .*refused to load .*print"):
        prepare("cifar10", tmp_path / "out", 32, downloads=tmp_path / "downloads")


def test_a_download_with_another_checksum_is_refused(cifar10_server, tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "tgz_md5", "0" * 32)
    with pytest.raises(
        ValueError, match=rf"checksum mismatch: .*cifar-10-python.tar.gz.*expected md5:{'0' * 32}"
    ):
        prepare("cifar10", tmp_path / "out", 32, downloads=tmp_path / "downloads")


def test_without_a_network_the_message_says_what_to_fetch_by_hand(tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision.datasets.CIFAR100, "url", "http://127.0.0.1:1/cifar-100-python.tar.gz")
    place = tmp_path / "downloads" / "cifar-100-python.tar.gz"
    with pytest.raises(
        ConnectionError, match=rf"cifar100 can't be downloaded.*by hand and put it at {place}"
    ):
        prepare("cifar100", tmp_path / "out", 32, downloads=tmp_path / "downloads")


# ImageNet16-120


@pytest.fixture
def imagenet16_folder(tmp_path, monkeypatch):
    folder = tmp_path / "ImageNet16"
    folder.mkdir()
    checksums = {}
    for row, name in enumerate(sources.IMAGENET16_CHECKSUMS):
        labels = [1, 120, 121, 1000]
        data = np.full((4, 768), row, np.uint8)
        data[:, :256] = np.array([1, 120, 121, 255])[:, None]
        content = pickled({"data": data, "labels": labels, "mean": np.zeros(768)})
        (folder / name).write_bytes(content)
        checksums[name] = f"md5:{hashlib.md5(content).hexdigest()}"
    monkeypatch.setattr(sources, "IMAGENET16_CHECKSUMS", checksums)
    return folder


def test_imagenet16_keeps_the_first_120_classes_and_half_of_its_test_set(imagenet16_folder, tmp_path):
    description = prepare("imagenet16-120", tmp_path / "out", 16, path=imagenet16_folder)
    train, valid = load(tmp_path / "out", "train"), load(tmp_path / "out", "valid")
    np.testing.assert_array_equal(labels_of(tmp_path / "out", "train"), [0, 119] * 10)
    np.testing.assert_array_equal(train.images[:, 3, 5, 0], [1, 120] * 10)
    np.testing.assert_array_equal(train.images[:, 3, 5, 2], np.repeat(np.arange(10), 2))
    assert (len(valid), description["classes"], train.pad) == (1, 120, 2)


def test_missing_and_changed_imagenet16_batches_are_named(imagenet16_folder, tmp_path):
    (imagenet16_folder / "train_data_batch_4").write_bytes(b"changed")
    with pytest.raises(ValueError, match=r"checksum mismatch: .*train_data_batch_4"):
        prepare("imagenet16-120", tmp_path / "out", 16, path=imagenet16_folder)
    (imagenet16_folder / "val_data").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no val_data.*https://github.com/D-X-Y"):
        prepare("imagenet16-120", tmp_path / "out", 16, path=imagenet16_folder)


def test_a_batch_that_would_run_code_is_refused(imagenet16_folder, tmp_path):
    content = pickle.dumps(print)
    (imagenet16_folder / "val_data").write_bytes(content)
    sources.IMAGENET16_CHECKSUMS["val_data"] = f"md5:{hashlib.md5(content).hexdigest()}"
    with pytest.raises(ValueError, match=r"val_data can't be read .*refused to load .*print"):
        prepare("imagenet16-120", tmp_path / "out", 16, path=imagenet16_folder)


# Resizing and augmentation


def test_images_shrink_to_the_exact_mean_of_each_area():
    images = np.random.default_rng(0).integers(256, size=(3, 32, 32, 3), dtype=np.uint8)
    small = sources.resize(images, 8)
    assert small[1, 2, 3, 1] == np.rint(images[1, 8:12, 12:16, 1].mean())
    assert sources.resize(images[:, :30], 8).shape == (3, 8, 8, 3)
    assert sources.resize(images[..., :1], 20).shape == (3, 20, 20, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("flip", [False, True])
def test_augmented_images_are_crops_of_the_padded_image_or_of_its_mirror(flip, channels):
    images = torch.randint(1, 256, (64, 8, 8, channels), dtype=torch.uint8)
    mean, std = (0.5,) * channels, (0.25,) * channels
    out = augment(images, draw_crops(64, 2, flip, torch.Generator().manual_seed(1)), 2, mean, std)
    assert out.shape == (64, channels, 8, 8)
    assert out.dtype == torch.float32
    assert out.is_contiguous(memory_format=torch.channels_last)
    seen = set()
    for image, result in zip(images, out, strict=True):
        padded = normalise(torch.nn.functional.pad(image, (0, 0, 2, 2, 2, 2))[None], mean, std)[0]
        moves = {
            (y, x, mirrored)
            for y in range(5)
            for x in range(5)
            for mirrored in (False, True)
            if torch.equal(padded[:, y : y + 8, x : x + 8], result.flip(-1) if mirrored else result)
        }
        assert len(moves) == 1
        seen |= moves
    assert {mirrored for _, _, mirrored in seen} == ({False, True} if flip else {False})
    assert {y for y, _, _ in seen} == {x for _, x, _ in seen} == set(range(5))


def test_normalised_training_images_have_mean_zero_and_deviation_one(tmp_path):
    prepare("digits", tmp_path, 8)
    train = load(tmp_path, "train")
    images = normalise(torch.from_numpy(np.array(train.images)), train.mean, train.std)
    assert images.mean().abs() < 1e-5
    assert abs(images.std() - 1) < 1e-4


# Images that are decoded at each use


SLOPE = np.linspace(0, 255, 64).round()
FAR = SLOPE[47]


@pytest.fixture
def slopes(tmp_path):
    """Pictures whose red says how far right and whose green says how far down a pixel is."""
    for split, name, number in itertools.product(("train", "test"), "ab", range(20)):
        folder = tmp_path / "images" / split / name
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.stack(
            [*np.meshgrid(SLOPE[: 48 + number % 2], SLOPE[:48]), np.zeros((48, 48 + number % 2))]
        )
        Image.fromarray(pixels.transpose(1, 2, 0).astype(np.uint8)).save(folder / f"{number}.png")
    options = {"path": tmp_path / "images", "split": "test", "decode": "each-time"}
    prepare("image-folder", tmp_path / "out", 16, **options)
    return tmp_path / "out"


def test_images_decoded_each_time_are_random_crops_of_their_files(slopes):
    data = load(slopes, "train")
    raw = dataclasses.replace(data, mean=(0.0,) * 3, std=(1 / 255,) * 3)
    indices = np.tile(np.arange(len(data)), 10)
    red, green, blue = raw.batch(indices, slice(None), torch.Generator().manual_seed(0)).unbind(1)
    assert red.shape == (400, 16, 16)
    assert blue.max() == 0
    width, height = (channel.amax((1, 2)) - channel.amin((1, 2)) for channel in (red, green))
    areas = width * height / FAR**2
    assert 0.05 < areas.min() < 0.12
    assert areas.max() > 0.8
    mirrored = (red[:, 0, 0] > red[:, 0, -1]).double().mean()
    assert 0.4 < mirrored < 0.6


def test_parts_of_a_batch_are_cut_as_the_whole_and_waiting_images_change_nothing(slopes):
    data = dataclasses.replace(load(slopes, "train"), jitter=(0.4, 0.4, 0.4, 0.2))
    indices = np.arange(12)

    def batch(part):
        return data.batch(indices, part, torch.Generator().manual_seed(0))

    whole = batch(slice(None))
    data.expect(indices)
    assert torch.equal(torch.cat([batch(slice(0, 5)), batch(slice(5, 12))]), whole)
    plain = dataclasses.replace(data, jitter=None)
    assert not torch.equal(plain.batch(indices, slice(None), torch.Generator().manual_seed(0)), whole)


def test_lighting_shifts_images_along_the_principal_components_of_colour(slopes):
    data = dataclasses.replace(load(slopes, "train"), std=(0.2, 0.3, 0.4))
    images = torch.zeros(4000, 3, 2, 2)

    def lit(part):
        return data.lit(images[part], 0.1, len(images), part, torch.Generator().manual_seed(0))

    shifted = lit(slice(None))
    assert torch.equal(torch.cat([lit(slice(0, 1500)), lit(slice(1500, None))]), shifted)
    assert torch.equal(shifted, shifted[..., :1, :1].expand_as(shifted))
    covariance = torch.cov((shifted[..., 0, 0] * torch.tensor(data.std)).T).double()
    values, vectors = torch.linalg.eigh(covariance)
    # As published for ImageNet's colours, in units of 1
    assert values.sqrt().tolist() == pytest.approx([0.00045, 0.00188, 0.02175], rel=0.05)
    assert vectors[:, -1].abs().tolist() == pytest.approx([0.5675, 0.5808, 0.5836], abs=0.01)
    assert data.lit(images, 0, 4000, slice(None), torch.Generator()) is images


def test_images_decoded_each_time_are_evaluated_at_their_centre(slopes):
    data = load(slopes, "valid")
    assert len(data) == 40
    raw = dataclasses.replace(data, mean=(0.0,) * 3, std=(1 / 255,) * 3)
    centre = raw.plain(np.arange(4), torch.device("cpu"))
    assert centre.shape == (4, 3, 16, 16)
    # 16 of 18 rows, so that a ninth is lost, half of it at each end.
    margin = FAR / 18
    assert centre[:, 1].amin((1, 2)).numpy() == pytest.approx(1.5 * margin, abs=margin)
    assert centre[:, 1].amax((1, 2)).numpy() == pytest.approx(FAR - 1.5 * margin, abs=margin)


def test_image_that_breaks_after_it_was_checked_is_named_at_its_use(slopes):
    data = load(slopes, "train")
    broken = Path(str(data.images[3]))
    broken.write_bytes(b"no image")
    with pytest.raises(ValueError, match=f"{broken.name} is no sound image"):
        data.batch(np.arange(4), slice(None), torch.Generator().manual_seed(0))


def test_archive_cannot_be_decoded_each_time(tmp_path):
    with pytest.raises(ValueError, match="isn't a folder of images: give once"):
        prepare("image-folder", tmp_path / "out", 8, path=as_zip(tmp_path, FOLDER), decode="each-time")


@pytest.mark.skipif(not CIFAR10_JPEG.exists(), reason=f"needs {CIFAR10_JPEG.name} in ../shared/data")
def test_cifar10_as_jpeg_files_is_halved_as_cifar10_is(tmp_path):
    prepare("image-folder", tmp_path, 8, path=CIFAR10_JPEG, classes=10)
    train, valid = load(tmp_path, "train"), load(tmp_path, "valid")
    assert train.images.shape == valid.images.shape == (25_000, 8, 8, 3)
    np.testing.assert_array_equal(
        sum(np.bincount(labels_of(tmp_path, split)) for split in ("train", "valid")), np.full(10, 5000)
    )
    assert train.mean == pytest.approx([0.491, 0.482, 0.447], abs=0.005)


def test_what_was_read_ahead_is_not_read_again():
    reads = []
    reader = Reader(lambda index: reads.append(index) or 10 * index)
    reader.expect(np.array([1, 2]))
    assert reader.map(lambda read, other: read + other, np.array([2, 3]), [1, 2]) == [21, 32]
    assert sorted(reads) == [1, 2, 3]
