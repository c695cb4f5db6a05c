# Inputs of trainings and searches: files of the user, labels, architectures, retrained weights
import re

from snakemake.io import contains_wildcard

from rlnas_core.benchmark.accuracies import INCLUDED
from rlnas_core.images.archives import source_files

IN_MODULE = not workflow.modifier.is_main_snakefile()


def own(path):
    """The path of a user's file, if any; absolute in a module, whose prefix is for results alone."""
    if not path:
        return []
    return str(Path(path).absolute()) if IN_MODULE else path


def dataset_files(wildcards):
    """The user's files of a dataset, or directories, whose times say when images were added or removed."""
    settings = config["datasets"][wildcards.dataset]
    path = settings["path"]
    found = map(str, source_files(settings["source"], Path(path))) if path else []
    files = [own(file) for file in [*found, settings["labels"]] if file]
    if odd := [file for file in files if contains_wildcard(file) or re.search("<[a-z][a-z0-9_]*>", file)]:
        raise ValueError(f"Snakemake would fill in the name in braces or angle brackets: {odd[0]}; rename it")
    return files


def benchmark_source(wildcards):
    """The user's benchmark, or the table included in the library."""
    return INCLUDED if config["benchmark"]["source"] == "included" else own(config["benchmark"]["path"])


def benchmark_memory(wildcards):
    """Memory in MB of reading the benchmark; NAS-Bench-201's own file takes about 20 GB."""
    asked = config["jobs"]["benchmark"]["mem_mb"]
    return max(asked, 24000) if config["benchmark"]["source"] == "official" else asked


def label_file(split):
    """The labels of a method: fixed ones, true ones to shuffle at each step, or none."""

    def path(wildcards):
        if wildcards.labels in FIXED_METHODS:
            return f"{RESULTS}/labels/{{dataset}}/{{labels}}/{{categories}}/{{seed}}/{split}.npy"
        if wildcards.labels in TRUTH_METHODS:
            return f"{RESULTS}/data/{{dataset}}/{split}_labels.npy"
        return []

    return path


def drawing_inputs(wildcards):
    """The input of drawing labels: the true ones, or only the number of images."""
    if wildcards.labels in TRUTH_METHODS:
        return {"ground_truth": f"{RESULTS}/data/{wildcards.dataset}/{wildcards.split}_labels.npy"}
    return {"images": f"{RESULTS}/data/{wildcards.dataset}/{wildcards.split}_images.npy"}


def validation_method(wildcards):
    """The method of the validation images' labels: true ones, or that of the supernet."""
    alike = wildcards.labels in PRETEXT_TASKS or config["validation"]["labels"] == "training"
    return wildcards.labels if alike else "ground-truth"


def validation_labels(wildcards):
    """The file of the labels of validation images."""
    if validation_method(wildcards) == wildcards.labels:
        return label_file("valid")(wildcards)
    return f"{RESULTS}/data/{{dataset}}/valid_labels.npy"


def architecture_inputs(wildcards):
    """The search that found an architecture, or the model's choice; none for published or random ones."""
    if config["model"] and wildcards.architecture in CANDIDATES:
        return {"candidates": f"{RESULTS}/choice/candidates.csv"}
    name = ArchitectureName.parse(wildcards.architecture)
    if name is None or name.random:
        return {}
    of = {"dataset": name.dataset, "categories": name.categories, "seed": name.seed}
    if wildcards.space == "nas_bench_201":
        best = f"{RESULTS}/searches/{EXPERIMENT}/angle/best.csv"
        return {"best": best.format(labels="uniform-once", **of)}
    limit = "none" if name.limit is None else name.limit
    method = PAPER["large_methods"][name.method]
    of |= {"labels": method["labels"], "search": method["indicator"]}
    return {"best": f"{RESULTS}/searches/{LARGE}/best.csv".format(space=wildcards.space, limit=limit, **of)}


def transfer_inputs(wildcards):
    """The images, original or miniature, and the pretrained weights of the backbone, if any."""
    transfer = configured("transfer", wildcards.scenes)
    miniature = f"{RESULTS}/data/miniature-{wildcards.scenes}"
    # Published scenes don't change, but other files may be put beside them.
    inputs = {"scenes": miniature if transfer["source"] == "miniature" else ancient(own(transfer["path"]))}
    if dataset := transfer["pretrained"]:
        seed = configured("retraining", wildcards.space, dataset)["seeds"][0]
        retrained = RETRAINED.format(**{**wildcards, "dataset": dataset, "seed": seed})
        inputs["weights"] = f"{RESULTS}/retrained/{retrained}/weights.safetensors"
    return inputs
