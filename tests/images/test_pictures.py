"""One image: modes, transparency, orientation, bits, shape and size."""

import numpy as np
import pytest
import torch
from image_directories import prepared, scientific
from PIL import Image

from rlnas_core.images.arrays import load
from rlnas_core.images.pictures import central_square, resize
from rlnas_core.images.preparation import prepare


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
    pixels = np.arange(4 * 13 * 3).reshape(4, 13, 3)
    np.testing.assert_array_equal(central_square(pixels), pixels[:, 4:8])
    prepare("image-folder", tmp_path / "whole", 4, path=tmp_path / "images")
    assert load(tmp_path / "whole", "train").images[..., 0].mean() == pytest.approx(255 / 3, abs=1)


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


def test_images_shrink_to_the_exact_mean_of_each_area():
    images = np.random.default_rng(0).integers(256, size=(3, 32, 32, 3), dtype=np.uint8)
    small = resize(images, 8)
    np.testing.assert_array_equal(small, np.rint(images.reshape(3, 8, 4, 8, 4, 3).mean(axis=(2, 4))))
    assert resize(images[:, :30], 8).shape == (3, 8, 8, 3)
    assert resize(images[..., :1], 20).shape == (3, 20, 20, 1)
