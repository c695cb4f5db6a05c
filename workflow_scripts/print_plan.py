"""Print the estimated cost of a run's remaining jobs; run by `make plan`, not by a rule."""

import argparse
import logging
import math
import sys
from contextlib import suppress
from pathlib import Path

from snakemake.api import SnakemakeApi
from snakemake.cli import parse_config
from snakemake.settings.types import (
    ConfigSettings,
    DAGSettings,
    ExecutionSettings,
    OutputSettings,
    ResourceSettings,
)

import job  # noqa: F401 - puts the library on the path
from rlnas_core.configuration import plan


def _file(text: str) -> Path:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"got {text}, which is no file")
    return Path(text)


def _positive(text: str) -> float:
    with suppress(ValueError):
        if 0 < (value := float(text)) < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"got {text}; accepted: a number above 0")


def main() -> None:
    """Get the jobs from Snakemake, as in `snakemake --dry-run` with the same options, and add them up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", help="files to make [all]")
    parser.add_argument("--configfile", nargs="*", type=_file, default=[])
    parser.add_argument("--config", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument(
        "--gpu-tflops",
        type=_positive,
        help="what a GPU reaches in these networks [what was measured on an H100]",
    )
    arguments = parser.parse_args()
    try:
        given = parse_config(arguments.config)
    except ValueError as error:
        parser.error(f"argument --config: {error}")
    quiet = OutputSettings(dryrun=True, log_level_override=logging.WARNING)
    with SnakemakeApi(quiet) as api:
        try:
            workflow = api.workflow(
                resource_settings=ResourceSettings(cores=1),
                config_settings=ConfigSettings(config=given, configfiles=arguments.configfile),
                snakefile=Path(__file__).parents[1] / "Snakefile",
            )
            workflow.dag(DAGSettings(targets=set(arguments.targets), force_incomplete=True)).execute_workflow(
                pseudo_executor="dryrun", execution_settings=ExecutionSettings(lock=False)
            )
        except Exception as error:
            api.print_exception(error)
            sys.exit(1)
        # Snakemake's API doesn't return jobs; its internal workflow, the Snakefile's `workflow`, does.
        config, dag = workflow._workflow.globals["config"], workflow._workflow.dag
        jobs = [(one.name, dict(one.wildcards.items())) for one in dag.needrun_jobs(exclude_finished=False)]
    if not jobs:
        print(f"Nothing is left to do of the run {config['run']}.")
        return
    used = {wildcards["dataset"] for _, wildcards in jobs if "dataset" in wildcards}
    try:
        images = {name: plan.count_images(config["datasets"][name]) for name in sorted(used)}
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    print(f"Still to do of the run {config['run']}:\n")
    print(plan.describe(plan.estimate(jobs, config, images), arguments.gpu_tflops))


if __name__ == "__main__":
    main()
