"""Two processes under torchrun train as one does."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
import trained_in_processes
from safetensors.torch import load_file

from rlnas_core.images.preparation import prepare
from rlnas_core.machine import processes
from rlnas_core.training.statistics import Statistics

ROOT = Path(__file__).parents[2]
TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SCRIPT = str(ROOT / "tests/trained_in_processes.py")


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of what one process made and what two made."""
    folder = tmp_path_factory.mktemp("processes")
    prepare("digits", folder / "data", 8)
    arguments = [SCRIPT, str(folder / "data"), str(folder), "everything"]
    for launcher in ([], TWO):
        command = [sys.executable, *launcher, *arguments]
        subprocess.run(command, check=True, cwd=ROOT, env=environment(), capture_output=True)
    return folder


@pytest.mark.parametrize("space", list(trained_in_processes.SUPERNETS))
def test_processes_take_the_same_path_every_step(trained, space):
    alone, *each = (np.load(trained / f"{space}-{who}-paths.npy") for who in ("alone", 0, 1))
    assert len(alone) == trained_in_processes.STEPS[space]
    for paths in each:
        np.testing.assert_array_equal(paths, alone)


@pytest.mark.parametrize("space", list(trained_in_processes.SUPERNETS))
def test_two_processes_leave_the_statistics_of_one(trained, space):
    alone, first, second = (Statistics.load(trained / f"{space}-{who}.npz") for who in ("alone", 0, 1))
    np.testing.assert_array_equal(first.operations, second.operations)
    # How far weights went, squared: small beside their length, so that it tells more than the sums.
    went, alone_went = (
        np.concatenate([sums[-1].reshape(-1, 3) @ [-2, 1, 1] for sums in (each.operations, each.fixed)])
        for each in (first, alone)
    )
    assert alone_went.max() > 1e-4
    np.testing.assert_allclose(went, alone_went, rtol=1e-4, atol=1e-4 * alone_went.max())


@pytest.mark.parametrize("network", ["network", "norm-batch"])
def test_two_processes_retrain_as_one_does(trained, network):
    alone, first, second = (load_file(trained / f"{network}-{who}.safetensors") for who in ("alone", 0, 1))
    for name, tensor in alone.items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], tensor, rtol=1e-4, atol=1e-5)
    one, other = (np.load(trained / f"{network}-{who}-accuracies.npy") for who in ("alone", 0))
    np.testing.assert_array_equal(one, other)
    assert (trained / "state").exists()  # one process wrote it, and only the caller removes it


def test_processes_stop_together_and_resume_to_the_same_bytes(trained, tmp_path):
    for what in ("stopped", "network"):
        command = [sys.executable, *TWO, SCRIPT, str(trained / "data"), str(tmp_path), what]
        run = subprocess.run(command, check=False, cwd=ROOT, env=environment(), capture_output=True)
        assert (run.returncode == 0) == (what == "network")
        assert (tmp_path / "state").exists()
    undisturbed, resumed = ((folder / "network-0.safetensors").read_bytes() for folder in (trained, tmp_path))
    assert resumed == undisturbed


def test_batch_that_processes_cannot_share_is_refused(monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 3)
    with pytest.raises(ValueError, match="batch_size: got 64 for 3 processes; accepted: a multiple of 3"):
        processes.part(64)


JOB = """
import os, pathlib, sys, time, types
sys.path.insert(0, {scripts!r})
import job
snakemake = types.SimpleNamespace(threads=2, resources={{"gpu": 2}}, config={{"jobs_per_gpu": 1}})
job.take_devices(snakemake, "cpu", print)
pathlib.Path(os.environ["RANK"]).write_text(str(os.getpid()))
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends processes with their parent")
def test_a_job_that_is_killed_leaves_none_of_its_processes(tmp_path):
    (tmp_path / "job.py").write_text(JOB.format(scripts=str(ROOT / "workflow_scripts")))
    job = subprocess.Popen([sys.executable, tmp_path / "job.py"], cwd=tmp_path, env=environment())
    try:
        patience = time.monotonic() + 120
        while not all((tmp_path / rank).exists() and (tmp_path / rank).read_text() for rank in "01"):
            assert job.poll() is None
            assert time.monotonic() < patience
            time.sleep(0.1)
        family = psutil.Process(job.pid).children(recursive=True)
        assert {int((tmp_path / rank).read_text()) for rank in "01"} < {each.pid for each in family}
    finally:
        job.kill()
    job.wait()
    assert psutil.wait_procs(family, timeout=30)[1] == []
