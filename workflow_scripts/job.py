"""Set up every script: the library on the path, and the job's threads, log and experiment."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

_UNTIL_THE_END = ExitStack()

# A job that outlives its Snakemake keeps the directory locked; rules/guard.smk checks this lock.
with suppress(ImportError, OSError):
    import fcntl

    _run_lock = open(".snakemake/rlnas.lock")  # noqa: SIM115 - the lock lasts as long as the process
    fcntl.flock(_run_lock, fcntl.LOCK_SH)


def start(snakemake: Any) -> Callable[[str], None]:
    """Limit torch to the job's threads, write tracebacks to its log, and return a log function."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(max(1, snakemake.threads // int(os.environ.get("WORLD_SIZE", "1"))))
    # The job created the log before it started its processes.
    mode = "a" if "RANK" in os.environ else "w"
    logging.basicConfig(
        filename=snakemake.log[0], filemode=mode, format="%(asctime)s %(message)s", level=logging.INFO
    )
    logging.captureWarnings(True)

    def log_error(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        logging.error("stopped by an error", exc_info=(kind, error, traceback))
        sys.__excepthook__(kind, error, traceback)

    sys.excepthook = log_error
    return logging.info


def leads() -> bool:
    """Whether this is the first process of the job, which writes the outputs."""
    return int(os.environ.get("RANK", "0")) == 0


def take_devices(snakemake: Any, name: str, log: Callable[[str], None]) -> None:
    """Reserve a device for each GPU of the job until it ends; for several, start one process per device.

    These processes run the same script, each with a part of every batch, and the job ends with them.
    """
    from rlnas_core.machine import devices, processes

    if "RANK" in os.environ:
        processes.end_with_parent()
        return  # reserved by the job
    count = max(1, snakemake.resources.get("gpu", 0))
    reserved = _UNTIL_THE_END.enter_context(
        devices.reserve(name, count, snakemake.config["jobs_per_gpu"], log=log)
    )
    if count == 1:
        if reserved[0].type == "cuda":
            sys.modules["torch"].cuda.set_device(reserved[0])
        return
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    threads = str(max(1, snakemake.threads // count))
    environment = devices.environment(reserved) | {"OMP_NUM_THREADS": threads}
    # When a job is killed, none of its processes may keep running on the released devices.
    command, die = [sys.executable, *launcher, sys.argv[0]], processes.end_with_parent
    job = subprocess.Popen(command, env=environment, preexec_fn=die)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: job.send_signal(number))
    sys.exit(job.wait())


def training_run(snakemake: Any, log: Callable[[str], None]) -> Any:
    """Return the `Run` of a training job: its log, record and checkpoint."""
    from rlnas_core.training.loop import Run

    record, minutes = Path(snakemake.output.training), snakemake.config["save_minutes"]
    return Run(log, record, checkpoint(snakemake, record.parent), 60 * minutes)


def checkpoint(snakemake: Any, results: Path) -> Path:
    """The checkpoint of a job whose results are RUN/KIND/...

    It is RUN/checkpoints/KIND/....safetensors, without KIND for supernets. It is not an output, since
    Snakemake removes those of a job that stops; and no parameter, to which Snakemake adds no module's prefix.
    """
    prefix, run, name = results.as_posix().rpartition(f"results/{snakemake.config['run']}/")
    return Path(f"{prefix}{run}checkpoints/{name.removeprefix('supernets/')}.safetensors")


def accuracy_scorer(snakemake: Any, space: Any, path: Path, log: Callable[[str], None]) -> Any:
    """Return a function from genes to validation accuracies under the weights of the job's supernet.

    `path` is its checkpoint.
    """
    from safetensors.torch import load_model

    from rlnas_core.images.arrays import load
    from rlnas_core.labels.pretext import label_source
    from rlnas_core.machine.files import REMADE, read_array, reading
    from rlnas_core.search.validation import scorer
    from rlnas_core.training.supernet import SupernetSettings, build

    given, params = snakemake.input, snakemake.params
    settings, seed = SupernetSettings(**params.supernet), int(snakemake.wildcards.seed)
    take_devices(snakemake, settings.device, log)
    train, valid = (load(Path(given.description).parent, split) for split in ("train", "valid"))
    categories = int(snakemake.wildcards.categories)
    # Validation images have a separate stream, as in `draw_labels`; pretext tasks draw a class per image.
    labels = label_source(
        params.labels,
        read_array(given.labels) if given.labels else None,
        categories,
        valid,
        np.random.default_rng([seed, 1]),
        classes=categories,  # validation images can lack the highest class
    )
    model = build(space, labels.categories, train.channels, settings, seed, **labels.head)
    with reading(given.weights, REMADE):
        load_model(model, given.weights)
    of = {"seed": seed, "device": settings.device, "kernels": settings.kernels, "log": log}
    saving = {"checkpoint": path, "save_every": 60 * snakemake.config["save_minutes"]}
    return scorer(space, model, train, valid, labels, **params.settings, **of, **saving)


def proxy_batch(snakemake: Any, device: str, log: Callable[[str], None]) -> tuple[Any, Any]:
    """Return the images and labels of a proxy, drawn with the job's seed, on its device; not on Apple's GPUs.

    Raises ValueError if there are fewer training images than `proxies.images`.
    """
    import torch

    from rlnas_core.images.arrays import load
    from rlnas_core.machine.devices import pick_device
    from rlnas_core.machine.files import read_array

    take_devices(snakemake, device, log)
    data = load(Path(snakemake.input.description).parent, "train")
    rng, images = np.random.default_rng(int(snakemake.wildcards.seed)), snakemake.params.images
    if images > len(data):
        raise ValueError(
            f"proxies.images: got {images}; accepted: at most {len(data)}, the training images of "
            f"{snakemake.wildcards.dataset}"
        )
    rows = np.sort(rng.choice(len(data), size=images, replace=False))
    labels = torch.from_numpy(read_array(snakemake.input.labels)[rows])
    chosen = pick_device(device)
    if chosen.type == "mps":
        log("proxies compute in float64, which Apple's GPUs don't have: this job runs on the CPU")
        chosen = torch.device("cpu")
    return data.plain(rows, chosen), labels.to(chosen)


def experiment(snakemake: Any) -> dict[str, Any]:
    """Return the columns that identify the experiment of a row in a tidy file."""
    names = ("dataset", "labels", "categories", "seed")
    wildcards = {name: snakemake.wildcards[name] for name in names}
    return {"space": "nas_bench_201", **wildcards}


def with_channels(settings: Mapping[str, Any], described: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of a network with its initial channels: their own or, without, the architecture's."""
    channels = settings.get("channels") or described.get("channels")
    others = {name: value for name, value in settings.items() if name != "channels"}
    return others | ({"channels": int(channels)} if channels else {})


def large_search(snakemake: Any) -> tuple[float, np.random.Generator, dict[str, Any]]:
    """Return the FLOPs limit of a search in a large space, its generator, and the columns that name it."""
    wildcards = snakemake.wildcards
    limit = np.inf if wildcards.limit == "none" else 1e6 * int(wildcards.limit)
    names = ("limit", "space", "dataset", "labels", "categories", "seed", "search")
    return limit, np.random.default_rng(int(wildcards.seed)), {name: wildcards[name] for name in names}


def within(space: Any, limit: float) -> Any:
    """Return a function that says which genes are within a FLOPs limit; None if there is no limit."""
    return (lambda genes: space.cost(genes)[1] <= limit) if limit < float("inf") else None


def write_evolution(snakemake: Any, found: Any) -> int:
    """Write the trace of an evolution and the architectures tied for the best; return their number."""
    from rlnas_core.search.results import tied

    trace = found.trace
    trace.to_csv(snakemake.output.trace, index=False)
    ties = tied(trace["arch"].tolist(), trace["fitness"].to_numpy(), found.fitness)
    ties.to_csv(snakemake.output.tied, index=False)
    return len(ties)


def of_searches(runs: pd.DataFrame, searches: dict[str, str]) -> pd.DataFrame:
    """Return the test rows of each benchmark dataset under its name, from the images searched for it."""
    return pd.concat(
        runs[(runs["dataset"] == dataset) & (runs["column"] == f"{name}_test")].assign(dataset=name)
        for name, dataset in searches.items()
    )


def search_space(name: str, paths: str | None) -> Any:
    """Return a search space; `paths` says where the paths in the angle end, in the DARTS space alone."""
    from rlnas_core.spaces import get

    return get(name, **({"paths": paths} if name == "darts" else {}))
