"""Measure RLNAS on a GPU: a step with each kernel and precision, trainings that share the GPU, scoring.

    python benchmarks/gpu.py [PART ...] [--out FILE] [--seconds NUMBER]

prints a table for each part and writes FILE (JSON) after each row. Rows that FILE has already are not
measured again, unless they failed.
"""

import argparse
import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from importlib.util import find_spec
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
from rlnas_core.machine.processes import end_with_parent
from rlnas_core.search.validation import scorer
from rlnas_core.spaces import get
from rlnas_core.training.loop import clip, optimiser_of
from rlnas_core.training.supernet import SupernetSettings, SupernetTask, build

DEVICE = torch.device("cuda")
LAUNCH = 3e-6  # seconds from one small kernel to the next, at least
STEPS_OF_A_SUPERNET = 250 * 391
SHARED = (1, 2, 4, 8)
WARM_UP = 60  # steps; by then cuDNN has tried its kernels for all sampled operations
READY = 300  # seconds that trainings have to get ready, compiling included
Step = Callable[[], Any]
Row = dict[str, Any]
Rows = Iterator[tuple[Row, Callable[[], Row]]]
"""For each row its first columns, by which it is found in a file, and a function that measures the others."""


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
    optimiser = optimiser_of(task.model, settings, settings.unsampled_gradient)
    whole = task.whole_step(optimiser)
    rng = np.random.default_rng(1)

    def step(size: int = settings.batch_size) -> None:
        indices = np.sort(rng.choice(len(data), size, replace=False))
        if whole is not None:
            whole(indices, 0.025)
            return
        with settings.autocast(DEVICE):
            loss, _ = task.loss(indices, slice(None))
        loss.backward()
        clip(optimiser.weights, settings)
        optimiser.step(0.025)

    if rest := len(data) % settings.batch_size:
        step(rest)  # an epoch's last, for which a second graph takes memory
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


def timed(build: Callable[[], Step], seconds: float) -> Row:
    """Milliseconds per step (median, fastest, slowest), memory in MiB, kernels per step and their time."""
    torch.compiler.reset()  # a function is compiled 8 times at most, then it runs eagerly
    gc.collect()
    torch.cuda.empty_cache()  # of earlier rows
    torch.cuda.reset_peak_memory_stats()
    step = build()
    for _ in range(WARM_UP):
        step()
    torch.cuda.synchronize()
    blocks, until = [], time.monotonic() + seconds
    while time.monotonic() < until or len(blocks) < 3:
        started = time.monotonic()
        for _ in range(20):
            step()
        torch.cuda.synchronize()
        blocks.append(1e3 * (time.monotonic() - started) / 20)
    memory = torch.cuda.max_memory_reserved() / 2**20  # what is allocated does not count what graphs hold
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


@cache
def gigaflop() -> float:
    """Floating-point operations of a step of the NAS-Bench-201 supernet, in billions: a mean over paths."""
    space, rng = get("nas_bench_201"), np.random.default_rng(1)
    model = build(space, 10, 3, SupernetSettings(), 0).to(DEVICE)
    batch, flops = torch.randn(64, 3, 32, 32, device=DEVICE), []
    for _ in range(20):
        with FlopCounterMode(display=False) as counter:
            model(batch, space.sample(15, rng)).sum().backward()
        flops.append(counter.get_total_flops())
    return float(np.mean(flops)) / 1e9


def step_part(seconds: float) -> Rows:
    """A step of the NAS-Bench-201 supernet at full size, with each kernel and precision."""

    def measure(choosing: bool, build: Callable[[], Step]) -> Row:
        torch.backends.cudnn.benchmark = choosing
        row = timed(build, seconds)
        row |= {"GFLOP": gigaflop(), "floor_ms": 1e3 * LAUNCH * row["kernels"]}
        return row | {"hours": row["ms"] * STEPS_OF_A_SUPERNET / 3.6e6}

    plain = {"method": "plain eager, NCHW", "precision": "float32", "cudnn.benchmark": False}
    yield plain | {"compiled": False}, partial(measure, False, partial(plain_step, 32))
    choices = (("float32", True), ("float32", False), ("tensorfloat32", True), ("bfloat16", True))
    for kernels, name in (("torch", "eager, channels last"), ("auto", "graph")):
        compiled = kernels == "auto" and find_spec("triton") is not None  # as trainings decide
        for precision, choosing in choices:
            how = {"method": name, "precision": precision, "cudnn.benchmark": choosing, "compiled": compiled}
            settings = SupernetSettings(kernels=kernels, precision=precision)
            yield how, partial(measure, choosing, partial(task_step, "nas_bench_201", settings, 32))


@contextlib.contextmanager
def multi_process_service(wanted: bool) -> Iterator[dict[str, str]]:
    """Yield an environment whose processes use NVIDIA's MPS; RuntimeError at the end if none has used it.

    With `wanted` false they don't use it, even if it runs: their directory has no pipes to it.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        environment = os.environ | {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        if not wanted:
            yield environment
            return
        control = "nvidia-cuda-mps-control"
        run = partial(subprocess.run, env=environment, text=True, timeout=60)
        try:
            run([control, "-d"], check=True)
            yield environment
            servers = run([control], input="get_server_list\n", stdout=subprocess.PIPE).stdout
            if not any(map(str.isdigit, servers.split())):
                raise RuntimeError("MPS has no server: the trainings ran without it")
        finally:
            run([control], input="quit -t 10\n")


def share_part(seconds: float) -> Rows:
    """Several trainings on one GPU, with and without NVIDIA's MPS."""
    for mps in (False, True):
        for kernels, name in (("torch", "eager"), ("auto", "graph")):
            for count in SHARED:
                how = {"MPS": mps, "method": name, "trainings": count}
                yield how, partial(shared, mps, kernels, count, seconds)


def shared(mps: bool, kernels: str, count: int, seconds: float) -> Row:
    """Speed and memory of several processes that train at the same time."""
    command = [sys.executable, __file__, "--worker", kernels, "--seconds", str(seconds)]
    free = torch.cuda.mem_get_info()[0]
    with multi_process_service(mps) as environment, contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        outputs, errors = ([folder / f"{k}.{kind}" for k in range(count)] for kind in ("out", "err"))
        workers: list[subprocess.Popen[str]] = []

        def wait(state: str, until: Callable[[], bool], limit: float) -> None:
            deadline = time.monotonic() + limit
            while not until():
                for worker, error in zip(workers, errors, strict=True):
                    if worker.poll():
                        last = error.read_text().strip().rpartition("\n")[2]
                        raise subprocess.CalledProcessError(worker.returncode, command, stderr=last)
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not all trainings were {state} after {limit:g} s")
                time.sleep(0.1)

        for output, error in zip(outputs, errors, strict=True):
            with output.open("w") as out, error.open("w") as err:
                pipes = {"stdin": subprocess.PIPE, "stdout": out, "stderr": err}
                workers.append(subprocess.Popen(command, env=environment, text=True, **pipes))
            stack.enter_context(workers[-1])  # which waits, after `kill`
            stack.callback(workers[-1].kill)
        wait("ready", lambda: all("ready" in output.read_text() for output in outputs), READY)
        used = free - torch.cuda.mem_get_info()[0]
        for worker in workers:
            print("go", file=worker.stdin, flush=True)
        wait("done", lambda: all(worker.poll() == 0 for worker in workers), 120 + 3 * seconds)
        rate = sum(float(output.read_text().split()[-1]) for output in outputs)
    return {
        "steps per second": rate, "ms per step each": 1e3 * count / rate,
        "supernets per hour": 3600 * rate / STEPS_OF_A_SUPERNET, "memory_mb each": used / count / 2**20,
    }  # fmt: skip


def work(kernels: str, seconds: float) -> None:
    """Get ready to train, wait for a line of input, train for some seconds and print steps per second."""
    end_with_parent()
    torch.set_num_threads(1)
    torch.backends.cudnn.benchmark = True
    step = task_step("nas_bench_201", SupernetSettings(kernels=kernels), 32)
    for _ in range(WARM_UP):
        step()
    torch.cuda.synchronize()
    print("ready", flush=True)
    input()  # EOFError if the parent has ended, so that no deadline is needed
    done, started = 0, time.monotonic()
    while time.monotonic() - started < seconds:
        for _ in range(10):
            step()
        torch.cuda.synchronize()
        done += 10
    print(done / (time.monotonic() - started))


def large_part(seconds: float) -> Rows:
    """A step of the large spaces' supernets at ImageNet's image size; images are arrays on the GPU."""
    darts = SupernetSettings(imagenet=True, affine=True, channels=48, cells=14, clip_value=5, batch_size=64)
    mobilenet = SupernetSettings(clip_value=5, batch_size=64)

    def measure(space: str, settings: SupernetSettings) -> Row:
        torch.backends.cudnn.benchmark = True
        row = timed(partial(task_step, space, settings, 224), seconds)
        return {"images per second": 64e3 / row["ms"], **row}

    for space, settings in (("darts", darts), ("mobilenet", mobilenet)):
        for precision in ("float32", "tensorfloat32", "bfloat16"):
            how = {"space": space, "precision": precision}
            yield how, partial(measure, space, replace(settings, precision=precision))


def scoring_part(seconds: float) -> Rows:
    """Scoring by validation accuracy: batch-norm statistics and accuracy of each architecture."""
    for calibration, count in ((2_048, 10_000), (512, 2_048)):
        how = {"calibration images": calibration, "calibration batch": 512, "images": count}
        yield how, partial(scored, calibration, 512, count)


def scored(calibration: int, batch: int, count: int) -> Row:
    """Time of scoring an architecture, with PyTorch's defaults of precision as in the workflow."""
    torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = False, True
    torch.backends.cuda.matmul.allow_tf32 = False
    space, data = get("nas_bench_201"), images(25_000, 32)
    rng, model = np.random.default_rng(2), build(space, 10, 3, SupernetSettings(), 0)
    genes = rng.permutation(np.unique(space.canonical(space.sample(100, rng)), axis=0))
    amounts = {"images": count, "calibration_images": calibration, "calibration_batch": batch}
    score = scorer(space, model, data, data, random_labels(data), **amounts, seed=0, device=DEVICE.type)
    score(genes[:8])
    started = time.monotonic()
    score(genes[8:32])  # others: a scorer keeps what it has measured
    took = (time.monotonic() - started) / 24
    return {"ms per architecture": 1e3 * took, "minutes for all 9,445": took * 9445 / 60}


PARTS = {"step": step_part, "share": share_part, "large": large_part, "scoring": scoring_part}


def measure_missing(part: str, seconds: float, found: dict[str, Any], out: Path) -> None:
    """Measure a part's rows that were not found or failed; the file is replaced after each."""
    for how, measure in PARTS[part](seconds):
        same = [row for row in found[part] if how.items() <= row.items()]
        if any("failed" not in row for row in same):
            continue
        try:
            row = how | measure()
        except Exception as error:
            last = getattr(error, "stderr", None)  # line of a process that failed
            row = how | {"failed": last or f"{type(error).__name__}: {error}"}
        print(row, flush=True)
        found[part] = [row for row in found[part] if row not in same] + [row]
        new = out.with_name(out.name + ".new")
        new.write_text(json.dumps(found, indent=1) + "\n")
        new.replace(out)


def main() -> None:
    """Measure what the file does not have, and print all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help=f"parts to measure: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--seconds", type=float, default=4, help="for each measurement (default: 4)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("benchmarks/gpu.py needs a GPU that torch can use (torch.cuda.is_available() is false)")
    if arguments.worker:
        work(arguments.worker, arguments.seconds)
        return
    here = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "cores": os.cpu_count()}
    found = json.loads(arguments.out.read_text()) if arguments.out.exists() else here.copy()
    if (before := {name: found.get(name) for name in here}) != here:
        sys.exit(f"{arguments.out} is of {before}, this is {here}: delete it, or name another file by --out")
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"got {', '.join(unknown)}; supported parts: {', '.join(PARTS)}")
    for part in arguments.parts or PARTS:
        found.setdefault(part, [])
        measure_missing(part, arguments.seconds, found, arguments.out)
        table = pd.DataFrame(found[part]).round(3)
        print(f"\n{PARTS[part].__doc__}\n{table.to_string(index=False, na_rep='', max_colwidth=60)}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # so that workers and MPS end, too
    main()
