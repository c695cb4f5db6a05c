"""UnNAS's pretext tasks: what they show, what they ask, and that supernets learn it."""

from itertools import permutations

import numpy as np
import pytest
import torch

from rlnas_core.images.arrays import ImageArray
from rlnas_core.labels import pretext
from rlnas_core.labels.methods import PRETEXT_TASKS
from rlnas_core.labels.pretext import Colorization, Jigsaw, Rotation, label_source
from rlnas_core.search.validation import scorer
from rlnas_core.spaces import get
from rlnas_core.training.loop import Run
from rlnas_core.training.supernet import SupernetSettings, train_supernet

SPACE = get("nas_bench_201")
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)


def rng():
    return np.random.default_rng(0)


def some_images(count, channels=3, side=8):
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(0))


def as_data(images):
    """Images (N, 3, S, S) from 0 to 1, as training has them."""
    pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    mean, std = ((part((0, 1, 2)) / 255).tolist() for part in (pixels.mean, pixels.std))
    return ImageArray(pixels, tuple(mean), tuple(std), pad=0, flip=False)


@pytest.mark.parametrize("method", PRETEXT_TASKS)
def test_tasks_have_as_many_classes_as_the_plan_says_and_need_no_labels(method):
    source = label_source(method, None, PRETEXT_TASKS[method], as_data(some_images(5)), rng())
    assert source.categories == PRETEXT_TASKS[method]
    with pytest.raises(ValueError, match=rf"got 7 categories, accepted: {PRETEXT_TASKS[method]}"):
        label_source(method, None, 7, as_data(some_images(5)), rng())


def test_unknown_sources_are_refused_with_those_accepted():
    with pytest.raises(ValueError, match=r"got 'inpainting'; accepted: ground-truth.*rotation, jigsaw"):
        label_source("inpainting", np.zeros(5), 4, as_data(some_images(5)), rng())


def test_an_image_is_turned_by_as_many_quarters_as_its_class_says():
    images = some_images(16, side=6)
    classes = torch.arange(16) % 4
    turned, targets = Rotation(rng()).pose(images, classes)
    for image, was, turns in zip(turned, images, targets, strict=True):
        np.testing.assert_array_equal(image, np.rot90(was, turns, (1, 2)))
    assert torch.equal(targets, classes)


def test_every_order_of_quarters_is_a_class_and_another_undoes_it():
    orders = list(permutations(range(4)))
    image = some_images(1, side=6)
    jigsaw = Jigsaw(rng())
    shuffled, targets = jigsaw.pose(image.expand(24, -1, -1, -1), torch.arange(24))
    corners = [(slice(0, 3), slice(0, 3)), (slice(0, 3), slice(3, 6)), (slice(3, 6), slice(0, 3))]
    corners.append((slice(3, 6), slice(3, 6)))
    for order, shown in zip(orders, shuffled, strict=True):
        for place, (rows, columns) in zip(order, corners, strict=True):
            assert torch.equal(shown[:, rows, columns], image[0, :, *corners[place]])
    assert len({shown.numpy().tobytes() for shown in shuffled}) == 24
    undone, _ = jigsaw.pose(
        shuffled, torch.tensor([orders.index(tuple(np.argsort(order))) for order in orders])
    )
    assert torch.equal(undone, image.expand(24, -1, -1, -1))
    assert targets.tolist() == list(range(24))


def test_jigsaw_refuses_images_without_a_middle():
    with pytest.raises(ValueError, match="got images of 7 pixels a side; accepted: an even image_size"):
        Jigsaw(rng()).pose(some_images(1, side=7), torch.zeros(1, dtype=torch.long))


def reference_lab(rgb):
    """CIE Lab of sRGB under D65 in float64, colour by colour."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in map(float, rgb)]
    r, g, b = linear
    xyz = (
        0.4124564 * r + 0.3575761 * g + 0.1804375 * b,
        0.2126729 * r + 0.7151522 * g + 0.0721750 * b,
        0.0193339 * r + 0.1191920 * g + 0.9503041 * b,
    )
    x, y, z = (
        t ** (1 / 3) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116
        for t in (part / white for part, white in zip(xyz, (0.95047, 1.0, 1.08883), strict=True))
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def test_lab_equals_a_reference_in_float64():
    colours = some_images(1, side=16)
    colours[0, :, 0] /= 30  # dark ones, where both curves are lines
    lab = pretext.lab(colours)[0].permute(1, 2, 0).reshape(-1, 3)
    expected = [reference_lab(rgb) for rgb in colours[0].permute(1, 2, 0).reshape(-1, 3)]
    np.testing.assert_allclose(lab, expected, atol=0.05)


def test_lab_of_the_primaries_is_the_published_one():
    primaries = torch.eye(3)[None, :, None]  # one row of red, green and blue
    published = [[53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86]]
    np.testing.assert_allclose(pretext.lab(primaries)[0, :, 0].T, published, atol=0.05)


def test_grey_has_no_colour():
    lab = pretext.lab(torch.linspace(0, 1, 256).expand(1, 3, 1, 256))[0, :, 0]
    assert lab[1:].abs().max() < 1e-4
    assert lab[0, 0] == pytest.approx(0, abs=1e-4)
    assert lab[0, -1] == pytest.approx(100)


def test_every_colour_is_in_the_bin_nearest_to_it():
    bins = pretext.bins()
    assert len(bins) == 261
    assert torch.equal(bins % 10, torch.zeros_like(bins))
    ab = pretext.lab(some_images(4, side=64).double())[:, 1:]
    chosen = bins[pretext.nearest(ab, bins)].movedim(-1, 1)
    assert (chosen - ab).abs().max() <= 5


@pytest.mark.parametrize("times", [1, 4])
def test_colorization_shows_lightness_and_asks_for_the_mean_colour_of_each_position(times):
    pixels = torch.zeros(1, 3, 8, 8)
    pixels[:, 0, :4] = 1  # red above black, on the right white below
    pixels[:, :, 4:, 4:] = 1
    pixels = pixels.repeat_interleave(times, 2).repeat_interleave(times, 3)
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    task = Colorization(MEAN, STD)
    shown, targets = task.pose((pixels - mean) / std, torch.zeros(1, dtype=torch.long))
    colours = torch.tensor([[80.0, 70], [0, 0]]).double()  # of the rows of quarters
    assert torch.equal(task.bins[targets[0]], colours.repeat_interleave(times, 0)[:, None].tile(2 * times, 1))
    lightness = shown * std + mean
    torch.testing.assert_close(lightness, lightness[:, :1].expand(-1, 3, -1, -1))
    np.testing.assert_allclose(
        lightness[0, 0, :: 4 * times, :: 4 * times], [[0.5324, 0.5324], [0, 1]], atol=1e-3
    )


def test_grey_images_have_no_colours_to_tell():
    with pytest.raises(ValueError, match="colorization: got grey images; give colour images, or no seeds"):
        Colorization((0.5,), (0.5,))


@pytest.mark.parametrize("method", PRETEXT_TASKS)
def test_parts_of_a_batch_are_what_the_whole_is(method):
    data = as_data(some_images(12))
    indices = np.arange(12)
    posed = []
    for parts in ([slice(0, 12)], [slice(0, 4), slice(4, 8), slice(8, 12)]):
        each = []
        for part in parts:  # a process each
            source = label_source(method, None, PRETEXT_TASKS[method], data, rng())
            classes = torch.from_numpy(source(indices)[part])
            each.append(source.pose(data.plain(indices[part], torch.device("cpu")), classes))
        posed.append([torch.cat(tensors) for tensors in zip(*each, strict=True)])
    assert all(map(torch.equal, *posed))


def test_scores_by_position_average_to_those_of_the_whole_image():
    path = SPACE.sample(3, rng())
    by_position, whole = (
        SPACE.supernet(classes=7, channels=8, cells=1, by_position=by_position)
        for by_position in (True, False)
    )
    whole.load_state_dict(by_position.state_dict())
    images = some_images(4, side=12)
    scores = by_position(images, path)
    assert scores.shape == (4, 7, 3, 3)
    torch.testing.assert_close(scores.mean((2, 3)), whole(images, path))


def coloured(count, seed):
    """Images whose lightness tells their colours: dark quarters are blue, light ones yellow."""
    generator = torch.Generator().manual_seed(seed)
    yellow = torch.randint(2, (count, 1, 2, 2), generator=generator)
    colours = torch.where(
        yellow == 1, *(torch.tensor(c)[:, None, None] for c in ((0.9, 0.8, 0.1), (0.1, 0.1, 0.6)))
    )
    return as_data(colours.repeat_interleave(4, 2).repeat_interleave(4, 3))


@pytest.mark.parametrize(
    ("method", "epochs", "least"), [("rotation", 12, 40), ("jigsaw", 30, 12), ("colorization", 10, 70)]
)
def test_a_supernet_learns_the_task_and_validation_accuracy_shows_it(digits, method, epochs, least):
    train, valid = (
        (coloured(640, 0), coloured(200, 1)) if method == "colorization" else [part.images for part in digits]
    )
    categories = PRETEXT_TASKS[method]
    settings = SupernetSettings(channels=8, cells=1, epochs=epochs, device="cpu")
    labels = label_source(method, None, categories, train, rng())
    model, _ = train_supernet(SPACE, train, labels, settings, 0, run=Run(lambda line: None))
    labels = label_source(method, None, categories, valid, rng())
    score = scorer(SPACE, model, train, valid, labels, images=200, calibration_images=100, seed=0)
    assert least < score(SPACE.sample(20, rng())).mean() <= 100  # chance is 25, 4 and 50
