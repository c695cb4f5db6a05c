# The benchmark's accuracies: extracted once into one table, then looked up


rule extract_benchmark:
    input:
        source=benchmark_source,
    output:
        accuracies=f"{RESULTS}/benchmark/accuracies.csv",
    params:
        source=config["benchmark"]["source"],
        checksum=config["benchmark"]["checksum"],
    log:
        f"{RESULTS}/logs/extract_benchmark.log",
    benchmark:
        f"{RESULTS}/runtimes/extract_benchmark.tsv"
    threads: config["jobs"]["benchmark"]["threads"]
    resources:
        mem_mb=job_resource("benchmark", "mem_mb"),
        runtime=job_resource("benchmark", "runtime"),
    conda:
        "../envs/rlnas.yaml"
    priority: 100
    script:
        "../workflow_scripts/extract_benchmark.py"


rule look_up_accuracy:
    input:
        best=f"{RESULTS}/searches/{EXPERIMENT}/{{search}}/best.csv",
        accuracies=f"{RESULTS}/benchmark/accuracies.csv",
    output:
        accuracy=f"{RESULTS}/searches/{EXPERIMENT}/{{search}}/accuracy.csv",
    log:
        f"{RESULTS}/logs/look_up_accuracy/{EXPERIMENT}/{{search}}.log",
    benchmark:
        f"{RESULTS}/runtimes/look_up_accuracy/{EXPERIMENT}/{{search}}.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    conda:
        "../envs/analysis.yaml"
    script:
        "../workflow_scripts/look_up_accuracy.py"
