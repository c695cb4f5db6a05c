# The paper's tables, its numbers beside the measured ones


# Parameters and multiply-accumulates of published architectures need no data and stand in every run; accuracies where retrained.
rule tabulate_costs:
    input:
        searches=found(of_table),
        architectures=retrained(f"{RESULTS}/architectures/{{space}}/{{architecture}}.csv"),
        accuracies=retrained(f"{RESULTS}/retrained/{RETRAINED}/accuracy.csv"),
        measures=transferred(f"{RESULTS}/transferred/{TRANSFERRED}/measures.csv"),
    output:
        csv=f"{RESULTS}/tables/table{{number}}.csv",
        md=f"{RESULTS}/tables/table{{number}}.md",
        tex=f"{RESULTS}/tables/table{{number}}.tex",
        html=report(
            f"{RESULTS}/tables/table{{number}}.html",
            caption="../report/costs.rst",
            category="Tables",
            labels={"table": "{number}", "shows": "cost and accuracy of architectures"},
        ),
    params:
        table=lambda wildcards: COST_TABLES[int(wildcards.number)],
        sources={scenes: transfer["source"] for scenes, transfer in config["transfer"].items()},
    log:
        f"{RESULTS}/logs/tabulate/table{{number}}.log",
    benchmark:
        f"{RESULTS}/runtimes/tabulate/table{{number}}.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    conda:
        "../envs/analysis.yaml"
    wildcard_constraints:
        number="|".join(map(str, COST_TABLES)),
    script:
        "../workflow_scripts/tabulate_costs.py"


rule tabulate_search_performance:
    input:
        results=of_methods(f"{RESULTS}/searches/{EXPERIMENT}/{{search}}/accuracy.csv", METHODS),
        accuracies=f"{RESULTS}/benchmark/accuracies.csv",
    output:
        csv=f"{RESULTS}/tables/table1.csv",
        md=f"{RESULTS}/tables/table1.md",
        tex=f"{RESULTS}/tables/table1.tex",
        html=report(
            f"{RESULTS}/tables/table1.html",
            caption="../report/table1.rst",
            category="Tables",
            labels={"table": "1", "shows": "accuracy of the architectures found"},
        ),
    params:
        number=1,
        methods=METHODS,
        searches=config["searches"],
        parts=["valid", "test"],
        notes=reasons(METHODS),
    log:
        f"{RESULTS}/logs/tabulate/table1.log",
    benchmark:
        f"{RESULTS}/runtimes/tabulate/table1.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    conda:
        "../envs/analysis.yaml"
    script:
        "../workflow_scripts/tabulate_accuracies.py"


rule tabulate_rank_correlation:
    input:
        results=of_methods(f"{RESULTS}/ranking/{EXPERIMENT}/{{indicator}}.csv", RANKED_METHODS),
        baselines=f"{RESULTS}/ranking/baselines.csv",
        accuracies=f"{RESULTS}/benchmark/accuracies.csv",
    output:
        csv=f"{RESULTS}/tables/table2.csv",
        md=f"{RESULTS}/tables/table2.md",
        tex=f"{RESULTS}/tables/table2.tex",
        html=report(
            f"{RESULTS}/tables/table2.html",
            caption="../report/table2.rst",
            category="Tables",
            labels={"table": "2", "shows": "Kendall's tau over the whole space"},
        ),
    params:
        methods=RANKED_METHODS,
        searches=config["searches"],
        indicator_rows=["B", "D"],
        notes=reasons(RANKED_METHODS),
    log:
        f"{RESULTS}/logs/tabulate/table2.log",
    benchmark:
        f"{RESULTS}/runtimes/tabulate/table2.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    conda:
        "../envs/analysis.yaml"
    script:
        "../workflow_scripts/tabulate_correlations.py"


use rule tabulate_search_performance as tabulate_label_methods with:
    input:
        results=of_methods(f"{RESULTS}/searches/{EXPERIMENT}/{{search}}/accuracy.csv", LABEL_METHODS),
        accuracies=f"{RESULTS}/benchmark/accuracies.csv",
    output:
        csv=f"{RESULTS}/tables/table6.csv",
        md=f"{RESULTS}/tables/table6.md",
        tex=f"{RESULTS}/tables/table6.tex",
        html=report(
            f"{RESULTS}/tables/table6.html",
            caption="../report/table6.rst",
            category="Tables",
            labels={"table": "6", "shows": "four ways to draw random labels"},
        ),
    params:
        number=6,
        methods=LABEL_METHODS,
        searches=config["searches"],
        parts=["test"],
        notes=reasons(LABEL_METHODS),
    log:
        f"{RESULTS}/logs/tabulate/table6.log",
    benchmark:
        f"{RESULTS}/runtimes/tabulate/table6.tsv"


use rule tabulate_search_performance as tabulate_angle_bias with:
    input:
        results=of_methods(f"{RESULTS}/searches/{EXPERIMENT}/{{search}}/accuracy.csv", BIAS_METHODS),
        accuracies=f"{RESULTS}/benchmark/accuracies.csv",
    output:
        csv=f"{RESULTS}/tables/table7.csv",
        md=f"{RESULTS}/tables/table7.md",
        tex=f"{RESULTS}/tables/table7.tex",
        html=report(
            f"{RESULTS}/tables/table7.html",
            caption="../report/table7.rst",
            category="Tables",
            labels={"table": "7", "shows": "what the angle finds without training"},
        ),
    params:
        number=7,
        methods=BIAS_METHODS,
        searches=config["searches"],
        parts=["test"],
        notes=reasons(BIAS_METHODS),
    log:
        f"{RESULTS}/logs/tabulate/table7.log",
    benchmark:
        f"{RESULTS}/runtimes/tabulate/table7.tsv"


use rule tabulate_search_performance as tabulate_pretext_tasks with:
    input:
        results=of_methods(
            f"{RESULTS}/searches/{EXPERIMENT}/{{search}}/accuracy.csv",
            PRETEXT_METHODS,
            PRETEXT_SEARCHES,
        ),
        accuracies=f"{RESULTS}/benchmark/accuracies.csv",
    output:
        csv=f"{RESULTS}/tables/table12.csv",
        md=f"{RESULTS}/tables/table12.md",
        tex=f"{RESULTS}/tables/table12.tex",
        html=report(
            f"{RESULTS}/tables/table12.html",
            caption="../report/table12.rst",
            category="Tables",
            labels={"table": "12", "shows": "pretext tasks instead of random labels"},
        ),
    params:
        number=12,
        methods=PRETEXT_METHODS,
        searches=PRETEXT_SEARCHES,
        parts=["test"],
        notes=reasons(PRETEXT_METHODS, PRETEXT_SEARCHES),
    log:
        f"{RESULTS}/logs/tabulate/table12.log",
    benchmark:
        f"{RESULTS}/runtimes/tabulate/table12.tsv"
