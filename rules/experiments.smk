# The experiments of every table and figure, from the configuration
from rlnas_core.configuration.derived import channels, found_architectures, searched_datasets
from rlnas_core.paper.tables import searched_images

DATASETS = searched_datasets(config)
TRAINED_METHODS = {labels: {"labels": labels, "indicator": "angle"} for labels in METHODS}

# Tables of NAS-Bench-201 by their content, tables of the large spaces, and figures of architectures
ACCURACY_TABLES = [1, 6, 7, 12]
CORRELATION_TABLE = 2
COST_TABLES = [3, 4, 5, 8, 9, 10, 11]
ARCHITECTURE_FIGURES = [2, 3, 4, 5]

# Searches in the large spaces; limits in million FLOPs
LARGE_SEARCHES = [
    {
        "space": space,
        "dataset": dataset,
        "categories": classes(config, dataset),
        "seed": seed,
        "limit": "none" if limit is None else limit,
        "labels": PAPER["large_methods"][method]["labels"],
        "search": PAPER["large_methods"][method]["indicator"],
    }
    for space, searches in config["large_spaces"].items()
    for dataset, search in searches.items()
    for seed in search["seeds"]
    for limit in search["limits"]
    for method in search["methods"]
]


def asked_architectures(space, retraining):
    """The architectures of a space in a section of the configuration."""
    random = [
        f"random-{draw}-{limit}" for limit in retraining["random"] for draw in range(retraining["draws"])
    ]
    found = found_architectures(config, space) if retraining["found"] else []
    return retraining["published"] + random + found


RETRAININGS = [
    {"space": space, "dataset": dataset, "architecture": architecture, "seed": seed}
    for space, datasets in config["retraining"].items()
    for dataset, retraining in datasets.items()
    for architecture in asked_architectures(space, retraining)
    for seed in retraining["seeds"]
]
# Of these, the networks that are ranked, where random draws make a sample of the space. Scaling doesn't make another architecture.
RANKED_NETWORKS = {
    (space, dataset): [
        name for name in asked_architectures(space, retraining) if not name.endswith("-scaled")
    ]
    for space in config["large_spaces"]
    for dataset, retraining in config["retraining"][space].items()
    if retraining["draws"] > 1
    and retraining["random"]
    and retraining["seeds"]
    and dataset in config["large_spaces"][space]
}
NETWORKS = [f"{RESULTS}/retrained/{RETRAINED}/accuracy.csv".format(**run) for run in RETRAININGS]
MODELS = [
    MODEL.format(**run) for run in RETRAININGS if config["retraining"][run["space"]][run["dataset"]]["export"]
]
TRANSFERS = [
    {"space": space, "scenes": scenes, "architecture": architecture, "seed": seed}
    for scenes, transfer in config["transfer"].items()
    for space, names in transfer["architectures"].items()
    for architecture in names
    for seed in transfer["seeds"]
]

ALL_TABLES = [*ACCURACY_TABLES, CORRELATION_TABLE, *COST_TABLES]
HAS_FIGURE1 = bool(config["figure1"]["categories"] and config["figure1"]["seeds"])
TABLES = expand(
    f"{RESULTS}/tables/{{table}}.{{format}}",
    table=[f"table{number}" for number in ALL_TABLES],
    format=["csv", "md", "tex"],
) + expand(
    f"{RESULTS}/tables/{{table}}.{{format}}",
    table=["comparison", *(f"networks_{space}_{dataset}" for space, dataset in RANKED_NETWORKS)],
    format=["csv", "md"],
)
CHOSEN = [
    f"{RESULTS}/searches/{EXPERIMENT}/{{search}}/accuracy.csv".format(
        dataset=dataset,
        labels="uniform-once",
        categories=classes(config, dataset),
        seed=seed,
        search=config["indicator"],
    )
    for dataset in DATASETS
    for seed in config["seeds"]["uniform-once"]
]
FIGURES = expand(
    f"{RESULTS}/figures/{{figure}}.{{format}}",
    figure=[
        "methods",
        *(["figure1"] if HAS_FIGURE1 else []),
        *(["trajectory"] if any(config["seeds"][labels] for labels in METHODS) else []),
        *(["initialisations"] if config["seeds"]["untrained-normal"] else []),
        *(f"figure{number}" for number in ARCHITECTURE_FIGURES),
        *(f"scatter_{name}" for name in config["searches"] if config["seeds"]["uniform-once"]),
    ],
    format=["svg", "pdf", "png"],
)


def table_methods(number):
    """The methods of a table: the labels of their supernets, and the indicator that chooses architectures."""
    return PAPER[f"table{number}"]["methods"]


def table_searches(number):
    """The datasets of the benchmark in a table, each with the images of its search."""
    of = PAPER[f"table{number}"].get("images_of")
    images = config["searches"].get(of)
    return {name: dataset for name, dataset in config["searches"].items() if of is None or dataset == images}


IMAGES = searched_images(config["searches"], config["datasets"])


def numbered(kind):
    """The labels of the paper's tables or figures in the report, whose menu sorts numbers as text."""

    def labels(wildcards):
        return {kind: f"{int(wildcards.number):02}", "shows": PAPER[f"{kind}{wildcards.number}"]["shows"]}

    return labels


def method_seeds(labels, indicator):
    """The seeds of a method; methods that need validation accuracy may have fewer."""
    seeds = config["seeds"][labels]
    return (
        seeds if indicator == "angle" else [seed for seed in seeds if seed in config["validation"]["seeds"]]
    )


def is_possible(labels, dataset):
    """Whether images support a source of labels."""
    return labels != "colorization" or channels(config, dataset) == 3


def empty_cells(wildcards):
    """Why cells of a table are empty: columns without a search, rows without seeds or colours."""
    searches = table_searches(wildcards.number)
    notes = {
        f"{name}{part}": f"not measured: {LEFT_OUT.get(name, f'dataset {name} is not part of this run')}"
        for name in ("cifar10", "cifar100", "imagenet16")
        for part in ("", "_valid", "_test")
        if name not in config["searches"]
    }
    for row, method in table_methods(wildcards.number).items():
        labels = method["labels"]
        if not config["seeds"][labels]:
            notes[row] = f"not measured: seeds.{labels} is empty"
        elif not method_seeds(**method):
            notes[row] = f"not measured: validation.seeds has none of seeds.{labels}"
        elif not any(is_possible(labels, dataset) for dataset in searches.values()):
            notes[row] = f"not measured: {labels} needs colour images"
    return notes
