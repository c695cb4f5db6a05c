"""What every script starts with: the library on the path; the job's threads, log and experiment."""

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# A job that outlives its Snakemake keeps the folder locked; rules/common.smk looks.
with suppress(ImportError, OSError):
    import fcntl

    _at_work = open(".snakemake/rlnas.lock")  # noqa: SIM115 - the lock lasts as long as the process
    fcntl.flock(_at_work, fcntl.LOCK_SH)


def start(snakemake: Any) -> Callable[[str], None]:
    """Keep torch to the job's threads, send tracebacks to its log too, and return a function to log with."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(snakemake.threads)
    logging.basicConfig(
        filename=snakemake.log[0], filemode="w", format="%(asctime)s %(message)s", level=logging.INFO
    )
    logging.captureWarnings(True)

    def log_error(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        logging.error("stopped by an error", exc_info=(kind, error, traceback))
        sys.__excepthook__(kind, error, traceback)

    sys.excepthook = log_error
    return logging.info


def experiment(snakemake: Any) -> dict[str, Any]:
    """Return the columns that say which experiment a row of a tidy file belongs to."""
    names = ("dataset", "labels", "categories", "seed")
    wildcards = {name: snakemake.wildcards[name] for name in names}
    return {"space": "nas_bench_201", **wildcards}


def of_searches(runs: pd.DataFrame, searches: dict[str, str]) -> pd.DataFrame:
    """Return the test rows of each benchmark dataset, from the images searched for it and under its name."""
    return pd.concat(
        runs[(runs["dataset"] == dataset) & (runs["column"] == f"{name}_test")].assign(dataset=name)
        for name, dataset in searches.items()
    )
