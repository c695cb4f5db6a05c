"""Images that are decoded at each use, and reading ahead."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rlnas_core.images.arrays import Reader, load
from rlnas_core.images.preparation import prepare

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
    with pytest.raises(ValueError, match=f"{broken.name} is not a readable image"):
        data.batch(np.arange(4), slice(None), torch.Generator().manual_seed(0))


def test_what_was_read_ahead_is_not_read_again():
    reads = []
    reader = Reader(lambda index: reads.append(index) or 10 * index)
    reader.expect(np.array([1, 2]))
    assert reader.map(lambda read, other: read + other, np.array([2, 3]), [1, 2]) == [21, 32]
    assert sorted(reads) == [1, 2, 3]
