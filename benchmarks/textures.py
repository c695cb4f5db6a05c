"""Cut a labelled directory of textures from the photographs that scikit-image and scikit-learn ship.

    pip install scikit-image scikit-learn && python benchmarks/textures.py DIR

writes DIR/train/CLASS and DIR/test/CLASS. Each class is a photograph; its images are grey squares of 24x24
pixels cut from it. Squares don't overlap, and every fourth block of 4x4 squares is used only for testing.
All squares have the same mean and contrast, so brightness does not identify a photograph. Squares without
contrast are left out.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

SIDE, BLOCK = 24, 4  # side of a square in pixels, side of a block in squares
COUNT = {"train": 200, "test": 64}  # images per class, at most
MEAN, CONTRAST, FLAT = 128, 48, 4  # grey values; a square with a smaller deviation than FLAT has no contrast
SHIPPED = (
    "astronaut", "brick", "camera", "coffee", "grass", "gravel", "hubble_deep_field",
    "immunohistochemistry", "moon", "retina",
)  # fmt: skip


def photographs() -> dict[str, np.ndarray]:
    """Pixels of each photograph, by name."""
    import skimage  # not a dependency of this project

    pixels = {name: getattr(skimage.data, name)() for name in SHIPPED}
    return pixels | {name: load_sample_image(f"{name}.jpg") for name in ("china", "flower")}


def squares(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Squares (N, SIDE, SIDE) of a photograph, uint8, for training and for testing."""
    grey = np.asarray(Image.fromarray(pixels).convert("L"), np.float64)
    side = SIDE * BLOCK
    rows, columns = np.array(grey.shape) // side
    blocks = grey[: rows * side, : columns * side].reshape(rows, BLOCK, SIDE, columns, BLOCK, SIDE)
    blocks = blocks.transpose(0, 3, 1, 4, 2, 5).reshape(rows * columns, BLOCK**2, SIDE, SIDE)
    row, column = np.divmod(np.arange(rows * columns), columns)
    tested = (2 * row + column) % 4 == 3  # test blocks are never neighbours
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
    """Write the squares of all photographs and print their numbers."""
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
