# How well scores of the whole space rank it: Kendall's tau against the benchmark


rule correlate_scores:
    input:
        scores=f"{RESULTS}/scores/{EXPERIMENT}/{{indicator}}.csv",
        accuracies=f"{RESULTS}/benchmark/accuracies.csv",
    output:
        correlations=f"{RESULTS}/ranking/{EXPERIMENT}/{{indicator}}.csv",
    params:
        columns=columns_of,
        resamples=config["ranking"]["resamples"],
    log:
        f"{RESULTS}/logs/correlate_scores/{EXPERIMENT}/{{indicator}}.log",
    benchmark:
        f"{RESULTS}/runtimes/correlate_scores/{EXPERIMENT}/{{indicator}}.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
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
        resamples=config["ranking"]["resamples"],
    log:
        f"{RESULTS}/logs/rank_by_cost.log",
    benchmark:
        f"{RESULTS}/runtimes/rank_by_cost.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    conda:
        "../envs/analysis.yaml"
    script:
        "../workflow_scripts/rank_by_cost.py"


rule follow_training:
    input:
        statistics=f"{RESULTS}/supernets/{EXPERIMENT}/statistics.npz",
        accuracies=f"{RESULTS}/benchmark/accuracies.csv",
    output:
        trajectory=f"{RESULTS}/ranking/{EXPERIMENT}/trajectory.csv",
    params:
        columns=columns_of,
        pooling=config["angle"]["pooling"],
    log:
        f"{RESULTS}/logs/follow_training/{EXPERIMENT}.log",
    benchmark:
        f"{RESULTS}/runtimes/follow_training/{EXPERIMENT}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    conda:
        "../envs/rlnas.yaml"
    script:
        "../workflow_scripts/follow_training.py"
