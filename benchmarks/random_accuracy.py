"""Measure how a ranking by validation accuracy depends on the images drawn.

    python benchmarks/random_accuracy.py results/RUN DATASET LABELS [DRAWS [SEED]]

evaluates 400 random architectures with a supernet (of seed 0, or SEED) on 12 draws (or DRAWS) of 512
validation images. LABELS are ground-truth (method A), uniform-once (C) or a pretext task. It prints the share
of images with the most frequent predicted class, and Kendall's tau with test accuracy on CIFAR-10 for each
draw. For all images together it prints the range of accuracies, and tau on the three datasets: of validation
accuracy, of the angle with and without shared weights, and of the ranks of both added. Twelve draws take
eight minutes of one core at 8x8 pixels; two take five minutes at 32x32.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_model

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rlnas_core.benchmark.accuracies import INCLUDED, read_table
from rlnas_core.benchmark.ranking import add_ranks, kendall
from rlnas_core.images.arrays import load
from rlnas_core.kernels.engine import accelerate
from rlnas_core.labels.methods import PRETEXT_TASKS
from rlnas_core.labels.pretext import label_source
from rlnas_core.search.angle import angles, group_sums
from rlnas_core.spaces import get
from rlnas_core.training.statistics import Statistics

ARCHITECTURES, IMAGES, CALIBRATION, CLASSES = 400, 512, 128, 10


@torch.no_grad()
def main(run: Path, dataset: str, labels: str, draws: int = 12, seed: int = 0) -> None:
    """Evaluate and print."""
    categories = PRETEXT_TASKS.get(labels, CLASSES)
    supernet = run / f"supernets/nas_bench_201/{dataset}/{labels}/{categories}/{seed}"
    space, rng, device = get("nas_bench_201"), np.random.default_rng(0), torch.device("cpu")
    train, valid = (load(run / "data" / dataset, split) for split in ("train", "valid"))
    method = labels if labels in PRETEXT_TASKS else "ground-truth"  # C is validated on true labels
    truth = np.load(run / f"data/{dataset}/valid_labels.npy")
    source = label_source(method, truth, categories, valid, np.random.default_rng(1))
    model = space.supernet(classes=categories, in_channels=train.channels, **source.head)
    load_model(model, supernet / "weights.safetensors")
    network = accelerate(model) or model
    model.eval()
    drawn = rng.choice(len(train), CALIBRATION, replace=False)
    classes = torch.from_numpy(np.random.default_rng(0).integers(categories, size=CALIBRATION))
    calibration, _ = source.pose(train.plain(drawn, device), classes)
    chosen = rng.choice(len(valid), (draws, IMAGES), replace=False)
    posed = [source.pose(valid.plain(draw, device), torch.from_numpy(source(draw))) for draw in chosen]
    batches, targets = [images for images, _ in posed], np.stack([target.numpy() for _, target in posed])
    genes = space.sample(ARCHITECTURES, rng)
    answers = np.empty((ARCHITECTURES, *targets.shape), np.int64)
    for place, path in enumerate(genes):
        with network.calibrated(calibration, path):
            answers[place] = [network(images, path).argmax(1).numpy() for images in batches]
    frequent = np.array([100 * np.bincount(own.ravel()).max() / own.size for own in answers])
    print(f"images with the most frequent class: mean {frequent.mean():.1f}%, minimum {frequent.min():.1f}%")
    right = (answers == targets).reshape(ARCHITECTURES, draws, -1)
    table = read_table(INCLUDED).iloc[space.index(genes)]
    accuracies = {name: table[f"{name}_test"].to_numpy() for name in ("cifar10", "cifar100", "imagenet16")}
    taus = np.array([kendall(right[:, draw].mean(1), accuracies["cifar10"]) for draw in range(draws)])
    print("Kendall's tau for each 512 images:", *(f"{tau:.2f}" for tau in taus))
    print(f"mean and standard deviation: {taus.mean():.3f} ± {taus.std(ddof=1):.3f}")
    accuracy, usage = right.mean((1, 2)), space.usage(genes)
    low, high = 100 * np.quantile(accuracy, [0.05, 0.95])
    print(f"accuracies in percent, 5 to 95% quantile: {low:.1f} to {high:.1f}")
    scores = {"accuracy": accuracy}
    sums = group_sums(space, Statistics.load(supernet / "statistics.npz"))
    for name, kept in (("angle", usage), ("angle, no shared weights", usage * (np.arange(len(sums)) > 0))):
        scores[name] = angles(kept, sums)
        scores[f"accuracy + {name}"] = add_ranks([accuracy, scores[name]], logarithms=False)
    print(f"Kendall's tau for all {chosen.size} images:")
    for name, values in scores.items():
        print(f"{name}:", *(f"{kendall(values, truth):.3f} ({of})" for of, truth in accuracies.items()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:4], *map(int, sys.argv[4:]))
