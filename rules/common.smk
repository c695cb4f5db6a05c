# From the configuration to the list of experiments, and where their files lie
import re
import socket
import sys
from contextlib import suppress
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent))

from rlnas_core.benchmark.accuracies import INCLUDED
from rlnas_core.configuration.checks import (
    RANDOM,
    ConfigurationError,
    backbone_sizes,
    classes,
    found_architectures,
    missing_files,
    resolve_paths,
    unusable_files,
    validate,
)
from rlnas_core.labels.methods import PRETEXT_TASKS
from rlnas_core.machine.files import obstacles

try:
    with open(workflow.source_path("../config/schema.yaml")) as schema:
        config = resolve_paths(validate(config, yaml.safe_load(schema)))
except ConfigurationError as error:
    raise WorkflowError(str(error))


# Snakemake's own lock outlives a Snakemake that was killed; one of the operating system doesn't. All processes of
# this workflow share one, so that whoever gets it alone finds nobody at work and may remove what the killed left.
# Hosts may not see each other's locks, hence this is left to the host that was at work last.
if workflow.is_main_process and workflow.modifier.is_main_snakefile():
    with suppress(ImportError, OSError):
        import fcntl

        Path(".snakemake").mkdir(exist_ok=True)
        at_work = open(".snakemake/rlnas.lock", "a+")  # the lock lasts as long as the process
        with suppress(BlockingIOError):
            fcntl.flock(at_work, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left = list(Path(".snakemake/locks").glob("*.lock"))
            at_work.seek(0)
            if not left or at_work.read() == socket.gethostname():
                if left:
                    logger.warning("A Snakemake that was killed had left its lock here; it is removed.")
                for lock in left:
                    lock.unlink()
                at_work.truncate(0)
                print(socket.gethostname(), end="", file=at_work, flush=True)
        fcntl.flock(at_work, fcntl.LOCK_SH)


# A dry run plans without the files that only a person can fetch; a real run stops before its first job.
onstart:
    jobs = list(workflow.dag.needrun_jobs())
    keys = {"prepare_dataset": "datasets.{dataset}", "extract_benchmark": "benchmark"}
    keys |= {"transfer_architecture": "transfer.{scenes}"}
    read = {
        key.format(**job.wildcards_dict)
        for job in jobs
        for rule, key in keys.items()
        if job.name.endswith(rule)
    }
    if missing := missing_files(config, read):
        raise WorkflowError("files are missing:\n  " + "\n  ".join(missing))
    unusable = obstacles(Path(RESULTS), sorted({Path(file) for job in jobs for file in job.input}))
    try:
        unusable += unusable_files(config, read)
    except ImportError:
        pass  # the jobs have an environment of their own, and check again
    if unusable:
        raise WorkflowError("files can't be used:\n  " + "\n  ".join(unusable))


for line in missing_files(config):
    logger.warning(f"Not there yet: {line}")


RESULTS = f"results/{config['run']}"
SUPERNET = "{space}/{dataset}/{labels}/{categories}/{seed}"
EXPERIMENT = SUPERNET.replace("{space}", "nas_bench_201")
RANDOM_LABELS = SUPERNET.replace("{labels}", "uniform-once")
DATASETS = sorted(set(config["searches"].values()))
FIXED_LABELS = ["ground-truth", "uniform-once", "shuffle-once"]
REDRAWN_LABELS = ["uniform-each-step", "shuffle-each-step"]
LABELS = FIXED_LABELS + REDRAWN_LABELS

# What each row of a table is made of: where its supernet's labels come from, and what chooses its architecture.
with open(workflow.source_path("../rlnas_core/paper/paper.yaml")) as paper:
    METHODS = {
        row: (method["labels"], method["indicator"])
        for row, method in yaml.safe_load(paper)["methods"].items()
    }
LABEL_METHODS = {labels: (labels, "angle") for labels in LABELS if labels != "ground-truth"}
UNTRAINED_METHODS = {
    "training-free-normal": ("untrained-normal", "angle"),
    "training-free-uniform": ("untrained-uniform", "angle"),
}
RANKED_METHODS = METHODS | UNTRAINED_METHODS
BIAS_METHODS = UNTRAINED_METHODS | {"random-search": ("ground-truth", "random-search"), "RLNAS": METHODS["D"]}
PRETEXT_METHODS = {
    "UnNAS-rotation": ("rotation", "validation-accuracy"),
    "UnNAS-color": ("colorization", "validation-accuracy"),
    "UnNAS-jigsaw": ("jigsaw", "validation-accuracy"),
    "RLNAS": METHODS["D"],
}
# Table 12 is of the images that CIFAR-10 is searched on, and of every dataset that is searched on the same.
PRETEXT_SEARCHES = {
    name: dataset
    for name, dataset in config["searches"].items()
    if dataset == config["searches"].get("cifar10")
}
TRAINED_METHODS = {labels: (labels, "angle") for labels in LABELS}

# What the tables of the large spaces are of: the space, and the scenes that networks are transferred to.
COST_TABLES = {
    3: ("darts", None),
    4: ("darts", None),
    5: ("mobilenet", None),
    8: ("darts", "coco"),
    9: ("mobilenet", "coco"),
    10: ("darts", "cityscapes"),
    11: ("mobilenet", "cityscapes"),
}

# What is searched by angle in the large spaces: (space, image dataset, seed, limit in million multiply-accumulates).
LARGE_SEARCHES = [
    (space, dataset, seed, "none" if limit is None else limit)
    for space, searches in config["large_spaces"].items()
    for dataset, search in searches.items()
    for seed in search["seeds"]
    for limit in search["limits"]
]
LARGE = f"{RESULTS}/searches/{RANDOM_LABELS}/{{limit}}/best.csv"

# Architectures with a network of their own: published ones by name, random ones as random-SEED-LIMIT, those found as
# DATASET-CATEGORIES-SEED-LIMIT, and what DARTS found without a limit also with as many channels as 600 million allow.
RETRAINED = "{space}/{dataset}/{architecture}/{seed}"


def architectures(space, retraining):
    """The architectures of a space that a section of the configuration asks for."""
    random = [f"random-0-{limit}" for limit in retraining["random"]]
    found = found_architectures(config, space) if retraining["found"] else []
    return retraining["published"] + random + found


TRANSFERRED = "{space}/{scenes}/{architecture}/{seed}"
TRANSFERS = [
    {"space": space, "scenes": scenes, "architecture": architecture, "seed": seed}
    for scenes, transfer in config["transfer"].items()
    for space, names in transfer["architectures"].items()
    for architecture in names
    for seed in transfer["seeds"]
]
RETRAININGS = [
    {"space": space, "dataset": dataset, "architecture": architecture, "seed": seed}
    for space, datasets in config["retraining"].items()
    for dataset, retraining in datasets.items()
    for architecture in architectures(space, retraining)
    for seed in retraining["seeds"]
]

TABLE_NUMBERS = [1, 2, 6, 7, 12, *COST_TABLES]
CATEGORIES = bool(config["figure1"]["categories"] and config["figure1"]["seeds"])
TABLES = expand(
    f"{RESULTS}/tables/table{{number}}.{{format}}",
    number=TABLE_NUMBERS,
    format=["csv", "md", "tex"],
)
FIGURES = expand(
    f"{RESULTS}/figures/{{figure}}.{{format}}",
    figure=[
        "methods",
        *(["figure1"] if CATEGORIES else []),
        *(["trajectory"] if any(config["seeds"][labels] for labels in LABELS) else []),
        *(f"figure{number}" for number in (2, 3, 4, 5)),
        *(f"scatter_{name}" for name in config["searches"] if config["seeds"]["uniform-once"]),
    ],
    format=["svg", "pdf", "png"],
)


wildcard_constraints:
    space="nas_bench_201|darts|mobilenet",
    limit=r"none|\d+",
    dataset="[a-z0-9]+",
    benchmark_dataset="|".join(config["searches"]),
    labels="|".join([*LABELS, *PRETEXT_TASKS, "untrained-normal", "untrained-uniform"]),
    initialisation="normal|uniform",
    categories=r"\d+",
    seed=r"\d+",
    split="train|valid",
    indicator="angle|validation-accuracy",
    search="angle|validation-accuracy|random-search",
    architecture="[A-Za-z0-9-]+",
    scenes="coco|cityscapes",


def seeds_of(labels, indicator):
    """Seeds with which a method runs; what needs validation accuracy may run with fewer."""
    seeds = config["seeds"][labels]
    return (
        seeds if indicator == "angle" else [seed for seed in seeds if seed in config["validation"]["seeds"]]
    )


def possible(labels, dataset):
    """Whether images allow a source of labels; the digits are grey."""
    return labels != "colorization" or config["datasets"][dataset]["source"] != "digits"


def of_methods(pattern, methods, searches=config["searches"]):
    """Files of methods on every image dataset at their number of classes, a file a seed."""
    return [
        path
        for labels, indicator in methods.values()
        for dataset in sorted(set(searches.values()))
        if possible(labels, dataset)
        for path in expand(
            pattern,
            dataset=dataset,
            labels=labels,
            categories=PRETEXT_TASKS.get(labels) or classes(config, dataset),
            seed=seeds_of(labels, indicator),
            indicator=indicator,
            search=indicator,
        )
    ]


def of_categories(pattern):
    """Files of figure 1: RLNAS on every image dataset with every number of random-label categories."""
    return expand(
        pattern,
        dataset=DATASETS,
        labels="uniform-once",
        categories=config["figure1"]["categories"],
        seed=config["figure1"]["seeds"],
        indicator="angle",
        search="angle",
    )


def job_resource(job, key):
    """What a job may use of memory or time: more at each attempt, where a cluster stopped the one before."""
    return lambda wildcards, attempt: config["jobs"][job][key] * attempt


def of_supernet(key):
    """What training a supernet may use: those of the large spaces have their own."""

    def use(wildcards, attempt=1):
        job = "supernet" if wildcards.space == "nas_bench_201" else "large_supernet"
        return config["jobs"][job][key] * (attempt if key in ("mem_mb", "runtime") else 1)

    return use


def dataset_files(wildcards):
    """Files of the user that a dataset is read from; a source that can be downloaded has none."""
    return config["datasets"][wildcards.dataset]["path"] or []


def benchmark_source(wildcards):
    """The user's benchmark, or the table that the library brings along."""
    return INCLUDED if config["benchmark"]["source"] == "included" else config["benchmark"]["path"] or []


def labels_of(split):
    """The file of fixed labels, or the true labels, of which other sources may or may not make their own."""

    def path(wildcards):
        if wildcards.labels in FIXED_LABELS:
            return f"{RESULTS}/labels/{{dataset}}/{{labels}}/{{categories}}/{{seed}}/{split}.npy"
        return f"{RESULTS}/data/{{dataset}}/{split}_labels.npy"

    return path


def of_first_seed(pattern):
    """The file of RLNAS on the images that were searched for a benchmark dataset, with its first seed."""

    def path(wildcards):
        dataset = config["searches"][wildcards.benchmark_dataset]
        return pattern.format(
            dataset=dataset,
            labels="uniform-once",
            categories=classes(config, dataset),
            seed=config["seeds"]["uniform-once"][0],
            indicator="angle",
        )

    return path


def supernet_settings(wildcards):
    """The settings of a supernet: of the enumerated space, or of a large space and its image dataset."""
    if wildcards.space == "nas_bench_201":
        return config["supernet"]
    return config["large_spaces"][wildcards.space][wildcards.dataset]["supernet"]


def large_search(key):
    """A setting of the search in a large space on an image dataset."""
    return lambda wildcards: config["large_spaces"][wildcards.space][wildcards.dataset][key]


def found(belongs):
    """What the searches in the large spaces found that belongs into a numbered table or figure."""

    def paths(wildcards):
        return [
            LARGE.format(
                space=space, dataset=dataset, categories=classes(config, dataset), seed=seed, limit=limit
            )
            for space, dataset, seed, limit in LARGE_SEARCHES
            if belongs(int(wildcards.number), space, dataset, limit)
        ]

    return paths


def search_of_architecture(wildcards):
    """The search that found an architecture; none for a published or a random one."""
    place = re.fullmatch(r"([a-z0-9]+)-(\d+)-(\d+)-(none|\d+)(-scaled)?", wildcards.architecture)
    if place is None:
        return {}
    names = ("dataset", "categories", "seed", "limit")
    return {"search": LARGE.format(space=wildcards.space, **dict(zip(names, place.groups())))}


def of_random(wildcards):
    """The seed and the limit of a random architecture; no limit for any other."""
    place = re.fullmatch(RANDOM, wildcards.architecture)
    return (int(place[1]), int(place[2])) if place else (0, 0)


def transfer_inputs(wildcards):
    """The images, real or in miniature, and the weights of a retrained network to begin with, if any."""
    transfer = config["transfer"][wildcards.scenes]
    miniature = f"{RESULTS}/data/miniature-{wildcards.scenes}"
    inputs = {"scenes": miniature if transfer["source"] == "miniature" else transfer["path"] or []}
    if dataset := transfer["pretrained"]:
        seed = config["retraining"][wildcards.space][dataset]["seeds"][0]
        retrained = RETRAINED.format(**{**wildcards, "dataset": dataset, "seed": seed})
        inputs["weights"] = f"{RESULTS}/retrained/{retrained}/weights.safetensors"
    return inputs


def transferred(pattern):
    """Files of the transfer that belong into a numbered table."""

    def paths(wildcards):
        wanted = COST_TABLES[int(wildcards.number)]
        return [pattern.format(**run) for run in TRANSFERS if (run["space"], run["scenes"]) == wanted]

    return paths


def retrained(pattern):
    """Files of architectures, retrained or transferred, that belong into a numbered table by their space."""

    def paths(wildcards):
        space, _ = COST_TABLES[int(wildcards.number)]
        runs = RETRAININGS + (TRANSFERS if "{dataset}" not in pattern else [])
        return sorted({pattern.format(**run) for run in runs if run["space"] == space})

    return paths


def of_table(number, space, dataset, limit):
    """Tables 3 to 5 have what was found in their space, table 4 only on ImageNet."""
    return COST_TABLES[number] == (space, None) and (number != 4 or dataset == "imagenet")


def of_figure(number, space, dataset, limit):
    """Figure 5 is of the MobileNet-like space; of DARTS, 3 is with a limit and 4 on ImageNet without one."""
    if space == "mobilenet":
        return number == 5
    return number == (3 if limit != "none" else 4 if dataset == "imagenet" else 2)


def columns_of(wildcards):
    """Test accuracies that a supernet ranks: of the benchmark's datasets that are searched on its images."""
    return [f"{name}_test" for name, dataset in config["searches"].items() if dataset == wildcards.dataset]


def reasons(methods, searches=config["searches"]):
    """Why cells of a table are empty: columns that this run doesn't search, rows without seeds or colours."""
    notes = {
        f"{name}{part}": f"not measured: dataset {name} is not part of this run"
        for name in ("cifar10", "cifar100", "imagenet16")
        for part in ("", "_valid", "_test")
        if name not in config["searches"]
    }
    for row, (labels, indicator) in methods.items():
        if not config["seeds"][labels]:
            notes[row] = f"not measured: seeds.{labels} is empty"
        elif not seeds_of(labels, indicator):
            notes[row] = f"not measured: validation.seeds has none of seeds.{labels}"
        elif not any(possible(labels, dataset) for dataset in searches.values()):
            notes[row] = f"not measured: {labels} needs colour images"
    return notes
