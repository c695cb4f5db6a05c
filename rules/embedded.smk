# How the benchmark of the demo, resources/embedded_benchmark.csv, was made: on request, nothing depends on it


rule train_embedded_benchmark:
    output:
        table="resources/remade/embedded_benchmark.csv",
        record="resources/remade/embedded_benchmark.json",
    params:
        state="resources/remade/states/embedded_benchmark.safetensors",
    log:
        "resources/remade/logs/train_embedded_benchmark.log",
    benchmark:
        "resources/remade/train_embedded_benchmark.tsv"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=120,
    conda:
        "../envs/rlnas.yaml"
    script:
        "../workflow_scripts/train_embedded_benchmark.py"
