"""A wrong configuration is refused before any job, with the key, what was got and what is accepted."""

import copy
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from workflow import make_images

from rlnas_core.benchmark.accuracies import INCLUDED, read_table
from rlnas_core.configuration.checks import (
    ConfigurationError,
    leave_out_missing,
    missing_files,
    resolve_paths,
    unusable_files,
    validate,
)
from rlnas_core.configuration.derived import classes
from rlnas_core.spaces import get

CONFIG = Path(__file__).parents[2] / "config"
SCHEMA_FILE = CONFIG / "schemas/config.schema.yaml"
SCHEMA = yaml.safe_load(SCHEMA_FILE.read_text())
DEMO = {"run": "x", "datasets": {"digits": {"source": "digits"}}, "searches": {"cifar10": "digits"}}


FOLDER = {"source": "image-folder", "classes": 2}
OF_MODEL = {"space": "nas_bench_201", "images": "digits"}


def read(name):
    return yaml.safe_load((CONFIG / name).read_text())


def changed(**changes):
    """A minimal sound configuration with keys (dots as double underscores) set."""
    config = copy.deepcopy(DEMO)
    for key, value in changes.items():
        *parents, last = key.replace("__", ".").split(".")
        entry = config
        for parent in parents:
            entry = entry.setdefault(parent, {})
        entry[last] = value
    return config


@pytest.mark.parametrize(
    "name",
    ["config.yaml", "demo.yaml", "quick.yaml", "laptop.yaml", "rankings.yaml", "networks.yaml", "large.yaml"],
)
def test_shipped_configurations_are_sound(name):
    validate(read(name), SCHEMA)


def test_defaults_are_filled_in_at_every_depth_and_the_input_is_left_alone():
    config = changed(supernet={"epochs": 3}, jobs={"supernet": {"threads": 2}, "benchmark": {"threads": 2}})
    before = copy.deepcopy(config)
    filled = validate(config, SCHEMA)
    assert config == before
    assert filled["supernet"]["epochs"] == 3
    assert filled["supernet"]["channels"] == 16
    assert filled["datasets"]["digits"]["image_size"] == 32
    assert filled["jobs"]["supernet"] == {"threads": 2, "mem_mb": 4000, "runtime": 2880, "gpus": 0}
    assert filled["jobs"]["benchmark"] == {"threads": 2, "mem_mb": 2000, "runtime": 120, "gpus": 0}


def test_the_order_of_keys_and_explicit_defaults_change_no_setting():
    """Also as text, which Snakemake compares: otherwise a line that moves would repeat all trainings."""
    once = changed(supernet={"epochs": 3, "channels": 8}, datasets__digits__image_size=8)
    again = changed(datasets__digits={"image_size": 8, "pad": None, "source": "digits"})
    again = {"supernet": {"momentum": 0.9, "channels": 8, "epochs": 3}} | again
    assert repr(validate(once, SCHEMA)) == repr(validate(again, SCHEMA))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"datasets__digits__source": "cifar11"},
            "datasets.digits.source: got 'cifar11'; accepted: cifar10, cifar100,",
        ),
        (
            {"seeds": {"uniform-onse": [0]}},
            "seeds: got unknown key 'uniform-onse'; did you mean uniform-once? accepted: ground-truth,",
        ),
        ({"serches": {}}, "configuration: got unknown key 'serches'; did you mean searches? accepted: run,"),
        ({"supernet__epochs": 0}, "supernet.epochs: got 0; accepted: at least 1"),
        ({"supernet__epochs": "ten"}, "supernet.epochs: got 'ten'; accepted: a whole number\n"),
        (
            {"supernet__learning_rate": "1e-3"},
            "got '1e-3'; accepted: a finite number, not text: give it in a file, without quotes, and 1e-3 as",
        ),
        ({"supernet__epochs": 1.0}, "supernet.epochs: got 1.0; accepted: a whole number\n"),
        ({"supernet__epochs": True}, "supernet.epochs: got true; accepted: a whole number\n"),
        ({"supernet__epochs": 2**32}, "epochs: got 4294967296; accepted: a whole number of at most 32 bits"),
        ({"seeds": {"rotation": [10**29]}}, "seeds.rotation.0: got 1000000"),
        ({"seeds": None}, "seeds: got null; accepted: a mapping"),
        (
            {"seeds": {"rotation": None}},
            "seeds.rotation: got null; accepted: a list of whole numbers, such as [0, 1, 2]\n",
        ),
        ({"figure1__categories": 5}, "got 5; accepted: a list of whole numbers, such as [2, 3, 4]\n"),
        ({"proxies__names": "zen"}, "got 'zen'; accepted: a list, such as [naswot, jacobian-covariance]\n"),
        ({"datasets__digits__jitter": 0.4}, "jitter: got 0.4; accepted: a list of numbers or null\n"),
        ({"datasets__digits__path": 1}, "got 1; accepted: text in one line or a list of texts or null\n"),
        ({"supernet__learning_rate": float("nan")}, "supernet.learning_rate: got .nan; accepted: a finite"),
        ({"supernet__learning_rate": float("inf")}, "supernet.learning_rate: got .inf; accepted: a finite"),
        ({"supernet__nesterov": 1}, "supernet.nesterov: got 1; accepted: true or false"),
        ({"run": "demo\n"}, r"run: got 'demo\n'; accepted: text in one line"),
        ({"run": "x" * 101}, "accepted: 100 characters"),
        (
            {"datasets": {"digits\n": {"source": "digits"}}},
            r"datasets: got 'digits\n'; accepted: text",
        ),
        ({"datasets": {1: {"source": "digits"}}}, "datasets: got 1; accepted: text in one line"),
        ({"datasets__digits__path": "/data/\x00"}, "datasets.digits.path: got '/data/\\x00'; accepted: text"),
        (
            {"large_spaces__mobilenet__digits__supernet__channels": 8},
            "mobilenet.digits.supernet.channels: got 8;",
        ),
        ({"retraining__mobilenet__digits__network__cells": 8}, "mobilenet.digits.network.cells: got 8;"),
        ({"supernet__imagenet": True}, "supernet.imagenet: got true; networks of nas_bench_201"),
        ({"datasets__digits__jitter": [0.4, 0.4]}, "jitter: got [0.4, 0.4]; accepted: 4 or more of them"),
        (
            {"datasets__digits__image_size": 10},
            "image_size: got 10; accepted: a multiple of 4 (NAS-Bench-201 halves images twice)",
        ),
        ({"datasets__digits__pad": 33}, "datasets.digits.pad: got 33; accepted: at most image_size (32)"),
        ({"datasets__digits__decode": "each-time"}, "decode: got each-time; accepted with digits: once"),
        (
            {"datasets__digits__jitter": [0.1] * 4},
            "jitter: got [0.1, 0.1, 0.1, 0.1]; accepted with decode once",
        ),
        (
            {"datasets__digits__colours": "grey"},
            "datasets.digits.colours: got 'grey'; only an image-folder has it, leave it out",
        ),
        (
            {"datasets__digits": {**FOLDER, "path": "x", "decode": "each-time", "crop": "square"}},
            "datasets.digits.crop: got square; accepted with decode each-time: whole",
        ),
        (
            {"datasets__digits__path": "x.zip"},
            "path: got 'x.zip'; digits come with scikit-learn, leave it out",
        ),
        ({"datasets__digits__image_size": 10**6}, "image_size: got 1000000; accepted: at most 4096"),
        (
            {"supernet__final_learning_rate": 5.0},
            "supernet.final_learning_rate: got 5; accepted: at most learn",
        ),
        (
            {"retraining__darts__digits__network": {"epochs": 5, "warmup_epochs": 5}},
            "retraining.darts.digits.network.warmup_epochs: got 5; accepted: less than epochs (5)",
        ),
        (
            {"transfer__coco": {"source": "miniature", "path": "/data/coco"}},
            "transfer.coco.path: got '/data/coco'; a miniature has none, give source: coco",
        ),
        (
            {"transfer__coco__training": {"short_side": 200, "long_side": 100}},
            "transfer.coco.training.short_side: got 200; accepted: at most long_side (100)",
        ),
        (
            {
                "retraining__darts__digits": {},
                "transfer__coco": {"pretrained": "digits", "architectures": {"darts": ["DARTS-v2"]}},
            },
            "transfer.coco.pretrained: got digits; accepted: a dataset of colour images under retraining",
        ),
        (
            {
                "datasets__photos": {**FOLDER, "path": "x"},
                "retraining__darts__photos__network__cells": 2,
                "transfer__coco": {"pretrained": "photos", "architectures": {"darts": ["DARTS-v2"]}},
            },
            "transfer.coco.pretrained: got photos; accepted: a dataset of colour images under retraining."
            "darts with seeds, network.imagenet true and 3 or more network.cells, or null for none",
        ),
        ({"datasets__digits__path": []}, "datasets.digits.path: got []; accepted: 1 or more of them"),
        ({"supernet__momentum": 1}, "supernet.momentum: got 1; accepted: less than 1"),
        ({"supernet__path_per": "edge"}, "supernet.path_per: got 'edge'; accepted: cell, architecture"),
        (
            {"large_spaces__mobilenet__digits": {"limits": [475, 350]}},
            "large_spaces.mobilenet.digits.limits: got 350 million FLOPs; accepted: at least 421, the cost "
            "that one in 5,000 random networks stays within",
        ),
        (
            {"datasets__digits__split": "test"},
            "searches.cifar10: got 'digits' with split: test, so that validation accuracy would choose by",
        ),
        (
            {"datasets__digits__split": "test", "large_spaces__darts__digits": {"methods": ["D", "A"]}},
            "darts.digits.methods: got A, which would choose by the test images; accepted",
        ),
        (
            {"model": OF_MODEL | {"few": ["digits"]}, "retraining__nas_bench_201__digits": {}},
            "model.few: got ['digits']; it needs model.labelled, or give []",
        ),
        (
            {
                "datasets__few10": {"source": "digits"},
                "model": OF_MODEL | {"labelled": "digits", "few": ["few10"]},
                "retraining__nas_bench_201": {"digits": {}, "few10": {"seeds": [3]}},
            },
            "retraining.nas_bench_201.few10.seeds: got [3]; accepted: [0]",
        ),
        (
            {"large_spaces__darts__digits": {"supernet": {"lighting": 0.1}}},
            "large_spaces.darts.digits.supernet.lighting: got 0.1; accepted with images without colours: 0",
        ),
        (
            {"supernet__lighting": 0.1},
            "supernet.lighting: got 0.1; accepted with images without colours: 0",
        ),
        (
            {
                "large_spaces__darts__digits": {},
                "retraining__darts__digits": {"random": [600], "draws": 2},
            },
            "retraining.darts.digits.network.channels: got null; accepted with several draws: a number",
        ),
        (
            {"large_spaces__darts__photos": {}},
            "large_spaces.darts.photos: got an unknown dataset; accepted: digits",
        ),
        (
            {"large_spaces__darts__digits": {"supernet": {"epochs": 3, "schedule_epochs": 2}}},
            "large_spaces.darts.digits.supernet.schedule_epochs: got 2; accepted:",
        ),
        (
            {"retraining__darts__digits__random": [100]},
            "retraining.darts.digits.random: got 100 million FLOPs; accepted: at least",
        ),
        (
            {"transfer__coco__architectures__mobilenet": ["random-0-100"]},
            "transfer.coco.architectures.mobilenet: got 100 million FLOPs; accepted: at least",
        ),
        (
            {"retraining__darts__digits__network": {"auxiliary": 0.4, "cells": 1}},
            "retraining.darts.digits.network.auxiliary: got it with 1 cell; accepted: with 2 or more, or 0",
        ),
        (
            {"retraining__mobilenet__digits__network__drop": 0.2},
            "retraining.mobilenet.digits.network.drop: got 0.2; networks of mobilenet don't have it",
        ),
        (
            {"large_spaces__darts__digits": {}, "jobs__large_supernet__gpus": 3},
            "large_spaces.darts.digits.supernet.batch_size: got 64; accepted: a multiple of",
        ),
        (
            {"datasets__digits__jitter": [0, 0, 0, 1]},
            "datasets.digits.jitter.3: got 1; accepted: at most 0.5",
        ),
        (
            {"supernet__norm_batch": 48},
            "supernet.norm_batch: got 48; accepted: a divisor of 64, a GPU's part of a batch",
        ),
        ({"seeds__uniform-once": [0, 0]}, "seeds.uniform-once: got [0, 0]; accepted: no value twice"),
        (
            {"searches": {"cifar12": "digits"}},
            "searches: got 'cifar12'; accepted: cifar10, cifar100, imagenet16",
        ),
        (
            {"searches": {"cifar10": "photos"}},
            "searches.cifar10: got 'photos', an unknown dataset; accepted: digits",
        ),
        (
            {"benchmark": {"path": "table.csv"}},
            "benchmark.path: got table.csv; the included table has none, give source: csv",
        ),
        (
            {"benchmark": {"source": "csv"}},
            "benchmark.path: got null; csv needs a table",
        ),
        ({"run": "a/b"}, "run: got 'a/b'; accepted: text that matches"),
        ({"typo": 1}, "configuration: got unknown key 'typo'; accepted: run, data, datasets"),
        (
            {"datasets__photos": {"source": "image-folder"}},
            "datasets.photos.classes: got null; image-folder needs it",
        ),
        ({"datasets__digits__classes": 7}, "datasets.digits.classes: got 7; digits has 10"),
        ({"evolution__keep": 200}, "evolution.keep: got 200; accepted: at most 100 (population)"),
        (
            {"evolution__mutations": 80},
            "evolution: got mutations + crossovers 130; accepted: at most 100 (population)",
        ),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(ConfigurationError) as raised:
        validate(changed(**changes), SCHEMA)
    assert message in f"{raised.value}\n"


NONE = {labels: [] for labels in SCHEMA["properties"]["seeds"]["properties"]}


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({}, False),
        ({"figure1": {}}, True),
        ({"proxies": {"names": ["zen"]}}, True),
        ({"large_spaces__darts__digits": {}, "retraining__darts__digits": {}}, False),
        ({"retraining__nas_bench_201__digits": {}}, True),
        ({"retraining__nas_bench_201__digits__seeds": []}, False),
        ({"model": OF_MODEL, "retraining__nas_bench_201__digits": {}, "searches": {}}, True),
        (
            {
                "model": OF_MODEL | {"space": "mobilenet"},
                "retraining__mobilenet__digits": {},
                "large_spaces__mobilenet__digits": {},
                "seeds": {},
            },
            False,
        ),
    ],
)
def test_image_sizes_are_limited_where_nas_bench_201_runs(changes, refused):
    config = changed(datasets__digits__image_size=10, **{"seeds": NONE, "figure1": {"seeds": []}} | changes)
    if refused:
        with pytest.raises(ConfigurationError, match=r"datasets\.digits\.image_size: got 10"):
            validate(config, SCHEMA)
    else:
        validate(config, SCHEMA)


def test_one_section_given_for_several_is_filled_in_for_each():
    shared = {"threads": 1}
    jobs = validate(changed(jobs={"data": shared, "supernet": shared}), SCHEMA)["jobs"]
    assert shared == {"threads": 1}
    for name in ("data", "supernet"):
        assert jobs[name] == validate(changed(jobs={name: {"threads": 1}}), SCHEMA)["jobs"][name]


def test_a_missing_key_is_named():
    with pytest.raises(ConfigurationError, match="configuration: got no datasets; required: run, datasets"):
        validate({"run": "x", "searches": DEMO["searches"]}, SCHEMA)
    with pytest.raises(ConfigurationError, match=r"searches: got \{\}; give a benchmark"):
        validate({"run": "x", "datasets": DEMO["datasets"]}, SCHEMA)


def test_all_mistakes_are_reported_at_once():
    with pytest.raises(ConfigurationError) as raised:
        validate(changed(supernet__epochs=0, supernet__cells=0), SCHEMA)
    assert "supernet.epochs" in str(raised.value)
    assert "supernet.cells" in str(raised.value)


def test_paths_that_do_not_exist_are_named(tmp_path):
    config = validate(changed(datasets__digits={**FOLDER, "path": str(tmp_path / "gone")}), SCHEMA)
    with pytest.raises(ConfigurationError, match=r"datasets\.digits\.path: got .*gone, which doesn't exist"):
        resolve_paths(config)


def test_braces_that_snakemake_would_fill_in_are_refused(tmp_path):
    folder = tmp_path / "{x}"
    folder.mkdir()
    config = validate(changed(datasets__digits={**FOLDER, "path": "{data}"}, data=str(folder)), SCHEMA)
    with pytest.raises(ConfigurationError, match=r"datasets\.digits\.path: got .*\{x\}; accepted: no braces"):
        resolve_paths(config)


def test_data_stands_for_the_folder_in_paths(tmp_path):
    (tmp_path / "b").touch()
    photos = {**FOLDER, "path": ["{data}/a", "{data}/b"], "labels": "{data}/b"}
    config = validate(changed(datasets__digits=photos, datasets__unused=photos, data=str(tmp_path)), SCHEMA)
    for name in ("digits", "unused"):
        found = resolve_paths(config)["datasets"][name]
        assert found["path"] == found["labels"] == str(tmp_path / "b")
    message = (
        r"got null, but datasets\.digits\.path uses \{data\}; give a directory, .* \(make plan DATA=DIR\)"
    )
    with pytest.raises(ConfigurationError, match=message):
        resolve_paths(config | {"data": None})


def test_data_that_no_path_uses_is_refused(tmp_path):
    config = validate(changed(data=str(tmp_path)), SCHEMA)
    with pytest.raises(
        ConfigurationError, match=r"data: got .*, but no path contains \{data\}; leave it out"
    ):
        resolve_paths(config)


def test_files_that_only_a_person_can_fetch_are_asked_for():
    config = resolve_paths(validate(read("config.yaml") | {"benchmark": {"source": "official"}}, SCHEMA))
    missing = missing_files(config, {"datasets.imagenet16", "datasets.cifar10", "benchmark"})
    assert [line.split(":")[0] for line in missing] == ["datasets.imagenet16.path", "benchmark.path"]
    assert "https://github.com/D-X-Y/NAS-Bench-201" in missing[1]
    assert missing_files(config, {"datasets.cifar10"}) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"benchmark": {"source": "csv", "path": "short.csv"}}, "missing architectures"),
        (
            {"benchmark": {"source": "csv", "path": "short.csv", "checksum": "md5:00"}},
            "checksum mismatch: short.csv has md5:",
        ),
        ({"supernet": {"batch_size": 5000}}, "datasets.digits.path: .*too few for a batch of 5000"),
        (
            {"datasets": {"digits": FOLDER | {"path": "images"}}},
            "2 unreadable images, remove or replace them: a/3.png, b/7.png",
        ),
        (
            {"datasets": {"digits": FOLDER | {"path": "images", "classes": 3}}},
            r"^datasets\.digits\.classes: got 3, but images has 2 class folders; give 2$",
        ),
        (
            {"datasets": {"digits": FOLDER | {"path": "images", "classes": 5, "labels": "labels.csv"}}},
            r"^datasets\.digits\.classes: got 5, but labels\.csv has 2 classes; give 2$",
        ),
        (
            {"datasets": {"digits": FOLDER | {"path": "images/a"}}},
            "images/a: got images without labels, which trainings and scorings with true labels need; give",
        ),
        (
            {"datasets": {"digits": FOLDER | {"path": "both"}}},
            "only in training: a; only in test: b",
        ),
        (
            {"transfer": {"coco": {"source": "coco", "path": "images", "pretrained": None}}},
            "transfer.coco.path: .*instances_train2017.json is missing",
        ),
    ],
)
def test_files_that_can_not_be_used_are_named(tmp_path, monkeypatch, changes, message):
    monkeypatch.chdir(tmp_path)
    read_table(INCLUDED)[:-1].to_csv("short.csv", index=False)
    make_images(tmp_path)
    Path("labels.csv").write_text("file,class\na/1.png,x\nb/1.png,y\n")
    shutil.copytree("images/a", "both/train/a")
    shutil.copytree("images/a", "both/val/b")
    config = resolve_paths(validate(changed(**changes), SCHEMA))
    if "transfer" in changes:
        config["transfer"]["coco"]["architectures"]["darts"] = ["DARTS-v2"]
    [line] = unusable_files(config, {"datasets.digits", "benchmark", "transfer.coco"}, {"digits"})
    assert re.search(message, line)


def test_an_image_that_the_list_of_labels_leaves_out_may_be_damaged(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_images(tmp_path)
    sound = [f"{name}/{number}.png,{name}\n" for name in "ab" for number in range(10, 200)]
    Path("labels.csv").write_text("file,class\n" + "".join(sound))
    for labels, count in (("labels.csv", 0), (None, 1)):
        entry = FOLDER | {"path": "images", "labels": labels}
        config = resolve_paths(validate(changed(datasets={"digits": entry}), SCHEMA))
        assert len(unusable_files(config, {"datasets.digits"})) == count


def test_images_without_a_part_for_validation_are_named_only_if_it_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_images(tmp_path)
    config = resolve_paths(validate(changed(datasets={"digits": FOLDER | {"path": "images/a"}}), SCHEMA))
    prepared = Path("data/digits")
    prepared.mkdir(parents=True)
    (prepared / "dataset.json").write_text('{"labelled": false}')
    np.save(prepared / "valid_labels.npy", np.empty(0, int))
    for read in ({"datasets.digits"}, set()):  # set(): prepared in an earlier run
        [line] = unusable_files(config, read, validated={"digits"}, prepared="data")
        assert "got no validation images, which validation accuracy and retraining need; give" in line
        [line] = unusable_files(config, read, labelled={"digits"}, prepared="data")
        assert "images/a: got images without labels" in line
    assert "unreadable" in "".join(unusable_files(config, {"datasets.digits"}))
    assert unusable_files(config, set(), prepared="data") == []


def test_a_damaged_file_of_an_earlier_run_is_named_with_the_remedy(tmp_path):
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits/dataset.json").touch()
    config = validate(DEMO, SCHEMA)
    [line] = unusable_files(config, set(), labelled={"digits"}, prepared=tmp_path)
    assert line.startswith(f"datasets.digits: {tmp_path}/digits/dataset.json can't be read (JSONDecodeError")
    assert "delete it and give the same command again" in line


def test_checks_before_a_run_import_only_what_reads_its_files():
    """Torch and what detection needs take seconds, which every start of the workflow would wait for."""
    code = f"""
import sys, yaml
from rlnas_core.configuration.checks import resolve_paths, unusable_files, validate
config = resolve_paths(validate({DEMO}, yaml.safe_load(open({str(SCHEMA_FILE)!r}))))
assert not unusable_files(config, set())
assert "torch" not in sys.modules
assert not unusable_files(config, {{"datasets.digits"}})
assert "torchvision" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=CONFIG.parent)


def test_what_needs_absent_files_is_left_out_and_the_rest_stays():
    config = resolve_paths(validate(read("config.yaml"), SCHEMA))
    left, reasons = leave_out_missing(config)
    assert left["searches"] == {"cifar10": "cifar10", "cifar100": "cifar100"}
    assert list(reasons) == ["imagenet16"]
    assert re.search(
        r"train_data_batch_1 .*1 GB.* https://github.com/D-X-Y/NAS-Bench-201.*", reasons["imagenet16"]
    )
    assert {key for key in config if left[key] != config[key]} == {"searches"}
    alone = validate(read("config.yaml") | {"searches": {"imagenet16": "imagenet16"}}, SCHEMA)
    assert leave_out_missing(alone) == (alone, {})
    photos = {"large_spaces__darts__photos": {}, "retraining__darts__photos": {}}
    large = validate(changed(datasets__photos={"source": "imagenet16-120"}, **photos), SCHEMA)
    assert leave_out_missing(large) == (large, {})
    scenes = changed(transfer={"coco": {"pretrained": None, "architectures": {"darts": ["DARTS-v2"]}}})
    left, reasons = leave_out_missing(validate(scenes, SCHEMA))
    assert left["transfer"]["coco"]["architectures"] == {"darts": [], "mobilenet": [], "chain": []}
    assert "cocodataset.org" in reasons["coco"]
    (line,) = missing_files(left, {"transfer.coco"})  # of a network that is asked for by its file
    assert line == f"transfer.coco.path: {reasons['coco']}"


def test_cifar_is_downloaded_unless_data_is_given(tmp_path):
    config = validate(read("quick.yaml"), SCHEMA)
    assert resolve_paths(config)["datasets"]["cifar10"]["path"] is None
    there = resolve_paths(config | {"data": str(tmp_path)})
    assert there["datasets"]["cifar10"]["path"] == str(tmp_path)
    config["datasets"]["cifar10"]["path"] = ["{data}", str(tmp_path)]
    assert resolve_paths(config)["datasets"]["cifar10"]["path"] == str(tmp_path)  # the first existing one


def test_true_number_of_classes():
    config = validate(read("quick.yaml") | {"data": "x"}, SCHEMA)
    assert classes(config, "cifar10") == 10
    assert classes(validate(read("config.yaml"), SCHEMA), "imagenet16") == 120


def test_random_search_draws_no_more_architectures_than_there_are_with_every_node_connected():
    space = get("nas_bench_201")
    genes = space.enumerate()
    unchanged = (space.repair(genes, np.random.default_rng(0)) == genes).all(axis=1)
    most = SCHEMA["properties"]["random_search"]["properties"]["architectures"]["maximum"]
    assert most == np.count_nonzero(unchanged)
