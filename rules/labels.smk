# Labels that stay fixed during training: true labels, uniform once, shuffle once


rule draw_labels:
    input:
        unpack(drawing_inputs),
    output:
        labels=f"{RESULTS}/labels/{{dataset}}/{{labels}}/{{categories}}/{{seed}}/{{split}}.npy",
    log:
        f"{RESULTS}/logs/draw_labels/{{dataset}}/{{labels}}/{{categories}}/{{seed}}/{{split}}.log",
    benchmark:
        f"{RESULTS}/runtimes/draw_labels/{{dataset}}/{{labels}}/{{categories}}/{{seed}}/{{split}}.tsv"
    threads: 1
    resources:
        **growing(mem_mb=1000, runtime=10),
    conda:
        "../envs/analysis.yaml"
    wildcard_constraints:
        labels="|".join(FIXED_METHODS),
    script:
        "../workflow_scripts/draw_labels.py"
