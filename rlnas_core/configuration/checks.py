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
    `ConfigurationError` that names the key of each path that doesn't exist, and for a `data` that no path
    uses.
    """
    resolved = copy.deepcopy(dict(config))
    wrong = []
    if config["data"] is not None and "{data}" not in str(config):
        wrong.append(
            f"data: got {config['data']}, but no path contains {{data}}; leave it out, or give "
            "datasets.NAME.path instead"
        )
    for key, entry in _sources(resolved).items():
        for part in ("path", "labels"):
            if entry.get(part) not in (None, False):
                try:
                    entry[part] = _resolved(f"{key}.{part}", entry, entry[part], config["data"])
                except ValueError as error:
                    wrong.append(str(error))
    _refuse(wrong)
    return resolved


def _resolved(key: str, entry: Mapping[str, Any], given: str | list[str], data: str | None) -> str | None:
    """The first existing path, or null for images to download; ValueError if there is none."""
    places = [given] if isinstance(given, str) else given
    if data is None and not (places := [place for place in places if "{data}" not in place]):
        if entry["source"] in FACTS and FACTS[entry["source"]].downloaded:
            return None
        raise ValueError(
            f"data: got null, but {key} uses {{data}}; give a directory, as in --config data=DIR (make plan "
            "DATA=DIR)" + (f": {DOWNLOADS['imagenet']}" if key == "datasets.imagenet.path" else "")
        )
    places = [place.replace("{data}", str(data)) for place in places]
    if odd := [place for place in places if {"{", "}"} & set(place)]:
        raise ValueError(f"{key}: got {odd[0]}; accepted: no braces but those of {{data}}")
    found = next((place for place in places if Path(place).exists()), None)
    if found is None:
        raise ValueError(f"{key}: got {' and '.join(places)}, which doesn't exist; give a path that does")
    if key.endswith(".labels") and not Path(found).is_file():
        raise ValueError(f"{key}: got {found}, which is no file; give a CSV of file and class")
    return found


def leave_out_missing(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a copy without the searches in NAS-Bench-201 and the transfers whose files are missing.

    Also returns the reasons, by the names of the benchmark's datasets and of scenes. Nothing else is left
    out, and neither are all searches: a run that needs missing files stops before its first job.
    """
    left, reasons = copy.deepcopy(dict(config)), {}
    missing = dict(_missing(_sources(config)))
    kept = {name for name, dataset in config["searches"].items() if f"datasets.{dataset}" not in missing}
    for name, dataset in config["searches"].items():
        if kept and name not in kept:
            reasons[name] = missing[f"datasets.{dataset}"]
            del left["searches"][name]
    for scenes, transfer in left["transfer"].items():
        if f"transfer.{scenes}" in missing and any(transfer["architectures"].values()):
            reasons[scenes] = missing[f"transfer.{scenes}"]
            transfer["architectures"] = {space: [] for space in transfer["architectures"]}
    return left, reasons


def missing_files(config: Mapping[str, Any], read: Collection[str]) -> list[str]:
    """Return one line for each source with a key in `read` whose files are missing."""
    return [f"{key}.path: {line}" for key, line in _missing(_sources(config)) if key in read]


def _missing(sources: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """The key of each source that has no path and can't be downloaded, and the remedy."""
    for key, entry in sources.items():
        if entry["path"] is None and entry["source"] in DOWNLOADS:
            yield key, f"needs {DOWNLOADS[entry['source']]}; give its path as {key}.path"


def unusable_files(
    config: Mapping[str, Any],
    read: Collection[str],
    labelled: Collection[str] = (),
    validated: Collection[str] = (),
    prepared: Path | str = "",
) -> list[str]:
    """Return one line for each source with a key in `read` whose files can't be used.

    It reads tables, checksums and images. `labelled` are the image datasets whose labels are needed,
    `validated` those whose validation images are. Those that aren't read are in the directory `prepared`.
    Missing files are left to `missing_files`.
    """
    lines: list[str] = []
    readable: dict[str, set[str]] = {}  # datasets with the same images need one check
    for key, entry in _sources(config).items():
        section, _, name = key.partition(".")
        needed = name in labelled, name in validated
        try:
            if key in read and (entry["path"] is not None or entry["source"] == "digits"):
                _read_source(config, key, entry, needed, readable.setdefault(entry["path"], set()))
            elif key not in read and section == "datasets" and any(needed):
                _refuse_unfit(entry, *_prepared(Path(prepared, name)), *needed)
        except (ValueError, OSError) as error:
            about = re.match(r"(\w+): got ", str(error))  # the setting that is wrong, if not the path
            where = f"{key}.path" if key in read else key  # or what an earlier run made of it
            lines.append(f"{key}.{error}" if about and about[1] in entry else f"{where}: {error}")
    return lines


def _read_source(
    config: Mapping[str, Any],
    key: str,
    entry: Mapping[str, Any],
    needed: tuple[bool, bool],
    readable: set[str],
) -> None:
    """Read the files of a source, but for images known as readable; ValueError or OSError if unusable.

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
        _read_images(entry, _largest_batch(config, name), needed, readable)


def _read_images(
    entry: Mapping[str, Any], batch_size: int, needed: tuple[bool, bool], readable: set[str]
) -> None:
    import numpy as np

    from rlnas_core.images import sources
    from rlnas_core.images.preparation import Reading, inspect

    names = ("source", "path", "classes", "split", "decode", "colours", "crop", "labels", "per_class")
    asked = {name: entry[name] for name in names}
    asked |= {"downloads": "resources/downloads", "batch_size": batch_size}
    found, _, (_, validation) = inspect(Reading(**asked))
    _refuse_unfit(entry, found.classes > 0, len(validation), *needed)
    if entry["source"] == "image-folder":
        pools = [pool for pool in (found.train, found.test) if pool is not None]
        if entry["decode"] == "once":
            unread = {name for pool in pools for name in pool.names} - readable
            sources.refuse_unreadable(Path(entry["path"]), unread)
            readable |= unread
        else:
            sources.refuse_unopenable(Path(entry["path"]), np.concatenate([pool.files for pool in pools]))


def _prepared(folder: Path) -> tuple[bool, int]:
    """Whether prepared images have labels, and the number of validation images."""
    from rlnas_core.machine import files

    labelled = files.read_json(folder / "dataset.json", ["labelled"])["labelled"]
    return labelled, len(files.read_array(folder / "valid_labels.npy", mmap_mode="r"))


def _refuse_unfit(
    entry: Mapping[str, Any], labels: bool, validation: int, labelled: bool, validated: bool
) -> None:
    if labelled and not labels:
        raise ValueError(
            f"{entry['path']}: got images without labels, which trainings and scorings with true labels "
            "need; give class directories or labels, or none of these: [] for seeds of ground-truth, "
            "shuffle-once and shuffle-each-step, for validation.seeds and for retraining's seeds, and in "
            "large_spaces methods: [D]"
        )
    if validated and not validation:
        raise ValueError(
            f"{entry['path']}: got no validation images, which validation accuracy and retraining need; give "
            "split: half-of-train or more images, or [] for validation.seeds and for retraining's seeds, and "
            "in large_spaces methods B and D alone"
        )


def _sources(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Every source that is read from files of the user, by key."""
    transfers = {
        f"transfer.{name}": transfer
        for name, transfer in config["transfer"].items()
        if transfer["source"] != "miniature"
    }
    datasets = {f"datasets.{name}": entry for name, entry in config["datasets"].items()}
    return {**datasets, "benchmark": config["benchmark"], **transfers}


def _largest_batch(config: Mapping[str, Any], dataset: str) -> int:
    """The largest batch of any training on an image dataset."""
    trainings = [config["supernet"]] if dataset in searched_datasets(config) else []
    trainings += [
        found[dataset][part]
        for section, part in (("large_spaces", "supernet"), ("retraining", "network"))
        for found in config[section].values()
        if dataset in found and (section == "large_spaces" or found[dataset]["seeds"])
    ]
    return max((training["batch_size"] for training in trainings), default=1)


def _refuse(lines: list[str]) -> None:
    if lines:
        raise ConfigurationError("the configuration can't be run:\n  " + "\n  ".join(lines))
