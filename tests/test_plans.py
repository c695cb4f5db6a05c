"""What Snakemake plans and what it refuses, and jobs by themselves."""

import copy
import json
import os
import re
import shlex
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
import yaml
from environments import keep_to, lacking, scripts_in
from image_directories import image_folder
from PIL import Image
from workflow import ROOT, TINY, jobs_of, make_images, of_this_workflow, read_for, snakemake

from rlnas_core.images.miniatures import make_coco


def test_own_images_take_the_five_jobs_of_the_recipe(tmp_path):
    recipe = (ROOT / "docs/images.md").read_text()
    config = yaml.safe_load(re.search(r"```yaml\n(.*?)```", recipe, re.DOTALL)[1])
    command = shlex.split(
        re.search(r"```sh\n\S+snakemake (.*?)```", recipe, re.DOTALL)[1].replace("\\\n", "")
    )
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("1.png", "decoded later")
    (tmp_path / "photos.yaml").write_text(yaml.safe_dump(config))
    plan = snakemake(tmp_path, *command, "--snakefile", str(ROOT / "Snakefile"), "--dry-run")
    assert dict(re.findall(r"^(\w+) +(\d+)$", plan, re.MULTILINE)) == {
        "prepare_dataset": "1",
        "draw_labels": "1",
        "train_supernet": "1",
        "score_angle": "1",
        "evolve_architecture": "1",
        "total": "5",
    }


@pytest.fixture(scope="module")
def papers_plan(tmp_path_factory):
    return of_this_workflow(tmp_path_factory.mktemp("paper"), "--dry-run")


def test_the_papers_configuration_plans_from_anywhere_without_its_data(papers_plan):
    assert "imagenet16 is left out: needs the folder ImageNet16 with train_data_batch_1" in papers_plan
    # 20 numbers of categories, four other kinds of labels, two more seeds of the true number, two datasets;
    # three pretext tasks with three seeds on CIFAR-10; and DARTS on CIFAR-10
    assert re.findall(r"^train_supernet +(\d+)", papers_plan, re.MULTILINE) == ["78", "78"]


def test_the_papers_run_on_imagenet_trains_what_the_docs_say(tmp_path):
    for split in ("train", "val"):
        for name in "ab":
            (tmp_path / "ImageNet" / split / name).mkdir(parents=True)
            Image.new("RGB", (9, 9)).save(tmp_path / "ImageNet" / split / name / "1.JPEG")
    given = [str(ROOT / "config" / name) for name in ("config.yaml", "imagenet.yaml")]
    tables = [f"results/imagenet/tables/table{number}.md" for number in (3, 4, 5)]
    options = ("--config", f"data={tmp_path / 'ImageNet'}", "--dry-run", "--configfile", *given)
    plan = of_this_workflow(tmp_path, *tables, *options)
    counts = dict(re.findall(r"^(\w+) +(\d+)$", plan, re.MULTILINE))
    assert (counts["train_supernet"], counts["retrain_architecture"]) == ("6", "33")


def test_a_run_that_ranks_no_table_of_accuracies_asks_for_no_rankings_of_it(tmp_path):
    nothing = {
        "seeds": {labels: [] for labels in TINY["seeds"]},
        "figure1": {"seeds": []},
        "proxies": {"names": []},
        "retraining": TINY["retraining"]
        | {"mobilenet": {"digits": {"published": ["RLNAS-mobilenet"], "export": True}}},
    }
    plan = of_this_workflow(tmp_path, "--dry-run", config=TINY | nothing)
    assert "rule tabulate_networks:" in plan
    assert "rule tabulate_rankings:" not in plan
    assert "rule build_explorer:" not in plan
    assert "rule export_model:" in plan


def test_a_run_without_its_data_stops_before_the_first_job(tmp_path):
    output = of_this_workflow(tmp_path, "--config", "benchmark={source: official}", check=False)
    assert (
        "benchmark.path: needs NAS-Bench-201-v1_1-096897.pth (5 GB; MIT) from https://github.com/" in output
    )
    assert not list(tmp_path.rglob("*.log"))[1:]
    assert not (tmp_path / "results").exists()


def test_the_workflow_is_a_module_of_another(tmp_path):
    """With a prefix, to which Snakemake leaves parameters alone; nothing lies outside it."""
    alone = {labels: [] for labels in TINY["seeds"]} | {"uniform-once": [0]}
    config = TINY | {"seeds": alone, "validation": {"seeds": []}, "proxies": {"names": []}}
    config |= {"searches": {"cifar10": "own"}, "retraining": {}, "transfer": {}, "large_spaces": {}}
    config |= {"supernet": TINY["supernet"] | {"batch_size": 16}}
    config["datasets"] = {"own": {"source": "image-folder", "path": "images", "classes": 2, "image_size": 8}}
    image_folder(tmp_path / "images", {f"{kind}/{k}.png": 3 * k for kind in "ab" for k in range(80)})
    (tmp_path / "Snakefile").write_text(
        f"""
module rlnas:
    snakefile: {str(ROOT / "Snakefile")!r}
    config: {config!r}
    prefix: "nested"

use rule * from rlnas as rlnas_*

rule everything:
    input: rules.rlnas_all.input
    default_target: True
"""
    )
    assert "rlnas_train_supernet" in snakemake(tmp_path, "nested/results/tiny/tables/rankings.csv")
    assert (tmp_path / "nested/results/tiny/tables/rankings.csv").exists()
    snakemake(tmp_path, "nested/results/tiny/tables/rankings.csv", "--report", "report.html")
    assert not (tmp_path / "results").exists()


def test_a_module_checks_its_files_before_the_first_job_if_asked(tmp_path):
    asked = re.search(r"```python\n(onstart:.*?)```", (ROOT / "docs/module.md").read_text(), re.DOTALL)[1]
    (tmp_path / "Snakefile").write_text(
        f"""
module rlnas:
    snakefile: {str(ROOT / "Snakefile")!r}
    config: {TINY | {"benchmark": {"source": "official"}}!r}
    prefix: "nested"

use rule * from rlnas as rlnas_*

rule prepare_dataset:
    output: "own"
    shell: "touch {{output}}"

{asked}
"""
    )
    output = snakemake(tmp_path, "own", "nested/results/tiny/benchmark/accuracies.csv", check=False)
    assert "benchmark.path: needs NAS-Bench-201-v1_1-096897.pth" in output
    assert not (tmp_path / "own").exists()


def test_the_command_line_wins_beside_the_configurations_jobs(tmp_path):
    target = "results/tiny/supernets/nas_bench_201/digits/uniform-once/10/0/statistics.npz"
    config = TINY | {"jobs": {"supernet": {"threads": 2, "mem_mb": 3000}}}
    options = ("--set-threads", "train_supernet=1", "--set-resources", "train_supernet:mem_mb=1234")
    for given, threads, memory in (((), 2, 3000), (options, 1, 1234)):
        plan = of_this_workflow(tmp_path, target, "--dry-run", *given, config=config)
        job = re.search(r"^rule train_supernet:\n(?:    .*\n)+", plan, re.MULTILINE)[0]
        assert (f"threads: {threads}" in job) == (threads > 1)  # one is not shown
        assert f"mem_mb={memory}" in job


def test_a_wrong_configuration_stops_before_the_first_job(tmp_path):
    output = of_this_workflow(tmp_path, config=TINY | {"seeds": {"uniform": [0]}}, check=False)
    assert (
        "seeds: got unknown key 'uniform'; did you mean uniform-once? accepted: ground-truth, uniform-once"
        in output
    )
    assert not (tmp_path / "results").exists()


def test_a_requested_file_without_its_configuration_is_told_what_lacks(tmp_path):
    file = "results/tiny/retrained/nas_bench_201/digits/RLNAS/0/accuracy.csv"
    output = of_this_workflow(tmp_path, file, "--dry-run", config=TINY | {"retraining": {}}, check=False)
    assert "retraining.nas_bench_201.digits isn't configured, which the requested file needs" in output


def test_unusable_files_stop_before_the_first_job(tmp_path):
    make_images(tmp_path)
    dataset = {"source": "image-folder", "path": "images", "classes": 2}
    output = of_this_workflow(tmp_path, config=TINY | {"datasets": {"digits": dataset}}, check=False)
    assert "2 unreadable images, remove or replace them: a/3.png, b/7.png" in output
    random = {"datasets": {"digits": dataset | {"path": "images/a"}}, "validation": {"labels": "training"}}
    scores = "results/tiny/scores/nas_bench_201/digits/uniform-once/2/0/validation-accuracy.csv"
    output = of_this_workflow(tmp_path, scores, config=TINY | random, check=False)
    assert "datasets.digits.path: images/a: got no validation images" in output
    apples = {"supernet": TINY["supernet"] | {"device": "mps"}}
    output = of_this_workflow(tmp_path, config=TINY | apples, check=False)
    assert torch.backends.mps.is_available() or "device: got mps, and there is none" in output
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", ["images/{seed}", "images/<results>", "<logs>.csv"])
def test_files_in_whose_names_snakemake_would_fill_in_others_are_named(tmp_path, name):
    make_images(tmp_path)
    (tmp_path / "images/a").rename(tmp_path / "images/{3F25-04E0} <A>")  # which it leaves as they are
    labels = name if name.endswith(".csv") else None
    (tmp_path / "images" / ("b/8.png" if labels else "b")).rename(tmp_path / name)
    dataset = {"source": "image-folder", "path": "images", "classes": 2, "labels": labels}
    prepared = "results/tiny/data/digits/dataset.json"
    config = TINY | {"datasets": {"digits": dataset}}
    output = of_this_workflow(tmp_path, prepared, "--dry-run", config=config, check=False)
    assert f"in braces or angle brackets: {name}; rename it" in output


def test_jobs_without_torch_are_refused_what_their_environment_lacks(tmp_path):
    assert {"torch", "torchvision", "sklearn", "safetensors", "filelock"} <= lacking("analysis.yaml")
    assert not {"numpy", "pandas", "scipy", "matplotlib", "yaml"} & lacking("analysis.yaml")
    scripts = scripts_in("analysis.yaml")
    assert {"choose_architecture", "tabulate_costs", "evolve_architecture"} <= scripts
    assert not {"train_supernet", "retrain_architecture"} & scripts
    keep_to("analysis.yaml", tmp_path)
    for name, refused in (("tmp1.choose_architecture.py", True), ("tmp2.train_supernet.py", False)):
        code = f"import sys; sys.path.insert(0, {str(ROOT / 'workflow_scripts')!r}); import job, torch"
        (tmp_path / name).write_text(code)
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        result = subprocess.run(
            [sys.executable, tmp_path / name], capture_output=True, env=environment, check=False
        )
        assert (b"torch isn't in the environment" in result.stderr) == refused


JOB_OF_ONE_THREAD = """
import json, sys
sys.path.insert(0, {scripts!r})
import scipy.linalg, sklearn, torch, threadpoolctl, job
job.start(snakemake)
pools = [(pool["user_api"], pool["num_threads"]) for pool in threadpoolctl.threadpool_info()]
json.dump([*pools, ("torch", torch.get_num_threads())], open(snakemake.output[0], "w"))
"""


def test_a_job_keeps_every_library_to_its_threads(tmp_path, monkeypatch):
    """Snakemake sets the pools of BLAS and OpenMP for a script, whatever the environment says."""
    for library in ("OMP", "OPENBLAS", "MKL"):
        monkeypatch.setenv(f"{library}_NUM_THREADS", "2")
    (tmp_path / "limited.py").write_text(JOB_OF_ONE_THREAD.format(scripts=str(ROOT / "workflow_scripts")))
    (tmp_path / "Snakefile").write_text(
        "rule:\n    output: 'pools'\n    log: 'log'\n    script: 'limited.py'\n"
    )
    snakemake(tmp_path, "--snakefile", str(tmp_path / "Snakefile"))
    pools = json.loads((tmp_path / "pools").read_text())
    assert {library for library, _ in pools} == {"blas", "openmp", "torch"}
    assert {threads for _, threads in pools} == {1}


def test_searches_with_random_labels_see_no_true_label(papers_plan):
    """But for those that shuffle true labels; up to what is found by angle or by a pretext task."""
    jobs = jobs_of(papers_plan)
    targets = re.compile(r"results/paper/(?:supernets/.*/statistics\.npz|scores/.*|searches/.*/best\.csv)")
    sees = {}
    for file in filter(targets.fullmatch, jobs):
        labels = file.split("/")[5]
        if labels == "uniform-once" and "accuracy" in file:
            continue  # method C, and D and C added
        true = any(re.fullmatch(r"results/paper/data/.*_labels\.npy", read) for read in read_for(file, jobs))
        sees.setdefault(labels, set()).add(true)
    assert set(sees) >= {"uniform-once", "uniform-each-step", "rotation", "untrained-normal"}
    shuffled = {"ground-truth", "shuffle-once", "shuffle-each-step"}
    assert sees == {labels: {labels in shuffled} for labels in sees}


def test_settings_of_trainings_and_of_other_searches_repeat_no_job_without_them(tmp_path):
    run, of = "results/tiny", "digits/uniform-once/10/0"
    scenes = {**TINY["transfer"]["coco"], "source": "coco", "path": "coco"}
    config = TINY | {"transfer": {"coco": scenes}}
    make_coco(tmp_path / "coco", np.random.default_rng(0))
    targets = [
        f"{run}/scores/nas_bench_201/{of}/synflow.csv",
        f"{run}/scores/darts/digits/networks/0.csv",
        f"{run}/supernets/nas_bench_201/digits/untrained-normal/10/0/statistics.npz",
        f"{run}/figures/initialisations.csv",
        f"{run}/searches/mobilenet/{of}/475/angle/best.csv",
        f"{run}/transferred/darts/coco/DARTS-v2/0/measures.csv",
    ]
    for file in jobs_of(of_this_workflow(tmp_path, *targets, "--dry-run", config=config)):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    of_this_workflow(tmp_path, *targets, "--touch", "--forceall", config=config)  # as if made by these jobs
    (tmp_path / "coco/test2017.zip").touch()  # nor does what is put beside the scenes
    changed = copy.deepcopy(config)
    changed["supernet"]["epochs"] = changed["retraining"]["darts"]["digits"]["network"]["epochs"] = 3
    changed["large_spaces"]["mobilenet"]["digits"]["limits"] = [475, 600]
    plan = of_this_workflow(tmp_path, *targets, "--dry-run", config=changed)
    assert "Nothing to be done" in plan
