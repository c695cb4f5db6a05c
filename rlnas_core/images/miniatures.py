"""Miniature COCO and Cityscapes in the layouts of the originals: shapes drawn on photographs."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_images

#: Category id in COCO, name, shape, and colour.
_THINGS = (
    (37, "sports ball", "disc", (230, 60, 40)),
    (59, "pizza", "triangle", (240, 210, 60)),
    (84, "book", "rectangle", (60, 80, 230)),
)
_VEGETATION, _BUILDING, _ROAD, _CAR, _PERSON, _OUTSIDE = 21, 11, 7, 26, 24, 3  # label ids of Cityscapes
_SHADE = 30  # range of colour variation
_TRAIN, _VALID = 40, 16


def _photographs() -> list[Image.Image]:
    """The two photographs in scikit-learn: a temple and a flower."""
    return [Image.fromarray(picture) for picture in load_sample_images().images]


def _background(picture: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A random part of a photograph, (width, height) pixels."""
    left, top = (int(rng.integers(1 + own - side)) for own, side in zip(picture.size, size, strict=True))
    return picture.crop((left, top, left + size[0], top + size[1]))


def _shade(colour: tuple[int, int, int], rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(np.clip(colour + rng.integers(-_SHADE, _SHADE + 1, 3), 0, 255).tolist())


def _draw(shape: str, box: Sequence[float], *on: tuple[ImageDraw.ImageDraw, int | tuple[int, ...]]) -> None:
    """Draw a shape that fills a box (left, top, right, bottom; inclusive) on images, each in a colour."""
    left, top, right, bottom = box
    for canvas, colour in on:
        if shape == "disc":
            canvas.ellipse((left, top, right, bottom), colour)
        elif shape == "triangle":
            canvas.polygon([((left + right) / 2, top), (left, bottom), (right, bottom)], colour)
        else:
            canvas.rectangle((left, top, right, bottom), colour)


def make_coco(
    root: str | Path, rng: np.random.Generator, *, train: int = _TRAIN, valid: int = _VALID, side: int = 128
) -> None:
    """Write images of `side` pixels with one to three objects of three categories, and annotations."""
    root, photographs = Path(root), _photographs()
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    for split, count in (("train2017", train), ("val2017", valid)):
        (root / split).mkdir(exist_ok=True)
        images, annotations = list[dict](), list[dict]()
        for number in range(1, count + 1):
            name = f"{number:012d}.jpg"
            images.append({"id": number, "file_name": name, "width": side, "height": side})
            picture = _background(photographs[number % len(photographs)], (side, side), rng)
            canvas = ImageDraw.Draw(picture)
            # Each object is in its own quarter of the image.
            for quarter in rng.permutation(4)[: rng.integers(1, 4)]:
                category, _, shape, colour = _THINGS[rng.integers(len(_THINGS))]
                size = rng.integers(side // 4, side // 2 - 4, 2)
                start = side // 2 * np.array(divmod(quarter, 2)) + rng.integers(0, side // 2 - size)
                _draw(shape, (*start.tolist(), *(start + size - 1).tolist()), (canvas, _shade(colour, rng)))
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": category,
                        "bbox": [*start.tolist(), *size.tolist()],
                        "area": int(size.prod()),
                        "iscrowd": 0,
                    }
                )
            picture.save(root / split / name, quality=95)
        categories = [{"id": category, "name": name} for category, name, *_ in _THINGS]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content), encoding="utf-8")


def make_cityscapes(
    root: str | Path, rng: np.random.Generator, *, train: int = _TRAIN, valid: int = _VALID, height: int = 96
) -> None:
    """Write street scenes, twice as wide as high, of five classes and the ignored edge of the own car."""
    root, photographs = Path(root), _photographs()
    size = (2 * height, height)
    for split, count in (("train", train), ("val", valid)):
        folders = [root / kind / split / "miniature" for kind in ("leftImg8bit", "gtFine")]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            kind = number % len(photographs)
            picture = _background(photographs[kind], size, rng)
            labels = Image.new("L", size, (_BUILDING, _VEGETATION)[kind])
            scene, ids = ImageDraw.Draw(picture), ImageDraw.Draw(labels)
            horizon = int(rng.integers(height // 2, 2 * height // 3))
            below = (0, horizon, 2 * height, height)
            _draw("rectangle", below, (scene, _shade((120, 120, 125), rng)), (ids, _ROAD))
            for place in rng.permutation(4)[: rng.integers(2, 4)]:
                left = height // 2 * int(place) + int(rng.integers(height // 8))
                tall = int(rng.integers(height // 4, height // 2))
                foot = horizon + int(rng.integers(height // 4))
                if rng.random() < 0.5:
                    box = (left, foot - tall // 2, left + 3 * height // 8, foot)
                    _draw("rectangle", box, (scene, _shade((40, 60, 200), rng)), (ids, _CAR))
                else:
                    box = (left, foot - tall, left + tall // 2, foot)
                    _draw("disc", box, (scene, _shade((220, 60, 60), rng)), (ids, _PERSON))
            edge = (0, height - height // 16, 2 * height, height)
            _draw("rectangle", edge, (scene, (20, 20, 20)), (ids, _OUTSIDE))
            stem = f"miniature_{number:06d}_000019"
            picture.save(folders[0] / f"{stem}_leftImg8bit.png")
            labels.save(folders[1] / f"{stem}_gtFine_labelIds.png")
