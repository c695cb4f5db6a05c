"""Measure how a ranking by validation accuracy (methods A and C) depends on the images drawn.

    python benchmarks/random_accuracy.py results/RUN DATASET uniform-once    # C; ground-truth: A

evaluates 400 random architectures with the supernet of seed 0 on 12 draws of 512 validation images. It
prints the share of images with the most frequent predicted class, and Kendall's tau with test accuracy on
CIFAR-10 for each draw, and on the three datasets for all images together. It takes eight minutes of one
core at 8x8 pixels.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_model

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rlnas_core.benchmark.accuracies import INCLUDED, read_table
from rlnas_core.benchmark.ranking import kendall
from rlnas_core.images.arrays import load
from rlnas_core.kernels.engine import accelerate
from rlnas_core.spaces import get

ARCHITECTURES, DRAWS, IMAGES, CALIBRATION, CLASSES = 400, 12, 512, 128, 10


@torch.no_grad()
def main() -> None:
    """Evaluate and print."""
    run, (dataset, labels) = Path(sys.argv[1]), sys.argv[2:]
    space, rng, device = get("nas_bench_201"), np.random.default_rng(0), torch.device("cpu")
    train, valid = (load(run / "data" / dataset, split) for split in ("train", "valid"))
    model = space.supernet(classes=CLASSES, in_channels=train.channels)
    load_model(model, run / f"supernets/nas_bench_201/{dataset}/{labels}/{CLASSES}/0/weights.safetensors")
    network = accelerate(model) or model
    model.eval()
    calibration = train.plain(rng.choice(len(train), CALIBRATION, replace=False), device)
    chosen = rng.choice(len(valid), (DRAWS, IMAGES), replace=False)
    batches = [valid.plain(draw, device) for draw in chosen]
    genes = space.sample(ARCHITECTURES, rng)
    answers = np.empty((ARCHITECTURES, *chosen.shape), np.int64)
    for place, path in enumerate(genes):
        with network.calibrated(calibration, path):
            answers[place] = [network(images, path).argmax(1).numpy() for images in batches]
    frequent = np.array([100 * np.bincount(own.ravel()).max() / own.size for own in answers])
    print(f"images with the most frequent class: mean {frequent.mean():.1f}%, minimum {frequent.min():.1f}%")
    right = answers == np.load(run / f"data/{dataset}/valid_labels.npy")[chosen]
    table = read_table(INCLUDED).iloc[space.index(genes)]
    accuracies = {name: table[f"{name}_test"].to_numpy() for name in ("cifar10", "cifar100", "imagenet16")}
    taus = np.array([kendall(right[:, draw].mean(1), accuracies["cifar10"]) for draw in range(DRAWS)])
    print("Kendall's tau for each 512 images:", *(f"{tau:.2f}" for tau in taus))
    print(f"mean and standard deviation: {taus.mean():.3f} ± {taus.std(ddof=1):.3f}")
    together = (f"{kendall(right.mean((1, 2)), truth):.3f} ({name})" for name, truth in accuracies.items())
    print(f"Kendall's tau for all {chosen.size} images:", *together)


if __name__ == "__main__":
    main()
