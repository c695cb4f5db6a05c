# Paths of a run's files, and resources of jobs
import sys
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent))

from rlnas_core.configuration.checks import (
    ConfigurationError,
    leave_out_missing,
    resolve_paths,
    validate,
)
from rlnas_core.configuration.derived import backbone_sizes, classes
from rlnas_core.labels.methods import FIXED_METHODS, METHODS, PRETEXT_TASKS, TRUTH_METHODS
from rlnas_core.paper.numbers import PAPER
from rlnas_core.search.names import ArchitectureName

try:
    with open(workflow.source_path("../config/schemas/config.schema.yaml")) as schema:
        config, LEFT_OUT = leave_out_missing(
            resolve_paths(validate(config, yaml.load(schema, yaml.CSafeLoader)))
        )
except ConfigurationError as error:
    raise WorkflowError(str(error))


RESULTS = f"results/{config['run']}"
SUPERNET = "{space}/{dataset}/{labels}/{categories}/{seed}"
EXPERIMENT = SUPERNET.replace("{space}", "nas_bench_201")
LARGE = f"{SUPERNET}/{{limit}}/{{search}}"
# Retrained or transferred architectures have the name of a published one or an ArchitectureName.
RETRAINED = "{space}/{dataset}/{architecture}/{seed}"
MODEL = f"{RESULTS}/models/{RETRAINED}"
TRANSFERRED = "{space}/{scenes}/{architecture}/{seed}"
# Scores whose ranks are added, by the indicator whose file contains them; the authors add ranks without logarithms.
RANK_SUMS = {"angle-and-accuracy": {"angle": ["angle"], "validation-accuracy": ["validation-accuracy"]}}
RANK_SUMS |= PAPER["rankings"]["rank_sums"]
# Indicators that can choose an architecture: the paper's, training-free proxies, and sums of ranks
INDICATORS = ["angle", "validation-accuracy", *PAPER["rankings"]["proxies"], *RANK_SUMS]


wildcard_constraints:
    space="nas_bench_201|darts|mobilenet|chain",
    limit=r"none|\d+",
    dataset="|".join(config["datasets"]),
    benchmark_dataset="|".join(config["searches"]),
    labels="|".join([*METHODS, *PRETEXT_TASKS, "untrained-[a-z-]+"]),
    initialisation="[a-z-]+",
    categories=r"\d+",
    seed=r"\d+",
    number=r"\d+",
    split="train|valid",
    indicator="|".join(INDICATORS),
    search="|".join([*INDICATORS, "random-search"]),
    architecture="[A-Za-z0-9-]+",
    scenes="coco|cityscapes",


def job_setting(job, key):
    """A setting of a kind of job, which may depend on wildcards."""
    return lambda wildcards: config["jobs"][job(wildcards) if callable(job) else job][key]


def growing(**resources):
    """Memory in MB and time in minutes, more with each attempt, for jobs that a cluster stopped."""

    def times(amount):
        return lambda wildcards, attempt: attempt * (amount(wildcards) if callable(amount) else amount)

    return {name: times(amount) for name, amount in resources.items()}


def job_resources(job):
    """Memory in MB, time in minutes and GPUs of a kind of job."""
    grown = growing(mem_mb=job_setting(job, "mem_mb"), runtime=job_setting(job, "runtime"))
    return grown | {"gpu": job_setting(job, "gpus")}


def report_labels(wildcards):
    """The labels in the report of a result, from its wildcards."""
    return dict(wildcards.items())


def dataset_settings(wildcards):
    """The settings of an image dataset."""
    return config["datasets"][wildcards.dataset]


def dataset_classes(wildcards):
    """The true number of classes of an image dataset."""
    return classes(config, wildcards.dataset)


def supernet_job(wildcards):
    """The kind of job that trains a supernet; those of the large spaces have separate settings."""
    return "supernet" if wildcards.space == "nas_bench_201" else "large_supernet"


def configured(*keys):
    """The section of the configuration that a requested file needs."""
    section = config
    for depth, key in enumerate(keys, 1):
        if key not in section:
            raise ValueError(f"{'.'.join(keys[:depth])} isn't configured, which the requested file needs")
        section = section[key]
    return section


def supernet_settings(wildcards):
    """The settings of a supernet: of the enumerated space, or of a large space and its image dataset."""
    if wildcards.space == "nas_bench_201":
        return config["supernet"]
    return search_settings(wildcards)["supernet"]


def validation_settings(wildcards):
    """Settings of the images on which accuracy is measured and batch norms are recalibrated."""
    return {key: config["validation"][key] for key in ("images", "calibration_images", "calibration_batch")}


def evolution_settings(wildcards):
    """Settings of a search by evolution; random search has one generation."""
    if wildcards.search == "random-search":
        none = {"iterations": 1, "keep": 1, "mutations": 0, "crossovers": 0}
        return {"population": config["random_search"]["architectures"], **none}
    in_large_space = "space" in wildcards.keys()
    return search_settings(wildcards)["evolution"] if in_large_space else config["evolution"]


def searched_scores(wildcards):
    """The scores that a search maximises; random search keeps the best validation accuracy."""
    indicator = "validation-accuracy" if wildcards.search == "random-search" else wildcards.search
    return f"{RESULTS}/scores/{EXPERIMENT}/{indicator}.csv".format(**wildcards)


def search_settings(wildcards):
    """The settings of the search in a large space on an image dataset."""
    return configured("large_spaces", wildcards.space, wildcards.dataset)


def retraining_settings(wildcards):
    """The settings of a stand-alone network and its training; a model's candidates have their own channels."""
    settings = configured("retraining", wildcards.space, wildcards.dataset)["network"]
    if config["model"] and wildcards.get("architecture") in CANDIDATES:
        return settings | {"channels": None}
    return settings


def transfer_settings(wildcards):
    """The settings of a training on scenes."""
    return configured("transfer", wildcards.scenes)["training"]


def transfer_backbone(wildcards):
    """Sizes of the backbone that is transferred to scenes."""
    return backbone_sizes(config, wildcards.scenes, wildcards.space)


def test_columns(wildcards):
    """The test accuracies that a supernet ranks: of the benchmark's datasets searched on its images."""
    return [f"{name}_test" for name, dataset in config["searches"].items() if dataset == wildcards.dataset]
