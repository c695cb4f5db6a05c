"""The whole workflow through Snakemake: a tiny run, twice."""

import itertools
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from environments import keep_to
from safetensors.torch import load_file
from workflow import TINY, of_this_workflow

from rlnas_core.paper.explorer import LIMIT

# Other trainings are compared by tests of killed runs and of SLURM, scores of proxies by their own. Here a
# MobileNet-like supernet is trained again; others are scored and searched. Tables read the runtimes.
SHARED = re.compile(
    "results/tiny/(?:data|benchmark|labels|ranking|scores|architectures|retrained|transferred"
    "|runtimes/(?:train_supernet|score_)|searches/(?:darts|nas_bench_201|mobilenet/digits/ground-truth)"
    "|figures/(?:initialisations|figure[345])"
    "|supernets/(?:darts|nas_bench_201|.*/ground-truth/))"
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The results of a tiny run, and of a second that makes again all but `SHARED` of a copy of the first.

    They have no more than what envs/analysis.yaml brings, where that is a rule's environment.
    """
    first, second, modules = (tmp_path_factory.mktemp(name) for name in ("first", "second", "modules"))
    keep_to("analysis.yaml", modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(modules))
        of_this_workflow(first, config=TINY)
        shutil.copytree(first, second, dirs_exist_ok=True)
        for path in (second / "results").rglob("*"):
            if path.is_file() and not SHARED.match(str(path.relative_to(second))):
                path.unlink()
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
    assert {
        "synflow",
        "network-flops",
        "uniform-once/angle/epoch 1",
        "ground-truth/validation-accuracy",
    } <= rows
    values = table.set_index(["row", "column"])
    assert values.loc[("synflow", "cifar10"), "tau_discounted"] > 0.2
    assert [values.loc[(row, "cifar10"), "runs"] for row in ("synflow", "uniform-once/angle")] == [1, 2]
    text = (runs[0] / "tables/rankings.md").read_text()
    seconds = next(line for line in text.splitlines() if line.startswith("| SynFlow")).split("|")[3]
    assert float(seconds) > 0
    for kind in ("tex", "html"):
        assert (runs[0] / f"tables/rankings.{kind}").stat().st_size > 0
    assert (runs[0] / "explore.html").stat().st_size < LIMIT


def test_networks_that_are_trained_by_themselves_judge_rankings_of_their_space(runs):
    table = pd.read_csv(runs[0] / "tables/networks_darts_digits.csv").set_index("row")
    assert {"parameters", "network-flops", "uniform-once/angle", "synflow", "angles-and-jacobians"} <= set(
        table.index
    )
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
        measured = table[table["column"].isin(["cifar10", "cifar10_test"])]
        assert measured["mean"].notna().any()
        elsewhere = table[table["column"].str.startswith(("cifar100", "imagenet16"))]
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


def test_rows_of_tables_1_and_2_have_the_numbers_of_their_labels_and_scores(runs):
    accuracies = pd.read_csv(runs[0] / "benchmark/accuracies.csv").set_index("arch")["cifar10_test"]
    first, second = (
        pd.read_csv(runs[0] / f"tables/table{number}.csv").set_index(["row", "column"])["mean"]
        for number in (1, 2)
    )
    for row, labels, score in (
        ("A", "ground-truth", "validation-accuracy"),
        ("B", "ground-truth", "angle"),
        ("C", "uniform-once", "validation-accuracy"),
        ("D", "uniform-once", "angle"),
    ):
        rankings = (runs[0] / f"ranking/nas_bench_201/digits/{labels}/10").glob(f"*/{score}.csv")
        keys = ["indicator", "column"]
        taus = [pd.read_csv(path).set_index(keys).loc[(score, "cifar10_test"), "tau"] for path in rankings]
        assert second[(row, "cifar10")] == pytest.approx(np.mean(taus), abs=1e-6), row
        best = (runs[0] / f"searches/nas_bench_201/digits/{labels}/10").glob(f"*/{score}/best.csv")
        found = [accuracies[pd.read_csv(path)["arch"].iat[0]] for path in best]
        assert first[(row, "cifar10_test")] == pytest.approx(np.mean(found), abs=1e-6), row
    assert second[["A", "B", "C", "D"]].dropna().nunique() == 4


def test_seeds_draw_other_labels_and_weights_and_none_of_the_labels_are_the_true_ones(runs):
    labels = [np.load(runs[0] / f"labels/digits/uniform-once/10/{seed}/train.npy") for seed in "01"]
    true = np.load(runs[0] / "data/digits/train_labels.npy")
    for one, other in itertools.combinations([*labels, true], 2):
        assert 0.05 < (one == other).mean() < 0.15  # by chance: a tenth
    weights = [
        load_file(runs[0] / f"supernets/nas_bench_201/digits/uniform-once/10/{seed}/weights.safetensors")
        for seed in "01"
    ]
    assert not any(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())


def test_the_same_command_twice_gives_the_same_bytes(runs):
    first, second = (
        {
            path.relative_to(run): path.read_bytes()
            for folder in ("figures", "searches", "supernets", "tables")
            for path in (run / folder).rglob("*")
            if path.is_file() and not SHARED.match(f"results/tiny/{path.relative_to(run)}")
        }
        for run in runs
    )
    assert first.keys() == second.keys()
    assert {path.parts[0] for path in first} == {"figures", "searches", "supernets", "tables"}
    # What shows how long things took differs, but for the numbers themselves.
    timed = {path for path in first if path.stem == "rankings" and path.suffix != ".csv"}
    assert len(timed) == 6
    assert [str(path) for path in first.keys() - timed if first[path] != second[path]] == []


def test_the_random_label_supernet_is_trained_once_and_shared(runs):
    trained = [path.parent for path in (runs[0] / "supernets").rglob("weights.safetensors")]
    assert sorted(str(path.relative_to(runs[0] / "supernets")) for path in trained) == [
        "darts/digits/uniform-once/10/0",
        "mobilenet/digits/ground-truth/10/0",
        "mobilenet/digits/uniform-once/10/0",
        "nas_bench_201/digits/ground-truth/10/0",
        "nas_bench_201/digits/rotation/4/0",
        "nas_bench_201/digits/shuffle-each-step/10/0",
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
    assert len(logs) == len(runtimes)
    jobs = of_this_workflow(runs[0].parents[1], "--dry-run", "--forceall", config=TINY)
    assert len(runtimes) == int(re.search(r"^total +(\d+)$", jobs, re.MULTILINE)[1]) - 1  # all but `all`


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
    parts = ("RLNAS: ", "RLNAS searches architectures", 'href=\\"explore.html', "<svg", "B above A")
    places = [first.index(part) for part in parts]
    assert places == sorted(places)
    assert '<script src="http' not in text
