# What the rules of a model read: supernets of several seeds, the networks that are compared
from rlnas_core.configuration.derived import model_limit

OWN = config["model"]
MODEL_SPACE, LABELLED = OWN["space"], OWN["labelled"] or OWN["images"]
FOUND_MODEL = f"{RESULTS}/model"
RETRAINED_SEEDS = config["retraining"][MODEL_SPACE][LABELLED]["seeds"]
# A cell of residual blocks is in NAS-Bench-201 alone; each seed has a random architecture of its own.
FIXED_CANDIDATES = ["found", "structure", *(["residual"] if MODEL_SPACE == "nas_bench_201" else [])]
CANDIDATES = [*FIXED_CANDIDATES, *(f"random-{seed}" for seed in RETRAINED_SEEDS)]


def candidate_runs(datasets, names):
    """Trainings as wildcards of their files, a list each; a random architecture is trained with its own seed."""
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
    """Statistics of the supernets that a model is chosen by."""
    of = {"space": MODEL_SPACE, "dataset": OWN["images"], "categories": classes(config, OWN["images"])}
    statistics = f"{RESULTS}/supernets/{SUPERNET}/statistics.npz"
    return [statistics.format(labels="uniform-once", seed=seed, **of) for seed in OWN["seeds"]]


def limit_settings(wildcards):
    """The limit of a network and the sizes that it is counted for."""
    return vars(model_limit(config))


def model_evolution(wildcards):
    """Settings of the evolution beside the exact optimum."""
    if MODEL_SPACE == "nas_bench_201":
        return config["evolution"]
    return config["large_spaces"][MODEL_SPACE][OWN["images"]]["evolution"]


def found_network(wildcards):
    """The network that becomes the model: of the first seed, or untrained where there are no labels."""
    of = {"space": MODEL_SPACE, "dataset": LABELLED, "architecture": "found"}
    kind = "retrained" if OWN["labelled"] else "untrained"
    inputs = {
        "architecture": f"{RESULTS}/architectures/{MODEL_SPACE}/found.csv",
        "weights": f"{RESULTS}/{kind}/{RETRAINED}/weights.safetensors".format(seed=RETRAINED_SEEDS[0], **of),
        "description": f"{RESULTS}/data/{LABELLED}/dataset.json",
    }
    if OWN["labelled"]:
        inputs["accuracy"] = inputs["weights"].replace("weights.safetensors", "accuracy.csv")
    return inputs


def summary_inputs(wildcards):
    """What a summary shows besides the choice: the comparison where there are labels, the curve if it was asked for."""
    inputs = {"description": f"{RESULTS}/data/{OWN['images']}/dataset.json"}
    if OWN["labelled"]:
        inputs["comparison"] = f"{RESULTS}/choice/comparison.csv"
    if OWN["few"]:
        inputs["curve"] = f"{RESULTS}/figures/labels.csv"
        inputs["figure"] = f"{RESULTS}/figures/labels.svg"
    return inputs
