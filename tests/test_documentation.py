"""The documentation's site is built without a warning, and its examples run."""

import ast
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import jupytext
import numpy as np
import pandas as pd
from nbclient import NotebookClient

from rlnas_core.paper import claims

ROOT = Path(__file__).parents[1]


def public_names():
    """Every public function and class of the library, with its module."""
    for path in sorted((ROOT / "rlnas_core").glob("*/*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                yield f"{module}.{node.name}"


def test_the_site_is_built_strictly_and_offline(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    pages = {page: page.read_text() for page in tmp_path.rglob("*.html")}
    assert "schedule_epochs" in pages[tmp_path / "configuration.html"]
    reference = pages[tmp_path / "library.html"]
    assert [name for name in public_names() if f'id="{name}"' not in reference] == []
    assert 'href="results.html"' in pages[tmp_path / "index.html"]  # which a browser opens as a file
    fetched = [
        re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(https?:[^"]+)', text) for text in pages.values()
    ]
    assert not any(fetched)


def test_the_examples_of_extending_run():
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs/extend.md").read_text(), re.DOTALL | re.MULTILINE
    )
    assert len(blocks) >= 5
    exec("\n".join(blocks), {"__name__": "extend"})


def test_the_example_of_the_library_is_short_and_runs_as_a_notebook(tmp_path, monkeypatch):
    page = ROOT / "docs/example.md"
    notebook = jupytext.read(page)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert len("\n".join(code).splitlines()) < 40
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    executed = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    text = executed.cells[-2].outputs[0].text
    found, angle, shape = re.fullmatch(r"(\|.+\|) (\S+) (\(.+\))\n", text).groups()
    assert 0 < float(angle) < 3.2
    assert shape == "(2, 10)"
    assert found.count("+") == 2


ALONE = """
import sys
sys.modules["snakemake"] = None  # importing it fails
import rlnas_core
assert rlnas_core.__file__.startswith(sys.argv[1]), rlnas_core.__file__
exec(sys.stdin.read())
from rlnas_core.model import saving
from rlnas_core.model.loading import Model, ModelDescription
saving.export_onnx = lambda model, path: None
description = ModelDescription(
    space="nas_bench_201", arch=space.to_string(found.genes[None])[0], sizes={"channels": 8, "cells": 1},
    class_names=list("0123456789"), in_channels=1, image_size=8, mean=[mean], std=[std], made_by={},
)
model = Model(description).eval()
saving.save_model(model, "model", {})
loaded = rlnas_core.load_model("model")
assert torch.equal(loaded(pixels[:4]), model(pixels[:4]))
"""


def test_the_wheel_runs_the_example_and_loads_a_model_without_snakemake(tmp_path):
    """Nothing of the checkout is on the path: the wheel holds every file that the library reads."""
    source = tmp_path / "source"
    shutil.copytree(ROOT / "rlnas_core", source / "rlnas_core", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    installed = tmp_path / "installed"
    subprocess.run([*install, "--no-index", "--target", str(installed), str(source)], check=True)
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs/example.md").read_text(), re.DOTALL | re.MULTILINE
    )
    ran = subprocess.run(
        [sys.executable, "-c", ALONE, str(installed)],
        input="\n".join(blocks),
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


RESULTS = (ROOT / "docs/results.md").read_text()
MEASUREMENTS = ROOT / "docs/measurements"
VERDICTS = runpy.run_path(str(ROOT / "benchmarks/laptop_verdicts.py"))
DATASETS = ("cifar10", "cifar100", "imagenet16")
# The lines of docs/results.md that have cells of laptop.csv: its section, and the table and row of each
SECTIONS = {
    "Ranking the whole space": {
        "A (true labels, validation accuracy), 250 epochs": (2, "A"),
        "B (true labels, angle), 250 epochs": (2, "B"),
        "C (random labels, validation accuracy), 250 epochs": (2, "C"),
        "D (RLNAS), 250 epochs": (2, "D"),
        "B + A, ranks of angle and accuracy added": (2, "B+A"),
    },
    "What random labels add, and what is structure": {
        "convolution weights (and FLOPs: the same order)": (2, "conv-weights"),
        "convolution weights on live edges": (2, "live-conv-weights"),
        "untrained, N(0, 1), 40 pairs": (2, "training-free-normal"),
        "untrained, U(0, 1), 40 pairs": (2, "training-free-uniform"),
        "untrained, normal of variance 2/fan-in, 40 pairs": (2, "training-free-kaiming-normal"),
        "untrained, uniform of variance 2/fan-in, 40 pairs": (2, "training-free-kaiming-uniform"),
        "D, 250 epochs: sum times mean of layer angles": (2, "D/layer-angle-sum-times-mean"),
        "D, 250 epochs: its control": (2, "D/operation-average-control"),
    },
    "Architectures found": {
        "A": (1, "A"),
        "B": (1, "B"),
        "C": (1, "C"),
        "D (RLNAS)": (1, "D"),
        "random search": (7, "random-search"),
        "untrained, N(0, 1), 40 pairs": (7, "training-free-normal"),
        "untrained, U(0, 1), 40 pairs": (7, "training-free-uniform"),
        "untrained, normal of variance 2/fan-in, 40 pairs": (7, "training-free-kaiming-normal"),
        "untrained, uniform of variance 2/fan-in, 40 pairs": (7, "training-free-kaiming-uniform"),
        "shuffled once": (6, "shuffle-once"),
        "uniform each step": (6, "uniform-each-step"),
        "shuffled each step": (6, "shuffle-each-step"),
        "UnNAS's rotation (table 12)": (12, "UnNAS-rotation"),
        "UnNAS's colorization": (12, "UnNAS-color"),
        "UnNAS's jigsaw": (12, "UnNAS-jigsaw"),
    },
}  # fmt: skip


def test_the_results_are_those_of_the_measurements():
    """Every number of these lines is a cell's mean or deviation, rounded as it is written."""
    cells = pd.read_csv(MEASUREMENTS / "laptop.csv")
    cells["column"] = cells["column"].str.removesuffix("_test")
    cells = cells.set_index(["table", "row", "column"])
    assert cells.index.is_unique
    wrong = []
    for heading, lines in SECTIONS.items():
        section = RESULTS.split(f"## {heading}\n")[1].split("\n## ")[0]
        for name, key in lines.items():
            line = re.search(rf"^\| {re.escape(name)} \|(.+)$", section, re.MULTILINE)[1]
            searched = DATASETS[:1] if key[0] == 12 else DATASETS  # as in the paper's table
            for dataset, cell in zip(searched, line.split("|"), strict=False):
                for written, exact in zip(cell.split("±"), cells.loc[*key, dataset], strict=False):
                    rounding = 0.501 * 10.0 ** -len(written.strip().partition(".")[2])
                    if not abs(float(written) - exact) <= rounding:
                        wrong.append((name, dataset, written, exact))
    assert wrong == []


def test_the_results_of_other_labels_are_those_of_their_seeds():
    names = {row: name for name, (table, row) in SECTIONS["Architectures found"].items() if table == 6}
    seeds = pd.read_csv(MEASUREMENTS / "laptop_labels.csv")
    others = seeds[seeds["labels"] != "ground-truth"]  # of which the file has the later seeds alone
    for (labels, indicator), rows in others.groupby(["labels", "indicator"]):
        assert rows.groupby("dataset").size().to_dict() == dict.fromkeys(DATASETS, 3)
        cells = rows.groupby("dataset")[["accuracy", "tau"]].agg(["mean", "std"]).loc[[*DATASETS]].to_numpy()
        accuracies = ["{:.2f} ± {:.2f}".format(*cell) for cell in cells[:, :2]]
        taus = " | ".join("{:.3f} ± {:.3f}".format(*cell) for cell in cells[:, 2:])
        if labels in names:
            lines = [f"{names[labels]}, 250 epochs | {taus}", f"{names[labels]} | {' | '.join(accuracies)}"]
        else:
            lines = [f"{labels} | {indicator.replace('-', ' ')} | {taus} | {accuracies[0]}"]
        for line in lines:
            assert f"| {line} |" in RESULTS


def test_the_taus_by_image_size_are_those_of_the_measurements():
    taus = pd.read_csv(MEASUREMENTS / "tau_by_epoch.csv").set_index(["image_size", "labels", "epoch"])
    for name, size, epoch in (
        ("16x16 pixels, one seed", 16, 250),
        ("16x16 pixels, after 99 epochs", 16, 99),
        ("32x32 pixels, after 99 epochs", 32, 99),
        ("32x32 pixels, one seed", 32, 250),
    ):
        cells = re.search(rf"^\| {name} \| (.+) \| (.+) \|$", RESULTS, re.MULTILINE).groups()
        for labels, cell in zip(("ground-truth", "uniform-once"), cells, strict=True):
            if cell == "not measured":
                assert (size, labels, epoch) not in taus.index
                continue
            written = np.array(cell.split(" / "), float)
            np.testing.assert_allclose(
                written, taus.loc[(size, labels, epoch), list(DATASETS)], atol=0.000501
            )


def test_the_results_at_full_size_are_those_of_the_measurements():
    full = pd.read_csv(MEASUREMENTS / "full.csv").set_index(["method", "dataset"])
    for method in full.index.unique("method"):
        cells = full.loc[method].loc[list(DATASETS)]
        for column, digits in (("tau", 3), ("accuracy", 2)):
            assert " / ".join(f"{value:.{digits}f}" for value in cells[column]) in RESULTS


def test_the_results_of_large_searches_are_those_of_the_measurements():
    searches = [
        ("networks", "darts", "600"), ("large", "darts", "600"), ("large", "darts", "none"),
        ("longer", "darts", "600"), ("longer", "darts", "none"),
        ("large", "mobilenet", "475"), ("large", "mobilenet", "none"),
    ]  # fmt: skip
    lines = {"exact optimum": [], "with parameters": [], "with FLOPs": [], "with the control": []}
    for run, *key in searches:
        found, taus = (
            pd.read_csv(MEASUREMENTS / f"{run}_{name}.csv", keep_default_na=False, dtype={"limit": str})
            .set_index(["space", "limit"])
            .loc[tuple(key)]
            for name in ("searches", "structure")
        )
        scores = found.loc[found["found by"] == "proof", "score"]
        lines["exact optimum"].append(f"{scores.min():.3f} to {scores.max():.3f}")
        taus = taus.groupby("with")["tau"].agg(["mean", "std"])
        for name, of in zip([*lines][1:], ("params", "flops", "operation-average-angle"), strict=True):
            lines[name].append("{:.2f} ± {:.2f}".format(*taus.loc[of]))
    page = (ROOT / "docs/large_searches.md").read_text()
    for name, cells in lines.items():
        written = re.search(rf"^\|[^|]*{name}[^|]*\|(.+)\|$", page, re.MULTILINE)[1]
        assert [cell.strip() for cell in written.split("|")] == cells, name


def test_the_documented_verdicts_are_those_of_the_rules(tmp_path):
    VERDICTS["main"](tmp_path)
    names = ["laptop_claims.csv", "laptop_comparison.csv", "laptop_comparison.md"]
    drawn = ("initialisations", "laptop_figure1", "laptop_methods", "laptop_rankings", "trajectory")
    figures = [f"{name}.png" for name in drawn]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([*names, *figures])
    for name in names:
        assert (tmp_path / name).read_text() == (MEASUREMENTS / name).read_text()


def spread(cells, name):
    """Each dataset's value, or the smallest and the largest where there are several."""
    known = cells.dropna(subset=name)
    single = known["column"].is_unique and len(known) <= len(DATASETS)
    values = known[name] if single else (known[name].min(), known[name].max())
    texts = [claims.signed(value, cells["unit"].iat[0]) for value in values]
    return (" / " if single else " to ").join(texts)


def test_the_readmes_verdicts_are_those_of_the_rule_on_the_measurements():
    comparisons = VERDICTS["verdicts"]()
    lines = []
    for claim in claims.summarise(comparisons).to_dict("records"):
        cells = comparisons[comparisons["claim"] == claim["claim"]]
        verdict, of_paper = claim["verdict"], claim["paper"].split(":")[0]
        prefix = f"{of_paper}: " if of_paper in (claims.OPEN, claims.FAILS) else ""
        shown = [claims.SIGNS[verdict] + " " + verdict, claim["says"], claim["unit"]]
        shown += [prefix + spread(cells, "paper"), spread(cells, "value")]
        lines.append("".join(f"| {cell} ".replace("  ", " ") for cell in shown) + "|")
    readme = (ROOT / "README.md").read_text()
    assert [line for line in lines if line not in readme] == []
