"""Files between rules are whole, or it is said which one to delete."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from rlnas_core.benchmark.accuracies import read_extracted
from rlnas_core.images import arrays
from rlnas_core.images.preparation import prepare
from rlnas_core.machine.files import read_array, read_result, read_results
from rlnas_core.training.statistics import Statistics

COLUMNS = ["index", "angle"]
WHOLE = "index,angle,note\n0,0.5,\n1,0.25,none\n2,1e-9,\n"
REMEDY = "delete it and give the same command again"


def test_a_whole_result_is_read_with_its_words_as_they_are(tmp_path):
    (tmp_path / "angle.csv").write_text(WHOLE)
    table = read_result(tmp_path / "angle.csv", COLUMNS, rows=3)
    assert table["angle"].tolist() == [0.5, 0.25, 1e-9]
    assert table["note"][1] == "none"
    assert len(read_results([tmp_path / "angle.csv"] * 2, COLUMNS)) == 6
    assert list(read_results([], COLUMNS).columns) == COLUMNS


def test_a_dataset_named_by_digits_keeps_its_name(tmp_path):
    (tmp_path / "found.csv").write_text("dataset,limit,score\n2024,600,0.5\n1e5,none,1\n")
    table = read_result(tmp_path / "found.csv", ["dataset"])
    assert table[["dataset", "limit"]].to_numpy().tolist() == [["2024", "600"], ["1e5", "none"]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "OSError"),
        (WHOLE[:-1].encode(), "its last line is incomplete"),
        (WHOLE[:-14].encode(), "its last line is incomplete"),
        (WHOLE[: WHOLE.index("2,")].encode(), "got 2 rows, expected 3"),
        (WHOLE.replace("angle", "angel").encode(), "it has no column angle"),
        (WHOLE.replace("0.25", "").encode(), "row 1 has gaps"),
        (b"\x00" * 99 + b"\n", "it has no column"),
        (b"\xff\xfe\n\x80\x81\n", "UnicodeDecodeError"),
        (b"index,angle\n0,1\n1,2,3\n", "ParserError"),
        (b"\n", "EmptyDataError"),
    ],
)
def test_a_damaged_result_is_named_with_the_remedy(content, reason, tmp_path):
    (tmp_path / "angle.csv").write_bytes(content)
    with pytest.raises(ValueError, match=rf"angle\.csv can't be read \(.*{re.escape(reason)}.*{REMEDY}"):
        read_result(tmp_path / "angle.csv", COLUMNS, rows=3)


def written(kind, folder):
    """A file of a kind that rules leave, and what reads it."""
    path = folder / kind
    match kind:
        case "labels.npy":
            np.save(path, np.arange(1000))
            return path, lambda: read_array(path)
        case "images.npy":
            np.save(path, np.zeros((10, 8, 8, 3), np.uint8))
            return path, lambda: read_array(path, mmap_mode="r")
        case "statistics.npz":
            sums = [np.ones(2), np.ones((2, 1, 6, 5, 3)), np.ones((2, 3)), np.ones(1)]
            Statistics(*sums, {}).save(path)
            return path, lambda: Statistics.load(path)
        case "dataset.json":
            prepare("digits", folder, 4)
            return path, lambda: arrays.load(folder, "train")
    pd.DataFrame({"index": [0], "arch": ["x"], "cifar10_test": [1.0]}).to_csv(path, index=False)
    return path, lambda: read_extracted(path)


@pytest.mark.parametrize(
    "kind", ["labels.npy", "images.npy", "statistics.npz", "dataset.json", "accuracies.csv"]
)
@pytest.mark.parametrize("share", [0, 0.5, 0.95])
def test_a_cut_off_file_is_named_with_the_remedy(kind, share, tmp_path):
    path, read = written(kind, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=rf"{re.escape(kind)} can't be read .*{REMEDY}"):
        read()


def test_a_description_without_a_key_is_named_with_the_remedy(tmp_path):
    prepare("digits", tmp_path, 4)
    description = json.loads((tmp_path / "dataset.json").read_text())
    del description["mean"]
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    with pytest.raises(ValueError, match=rf"dataset\.json can't be read \(KeyError: 'mean'\).*{REMEDY}"):
        arrays.load(tmp_path, "train")
