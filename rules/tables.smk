# The paper's tables, with measured numbers beside its own; rlnas_core/paper/paper.yaml describes each


# Costs of published architectures need no data and are in every run; accuracies need retraining.
rule tabulate_costs:
    input:
        unpack(cost_inputs),
        searches=large_searches("table", "best.csv", "optimum.csv"),
    output:
        csv=f"{RESULTS}/tables/table{{number}}.csv",
        md=f"{RESULTS}/tables/table{{number}}.md",
        tex=f"{RESULTS}/tables/table{{number}}.tex",
        html=report(
            f"{RESULTS}/tables/table{{number}}.html",
            caption="../report/costs.rst",
            category="Tables",
            labels=numbered("table"),
        ),
    params:
        sources={scenes: transfer["source"] for scenes, transfer in config["transfer"].items()},
    log:
        f"{RESULTS}/logs/tabulate/table{{number}}.log",
    benchmark:
        f"{RESULTS}/runtimes/tabulate/table{{number}}.tsv"
    threads: 1
    resources:
        **growing(mem_mb=1000, runtime=10),
    conda:
        "../envs/analysis.yaml"
    wildcard_constraints:
        number="|".join(map(str, COST_TABLES)),
    script:
        "../workflow_scripts/tabulate_costs.py"


rule tabulate_accuracies:
    input:
        searches=lambda wildcards: table_files(BEST, wildcards.number),
        accuracies=f"{RESULTS}/benchmark/accuracies.csv",
    output:
        csv=f"{RESULTS}/tables/table{{number}}.csv",
        md=f"{RESULTS}/tables/table{{number}}.md",
        tex=f"{RESULTS}/tables/table{{number}}.tex",
        html=report(
            f"{RESULTS}/tables/table{{number}}.html",
            caption="../report/accuracies.rst",
            category="Tables",
            labels=numbered("table"),
        ),
    params:
        searches=lambda wildcards: table_searches(wildcards.number),
        images=IMAGES,
        notes=empty_cells,
    log:
        f"{RESULTS}/logs/tabulate/table{{number}}.log",
    benchmark:
        f"{RESULTS}/runtimes/tabulate/table{{number}}.tsv"
    threads: 1
    resources:
        **growing(mem_mb=1000, runtime=10),
    conda:
        "../envs/analysis.yaml"
    wildcard_constraints:
        number="|".join(map(str, ACCURACY_TABLES)),
    script:
        "../workflow_scripts/tabulate_accuracies.py"


rule tabulate_correlations:
    input:
        results=lambda wildcards: table_files(CORRELATIONS, wildcards.number),
        baselines=f"{RESULTS}/ranking/baselines.csv",
    output:
        csv=f"{RESULTS}/tables/table{{number}}.csv",
        md=f"{RESULTS}/tables/table{{number}}.md",
        tex=f"{RESULTS}/tables/table{{number}}.tex",
        html=report(
            f"{RESULTS}/tables/table{{number}}.html",
            caption="../report/correlations.rst",
            category="Tables",
            labels=numbered("table"),
        ),
    params:
        searches=config["searches"],
        images=IMAGES,
        notes=empty_cells,
    log:
        f"{RESULTS}/logs/tabulate/table{{number}}.log",
    benchmark:
        f"{RESULTS}/runtimes/tabulate/table{{number}}.tsv"
    threads: 1
    resources:
        **growing(mem_mb=1000, runtime=10),
    conda:
        "../envs/analysis.yaml"
    wildcard_constraints:
        number=str(CORRELATION_TABLE),
    script:
        "../workflow_scripts/tabulate_correlations.py"


rule compare_with_authors:
    input:
        tables=expand(
            f"{RESULTS}/tables/table{{number}}.csv", number=sorted([*ACCURACY_TABLES, CORRELATION_TABLE])
        ),
    output:
        csv=f"{RESULTS}/tables/comparison.csv",
        md=f"{RESULTS}/tables/comparison.md",
    params:
        sources={name: config["datasets"][images]["source"] for name, images in config["searches"].items()},
    log:
        f"{RESULTS}/logs/tabulate/comparison.log",
    benchmark:
        f"{RESULTS}/runtimes/tabulate/comparison.tsv"
    threads: 1
    resources:
        **growing(mem_mb=1000, runtime=10),
    conda:
        "../envs/analysis.yaml"
    script:
        "../workflow_scripts/compare_with_authors.py"
