# From a supernet to scores of the whole space, and from scores to one architecture


rule score_angle:
    input:
        statistics=f"{RESULTS}/supernets/{EXPERIMENT}/statistics.npz",
    output:
        scores=f"{RESULTS}/scores/{EXPERIMENT}/angle.csv",
    params:
        pooling=config["angle"]["pooling"],
    log:
        f"{RESULTS}/logs/score_angle/{EXPERIMENT}.log",
    benchmark:
        f"{RESULTS}/runtimes/score_angle/{EXPERIMENT}.tsv"
    threads: 1
    resources:
        **growing(mem_mb=2000, runtime=10),
    conda:
        "../envs/rlnas.yaml"
    script:
        "../workflow_scripts/score_angle.py"


# True labels are read only if the configuration or the method needs them.
rule score_validation_accuracy:
    input:
        weights=f"{RESULTS}/supernets/{EXPERIMENT}/weights.safetensors",
        train_images=f"{RESULTS}/data/{{dataset}}/train_images.npy",
        valid_images=f"{RESULTS}/data/{{dataset}}/valid_images.npy",
        description=f"{RESULTS}/data/{{dataset}}/dataset.json",
        labels=validation_labels,
    output:
        scores=f"{RESULTS}/scores/{EXPERIMENT}/validation-accuracy.csv",
    params:
        supernet=config["supernet"],
        labels=validation_method,
        settings=validation_settings,
    log:
        f"{RESULTS}/logs/score_validation_accuracy/{EXPERIMENT}.log",
    benchmark:
        f"{RESULTS}/runtimes/score_validation_accuracy/{EXPERIMENT}.tsv"
    threads: config["jobs"]["validation"]["threads"]
    resources:
        **job_resources("validation"),
    conda:
        "../envs/rlnas.yaml"
    script:
        "../workflow_scripts/score_validation_accuracy.py"


# Random search is the first generation of evolution.
rule evolve_architecture:
    input:
        scores=searched_scores,
    output:
        trace=f"{RESULTS}/searches/{EXPERIMENT}/{{search}}/trace.csv",
        best=f"{RESULTS}/searches/{EXPERIMENT}/{{search}}/best.csv",
        tied=f"{RESULTS}/searches/{EXPERIMENT}/{{search}}/tied.csv",
        optimum=f"{RESULTS}/searches/{EXPERIMENT}/{{search}}/optimum.csv",
    params:
        settings=evolution_settings,
    log:
        f"{RESULTS}/logs/evolve_architecture/{EXPERIMENT}/{{search}}.log",
    benchmark:
        f"{RESULTS}/runtimes/evolve_architecture/{EXPERIMENT}/{{search}}.tsv"
    threads: 1
    resources:
        **growing(mem_mb=1000, runtime=10),
    conda:
        "../envs/analysis.yaml"
    script:
        "../workflow_scripts/evolve_architecture.py"


# The large spaces are not enumerated: statistics score the architectures of evolution, and bound all others.
rule search_large_space:
    input:
        statistics=f"{RESULTS}/supernets/{SUPERNET}/statistics.npz",
    output:
        best=report(
            f"{RESULTS}/searches/{LARGE}/best.csv",
            caption="../report/search.rst",
            category="Large spaces",
            labels=report_labels,
        ),
        trace=f"{RESULTS}/searches/{LARGE}/trace.csv",
        structure=f"{RESULTS}/searches/{LARGE}/structure.csv",
        tied=f"{RESULTS}/searches/{LARGE}/tied.csv",
        optimum=f"{RESULTS}/searches/{LARGE}/optimum.csv",
    params:
        paths=lambda wildcards: search_settings(wildcards)["paths"],
        evolution=evolution_settings,
        pooling=config["angle"]["pooling"],
        ties=config["ranking"]["ties"],
    log:
        f"{RESULTS}/logs/search_large_space/{LARGE}.log",
    benchmark:
        f"{RESULTS}/runtimes/search_large_space/{LARGE}.tsv"
    threads: 1
    resources:
        **growing(mem_mb=4000, runtime=30),
    conda:
        "../envs/rlnas.yaml"
    wildcard_constraints:
        space="darts|mobilenet",
        search="angle",
    script:
        "../workflow_scripts/search_large_space.py"


rule search_by_accuracy:
    input:
        weights=f"{RESULTS}/supernets/{SUPERNET}/weights.safetensors",
        train_images=f"{RESULTS}/data/{{dataset}}/train_images.npy",
        valid_images=f"{RESULTS}/data/{{dataset}}/valid_images.npy",
        description=f"{RESULTS}/data/{{dataset}}/dataset.json",
        labels=validation_labels,
    output:
        best=f"{RESULTS}/searches/{LARGE}/best.csv",
        trace=f"{RESULTS}/searches/{LARGE}/trace.csv",
        tied=f"{RESULTS}/searches/{LARGE}/tied.csv",
    params:
        supernet=supernet_settings,
        labels=validation_method,
        settings=validation_settings,
        evolution=evolution_settings,
    log:
        f"{RESULTS}/logs/search_by_accuracy/{LARGE}.log",
    benchmark:
        f"{RESULTS}/runtimes/search_by_accuracy/{LARGE}.tsv"
    threads: config["jobs"]["validation"]["threads"]
    resources:
        **job_resources("validation"),
    conda:
        "../envs/rlnas.yaml"
    wildcard_constraints:
        space="darts|mobilenet",
        search="validation-accuracy|random-search",
    script:
        "../workflow_scripts/search_by_accuracy.py"
