# Images, decoded once into memory-mapped arrays


rule prepare_dataset:
    input:
        source=dataset_files,
    output:
        train_images=f"{RESULTS}/data/{{dataset}}/train_images.npy",
        train_labels=f"{RESULTS}/data/{{dataset}}/train_labels.npy",
        valid_images=f"{RESULTS}/data/{{dataset}}/valid_images.npy",
        valid_labels=f"{RESULTS}/data/{{dataset}}/valid_labels.npy",
        description=f"{RESULTS}/data/{{dataset}}/dataset.json",
    params:
        settings=dataset_settings,
        downloads="resources/downloads",
    log:
        f"{RESULTS}/logs/prepare_dataset/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/runtimes/prepare_dataset/{{dataset}}.tsv"
    threads: config["jobs"]["data"]["threads"]
    resources:
        **job_resources("data"),
    conda:
        "../envs/rlnas.yaml"
    priority: 100
    script:
        "../workflow_scripts/prepare_dataset.py"
