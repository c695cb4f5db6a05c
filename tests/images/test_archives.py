"""Archives and directories: names in any script, links, damage, encryption."""

import json
import re
import tarfile
import zipfile

import numpy as np
import pytest
from cifar import tarred
from image_directories import FOLDER, TESTS, as_folder, as_tar, as_zip, image_folder, picture, prepared

from rlnas_core.images.archives import directories
from rlnas_core.images.arrays import load
from rlnas_core.images.preparation import Reading, inspect, prepare
from rlnas_core.images.sources import image_files, refuse_unreadable


@pytest.mark.parametrize("layout", [as_folder, as_tar, as_zip])
def test_names_may_be_in_any_script(layout, tmp_path):
    path = layout(
        tmp_path, {f"{kind}/{k} \u00e9.png": k for kind in ("Katze \u00fc", "\u732b") for k in range(4)}
    )
    described = prepare("image-folder", tmp_path / "out", 8, path=path)
    assert described["class_names"] == ["Katze \u00fc", "\u732b"]
    assert json.loads((tmp_path / "out/dataset.json").read_text("utf-8")) == described


def test_directories_are_known_in_an_archive_of_windows_powershell(tmp_path):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in (FOLDER | TESTS).items():
            archive.writestr(name.replace("/", "\\"), picture(value))
    described = prepare("image-folder", tmp_path / "out", 8, path=path)
    assert described["class_names"] == ["a", "b"]
    np.testing.assert_array_equal(
        load(tmp_path / "out", "train").images[:, 0, 0, 0], [0, 10, 20, 30, 1, 11, 21, 31]
    )


@pytest.mark.parametrize("name", ["caf\udce9/1.png", "a/caf\udce9.png"])
def test_a_name_in_another_encoding_is_refused(name, tmp_path):
    """What tar makes of a directory in Latin-1; results, such as a model card, are in UTF-8."""
    path = as_tar(tmp_path, {name: 1, "b/1.png": 1})
    escaped = name.replace("\udce9", r"\udce9")
    with pytest.raises(ValueError, match=re.escape(f"names that aren't UTF-8: ./{escaped}; rename these")):
        image_files(path)


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
        refuse_unreadable(path, {f"a/{number}.png" for number in range(4)})
    refuse_unreadable(path, {"a/0.png", "a/1.png"})  # a list of labels can leave damaged images out


def test_hidden_files_and_directories_are_no_images(tmp_path):
    """Notebooks, file managers and macOS leave copies and thumbnails beside the images."""
    hidden = (".thumbnails/1.png", ".ipynb_checkpoints/1.png", "a/._1.png", "__MACOSX/a/1.png")
    found = image_files(image_folder(tmp_path / "images", dict.fromkeys(("a/1.png", "b/1.png", *hidden), 0)))
    assert (found.train.names, found.names) == (("a/1.png", "b/1.png"), ("a", "b"))


def test_an_encrypted_archive_is_refused_before_its_images_are_read(tmp_path):
    path = as_zip(tmp_path, FOLDER)
    content = bytearray(path.read_bytes())
    place = 0
    while (place := content.find(b"PK\x01\x02", place)) >= 0:
        content[place + 8] |= 1  # the flag of each entry in the directory
        place += 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"images\.zip.*train/a/0\.png is encrypted"):
        image_files(path)


def test_links_in_an_archive_are_refused(tmp_path):
    with tarfile.open(tmp_path / "images.tar", "w") as archive:
        member = tarfile.TarInfo("a/link.png")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(ValueError, match=r"a/link\.png is a link; give an archive without links"):
        prepare("image-folder", tmp_path / "out", 8, path=tmp_path / "images.tar")


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
        inspect(Reading("image-folder", path))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["loop", "train"])
def test_directories_of_images_are_listed_and_a_circle_of_links_ends(name, tmp_path):
    """Their times say when images were added, at any depth; hidden ones have none and change without them."""
    around = tmp_path / "images/photos/train"
    (around / "cat/deep").mkdir(parents=True)
    (around / "dog").mkdir()
    (around / "cat/.git/objects").mkdir(parents=True)
    found = {str(folder.relative_to(tmp_path)) for folder in directories(tmp_path / "images")}
    below = {"images/photos/train" + end for end in ("", "/cat", "/cat/deep", "/dog")}
    assert found == {"images", "images/photos", *below}
    (tmp_path / "circle").mkdir()
    (tmp_path / "circle" / name).symlink_to(tmp_path / "circle")
    assert directories(tmp_path / "circle") == [tmp_path / "circle"]
    assert directories(tmp_path / "images.zip") == [tmp_path / "images.zip"]


def test_linked_class_folders_are_followed_and_a_circle_of_links_ends(tmp_path):
    stored = image_folder(tmp_path / "stored", {f"{kind}/{k}.png": k for kind in "ab" for k in range(4)})
    image_folder(tmp_path / "images", {f"a/{k}.png": k for k in range(4)})
    (tmp_path / "images/b").symlink_to(stored / "b")
    (tmp_path / "images/a/above").symlink_to(tmp_path / "images")
    _, _, described = prepared(tmp_path, split="half-of-train")
    assert described["class_names"] == ["a", "b"]
    assert sum(len(load(tmp_path / "out", part)) for part in ("train", "valid")) == 8
