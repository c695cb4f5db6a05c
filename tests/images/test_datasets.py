"""CIFAR, ImageNet16-120 and digits, downloaded from a server on this machine or from the user's files."""

import errno
import fcntl
import hashlib
import json
import pickle
import tarfile
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torchvision
from cifar import facts, pickled, serving, tarred, tiny_cifar10
from image_directories import as_folder, labels_of

from rlnas_core.images import datasets
from rlnas_core.images.archives import source_files
from rlnas_core.images.arrays import load
from rlnas_core.images.facts import FACTS
from rlnas_core.images.preparation import prepare


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


def test_a_dataset_depends_on_its_published_files_and_not_on_others_beside_them(tmp_path):
    """Other datasets come and go in a directory of several, which is no reason to train again."""
    of_torch = torchvision.datasets.CIFAR10, torchvision.datasets.CIFAR100
    published = {of.__name__.lower(): (of.filename, of.base_folder) for of in of_torch}
    (tmp_path / "coco/train2017").mkdir(parents=True)
    for source, names in {**published, "imagenet16-120": tuple(datasets.IMAGENET16_CHECKSUMS)}.items():
        assert FACTS[source].files == names
        assert source_files(source, tmp_path)[0] == tmp_path  # its images as files
        (tmp_path / names[0]).touch()
        assert source_files(source, tmp_path) == [tmp_path / names[0]]


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
    (tmp_path / "cifar-10-batches-py").mkdir()  # the folder within that which is asked for
    with pytest.raises(ValueError, match=r"-py holds neither cifar-10-python.tar.gz nor .*-py has no images"):
        prepare("cifar10", tmp_path / "out", 8, path=tmp_path / "cifar-10-batches-py")


def test_two_jobs_download_an_archive_to_a_file_system_without_locks(cifar10_server, tmp_path, monkeypatch):
    download, asked_for, both = torchvision.datasets.utils.download_url, [], Barrier(2, timeout=60)

    def together(url, *given):
        asked_for.append(url)
        both.wait()
        download(url, *given)

    def refused(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", together)
    monkeypatch.setattr(fcntl, "flock", refused)
    published, downloads = tmp_path / "published/cifar-10-python.tar.gz", tmp_path / "downloads"
    with ThreadPoolExecutor() as jobs:
        asked = [jobs.submit(prepare, "cifar10", tmp_path / name, 32, downloads=downloads) for name in "ab"]
    later = prepare("cifar10", tmp_path / "c", 32, downloads=downloads)
    assert asked[0].result() == asked[1].result() == later
    assert [file.name for file in downloads.iterdir()] == [published.name]
    assert (downloads / published.name).read_bytes() == published.read_bytes()
    assert len(asked_for) == 2


def test_a_cifar_batch_that_would_run_code_is_refused(cifar10_server, tmp_path, monkeypatch):
    with tarfile.open(tmp_path / "published/cifar-10-python.tar.gz") as archive:
        archive.extractall(tmp_path / "published", filter="data")
    content = pickle.dumps(print)
    (tmp_path / "published/cifar-10-batches-py/test_batch").write_bytes(content)
    monkeypatch.setattr(
        torchvision.datasets.CIFAR10, "test_list", [["test_batch", hashlib.md5(content).hexdigest()]]
    )
    with pytest.raises(ValueError, match=r"test_batch can't be read .*refused to load .*print"):
        prepare("cifar10", tmp_path / "out", 32, path=tmp_path / "published")


def test_a_download_with_another_checksum_is_refused(cifar10_server, tmp_path, monkeypatch):
    """It may be a proxy's page or end early, and is deleted: the message says where the right one belongs."""
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "tgz_md5", "0" * 32)
    place = tmp_path / "downloads" / "cifar-10-python.tar.gz"
    with pytest.raises(
        ConnectionError, match=rf"checksum mismatch: .*by hand and put it at {place} \(md5:0+"
    ):
        prepare("cifar10", tmp_path / "out", 32, downloads=tmp_path / "downloads")
    assert list((tmp_path / "downloads").iterdir()) == []


def test_without_a_network_the_message_says_what_to_fetch_by_hand(tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision.datasets.CIFAR100, "url", "http://127.0.0.1:1/cifar-100-python.tar.gz")
    place = tmp_path / "downloads" / "cifar-100-python.tar.gz"
    with pytest.raises(
        ConnectionError, match=rf"cifar100 can't be downloaded.*by hand and put it at {place}"
    ):
        prepare("cifar100", tmp_path / "out", 32, downloads=tmp_path / "downloads")


@pytest.fixture
def imagenet16_folder(tmp_path, monkeypatch):
    folder = tmp_path / "ImageNet16"
    folder.mkdir()
    checksums = {}
    for row, name in enumerate(datasets.IMAGENET16_CHECKSUMS):
        labels = [1, 120, 121, 1000]
        data = np.full((4, 768), row, np.uint8)
        data[:, :256] = np.array([1, 120, 121, 255])[:, None]
        content = pickled({"data": data, "labels": labels, "mean": np.zeros(768)})
        (folder / name).write_bytes(content)
        checksums[name] = f"md5:{hashlib.md5(content).hexdigest()}"
    monkeypatch.setattr(datasets, "IMAGENET16_CHECKSUMS", checksums)
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
    datasets.IMAGENET16_CHECKSUMS["val_data"] = f"md5:{hashlib.md5(content).hexdigest()}"
    with pytest.raises(ValueError, match=r"val_data can't be read .*refused to load .*print"):
        prepare("imagenet16-120", tmp_path / "out", 16, path=imagenet16_folder)
