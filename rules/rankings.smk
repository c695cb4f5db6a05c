# Beyond the paper: training-free proxies, all rankings of the enumerated space in one table, and rankings of large spaces


# Labels are random unless the experiment says otherwise; proxies that need none ignore them.
rule score_proxy:
    input:
        images=f"{RESULTS}/data/{{dataset}}/train_images.npy",
        description=f"{RESULTS}/data/{{dataset}}/dataset.json",
        labels=label_file("train"),
    output:
        scores=f"{RESULTS}/scores/{EXPERIMENT}/{{proxy}}.csv",
    params:
        settings=untrained_settings("nas_bench_201", config["supernet"]),
        images=config["proxies"]["images"],
    log:
        f"{RESULTS}/logs/score_proxy/{EXPERIMENT}/{{proxy}}.log",
    benchmark:
        f"{RESULTS}/runtimes/score_proxy/{EXPERIMENT}/{{proxy}}.tsv"
    threads: config["jobs"]["proxy"]["threads"]
    resources:
        **job_resources("proxy"),
    conda:
        "../envs/rlnas.yaml"
    wildcard_constraints:
        proxy="|".join(PAPER["rankings"]["proxies"]),
    script:
        "../workflow_scripts/score_proxy.py"


rule add_ranks:
    input:
        rank_sum_scores,
    output:
        scores=f"{RESULTS}/scores/{EXPERIMENT}/{{rank_sum}}.csv",
    params:
        parts=rank_sum_parts,
        logarithms=rank_sum_has_logarithms,
    log:
        f"{RESULTS}/logs/add_ranks/{EXPERIMENT}/{{rank_sum}}.log",
    benchmark:
        f"{RESULTS}/runtimes/add_ranks/{EXPERIMENT}/{{rank_sum}}.tsv"
    threads: 1
    resources:
        **growing(mem_mb=1000, runtime=10),
    conda:
        "../envs/analysis.yaml"
    wildcard_constraints:
        rank_sum="|".join(RANK_SUMS),
    script:
        "../workflow_scripts/add_ranks.py"


rule tabulate_rankings:
    input:
        unpack(ranking_inputs),
        runtimes=[f"{RESULTS}/runtimes/{job}.tsv" for job in RANKING_JOBS],
        accuracies=f"{RESULTS}/benchmark/accuracies.csv",
    output:
        csv=f"{RESULTS}/tables/rankings.csv",
        md=f"{RESULTS}/tables/rankings.md",
        tex=f"{RESULTS}/tables/rankings.tex",
        html=report(
            f"{RESULTS}/tables/rankings.html",
            caption="../report/rankings_table.rst",
            category="Tables",
            labels={"table": "rankings", "shows": "everything that ranks the space"},
        ),
        svg=report(
            f"{RESULTS}/figures/rankings.svg",
            caption="../report/rankings.rst",
            category="Figures",
            labels={"figure": "rankings", "shows": "quality against cost"},
        ),
        pdf=f"{RESULTS}/figures/rankings.pdf",
        png=f"{RESULTS}/figures/rankings.png",
    params:
        runs=RANKINGS,
        jobs=RANKING_JOBS,
        searches=config["searches"],
        pooling=config["angle"]["pooling"],
    log:
        f"{RESULTS}/logs/tabulate/rankings.log",
    benchmark:
        f"{RESULTS}/runtimes/tabulate/rankings.tsv"
    threads: 1
    resources:
        **growing(mem_mb=2000, runtime=30),
    conda:
        "../envs/analysis.yaml"
    script:
        "../workflow_scripts/tabulate_rankings.py"


# Not in the report, which would embed it as a data: URL; browsers open those only up to 2 MB.
rule build_explorer:
    input:
        unpack(ranking_inputs),
        accuracies=f"{RESULTS}/benchmark/accuracies.csv",
    output:
        html=f"{RESULTS}/explore.html",
    params:
        run=config["run"],
        runs=RANKINGS,
        sizes={dataset: config["datasets"][dataset]["image_size"] for dataset in DATASETS},
        pooling=config["angle"]["pooling"],
        ties=config["ranking"]["ties"],
    log:
        f"{RESULTS}/logs/build_explorer.log",
    benchmark:
        f"{RESULTS}/runtimes/build_explorer.tsv"
    threads: 1
    resources:
        **growing(mem_mb=2000, runtime=30),
    conda:
        "../envs/analysis.yaml"
    script:
        "../workflow_scripts/build_explorer.py"


# Random labels, so that rankings of a large space use no true label.
rule score_networks:
    input:
        architectures=ranked_architectures,
        images=f"{RESULTS}/data/{{dataset}}/train_images.npy",
        description=f"{RESULTS}/data/{{dataset}}/dataset.json",
        labels=random_labels,
    output:
        scores=f"{RESULTS}/scores/{{space}}/{{dataset}}/networks/{{seed}}.csv",
    params:
        settings=network_settings,
        classes=dataset_classes,
        images=config["proxies"]["images"],
    log:
        f"{RESULTS}/logs/score_networks/{{space}}/{{dataset}}/{{seed}}.log",
    benchmark:
        f"{RESULTS}/runtimes/score_networks/{{space}}/{{dataset}}/{{seed}}.tsv"
    threads: config["jobs"]["proxy"]["threads"]
    resources:
        **job_resources("proxy"),
    conda:
        "../envs/rlnas.yaml"
    script:
        "../workflow_scripts/score_networks.py"


rule tabulate_networks:
    input:
        unpack(network_inputs),
    output:
        csv=f"{RESULTS}/tables/networks_{{space}}_{{dataset}}.csv",
        md=f"{RESULTS}/tables/networks_{{space}}_{{dataset}}.md",
    params:
        settings=network_settings,
        paths=lambda wildcards: search_settings(wildcards)["paths"],
        image_size=lambda wildcards: dataset_settings(wildcards)["image_size"],
        classes=dataset_classes,
        pooling=config["angle"]["pooling"],
        resamples=config["ranking"]["resamples"],
    log:
        f"{RESULTS}/logs/tabulate/networks_{{space}}_{{dataset}}.log",
    benchmark:
        f"{RESULTS}/runtimes/tabulate/networks_{{space}}_{{dataset}}.tsv"
    threads: 1
    resources:
        **growing(mem_mb=2000, runtime=30),
    conda:
        "../envs/analysis.yaml"
    script:
        "../workflow_scripts/tabulate_networks.py"
