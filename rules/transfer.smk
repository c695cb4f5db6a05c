# Detection on COCO and segmentation of Cityscapes, with an architecture's retrained network as backbone


rule make_miniature:
    output:
        folder=directory(f"{RESULTS}/data/miniature-{{scenes}}"),
    log:
        f"{RESULTS}/logs/make_miniature/{{scenes}}.log",
    benchmark:
        f"{RESULTS}/runtimes/make_miniature/{{scenes}}.tsv"
    threads: 1
    resources:
        **growing(mem_mb=1000, runtime=10),
    conda:
        "../envs/rlnas.yaml"
    script:
        "../workflow_scripts/make_miniature.py"


rule transfer_architecture:
    input:
        unpack(transfer_inputs),
        architecture=f"{RESULTS}/architectures/{{space}}/{{architecture}}.csv",
    output:
        measures=f"{RESULTS}/transferred/{TRANSFERRED}/measures.csv",
        weights=f"{RESULTS}/transferred/{TRANSFERRED}/weights.safetensors",
        training=report(
            f"{RESULTS}/transferred/{TRANSFERRED}/training.csv",
            caption="../report/transfer.rst",
            category="Transfer",
            labels=report_labels,
        ),
    params:
        settings=transfer_settings,
        network=transfer_backbone,
    log:
        f"{RESULTS}/logs/transfer_architecture/{TRANSFERRED}.log",
    benchmark:
        f"{RESULTS}/runtimes/transfer_architecture/{TRANSFERRED}.tsv"
    threads: config["jobs"]["transfer"]["threads"]
    resources:
        **job_resources("transfer"),
    conda:
        "../envs/rlnas.yaml"
    script:
        "../workflow_scripts/transfer_architecture.py"
