"""Kills, a second Snakemake, full and read-only disks, data that went away, a clock that jumped back."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from image_directories import image_folder
from workflow import ROOT, TINY, of_this_workflow

from rlnas_core.images.preparation import prepare

SMALL = TINY | {
    "seeds": {key: [] for key in TINY["seeds"]} | {"uniform-once": [0], "uniform-each-step": [0]},
    "figure1": {"categories": []},
    "large_spaces": {},
    "validation": {"seeds": []},
    "supernet": TINY["supernet"] | {"epochs": 300},  # a checkpoint is saved after each
}
RUN = "results/tiny"
TARGETS = [f"{RUN}/tables/table{number}.csv" for number in (1, 2, 6, 7)]
COMMAND = [*TARGETS, "--configfile", "config.yaml"]
NETWORKS = {
    "retrained/darts/digits/RLNAS-cifar10/0": "accuracy.csv",
    "transferred/darts/cityscapes/DARTS-v2/0": "measures.csv",
}
AMID_TRAINING, AFTERWARDS = 10, 2  # kills


def files_of(directory):
    """What a run made, but for what tells of its times."""
    run = directory / RUN
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and path.relative_to(run).parts[0] not in ("logs", "runtimes", "checkpoints")
    }


class Snakemake:
    """The documented command, in a process group of its own, of which a failed test leaves nothing."""

    def __init__(self, directory, settings=SMALL, targets=TARGETS):
        self.log = directory / "output.txt"
        if not (directory / "config.yaml").exists():
            (directory / "config.yaml").write_text(yaml.safe_dump(settings))
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--cores", "2", *targets, "--configfile", "config.yaml"],
                stdout=log,
                stderr=log,
                cwd=directory,
                start_new_session=True,
                # Commands that a shell runs in the background, such as these tests, ignore Ctrl-C otherwise.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            with suppress(ProcessLookupError):
                self.kill_all()

    def running(self):
        """Whether it runs; a process that ended without being killed is a failure of the test."""
        assert self.process.poll() is None, self.log.read_text()
        return True

    def jobs(self):
        try:
            children = psutil.Process(self.process.pid).children()
            return [job for job in children if any(".snakemake/scripts" in part for part in job.cmdline())]
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            return []

    def await_jobs(self, number):
        """Wait until so many jobs were started."""
        seen = set()
        while self.running() and len(seen) < number:
            seen |= set(self.jobs())
            time.sleep(0.05)

    def await_writing(self, checkpoints):
        """Stop a job while it writes a state, and return it."""
        look_again = 0.0
        while self.running():
            if time.monotonic() > look_again:
                jobs, look_again = self.jobs(), time.monotonic() + 0.5
            for job in jobs if any(checkpoints.rglob("*.new")) else []:
                with suppress(psutil.NoSuchProcess):
                    job.suspend()
                    if any(file.path.endswith(".new") for file in job.open_files()):
                        return job
                    job.resume()
            time.sleep(0.002)
        raise AssertionError

    def kill_all(self):
        os.killpg(self.process.pid, signal.SIGKILL)

    def end(self):
        return self.process.wait(timeout=600)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A finished run, and what a second Snakemake said meanwhile."""
    directory = tmp_path_factory.mktemp("undisturbed")
    with Snakemake(directory) as first:
        first.await_jobs(2)
        second = again(directory)
        assert first.end() == 0, first.log.read_text()
    return directory, second


def again(directory):
    return of_this_workflow(directory, *COMMAND, check=False)


def test_a_second_snakemake_is_told_and_the_first_ends_well(undisturbed):
    directory, second = undisturbed
    assert "Directory cannot be locked" in second
    assert "Nothing to be done" in again(directory)


def test_a_run_killed_12_times_ends_with_the_same_bytes(undisturbed, tmp_path):
    rng = np.random.default_rng(0)
    killed = dict.fromkeys(("job", "everything", "interrupt", "writing", "snakemake"), 0)
    checkpoints = tmp_path / RUN / "checkpoints"
    while (kills := sum(killed.values())) < AMID_TRAINING + AFTERWARDS:
        amid = kills < AMID_TRAINING
        how = min(killed if amid else ["job", "everything"], key=killed.get)  # the rarest so far
        with Snakemake(tmp_path) as run:
            if how in ("writing", "snakemake"):
                writer = run.await_writing(checkpoints)
            else:
                # The third job to start begins once a training has ended; from there it's a dozen to the end.
                run.await_jobs(rng.integers(1, 3) if amid else 3)
                time.sleep(rng.uniform(0, 1 if amid else 0.5))
                writer = None
            jobs = [] if how in ("everything", "interrupt") else [job for job in run.jobs() if job != writer]
            if how == "snakemake":  # its jobs are still running
                run.process.kill()
                run.end()
                killed["snakemake"] += 1
                assert "Directory cannot be locked" in again(tmp_path)
            if writer:
                writer.kill()
                killed["writing"] += 1
                assert list(checkpoints.rglob("*.new"))
            for job in jobs:
                time.sleep(rng.uniform(0, 0.5))
                if job.is_running():
                    job.kill()
                    killed["job"] += 1
            if how == "interrupt":  # Ctrl-C
                os.killpg(run.process.pid, signal.SIGINT)
                killed["interrupt"] += 1
            if sum(killed.values()) == kills:
                run.kill_all()
                killed["everything"] += 1
            assert run.end() != 0
    assert min(killed.values()) > 0
    with Snakemake(tmp_path) as last:
        assert last.end() == 0, last.log.read_text()
    logs = [path.read_text() for path in (tmp_path / RUN / "logs/train_supernet").rglob("*.log")]
    assert any("resumes from" in log for log in logs)
    assert not [path for path in checkpoints.rglob("*") if path.is_file()]
    expected, got = files_of(undisturbed[0]), files_of(tmp_path)
    assert got.keys() == expected.keys()
    assert [name for name in got if got[name] != expected[name]] == []


def test_networks_whose_trainings_are_killed_end_with_the_same_bytes(tmp_path):
    rng = np.random.default_rng(0)
    retraining = TINY["retraining"]["darts"]["digits"]
    network = retraining["network"] | {"epochs": 12}
    transfer = {
        scenes: entry | {"training": entry["training"] | {"epochs": 3}}
        for scenes, entry in TINY["transfer"].items()
    }
    settings = SMALL | {
        "retraining": {"darts": {"digits": retraining | {"network": network}}},
        "transfer": transfer,
    }
    targets = [f"{RUN}/{path}/{file}" for path, file in NETWORKS.items()]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for directory, kills in ((whole, []), (killed, NETWORKS)):
        for made in ("data", "architectures"):  # what was made before the trainings
            if kills:
                shutil.copytree(whole / RUN / made, killed / RUN / made)
        directory.mkdir(exist_ok=True)
        for path in kills:
            # It alone, so that none of the others is finished before its turn comes.
            with Snakemake(directory, settings, [f"{RUN}/{path}/{NETWORKS[path]}"]) as run:
                while not (directory / RUN / "checkpoints" / f"{path}.safetensors").exists():
                    run.running()
                    time.sleep(0.02)
                time.sleep(rng.uniform(0, 0.3))
                run.kill_all()
                run.end()
        with Snakemake(directory, settings, targets) as last:
            assert last.end() == 0, last.log.read_text()
        rules = {"retrained": "retrain_architecture", "transferred": "transfer_architecture"}
        for kind, _, of in (path.partition("/") for path in NETWORKS):
            log = (directory / RUN / f"logs/{rules[kind]}/{of}.log").read_text()
            assert ("resumes from" in log) == bool(kills)
    expected, got = files_of(whole), files_of(killed)
    assert set(NETWORKS) <= {name.rpartition("/")[0] for name in got}
    assert got.keys() == expected.keys()
    assert [name for name in got if got[name] != expected[name]] == []


@contextmanager
def mounted(folder, options):
    """A disk on a folder, with options of `mount`."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a disk of its own takes the right to mount")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_training_isnt_lost_where_the_disk_is_full_at_its_end(tmp_path):
    config = SMALL | {"supernet": SMALL["supernet"] | {"epochs": 3}}
    supernet = "nas_bench_201/digits/uniform-once/10/0"
    target = f"{RUN}/supernets/{supernet}/statistics.npz"
    folder, log = tmp_path / RUN / "supernets", tmp_path / RUN / f"logs/train_supernet/{supernet}.log"
    with mounted(folder, "size=4k"):
        of_this_workflow(tmp_path, target, config=config, check=False)
        assert "No space left on device" in log.read_text()
        subprocess.run(["mount", "-o", "remount,size=50m", str(folder)], check=True)
        of_this_workflow(tmp_path, target, config=config)
        assert "epoch 4, step 1" in log.read_text()  # that is, at the end of the third
        assert (tmp_path / target).exists()


def test_images_that_the_disk_has_no_room_for_are_an_error_and_dont_kill_the_process(tmp_path):
    with mounted(tmp_path / "data", "size=1m"), pytest.raises(OSError, match="No space left on device"):
        prepare("digits", tmp_path / "data/digits", 64)


def test_a_results_folder_that_cant_be_written_is_named_before_the_first_job(tmp_path):
    with mounted(tmp_path / "results", "ro"):
        output = of_this_workflow(tmp_path, config=TINY, check=False)
    assert f"{tmp_path}/results: can't be written" in output
    assert "Finished jobid" not in output


def test_data_that_went_away_is_named_and_what_was_made_of_it_stays(tmp_path):
    names = [f"data/train/{kind}/{k}.png" for kind in "ab" for k in range(300)]
    image_folder(tmp_path / "images", dict.fromkeys(names, 10))
    config = TINY | {
        "datasets": {"photos": {"source": "image-folder", "path": "images", "classes": 2, "image_size": 4}},
        "searches": {"cifar10": "photos"},
        "large_spaces": {},
        "retraining": {},
    }
    prepared = f"{RUN}/data/photos/dataset.json"
    of_this_workflow(tmp_path, prepared, config=config)
    before = files_of(tmp_path)
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    output = of_this_workflow(tmp_path, prepared, config=config, check=False)
    assert "datasets.photos.path: got images, which doesn't exist" in output
    (tmp_path / "images").mkdir()  # a mount point without its mount, newer than what was made or older
    for times in (None, (0, 0)):
        os.utime(tmp_path / "images", times)
        output = of_this_workflow(tmp_path, prepared, config=config, check=False)
        assert "datasets.photos.path: images has no images" in output
    (tmp_path / "images").rmdir()
    (tmp_path / "elsewhere").rename(tmp_path / "images")
    assert "Nothing to be done" in of_this_workflow(tmp_path, prepared, config=config)
    assert files_of(tmp_path) == before
    image_folder(tmp_path / "images", {"data/train/a/new.png": 7})
    assert "prepare_dataset" in of_this_workflow(tmp_path, prepared, "--dry-run", config=config)


def test_a_clock_that_jumps_back_repeats_nothing(undisturbed):
    directory, _ = undisturbed
    before = files_of(directory)
    for path in directory.rglob("*"):
        if path.is_file():
            changed = path.stat().st_mtime_ns + 86_400 * 10**9
            os.utime(path, ns=(changed, changed))
    assert "Nothing to be done" in again(directory)
    (directory / TARGETS[0]).unlink()
    output = again(directory)
    assert "more: got a modification time that this machine's clock hasn't reached; set the clock" in output
    assert "Finished jobid" not in output
    del before[str(Path(TARGETS[0]).relative_to(RUN))]
    assert files_of(directory) == before
