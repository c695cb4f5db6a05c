"""What a run costs before it starts."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import yaml
from workflow import TINY, of_this_workflow

from rlnas_core.configuration import plan
from rlnas_core.configuration.checks import validate
from rlnas_core.images.preparation import Reading, inspect
from rlnas_core.spaces import get, published
from rlnas_core.training.supernet import SupernetSettings, build
from rlnas_core.transfer import detection, segmentation

pytestmark = pytest.mark.usefixtures("wide_vectors")
ROOT = Path(__file__).parents[2]
SCHEMA = yaml.safe_load((ROOT / "config/schemas/config.schema.yaml").read_text())
SUPERNET = {
    "space": "nas_bench_201",
    "dataset": "cifar10",
    "labels": "uniform-once",
    "categories": "10",
    "seed": "0",
}
NETWORK = {"space": "darts", "dataset": "cifar10", "architecture": "RLNAS-cifar10", "seed": "0"}


def configuration(**changes):
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    return validate(config | changes, SCHEMA)


def of_one(rule, wildcards, config=None, images=(25_000, 25_000)):
    return plan.estimate([(rule, wildcards)], config or configuration(), {"cifar10": images}).loc[rule]


def printed(directory, *arguments):
    command = [sys.executable, str(ROOT / "workflow_scripts/print_plan.py"), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=directory, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_plan_has_the_jobs_of_a_dry_run_that_are_still_to_do(tmp_path):
    dry_run = of_this_workflow(tmp_path, "--dry-run", config=TINY)
    before = sorted(tmp_path.rglob("*"))
    text = printed(tmp_path, "--configfile", tmp_path / "config.yaml")
    assert [path for path in sorted(tmp_path.rglob("*")) if path not in before] == []
    expected = dict(re.findall(r"^(\w+) +(\d+)$", dry_run, re.MULTILINE))
    got = {line.split()[0]: line.split()[1] for line in text.splitlines() if re.match(r"\w+  +\d+ ", line)}
    assert got == expected
    assert int(got["train_supernet"]) == 9
    done = tmp_path / "results/tiny/data/digits"
    done.mkdir(parents=True)
    for name in (
        "train_images.npy",
        "train_labels.npy",
        "valid_images.npy",
        "valid_labels.npy",
        "dataset.json",
    ):
        (done / name).touch()
    assert "prepare_dataset" in text
    assert "prepare_dataset" not in printed(tmp_path, "--configfile", tmp_path / "config.yaml")
    # Values on the command line are what Snakemake makes of them: to YAML 1e1 is text.
    of_one_table = ["results/tiny/tables/table3.md", "--configfile", tmp_path / "config.yaml"]
    text = printed(tmp_path, *of_one_table, "--config", "save_minutes=1e1")
    assert "tabulate_costs" in text
    assert "tabulate_correlations" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--configfile", "gone.yaml"], "argument --configfile: got gone.yaml, which is no file"),
        (["--config", "run"], "argument --config: Invalid config definition: Config entries have to be"),
        (["--gpu-tflops", "0"], "argument --gpu-tflops: got 0; accepted: a number above 0"),
        (["--gpu-tflops", "nan"], "argument --gpu-tflops: got nan; accepted: a number above 0"),
    ],
)
def test_a_plan_of_what_isnt_there_says_so_in_one_line(arguments, message, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "workflow_scripts"))
    monkeypatch.setattr(sys, "argv", ["print_plan.py", *arguments])
    with pytest.raises(SystemExit) as stopped:
        import_module("print_plan").main()
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert stopped.value.code == 2


def test_hours_grow_with_epochs_images_and_pixels():
    once = of_one("train_supernet", SUPERNET)
    config = configuration()
    twice = of_one("train_supernet", SUPERNET, configuration(supernet=config["supernet"] | {"epochs": 500}))
    assert twice["network_seconds"] == pytest.approx(2 * once["network_seconds"])
    assert of_one("train_supernet", SUPERNET, images=(50_000, 0))["flops"] == pytest.approx(
        2 * once["flops"], rel=0.01
    )
    datasets = config["datasets"] | {"cifar10": config["datasets"]["cifar10"] | {"image_size": 8}}
    small = of_one("train_supernet", SUPERNET, configuration(datasets=datasets))
    assert once["flops"] / small["flops"] == pytest.approx(16, rel=0.03)


@pytest.mark.parametrize(("vectors", "measured"), [("avx512", 0.0103), ("avx2", 0.026)])
def test_a_step_takes_what_was_measured_with_the_vectors_of_the_processor(monkeypatch, vectors, measured):
    """The supernet at 8x8 pixels and a batch of 64, in core seconds."""
    monkeypatch.setattr(plan, "SPEED", plan.SPEEDS[vectors])
    space = get("nas_bench_201")
    flops = space.cost(space.sample(1000, np.random.default_rng(0)), image_size=8)[1].mean()
    estimated = plan.training_seconds("nas_bench_201", flops, 64, 1)
    assert measured / 1.35 < estimated < measured * 1.35


def test_the_laptops_run_takes_what_was_measured():
    """181 minutes of a core (docs/performance.md), for ten supernets and two scorings."""
    config = yaml.safe_load((ROOT / "config/laptop.yaml").read_text())
    config = validate(config, SCHEMA)
    jobs = [("train_supernet", SUPERNET)] * 10 + [("score_validation_accuracy", SUPERNET)] * 2
    table = plan.estimate(jobs, config, {"cifar10": (25_000, 25_000)})
    assert 181 / 2 < table["network_seconds"].sum() / 60 < 181 * 2
    assert table["jobs"].tolist() == [10, 2]


def test_a_scoring_sees_every_distinct_architecture_once():
    cost = of_one("score_validation_accuracy", SUPERNET)
    space = get("nas_bench_201")
    flops = {
        tuple(genes): flops
        for genes, flops in zip(
            space.canonical(space.enumerate()).tolist(),
            space.cost(space.canonical(space.enumerate()))[1],
            strict=True,
        )
    }
    assert cost["flops"] == pytest.approx(sum(flops.values()) * (20_000 + 25_000))
    fewer = of_one("score_validation_accuracy", SUPERNET, images=(25_000, 100))
    assert fewer["flops"] == pytest.approx(sum(flops.values()) * (20_000 + 100))


def test_a_search_by_accuracy_scores_its_generations_and_a_random_one_what_it_draws():
    evolution = {"population": 50, "iterations": 20}
    config = configuration(
        large_spaces={"mobilenet": {"cifar10": {"methods": ["A"], "evolution": evolution}}},
        random_search={"architectures": 100},
    )
    of = SUPERNET | {"space": "mobilenet", "limit": "475"}
    costs = [
        of_one("search_by_accuracy", of | {"search": search}, config)
        for search in ("validation-accuracy", "random-search")
    ]
    assert costs[0]["flops"] == pytest.approx(10 * costs[1]["flops"])
    assert costs[1]["flops"] > 100 * 45_000 * 32**2


def test_a_proxy_sees_its_images_once_an_architecture_and_pass():
    config = configuration(proxies={"names": ["naswot", "synflow"], "images": 32})
    config["datasets"]["cifar10"]["image_size"] = 8
    many, one = (
        of_one("score_proxy", SUPERNET | {"proxy": name}, config) for name in config["proxies"]["names"]
    )
    assert many["flops"] == pytest.approx(32 * one["flops"])
    # Measured on one core: 1.9 and 1.1 minutes.
    assert 1.9 / 2 < many["network_seconds"] / 60 < 1.9 * 2
    assert 1.1 / 2 < one["network_seconds"] / 60 < 1.1 * 2


def test_a_published_architecture_costs_its_own_and_others_a_random_ones():
    network = {"published": ["RLNAS-cifar10"], "network": {"batch_size": 1000}}
    config = configuration(retraining={"darts": {"cifar10": network}})
    config["datasets"]["cifar10"]["image_size"] = 224
    own = of_one("retrain_architecture", NETWORK, config)
    random = of_one("retrain_architecture", NETWORK | {"architecture": "random-0-600"}, config)
    # The paper's number is of a thousand classes, whose classifier takes a five-hundredth.
    flops = 629e6
    assert own["flops"] / (3 * 25_000 * 250) == pytest.approx(flops, rel=0.01)
    assert 0.5 < random["flops"] / own["flops"] < 1


def test_networks_of_nas_bench_201_that_are_trained_by_themselves_run_on_torchs_operations():
    """They take longer for the same multiply-adds than supernets, which run on kernels of their own."""
    config = configuration(retraining={"nas_bench_201": {"cifar10": {}}})
    network = of_one(
        "retrain_architecture", NETWORK | {"space": "nas_bench_201", "architecture": "random-0"}, config
    )
    assert network["flops"] / network["network_seconds"] < plan.EAGER[1]
    supernet = of_one("train_supernet", SUPERNET, config)
    assert supernet["flops"] / supernet["network_seconds"] > plan.EAGER[1]


@pytest.mark.parametrize(
    ("scenes", "name", "flops"),
    [  # an image of 800 x 1333 pixels, a crop of 769, by torch's FlopCounterMode
        ("coco", "RLNAS-imagenet-600M", 170.9e9),
        ("coco", "RLNAS-mobilenet", 166.3e9),
        ("cityscapes", "RLNAS-imagenet-600M", 28.5e9),
        ("cityscapes", "RLNAS-mobilenet", 17.7e9),
    ],
)
def test_a_transfer_costs_what_torch_counts(scenes, name, flops):
    transfer = {scenes: {"pretrained": None, "network": {}}}
    of = {"scenes": scenes, "space": published()[name].space.name, "architecture": name, "seed": "0"}
    cost = of_one("transfer_architecture", of, configuration(transfer=transfer))
    seen = {"coco": 12 * 117_266, "cityscapes": 108 * 2_975}[scenes]
    assert cost["flops"] == pytest.approx(3 * seen * flops, rel=0.02)
    assert cost["checkpoint"] == pytest.approx(6 * cost["disk"])
    halved = {scenes: {"training": {"crop": 385} if scenes == "cityscapes" else {"short_side": 400}}}
    halved[scenes]["pretrained"] = None
    fewer = of_one("transfer_architecture", of, configuration(transfer=halved))
    assert cost["flops"] / fewer["flops"] == pytest.approx(4 if scenes == "cityscapes" else 2, rel=0.01)


@pytest.mark.parametrize(("scenes", "name"), [("coco", "darts"), ("cityscapes", "mobilenet")])
def test_a_transfers_heads_are_as_large_as_torchs(scenes, name):
    published_as, sizes = {
        "darts": ("RLNAS-imagenet-600M", {"channels": 48, "cells": 14, "imagenet": True}),
        "mobilenet": ("RLNAS-mobilenet", {}),
    }[name]
    of = {"scenes": scenes, "space": name, "architecture": published_as, "seed": "0"}
    cost = of_one("transfer_architecture", of, configuration(transfer={scenes: {"pretrained": None}}))
    network = get(name).network(published()[published_as].genes, classes=1, **sizes)
    if scenes == "coco":
        model = detection.build(network, 80, detection.DetectionSettings(), 0)
    else:
        model = segmentation.build(network, 0)
    assert cost["disk"] == pytest.approx(4 * sum(weight.numel() for weight in model.parameters()), rel=0.1)


def test_the_demos_transfers_take_what_was_measured():
    """Some 17 s of a core each, the evaluation and the start of the script included."""
    config = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    config = validate(config, SCHEMA)
    for scenes in config["transfer"]:
        of = {"scenes": scenes, "space": "darts", "architecture": "DARTS-v2", "seed": "0"}
        cost = of_one("transfer_architecture", of, config)
        assert 17 / 3 < cost["network_seconds"] + cost["seconds"] < 17 * 2, scenes


@pytest.mark.parametrize("name", ["nas_bench_201", "darts", "mobilenet"])
def test_disk_is_that_of_the_supernets_weights(name):
    sizes = {"supernet": {"cells": 8}} if name == "darts" else {}
    config = configuration(large_spaces={name: {"cifar10": sizes}} if name != "nas_bench_201" else {})
    settings = SupernetSettings(cells=8 if name == "darts" else 5)
    model = build(get(name), 10, 3, settings, 0)
    weights = sum(weight.numel() * weight.element_size() for weight in model.state_dict().values())
    sums = 24 * 251 * int(np.prod(model.groups))
    cost = of_one("train_supernet", SUPERNET | {"space": name}, config)
    assert cost["disk"] == pytest.approx(weights + sums, rel=0.1)
    assert cost["checkpoint"] == pytest.approx(6 * weights, rel=0.1)


@pytest.mark.parametrize("per_class", [None, 10])
@pytest.mark.parametrize("split", [None, "half-of-train", "held-out"])
def test_images_are_counted_as_they_are_split(split, per_class):
    entry = {"source": "digits", "path": None, "split": split, "per_class": per_class}
    _, train, (_, valid) = inspect(Reading("digits", split=split, per_class=per_class))
    assert plan.count_images(entry) == (len(train), len(valid))


def test_the_papers_datasets_are_known_without_their_files():
    counts = {
        name: plan.count_images({"source": name, "path": None, "split": None, "per_class": None})
        for name in ("cifar10", "cifar100", "imagenet16-120")
    }
    assert counts == {
        "cifar10": (25_000, 25_000),
        "cifar100": (50_000, 5_000),
        "imagenet16-120": (151_700, 3_000),
    }


def test_gpu_hours_of_a_supernet_are_those_that_an_h100_took():
    """A quarter of an hour in float32 at the paper's size, 182 ms a scored architecture (docs/gpu.md)."""
    jobs = [("train_supernet", SUPERNET), ("score_validation_accuracy", SUPERNET)]
    config = configuration(validation={"calibration_images": 2_048, "images": 10_000})
    text = plan.describe(plan.estimate(jobs, config, {"cifar10": (25_000, 25_000)}))
    hours = {rule: float(text.split(f"\n{rule}")[1].split()[3]) for rule, _ in jobs}
    assert 60 * hours["train_supernet"] == pytest.approx(15, rel=0.1)
    assert 3600 * hours["score_validation_accuracy"] == pytest.approx(9_445 * 0.182, rel=0.1)


def test_what_nobody_measured_is_not_a_number():
    table = plan.estimate(
        [("extract_benchmark", {}), ("train_supernet", SUPERNET)],
        configuration(benchmark={"source": "official"}),
        {"cifar10": (25_000, 25_000)},
    )
    text = plan.describe(table, gpu_tflops=2)
    assert re.search(r"^extract_benchmark +1 +\? ", text, re.MULTILINE)
    assert "was not measured and is not in the total: extract_benchmark" in text
    assert "reaches 2 TFLOP/s" in text
    assert re.search(r"10\^15 FLOPs  +CPU hours  +or GPU hours  +other CPU hours", text)
    hours = (table["network_seconds"] + table["seconds"]).sum() / 3600
    assert float(re.search(r"about (\S+) hours of one core", text)[1]) == pytest.approx(hours, rel=0.1)
    total = text.split("\ntotal")[1].split()
    assert total[0] == "2"
    assert float(total[2]) == pytest.approx(table["network_seconds"]["train_supernet"] / 3600, rel=0.1)
    halved = plan.describe(table, gpu_tflops=4).split("\ntotal")[1].split()
    assert float(total[3]) == pytest.approx(2 * float(halved[3]), rel=0.1)
