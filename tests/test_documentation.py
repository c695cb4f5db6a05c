"""The documentation's site is built without a warning, and its examples run."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jupytext
import pandas as pd
from nbclient import NotebookClient

from rlnas_core.paper import claims
from rlnas_core.paper.costs import cost_table
from rlnas_core.paper.tables import tidy

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
    assert "schedule_epochs" in pages[tmp_path / "configuration/index.html"]
    reference = pages[tmp_path / "library/index.html"]
    assert [name for name in public_names() if f'id="{name}"' not in reference] == []
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
from rlnas_core.model.loading import Model, ModelDescription
from rlnas_core.model.saving import save_model
description = ModelDescription(
    space="nas_bench_201", arch=space.to_string(found.genes[None])[0], sizes={"channels": 8, "cells": 1},
    class_names=list("0123456789"), in_channels=1, image_size=8, mean=[mean], std=[std], made_by={},
)
model = Model(description).eval()
save_model(model, "model", {})
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
    assert (tmp_path / "model/model.onnx").is_file()


RESULTS = (ROOT / "docs/results.md").read_text()
COST_TABLES = (3, 4, 5, 8, 9, 10, 11)
DATASETS = ("cifar10", "cifar100", "imagenet16")
D, JIGSAW = ("D (RLNAS)", 3), ("UnNAS's jigsaw, one seed (table 12)", 1)
SECTIONS = {2: "Ranking the whole space", "added": "What random labels add, and what is structure"}
# The rows of docs/results.md that are rows of the paper's tables, and with how many seeds
ROWS = {
    1: {"B": ("B", 3), "D": D},
    2: {
        "A": ("A (true labels, validation accuracy), 250 epochs", 3),
        "B": ("B (true labels, angle), 250 epochs", 3),
        "C": ("C (random labels, validation accuracy), 250 epochs", 3),
        "D": ("D (RLNAS), 250 epochs", 3),
    },
    "added": {
        "live-conv-weights": ("convolution weights on live edges", 1),
        "D/layer-angle-sum-times-mean": ("D, 250 epochs: sum times mean of layer angles", 3),
        "D/operation-average-control": ("D, 250 epochs: its control", 3),
    },
    6: {
        "uniform-once": D,
        "shuffle-once": ("shuffled once", 1),
        "uniform-each-step": ("uniform each step", 1),
        "shuffle-each-step": ("shuffled each step", 1),
    },
    7: {
        "RLNAS": D,
        "training-free-normal": ("untrained, N(0, 1), 40 pairs", 40),
        "training-free-uniform": ("untrained, U(0, 1), 40 pairs", 40),
    },
    12: {"RLNAS": D, "UnNAS-jigsaw": JIGSAW},
}


def documented(part):
    """The cells of a table that docs/results.md has: row, column, mean, std and runs."""
    section = RESULTS.split(f"## {SECTIONS.get(part, 'Architectures found')}\n")[1].split("\n## ")[0]
    suffix = "_test" if part == 1 else ""
    for row, (name, runs) in ROWS[part].items():
        line = re.search(rf"^\| {re.escape(name)} \|(.+)$", section, re.MULTILINE)[1]
        for dataset, cell in zip(DATASETS, line.split("|"), strict=False):
            mean, std = [*map(float, cell.split("±")), float("nan")][:2]
            yield {"row": row, "column": f"{dataset}{suffix}", "mean": mean, "std": std, "runs": runs}


def documented_table(number):
    """The table of a number as a run would have written it."""
    if number in COST_TABLES:
        return cost_table(number, [], [], [], [], {})
    nothing = tidy(pd.DataFrame(columns=["row", "column", "seed", "value"]), number)
    parts = [number, *(["added"] if number == 2 else [])]
    cells = pd.DataFrame([cell for part in parts if part in ROWS for cell in documented(part)])
    keys = ["row", "column"]
    table = cells.merge(nothing.drop(columns=["mean", "std", "runs"]), how="left", on=keys)
    rest = nothing[~nothing.set_index(keys).index.isin(table.set_index(keys).index)]
    return pd.concat([table, rest])[nothing.columns]


def spread(cells, name):
    """Two digits of each dataset's value, or the smallest and the largest where there are several."""
    known = cells.dropna(subset=name)
    single = known["column"].is_unique and len(known) <= len(DATASETS)
    values = known[name] if single else (known[name].min(), known[name].max())
    texts = [f"{value:+#.2g}".rstrip(".") for value in values]
    return (" / " if single else " to ").join(texts).replace("-", "\N{MINUS SIGN}")


def test_the_readmes_verdicts_are_those_of_the_rule_on_the_documented_results():
    tables = {number: documented_table(number) for number in range(1, 13)}
    comparisons = claims.check(tables, None)
    short = {claims.OPEN: "open"}
    lines = []
    for claim in claims.summarise(comparisons).to_dict("records"):
        cells = comparisons[comparisons["claim"] == claim["claim"]]
        verdict, of_paper = short.get(claim["verdict"], claim["verdict"]), claim["paper"].split(":")[0]
        prefix = f"{short.get(of_paper, of_paper)}: " if of_paper in (claims.OPEN, claims.FAILS) else ""
        shown = [claims.SIGNS[claim["verdict"]] + " " + verdict, claim["says"], claim["unit"]]
        shown += [prefix + spread(cells, "paper"), spread(cells, "value")]
        lines.append("".join(f"| {cell} ".replace("  ", " ") for cell in shown) + "|")
    readme = (ROOT / "README.md").read_text()
    assert [line for line in lines if line not in readme] == []
