# Inputs of tables and figures: the results of their methods and searches


def method_runs(methods, searches=config["searches"]):
    """Runs of methods on every image dataset at its number of classes, one per seed."""
    return [
        {
            "dataset": dataset,
            **method,
            "categories": PRETEXT_TASKS.get(method["labels"]) or classes(config, dataset),
            "seed": seed,
            "search": method["indicator"],
        }
        for method in methods.values()
        for dataset in sorted(set(searches.values()))
        if is_possible(method["labels"], dataset)
        for seed in method_seeds(**method)
    ]


def method_files(pattern, methods, searches=config["searches"]):
    """Files of these runs."""
    return [pattern.format(**run) for run in method_runs(methods, searches)]


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
    """The file of RLNAS with its first seed, on the images searched for a benchmark dataset."""

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


def table_files(pattern, number):
    """Files of the runs of a table's methods."""
    return method_files(pattern, table_methods(number), table_searches(number))


BEST = f"{RESULTS}/searches/{EXPERIMENT}/{{search}}/best.csv"
CORRELATIONS = f"{RESULTS}/ranking/{EXPERIMENT}/{{indicator}}.csv"
# The architectures that a run finds. Tables read them too, but a deleted one is only made again on request.
SEARCHES = [f"{RESULTS}/searches/{LARGE}/best.csv".format(**search) for search in LARGE_SEARCHES] + sorted(
    {path for number in ACCURACY_TABLES for path in table_files(BEST, number)}
)


def large_searches(kind, *files):
    """Files of the searches in the large spaces for a numbered table or figure."""

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
    """Files of retrained or transferred architectures for a table, by its space and scenes."""
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
