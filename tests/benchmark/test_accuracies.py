import bz2
import hashlib
import pickle
import re
import resource
import struct
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from nas_201_api import ArchResults, ResultsCount

from rlnas_core import spaces
from rlnas_core.benchmark.accuracies import (
    INCLUDED,
    Benchmark,
    compare,
    extract,
    inspect,
    read_table,
    read_trained,
    write_table,
)
from rlnas_core.machine import files

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "nb201" / "nb201_200epochs.csv"
SPACE = spaces.get("nas_bench_201")
ALL = SPACE.to_string(SPACE.enumerate())
SEEDS = {
    "cifar10-valid": (777, 888),
    "cifar10": (777, 888, 999),
    "cifar100": (777,),
    "ImageNet16-120": (777,),
}
SETS = {
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": ("ori-test",),
    "cifar100": ("x-valid", "x-test", "ori-test"),
    "ImageNet16-120": ("x-valid", "x-test", "ori-test"),
}
#: What the authors look up: the set that networks are trained on, and the one that they are evaluated on.
LOOKED_UP = {
    "cifar10_valid": ("cifar10-valid", "x-valid"),
    "cifar10_test": ("cifar10", "ori-test"),
    "cifar100_valid": ("cifar100", "x-valid"),
    "cifar100_test": ("cifar100", "x-test"),
    "imagenet16_valid": ("ImageNet16-120", "x-valid"),
    "imagenet16_test": ("ImageNet16-120", "x-test"),
}
extract_official, extract_nats = (partial(extract, source) for source in ("official", "nats-bench"))
ARCHS = [ALL[12_000], ALL[3], ALL[700]]


def final_accuracy(index: int, dataset: str, part: str, seed: int) -> float:
    return 10 * index + list(SETS).index(dataset) + 0.1 * SETS[dataset].index(part) + 0.001 * (seed - 777)


def results(index: int, arch: str, epochs: int) -> ArchResults:
    """One architecture's results; only the last of 200 epochs has the final accuracy."""
    result = ArchResults(index, arch)
    for dataset, seeds in SEEDS.items():
        for seed in seeds:
            accuracies = {f"{part}@{epoch}": 1.0 for part in SETS[dataset] for epoch in range(epochs)}
            if epochs == 200:
                accuracies |= {
                    f"{part}@199": final_accuracy(index, dataset, part, seed) for part in SETS[dataset]
                }
            result.update(dataset, seed, trained_once(dataset, seed, arch, epochs, accuracies))
    return result


def trained_once(
    dataset: str, seed: int, arch: str, epochs: int, accuracies: dict[str, float]
) -> ResultsCount:
    """The results of one training, of accuracies by SET@EPOCH."""
    curve = dict.fromkeys(range(epochs), 1.0)
    config = {"channel": 16, "num_cells": 5, "arch_str": arch, "class_num": 10}
    run = ResultsCount(dataset, None, curve, curve, 0.1, 10.0, config, seed, epochs, [0.01])
    run.update_train_info(curve, curve, curve, curve)
    times = dict.fromkeys(accuracies, 1.0)
    run.update_eval(accuracies, times, times)
    return run


def expected(index: int, column: str) -> float:
    dataset, part = LOOKED_UP[column]
    return float(np.mean([final_accuracy(index, dataset, part, seed) for seed in SEEDS[dataset]]))


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """A miniature of the official file, made with the benchmark's own classes and named as it is."""
    folder = tmp_path_factory.mktemp("official")
    trained = {
        index: {"full": results(index, arch, 200).state_dict(), "less": results(index, arch, 12).state_dict()}
        for index, arch in enumerate(ARCHS)
    }
    content = {"meta_archs": ARCHS, "arch2infos": trained, "evaluated_indexes": set(trained)}
    torch.save(content, folder / "mini.pth")
    ending = hashlib.md5((folder / "mini.pth").read_bytes()).hexdigest()[-6:]
    return (folder / "mini.pth").rename(folder / f"NAS-Bench-201-v1_1-{ending}.pth")


@pytest.fixture
def nats(tmp_path):
    """A miniature of the unpacked NATS-Bench folder."""
    folder = tmp_path / "NATS-tss-v1_0-3ffb9-simple"
    folder.mkdir()
    for index, arch in enumerate(ARCHS):
        content = {str(epochs): results(index, arch, epochs).state_dict() for epochs in (12, 200)}
        with bz2.open(folder / f"{index:06d}.pickle.pbz2", "wb") as stream:
            pickle.dump(content, stream, protocol=4)
    meta = {"meta_archs": ARCHS, "total_archs": len(ARCHS), "evaluated_indexes": {0, 1, 2}}
    with bz2.open(folder / "meta.pickle.pbz2", "wb") as stream:
        pickle.dump(meta, stream, protocol=4)
    return folder


def table(**columns: object) -> pd.DataFrame:
    return pd.DataFrame(
        {"index": range(len(ALL)), "arch": ALL, "cifar10_test": np.linspace(0, 100, len(ALL))} | columns
    )


def saved(content: pd.DataFrame, tmp_path: Path) -> Path:
    content.to_csv(tmp_path / "accuracies.csv", index=False)
    return tmp_path / "accuracies.csv"


def check_miniature(source: str, path: Path) -> None:
    rows = list(read_trained(source, path))
    assert [row["arch"] for row in rows] == ARCHS
    for index, row in enumerate(rows):
        assert list(row) == ["arch", *LOOKED_UP]
        for column in LOOKED_UP:
            assert row[column] == pytest.approx(expected(index, column))


def test_the_official_file_gives_the_means_over_seeds_after_200_epochs(official):
    check_miniature("official", official)


def test_a_nats_bench_folder_gives_the_same_accuracies(nats):
    check_miniature("nats-bench", nats)


def test_a_complete_official_file_gives_the_table_in_the_order_of_the_space(tmp_path):
    """Three trainings on one dataset stand for all architectures, in reverse order."""
    trained = []
    for accuracy in (10.0, 50.0, 90.0):
        result = ArchResults(0, ALL[0])
        result.update("cifar10", 777, trained_once("cifar10", 777, ALL[0], 1, {"ori-test@0": accuracy}))
        trained.append({"full": result.state_dict()})
    archs = ALL[::-1]
    content = {"meta_archs": archs, "arch2infos": {k: trained[k % 3] for k in range(len(archs))}}
    torch.save(content, tmp_path / "benchmark.pth")
    lines: list[str] = []
    extracted = extract_official(tmp_path / "benchmark.pth", log=lines.append)
    assert list(extracted.columns) == ["index", "arch", "cifar10_test"]
    assert extracted["arch"].tolist() == ALL
    assert extracted["cifar10_test"].tolist() == np.resize([10.0, 50.0, 90.0], len(ALL))[::-1].tolist()
    assert lines[-1] == "15000 architectures"


def test_an_incomplete_official_file_is_refused_with_what_is_missing(official):
    with pytest.raises(ValueError, match=r"missing architectures: .* and 15617 more"):
        extract_official(official)


def test_the_official_file_is_compared_with_its_digest_before_it_is_loaded(official, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "load_plain_torch", lambda path: pytest.fail("loaded a damaged file"))
    with pytest.raises(ValueError, match=r"checksum mismatch: .*expected sha256:0000"):
        extract_official(official, f"sha256:{'0' * 64}")
    changed = tmp_path / official.name
    changed.write_bytes(official.read_bytes() + b"!")
    with pytest.raises(ValueError, match=r"checksum mismatch: .*digits [0-9a-f]{6} of its name"):
        extract_official(changed)


class Attack:
    """What runs code where a pickle may name anything to call."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


@pytest.mark.parametrize("place", [0, 1, 2, 3, "zip"])
def test_an_official_file_under_its_own_hash_runs_no_code(place, official, tmp_path):
    forged, proof = tmp_path / "forged.pth", tmp_path / "code ran"
    if place == "zip":
        torch.save({"meta_archs": Attack(proof)}, forged)
    else:  # any of the pickles of which a file of torch's older format consists
        parts = [0x1950A86A20F9469CFC6C, 1001, {}, {"meta_archs": []}]
        parts[place] = Attack(proof)
        forged.write_bytes(b"".join(map(pickle.dumps, parts)))
    named = forged.rename(
        tmp_path / f"NAS-Bench-201-v1_1-{hashlib.md5(forged.read_bytes()).hexdigest()[:6]}.pth"
    )
    with pytest.raises(ValueError, match=rf"{re.escape(str(named))} can't be read .*refused to load"):
        extract_official(named)
    assert not proof.exists()


def test_either_of_torchs_formats_is_read(official, tmp_path):
    older = tmp_path / "benchmark.pth"
    torch.save(files.load_plain_torch(official), older, _use_new_zipfile_serialization=False)
    check_miniature("official", older)


def damaged(content: bytes, count: int) -> Iterator[bytes]:
    """Copies with one to eight other bytes each, a quarter of them cut off, too."""
    rng = np.random.default_rng(0)
    for copy in range(count):
        changed = bytearray(content)
        for place in rng.integers(len(changed), size=rng.integers(1, 9)):
            changed[place] = rng.integers(256)
        yield bytes(changed[: rng.integers(len(changed))] if copy % 4 == 0 else changed)


def refusal(extract, source: Path) -> str:
    """What the ValueError says; any other error isn't caught."""
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the caller reads the message
        extract(source)
    return str(error.value)


def check_refusals(messages: list[str], source: Path) -> None:
    """All name the source; most find the damage, and not only that other architectures are missing."""
    assert sum("missing architectures" not in message for message in messages) > 50
    assert all(str(source) in message for message in messages)


def test_a_damaged_official_file_is_always_refused_by_name(tmp_path):
    state, file = results(0, ARCHS[0], 2).state_dict(), tmp_path / "benchmark.pth"
    content = {"meta_archs": ARCHS, "arch2infos": {0: {"full": state, "less": state}}}
    torch.save(content, file, _use_new_zipfile_serialization=False)
    messages = [
        refusal(extract_official, file) for copy in damaged(file.read_bytes(), 100) if file.write_bytes(copy)
    ]
    check_refusals(messages, file)


@pytest.mark.parametrize("name", ["meta.pickle.pbz2", "000000.pickle.pbz2"])
def test_a_damaged_nats_bench_file_is_always_refused_by_name(name, tmp_path):
    contents = {
        "meta.pickle.pbz2": {"meta_archs": ARCHS[:1]},
        "000000.pickle.pbz2": {"200": results(0, ARCHS[0], 2).state_dict()},
    }
    for other, content in contents.items():
        (tmp_path / other).write_bytes(bz2.compress(pickle.dumps(content, protocol=4)))
    messages = [
        refusal(extract_nats, tmp_path)
        for copy in damaged(pickle.dumps(contents[name], protocol=4), 100)
        if (tmp_path / name).write_bytes(bz2.compress(copy))
    ]
    check_refusals(messages, tmp_path)


class Greed:
    """What asks for a terabyte in a few bytes."""

    def __reduce__(self):
        return bytearray, (2**40,)


class Table:
    """Objects by the thousand million, all of them set to None."""

    def __reduce__(self):
        return np.ndarray, ((2**32,), np.dtype(object))


GREEDY = {
    "a call": pickle.dumps(Greed()),
    "an array": pickle.dumps(Table()),
    "the memo": pickle.PROTO + b"\x04" + pickle.NONE + pickle.LONG_BINPUT + b"\xff\xff\xff\xff" + pickle.STOP,
    "text": pickle.PROTO + b"\x04" + pickle.BINUNICODE8 + struct.pack("<Q", 2**40) + pickle.STOP,
}


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, which alone keeps a limit of memory")
@pytest.mark.parametrize("content", GREEDY.values(), ids=GREEDY)
def test_a_pickle_that_would_take_all_memory_is_refused_by_name(content, tmp_path):
    limit = resource.getrlimit(resource.RLIMIT_AS)
    magic = [pickle.dumps(part) for part in (0x1950A86A20F9469CFC6C, 1001, {})]
    (tmp_path / "benchmark.pth").write_bytes(b"".join([*magic, content]))
    with pytest.raises(ValueError, match=r"benchmark\.pth can't be read"):
        extract_official(tmp_path / "benchmark.pth")
    (tmp_path / "meta.pickle.pbz2").write_bytes(bz2.compress(content))
    with pytest.raises(ValueError, match=r"meta\.pickle\.pbz2 can't be read"):
        extract_nats(tmp_path)
    assert resource.getrlimit(resource.RLIMIT_AS) == limit


@pytest.mark.parametrize("algorithm", ["crc32", "shake_128"])
def test_an_algorithm_that_gives_no_digest_is_refused(algorithm, official):
    with pytest.raises(ValueError, match=rf"got {algorithm}; accepted: md5, sha1"):
        extract_official(official, f"{algorithm}:00")


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_given_checksum_names_its_algorithm(official, algorithm):
    digest = hashlib.new(algorithm, official.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match="missing architectures"):  # and no mismatch
        extract_official(official, f"{algorithm}:{digest}")


def test_a_damaged_or_missing_file_of_a_nats_bench_folder_is_named(nats):
    with pytest.raises(ValueError, match=r"checksum mismatch: .*meta\.pickle\.pbz2"):
        extract_nats(nats, f"md5:{'0' * 32}")
    with bz2.open(nats / "000001.pickle.pbz2", "wb") as stream:
        pickle.dump(Path, stream)
    with pytest.raises(ValueError, match=r"000001\.pickle\.pbz2 can't be read .*refused"):
        extract_nats(nats)
    (nats / "000000.pickle.pbz2").unlink()
    with pytest.raises(ValueError, match=r"000000\.pickle\.pbz2 is missing"):
        extract_nats(nats)
    with pytest.raises(FileNotFoundError, match=r"no meta\.pickle\.pbz2"):
        extract_nats(nats.parent)


def test_a_table_in_any_order_is_read_in_the_order_of_the_space(tmp_path):
    shuffled = table().sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(read_table(saved(shuffled, tmp_path)), table(), check_dtype=False)


def test_a_written_table_reads_back_and_is_the_same_bytes(tmp_path):
    write_table(table(), tmp_path / "first.csv")
    write_table(read_table(tmp_path / "first.csv"), tmp_path / "second.csv")
    assert (tmp_path / "first.csv").read_bytes() == (tmp_path / "second.csv").read_bytes()


def test_look_up_finds_every_architecture(tmp_path):
    benchmark = Benchmark(read_table(saved(table(), tmp_path)))
    genes = SPACE.enumerate()[[15_624, 5, 5]]
    np.testing.assert_allclose(
        benchmark.look_up(genes, "cifar10_test"), np.linspace(0, 100, 15_625)[[15_624, 5, 5]]
    )
    with pytest.raises(ValueError, match=r"got 'cifar100_test'; accepted with this table: cifar10_test$"):
        benchmark.look_up(genes, "cifar100_test")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop(index=[7]), f"missing architectures: {re.escape(ALL[7])}$"),
        (lambda rows: pd.concat([rows, rows[9:10]]), f"duplicate architectures: {re.escape(ALL[9])}$"),
        (
            lambda rows: rows.assign(cifar10_test=rows.cifar10_test + 0.1),
            r"outside 0\.\.100 percent: .* has 100\.\d",
        ),
        (
            lambda rows: rows.assign(cifar10_test=rows.cifar10_test / 100),
            r"cifar10_test: got 1 at most, which looks like fractions; give percent",
        ),
        (
            lambda rows: rows.assign(cifar10_test=rows.cifar10_test.where(rows.index != 4)),
            r"outside .* has nan",
        ),
        (lambda rows: rows.assign(arch=rows.arch.replace(ALL[2], "|conv~0|")), r"\|conv~0\|"),
        (
            lambda rows: rows.assign(index=np.roll(rows["index"], 1)),
            rf"index and arch disagree: {re.escape(ALL[0])} has 15624, expected 0, .* and 15620 more$",
        ),
        (
            lambda rows: rows.assign(index=rows["index"].replace(7, "x")),
            rf"index and arch disagree: {re.escape(ALL[7])} has x, expected 7$",
        ),
        (
            lambda rows: rows.drop(columns="arch"),
            "got the columns index, cifar10_test; accepted: index, arch",
        ),
        (
            lambda rows: rows.rename(columns={"cifar10_test": "svhn"}),
            "got the columns index, arch, svhn; accepted",
        ),
    ],
)
def test_a_wrong_table_is_refused_with_what_is_wrong(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_table(saved(change(table()), tmp_path))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89PNG\r\n\x1a\n\x00\xff\xfe",
        b"index,arch,cifar10_test\n0,a,1\n1,b,2,3,4\n",
        b'index,arch,cifar10_test\n0,"a,1\n',
        b"index,arch,cifar10_test\n",
        b"index,arch,cifar10_test,cifar10_test\n0,a,1,2\n",
        "index,arch,cifar10_test\n0,a,1\n".encode("utf-16"),
    ],
)
def test_what_is_no_table_is_refused_by_name(content, tmp_path):
    file = tmp_path / "accuracies.csv"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(file))):
        read_table(file)


def test_a_table_without_a_searched_dataset_is_refused_before_the_run(tmp_path):
    file = saved(table(), tmp_path)
    inspect("csv", file, searches=["cifar10"])
    with pytest.raises(
        ValueError, match=r"accuracies\.csv has no cifar100_test, imagenet16_test; it has cifar10"
    ):
        inspect("csv", file, searches=["cifar10", "cifar100", "imagenet16"])


def test_the_included_table_is_what_its_note_says():
    note = INCLUDED.with_name("nas_bench_201.md").read_text()
    assert f"`{hashlib.sha256(INCLUDED.read_bytes()).hexdigest()}`" in note
    assert INCLUDED.stat().st_size < 1_000_000
    benchmark = Benchmark(read_table(INCLUDED))
    assert [f"`{column}`" in note for column in benchmark.columns] == [True] * 3
    for column, maximum in {"cifar10_test": 94.37, "cifar100_test": 73.51, "imagenet16_test": 47.31}.items():
        assert round(benchmark.look_up(SPACE.enumerate(), column).max(), 2) == maximum
        assert f"{maximum}" in note


def test_another_table_is_compared_with_the_included_one(official):
    assert compare(read_table(INCLUDED))["difference"].tolist() == [0, 0, 0]
    extracted = pd.DataFrame(read_trained("official", official))
    extracted["index"] = SPACE.index(SPACE.from_string(extracted["arch"].tolist()))
    ours = read_table(INCLUDED).set_index("index").loc[extracted["index"]]
    found = compare(extracted).set_index("column")
    for column in ("cifar10_test", "cifar100_test", "imagenet16_test"):
        apart = np.abs(ours[column].to_numpy() - extracted[column].to_numpy())
        assert found.loc[column, "difference"] == pytest.approx(apart.max())
        assert found.loc[column, "arch"] == extracted["arch"][apart.argmax()]


@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"needs nb201/{PUBLISHED.name} in ../shared/data")
def test_the_included_table_holds_the_published_accuracies():
    assert compare(read_table(PUBLISHED))["difference"].max() < 1e-9
