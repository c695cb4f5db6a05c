# The table that ships with the workflow, made anew by: snakemake --configfile config/demo.yaml embedded_benchmark


rule train_embedded_benchmark:
    output:
        table="resources/embedded/embedded_benchmark.csv",
        record="resources/embedded/embedded_benchmark.json",
    log:
        "resources/embedded/logs/train_embedded_benchmark.log",
    benchmark:
        "resources/embedded/train_embedded_benchmark.tsv"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=120,
    conda:
        "../envs/rlnas.yaml"
    script:
        "../workflow_scripts/train_embedded_benchmark.py"


rule embedded_benchmark:
    input:
        rules.train_embedded_benchmark.output,
    localrule: True
