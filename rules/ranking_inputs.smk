# Inputs of rankings: scores of a space or a sample of it, and their runtimes
from rlnas_core.spaces import get


def untrained_settings(space, settings):
    """Of the settings of a training, those that jobs without one use; a change of others doesn't repeat them."""
    return get(space).network_sizes(settings) | {"device": settings["device"]}


def rank_sum_parts(wildcards):
    """The scores whose ranks are added."""
    return RANK_SUMS[wildcards.rank_sum]


def rank_sum_has_logarithms(wildcards):
    """Whether logarithms of the ranks are added."""
    return wildcards.rank_sum in PAPER["rankings"]["rank_sums"]


def rank_sum_scores(wildcards):
    """Files of the scores whose ranks are added."""
    return [f"{RESULTS}/scores/{EXPERIMENT}/{part}.csv" for part in rank_sum_parts(wildcards)]


def rankings(dataset):
    """The rankings of the space on an image dataset: labels, indicator and seeds of each."""
    asked, proxies, sums = config["proxies"], PAPER["rankings"]["proxies"], PAPER["rankings"]["rank_sums"]
    methods = [
        method
        for number in (2, 12)
        if dataset in table_searches(number).values()
        for method in PAPER[f"table{number}"]["methods"].values()
    ]
    methods.sort(key=lambda of: of != PAPER["table2"]["methods"]["D"])  # the paper's method comes first
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
    """The jobs that a ranking needs, by the names of their runtimes."""
    experiment = EXPERIMENT.format(**run)
    if parts := RANK_SUMS.get(indicator):
        return list(dict.fromkeys(job for part in parts for job in ranking_jobs(labels, part, run)))
    if indicator in PAPER["rankings"]["proxies"]:
        return [f"score_proxy/{experiment}/{indicator}"]
    scored = f"score_{indicator.replace('-', '_')}/{experiment}"
    return [scored, f"train_supernet/{experiment}"] if labels in [*METHODS, *PRETEXT_TASKS] else [scored]


def ranking_run(labels, indicator, dataset, seed):
    """A ranking: its experiment and jobs, and whether it is `followed`, ranked at earlier epochs too."""
    run = {
        "dataset": dataset,
        "labels": labels,
        "categories": PRETEXT_TASKS.get(labels) or classes(config, dataset),
        "seed": seed,
        "indicator": indicator,
    }
    followed = indicator == "angle" and labels == "uniform-once"
    return run | {"jobs": ranking_jobs(labels, indicator, run), "followed": followed}


RANKINGS = [
    ranking_run(labels, indicator, dataset, seed)
    for dataset in DATASETS
    for labels, indicator, seeds in rankings(dataset)
    for seed in seeds
]
RANKING_JOBS = sorted({job for run in RANKINGS for job in run["jobs"]})
# The results of a run from its rankings of the whole space
RANKED = [
    f"{RESULTS}/{file}"
    for file in (
        "explore.html",
        *(f"tables/rankings.{kind}" for kind in ("csv", "md", "tex")),
        *(f"figures/rankings.{kind}" for kind in ("svg", "pdf", "png")),
    )
    if RANKINGS
]


def ranking_inputs(wildcards):
    """Files of all rankings of the space, in the order of `RANKINGS`."""
    scores = f"{RESULTS}/scores/{EXPERIMENT}/{{indicator}}.csv"
    statistics = f"{RESULTS}/supernets/{EXPERIMENT}/statistics.npz"
    return {
        "scores": [scores.format(**run) for run in RANKINGS],
        "statistics": [statistics.format(**run) for run in RANKINGS if run["followed"]],
    }


def network_settings(wildcards):
    """Settings of the untrained stand-alone networks of a space."""
    return untrained_settings(wildcards.space, retraining_settings(wildcards))


def ranked_architectures(wildcards):
    """The architectures of a large space whose networks are trained and ranked."""
    names = RANKED_NETWORKS[wildcards.space, wildcards.dataset]
    return [f"{RESULTS}/architectures/{wildcards.space}/{name}.csv" for name in names]


def random_labels(wildcards):
    """Random labels of an image dataset at its true number of classes."""
    categories = classes(config, wildcards.dataset)
    return f"{RESULTS}/labels/{{dataset}}/uniform-once/{categories}/{{seed}}/train.npy"


def network_inputs(wildcards):
    """Files of all rankings of a large space's networks, and of their accuracies."""
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
