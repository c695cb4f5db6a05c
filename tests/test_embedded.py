"""The embedded benchmark: how it is trained, and the table that ships."""

import json
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rlnas_core.benchmark.accuracies import read_table
from rlnas_core.embedded import EmbeddedSettings, digits, train_cell, train_embedded_benchmark
from rlnas_core.spaces import get

RESOURCES = Path(__file__).parents[1] / "resources"
SPACE = get("nas_bench_201")
SHORT = EmbeddedSettings(steps=30, seeds=2)


def test_same_seed_gives_the_same_accuracy_and_cells_differ_by_what_they_are():
    images, labels = digits(SHORT)
    genes = np.array([[3, 3, 3, 3, 3, 3], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]])
    first, again = ([train_cell(row, images, labels, SHORT, seed=0) for row in genes] for _ in range(2))
    assert first == again
    assert first[0] != first[1]
    assert max(first[0]) > 30  # chance is 10
    assert max(first[2]) < 20  # without a path nothing is learned


def test_equivalent_architectures_share_what_their_cell_was_trained_to(monkeypatch):
    classes = np.arange(15625) % 3
    monkeypatch.setattr(type(SPACE), "isomorphism_classes", lambda self: classes)
    lines = []
    table, record = train_embedded_benchmark(replace(SHORT, steps=2), log=lines.append)
    assert table["arch"].tolist() == SPACE.to_string(SPACE.enumerate())
    for cell in range(3):
        assert table[["digits_valid", "digits_test"]][classes == cell].nunique().tolist() == [1, 1]
    assert record["cells"] == 3
    assert record["settings"]["steps"] == 2
    assert lines[-1].startswith("3 of 3 cells")


def test_stopped_training_goes_on_to_the_same_table(monkeypatch, tmp_path):
    classes = np.arange(15625) % 120
    monkeypatch.setattr(type(SPACE), "isomorphism_classes", lambda self: classes)
    settings = replace(SHORT, steps=1)
    undisturbed, _ = train_embedded_benchmark(settings, log=lambda line: None)
    lines, options = [], {"state_path": tmp_path / "state"}

    def stopping(line):
        lines.append(line)
        if line.startswith("60 of 120 cells"):
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit):
        train_embedded_benchmark(settings, log=stopping, **options)
    table, _ = train_embedded_benchmark(settings, log=lines.append, **options)
    assert any("1 of 2 parts are trained" in line for line in lines)
    assert table.equals(undisturbed)


def test_shipped_table_is_whole_and_spreads_and_its_record_says_how_far_it_can_be_trusted():
    table = read_table(RESOURCES / "embedded_benchmark.csv")
    record = json.loads((RESOURCES / "embedded_benchmark.json").read_text(encoding="utf-8"))
    test = np.sort(table["digits_test"].to_numpy())
    assert test[-1] > test[-1000]  # the best thousand don't tie
    assert record["settings"].keys() == vars(EmbeddedSettings()).keys()
    assert record["digits_test_quantiles"][0] == pytest.approx(test[0], abs=0.01)
    assert 0.7 < record["tau_between_halves"] < 1
