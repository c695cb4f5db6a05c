# Supernets: trained with one source of labels, or untrained to measure the bias of the angle


rule train_supernet:
    input:
        images=f"{RESULTS}/data/{{dataset}}/train_images.npy",
        description=f"{RESULTS}/data/{{dataset}}/dataset.json",
        labels=label_file("train"),
    output:
        statistics=f"{RESULTS}/supernets/{SUPERNET}/statistics.npz",
        weights=f"{RESULTS}/supernets/{SUPERNET}/weights.safetensors",
        training=report(
            f"{RESULTS}/supernets/{SUPERNET}/training.csv",
            caption="../report/training.rst",
            category="Supernets",
            labels=report_labels,
        ),
    params:
        settings=supernet_settings,
    log:
        f"{RESULTS}/logs/train_supernet/{SUPERNET}.log",
    benchmark:
        f"{RESULTS}/runtimes/train_supernet/{SUPERNET}.tsv"
    threads: job_setting(supernet_job, "threads")
    resources:
        **job_resources(supernet_job),
    conda:
        "../envs/rlnas.yaml"
    wildcard_constraints:
        labels="|".join([*METHODS, *PRETEXT_TASKS]),
    script:
        "../workflow_scripts/train_supernet.py"


rule initialise_supernets:
    input:
        description=f"{RESULTS}/data/{{dataset}}/dataset.json",
    output:
        statistics=f"{RESULTS}/supernets/nas_bench_201/{{dataset}}/untrained-{{initialisation}}/{{categories}}/{{seed}}/statistics.npz",
    params:
        settings=untrained_settings("nas_bench_201", config["supernet"]),
    log:
        f"{RESULTS}/logs/initialise_supernets/{{dataset}}/{{initialisation}}/{{categories}}/{{seed}}.log",
    benchmark:
        f"{RESULTS}/runtimes/initialise_supernets/{{dataset}}/{{initialisation}}/{{categories}}/{{seed}}.tsv"
    threads: 1
    resources:
        **growing(mem_mb=2000, runtime=10),
    conda:
        "../envs/rlnas.yaml"
    script:
        "../workflow_scripts/initialise_supernets.py"
