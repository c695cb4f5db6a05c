import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from tidy_runs import runs

from rlnas_core.paper.formats import write
from rlnas_core.paper.tables import OTHER, paper_numbers, tidy

DASH = "\N{EN DASH}"


def texts(table, number, folder):
    write(table, number, folder / "table")
    return [(folder / f"table.{extension}").read_text() for extension in ("csv", "md", "tex", "html")]


@pytest.mark.parametrize("number", range(1, 13))
def test_a_table_of_nothing_shows_the_papers_numbers_and_none_as_measured(number, tmp_path):
    _, *shown = texts(tidy(runs(), number), number, tmp_path)
    paper = paper_numbers(number)["paper_mean"].dropna()
    for text in shown:
        assert "measured</th>" not in text
        assert "standard deviation of the paper" not in text  # no sign is there to be explained
        assert len(re.findall(r"\d+\.\d+", text.split("over seeds.")[1])) >= (paper % 1 != 0).sum()


def test_paper_and_measured_value_have_columns_of_their_own(tmp_path):
    table = tidy(runs(93.34, 93.56, row="RLNAS"), 7, {"random-search": "not measured: no seeds"})
    csv, markdown, latex, html = texts(table, 7, tmp_path)
    header, _, *rows = [re.split(r" *\| *", line)[1:-1] for line in markdown.splitlines() if line[:1] == "|"]
    assert header == ["Method", "CIFAR-10, paper", "CIFAR-10"]
    assert rows[2:] == [["Random search", "92.09 ± 0.21", DASH], ["RLNAS", "93.45 ± 0.11", "93.45 ± 0.16 ≈"]]
    assert f"- CIFAR-100; ImageNet16-120 {DASH} not measured" in markdown
    assert f"- Random search {DASH} not measured: no seeds" in markdown
    assert r"\multicolumn{2}{l}{CIFAR-10} \\" in latex
    assert r"RLNAS & 93.45 $\pm$ 0.11 & 93.45 $\pm$ 0.16 $\approx$ \\" in latex
    assert r"Random search & 92.09 $\pm$ 0.21 & -- \\" in latex
    assert re.search(
        r'class="[^"]*\bwithin" *title="2 runs; 95% interval 92.0523 to 94.8477">93.45 ± 0.16 ≈</td>', html
    )
    assert re.search(r'class="[^"]*\bempty" *title="not measured: no seeds">' + DASH, html)
    read = pd.read_csv(
        tmp_path / "table.csv", keep_default_na=False, na_values=dict.fromkeys(table.columns[2:9], "")
    )
    pd.testing.assert_frame_equal(read, table, check_dtype=False)
    assert csv.count("\n") == 1 + 12


def test_the_caption_says_what_a_value_without_a_deviation_is(tmp_path):
    for values, count in (((93.34, 93.56), 0), ((93.34,), 1)):
        for text in texts(tidy(runs(*values, row="RLNAS"), 7), 7, tmp_path)[1:]:
            assert text.count("are of one seed") == count


def test_table_8_fits_a_page_where_only_costs_are_measured(tmp_path):
    table = tidy(runs(4.7, row="DARTS-v2", column="params"), 8, {"AP": "not measured: needs COCO"})
    _, markdown, latex, _ = texts(table, 8, tmp_path)
    assert markdown.splitlines()[2].count("|") == 4
    assert r"\begin{tabular}{lll}" in latex
    assert f"- AP {DASH} not measured: needs COCO" in markdown


def test_rows_beyond_the_paper_follow_a_rule_and_details_stay_out_of_cells(tmp_path):
    measured = runs(0.5, 0.6, 0.7, row="live-conv-weights")
    _, markdown, latex, html = texts(tidy(measured, 2), 2, tmp_path)
    assert re.search(r"\| Convolution weights on live edges +\| +\| 0.6000 ± 0.1000 +\|", markdown)
    assert "\\midrule\nConvolution weights on live edges &" in latex
    assert 'title="3 runs; 95% interval 0.3516 to 0.8484"' in html
    assert "nth-child(5){border-top" in html


def test_columns_have_their_own_decimals_and_groups_their_title(tmp_path):
    _, markdown, _, _ = texts(tidy(runs(581.4, row="cifar10/RLNAS-600M", column="flops"), 3), 3, tmp_path)
    assert re.search(r"\| CIFAR-10: RLNAS, channels scaled to 600M +\| 581 +\| 581 ≈ +\|", markdown)


def test_names_are_escaped(tmp_path):
    _, markdown, latex, html = texts(tidy(runs(1.0, row="a_b & <i>%|"), 6), 6, tmp_path)
    assert r"a\_b \& <i>\%|" in latex
    assert ">a_b &amp; &lt;i&gt;%|</th>" in html
    assert r"| a_b & <i>%\| " in markdown


def test_images_are_named_below_and_other_images_are_no_comparison(tmp_path):
    photos = f"photos at 32x32 pixels, {OTHER}"
    for images, sign in ((photos, ""), ("cifar10 at 32x32 pixels", " ≈")):
        table = tidy(runs(93.34, 93.56, row="RLNAS"), 7, images={"cifar10": images})
        csv, markdown, latex, html = texts(table, 7, tmp_path)
        assert f"| 93.45 ± 0.16{sign} " in markdown
        assert f"- CIFAR-10: supernets saw {images}\n" in markdown
        assert f'"{images}"' in csv or f",{images}," in csv
        assert f"supernets saw {images}" in latex
        assert bool(re.search(r'class="[^"]*\bwithin\b', html)) == bool(sign)


def test_html_is_a_whole_table(tmp_path):
    class Counter(HTMLParser):
        def __init__(self):
            super().__init__()
            self.tags = []

        def handle_starttag(self, tag, attrs):
            self.tags.append(tag)

    counter = Counter()
    counter.feed(texts(tidy(runs(1.0, row="D", column="cifar10_test"), 1), 1, tmp_path)[3])
    assert counter.tags.count("tr") == 2 + 4
    assert counter.tags.count("td") == 4 * 2
