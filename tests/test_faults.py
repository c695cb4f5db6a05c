"""Kills, a second Snakemake, full and read-only disks, data that went away, a clock that jumped back."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import yaml
from test_workflow import ROOT, TINY, of_this_workflow, table_lines

SMALL = TINY | {
    "seeds": {labels: [0] if "uniform-" in labels[:8] else [] for labels in TINY["seeds"]},
    "figure1": {"categories": []},
    "large_spaces": {},
    "supernet": TINY["supernet"] | {"epochs": 200},  # a state is saved after each
}
RUN = "results/tiny"
AMID_TRAINING, AFTERWARDS = 15, 5  # kills


def files_of(directory):
    """What a run made, but for what tells of its times."""
    run = directory / RUN
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and path.relative_to(run).parts[0] not in ("logs", "runtimes", "states")
    }


class Snakemake:
    """The documented command, in a process group of its own."""

    def __init__(self, directory):
        self.log = directory / "output.txt"
        if not (directory / "config.yaml").exists():
            (directory / "table.csv").write_text("".join(table_lines()))
            config = SMALL | {"benchmark": {"path": "table.csv"}}
            (directory / "config.yaml").write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--cores", "2", "--configfile", "config.yaml"],
                stdout=log,
                stderr=log,
                cwd=directory,
                env=os.environ | {"XDG_CACHE_HOME": str(directory / "cache")},
                start_new_session=True,
            )

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
            time.sleep(0.01)

    def await_writing(self):
        """Stop a job while it writes a state, and return it."""
        while self.running():
            for job in self.jobs():
                try:
                    job.suspend()
                    if any(file.path.endswith(".new") for file in job.open_files()):
                        return job
                    job.resume()
                except psutil.NoSuchProcess:
                    continue
            time.sleep(0.001)
        raise AssertionError

    def kill(self, jobs=(), *, everything=False):
        """Kill jobs and wait for the end of Snakemake, or kill all at once."""
        if everything:
            os.killpg(self.process.pid, signal.SIGKILL)
        for job in jobs:
            job.kill()
        assert self.end() != 0

    def end(self):
        return self.process.wait(timeout=600)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A finished run, and what a second Snakemake said meanwhile."""
    directory = tmp_path_factory.mktemp("undisturbed")
    first = Snakemake(directory)
    first.await_jobs(2)
    second = again(directory)
    assert first.end() == 0, first.log.read_text()
    return directory, second


def again(directory):
    return of_this_workflow(directory, "--configfile", "config.yaml", check=False)


def test_a_second_snakemake_is_told_and_the_first_ends_well(undisturbed):
    directory, second = undisturbed
    assert "Directory cannot be locked" in second
    assert "Nothing to be done" in again(directory)


def test_a_run_killed_20_times_ends_with_the_same_bytes(undisturbed, tmp_path):
    rng = np.random.default_rng(0)
    killed = dict.fromkeys(("job", "everything", "writing", "snakemake"), 0)
    states = tmp_path / RUN / "states"
    while (kills := sum(killed.values())) < AMID_TRAINING + AFTERWARDS:
        run = Snakemake(tmp_path)
        amid = kills < AMID_TRAINING
        how = rng.choice(["job", "everything", "writing"] if amid else ["job", "everything"])
        if amid and killed["writing"] and not killed["snakemake"]:
            how = "snakemake"
        if how in ("writing", "snakemake"):
            writer = run.await_writing()
        else:
            run.await_jobs(rng.integers(1, 3 if amid else 5))
            time.sleep(rng.uniform(0, 1))
            writer = None
        jobs = [job for job in run.jobs() if job != writer]
        if how == "everything":
            run.kill(everything=True)
            killed["everything"] += 1
            continue
        if how == "snakemake":  # its jobs are still at work
            run.kill([psutil.Process(run.process.pid)])
            killed["snakemake"] += 1
            assert "Directory cannot be locked" in again(tmp_path)
        if writer:
            writer.kill()
            killed["writing"] += 1
            assert list(states.rglob("*.new"))
        for job in jobs:
            time.sleep(rng.uniform(0, 0.5))
            if job.is_running():
                job.kill()
                killed["job"] += 1
        run.end()
    assert min(killed.values()) > 0
    last = Snakemake(tmp_path)
    assert last.end() == 0, last.log.read_text()
    assert not [path for path in states.rglob("*") if path.is_file()]
    expected, got = files_of(undisturbed[0]), files_of(tmp_path)
    assert got.keys() == expected.keys()
    assert [name for name in got if got[name] != expected[name]] == []
