"""Measure RLNAS on a GPU: a step with each kernel and precision, trainings that share the GPU, scoring.

    python benchmarks/gpu.py [PART ...] [--out FILE] [--seconds NUMBER]

prints a table for each part and writes FILE (JSON). Parts that FILE has already are not measured again.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F  # noqa: N812 - the name that torch code gives it
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rlnas_core.images.arrays import ImageArray
from rlnas_core.labels.sources import FixedLabels
from rlnas_core.search.validation import scorer
from rlnas_core.spaces import get
from rlnas_core.training.optimiser import SGD
from rlnas_core.training.supernet import SupernetSettings, SupernetTask, build

DEVICE = torch.device("cuda")
LAUNCH = 3e-6  # seconds from one small kernel to the next, at least
STEPS_OF_A_SUPERNET = 250 * 391
SHARED = (1, 2, 4, 8)
Step = Callable[[], Any]


def images(count: int, side: int) -> ImageArray:
    """Random images."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(256, size=(count, side, side, 3), dtype=np.uint8)
    return ImageArray(pixels, (0.5,) * 3, (0.25,) * 3, pad=4, flip=True)


def random_labels(data: ImageArray) -> FixedLabels:
    """Random labels of ten classes."""
    return FixedLabels(np.random.default_rng(0).integers(10, size=len(data)), 10)


def task_step(space: str, settings: SupernetSettings, side: int) -> Step:
    """A training step as in the workflow, with loading of images and labels."""
    data = images(max(25_000 if side < 64 else 2_048, settings.batch_size), side)
    seeds = np.random.SeedSequence(0).spawn(3)
    labels = random_labels(data)
    set_precision(settings.precision)
    task = SupernetTask(get(space), data, labels, settings, seeds, DEVICE)
    weights = list(task.model.parameters())
    optimiser = SGD(weights, 0.9, settings.weight_decay, settings.unsampled_gradient)
    whole = task.whole_step(optimiser)
    rng = np.random.default_rng(1)

    def step() -> None:
        indices = np.sort(rng.choice(len(data), settings.batch_size, replace=False))
        if whole is not None:
            whole(indices, 0.025)
            return
        with settings.autocast(DEVICE):
            loss, _ = task.loss(indices, slice(None))
        loss.backward()
        optimiser.step(0.025)

    return step


def plain_step(side: int) -> Step:
    """A step of the same network in ordinary PyTorch: eager, NCHW, float32, torch's SGD, fixed images."""
    set_precision("float32")
    space, settings = get("nas_bench_201"), SupernetSettings()
    model = build(space, 10, 3, settings, 0).to(DEVICE)
    batch = torch.randn(settings.batch_size, 3, side, side, device=DEVICE)
    target = torch.randint(10, (settings.batch_size,), device=DEVICE)
    optimiser = torch.optim.SGD(model.parameters(), 0.025, 0.9, weight_decay=5e-4, nesterov=True)
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    rng = np.random.default_rng(1)

    def step() -> None:
        optimiser.zero_grad(set_to_none=False)
        F.cross_entropy(model(batch, space.sample(15, rng)), target).backward()
        optimiser.step()

    return step


def set_precision(precision: str) -> None:
    """Use TensorFloat-32 for float32 operations, unless the precision is float32."""
    torch.backends.cudnn.allow_tf32 = precision != "float32"
    torch.backends.cuda.matmul.allow_tf32 = precision != "float32"


def timed(step: Step, seconds: float) -> dict[str, float]:
    """Milliseconds per step (median, fastest, slowest), memory in MiB, kernels per step and their time."""
    for _ in range(12):
        step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    blocks, until = [], time.monotonic() + seconds
    while time.monotonic() < until or len(blocks) < 3:
        started = time.monotonic()
        for _ in range(20):
            step()
        torch.cuda.synchronize()
        blocks.append(1e3 * (time.monotonic() - started) / 20)
    memory = torch.cuda.max_memory_allocated() / 2**20
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        for _ in range(5):
            step()
        torch.cuda.synchronize()
    events = [event for event in seen.events() if event.device_type.name == "CUDA"]
    busy = sum(event.time_range.elapsed_us() for event in events) / 5
    return {
        "ms": float(np.median(blocks)), "fastest": min(blocks), "slowest": max(blocks), "memory_mb": memory,
        "kernels": len(events) / 5, "busy_ms": busy / 1e3,
    }  # fmt: skip


def step_part(seconds: float) -> list[dict[str, Any]]:
    """A step of the NAS-Bench-201 supernet at full size, with each kernel and precision."""
    space, rng = get("nas_bench_201"), np.random.default_rng(1)
    model = build(space, 10, 3, SupernetSettings(), 0).to(DEVICE)
    batch, flops = torch.randn(64, 3, 32, 32, device=DEVICE), []
    for _ in range(20):
        with FlopCounterMode(display=False) as counter:
            model(batch, space.sample(15, rng)).sum().backward()
        flops.append(counter.get_total_flops())
    rows: list[dict[str, Any]] = []

    def add(name: str, step: Step, **how: Any) -> None:
        torch.backends.cudnn.benchmark = how.get("cudnn.benchmark", True)
        try:
            row = timed(step, seconds)
        except Exception as error:
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
            return
        row |= {"GFLOP": np.mean(flops) / 1e9, "floor_ms": 1e3 * LAUNCH * row["kernels"]}
        row["hours"] = row["ms"] * STEPS_OF_A_SUPERNET / 3.6e6
        rows.append({"method": name, **how, **row})
        print(rows[-1], flush=True)

    add("plain eager, NCHW", plain_step(32), precision="float32", **{"cudnn.benchmark": False})
    for kernels in ("torch", "auto"):
        for precision in ("float32", "tensorfloat32", "bfloat16"):
            for choosing in (True, False) if precision == "float32" else (True,):
                torch.backends.cudnn.benchmark = choosing
                step = task_step("nas_bench_201", SupernetSettings(kernels=kernels, precision=precision), 32)
                how = {"precision": precision, "cudnn.benchmark": choosing}
                add("graph" if kernels == "auto" else "eager, channels last", step, **how)
    return rows


@contextlib.contextmanager
def multi_process_service(wanted: bool) -> Iterator[dict[str, str]]:
    """Start NVIDIA's MPS in a temporary directory; yield the environment variables of its clients."""
    if not wanted:
        yield {}
        return
    with tempfile.TemporaryDirectory() as folder:
        pipes = {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        subprocess.run(["nvidia-cuda-mps-control", "-d"], env=os.environ | pipes, check=True)
        try:
            yield pipes
        finally:
            subprocess.run(["nvidia-cuda-mps-control"], input=b"quit\n", env=os.environ | pipes, check=False)


def share_part(seconds: float) -> list[dict[str, Any]]:
    """Several trainings on one GPU, with and without NVIDIA's MPS."""
    rows = []
    for mps in (False, True):
        for kernels in ("torch", "auto"):
            for count in SHARED:
                try:
                    with multi_process_service(mps) as environment:
                        rates = shared(count, kernels, seconds, os.environ | environment)
                except (OSError, subprocess.SubprocessError) as error:
                    print(f"MPS {mps}: {error}", file=sys.stderr)
                    break
                rows.append({
                    "MPS": mps, "method": "graph" if kernels == "auto" else "eager", "trainings": count,
                    "steps per second": sum(rates), "ms per step each": 1e3 * count / sum(rates),
                    "supernets per hour": 3600 * sum(rates) / STEPS_OF_A_SUPERNET,
                })  # fmt: skip
                print(rows[-1], flush=True)
    return rows


def shared(count: int, kernels: str, seconds: float, environment: dict[str, str]) -> list[float]:
    """Steps per second of each of several processes that train at the same time."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--worker", kernels, "--seconds", str(seconds), "--meet", folder]
        workers = [
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
            for _ in range(count)
        ]
        deadline = time.monotonic() + 120
        while len(list(Path(folder).iterdir())) < count and time.monotonic() < deadline:
            time.sleep(0.1)
        (Path(folder) / "go").touch()
        outputs = [worker.communicate(timeout=120 + 3 * seconds)[0] for worker in workers]
    return [float(output.split()[-1]) for output in outputs]


def work(kernels: str, seconds: float, meet: str) -> None:
    """Train for some seconds once all processes have a file in `meet`; print steps per second."""
    torch.set_num_threads(1)
    torch.backends.cudnn.benchmark = True
    step = task_step("nas_bench_201", SupernetSettings(kernels=kernels), 32)
    for _ in range(20):
        step()
    torch.cuda.synchronize()
    (Path(meet) / str(os.getpid())).touch()
    while not (Path(meet) / "go").exists():
        time.sleep(0.01)
    done, started = 0, time.monotonic()
    while time.monotonic() - started < seconds:
        for _ in range(10):
            step()
        torch.cuda.synchronize()
        done += 10
    print(done / (time.monotonic() - started))


def large_part(seconds: float) -> list[dict[str, Any]]:
    """A step of the supernets of the large spaces at ImageNet's image size."""
    darts = SupernetSettings(imagenet=True, affine=True, channels=48, cells=14, clip_value=5, batch_size=64)
    mobilenet = SupernetSettings(clip_value=5, batch_size=64)
    torch.backends.cudnn.benchmark = True
    rows = []
    for space, settings in (("darts", darts), ("mobilenet", mobilenet)):
        for precision in ("float32", "tensorfloat32", "bfloat16"):
            step = task_step(space, replace(settings, precision=precision), 224)
            row = timed(step, seconds)
            rows.append(
                {"space": space, "precision": precision, "images per second": 64e3 / row["ms"], **row}
            )
            print(rows[-1], flush=True)
    return rows


def scoring_part(seconds: float) -> list[dict[str, Any]]:
    """Scoring by validation accuracy: batch-norm statistics and accuracy of each architecture."""
    space, data, rows = get("nas_bench_201"), images(25_000, 32), []
    genes = space.sample(24, np.random.default_rng(2))
    for calibration, count in ((2_048, 10_000), (512, 2_048)):
        model = build(space, 10, 3, SupernetSettings(), 0)
        started = time.monotonic()
        for _ in range(2):
            started = time.monotonic()
            amounts = {"images": count, "calibration_images": calibration}
            scorer(space, model, data, data, random_labels(data), **amounts, seed=0, device="cuda")(genes)
        took = (time.monotonic() - started) / len(genes)
        rows.append({
            "calibration images": calibration, "images": count, "ms per architecture": 1e3 * took,
            "minutes for all 9,445": took * 9445 / 60,
        })  # fmt: skip
        print(rows[-1], flush=True)
    return rows


PARTS = {"step": step_part, "share": share_part, "large": large_part, "scoring": scoring_part}


def main() -> None:
    """Measure the parts that the file does not have, and print all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help=f"parts to measure: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--seconds", type=float, default=4, help="for each measurement (default: 4)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--meet", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("benchmarks/gpu.py needs a GPU that torch can use (torch.cuda.is_available() is false)")
    if arguments.worker:
        work(arguments.worker, arguments.seconds, arguments.meet)
        return
    found = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    found |= {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "cores": os.cpu_count()}
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"got {', '.join(unknown)}; supported parts: {', '.join(PARTS)}")
    for part in arguments.parts or PARTS:
        if part not in found:
            found[part] = PARTS[part](arguments.seconds)
            arguments.out.write_text(json.dumps(found, indent=1) + "\n")
        print(f"\n{PARTS[part].__doc__}\n{pd.DataFrame(found[part]).round(3).to_string(index=False)}")


if __name__ == "__main__":
    main()
