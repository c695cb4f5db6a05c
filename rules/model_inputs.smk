# Inputs of the rules of a model: supernets of several seeds, and the networks to compare
from rlnas_core.configuration.derived import model_limit

OWN = config["model"]
MODEL_SPACE, LABELLED = OWN["space"], OWN["labelled"] or OWN["images"]
FOUND_MODEL = f"{RESULTS}/model"
RETRAINED_SEEDS = config["retraining"][MODEL_SPACE][LABELLED]["seeds"]
# Only NAS-Bench-201 contains a cell of residual blocks; each seed has its own random architecture.
FIXED_CANDIDATES = ["found", "structure", *(["residual"] if MODEL_SPACE == "nas_bench_201" else [])]
CANDIDATES = [*FIXED_CANDIDATES, *(f"random-{seed}" for seed in RETRAINED_SEEDS)]


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


def model_statistics(wildcards):
    """Statistics of the supernets from which the model is chosen."""
    of = {"space": MODEL_SPACE, "dataset": OWN["images"], "categories": classes(config, OWN["images"])}
    statistics = f"{RESULTS}/supernets/{SUPERNET}/statistics.npz"
    return [statistics.format(labels="uniform-once", seed=seed, **of) for seed in OWN["seeds"]]


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
    of = {"space": MODEL_SPACE, "dataset": LABELLED, "architecture": "found"}
    kind = "retrained" if OWN["labelled"] else "untrained"
    inputs = {
        "weights": f"{RESULTS}/{kind}/{RETRAINED}/weights.safetensors".format(seed=RETRAINED_SEEDS[0], **of),
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
