# The paper's figures, and further ones: scatter plots and the ranking during training


rule draw_category_figure:
    input:
        searches=category_files(BEST),
        accuracies=f"{RESULTS}/benchmark/accuracies.csv",
        correlations=category_files(CORRELATIONS),
        descriptions=expand(f"{RESULTS}/data/{{dataset}}/dataset.json", dataset=DATASETS),
    output:
        svg=report(
            f"{RESULTS}/figures/figure1.svg",
            caption="../report/figure1.rst",
            category="Figures",
            labels={"figure": "01", "shows": "number of random-label categories"},
        ),
        pdf=f"{RESULTS}/figures/figure1.pdf",
        png=f"{RESULTS}/figures/figure1.png",
        csv=f"{RESULTS}/figures/figure1.csv",
    params:
        searches=config["searches"],
        images=IMAGES,
    log:
        f"{RESULTS}/logs/draw/figure1.log",
    benchmark:
        f"{RESULTS}/runtimes/draw/figure1.tsv"
    threads: 1
    resources:
        **growing(mem_mb=1000, runtime=10),
    conda:
        "../envs/analysis.yaml"
    script:
        "../workflow_scripts/draw_category_figure.py"


rule draw_methods:
    input:
        table=f"{RESULTS}/tables/table2.csv",
    output:
        svg=report(
            f"{RESULTS}/figures/methods.svg",
            caption="../report/methods.rst",
            category="Figures",
            labels={"figure": "methods", "shows": "Kendall's tau by method"},
        ),
        pdf=f"{RESULTS}/figures/methods.pdf",
        png=f"{RESULTS}/figures/methods.png",
    log:
        f"{RESULTS}/logs/draw/methods.log",
    benchmark:
        f"{RESULTS}/runtimes/draw/methods.tsv"
    threads: 1
    resources:
        **growing(mem_mb=1000, runtime=10),
    conda:
        "../envs/analysis.yaml"
    script:
        "../workflow_scripts/draw_methods.py"


rule draw_architectures:
    input:
        searches=large_searches("figure", "best.csv"),
    output:
        svg=report(
            f"{RESULTS}/figures/figure{{number}}.svg",
            caption="../report/architectures.rst",
            category="Figures",
            labels=numbered("figure"),
        ),
        pdf=f"{RESULTS}/figures/figure{{number}}.pdf",
        png=f"{RESULTS}/figures/figure{{number}}.png",
    log:
        f"{RESULTS}/logs/draw/figure{{number}}.log",
    benchmark:
        f"{RESULTS}/runtimes/draw/figure{{number}}.tsv"
    threads: 1
    resources:
        **growing(mem_mb=1000, runtime=10),
    conda:
        "../envs/analysis.yaml"
    wildcard_constraints:
        number="|".join(map(str, ARCHITECTURE_FIGURES)),
    script:
        "../workflow_scripts/draw_architectures.py"


rule draw_scatter:
    input:
        scores=first_seed_file(f"{RESULTS}/scores/{EXPERIMENT}/{{indicator}}.csv"),
        best=first_seed_file(f"{RESULTS}/searches/{EXPERIMENT}/{{indicator}}/best.csv"),
        accuracies=f"{RESULTS}/benchmark/accuracies.csv",
    output:
        svg=report(
            f"{RESULTS}/figures/scatter_{{benchmark_dataset}}.svg",
            caption="../report/scatter.rst",
            category="Figures",
            labels={"figure": "scatter", "shows": "angle against accuracy, {benchmark_dataset}"},
        ),
        pdf=f"{RESULTS}/figures/scatter_{{benchmark_dataset}}.pdf",
        png=f"{RESULTS}/figures/scatter_{{benchmark_dataset}}.png",
    params:
        images=IMAGES,
        ties=config["ranking"]["ties"],
    log:
        f"{RESULTS}/logs/draw/scatter_{{benchmark_dataset}}.log",
    benchmark:
        f"{RESULTS}/runtimes/draw/scatter_{{benchmark_dataset}}.tsv"
    threads: 1
    resources:
        **growing(mem_mb=1000, runtime=10),
    conda:
        "../envs/analysis.yaml"
    script:
        "../workflow_scripts/draw_scatter.py"


rule draw_trajectory:
    input:
        statistics=method_files(f"{RESULTS}/supernets/{EXPERIMENT}/statistics.npz", TRAINED_METHODS),
        accuracies=f"{RESULTS}/benchmark/accuracies.csv",
    output:
        svg=report(
            f"{RESULTS}/figures/trajectory.svg",
            caption="../report/trajectory.rst",
            category="Figures",
            labels={"figure": "trajectory", "shows": "Kendall's tau during training"},
        ),
        pdf=f"{RESULTS}/figures/trajectory.pdf",
        png=f"{RESULTS}/figures/trajectory.png",
        csv=f"{RESULTS}/figures/trajectory.csv",
    params:
        runs=method_runs(TRAINED_METHODS),
        searches=config["searches"],
        images=IMAGES,
        pooling=config["angle"]["pooling"],
        ties=config["ranking"]["ties"],
    log:
        f"{RESULTS}/logs/draw/trajectory.log",
    benchmark:
        f"{RESULTS}/runtimes/draw/trajectory.tsv"
    threads: 1
    resources:
        **growing(mem_mb=2000, runtime=30),
    conda:
        "../envs/analysis.yaml"
    script:
        "../workflow_scripts/draw_trajectory.py"


# Untrained angles depend on the scale of the weights: at a small scale the constants of batch norms and pooling weigh more.
rule draw_initialisations:
    input:
        descriptions=expand(
            f"{RESULTS}/data/{{dataset}}/dataset.json", dataset=sorted(set(config["searches"].values()))
        ),
        accuracies=f"{RESULTS}/benchmark/accuracies.csv",
    output:
        svg=report(
            f"{RESULTS}/figures/initialisations.svg",
            caption="../report/initialisations.rst",
            category="Figures",
            labels={"figure": "initialisations", "shows": "untrained angles by the scale of the weights"},
        ),
        pdf=f"{RESULTS}/figures/initialisations.pdf",
        png=f"{RESULTS}/figures/initialisations.png",
        csv=f"{RESULTS}/figures/initialisations.csv",
    params:
        settings=untrained_settings("nas_bench_201", config["supernet"]),
        seeds=config["seeds"]["untrained-normal"],
        initialisations=["normal", "kaiming-normal"],
        scales=[0.01, 0.03, 0.1, 0.3, 1, 3, 10],
        searches=config["searches"],
        pooling=config["angle"]["pooling"],
        ties=config["ranking"]["ties"],
    log:
        f"{RESULTS}/logs/draw/initialisations.log",
    benchmark:
        f"{RESULTS}/runtimes/draw/initialisations.tsv"
    threads: 1
    resources:
        **growing(mem_mb=2000, runtime=10),
    conda:
        "../envs/rlnas.yaml"
    script:
        "../workflow_scripts/draw_initialisations.py"
