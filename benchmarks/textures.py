"""Cut a labelled directory of textures from the photographs that scikit-image and scikit-learn ship.

    pip install scikit-image scikit-learn && python benchmarks/textures.py DIR

Writes DIR/train/CLASS and DIR/test/CLASS: a class is a photograph, an image is a grey square of it, 24 pixels
a side. Squares don't overlap, and every fourth block of 4x4 squares is for testing alone. All have the same
mean and contrast, so that brightness doesn't give a photograph away; those without contrast are left out.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

SIDE, BLOCK = 24, 4  # pixels of a square, squares of a side of a block
COUNT = {"train": 200, "test": 64}  # of a class, at most
MEAN, CONTRAST, FLAT = 128, 48, 4  # of grey values; squares of a smaller deviation are flat
SHIPPED = (
    "astronaut", "brick", "camera", "coffee", "grass", "gravel", "hubble_deep_field",
    "immunohistochemistry", "moon", "retina",
)  # fmt: skip


def photographs() -> dict[str, np.ndarray]:
    """Pixels of each photograph by its name."""
    import skimage  # no requirement of this project

    pixels = {name: getattr(skimage.data, name)() for name in SHIPPED}
    return pixels | {name: load_sample_image(f"{name}.jpg") for name in ("china", "flower")}


def squares(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Squares (N, SIDE, SIDE) of a photograph for training and for testing, uint8."""
    grey = np.asarray(Image.fromarray(pixels).convert("L"), np.float64)
    side = SIDE * BLOCK
    rows, columns = np.array(grey.shape) // side
    blocks = grey[: rows * side, : columns * side].reshape(rows, BLOCK, SIDE, columns, BLOCK, SIDE)
    blocks = blocks.transpose(0, 3, 1, 4, 2, 5).reshape(rows * columns, BLOCK**2, SIDE, SIDE)
    row, column = np.divmod(np.arange(rows * columns), columns)
    tested = (2 * row + column) % 4 == 3  # no two of them are neighbours
    return {"train": _chosen(blocks[~tested], "train"), "test": _chosen(blocks[tested], "test")}


def _chosen(blocks: np.ndarray, split: str) -> np.ndarray:
    own = blocks.reshape(-1, SIDE, SIDE)
    deviation = own.std(axis=(1, 2), keepdims=True)
    kept = np.flatnonzero(deviation > FLAT)
    kept = np.random.default_rng(0).permutation(kept)[: COUNT[split]]
    own, deviation = own[kept], deviation[kept]
    scaled = MEAN + CONTRAST * (own - own.mean(axis=(1, 2), keepdims=True)) / deviation
    return scaled.round().clip(0, 255).astype(np.uint8)


def main() -> None:
    """Write the squares of all photographs, and print how many."""
    directory = Path(sys.argv[1])
    for name, pixels in photographs().items():
        own = squares(pixels)
        for split, images in own.items():
            (directory / split / name).mkdir(parents=True, exist_ok=True)
            for number, image in enumerate(images):
                Image.fromarray(image).save(directory / split / name / f"{number:03}.png")
        print(name, pixels.shape, {split: len(images) for split, images in own.items()})


if __name__ == "__main__":
    main()
