import re

import pytest

from rlnas_core.paper.costs import cost_table
from rlnas_core.paper.formats import write
from rlnas_core.paper.tables import DASH, not_run
from rlnas_core.search.names import ArchitectureName


@pytest.mark.parametrize("own", [True, False], ids=["own", "real"])
@pytest.mark.parametrize(
    ("number", "architecture", "space", "scenes", "measure", "quoted"),
    [
        (3, "RLNAS-cifar10", "darts", None, "", 0),
        (4, "RLNAS-imagenet", "darts", None, "", 0),
        (5, "RLNAS-mobilenet", "mobilenet", None, "", 1),
        (8, "DARTS-v2", "darts", "coco", "AP", 0),
        (9, "RLNAS-mobilenet", "mobilenet", "coco", "AP", 1),
        (10, "DARTS-v2", "darts", "cityscapes", "mIoU", 0),
        (11, "RLNAS-mobilenet", "mobilenet", "cityscapes", "mIoU", 1),
    ],
)
def test_empty_cells_of_networks_say_quoted_or_name_their_key(
    number, architecture, space, scenes, measure, quoted, own
):
    dataset, source = ("digits", "miniature") if own else ("imagenet", scenes)
    runs = [{"architecture": architecture, "seed": 0, "value": 50.0}]
    accuracies = [run | {"dataset": dataset, "column": top} for run in runs for top in ("top1", "top5")]
    measures = [run | {"dataset": scenes, "column": measure} for run in runs if scenes]
    search = {"dataset": "digits", "categories": 10, "seed": 0, "limit": "none", "params": 1, "flops": 1}
    search |= {"labels": "uniform-once", "search": "angle"}
    searches = [search | {"found_by": by} for by in ("evolution", "optimum") if not scenes]
    table = cost_table(number, searches, [], accuracies, measures, {scenes: source})
    assert (table["mean"] == 50).sum() == 2 + bool(scenes)
    empty = table[table["mean"].isna()]
    of_paper = empty[empty["note"].str.startswith("quoted: ")]
    rows = set(of_paper["row"])
    assert len(rows) == quoted
    assert len(of_paper) == table["row"].isin(rows).sum()
    for row, column, note in empty[~empty["row"].isin(rows)][["row", "column", "note"]].to_numpy():
        if row.endswith("optimum"):
            assert note == "not measured: retraining takes what evolution found"
        elif row.split("/")[-1] in ("SPOS", "random-search"):
            method = "A" if row.endswith("SPOS") else "random-search"
            key = rf"not measured: large_spaces\.{space}\.(imagenetsearch|cifar10)"
            assert re.match(rf"{key} needs methods: \[{method}\] and limits: \[(null|475|600)\]", note)
            named = (
                rf"; transfer\.{scenes}\.architectures\.{space} needs imagenetsearch-1000-0-.*-{method} \("
            )
            assert bool(re.search(named, note)) == bool(scenes)
        else:
            top = column.split("/")[-1] in ("top1", "top5")
            of = dataset if "/" in column else "imagenet"
            key = f"retraining.{space}.{of}" if top else f"transfer.{scenes}.architectures.{space}"
            assert key in note
            assert note == not_run(
                column, space, scenes, (table["mean"][table["column"] == column] == 50).any()
            )
    assert empty["note"].nunique() <= 7


def test_random_search_on_imagenet_within_the_papers_limit_fills_the_papers_row():
    names = [f"imagenetsearch-1000-{seed}-600-random-search" for seed in (0, 1)]
    others = ["cifar10-10-0-600-random-search", "random-0-500"]
    choices = [{"architecture": name, "params": 5e6, "flops": 5e8} for name in [*names, *others]]
    measures = [
        {"architecture": name, "dataset": "coco", "seed": 0, "column": "AP", "value": 1}
        for name in [*names, *others]
    ]
    table = cost_table(8, [], choices, [], measures, {"coco": "coco"}).set_index(["row", "column"])
    assert table.loc[("random-search", "params"), ["mean", "runs"]].tolist() == [5.0, 2]
    assert table.loc[("this run, random within 500M", "flops"), "mean"] == 500
    assert table.loc[("this run, cifar10 within 600M, random search", "AP"), "runs"] == 1


@pytest.mark.parametrize(
    ("number", "name", "row"),
    [
        (3, "cifar10-10-0-none-A", "cifar10/SPOS"),
        (3, "cifar10-10-0-600-A", "this run, cifar10 within 600M, SPOS by evolution"),
        (3, "cifar10-10-0-none-scaled-A", "this run, cifar10, SPOS by evolution, scaled within 600M"),
        (3, "imagenetsearch-1000-0-600-A", "imagenet/SPOS"),
        (5, "imagenetsearch-1000-0-475-A", "SPOS"),
        (5, "digits-10-0-475-A", "this run, digits within 475M, SPOS by evolution"),
    ],
)
def test_a_search_by_accuracy_on_the_papers_images_fills_the_row_of_spos(number, name, row):
    run = {"architecture": name, "dataset": "imagenet", "column": "top1", "seed": 0, "value": 74.0}
    own = ArchitectureName.parse(name)
    search = {"labels": "ground-truth", "search": "validation-accuracy", "found_by": "evolution"}
    search |= {"dataset": own.dataset, "categories": own.categories, "seed": 0, "params": 5e6, "flops": 5e8}
    searches = [] if own.scaled else [search | {"limit": "none" if own.limit is None else str(own.limit)}]
    table = cost_table(number, searches, [], [run], [], {}).set_index(["row", "column"])
    assert table.loc[(row, "top1"), ["mean", "runs"]].tolist() == [74, 1]
    if searches:
        assert table.loc[(row, "flops"), "mean"] == 500


def test_accuracies_of_own_images_say_which_network_they_are_of(tmp_path):
    """Costs beside them are those of the size that the paper trains."""
    run = {"architecture": "RLNAS-cifar10", "dataset": "digits", "column": "top1", "seed": 0, "value": 97.0}
    run["network"] = "8 channels, 3 cells"
    runs = [run, run | {"architecture": "DARTS-v2"}]
    says = "networks of 8 channels, 3 cells at this run's image size; costs are those of the paper's size"
    table = cost_table(3, [], [], runs, [], {})
    measured = table[table["column"].eq("digits/top1") & table["mean"].notna()]
    assert measured["note"].tolist() == [says, says]
    write(table, 3, tmp_path / "table3")
    assert f"- digits: Top-1 {DASH} {says}\n" in (tmp_path / "table3.md").read_text()
