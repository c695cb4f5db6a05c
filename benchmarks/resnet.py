"""Compare the networks of a search with a ResNet-18 of as many FLOPs, with the same images and settings.

    python benchmarks/resnet.py results/RUN

prints the comparison. The run needs labels. The ResNet-18 is the variant for small images: a 3x3
convolution, no pooling, torchvision's basic blocks, two in each of four stages. It has the largest number
of channels with which it has no more FLOPs than the architecture found. It is trained with the settings
and seeds of the other networks.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.resnet import BasicBlock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rlnas_core.images.arrays import load
from rlnas_core.model.comparison import compare, hits, stacked
from rlnas_core.model.loading import model_of
from rlnas_core.training.standalone import LabelledImages, RetrainingSettings, retrain

STAGES = 4


def resnet18(channels: int, classes: int, in_channels: int) -> nn.Module:
    """ResNet-18 for small images, with a given number of channels in the first stage."""
    layers: list[nn.Module] = [nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)]
    layers += [nn.BatchNorm2d(channels), nn.ReLU()]
    width = channels
    for stage in range(STAGES):
        before, width, stride = width, channels * 2**stage, 2 if stage else 1
        shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        layers += [BasicBlock(before, width, stride, shortcut if stage else None), BasicBlock(width, width)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def flops(network: nn.Module, in_channels: int, image_size: int) -> float:
    """FLOPs (multiply-adds) of a network for one image."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(1, in_channels, image_size, image_size))
    return counter.get_total_flops() / 2


def main() -> None:
    """Train ResNet-18 with each seed; print accuracies and by how much the network found is better."""
    run = Path(sys.argv[1])
    config = json.loads((run / "model/model.json").read_text(encoding="utf-8"))
    space, name = config["space"], config["made_by"]["dataset"]
    folder, trained = run / "data" / name, run / "retrained" / space / name
    dataset = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    images, labels = load(folder, "valid"), np.load(folder / "valid_labels.npy")
    train = LabelledImages(load(folder, "train"), np.load(folder / "train_labels.npy"), dataset["classes"])
    valid = LabelledImages(images, labels, dataset["classes"])
    right, settings, seeds = {}, {}, []
    for path in sorted(trained.glob("*/*/weights.safetensors")):
        model = model_of(path, dataset)
        made_by = model.description.made_by
        right[made_by["architecture"], int(made_by["seed"])] = hits(model, images, labels)
        if made_by["architecture"] == "found":
            settings, seeds = made_by["settings"], [*seeds, int(made_by["seed"])]
            most = flops(model.network, dataset["in_channels"], dataset["image_size"])
    sizes = {"classes": dataset["classes"], "in_channels": dataset["in_channels"]}
    channels = 1
    while flops(resnet18(channels + 1, **sizes), sizes["in_channels"], dataset["image_size"]) <= most:
        channels += 1
    network = resnet18(channels, **sizes)
    weights = sum(weight.numel() for weight in network.parameters())
    taken = flops(network, sizes["in_channels"], dataset["image_size"])
    print(f"ResNet-18, {channels} channels: {weights:,} parameters, {taken:,.0f} FLOPs (found: {most:,.0f})")
    architecture: Any = SimpleNamespace(
        name="resnet18",
        sizes=(),
        extras=(),
        network=lambda genes, **of: resnet18(channels, **of),
        to_string=lambda genes: ["ResNet-18"],
    )
    for seed in seeds:
        network, _ = retrain(architecture, np.zeros(0), train, valid, RetrainingSettings(**settings), seed)
        right["ResNet-18", seed] = hits(network.eval(), images, labels)
    with pd.option_context("display.width", 200, "display.max_columns", None):
        print(compare(stacked(right), "found").round(1).to_string(index=False))


if __name__ == "__main__":
    main()
