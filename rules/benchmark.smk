# The benchmark: its accuracies, their look-up for searches, and rank correlations of scores


rule extract_benchmark:
    input:
        source=benchmark_source,
    output:
        accuracies=f"{RESULTS}/benchmark/accuracies.csv",
        difference=f"{RESULTS}/benchmark/difference.csv",
    params:
        source=config["benchmark"]["source"],
        checksum=config["benchmark"]["checksum"],
        # The included table and the benchmark's own files have all datasets; a user's table is searched again for a new one.
        searches=list(config["searches"]) if config["benchmark"]["source"] == "csv" else None,
    log:
        f"{RESULTS}/logs/extract_benchmark.log",
    benchmark:
        f"{RESULTS}/runtimes/extract_benchmark.tsv"
    threads: config["jobs"]["benchmark"]["threads"]
    resources:
        **(job_resources("benchmark") | growing(mem_mb=benchmark_memory)),
    conda:
        "../envs/rlnas.yaml"
    priority: 100
    script:
        "../workflow_scripts/extract_benchmark.py"


rule look_up_accuracy:
    input:
        best=f"{RESULTS}/searches/{EXPERIMENT}/{{search}}/best.csv",
        tied=f"{RESULTS}/searches/{EXPERIMENT}/{{search}}/tied.csv",
        accuracies=f"{RESULTS}/benchmark/accuracies.csv",
    output:
        accuracy=f"{RESULTS}/searches/{EXPERIMENT}/{{search}}/accuracy.csv",
    log:
        f"{RESULTS}/logs/look_up_accuracy/{EXPERIMENT}/{{search}}.log",
    benchmark:
        f"{RESULTS}/runtimes/look_up_accuracy/{EXPERIMENT}/{{search}}.tsv"
    threads: 1
    resources:
        **growing(mem_mb=1000, runtime=10),
    conda:
        "../envs/analysis.yaml"
    script:
        "../workflow_scripts/look_up_accuracy.py"


rule correlate_scores:
    input:
        scores=f"{RESULTS}/scores/{EXPERIMENT}/{{indicator}}.csv",
        accuracies=f"{RESULTS}/benchmark/accuracies.csv",
    output:
        correlations=f"{RESULTS}/ranking/{EXPERIMENT}/{{indicator}}.csv",
    params:
        columns=test_columns,
        settings=config["ranking"],
    log:
        f"{RESULTS}/logs/correlate_scores/{EXPERIMENT}/{{indicator}}.log",
    benchmark:
        f"{RESULTS}/runtimes/correlate_scores/{EXPERIMENT}/{{indicator}}.tsv"
    threads: 1
    resources:
        **growing(mem_mb=1000, runtime=30),
    conda:
        "../envs/analysis.yaml"
    script:
        "../workflow_scripts/correlate_scores.py"


rule rank_by_cost:
    input:
        accuracies=f"{RESULTS}/benchmark/accuracies.csv",
    output:
        correlations=f"{RESULTS}/ranking/baselines.csv",
    params:
        columns=[f"{name}_test" for name in config["searches"]],
        settings=config["ranking"],
    log:
        f"{RESULTS}/logs/rank_by_cost.log",
    benchmark:
        f"{RESULTS}/runtimes/rank_by_cost.tsv"
    threads: 1
    resources:
        **growing(mem_mb=1000, runtime=30),
    conda:
        "../envs/analysis.yaml"
    script:
        "../workflow_scripts/rank_by_cost.py"
