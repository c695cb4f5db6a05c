"""Check a configuration against its schema and fill in the defaults."""

import copy
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from rlnas_core.configuration.contradictions import contradictions
from rlnas_core.configuration.derived import searched_datasets
from rlnas_core.configuration.schema import mistakes, with_defaults
from rlnas_core.images.facts import FACTS
from rlnas_core.machine.downloads import DOWNLOADS


class ConfigurationError(ValueError):
    """A configuration that can't be run; the message gives each key, its value and supported values."""


def validate(config: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a valid configuration with all defaults filled in.

    Reads no file. Raises `ConfigurationError` with one line per mistake: key, value and supported values.
    """
    _refuse(mistakes(config, schema))
    filled = with_defaults(copy.deepcopy(dict(config)), schema, schema)
    _refuse(list(contradictions(filled, schema)))
    return filled


def resolve_paths(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy with existing paths: `{data}` is replaced, and the first existing path of a list used.

    A CIFAR path in `{data}` is dropped if `data` is null, so that CIFAR is downloaded. Raises
    `ConfigurationError` that names the key of each path that doesn't exist.
    """
    resolved = copy.deepcopy(dict(config))
    wrong = []
    for key, entry in _sources(resolved).items():
        if (labels := entry.get("labels")) is not None and not Path(labels).is_file():
            wrong.append(f"{key}.labels: got {labels}, which is no file; give a CSV of file and class")
        if entry["path"] is None:
            continue
        places = [entry["path"]] if isinstance(entry["path"], str) else entry["path"]
        if config["data"] is None and any("{data}" in place for place in places):
            if not (entry["source"] in FACTS and FACTS[entry["source"]].downloaded):
                wrong.append(
                    f"data: got null, but {key}.path uses {{data}}; give a directory, as in "
                    "--config data=DIR (make plan DATA=DIR)"
                    + (f": {DOWNLOADS['imagenet']}" if key == "datasets.imagenet" else "")
                )
            entry["path"] = None
            continue
        places = [place.replace("{data}", str(config["data"])) for place in places]
        if odd := [place for place in places if {"{", "}"} & set(place)]:
            wrong.append(f"{key}.path: got {odd[0]}; accepted: no braces but those of {{data}}")
            continue
        entry["path"] = next((place for place in places if Path(place).exists()), None)
        if entry["path"] is None:
            wrong.append(
                f"{key}.path: got {' and '.join(places)}, which doesn't exist; give a path that does"
            )
    _refuse(wrong)
    return resolved


def leave_out_missing(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a copy without the searches and transfers whose files are missing, and the reasons.

    The reasons are by the names of the benchmark's datasets and of scenes. The benchmark itself is never left
    out, and neither are all searches.
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
    """Return one line for each source with a key in `read` whose files are missing."""
    everything = {f"datasets.{name}": entry for name, entry in config["datasets"].items()}
    return [f"{key}.path: {line}" for key, line in _missing(everything | _sources(config)) if key in read]


def _missing(sources: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """The key of each source that has no path and can't be downloaded, and the remedy."""
    for key, entry in sources.items():
        if entry["path"] is None and entry["source"] in DOWNLOADS:
            yield key, f"needs {DOWNLOADS[entry['source']]}; give its path as {key}.path"


def unusable_files(config: Mapping[str, Any], read: Collection[str]) -> list[str]:
    """Return one line for each source with a key in `read` whose files can't be used.

    It reads tables, checksums and images. Missing files are left to `missing_files`.
    """
    lines = []
    for key, entry in _sources(config).items():
        if key not in read or (entry["path"] is None and entry["source"] != "digits"):
            continue
        try:
            _read_source(config, key, entry)
        except (ValueError, OSError) as error:
            about = re.match(r"(\w+): got ", str(error))  # the setting that is wrong, if not the path
            lines.append(f"{key}.{error}" if about and about[1] in entry else f"{key}.path: {error}")
    return lines


def _read_source(config: Mapping[str, Any], key: str, entry: Mapping[str, Any]) -> None:
    """Read the files of a source; ValueError or OSError if they can't be used.

    The readers are imported here, since this takes seconds and environments for planning may lack them.
    """
    section, _, name = key.partition(".")
    if section == "benchmark":
        from rlnas_core.benchmark import accuracies

        accuracies.inspect(entry["source"], entry["path"], entry["checksum"], config["searches"])
    elif section == "transfer":
        from rlnas_core import transfer

        transfer.get(name).read(entry["path"])
    else:
        _read_images(entry, _largest_batch(config, name))


def _read_images(entry: Mapping[str, Any], batch_size: int) -> None:
    import numpy as np

    from rlnas_core.images import sources
    from rlnas_core.images.preparation import Reading, inspect

    names = ("source", "path", "classes", "split", "decode", "colours", "crop", "labels", "per_class")
    asked = {name: entry[name] for name in names}
    found, *_ = inspect(Reading(**asked, downloads="resources/downloads", batch_size=batch_size))
    if entry["source"] == "image-folder":
        pools = [pool for pool in (found.train, found.test) if pool is not None]
        if entry["decode"] == "once":
            sources.refuse_unreadable(Path(entry["path"]), sum(len(pool.labels) for pool in pools))
        else:
            sources.refuse_unopenable(Path(entry["path"]), np.concatenate([pool.files for pool in pools]))


def _sources(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Every source that is read from files of the user, by key."""
    of_large = [*config["large_spaces"].values(), *config["retraining"].values()]
    used = sorted({*searched_datasets(config), *(dataset for datasets in of_large for dataset in datasets)})
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
    """The largest batch of any training on an image dataset."""
    trainings = [config["supernet"]] if dataset in searched_datasets(config) else []
    trainings += [
        found[dataset][part]
        for section, part in (("large_spaces", "supernet"), ("retraining", "network"))
        for found in config[section].values()
        if dataset in found
    ]
    return max(training["batch_size"] for training in trainings)


def _refuse(lines: list[str]) -> None:
    if lines:
        raise ConfigurationError("the configuration can't be run:\n  " + "\n  ".join(lines))
