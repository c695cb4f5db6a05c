"""Check a configuration against its schema and fill in the defaults."""

import copy
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlnas_core.machine.downloads import DOWNLOADS
from rlnas_core.search.names import ArchitectureName

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

    from rlnas_core.spaces import SearchSpace

CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet16-120": 120, "digits": 10}
"""Number of classes of every image source that fixes it; an image folder states its own."""

_NEEDED = ("path", "classes")
_DOWNLOADED = ("cifar10", "cifar100")


class ConfigurationError(ValueError):
    """A configuration that can't be run; the message names each key, what was got and what is accepted."""


def validate(config: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a configuration with all defaults filled in, once it is known to be sound.

    Reads no file. Raises `ConfigurationError` with one line a mistake: key, what was got, what is accepted.
    """
    import jsonschema  # jobs use this module too, and their environments don't have it

    strict = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
        {name: partial(_is_a, name) for name in ("integer", "number", "string")}
    )
    validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=strict)(schema)
    errors = sorted(validator.iter_errors(config), key=lambda error: error.json_path)
    _refuse([_explain(error) for error in errors])
    filled = _with_defaults(copy.deepcopy(dict(config)), schema, schema)
    _refuse(list(_contradictions(filled, schema)))
    return filled


def resolve_paths(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy with the paths that exist: `{data}` is replaced, the first place of a list taken.

    CIFAR is downloaded where its path is in a folder that `data` doesn't name. Raises `ConfigurationError`
    that names the key of each path that doesn't exist.
    """
    resolved = copy.deepcopy(dict(config))
    mistakes = []
    for key, entry in _sources(resolved).items():
        if (labels := entry.get("labels")) is not None and not Path(labels).is_file():
            mistakes.append(f"{key}.labels: got {labels}, which is no file; give a CSV of file and class")
        if entry["path"] is None:
            continue
        places = [entry["path"]] if isinstance(entry["path"], str) else entry["path"]
        if config["data"] is None and any("{data}" in place for place in places):
            if entry["source"] not in _DOWNLOADED:
                mistakes.append(
                    f"data: got null, but {key}.path is in it; give a folder, as in --config data=DIR"
                    + (f": {DOWNLOADS['imagenet']}" if key == "datasets.imagenet" else "")
                )
            entry["path"] = None
            continue
        places = [place.replace("{data}", str(config["data"])) for place in places]
        if odd := [place for place in places if {"{", "}"} & set(place)]:
            mistakes.append(f"{key}.path: got {odd[0]}; accepted: no braces but those of {{data}}")
            continue
        entry["path"] = next((place for place in places if Path(place).exists()), None)
        if entry["path"] is None:
            mistakes.append(
                f"{key}.path: got {' and '.join(places)}, which doesn't exist; give a path that does"
            )
    _refuse(mistakes)
    return resolved


def leave_out_missing(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a copy without what needs files that aren't there, and why each is left out.

    The reasons are by the names of the benchmark's datasets and of scenes. Nothing stands for the benchmark
    itself, which is never left out, and neither is everything that is searched.
    """
    left, reasons = copy.deepcopy(dict(config)), {}
    missing = {key.split(".")[1]: line for key, line in _missing(_sources(config)) if key != "benchmark"}
    for name, dataset in config["searches"].items():
        if dataset in missing and set(config["searches"].values()) - set(missing):
            reasons[name] = missing[dataset]
            del left["searches"][name]
    for section in ("large_spaces", "retraining"):
        left[section] = {
            space: {dataset: asked for dataset, asked in datasets.items() if dataset not in missing}
            for space, datasets in left[section].items()
        }
    for scenes in config["transfer"].keys() & missing.keys():
        reasons[scenes] = missing[scenes]
        left["transfer"][scenes]["architectures"] = {space: [] for space in config["large_spaces"]}
    return left, reasons


def missing_files(config: Mapping[str, Any], read: Collection[str]) -> list[str]:
    """Return one line for each source, of those whose keys are in `read`, that nobody has fetched."""
    everything = {f"datasets.{name}": entry for name, entry in config["datasets"].items()}
    return [f"{key}.path: {line}" for key, line in _missing(everything | _sources(config)) if key in read]


def _missing(sources: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """The key of each source that has no path and can't be downloaded, and what to do."""
    for key, entry in sources.items():
        if entry["path"] is None and entry["source"] in DOWNLOADS:
            yield key, f"needs {DOWNLOADS[entry['source']]}; name the place in {key}.path"


def unusable_files(config: Mapping[str, Any], read: Collection[str]) -> list[str]:
    """Return one line for each source, of those whose keys are in `read`, whose files can't be used.

    It reads tables, checksums and images. Files that aren't there are left to `missing_files`.
    """
    # Planning needs none of these, and an environment that only plans may not have them.
    import numpy as np

    from rlnas_core.benchmark import accuracies
    from rlnas_core.images import arrays, sources
    from rlnas_core.transfer import detection, segmentation

    lines = []
    for key, entry in _sources(config).items():
        if key not in read or (entry["path"] is None and entry["source"] != "digits"):
            continue
        try:
            if key == "benchmark":
                accuracies.inspect(entry["source"], entry["path"], entry["checksum"], config["searches"])
                continue
            if key == "transfer.coco":
                detection.read_coco(entry["path"])
                continue
            if key == "transfer.cityscapes":
                segmentation.read_cityscapes(entry["path"])
                continue
            names = ("classes", "split", "decode", "colours", "crop", "labels", "per_class")
            asked = {name: entry[name] for name in names}
            size = _largest_batch(config, key.removeprefix("datasets."))
            found, *_ = arrays.inspect(
                entry["source"], entry["path"], downloads="resources/downloads", batch_size=size, **asked
            )
            if entry["source"] == "image-folder":
                pools = [pool for pool in (found.train, found.test) if pool is not None]
                if entry["decode"] == "once":
                    sources.refuse_unreadable(Path(entry["path"]), sum(len(pool.labels) for pool in pools))
                else:
                    pictures = np.concatenate([pool.files for pool in pools])
                    sources.refuse_unopenable(Path(entry["path"]), pictures)
        except (ValueError, OSError) as error:
            lines.append(f"{key}.path: {error}")
    return lines


def classes(config: Mapping[str, Any], dataset: str) -> int:
    """Return the true number of classes of an image dataset."""
    entry = config["datasets"][dataset]
    return CLASSES.get(entry["source"]) or entry["classes"]


def _sources(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Everything that is read from files of the user, by its key."""
    of_large = [*config["large_spaces"].values(), *config["retraining"].values()]
    used = sorted({*config["searches"].values(), *(dataset for datasets in of_large for dataset in datasets)})
    transfers = {
        f"transfer.{name}": transfer
        for name, transfer in config["transfer"].items()
        if transfer["source"] != "miniature" and any(transfer["architectures"].values())
    }
    return {
        **{f"datasets.{name}": config["datasets"][name] for name in used},
        "benchmark": config["benchmark"],
        **transfers,
    }


def _largest_batch(config: Mapping[str, Any], dataset: str) -> int:
    """The largest batch that is made of an image dataset."""
    trainings = [config["supernet"]] if dataset in config["searches"].values() else []
    trainings += [
        found[dataset][part]
        for section, part in (("large_spaces", "supernet"), ("retraining", "network"))
        for found in config[section].values()
        if dataset in found
    ]
    return max(training["batch_size"] for training in trainings)


def _refuse(mistakes: list[str]) -> None:
    if mistakes:
        raise ConfigurationError("the configuration can't be run:\n  " + "\n  ".join(mistakes))


_KINDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text in one line",
    "integer": "a whole number of at most 32 bits",
    "number": "a finite number",
    "boolean": "true or false",
    "null": "null",
}
_SHOWN = 80  # characters of a value


def _is_a(kind: str, checker: Any, value: Any) -> bool:
    """Types as this configuration means them: JSON takes 1.0 for an integer, and YAML knows .nan and .inf."""
    if isinstance(value, bool):
        return False
    match kind:
        case "integer":
            return isinstance(value, int) and abs(value) < 2**32
        case "number":
            return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, str) and value.isprintable()


def _in_yaml(value: Any) -> str:
    """A value as its author wrote it, if it isn't too long for a message."""
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case float() if not math.isfinite(value):
            return "." + str(value).replace("-", "")
        case list() | dict() if not value:
            return repr(value)
        case list():
            shown = f"[{', '.join(map(_in_yaml, value))}]"
        case _:
            shown = repr(value)
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."


def _explain(error: "ValidationError") -> str:
    key = ".".join(str(part) for part in error.absolute_path) or "configuration"
    got = f"{key}: got {_in_yaml(error.instance)}"
    match error.validator:
        case "enum":
            known = [_in_yaml(value).strip("'") for value in error.validator_value]
            return f"{got}; accepted: {', '.join(known)}"
        case "type":
            kinds = (
                [error.validator_value] if isinstance(error.validator_value, str) else error.validator_value
            )
            return f"{got}; accepted: {' or '.join(_KINDS[kind] for kind in kinds)}"
        case "additionalProperties":
            known = error.schema["properties"]
            unknown = [name for name in error.instance if name not in known]
            return f"{key}: got unknown key {', '.join(map(repr, unknown))}; accepted: {', '.join(known)}"
        case "required":
            absent = [name for name in error.validator_value if name not in error.instance]
            return f"{key}: got no {', '.join(absent)}; required: {', '.join(error.validator_value)}"
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum":
            relation = {
                "minimum": "at least",
                "maximum": "at most",
                "exclusiveMinimum": "more than",
                "exclusiveMaximum": "less than",
            }
            return f"{got}; accepted: {relation[error.validator]} {error.validator_value}"
        case "pattern":
            return f"{got}; accepted: text that matches {error.validator_value}"
        case "uniqueItems":
            return f"{got}; accepted: no value twice"
        case "minItems" | "minProperties":
            return f"{got}; accepted: {error.validator_value} or more of them"
        case "maxItems":
            return f"{got}; accepted: {error.validator_value} of them"
        case "maxLength":
            return f"{got}; accepted: {error.validator_value} characters"
    return f"{got}; {error.message}"


def resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema with what it refers to; what stands beside the reference, in properties too, goes first."""
    if "$ref" not in schema:
        return schema
    shared = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    own, others = (part.get("properties", {}) for part in (schema, shared))
    properties = {name: {**others.get(name, {}), **own.get(name, {})} for name in others | own}
    return {**shared, **schema, "properties": properties}


def _with_defaults(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    schema = resolved(schema, root)
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    for name, entry in properties.items():
        entry = resolved(entry, root)
        if name not in value and "default" in entry:
            value[name] = copy.deepcopy(entry["default"])
    others = schema.get("additionalProperties")
    return {
        name: _with_defaults(item, properties.get(name, others if isinstance(others, dict) else {}), root)
        for name, item in value.items()
    }


def _contradictions(config: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield one line for each combination that no schema can forbid."""
    datasets, benchmark = config["datasets"], config["benchmark"]
    if benchmark["source"] == "included" and benchmark["path"] is not None:
        yield f"benchmark.path: got {benchmark['path']}; the included table has none, give source: csv"
    if benchmark["source"] == "csv" and benchmark["path"] is None:
        yield "benchmark.path: got null; csv needs a table of index, arch and accuracies in percent"
    described = schema["$defs"]["supernet"]
    for benchmark_dataset, dataset in config["searches"].items():
        key = f"searches.{benchmark_dataset}"
        if dataset not in datasets:
            yield f"{key}: got '{dataset}', an unknown dataset; accepted: {', '.join(datasets)}"
    for space, searched in config["large_spaces"].items():
        for dataset, search in searched.items():
            key = f"large_spaces.{space}.{dataset}"
            if dataset not in datasets:
                yield f"{key}: got an unknown dataset; accepted: {', '.join(datasets)}"
            yield from _contradictions_of_training(
                config, f"{key}.supernet", search["supernet"], "large_supernet"
            )
            yield from _contradictions_of_evolution(f"{key}.evolution", search["evolution"])
            yield from _unused_sizes(
                f"{key}.supernet", space, search["supernet"], schema["$defs"]["supernet"]
            )
            yield from _too_low(f"{key}.limits", space, [limit for limit in search["limits"] if limit])
    yield from _contradictions_of_networks(config, schema)
    for name, entry in datasets.items():
        key, fixed = f"datasets.{name}", CLASSES.get(entry["source"])
        if fixed is None:
            yield from (
                f"{key}.{part}: got null; {entry['source']} needs it" for part in _NEEDED if not entry[part]
            )
        elif entry["classes"] not in (None, fixed):
            yield f"{key}.classes: got {entry['classes']}; {entry['source']} has {fixed}, leave it out"
        yield from _contradictions_of_images(key, entry)
    yield from _contradictions_of_training(config, "supernet", config["supernet"], "supernet")
    yield from _contradictions_of_evolution("evolution", config["evolution"])
    yield from _unused_sizes("supernet", "nas_bench_201", config["supernet"], described)


def _contradictions_of_images(key: str, entry: Mapping[str, Any]) -> Iterator[str]:
    source, size, pad = entry["source"], entry["image_size"], entry["pad"]
    if pad is not None and pad > size:
        yield f"{key}.pad: got {pad}; accepted: at most image_size ({size})"
    if entry["decode"] == "each-time" and source != "image-folder":
        yield f"{key}.decode: got each-time; accepted with {source}: once"
    if entry["jitter"] and entry["decode"] == "once":
        yield f"{key}.jitter: got {_in_yaml(entry['jitter'])}; accepted with decode once: null"
    if source != "image-folder":
        for part in ("labels", "colours", "crop"):
            if (got := entry[part]) not in (None, "colour", "whole"):
                yield f"{key}.{part}: got {_in_yaml(got)}; only an image-folder has it, leave it out"
    elif entry["decode"] == "each-time":
        for part, only in (("colours", "colour"), ("crop", "whole")):
            if entry[part] != only:
                yield f"{key}.{part}: got {entry[part]}; accepted with decode each-time: {only}"
    if entry["path"] is not None and source == "digits":
        yield f"{key}.path: got {_in_yaml(entry['path'])}; digits come with scikit-learn, leave it out"


def _contradictions_of_training(
    config: Mapping[str, Any], key: str, settings: Mapping[str, Any], job: str
) -> Iterator[str]:
    epochs, schedule = settings["epochs"], settings.get("schedule_epochs")
    if schedule is not None and schedule < epochs:
        yield f"{key}.schedule_epochs: got {schedule}; accepted: {key}.epochs ({epochs}) or more"
    rates = settings["learning_rate"], settings.get("final_learning_rate", 0)
    if rates[1] > rates[0]:
        yield f"{key}.final_learning_rate: got {rates[1]:g}; accepted: at most learning_rate ({rates[0]:g})"
    warmup = settings.get("warmup_epochs", 0)
    if warmup and warmup >= epochs:
        yield f"{key}.warmup_epochs: got {warmup:g}; accepted: less than epochs ({epochs})"
    if settings.get("short_side", 0) > settings.get("long_side", 0):
        short, long = settings["short_side"], settings["long_side"]
        yield f"{key}.short_side: got {short}; accepted: at most long_side ({long})"
    size, gpus = settings["batch_size"], config["jobs"][job]["gpus"]
    if gpus and size % gpus:
        yield f"{key}.batch_size: got {size}; accepted: a multiple of jobs.{job}.gpus ({gpus})"


def _unused_sizes(
    key: str, name: str, settings: Mapping[str, Any], schema: Mapping[str, Any]
) -> Iterator[str]:
    """Yield one line for each size that a space doesn't have and that isn't left as it is."""
    if (space := _space(name)) is None:
        return
    sizes = {"channels", "cells", "imagenet", "affine", "dilated_norm", "auxiliary", "drop"}
    for part in sorted(sizes & settings.keys() - {*space.sizes, *space.extras}):
        got, default = settings[part], schema["properties"][part]["default"]
        if got != default:
            yield f"{key}.{part}: got {_in_yaml(got)}; networks of {name} don't have it, leave it out"


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
            if network["auxiliary"] and network["cells"] < 2:
                yield f"{key}.network.auxiliary: got it with 1 cell; accepted: with 2 or more, or 0"
            yield from _contradictions_of_training(config, f"{key}.network", network, "retraining")
            yield from _unused_sizes(f"{key}.network", space, network, described)
    for name, transfer in config["transfer"].items():
        key, pretrained = f"transfer.{name}", transfer["pretrained"]
        yield from _contradictions_of_training(config, f"{key}.training", transfer["training"], "transfer")
        for space, architectures in transfer["architectures"].items():
            yield from _unknown_architectures(f"{key}.architectures.{space}", config, space, architectures)
            drawn = [name for name in map(ArchitectureName.parse, architectures) if name and name.random]
            limits = [name.limit for name in drawn if name.limit is not None]
            yield from _too_low(f"{key}.architectures.{space}", space, limits)
            retraining = config["retraining"][space].get(pretrained)
            fits = retraining and retraining["seeds"] and retraining["network"]["imagenet"]
            if architectures and pretrained is not None and not fits:
                yield (
                    f"{key}.pretrained: got {pretrained}; accepted: a dataset under retraining.{space} with "
                    "seeds and network.imagenet true, or null for none"
                )


def found_architectures(config: Mapping[str, Any], space: str) -> list[str]:
    """Names of what a run's searches by angle in a space find: DATASET-CATEGORIES-SEED-LIMIT, also `-scaled`.

    What DARTS searches find without a limit is scaled to the channels that 600 million allow. What other
    methods than RLNAS find has the method at the end.
    """
    if space == "nas_bench_201":
        return [
            str(ArchitectureName(seed, None, dataset, classes(config, dataset)))
            for dataset in sorted(set(config["searches"].values()))
            if dataset in config["datasets"]
            for seed in config["seeds"]["uniform-once"]
        ]
    return [
        str(ArchitectureName(seed, limit, dataset, classes(config, dataset), scaled, method))
        for dataset, search in config["large_spaces"].get(space, {}).items()
        if dataset in config["datasets"]
        for seed in search["seeds"]
        for limit in search["limits"]
        for method in search["methods"]
        for scaled in ([False, True] if space == "darts" and limit is None else [False])
    ]


def backbone_sizes(config: Mapping[str, Any], scenes: str, space: str) -> dict[str, int]:
    """Sizes of a backbone: those of the retrained network, or the transfer's own where none was trained."""
    transfer = config["transfer"][scenes]
    dataset = transfer["pretrained"]
    sizes = config["retraining"][space][dataset]["network"] if dataset else transfer["network"]
    return {name: sizes[name] for name in ("channels", "cells") if sizes[name] is not None}


def _unknown_architectures(
    key: str, config: Mapping[str, Any], space: str, names: Sequence[str]
) -> Iterator[str]:
    try:
        from rlnas_core.spaces import published
    except ImportError:
        return
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
    if not limits or (space := _space(name)) is None:
        return
    if name == "chain":
        yield f"{key}: got {', '.join(map(str, limits))}; chains are not drawn at random, give []"
        return
    cheapest = space.cheapest() / 1e6
    yield from (
        f"{key}: got {limit} million multiply-accumulates; accepted: at least {cheapest:.0f}, what the "
        "cheapest network of the space takes"
        for limit in limits
        if limit < cheapest
    )


def _space(name: str) -> "SearchSpace | None":
    """The search space of that name; None where only planning is possible."""
    try:
        from rlnas_core.spaces import get
    except ImportError:
        return None
    return get(name)
