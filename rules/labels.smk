# Labels that stay the same for the whole training: true ones, uniform once, shuffle once


rule draw_labels:
    input:
        train=f"{RESULTS}/data/{{dataset}}/train_labels.npy",
        valid=f"{RESULTS}/data/{{dataset}}/valid_labels.npy",
    output:
        train=f"{RESULTS}/labels/{{dataset}}/{{labels}}/{{categories}}/{{seed}}/train.npy",
        valid=f"{RESULTS}/labels/{{dataset}}/{{labels}}/{{categories}}/{{seed}}/valid.npy",
    log:
        f"{RESULTS}/logs/draw_labels/{{dataset}}/{{labels}}/{{categories}}/{{seed}}.log",
    benchmark:
        f"{RESULTS}/runtimes/draw_labels/{{dataset}}/{{labels}}/{{categories}}/{{seed}}.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    conda:
        "../envs/analysis.yaml"
    wildcard_constraints:
        labels="|".join(FIXED_METHODS),
    script:
        "../workflow_scripts/draw_labels.py"
