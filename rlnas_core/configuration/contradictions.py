"""Contradictions between settings, which a schema can't express."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from rlnas_core.configuration.derived import channels, found_architectures, model_limit, searched_datasets
from rlnas_core.configuration.schema import in_yaml
from rlnas_core.images.facts import FACTS
from rlnas_core.search.names import ArchitectureName
from rlnas_core.spaces import get, published

_NEEDED = ("path", "classes")
_COMMON = "the cost that one in 5,000 random networks stays within"


def contradictions(config: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """One line for each contradiction: key, value and supported values."""
    yield from _contradictions_of_benchmark(config)
    yield from _contradictions_of_large_spaces(config, schema)
    yield from _contradictions_of_networks(config, schema)
    if config["model"]:
        yield from _contradictions_of_model(config)
    for name, entry in config["datasets"].items():
        yield from _contradictions_of_images(f"datasets.{name}", entry)
    for name in _datasets_of_nas_bench_201(config):
        if name in config["datasets"] and (size := config["datasets"][name]["image_size"]) % 4:
            yield (
                f"datasets.{name}.image_size: got {size}; accepted: a multiple of 4 (NAS-Bench-201 halves "
                "images twice)"
            )
    searched = searched_datasets(config)
    yield from _contradictions_of_training(config, "supernet", config["supernet"], "supernet", searched)
    yield from _contradictions_of_evolution("evolution", config["evolution"])
    yield from _unused_sizes("supernet", "nas_bench_201", config["supernet"], schema["$defs"]["supernet"])


def _contradictions_of_benchmark(config: Mapping[str, Any]) -> Iterator[str]:
    """Contradictions of NAS-Bench-201's table and of the images that its datasets are searched on."""
    datasets, benchmark = config["datasets"], config["benchmark"]
    if benchmark["source"] == "included" and benchmark["path"] is not None:
        yield f"benchmark.path: got {benchmark['path']}; the included table has none, give source: csv"
    if benchmark["source"] == "csv" and benchmark["path"] is None:
        yield "benchmark.path: got null; csv needs a table of index, arch and accuracies in percent"
    if not config["searches"] and not config["model"]:
        yield "searches: got {}; give a benchmark's dataset and the images that it is searched on, or model"
    for benchmark_dataset, dataset in config["searches"].items():
        key = f"searches.{benchmark_dataset}"
        if dataset not in datasets:
            yield f"{key}: got '{dataset}', an unknown dataset; accepted: {', '.join(datasets)}"
        elif datasets[dataset]["split"] == "test" and config["validation"]["seeds"]:
            yield (
                f"{key}: got '{dataset}' with split: test, so that validation accuracy would choose by the "
                "test images; give another split, or validation.seeds: []"
            )


def _contradictions_of_large_spaces(config: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    datasets, described = config["datasets"], schema["$defs"]["supernet"]
    for space, searched in config["large_spaces"].items():
        for dataset, search in searched.items():
            key, supernet = f"large_spaces.{space}.{dataset}", search["supernet"]
            if dataset not in datasets:
                yield f"{key}: got an unknown dataset; accepted: {', '.join(datasets)}"
            yield from _contradictions_of_training(
                config, f"{key}.supernet", supernet, "large_supernet", [dataset]
            )
            yield from _contradictions_of_evolution(f"{key}.evolution", search["evolution"])
            yield from _unused_sizes(f"{key}.supernet", space, supernet, described)
            yield from _too_low(f"{key}.limits", space, [limit for limit in search["limits"] if limit])
            by_accuracy = [method for method in search["methods"] if method in ("A", "random-search")]
            if by_accuracy and datasets.get(dataset, {}).get("split") == "test":
                yield (
                    f"{key}.methods: got {', '.join(by_accuracy)}, which would choose by the test images; "
                    f"accepted with datasets.{dataset}.split: test: B, D"
                )


def _contradictions_of_images(key: str, entry: Mapping[str, Any]) -> Iterator[str]:
    source, size, pad = entry["source"], entry["image_size"], entry["pad"]
    if source not in FACTS:
        yield from (f"{key}.{part}: got null; {source} needs it" for part in _NEEDED if not entry[part])
    elif entry["classes"] not in (None, FACTS[source].classes):
        yield f"{key}.classes: got {entry['classes']}; {source} has {FACTS[source].classes}, leave it out"
    if pad is not None and pad > size:
        yield f"{key}.pad: got {pad}; accepted: at most image_size ({size})"
    if entry["decode"] == "each-time" and source != "image-folder":
        yield f"{key}.decode: got each-time; accepted with {source}: once"
    if entry["jitter"] and entry["decode"] == "once":
        yield f"{key}.jitter: got {in_yaml(entry['jitter'])}; accepted with decode once: null"
    if source != "image-folder":
        for part in ("labels", "colours", "crop"):
            if (got := entry[part]) not in (None, "colour", "whole"):
                yield f"{key}.{part}: got {in_yaml(got)}; only an image-folder has it, leave it out"
    elif entry["labels"] is True:
        yield f"{key}.labels: got true; accepted: a CSV, false, or null"
    elif entry["decode"] == "each-time":
        for part, only in (("colours", "colour"), ("crop", "whole")):
            if entry[part] != only:
                yield f"{key}.{part}: got {entry[part]}; accepted with decode each-time: {only}"
    if entry["path"] is not None and source == "digits":
        yield f"{key}.path: got {in_yaml(entry['path'])}; digits come with scikit-learn, leave it out"


def _datasets_of_nas_bench_201(config: Mapping[str, Any]) -> list[str]:
    """The image datasets on which supernets or networks of NAS-Bench-201 run."""
    model, figure, proxies = config["model"], config["figure1"], config["proxies"]
    used = {name for name, asked in config["retraining"]["nas_bench_201"].items() if asked["seeds"]}
    if model:
        used |= {model["images"]} if model["space"] == "nas_bench_201" else set()
    elif (
        any(config["seeds"].values())
        or (figure["seeds"] and figure["categories"])
        or (proxies["seeds"] and proxies["names"])
    ):
        used |= set(config["searches"].values())
    return sorted(used)


def _contradictions_of_training(
    config: Mapping[str, Any], key: str, settings: Mapping[str, Any], job: str, datasets: Sequence[str] = ()
) -> Iterator[str]:
    epochs, schedule = settings["epochs"], settings.get("schedule_epochs")
    if schedule is not None and schedule < epochs:
        yield f"{key}.schedule_epochs: got {schedule}; accepted: {key}.epochs ({epochs}) or more"
    size, gpus = settings["batch_size"], config["jobs"][job]["gpus"]
    rates = settings["learning_rate"], settings.get("final_learning_rate", 0)
    if rates[1] > rates[0]:
        yield f"{key}.final_learning_rate: got {rates[1]:g}; accepted: at most learning_rate ({rates[0]:g})"
    warmup = settings.get("warmup_epochs", 0)
    if warmup and warmup >= epochs:
        yield f"{key}.warmup_epochs: got {warmup:g}; accepted: less than epochs ({epochs})"
    group, part = settings.get("norm_batch"), size // (gpus or 1)
    if group and part % group:
        yield f"{key}.norm_batch: got {group}; accepted: a divisor of {part}, a GPU's part of a batch"
    grey = [name for name in datasets if name in config["datasets"] and channels(config, name) == 1]
    if grey and settings.get("lighting"):
        yield f"{key}.lighting: got {settings['lighting']:g}; accepted with images without colours: 0"
    if settings.get("short_side", 0) > settings.get("long_side", 0):
        short, long = settings["short_side"], settings["long_side"]
        yield f"{key}.short_side: got {short}; accepted: at most long_side ({long})"
    if gpus and size % gpus:
        yield f"{key}.batch_size: got {size}; accepted: a multiple of jobs.{job}.gpus ({gpus})"


def _unused_sizes(
    key: str, name: str, settings: Mapping[str, Any], schema: Mapping[str, Any]
) -> Iterator[str]:
    """Yield one line for each changed size that networks of a space don't have."""
    space = get(name)
    sizes = {"channels", "cells", "imagenet", "affine", "dilated_norm", "auxiliary", "drop", "dropout"}
    for part in sorted(sizes & settings.keys() - {*space.sizes, *space.extras}):
        got, default = settings[part], schema["properties"][part]["default"]
        if got != default:
            yield f"{key}.{part}: got {in_yaml(got)}; networks of {name} don't have it, leave it out"


def _contradictions_of_evolution(key: str, settings: Mapping[str, Any]) -> Iterator[str]:
    population, keep = settings["population"], settings["keep"]
    children = settings["mutations"] + settings["crossovers"]
    if children > population:
        yield f"{key}: got mutations + crossovers {children}; accepted: at most {population} (population)"
    if keep > population:
        yield f"{key}.keep: got {keep}; accepted: at most {population} (population)"


def _contradictions_of_networks(config: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    described = schema["$defs"]["retrained_space"]["additionalProperties"]["properties"]["network"]
    for space, retrainings in config["retraining"].items():
        for dataset, retraining in retrainings.items():
            key = f"retraining.{space}.{dataset}"
            if dataset not in config["datasets"]:
                yield f"{key}: got an unknown dataset; accepted: {', '.join(config['datasets'])}"
            yield from _unknown_architectures(f"{key}.published", config, space, retraining["published"])
            yield from _too_low(f"{key}.random", space, retraining["random"])
            network = retraining["network"]
            ranked = retraining["draws"] > 1 and retraining["random"] and retraining["seeds"]
            searched = dataset in config["large_spaces"].get(space, {})
            if ranked and searched and space == "darts" and network["channels"] is None:
                yield f"{key}.network.channels: got null; accepted with several draws: a number"
            if network["auxiliary"] and network["cells"] < 2:
                yield f"{key}.network.auxiliary: got it with 1 cell; accepted: with 2 or more, or 0"
            yield from _contradictions_of_training(config, f"{key}.network", network, "retraining", [dataset])
            yield from _unused_sizes(f"{key}.network", space, network, described)
    for name, transfer in config["transfer"].items():
        key, pretrained = f"transfer.{name}", transfer["pretrained"]
        if transfer["source"] == "miniature" and transfer["path"] is not None:
            yield f"{key}.path: got {in_yaml(transfer['path'])}; a miniature has none, give source: {name}"
        yield from _contradictions_of_training(config, f"{key}.training", transfer["training"], "transfer")
        for space, architectures in transfer["architectures"].items():
            yield from _unknown_architectures(f"{key}.architectures.{space}", config, space, architectures)
            drawn = [name for name in map(ArchitectureName.parse, architectures) if name and name.random]
            limits = [name.limit for name in drawn if name.limit is not None]
            yield from _too_low(f"{key}.architectures.{space}", space, limits)
            if architectures and pretrained is not None and not _serves(config, space, pretrained):
                yield (
                    f"{key}.pretrained: got {pretrained}; accepted: a dataset of colour images under "
                    f"retraining.{space} with seeds, network.imagenet true and 3 or more network.cells, or "
                    "null for none"
                )


def _serves(config: Mapping[str, Any], space: str, dataset: str) -> bool:
    """Whether networks retrained on a dataset can be backbones: for colours, with strides of 8, 16 and 32."""
    retraining = config["retraining"][space].get(dataset)
    if not retraining or dataset not in config["datasets"] or channels(config, dataset) != 3:
        return False
    network = retraining["network"]
    return bool(retraining["seeds"]) and network["imagenet"] and network["cells"] >= 3


def _contradictions_of_model(config: Mapping[str, Any]) -> Iterator[str]:
    model = config["model"]
    space, limit, images = model["space"], model["limit"], model["images"]
    trained = [("model.labelled", model["labelled"]) if model["labelled"] else ("model.images", images)]
    trained += [(f"model.few.{place}", name) for place, name in enumerate(model["few"])]
    lines = []
    for key, name in dict([*trained, ("model.images", images)]).items():
        if name not in config["datasets"]:
            lines.append(
                f"{key}: got '{name}', an unknown dataset; accepted: {', '.join(config['datasets'])}"
            )
    seeds = {name: config["retraining"][space].get(name, {}).get("seeds", []) for _, name in trained}
    for key, name in trained:
        if not seeds[name]:
            lines.append(f"{key}: got '{name}'; give its network and seeds in retraining.{space}.{name}")
        elif (first := seeds[trained[0][1]]) and seeds[name] != first:
            got = in_yaml(seeds[name])
            lines.append(f"retraining.{space}.{name}.seeds: got {got}; accepted: {in_yaml(first)}")
    if model["few"] and not model["labelled"]:
        lines.append(f"model.few: got {in_yaml(model['few'])}; it needs model.labelled, or give []")
    if space != "nas_bench_201" and images not in config["large_spaces"][space]:
        lines.append(f"model.images: got '{images}'; give its supernet in large_spaces.{space}")
    yield from lines
    if not lines and limit["most"] is not None:
        least = model_limit(config).common(get(space)) / 1e6
        if limit["most"] < least:
            yield (
                f"model.limit.most: got {limit['most']:g} million {limit['measure']}; accepted: at least "
                f"{math.ceil(1e3 * least) / 1e3:g}, {_COMMON}"
            )


def _unknown_architectures(
    key: str, config: Mapping[str, Any], space: str, names: Sequence[str]
) -> Iterator[str]:
    known = [name for name, architecture in published().items() if architecture.space.name == space]
    if key.endswith("published"):
        accepted, random = known, False
    else:
        accepted, random = [*known, *found_architectures(config, space), "random-SEED-LIMIT"], True
    for name in names:
        own = ArchitectureName.parse(name)
        if name not in accepted and not (random and own and own.random):
            yield f"{key}: got {name}; accepted: {', '.join(accepted)}"


def _too_low(key: str, name: str, limits: Sequence[int]) -> Iterator[str]:
    if not limits:
        return
    if name == "chain":
        yield f"{key}: got {', '.join(map(str, limits))}; chains are not drawn at random, give []"
        return
    least = _least(name)
    yield from (
        f"{key}: got {limit} million FLOPs; accepted: at least {least}, {_COMMON}"
        for limit in limits
        if limit < least
    )


@cache
def _least(space: str) -> int:
    """The lowest limit of a space's networks, in million FLOPs; to draw them takes a fifth of a second."""
    return math.ceil(get(space).common() / 1e6)
