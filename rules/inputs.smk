# What rules read: the files of a user, of an experiment, of a table
from types import SimpleNamespace

from rlnas_core.benchmark.accuracies import INCLUDED


def dataset_files(wildcards):
    """Files of the user that a dataset is read from; a source that can be downloaded has none."""
    settings = config["datasets"][wildcards.dataset]
    return [settings[name] for name in ("path", "labels") if settings[name] is not None]


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
    if wildcards.space == "nas_bench_201":
        best = f"{RESULTS}/searches/{EXPERIMENT}/angle/best.csv"
        return {"search": best.format(labels="uniform-once", **of)}
    limit = "none" if name.limit is None else name.limit
    method = PAPER["large_methods"][name.method]
    of |= {"labels": method["labels"], "search": method["indicator"]}
    return {"search": f"{RESULTS}/searches/{LARGE}/best.csv".format(space=wildcards.space, limit=limit, **of)}


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


# The architectures that a run finds. Tables read them, too, but one that was deleted is made again only if asked for.
SEARCHES = [f"{RESULTS}/searches/{LARGE}/best.csv".format(**search) for search in LARGE_SEARCHES] + sorted(
    {
        path.replace("accuracy.csv", "best.csv")
        for number in ACCURACY_TABLES
        for path in found_accuracies(SimpleNamespace(number=number))
    }
)


def rank_correlations(wildcards):
    """How well a table's methods rank the whole space."""
    pattern = f"{RESULTS}/ranking/{EXPERIMENT}/{{indicator}}.csv"
    return method_files(pattern, table_methods(wildcards), table_searches(wildcards))


def large_searches(kind, *files):
    """Files of the searches in the large spaces that belong into a numbered table or figure."""

    def paths(wildcards):
        of = PAPER[f"{kind}{wildcards.number}"]
        return [
            f"{RESULTS}/searches/{LARGE}/{file}".format(**search)
            for search in LARGE_SEARCHES
            for file in files
            if not of.get("scenes")
            and search["space"] == of["space"]
            and of.get("on_imagenet") in (None, search["dataset"] == "imagenet")
            and of.get("limited") in (None, search["limit"] != "none")
            and (file != "optimum.csv" or search["search"] == "angle")
            and (kind == "table" or search["labels"] == "uniform-once")
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


def rank_sum_parts(wildcards):
    """The scores whose ranks are added, by the indicator whose file holds them."""
    return PAPER["rankings"]["rank_sums"][wildcards.rank_sum]


def rank_sum_scores(wildcards):
    """Files of the scores whose ranks are added."""
    return [f"{RESULTS}/scores/{EXPERIMENT}/{part}.csv" for part in rank_sum_parts(wildcards)]


def rankings(dataset):
    """What ranks the space on an image dataset: labels, indicator and seeds of each."""
    asked, proxies, sums = config["proxies"], PAPER["rankings"]["proxies"], PAPER["rankings"]["rank_sums"]
    methods = [
        method
        for number in (2, 12)
        if dataset in table_searches(SimpleNamespace(number=number)).values()
        for method in PAPER[f"table{number}"]["methods"].values()
    ]
    methods.sort(key=lambda of: of != PAPER["table2"]["methods"]["D"])  # the paper's own comes first
    for labels, indicator in dict.fromkeys((of["labels"], of["indicator"]) for of in methods):
        if is_possible(labels, dataset):
            yield labels, indicator, method_seeds(labels, indicator)
    for proxy in asked["names"]:
        yield "uniform-once", proxy, asked["seeds"]
        if "labels" in proxies[proxy]["needs"]:
            yield "ground-truth", proxy, asked["seeds"]
    for rank_sum, parts in sums.items():
        if set(parts) & set(proxies) <= set(asked["names"]):
            seeds = [seed for seed in asked["seeds"] if seed in config["seeds"]["uniform-once"]]
            yield "uniform-once", rank_sum, seeds


def ranking_jobs(labels, indicator, run):
    """Jobs whose time a ranking takes, as their runtimes are called."""
    rankings, experiment = PAPER["rankings"], EXPERIMENT.format(**run)
    if parts := rankings["rank_sums"].get(indicator):
        return [job for part in parts for job in ranking_jobs(labels, part, run)]
    if indicator in rankings["proxies"]:
        return [f"score_proxy/{experiment}/{indicator}"]
    if indicator == "angle-and-accuracy":
        return ranking_jobs(labels, "angle", run)[:1] + ranking_jobs(labels, "validation-accuracy", run)
    scored = f"score_{indicator.replace('-', '_')}/{experiment}"
    return [scored, f"train_supernet/{experiment}"] if labels in [*METHODS, *PRETEXT_TASKS] else [scored]


def ranking_run(labels, indicator, dataset, seed):
    """Files of a ranking: its scores, the runtimes of what they took, and statistics of a training."""
    run = {
        "dataset": dataset,
        "labels": labels,
        "categories": PRETEXT_TASKS.get(labels) or classes(config, dataset),
        "seed": seed,
        "indicator": indicator,
    }
    experiment = EXPERIMENT.format(**run)
    if indicator == "angle" and labels == "uniform-once":
        run["statistics"] = f"{RESULTS}/supernets/{experiment}/statistics.npz"
    return run | {
        "scores": f"{RESULTS}/scores/{experiment}/{indicator}.csv",
        "runtimes": [f"{RESULTS}/runtimes/{job}.tsv" for job in ranking_jobs(labels, indicator, run)],
    }


RANKINGS = [
    ranking_run(labels, indicator, dataset, seed)
    for dataset in DATASETS
    for labels, indicator, seeds in rankings(dataset)
    for seed in seeds
]


def ranking_inputs(wildcards):
    """Files of everything that ranks the space."""
    return {
        "scores": [run["scores"] for run in RANKINGS],
        "runtimes": sorted({file for run in RANKINGS for file in run["runtimes"]}),
        "statistics": [run["statistics"] for run in RANKINGS if "statistics" in run],
    }


def ranked_architectures(wildcards):
    """The architectures of a large space whose networks are trained and ranked."""
    names = RANKED_NETWORKS[wildcards.space, wildcards.dataset]
    return [f"{RESULTS}/architectures/{wildcards.space}/{name}.csv" for name in names]


def random_labels(wildcards):
    """Random labels of an image dataset at its true number of classes."""
    categories = classes(config, wildcards.dataset)
    return f"{RESULTS}/labels/{{dataset}}/uniform-once/{categories}/{{seed}}/train.npy"


def network_inputs(wildcards):
    """Files of everything that ranks networks of a large space, and of their accuracies."""
    of = {"space": wildcards.space, "dataset": wildcards.dataset}
    searched = [run for run in LARGE_SEARCHES if of.items() <= run.items()]
    retrained = [run for run in RETRAININGS if of.items() <= run.items()]
    names, seeds = RANKED_NETWORKS[wildcards.space, wildcards.dataset], {run["seed"] for run in retrained}
    return {
        "architectures": ranked_architectures(wildcards),
        "accuracies": [
            f"{RESULTS}/retrained/{RETRAINED}/accuracy.csv".format(**run)
            for run in retrained
            if run["architecture"] in names
        ],
        "statistics": sorted(
            {
                f"{RESULTS}/supernets/{SUPERNET}/statistics.npz".format(**run)
                for run in searched
                if run["labels"] == "uniform-once"
            }
        ),
        "scores": [
            f"{RESULTS}/scores/{{space}}/{{dataset}}/networks/{seed}.csv".format(**of)
            for seed in sorted(seeds)
        ],
    }
