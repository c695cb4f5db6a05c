import math
import re
import runpy
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from rlnas_core.paper.tables import COLUMNS, PAPER, not_run, paper_numbers, tidy, write

SCRIPT = Path(__file__).parents[2] / "workflow_scripts/tabulate_costs.py"


def runs(*values, row="D", column="cifar10", **others):
    return pd.DataFrame(
        {
            "row": row,
            "column": column,
            "seed": range(len(values)),
            "value": [float(v) for v in values],
            **others,
        }
    )


NOTHING = runs()


def cell(table, row, column):
    return table[(table["row"] == row) & (table["column"] == column)].iloc[0]


@pytest.mark.parametrize("number", range(1, 13))
def test_every_number_of_the_paper_appears_and_none_as_measured(number, tmp_path):
    table = tidy(NOTHING, number, {"cifar10": "not measured: too dear"})
    paper = paper_numbers(number)
    assert tuple(table.columns) == COLUMNS
    assert table["mean"].isna().all()
    assert (table["runs"] == 0).all()
    assert (table["note"].str.startswith("not measured")).all()
    pd.testing.assert_frame_equal(table[paper.columns], paper)
    write(table, number, tmp_path / "table")
    for extension in ("md", "tex", "html"):
        text = (tmp_path / f"table.{extension}").read_text()
        assert text.count("(paper ") == paper["paper_mean"].notna().sum()
        measured = re.sub(r"\(paper [^)]*\)", "", text.split("Runs")[-1])
        assert not re.search(r"\d\.\d", measured)


def test_the_paper_holds_as_many_numbers_as_counted_there():
    assert [len(paper_numbers(number)) for number in range(1, 13)] == [
        24,
        12,
        44,
        20,
        24,
        12,
        12,
        90,
        54,
        40,
        24,
        4,
    ]
    spos = paper_numbers(5).set_index(["row", "column"]).loc[("SPOS", "top5"), "paper_mean"]
    assert math.isnan(spos)
    assert len(PAPER["figure1"]["categories"]) == 20


def test_mean_and_sample_standard_deviation_over_seeds():
    measured = cell(tidy(runs(93.0, 93.5, 94.3), 6), "D", "cifar10")
    assert measured["mean"] == pytest.approx(93.6)
    assert measured["std"] == pytest.approx(np.std([93.0, 93.5, 94.3], ddof=1), abs=1e-6)
    assert measured["runs"] == 3
    single = cell(tidy(runs(93.0), 6), "D", "cifar10")
    assert single["runs"] == 1
    assert math.isnan(single["std"])


def test_paper_number_stands_beside_the_measured_one(tmp_path):
    table = tidy(runs(93.34, 93.56, row="RLNAS"), 7, {"random-search": "not measured: no seeds"})
    write(table, 7, tmp_path / "table7")
    markdown = (tmp_path / "table7.md").read_text()
    assert "| RLNAS | 93.45 ± 0.16 (paper 93.45 ± 0.11) |" in markdown
    assert "| Random search | \N{EN DASH}<sup>2</sup> (paper 92.09 ± 0.21) |" in markdown
    assert markdown.endswith("1. not run\n2. not measured: no seeds\n")
    latex = (tmp_path / "table7.tex").read_text()
    assert r"RLNAS & 93.45 $\pm$ 0.16 (paper 93.45 $\pm$ 0.11) &" in latex
    assert r"Random search & --\textsuperscript{2} (paper 92.09 $\pm$ 0.21) &" in latex
    written = pd.read_csv(
        tmp_path / "table7.csv", keep_default_na=False, na_values={"mean": [""], "std": [""]}
    )
    pd.testing.assert_frame_equal(written, table)


def test_rows_and_columns_beyond_the_paper_follow_its_own(tmp_path):
    measured = pd.concat([runs(0.5, row="live-conv-weights"), runs(0.4, 0.6, column="digits")])
    table = tidy(measured, 2, {"cifar100": "not measured: not part of this run"})
    assert list(dict.fromkeys(table["row"])) == ["A", "B", "C", "D", "live-conv-weights"]
    assert list(dict.fromkeys(table["column"])) == ["cifar10", "cifar100", "imagenet16", "digits"]
    assert len(table) == 20
    assert cell(table, "live-conv-weights", "cifar100")["note"] == "not measured: not part of this run"
    write(table, 2, tmp_path / "table2")
    assert "Convolution weights on live edges | 0.5000 |" in (tmp_path / "table2.md").read_text()
    latex = (tmp_path / "table2.tex").read_text()
    assert "\\midrule\nConvolution weights on live edges &" in latex


def test_interval_stands_in_the_note_and_beside_the_mean(tmp_path):
    measured = runs(0.50, 0.52, low=[0.49, 0.51], high=[0.51, 0.53])
    table = tidy(measured, 2)
    assert cell(table, "D", "cifar10")["note"] == "95% intervals within 0.4900 to 0.5300"
    write(table, 2, tmp_path / "table2")
    shown = "0.5100 ± 0.0141 [95% intervals within 0.4900 to 0.5300] (paper 0.5059)"
    assert shown in (tmp_path / "table2.md").read_text()
    assert shown.replace("±", r"$\pm$").replace("%", r"\%") in (tmp_path / "table2.tex").read_text()
    single = tidy(runs(0.5, low=0.49, high=0.51), 2)
    assert cell(single, "D", "cifar10")["note"] == "95% interval 0.4900 to 0.5100"


def test_reason_of_a_row_that_no_run_fills_comes_first():
    notes = {"cifar10": "not measured: too dear", "D": "not measured: no seeds"}
    table = tidy(runs(93.0, row="C"), 1, notes, {"D": "quoted", "C": "quoted"})
    assert (table[table["row"] == "D"]["note"] == "quoted").all()
    assert cell(table, "C", "cifar10")["note"] == ""
    assert cell(table, "B", "cifar10")["note"] == "not measured: too dear"


@pytest.fixture
def costs(tmp_path, monkeypatch):
    """Tabulate costs as the workflow does, of a network for each image dataset or scenes given."""
    monkeypatch.setitem(sys.modules, "job", SimpleNamespace(start=lambda snakemake: lambda text: None))

    def tabulate(number, architecture, space, scenes, datasets, measure, source):
        def save(name, lines):
            pd.DataFrame(lines).assign(architecture=architecture, value=50.0, seed=0).to_csv(tmp_path / name)
            return [tmp_path / name]

        accuracies = [{"dataset": name, "column": top} for name in datasets for top in ("top1", "top5")]
        search = {"dataset": "digits", "categories": 10, "limit": "none", "params": 1, "macs": 1}
        found = [search | {"found_by": found_by} for found_by in ("evolution", "optimum")]
        snakemake = SimpleNamespace(
            input=SimpleNamespace(
                accuracies=save("accuracy.csv", accuracies),
                measures=save("measures.csv", [{"dataset": scenes, "column": measure}]) if scenes else [],
                searches=[] if scenes else save("best.csv", found),
                architectures=[],
            ),
            output=SimpleNamespace(csv=tmp_path / "table.csv"),
            params=SimpleNamespace(table=(space, scenes), sources={scenes: source}),
            wildcards=SimpleNamespace(number=str(number)),
        )
        runpy.run_path(str(SCRIPT), {"snakemake": snakemake})
        return pd.read_csv(tmp_path / "table.csv")

    return tabulate


@pytest.mark.parametrize("own", [True, False], ids=["own", "real"])
@pytest.mark.parametrize(
    ("number", "architecture", "space", "scenes", "measure", "quoted"),
    [
        (3, "RLNAS-cifar10", "darts", None, "", 4),
        (4, "RLNAS-imagenet", "darts", None, "", 0),
        (5, "RLNAS-mobilenet", "mobilenet", None, "", 5),
        (8, "DARTS-v2", "darts", "coco", "AP", 0),
        (9, "RLNAS-mobilenet", "mobilenet", "coco", "AP", 4),
        (10, "DARTS-v2", "darts", "cityscapes", "mIoU", 0),
        (11, "RLNAS-mobilenet", "mobilenet", "cityscapes", "mIoU", 4),
    ],
)
def test_empty_cells_of_networks_say_quoted_or_name_their_key(
    costs, number, architecture, space, scenes, measure, quoted, own
):
    dataset, source = ("digits", "miniature") if own else ("imagenet", scenes)
    table = costs(number, architecture, space, scenes, [dataset], measure, source)
    assert (table["mean"] == 50).sum() == 2 + bool(scenes)
    empty = table[table["mean"].isna()]
    of_paper = empty[empty["note"].str.startswith("quoted: ")]
    rows = set(of_paper["row"])
    assert len(rows) == quoted
    assert len(of_paper) == table["row"].isin(rows).sum()
    for row, column, note in empty[~empty["row"].isin(rows)][["row", "column", "note"]].to_numpy():
        if row.endswith("optimum"):
            assert note == "not measured: retraining takes what evolution found"
        elif column in ("params", "flops"):
            limit = {"darts": 600, "mobilenet": 475}[space]
            assert note == f"not measured: name random-0-{limit} in transfer.{scenes}.architectures.{space}"
        else:
            top = column.split("/")[-1] in ("top1", "top5")
            of = dataset if "/" in column else "imagenet"
            key = f"retraining.{space}.{of}" if top else f"transfer.{scenes}.architectures.{space}"
            assert key in note
            assert note == not_run(
                column, space, scenes, (table["mean"][table["column"] == column] == 50).any()
            )
    assert empty["note"].nunique() <= 6


def test_a_run_without_a_number_leaves_no_mean():
    undefined = cell(tidy(runs(0.5, np.nan), 2), "D", "cifar10")
    assert math.isnan(undefined["mean"])
    assert undefined["note"] == "undefined in 1 of 2 runs"


def test_columns_have_their_own_decimals_and_groups_their_title(tmp_path):
    write(tidy(runs(581.4, row="cifar10/RLNAS-600M", column="flops"), 3), 3, tmp_path / "table3")
    line = (
        "| CIFAR-10: RLNAS, channels scaled to 600M | \N{EN DASH}<sup>1</sup> (paper 5.3) | 581 (paper 581) |"
    )
    assert line in (tmp_path / "table3.md").read_text()


def test_names_are_escaped(tmp_path):
    write(tidy(runs(1.0, row="a_b & <i>%|"), 6), 6, tmp_path / "table6")
    assert r"a\_b \& <i>\%| & 1.00" in (tmp_path / "table6.tex").read_text()
    assert "<td>a_b &amp; &lt;i&gt;%|</td>" in (tmp_path / "table6.html").read_text()
    assert r"| a_b & <i>%\| |" in (tmp_path / "table6.md").read_text()


def test_html_is_a_whole_table(tmp_path):
    class Counter(HTMLParser):
        def __init__(self):
            super().__init__()
            self.tags = []

        def handle_starttag(self, tag, attrs):
            self.tags.append(tag)

    write(tidy(runs(1.0), 1), 1, tmp_path / "table1")
    counter = Counter()
    counter.feed((tmp_path / "table1.html").read_text())
    assert counter.tags.count("tr") == 5
    assert counter.tags.count("td") == 4 * 9


def test_the_same_table_twice_is_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write(tidy(runs(1 / 3, 2 / 3), 2), 2, tmp_path / name / "table2")
    for extension in ("csv", "md", "tex", "html"):
        one, two = ((tmp_path / name / f"table2.{extension}").read_bytes() for name in ("one", "two"))
        assert one == two


@pytest.mark.parametrize(
    ("measured", "number", "message"),
    [
        (NOTHING.drop(columns="seed"), 1, "also needed: seed"),
        (pd.concat([runs(1.0), runs(2.0)]), 1, "got seed 0 of row D, column cifar10 twice"),
        (NOTHING, 13, "got 13; the paper's tables are 1 to 12"),
    ],
)
def test_wrong_input_is_refused(measured, number, message):
    with pytest.raises(ValueError, match=message):
        tidy(measured, number)
