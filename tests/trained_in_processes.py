"""Train a few things under torchrun, or alone, and write what each process saw."""

import dataclasses
import itertools
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_model

from rlnas_core.images.arrays import ImageArray, load
from rlnas_core.labels.pretext import Rotation
from rlnas_core.labels.sources import RedrawnLabels
from rlnas_core.spaces import get
from rlnas_core.training.loop import Run
from rlnas_core.training.standalone import LabelledImages, RetrainingSettings, retrain
from rlnas_core.training.supernet import SupernetSettings, train_supernet

SHORT = {"device": "cpu", "kernels": "torch", "epochs": 1, "batch_size": 128, "learning_rate": 0.01}
SUPERNETS = {
    "nas_bench_201": SupernetSettings(channels=4, cells=1, **SHORT),
    "darts": SupernetSettings(channels=4, cells=3, affine=True, clip_norm=5, nesterov=False, **SHORT),
    # Its depthwise convolutions of many channels take long in float64.
    "mobilenet": SupernetSettings(clip_value=5, decayed="convolutions", **SHORT | {"batch_size": 16}),
}
STEPS = {"nas_bench_201": 5, "darts": 5, "mobilenet": 2}
NETWORK = RetrainingSettings(
    channels=4, cells=3, imagenet=False, auxiliary=0.4, drop=0.2, warmup_epochs=0.5, **SHORT
)


class Doubled(ImageArray):
    """Images in float64, in which rounding is no matter."""

    def batch(self, indices, part, generator, device):
        return super().batch(indices, part, generator, device).double()

    def plain(self, indices, device):
        return super().plain(indices, device).double()


class Stopping(Doubled):
    """Images that ask the process to stop at the third batch."""

    calls = itertools.count(1)

    def batch(self, indices, part, generator, device):
        if next(self.calls) == 3:
            signal.raise_signal(signal.SIGTERM)
        return super().batch(indices, part, generator, device)


def quiet(line):
    """Log nothing."""


def watched(space, seen):
    draw = space.sample

    def sample(n, rng):
        seen.append(draw(n, rng))
        return seen[-1]

    space.sample = sample
    return space


def main(folder, out, rank, what):
    images, valid = (Doubled(**vars(load(folder, split))) for split in ("train", "valid"))
    images = dataclasses.replace(images, images=images.images[:640])
    labels, valid_labels = (np.load(folder / f"{split}_labels.npy") for split in ("train", "valid"))
    labels = labels[:640]
    torch.set_default_dtype(torch.float64)
    rng = np.random.default_rng(0)
    shuffled = RedrawnLabels("shuffle-each-step", labels, 10, rng)
    for name, settings in SUPERNETS.items() if what == "everything" else ():
        seen, count = [], STEPS[name] * settings.batch_size
        few = dataclasses.replace(images, images=images.images[:count])
        _, statistics = train_supernet(
            watched(get(name), seen),
            few,
            Rotation(rng) if name == "nas_bench_201" else shuffled,
            settings,
            0,
            run=Run(quiet),
        )
        statistics.save(out / f"{name}-{rank}.npz")
        np.save(out / f"{name}-{rank}-paths.npy", np.array(seen))
    state = None if rank == "alone" else out / "state"
    if what == "stopped" and rank == "1":  # one process alone hears of it
        images = Stopping(**vars(images))
    space = get("darts")
    genes = space.sample(1, np.random.default_rng(0))[0]
    few = dataclasses.replace(images, images=images.images[:256])
    networks = {"network": (images, NETWORK, state)}
    if what == "everything":
        networks["norm-batch"] = few, dataclasses.replace(NETWORK, norm_batch=64), None
    for name, (seen, settings, checkpoint) in networks.items():
        model, accuracies = retrain(
            space,
            genes,
            LabelledImages(seen, labels[: len(seen)], 10),
            LabelledImages(valid, valid_labels, 10),
            settings,
            0,
            run=Run(quiet, checkpoint=checkpoint),
        )
        save_model(model, out / f"{name}-{rank}.safetensors")
        np.save(out / f"{name}-{rank}-accuracies.npy", list(accuracies.values()))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), Path(sys.argv[2]), os.environ.get("RANK", "alone"), sys.argv[3])
