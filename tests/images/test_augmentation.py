"""Crops and mirror images of a batch."""

import pytest
import torch

from rlnas_core.images.augmentation import augment, draw_crops, normalise


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
