# Inputs of the rules of a model: supernets of several seeds, and the networks to compare
from rlnas_core.configuration.derived import model_limit

OWN = config["model"]
MODEL_SPACE, LABELLED = OWN["space"], OWN["labelled"] or OWN["images"]
FOUND_MODEL = f"{RESULTS}/model"
RETRAINED_SEEDS = config["retraining"][MODEL_SPACE][LABELLED]["seeds"]
# Only NAS-Bench-201 contains a cell of residual blocks; each seed has its own random architecture.
FIXED_CANDIDATES = ["found", "structure", *(["residual"] if MODEL_SPACE == "nas_bench_201" else [])]
CANDIDATES = [*FIXED_CANDIDATES, *(f"random-{seed}" for seed in RETRAINED_SEEDS)]
MODEL_SUPERNETS = {
    "space": MODEL_SPACE,
    "dataset": OWN["images"],
    "labels": "uniform-once",
    "categories": classes(config, OWN["images"]),
    "seed": OWN["seeds"],
}


def candidate_runs(datasets, names):
    """Trainings as lists of wildcards; a random architecture is trained with its own seed."""
    runs = [
        (MODEL_SPACE, dataset, name, seed)
        for dataset in datasets
        for seed in RETRAINED_SEEDS
        for name in [*names, f"random-{seed}"]
    ]
    return dict(
        zip(("space", "dataset", "architecture", "seed"), map(list, zip(*runs) if runs else [[]] * 4))
    )


CURVE_DATASETS = [*OWN["few"], LABELLED]
COMPARED = candidate_runs([LABELLED], FIXED_CANDIDATES)
CURVE = candidate_runs(CURVE_DATASETS, ["found", "structure"])
FOUND = {"space": MODEL_SPACE, "dataset": LABELLED, "architecture": "found", "seed": RETRAINED_SEEDS[0]}
# The jobs of this configuration before the summary, by the names of their runtimes
SEARCH_JOBS = [
    "choose_candidates",
    "export_found",
    *expand("prepare_dataset/{dataset}", dataset={OWN["images"], *CURVE_DATASETS}),
    *expand(f"draw_labels/{SUPERNET}/train".replace("{space}/", ""), **MODEL_SUPERNETS),
    *expand(f"train_supernet/{SUPERNET}", **MODEL_SUPERNETS),
]
if OWN["labelled"]:
    SEARCH_JOBS += ["compare_networks"]
    SEARCH_JOBS += expand("choose_architecture/{space}/{architecture}", zip, **COMPARED)
    SEARCH_JOBS += expand(f"retrain_architecture/{RETRAINED}", zip, **COMPARED)
    SEARCH_JOBS += expand(f"retrain_architecture/{RETRAINED}", zip, **CURVE)
else:
    SEARCH_JOBS += expand(["choose_architecture/{space}/found", f"initialise_network/{RETRAINED}"], **FOUND)
if OWN["few"]:
    SEARCH_JOBS += ["draw_label_curve"]
SEARCH_JOBS = sorted(set(SEARCH_JOBS))


def limit_settings(wildcards):
    """The limit of the network, with the sizes for which cost is counted."""
    return vars(model_limit(config))


def model_evolution(wildcards):
    """Settings of the evolution beside the exact optimum."""
    if MODEL_SPACE == "nas_bench_201":
        return config["evolution"]
    return config["large_spaces"][MODEL_SPACE][OWN["images"]]["evolution"]


def found_network(wildcards):
    """The network that becomes the model: that of the first seed, or untrained without labels."""
    kind = "retrained" if OWN["labelled"] else "untrained"
    inputs = {
        "weights": f"{RESULTS}/{kind}/{RETRAINED}/weights.safetensors".format(**FOUND),
        "description": f"{RESULTS}/data/{LABELLED}/dataset.json",
    }
    if OWN["labelled"]:
        inputs["accuracy"] = inputs["weights"].replace("weights.safetensors", "accuracy.csv")
    return inputs


def summary_inputs(wildcards):
    """Inputs of the summary besides the choice: the comparison with labels, and the curve if configured."""
    inputs = {"description": f"{RESULTS}/data/{OWN['images']}/dataset.json"}
    if OWN["labelled"]:
        inputs["comparison"] = f"{RESULTS}/choice/comparison.csv"
    if OWN["few"]:
        inputs["curve"] = f"{RESULTS}/figures/labels.csv"
        inputs["figure"] = f"{RESULTS}/figures/labels.svg"
    return inputs
