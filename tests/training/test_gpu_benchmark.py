"""What of benchmarks/gpu.py needs no GPU: its steps, and that it resumes."""

import json
import sys
from importlib import util
from pathlib import Path

import pytest
import torch

from rlnas_core.training.supernet import SupernetSettings

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.fixture
def benchmark(monkeypatch):
    specification = util.spec_from_file_location("gpu", SCRIPT)
    module = util.module_from_spec(specification)
    specification.loader.exec_module(module)
    monkeypatch.setattr(module, "DEVICE", torch.device("cpu"))
    for name in ("is_available", "get_device_name"):
        monkeypatch.setattr(torch.cuda, name, lambda: "a GPU")
    return module


@pytest.mark.parametrize("kernels", ["auto", "torch"])
def test_its_steps_train_the_supernet(benchmark, monkeypatch, kernels):
    tasks = []

    class Task(benchmark.SupernetTask):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            tasks.append(self)

    monkeypatch.setattr(benchmark, "SupernetTask", Task)
    settings = SupernetSettings(channels=8, cells=1, batch_size=16, kernels=kernels)
    step = benchmark.task_step("nas_bench_201", settings, 8)
    before = tasks[0].model.classifier.weight.detach().clone()
    step()
    assert torch.isfinite(tasks[0].model.classifier.weight).all()
    assert not torch.equal(tasks[0].model.classifier.weight, before)
    benchmark.plain_step(8)()


def test_parts_that_are_measured_are_not_measured_again(benchmark, monkeypatch, tmp_path, capsys):
    out, calls = tmp_path / "gpu.json", []

    def part(name):
        def measure(seconds):
            """What is measured."""
            if name == "share" and calls.count("share") == 0:
                calls.append(name)
                raise KeyboardInterrupt
            calls.append(name)
            return [{"way": name, "ms": seconds}]

        return measure

    monkeypatch.setattr(benchmark, "PARTS", {name: part(name) for name in ("step", "share")})
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(out), "--seconds", "0.5"])
    with pytest.raises(KeyboardInterrupt):
        benchmark.main()
    assert list(json.loads(out.read_text())) == ["gpu", "torch", "cores", "step"]
    benchmark.main()
    assert calls == ["step", "share", "share"]
    assert json.loads(out.read_text())["share"] == [{"way": "share", "ms": 0.5}]
    assert "share" in capsys.readouterr().out

    monkeypatch.setattr(sys, "argv", ["gpu.py", "magic", "--out", str(out)])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert "got magic; supported parts: step, share" in capsys.readouterr().err
