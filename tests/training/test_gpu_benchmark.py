"""What of benchmarks/gpu.py needs no GPU: its steps, that it resumes, and that its processes end."""

import io
import json
import os
import sys
import time
from contextlib import nullcontext
from importlib import util
from pathlib import Path
from subprocess import CalledProcessError
from types import SimpleNamespace

import pytest
import torch

from rlnas_core.training.supernet import SupernetSettings

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
# MPS, of which a client starts the server
CONTROL = """#!/bin/sh
echo "$1" >> "$CALLS"
if [ "$1" = -d ]; then touch "$CUDA_MPS_PIPE_DIRECTORY/control"; exit; fi
read -r command
echo "$command" >> "$CALLS"
if [ "$command" = get_server_list ]; then cat "$CUDA_MPS_PIPE_DIRECTORY/server" 2> /dev/null; fi
"""
# A training whose speed in steps per second is the number of files in the directory of MPS, plus one
WORKER = """
import os, pathlib, sys, time
pipes = pathlib.Path(os.environ["CUDA_MPS_PIPE_DIRECTORY"])
runs = pathlib.Path(os.environ["RUNS"])
(runs / str(os.getpid())).touch()
{before}
print("ready", flush=True)
input()
(runs / "went").touch()
print(1 + len(os.listdir(pipes)))
"""
CONNECT = '(pipes / "control").exists() and (pipes / "server").write_text("4711")'


@pytest.fixture
def benchmark(monkeypatch):
    specification = util.spec_from_file_location("gpu", SCRIPT)
    module = util.module_from_spec(specification)
    specification.loader.exec_module(module)
    monkeypatch.setattr(module, "DEVICE", torch.device("cpu"))
    for name in ("is_available", "get_device_name", "synchronize"):
        monkeypatch.setattr(torch.cuda, name, lambda: "a GPU")
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32
    yield module
    cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = before


@pytest.fixture
def trainings(benchmark, monkeypatch, tmp_path):
    """Start `shared` with other workers and another MPS; they leave files in `runs`."""
    runs, pipes = tmp_path / "runs", tmp_path / "running"
    (tmp_path / "nvidia-cuda-mps-control").write_text(CONTROL)
    (tmp_path / "nvidia-cuda-mps-control").chmod(0o755)
    for folder in (runs, pipes):
        folder.mkdir()
    (pipes / "control").touch()  # of MPS that runs already
    variables = {"CALLS": tmp_path / "calls", "RUNS": runs, "CUDA_MPS_PIPE_DIRECTORY": pipes}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**30 - 2**20 * len(list(runs.iterdir())), 0))
    monkeypatch.setattr(benchmark, "__file__", str(tmp_path / "worker.py"))

    def start(mps, count=2, before=CONNECT):
        (tmp_path / "worker.py").write_text(WORKER.format(before=before))
        return benchmark.shared(mps, "torch", count, 0)

    return SimpleNamespace(start=start, runs=runs, calls=tmp_path / "calls")


def small(**settings):
    return SupernetSettings(channels=8, cells=1, **settings)


@pytest.fixture
def tasks(benchmark, monkeypatch):
    made = []

    class Task(benchmark.SupernetTask):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.sizes = []
            made.append(self)

        def loss(self, indices, part):
            self.sizes.append(len(indices))
            return super().loss(indices, part)

    monkeypatch.setattr(benchmark, "SupernetTask", Task)
    return made


@pytest.mark.parametrize("kernels", ["auto", "torch"])
def test_its_steps_train_the_supernet(benchmark, tasks, kernels):
    step = benchmark.task_step("nas_bench_201", small(kernels=kernels), 8)
    before = tasks[0].model.classifier.weight.detach().clone()
    step()
    assert torch.isfinite(tasks[0].model.classifier.weight).all()
    assert not torch.equal(tasks[0].model.classifier.weight, before)
    assert tasks[0].sizes == [25_000 % 64, 64]
    benchmark.plain_step(8)()


def test_gradients_are_clipped_as_in_trainings(benchmark, tasks):
    step = benchmark.task_step("nas_bench_201", small(clip_value=0.0, weight_decay=0.0, batch_size=16), 8)
    before = tasks[0].model.classifier.weight.detach().clone()
    step()
    assert torch.equal(tasks[0].model.classifier.weight, before)


def test_a_measurement_starts_without_what_earlier_ones_left(benchmark, monkeypatch):
    done = []
    monkeypatch.setattr(torch.compiler, "reset", lambda: done.append("reset"))
    for name in ("empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda name=name: done.append(name))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 3 * 2**20)
    event = SimpleNamespace(
        device_type=SimpleNamespace(name="CUDA"), time_range=SimpleNamespace(elapsed_us=lambda: 500)
    )
    seen = SimpleNamespace(events=lambda: [event] * 10)
    monkeypatch.setattr(benchmark, "profile", lambda activities: nullcontext(seen))
    row = benchmark.timed(lambda: done.append("built") or (lambda: done.append("step")), 0)
    assert done == ["reset", "empty_cache", "reset_peak_memory_stats", "built"] + ["step"] * (60 + 3 * 20 + 5)
    assert row["memory_mb"] == 3
    assert (row["kernels"], row["busy_ms"]) == (2, 1)


def test_rows_have_different_first_columns(benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, "find_spec", lambda name: "triton")
    for part in benchmark.PARTS.values():
        hows = [how for how, _ in part(0)]
        assert not [how for k, how in enumerate(hows) if any(how.items() <= h.items() for h in hows[:k])]
    assert {(how["method"], how["compiled"]) for how, _ in benchmark.step_part(0)} == {
        ("plain eager, NCHW", False), ("eager, channels last", False), ("graph", True),
    }  # fmt: skip


def test_scoring_is_that_of_the_workflow(benchmark, monkeypatch):
    def scorer(space, model, calibration, validation, labels, **options):
        assert options == {
            "images": 2_048, "calibration_images": 512, "calibration_batch": 512, "seed": 0, "device": "cpu",
        }  # fmt: skip
        return lambda genes: time.sleep(0.024)

    monkeypatch.setattr(benchmark, "scorer", scorer)
    torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = True, False
    *_, (how, measure) = benchmark.scoring_part(0)
    assert 1 <= measure()["ms per architecture"] < 10
    assert how == {"calibration images": 512, "calibration batch": 512, "images": 2_048}
    assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32) == (False, True)
    assert not torch.backends.cuda.matmul.allow_tf32


def test_it_resumes_with_the_row_that_it_was_stopped_at(benchmark, monkeypatch, tmp_path, capsys):
    out, calls = tmp_path / "gpu.json", []

    def part(seconds):
        """What is measured."""
        for way in ("first", "failing", "last"):
            yield {"way": way}, lambda way=way: measure(way, seconds)

    def measure(way, seconds):
        calls.append(way)
        if calls == ["first", "failing"]:
            raise ValueError("no memory")
        if calls == ["first", "failing", "last"]:
            raise KeyboardInterrupt
        return {"ms": seconds}

    monkeypatch.setattr(benchmark, "PARTS", {"step": part, "share": part})
    monkeypatch.setattr(sys, "argv", ["gpu.py", "step", "--out", str(out), "--seconds", "0.5"])
    with pytest.raises(KeyboardInterrupt):
        benchmark.main()
    first, failed = {"way": "first", "ms": 0.5}, {"way": "failing", "failed": "ValueError: no memory"}
    found = json.loads(out.read_text())
    assert list(found) == ["gpu", "torch", "cores", "step"]
    assert found["step"] == [first, failed]
    for _ in range(2):
        benchmark.main()
    assert calls == ["first", "failing", "last", "failing", "last"]
    assert json.loads(out.read_text())["step"] == [
        first, {"way": "failing", "ms": 0.5}, {"way": "last", "ms": 0.5},
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == [out]
    assert "What is measured.\n" in capsys.readouterr().out

    monkeypatch.setattr(sys, "argv", ["gpu.py", "magic", "--out", str(out)])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert "got magic; supported parts: step, share" in capsys.readouterr().err


def test_rows_of_another_gpu_are_left_alone(benchmark, monkeypatch, tmp_path):
    out = tmp_path / "gpu.json"
    monkeypatch.setattr(benchmark, "PARTS", {})
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(out)])
    before = json.dumps({"gpu": "another GPU", "torch": torch.__version__, "cores": os.cpu_count()})
    out.write_text(before)
    with pytest.raises(SystemExit, match=r"another GPU.*a GPU.*delete it, or name another file by --out"):
        benchmark.main()
    assert out.read_text() == before


def test_trainings_share_a_gpu_with_and_without_mps(trainings):
    row = trainings.start(mps=False)
    assert row["steps per second"] == 2  # without MPS, although it runs
    assert row["ms per step each"] == 1000
    assert row["memory_mb each"] == 1
    assert not trainings.calls.exists()
    assert trainings.start(mps=True)["steps per second"] == 2 * 3
    assert trainings.calls.read_text().split("\n") == ["-d", "", "get_server_list", "", "quit -t 10", ""]


def test_mps_that_no_training_uses_is_a_failure(trainings):
    with pytest.raises(RuntimeError, match="MPS has no server"):
        trainings.start(mps=True, before="")
    assert trainings.calls.read_text().endswith("quit -t 10\n")


FIRST_FAILS = """
try:
    (runs / "one").mkdir()
except FileExistsError:
    time.sleep({seconds})
else:
    {failure}
"""


@pytest.mark.parametrize(
    ("seconds", "failure", "error"),
    [
        (0, "raise MemoryError('of the GPU')", CalledProcessError),
        (60, "raise MemoryError('of the GPU')", CalledProcessError),
        (60, "pass", TimeoutError),
    ],
)
def test_all_trainings_end_when_one_fails_or_is_not_ready(
    benchmark, monkeypatch, trainings, seconds, failure, error
):
    monkeypatch.setattr(benchmark, "READY", 1)
    started = time.monotonic()
    with pytest.raises(error) as caught:
        trainings.start(mps=True, count=3, before=FIRST_FAILS.format(seconds=seconds, failure=failure))
    assert time.monotonic() - started < 20
    assert error is TimeoutError or caught.value.stderr == "MemoryError: of the GPU"
    assert not (trainings.runs / "went").exists()
    for path in trainings.runs.glob("[0-9]*"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)
    assert trainings.calls.read_text().endswith("quit -t 10\n")


def test_a_failure_is_a_row_and_the_others_are_measured(benchmark, monkeypatch, trainings, tmp_path, capsys):
    monkeypatch.setattr(benchmark, "SHARED", (1,))
    monkeypatch.setenv("PATH", "")
    (tmp_path / "worker.py").write_text(
        WORKER.format(before="if sys.argv[2] == 'auto': sys.exit('no Triton')")
    )
    monkeypatch.setattr(sys, "argv", ["gpu.py", "share", "--out", str(tmp_path / "gpu.json")])
    benchmark.main()
    rows = json.loads((tmp_path / "gpu.json").read_text())["share"]
    assert [row.get("steps per second") for row in rows] == [1, None, None, None]
    assert rows[1]["failed"] == "no Triton"
    assert rows[2]["failed"].startswith("FileNotFoundError")
    assert "nan" not in capsys.readouterr().out.lower()


def test_a_worker_trains_once_it_is_told(benchmark, monkeypatch, capsys):
    steps = []
    monkeypatch.setattr(benchmark, "task_step", lambda *_: lambda: steps.append(time.sleep(1e-4)))
    monkeypatch.setattr(benchmark, "end_with_parent", lambda: steps.append("bound"))
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--worker", "auto", "--seconds", "0.05"])
    monkeypatch.setattr(sys, "stdin", io.StringIO("go\n"))
    benchmark.main()
    ready, rate = capsys.readouterr().out.split()
    assert ready == "ready"
    assert float(rate) > 0
    assert steps[0] == "bound"
    assert len(steps) > 61
    monkeypatch.setattr(sys, "stdin", io.StringIO())  # as when the parent has ended
    with pytest.raises(EOFError):
        benchmark.main()
