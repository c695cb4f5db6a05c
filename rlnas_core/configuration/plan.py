"""Estimate the cost of a run: multiply-adds, core hours and disk of the remaining jobs."""

import math
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rlnas_core.configuration.derived import backbone_sizes, channels, classes
from rlnas_core.images.facts import FACTS, default_split, split_sizes
from rlnas_core.spaces import SearchSpace, get, published

_CPU = Path("/proc/cpuinfo")
#: Fixed core seconds of a training step, and multiply-adds per second beyond them, by the widest vectors of
#: the processor (`benchmarks/throughput.py`), in float32, with this project's kernels if they support it. The
#: large spaces were measured with AVX-512 when NAS-Bench-201 took 1.6 times as long as in
#: docs/performance.md; the numbers are corrected for this.
SPEEDS = {
    "avx512": {"nas_bench_201": (0.001, 70e9), "darts": (0.019, 19e9), "mobilenet": (0.19, 32e9)},
    "avx2": {"nas_bench_201": (0.0016, 32e9), "darts": (0.0465, 4.4e9), "mobilenet": (0.585, 17e9)},
}
for speeds in SPEEDS.values():
    speeds["chain"] = speeds["mobilenet"]
#: The same for a forward pass of NAS-Bench-201's networks on torch; and below, the number of such
#: passes that a proxy takes per architecture, measured at 8x8 pixels.
EAGERS = {"avx512": (0.006, 20e9), "avx2": (0.0024, 23e9)}
#: The key for this processor; processors other than x86-64 count as the slower one.
VECTORS = "avx512" if "avx512f" in (_CPU.read_text() if _CPU.exists() else "") else "avx2"
SPEED, EAGER = SPEEDS[VECTORS], EAGERS[VECTORS]
PROXY_PASSES = {
    "naswot": 1.8, "jacobian-covariance": 2.7, "synflow": 1.8, "gradient-norm": 3.5, "snip": 3.1,
    "grasp": 7.8, "fisher": 2.6, "zen": 3.3, "zico": 4.8, "az-nas": 5.3,
}  # fmt: skip
#: TFLOP/s that an H100 reaches in NAS-Bench-201 at the paper's size in float32 (docs/gpu.md): in a supernet's
#: training, and in scoring by validation accuracy.
GPU_TFLOPS, GPU_SCORING_TFLOPS = 2.3, 7.7
SCORINGS = ("score_validation_accuracy", "search_by_accuracy")
SCRIPT, PICTURE = 2.0, 0.004  # core seconds to start a script, and to decode a photograph
TRAINING_STEP = 3  # forward passes: the backward pass takes two
#: Training images with objects, decoding time of one in photographs of usual size, and images of a miniature.
SCENES = {"coco": (117_266, 1.6, 40), "cityscapes": (2_975, 11, 40)}
#: Counts of torch's FlopCounterMode on networks of the paper's size: the relative cost of a network as a
#: backbone at the same image size (DeepLab-v3 dilates its last stage), multiply-adds of pyramid and heads per
#: pixel of the image, and their parameters.
TRANSFERS = {
    ("coco", "darts"): (1.0, 148e3, 10.9e6),
    ("coco", "mobilenet"): (0.92, 147e3, 9.2e6),
    ("cityscapes", "darts"): (1.83, 26.4e3, 7.0e6),
    ("cityscapes", "mobilenet"): (1.51, 15.8e3, 3.4e6),
}
TRANSFERS |= {(scenes, "chain"): TRANSFERS[scenes, "mobilenet"] for scenes in ("coco", "cityscapes")}
_COUNTED = 224, 256  # pixels of a side of the images and channels of RetinaNet's pyramid that these are of
_DOWNLOAD = 3.6e8  # bytes of a CIFAR archive and its content
_SCORES = 9.4e5  # bytes of a file of scores of the whole space
_SUMS = 24  # bytes of the three sums of a weight group after an epoch
_CHECKPOINTS = 3  # the last, the previous and the one being written
_SAMPLE = 1000  # architectures in a sample of all


@dataclass(frozen=True)
class Cost:
    """The cost of a job; NaN where it was not measured.

    `flops` are the multiply-adds of its networks and `network_seconds` their core seconds; `seconds` are the
    core seconds of everything else. `disk` is the size of its results in bytes, `checkpoint` that of its
    checkpoints, which are removed when it has finished.
    """

    flops: float = 0
    network_seconds: float = 0
    seconds: float = SCRIPT
    disk: float = 0
    checkpoint: float = 0


UNKNOWN = Cost(*[math.nan] * 5)


def count_images(dataset: Mapping[str, Any]) -> tuple[int, int]:
    """The numbers of training and validation images of an entry of `datasets`; files are counted."""
    if dataset["source"] not in FACTS:
        from rlnas_core.images.preparation import Reading, inspect  # imports torch

        names = ("source", "path", "split", "decode", "labels", "per_class")
        asked = {name: dataset[name] for name in names if name in dataset}
        _, train_rows, (_, rows) = inspect(Reading(**asked))
        return len(train_rows), len(rows)
    facts = FACTS[dataset["source"]]
    split = dataset["split"] or default_split(dataset["source"], facts.classes, facts.train, facts.test)
    train, valid = split_sizes(facts.train, facts.test, split)
    return min(train, facts.classes * (dataset["per_class"] or train)), valid


def estimate(
    jobs: Iterable[tuple[str, Mapping[str, str]]],
    config: Mapping[str, Any],
    images: Mapping[str, tuple[int, int]],
) -> pd.DataFrame:
    """Add up the costs of jobs, each a rule and its wildcards; return one row per rule.

    `config` is a validated configuration; `images` are the numbers of training and validation images of each
    dataset. Columns are `jobs` and those of `Cost`; `checkpoint` is the largest of a rule, not the sum.
    """
    rows = [{"rule": rule, **asdict(_cost(rule, of, config, images))} for rule, of in jobs]
    groups = pd.DataFrame(rows, columns=["rule", *asdict(UNKNOWN)]).groupby("rule", sort=False)
    table = groups.sum(skipna=False).assign(checkpoint=groups["checkpoint"].max())
    table.insert(0, "jobs", groups.size())
    return table


def describe(table: pd.DataFrame, gpu_tflops: float | None = None) -> str:
    """The result of `estimate` as text, with hours on an H100, or a GPU that reaches `gpu_tflops` TFLOP/s."""
    measured = np.where(table.index.isin(SCORINGS), GPU_SCORING_TFLOPS, GPU_TFLOPS)
    shown = pd.DataFrame(
        {
            "jobs": table["jobs"],
            "10^15 FLOPs": table["flops"] / 1e15,
            "CPU hours": table["network_seconds"] / 3600,
            "or GPU hours": 2 * table["flops"] / ((gpu_tflops or measured) * 1e12) / 3600,
            "other CPU hours": table["seconds"] / 3600,
            "disk, GB": table["disk"] / 1e9,
        }
    )
    shown = shown.sort_values(["CPU hours", "jobs"], ascending=False, na_position="first")
    shown.loc["total"] = total = shown.sum()
    largest = table["checkpoint"].max() / 1e9
    speed = (
        f"reaches {gpu_tflops:g} TFLOP/s"
        if gpu_tflops
        else f"is as fast as an H100 in NAS-Bench-201 in float32 ({GPU_TFLOPS:g} TFLOP/s in training, "
        f"{GPU_SCORING_TFLOPS:g} in scoring by validation accuracy; other networks were not timed)"
    )
    kept = f"Unfinished trainings keep checkpoints of up to {_number(largest)} GB each."
    notes = textwrap.fill(
        "FLOPs are the multiply-adds of networks; CPU hours are their hours on one core of a cloud machine, "
        "within a factor of two: divide by your cores. Other CPU hours are those of everything else. GPU "
        f"hours replace CPU hours on a GPU that {speed}, at two operations per multiply-add; --gpu-tflops is "
        f"another speed. {kept if largest >= 0.01 else ''}",
        width=110,
    )
    notes = f"\n{notes}\n"
    if len(unknown := shown.index[shown["10^15 FLOPs"].isna()]):
        notes += f"? was not measured and is not in the total: {', '.join(unknown)}.\n"
    hours = float(total["CPU hours"] + total["other CPU hours"])
    minutes = max(1, round(60 * hours))
    time = f"{minutes} minute{'s' if minutes > 1 else ''}" if minutes < 100 else f"{_number(hours)} hours"
    widths = [len(str(name)) + 2 for name in shown.columns]  # two spaces between headings
    text = shown.map(_number).to_string(index_names=False, col_space=widths)
    return f"{text}\n{notes}In all about {time} of one core without a GPU.\n"


def _number(value: float) -> str:
    """A number with two digits, the precision of an estimate."""
    if math.isnan(value):
        return "?"
    if value == round(value):
        return f"{value:.0f}" if value else "-"
    return f"{float(f'{value:.2g}'):.10g}" if value >= 0.01 else "<0.01"


def _cost(
    rule: str, of: Mapping[str, str], config: Mapping[str, Any], images: Mapping[str, tuple[int, int]]
) -> Cost:
    match rule:
        case "train_supernet":
            large = config["large_spaces"].get(of["space"])
            settings = config["supernet"] if large is None else large[of["dataset"]]["supernet"]
            space, network = _network(of, int(of["categories"]), settings, config)
            fixed, table = space.cost_table(**network)
            _, flops = _means(space, None, network)
            training = _training(of, float(fixed[0] + table[0].sum()), flops, settings, config, images)
            cells = settings["cells"] * (3 if large is None else 1) if "cells" in space.sizes else 1
            sums = (settings["epochs"] + 1) * cells * space.num_genes * len(space.operations)
            return replace(training, disk=training.disk + _SUMS * sums)
        case "retrain_architecture":
            settings = config["retraining"][of["space"]][of["dataset"]]["network"]
            space, network = _network(of, classes(config, of["dataset"]), settings, config)
            params, flops = _of_architecture(space, of["architecture"], network)
            return _training(of, params, flops, settings, config, images, eager=True)
        case "score_validation_accuracy" | "search_by_accuracy":
            return _scoring(of, config, images)
        case "score_proxy":
            return _proxy(of, config)
        case "prepare_dataset":
            entry, number = config["datasets"][of["dataset"]], sum(images[of["dataset"]])
            once, folder = entry["decode"] == "once", entry["source"] == "image-folder"
            pixels = channels(config, of["dataset"]) * entry["image_size"] ** 2
            download = _DOWNLOAD if entry["source"].startswith("cifar") and not entry["path"] else 0
            return Cost(
                seconds=SCRIPT + PICTURE * number * (once and folder), disk=pixels * number * once + download
            )
        case "draw_labels":
            return Cost(disk=8 * images[of["dataset"]][of["split"] == "valid"])
        case "score_angle":
            return Cost(disk=_SCORES)
        case "transfer_architecture":
            return _transfer(of, config)
        case "extract_benchmark" if config["benchmark"]["source"] in ("official", "nats-bench"):
            return UNKNOWN
    return Cost()


def _network(
    of: Mapping[str, str], categories: int, settings: Mapping[str, Any], config: Mapping[str, Any]
) -> tuple[SearchSpace, dict[str, Any]]:
    """The space, and arguments of its `cost_table`, without sizes that the settings leave open."""
    space, entry = get(of["space"]), config["datasets"][of["dataset"]]
    network: dict[str, Any] = {
        name: settings[name]
        for name in ("channels", "cells", "imagenet")
        if name in space.sizes and settings[name] is not None
    }
    return space, {**network, "image_size": entry["image_size"], "classes": categories}


def _means(space: SearchSpace, genes: np.ndarray | None, network: Mapping[str, Any]) -> tuple[float, float]:
    """Mean parameters and multiply-adds of architectures; None for a sample of all."""
    genes = space.sample(_SAMPLE, np.random.default_rng(0)) if genes is None else genes
    params, flops = space.cost(genes, **network)
    return float(params.mean()), float(flops.mean())


def _of_architecture(space: SearchSpace, name: str, network: Mapping[str, Any]) -> tuple[float, float]:
    """Parameters and multiply-adds of a published architecture, or the means for any other."""
    known = published().get(name)
    own = {**known.network, **network} if known else network
    return _means(space, known.genes[None] if known else None, own)


def training_seconds(space: str, flops: float, batch: int, steps: float, *, eager: bool = False) -> float:
    """Core seconds of `steps` training steps with batches of a network with `flops` multiply-adds.

    With `eager`, networks of NAS-Bench-201 run on torch's operations, as stand-alone networks do.
    """
    each_step, rate = SPEED[space]
    if eager and space == "nas_bench_201":
        each_step, rate = TRAINING_STEP * EAGER[0], EAGER[1]
    return steps * (each_step + TRAINING_STEP * flops * batch / rate)


def _training(
    of: Mapping[str, str],
    params: float,
    flops: float,
    settings: Mapping[str, Any],
    config: Mapping[str, Any],
    images: Mapping[str, tuple[int, int]],
    *,
    eager: bool = False,
) -> Cost:
    number, batch = images[of["dataset"]][0], settings["batch_size"]
    steps = settings["epochs"] * (number // batch)
    decoded = settings["epochs"] * number * (config["datasets"][of["dataset"]]["decode"] == "each-time")
    return Cost(
        flops=TRAINING_STEP * flops * batch * steps,
        network_seconds=training_seconds(of["space"], flops, batch, steps, eager=eager),
        seconds=SCRIPT + PICTURE * decoded,
        disk=4 * params,
        # Weights and momenta, and the weights of the best epoch where they are kept
        checkpoint=_CHECKPOINTS * (12 if settings.get("kept") == "best" else 8) * params,
    )


def _transfer(of: Mapping[str, str], config: Mapping[str, Any]) -> Cost:
    """RetinaNet on images of the largest size (miniatures are square), or DeepLab-v3 on its crops."""
    transfer, space = config["transfer"][of["scenes"]], get(of["space"])
    settings, given = transfer["training"], backbone_sizes(config, of["scenes"], of["space"])
    sizes = {name: size for name, size in given.items() if name in space.sizes}
    params, flops = _of_architecture(space, of["architecture"], {**sizes, "classes": 1})
    (number, photographs, few), miniature = SCENES[of["scenes"]], transfer["source"] == "miniature"
    number = few if miniature else number
    more, heads, head_params = TRANSFERS[of["scenes"], of["space"]]
    if of["scenes"] == "coco":
        pixels = settings["short_side"] * settings["short_side" if miniature else "long_side"]
        heads *= (settings["channels"] / _COUNTED[1]) ** 2
    else:
        pixels = settings["crop"] ** 2
    seen = settings["epochs"] * number
    passes = TRAINING_STEP * seen * pixels
    own, others = passes * more * flops / _COUNTED[0] ** 2, passes * heads
    each_step, rate = SPEED[of["space"]]
    steps = settings["epochs"] * (number // settings["batch_size"])
    return Cost(
        flops=own + others,
        # Pyramid and heads are plain convolutions, like those of NAS-Bench-201.
        network_seconds=steps * each_step + own / rate + others / SPEED["nas_bench_201"][1],
        seconds=SCRIPT + PICTURE * seen * (1 if miniature else photographs),
        disk=4 * (params + head_params),
        checkpoint=_CHECKPOINTS * 8 * (params + head_params),
    )


def _proxy(of: Mapping[str, str], config: Mapping[str, Any]) -> Cost:
    """Each function of the space processes the proxy's images several times, on torch's operations."""
    space, network = _network(
        {**of, "space": "nas_bench_201"}, int(of["categories"]), config["supernet"], config
    )
    enumerated = get("nas_bench_201")
    _, first = np.unique(enumerated.isomorphism_classes(), return_index=True)
    distinct = enumerated.canonical(enumerated.enumerate()[first])
    _, flops = _means(space, distinct, network)
    passes = PROXY_PASSES[of["proxy"]] * len(distinct)
    total = passes * flops * (1 if of["proxy"] == "synflow" else config["proxies"]["images"])
    each_pass, rate = EAGER
    return Cost(total, each_pass * passes + total / rate, disk=_SCORES)


def _scoring(of: Mapping[str, str], config: Mapping[str, Any], images: Mapping[str, tuple[int, int]]) -> Cost:
    """Each scored architecture processes the calibration and validation images once."""
    if large := config["large_spaces"].get(of.get("space")):
        search, genes = large[of["dataset"]], None
        evolution, settings = search["evolution"], search["supernet"]
        count = evolution["population"] * evolution["iterations"]
        if of["search"] == "random-search":
            count = config["random_search"]["architectures"]
    else:
        of, settings, enumerated = {**of, "space": "nas_bench_201"}, config["supernet"], get("nas_bench_201")
        genes = np.unique(enumerated.canonical(enumerated.enumerate()), axis=0)
        count = len(genes)
    space, network = _network(of, int(of["categories"]), settings, config)
    train, valid = images[of["dataset"]]
    asked = config["validation"]
    seen = min(asked["calibration_images"], train) + min(asked["images"] or valid, valid)
    total = _means(space, genes, network)[1] * seen * count
    each_step, rate = SPEED[of["space"]]
    return Cost(total, each_step * count + total / rate, disk=_SCORES * (genes is not None))
