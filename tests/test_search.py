"""`make search`: from a folder or an archive of images to a model, with labels and without."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from PIL import Image
from workflow import jobs_of, read_for, snakemake

import rlnas_core

ROOT = Path(__file__).parents[1]
TINY = ["minutes=1", "channels=4", "cells=1", "epochs=2", "retraining_epochs=6"]


def photographs(folder, classes):
    """Forty images of each class, a colour a class."""
    rng = np.random.default_rng(0)
    for place, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(40):
            pixels = rng.integers(256, size=(9, 9, 3), dtype=np.uint8)
            pixels[..., place] = 255
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def choose(directory, images, *choices, run="own", labels=(), config=None):
    """What `make search` prints first, and the arguments of its Snakemake."""
    config = config or f"results/{run}/config.yaml"
    script = ROOT / "workflow_scripts/choose_settings.py"
    command = [sys.executable, script, images, config, *labels, "--set", *TINY, *choices]
    printed = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert printed.returncode == 0, printed.stderr
    return printed.stdout, ("--snakefile", str(ROOT / "Snakefile"), "--configfile", config)


def search(directory, images, *choices, run="own"):
    """What `make search` runs, in a directory; the page that it prints at the end."""
    printed, arguments = choose(directory, images, *choices, run=run)
    output = snakemake(directory, *arguments)
    return printed, jobs_of(output), (directory / f"results/{run}/summary.md").read_text()


def test_the_summary_counts_the_jobs_of_its_configuration_and_no_others(tmp_path):
    """Whatever other seeds or images have run under the same name."""
    photographs(tmp_path / "photos", ["red", "green"])
    photographs(tmp_path / "unlabelled", ["x"])
    for images, *given in (["photos", "labels=[5]"], ["unlabelled"]):
        _, arguments = choose(tmp_path, images, "seeds=2", *given, run=images)
        plan = snakemake(tmp_path, *arguments, "--dry-run")
        timed = set(re.findall(r"^    benchmark: (.*)$", plan, re.MULTILINE))
        page, runtimes = f"results/{images}/summary.md", f"results/{images}/runtimes/"
        counted = {file for file in jobs_of(plan)[page] if file.startswith(runtimes)}
        assert counted == timed - {f"{runtimes}summarise_search.tsv"}


def test_labelled_images_end_in_a_trained_model_that_was_compared(tmp_path):
    photographs(tmp_path / "photos", ["red", "grün", "blue"])
    limit, choices = 0.1, ["seeds=2", "retrainings=1", "labels=[5]", "flops=0.1"]
    printed, jobs, page = search(tmp_path, "photos", *choices)
    assert re.search(r"image_size = 8 +median short side 9", printed)
    assert re.search(r"seeds = 2 +given", printed)
    run = tmp_path / "results/own"
    seen = read_for("results/own/choice/candidates.csv", jobs)
    assert any(file.endswith("train_images.npy") for file in seen)
    assert not [file for file in seen if file.endswith("_labels.npy")]  # what is chosen sees no true label

    candidates = pd.read_csv(run / "choice/candidates.csv").set_index("architecture")
    assert {"found", "structure", "residual", "random-0", "seed-0", "seed-1"} <= set(candidates.index)
    assert (candidates["flops"] <= 1e6 * limit).all()
    for name in ("found", "residual"):
        trained = pd.read_csv(run / f"retrained/nas_bench_201/images/{name}/0/accuracy.csv")
        assert f"{candidates.loc[name, 'channels']} channels" in trained["network"].iloc[0]
    assert candidates.loc["residual", "channels"] != candidates.loc["found", "channels"]
    comparison = pd.read_csv(run / "choice/comparison.csv").set_index("network")
    assert comparison.loc["found", "images"] == 12
    assert comparison.loc["random", "runs"] == 1
    curve = pd.read_csv(run / "figures/labels.csv")
    assert sorted(curve["labels"].unique()) == [5, 36]
    assert f"`{candidates.loc['found', 'arch']}`" in page
    for words in (
        "limit: 0.1 million flops",
        "Kendall's tau",
        "structure alone",
        "5 labels per class",
        "| train_supernet",
    ):
        assert words in page

    model = rlnas_core.load_model(run / "model")
    assert sorted(model.description.class_names) == ["blue", "grün", "red"]
    images = np.load(run / "data/images/valid_images.npy")
    names = np.array(model.description.class_names)[np.load(run / "data/images/valid_labels.npy")]
    found = np.array(model.description.class_names)[model(images).argmax(1).numpy()]
    top1 = (
        pd.read_csv(run / "retrained/nas_bench_201/images/found/0/accuracy.csv")
        .set_index("column")
        .loc["top1"]
    )
    assert 100 * (found == names).mean() == pytest.approx(top1["value"])
    session = onnxruntime.InferenceSession(run / "model/model.onnx", providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"images": images})
    assert np.abs(scores - model(images).detach().numpy()).max() < 1e-4 * max(1, np.abs(scores).max())


def test_a_list_of_labels_is_trained_on_and_all_images_are_searched_on(tmp_path):
    """Their directories are no classes."""
    photographs(tmp_path / "photos", ["2023", "2024"])
    rows = [f"{year}/{number}.png,{'abc'[number % 3]}" for year in (2023, 2024) for number in range(30)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,class", *rows]))
    given, labels = ("seeds=1", "retrainings=1", "labels=[]"), ("--labels", "labels.csv")
    _, arguments = choose(tmp_path, "photos", *given, labels=labels)
    targets = [f"results/own/{file}" for file in ("choice/candidates.csv", "data/labelled/dataset.json")]
    snakemake(tmp_path, *targets, *arguments)
    data = tmp_path / "results/own/data"
    assert np.load(data / "images/train_labels.npy").tolist() == [-1] * 80
    counts = np.bincount(np.load(data / "labelled/train_labels.npy"))
    assert (len(counts), counts.sum()) == (3, 54)  # of 20 images of each class, a tenth is held out
    assert counts.max() <= 20
    assert "retrain_architecture" in snakemake(tmp_path, *arguments, "--dry-run")
    printed, _ = choose(tmp_path, "photos", run="none", labels=("--labels", "none"))
    assert "80 images, 0 test images, no classes" in printed


@pytest.mark.parametrize(("config", "run"), [("config.yaml", "my-photos"), ("link/config.yaml", "link")])
def test_a_run_is_named_after_the_directory_of_its_configuration(tmp_path, config, run):
    photographs(tmp_path / "my photos/x", [""])
    (tmp_path / "my photos/link").symlink_to(tmp_path)  # such as results/RUN to a larger disk
    choose(tmp_path / "my photos", "x", config=config)
    assert (tmp_path / "my photos" / config).read_text().splitlines()[1] == f"run: {run}"


def test_unlabelled_images_of_an_archive_end_in_a_network_that_says_it_is_not_trained(tmp_path):
    photographs(tmp_path / "photos", ["x"])
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for file in (tmp_path / "photos/x").iterdir():
            archive.write(file, file.name)
    choices = ["space=darts", "cells=2", "seeds=1", "params=0.01", "image_size=8"]
    _, jobs, page = search(tmp_path, "photos.zip", *choices)
    assert not any("retrained" in file for file in jobs)
    assert "there are no labels" in page
    run = tmp_path / "results/own"
    candidates = pd.read_csv(run / "choice/candidates.csv").set_index("architecture")
    assert (candidates["params"] <= 10_000).all()
    assert "**not trained**" in (run / "model/README.md").read_text()
    maps = rlnas_core.load_model(run / "model", features=True)(Image.new("RGB", (20, 20)))
    assert len(maps) >= 2


def test_choices_that_dont_exist_and_missing_images_are_refused_in_one_line(tmp_path):
    script = ROOT / "workflow_scripts/choose_settings.py"
    for arguments, message in (
        (["gone", "config.yaml"], "IMAGES: got gone, which doesn't exist; give a directory or archive"),
        (
            ["gone", "config.yaml", "--set", "size=3"],
            "got size=3; accepted: KEY=VALUE with a key of space, image_size",
        ),
        ([".", "config.yaml", "--set", "labels=[10,", "100]"], "got labels=[10,; accepted: KEY=VALUE"),
        ([".", "config.yaml"], ". has no images; accepted endings: .bmp"),
    ):
        result = subprocess.run(
            [sys.executable, script, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env=os.environ,
            check=False,
        )
        assert result.returncode
        assert message in result.stderr.splitlines()[-1]
