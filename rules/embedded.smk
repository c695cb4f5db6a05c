# The benchmark of the demo: every distinct cell trained on digits, once; later runs in the same folder share it


rule train_embedded_benchmark:
    output:
        table=EMBEDDED_BENCHMARK,
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
