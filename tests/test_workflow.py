"""The whole workflow through Snakemake: a tiny run, twice; as a module; the paper's plan; what is refused."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import yaml
from environments import keep_to, lacking, scripts_in
from PIL import Image

from rlnas_core.paper.explorer import LIMIT

ROOT = Path(__file__).parents[1]
SHORT = {"epochs": 1, "batch_size": 256, "device": "cpu"}
TINY = {
    "run": "tiny",
    "datasets": {"digits": {"source": "digits", "image_size": 4}},
    "searches": {"cifar10": "digits", "cifar100": "digits"},
    "seeds": {
        "ground-truth": [0],
        "uniform-once": [0, 1],
        "shuffle-once": [],
        "uniform-each-step": [0],
        "shuffle-each-step": [0],
        "untrained-normal": [0],
        "untrained-uniform": [0],
        "untrained-kaiming-normal": [0],
        "untrained-kaiming-uniform": [],
        "rotation": [0],
        "colorization": [0],
        "jigsaw": [],
    },
    "figure1": {"categories": [10, 20], "seeds": [0]},
    "supernet": {"channels": 8, "cells": 1, "epochs": 2, "batch_size": 256, "device": "cpu"},
    "large_spaces": {
        "darts": {
            "digits": {
                "supernet": {"channels": 8, "cells": 3, **SHORT},
                "limits": [None, 600],
            }
        },
        "mobilenet": {
            "digits": {
                "supernet": SHORT,
                "limits": [475],
                "methods": ["A", "B", "D", "random-search"],
                "evolution": {
                    "population": 8,
                    "iterations": 2,
                    "keep": 3,
                    "mutations": 3,
                    "crossovers": 3,
                },
            }
        },
    },
    "random_search": {"architectures": 5},
    "retraining": {
        "darts": {
            "digits": {
                "published": ["RLNAS-cifar10"],
                "random": [600],
                "draws": 2,
                "network": {"channels": 8, "cells": 3, "imagenet": False, "auxiliary": 0.4, **SHORT},
            }
        },
        "mobilenet": {"digits": {"published": ["RLNAS-mobilenet"], "found": False, "network": SHORT}},
    },
    "transfer": {
        scenes: {
            "source": "miniature",
            "pretrained": None,
            "architectures": {"darts": ["DARTS-v2"]},
            "network": {"channels": 8, "cells": 3},
            "training": {"epochs": 1, "device": "cpu", **options},
        }
        for scenes, options in {
            "coco": {"short_side": 64, "channels": 16},
            "cityscapes": {"crop": 65},
        }.items()
    },
    "validation": {"seeds": [0], "images": 16, "calibration_images": 16},
    "evolution": {"iterations": 2},
    "ranking": {"resamples": 5},
    "proxies": {"names": ["synflow"], "images": 8, "seeds": [0]},
}


def snakemake(directory, *arguments, check=True):
    command = [sys.executable, "-m", "snakemake", "--directory", str(directory), "--cores", "2", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, cwd=directory, check=False)
    output = result.stdout + result.stderr
    assert not check or result.returncode == 0, output
    return output


def of_this_workflow(directory, *arguments, config=None, check=True):
    """Run the workflow with a configuration on top of nothing, or the paper's where there is none."""
    if config is not None:
        file = directory / "config.yaml"
        file.write_text(yaml.safe_dump(config))
        arguments = (*arguments, "--configfile", str(file))
    return snakemake(directory, "--snakefile", str(ROOT / "Snakefile"), *arguments, check=check)


# Compared by tests of killed runs and of SLURM. One supernet of each space is trained again, and searched.
SHARED = re.compile(
    "results/tiny/(?:data|benchmark|labels|architectures|retrained|transferred"
    "|scores/(?!.*/uniform-once/)|supernets/(?!.*/uniform-once/10/0/))"
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The results of a tiny run, and of a second that makes again all but `SHARED` of a copy of the first.

    The second has no more than what envs/analysis.yaml brings, where that is a rule's environment.
    """
    first, second, modules = (tmp_path_factory.mktemp(name) for name in ("first", "second", "modules"))
    of_this_workflow(first, config=TINY)
    shutil.copytree(first, second, dirs_exist_ok=True)
    for path in (second / "results").rglob("*"):
        if path.is_file() and not SHARED.match(str(path.relative_to(second))):
            path.unlink()
    keep_to("analysis.yaml", modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(modules))
        of_this_workflow(second, config=TINY)
    return [directory / "results/tiny" for directory in (first, second)]


def test_a_run_makes_every_table_and_figure(runs):
    for number in (1, 2, 6, 7, 12):
        for kind in ("csv", "md", "tex", "html"):
            assert (runs[0] / f"tables/table{number}.{kind}").stat().st_size > 0
    for name in ("methods", "figure1", "scatter_cifar10", "trajectory"):
        for kind in ("svg", "pdf", "png"):
            assert (runs[0] / f"figures/{name}.{kind}").stat().st_size > 0


def test_everything_that_ranks_is_in_one_table_with_its_cost_and_in_the_explorer(runs):
    table = pd.read_csv(runs[0] / "tables/rankings.csv")
    rows = set(table["row"])
    assert {"synflow", "macs", "uniform-once/angle/epoch 1", "ground-truth/validation-accuracy"} <= rows
    values = table.set_index(["row", "column"])
    assert values.loc[("synflow", "cifar10"), "tau_discounted"] > 0.2
    assert [values.loc[(row, "cifar100"), "runs"] for row in ("synflow", "uniform-once/angle")] == [1, 2]
    text = (runs[0] / "tables/rankings.md").read_text()
    seconds = next(line for line in text.splitlines() if line.startswith("| SynFlow")).split("|")[3]
    assert float(seconds) > 0
    for kind in ("tex", "html"):
        assert (runs[0] / f"tables/rankings.{kind}").stat().st_size > 0
    assert (runs[0] / "explore.html").stat().st_size < LIMIT


def test_networks_that_are_trained_by_themselves_judge_rankings_of_their_space(runs):
    table = pd.read_csv(runs[0] / "tables/networks_darts_digits.csv").set_index("row")
    assert {"parameters", "macs", "uniform-once/angle", "synflow", "angles-and-jacobians"} <= set(table.index)
    assert table["tau_one"].between(-1, 1).all()
    assert "5 networks" in (runs[0] / "tables/networks_darts_digits.md").read_text()


def test_tables_hold_measured_values_beside_the_papers(runs):
    for number in (1, 2, 6, 7, 12):
        table = pd.read_csv(runs[0] / f"tables/table{number}.csv")
        assert list(table.columns) == [
            "row",
            "column",
            "mean",
            "std",
            "runs",
            "low",
            "high",
            "paper_mean",
            "paper_std",
            "images",
            "note",
        ]
        measured = table[table["column"].isin(["cifar10", "cifar100", "cifar10_test", "cifar100_test"])]
        assert measured["mean"].notna().any()
        elsewhere = table[table["column"].str.startswith("imagenet16")]
        assert elsewhere["mean"].isna().all()
        assert elsewhere["paper_mean"].notna().any() != (number == 12)  # there the paper has CIFAR-10 alone


def test_cells_that_were_not_run_say_why(runs):
    for number in (1, 2, 6, 7, 12):
        table = pd.read_csv(runs[0] / f"tables/table{number}.csv")
        empty = table[table["mean"].isna()]
        assert empty["note"].str.startswith("not measured: ").all()
    table = pd.read_csv(runs[0] / "tables/table6.csv").set_index(["row", "column"])
    assert "shuffle-once" in table.loc[("shuffle-once", "cifar10"), "note"]
    assert table.loc[("uniform-once", "cifar10"), "runs"] == 2
    table = pd.read_csv(runs[0] / "tables/table12.csv").set_index(["row", "column"])
    assert table.loc[("UnNAS-color", "cifar10"), "note"] == "not measured: colorization needs colour images"
    assert table.loc[("UnNAS-jigsaw", "cifar10"), "note"] == "not measured: seeds.jigsaw is empty"
    assert table.loc[("UnNAS-rotation", "cifar10"), "runs"] == 1
    assert table.loc[("RLNAS", "cifar10"), "runs"] == 2


def test_the_same_command_twice_gives_the_same_bytes(runs):
    first, second = (
        {
            path.relative_to(run): path.read_bytes()
            for folder in (
                "benchmark",
                "figures",
                "architectures",
                "labels",
                "ranking",
                "retrained",
                "scores",
                "searches",
                "supernets",
                "tables",
                "transferred",
            )
            for path in (run / folder).rglob("*")
            if path.is_file()
        }
        for run in runs
    )
    assert first.keys() == second.keys()
    # What shows how long things took differs, but for the numbers themselves.
    timed = {path for path in first if path.stem == "rankings" and path.suffix != ".csv"}
    assert len(timed) == 6
    assert [str(path) for path in first.keys() - timed if first[path] != second[path]] == []


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


def test_the_random_label_supernet_is_trained_once_and_shared(runs):
    trained = [path.parent for path in (runs[0] / "supernets").rglob("weights.safetensors")]
    assert sorted(str(path.relative_to(runs[0] / "supernets")) for path in trained) == [
        "darts/digits/uniform-once/10/0",
        "mobilenet/digits/ground-truth/10/0",
        "mobilenet/digits/uniform-once/10/0",
        "nas_bench_201/digits/ground-truth/10/0",
        "nas_bench_201/digits/rotation/4/0",
        "nas_bench_201/digits/shuffle-each-step/10/0",
        "nas_bench_201/digits/uniform-each-step/10/0",
        "nas_bench_201/digits/uniform-once/10/0",
        "nas_bench_201/digits/uniform-once/10/1",
        "nas_bench_201/digits/uniform-once/20/0",
    ]


def test_retrained_networks_have_columns_of_their_own_beside_the_papers(runs):
    table = pd.read_csv(runs[0] / "tables/table3.csv").set_index(["row", "column"])
    rows = [
        row for row, column in table.index if column == "digits/top1" and table.loc[(row, column), "runs"]
    ]
    assert rows == [
        "cifar10/RLNAS",
        "this run, digits, evolution",
        "this run, digits within 600M, evolution",
        "this run, digits, evolution, scaled within 600M",
        "this run, random within 600M",
    ]
    scaled = table.loc[("this run, digits, evolution, scaled within 600M", "flops"), "mean"]
    assert 550 < scaled <= 600
    assert table.loc[("cifar10/RLNAS", "top1"), "runs"] == 0
    assert "datasets.imagenet.path" in table.loc[("cifar10/RLNAS", "top1"), "note"]
    assert pd.read_csv(runs[0] / "tables/table5.csv")["column"].isin(["digits/top5"]).any()


def test_large_spaces_are_searched_by_accuracy_and_with_true_labels_too(runs):
    table = pd.read_csv(runs[0] / "tables/table5.csv").set_index(["row", "column"])
    for search in ("SPOS by evolution", "angle with true labels by evolution", "evolution", "random search"):
        assert 0 < table.loc[(f"this run, digits within 475M, {search}", "flops"), "mean"] <= 475
    trace = {
        search: pd.read_csv(runs[0] / f"searches/mobilenet/digits/ground-truth/10/0/475/{search}/trace.csv")
        for search in ("validation-accuracy", "random-search")
    }
    assert trace["random-search"]["origin"].eq("random").all()
    assert {"mutation", "crossover"} <= set(trace["validation-accuracy"]["origin"])
    structure = pd.read_csv(runs[0] / "searches/mobilenet/digits/uniform-once/10/0/475/angle/structure.csv")
    assert structure["tau"].between(-1, 1).all()


def test_transferred_networks_are_measured_in_columns_that_say_miniature(runs):
    for number, column in ((8, "AP50"), (10, "mIoU")):
        table = pd.read_csv(runs[0] / f"tables/table{number}.csv").set_index(["row", "column"])
        assert table.loc[("DARTS-v2", f"miniature/{column}"), "runs"] == 1
        assert table.loc[("DARTS-v2", column), "runs"] == 0
        assert "needs" in table.loc[("DARTS-v2", column), "note"]


def test_every_job_leaves_a_log_and_its_runtime(runs):
    logs = [path for path in (runs[0] / "logs").rglob("*.log") if path.stat().st_size > 0]
    runtimes = list((runs[0] / "runtimes").rglob("*.tsv"))
    assert len(logs) == len(runtimes) > 20


def test_a_finished_run_has_nothing_left_to_do(runs):
    assert "Nothing to be done" in of_this_workflow(runs[0].parents[1], "--dry-run", config=TINY)


def test_every_search_leaves_one_architecture_that_is_made_again_where_it_was_deleted(runs):
    found = list((runs[0] / "searches").rglob("best.csv"))
    assert {len(pd.read_csv(path)) for path in found} == {1}
    best = runs[0] / "searches/nas_bench_201/digits/uniform-once/10/0/angle/best.csv"
    best.rename(best.with_name("kept"))
    try:
        assert "evolve_architecture" in of_this_workflow(runs[0].parents[1], "--dry-run", config=TINY)
    finally:
        best.with_name("kept").rename(best)


def test_the_report_is_one_file_with_tables_figures_and_captions(runs):
    report = runs[0] / "report.html"
    of_this_workflow(runs[0].parents[1], "--report", str(report), config=TINY)
    text = report.read_text()
    assert "Kendall's tau between the ranking by each method" in text
    assert "table7.html" in text
    assert "figure1.svg" in text
    first = text.split('id="workflow-desc"')[1].split("</script>")[0]
    assert first.index("CIFAR-100") < first.index("B above A") < first.index("RLNAS searches architectures")
    assert '<script src="http' not in text


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


def test_the_papers_configuration_plans_from_anywhere_without_its_data(tmp_path):
    plan = of_this_workflow(tmp_path, "--dry-run")
    assert "imagenet16 is left out: needs the folder ImageNet16 with train_data_batch_1" in plan
    # 20 numbers of categories, four other kinds of labels, two more seeds of the true number, two datasets;
    # three pretext tasks with three seeds on CIFAR-10; and DARTS on CIFAR-10
    assert [line.split()[1] for line in plan.splitlines() if line.startswith("train_supernet ")] == [
        "78",
        "78",
    ]


def test_a_run_that_ranks_no_table_of_accuracies_asks_for_no_rankings_of_it(tmp_path):
    nothing = {
        "seeds": {labels: [] for labels in TINY["seeds"]},
        "figure1": {"seeds": []},
        "proxies": {"names": []},
    }
    plan = of_this_workflow(tmp_path, "--dry-run", config=TINY | nothing)
    assert "rule tabulate_networks:" in plan
    assert "rule tabulate_rankings:" not in plan
    assert "rule build_explorer:" not in plan


def test_a_run_without_its_data_stops_before_the_first_job(tmp_path):
    output = of_this_workflow(tmp_path, "--config", "benchmark={source: official}", check=False)
    assert (
        "benchmark.path: needs NAS-Bench-201-v1_1-096897.pth (5 GB; MIT) from https://github.com/" in output
    )
    assert not list(tmp_path.rglob("*.log"))[1:]
    assert not (tmp_path / "results").exists()


def test_the_workflow_is_a_module_of_another(tmp_path):
    (tmp_path / "Snakefile").write_text(
        f"""
module rlnas:
    snakefile: {str(ROOT / "Snakefile")!r}
    config: {TINY!r}
    prefix: "nested"

use rule * from rlnas as rlnas_*

rule everything:
    input: rules.rlnas_all.input
    default_target: True
"""
    )
    plan = snakemake(tmp_path, "--dry-run")
    assert "rlnas_train_supernet" in plan
    snakemake(tmp_path, "nested/results/tiny/labels/digits/uniform-once/10/0/train.npy")
    assert (tmp_path / "nested/results/tiny/labels/digits/uniform-once/10/0/train.npy").exists()


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
    assert "seeds: got unknown key 'uniform'; accepted: ground-truth, uniform-once" in output
    assert not (tmp_path / "results").exists()


def make_images(directory):
    for name in ("a", "b"):
        folder = directory / "images" / name
        folder.mkdir(parents=True)
        for number in range(300):
            Image.new("L", (8, 8), number % 256).save(folder / f"{number}.png")
    (directory / "images/b/7.png").write_bytes(b"no image")
    damaged = directory / "images/a/3.png"
    damaged.write_bytes(damaged.read_bytes()[:45])


def test_unusable_files_stop_before_the_first_job(tmp_path):
    make_images(tmp_path)
    dataset = {"source": "image-folder", "path": "images", "classes": 2}
    output = of_this_workflow(tmp_path, config=TINY | {"datasets": {"digits": dataset}}, check=False)
    assert "2 unreadable images, remove or replace them: a/3.png, b/7.png" in output
    assert not (tmp_path / "results").exists()


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


def jobs_of(output):
    """Jobs of a dry run by the files that they write, each with its rule and the files that it reads."""
    jobs = {}
    for block in re.findall(r"^(?:local)?rule \w+:\n(?:    .*\n)+", output, re.MULTILINE):
        fields = dict(re.findall(r"^    (input|output): (.*)$", block, re.MULTILINE))
        reads = fields["input"].split(", ") if "input" in fields else []
        jobs |= dict.fromkeys(fields["output"].split(", ") if "output" in fields else [], reads)
    return jobs


def read_for(file, jobs):
    """All files that lie behind a file."""
    found, waiting = set(), [file]
    while waiting:
        new = set(jobs.get(waiting.pop(), [])) - found
        found |= new
        waiting += new
    return found


def test_searches_with_random_labels_see_no_true_label(tmp_path):
    """But for those that shuffle true labels; up to what is found by angle or by a pretext task."""
    jobs = jobs_of(snakemake(tmp_path, "--snakefile", str(ROOT / "Snakefile"), "--dry-run"))
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
