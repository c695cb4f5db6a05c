# What rules read: the files of a user, of an experiment, of a table
from rlnas_core.benchmark.accuracies import INCLUDED


def dataset_files(wildcards):
    """Files of the user that a dataset is read from; a source that can be downloaded has none."""
    return config["datasets"][wildcards.dataset]["path"] or []


def benchmark_source(wildcards):
    """The user's benchmark, or the table that the library brings along."""
    return INCLUDED if config["benchmark"]["source"] == "included" else config["benchmark"]["path"] or []


def label_file(split):
    """The labels that a method trains with: fixed ones, true ones to shuffle at each step, or none."""

    def path(wildcards):
        if wildcards.labels in FIXED_METHODS:
            return f"{RESULTS}/labels/{{dataset}}/{{labels}}/{{categories}}/{{seed}}/{split}.npy"
        if wildcards.labels in TRUTH_METHODS:
            return f"{RESULTS}/data/{{dataset}}/{split}_labels.npy"
        return []

    return path


def drawing_inputs(wildcards):
    """What labels are drawn from: true ones, or else only the number of images."""
    if wildcards.labels in TRUTH_METHODS:
        return {"ground_truth": f"{RESULTS}/data/{wildcards.dataset}/{wildcards.split}_labels.npy"}
    return {"images": f"{RESULTS}/data/{wildcards.dataset}/{wildcards.split}_images.npy"}


def validation_method(wildcards):
    """Where the labels of validation images come from: true ones, or as the supernet's own do."""
    own = wildcards.labels in PRETEXT_TASKS or config["validation"]["labels"] == "training"
    return wildcards.labels if own else "ground-truth"


def validation_labels(wildcards):
    """The file of the labels of validation images."""
    if validation_method(wildcards) == wildcards.labels:
        return label_file("valid")(wildcards)
    return f"{RESULTS}/data/{{dataset}}/valid_labels.npy"


def architecture_inputs(wildcards):
    """The search that found an architecture; none for a published or a random one."""
    name = ArchitectureName.parse(wildcards.architecture)
    if name is None or name.random:
        return {}
    of = {"dataset": name.dataset, "categories": name.categories, "seed": name.seed}
    limit = "none" if name.limit is None else name.limit
    method = PAPER["large_methods"][name.method]
    of |= {"labels": method["labels"], "search": method["indicator"]}
    return {"search": LARGE.format(space=wildcards.space, limit=limit, **of)}


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


def method_files(pattern, methods, searches=config["searches"]):
    """Files of methods on every image dataset at their number of classes, a file a seed."""
    return [
        path
        for method in methods.values()
        for dataset in sorted(set(searches.values()))
        if is_possible(method["labels"], dataset)
        for path in expand(
            pattern,
            **method,
            dataset=dataset,
            categories=PRETEXT_TASKS.get(method["labels"]) or classes(config, dataset),
            seed=method_seeds(**method),
            search=method["indicator"],
        )
    ]


def category_files(pattern):
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


def first_seed_file(pattern):
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


def found_accuracies(wildcards):
    """Accuracies of what a table's methods find."""
    pattern = f"{RESULTS}/searches/{EXPERIMENT}/{{search}}/accuracy.csv"
    return method_files(pattern, table_methods(wildcards), table_searches(wildcards))


def rank_correlations(wildcards):
    """How well a table's methods rank the whole space."""
    pattern = f"{RESULTS}/ranking/{EXPERIMENT}/{{indicator}}.csv"
    return method_files(pattern, table_methods(wildcards), table_searches(wildcards))


def large_searches(kind):
    """What the searches in the large spaces found that belongs into a numbered table or figure."""

    def paths(wildcards):
        of = PAPER[f"{kind}{wildcards.number}"]
        return [
            LARGE.format(**search)
            for search in LARGE_SEARCHES
            if not of.get("scenes")
            and search["space"] == of["space"]
            and of.get("on_imagenet") in (None, search["dataset"] == "imagenet")
            and of.get("limited") in (None, search["limit"] != "none")
            and (kind == "table" or search["search"] == "angle")
        ]

    return paths


def cost_inputs(wildcards):
    """Files of architectures, retrained or transferred, that belong into a table by its space and scenes."""
    of = PAPER[f"table{wildcards.number}"]
    spaces, scenes = [of["space"], *of.get("also", [])], of.get("scenes")
    retrained = [run for run in RETRAININGS if run["space"] in spaces]
    transferred = [run for run in TRANSFERS if run["space"] in spaces]
    chosen = sorted({(run["space"], run["architecture"]) for run in retrained + transferred})
    return {
        "architectures": [f"{RESULTS}/architectures/{space}/{name}.csv" for space, name in chosen],
        "accuracies": sorted(
            f"{RESULTS}/retrained/{RETRAINED}/accuracy.csv".format(**run) for run in retrained
        ),
        "measures": [
            f"{RESULTS}/transferred/{TRANSFERRED}/measures.csv".format(**run)
            for run in transferred
            if run["scenes"] == scenes
        ],
    }
