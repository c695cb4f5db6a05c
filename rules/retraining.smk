# From an architecture to the accuracy of its stand-alone network, and to a model for use elsewhere


# It takes a second, so it runs on the submitting machine and not as a job of a cluster.
rule choose_architecture:
    input:
        unpack(architecture_inputs),
    output:
        architecture=f"{RESULTS}/architectures/{{space}}/{{architecture}}.csv",
    log:
        f"{RESULTS}/logs/choose_architecture/{{space}}/{{architecture}}.log",
    benchmark:
        f"{RESULTS}/runtimes/choose_architecture/{{space}}/{{architecture}}.tsv"
    threads: 1
    resources:
        **growing(mem_mb=1000, runtime=10),
    conda:
        "../envs/analysis.yaml"
    localrule: True
    script:
        "../workflow_scripts/choose_architecture.py"


rule retrain_architecture:
    input:
        architecture=f"{RESULTS}/architectures/{{space}}/{{architecture}}.csv",
        train_images=f"{RESULTS}/data/{{dataset}}/train_images.npy",
        train_labels=f"{RESULTS}/data/{{dataset}}/train_labels.npy",
        valid_images=f"{RESULTS}/data/{{dataset}}/valid_images.npy",
        valid_labels=f"{RESULTS}/data/{{dataset}}/valid_labels.npy",
        description=f"{RESULTS}/data/{{dataset}}/dataset.json",
    output:
        accuracy=f"{RESULTS}/retrained/{RETRAINED}/accuracy.csv",
        weights=f"{RESULTS}/retrained/{RETRAINED}/weights.safetensors",
        training=report(
            f"{RESULTS}/retrained/{RETRAINED}/training.csv",
            caption="../report/retraining.rst",
            category="Retraining",
            labels=report_labels,
        ),
    params:
        settings=retraining_settings,
        classes=dataset_classes,
    log:
        f"{RESULTS}/logs/retrain_architecture/{RETRAINED}.log",
    benchmark:
        f"{RESULTS}/runtimes/retrain_architecture/{RETRAINED}.tsv"
    threads: config["jobs"]["retraining"]["threads"]
    resources:
        **job_resources("retraining"),
    conda:
        "../envs/rlnas.yaml"
    script:
        "../workflow_scripts/retrain_architecture.py"


rule export_model:
    input:
        weights=f"{RESULTS}/retrained/{RETRAINED}/weights.safetensors",
        accuracy=f"{RESULTS}/retrained/{RETRAINED}/accuracy.csv",
        description=f"{RESULTS}/data/{{dataset}}/dataset.json",
    output:
        model=directory(MODEL),
    log:
        f"{RESULTS}/logs/export_model/{RETRAINED}.log",
    benchmark:
        f"{RESULTS}/runtimes/export_model/{RETRAINED}.tsv"
    threads: 1
    resources:
        **growing(mem_mb=4000, runtime=20),
    conda:
        "../envs/rlnas.yaml"
    script:
        "../workflow_scripts/export_model.py"
