"""The documentation's site is built without a warning, and its examples run."""

import re
import subprocess
import sys
from pathlib import Path

import jupytext
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]


def test_the_site_is_built_strictly_and_offline(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    pages = {page: page.read_text() for page in tmp_path.rglob("*.html")}
    assert "schedule_epochs" in pages[tmp_path / "configuration/index.html"]
    assert "rlnas_core.training.loop.fit" in pages[tmp_path / "library/index.html"]
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
