# From images to a model: one architecture from several supernets, its comparison, the model, a summary


rule choose_candidates:
    input:
        statistics=expand(f"{RESULTS}/supernets/{SUPERNET}/statistics.npz", **MODEL_SUPERNETS),
    output:
        candidates=f"{RESULTS}/choice/candidates.csv",
        agreement=f"{RESULTS}/choice/agreement.csv",
        trace=f"{RESULTS}/choice/trace.csv",
    params:
        space=MODEL_SPACE,
        paths=config["large_spaces"].get(MODEL_SPACE, {}).get(OWN["images"], {}).get("paths"),
        limit=limit_settings,
        seeds=RETRAINED_SEEDS,
        evolution=model_evolution,
        pooling=config["angle"]["pooling"],
    log:
        f"{RESULTS}/logs/choose_candidates.log",
    benchmark:
        f"{RESULTS}/runtimes/choose_candidates.tsv"
    threads: 1
    resources:
        **growing(mem_mb=4000, runtime=30),
    conda:
        "../envs/rlnas.yaml"
    script:
        "../workflow_scripts/choose_candidates.py"


rule compare_networks:
    input:
        weights=expand(f"{RESULTS}/retrained/{RETRAINED}/weights.safetensors", zip, **COMPARED),
        images=f"{RESULTS}/data/{LABELLED}/valid_images.npy",
        labels=f"{RESULTS}/data/{LABELLED}/valid_labels.npy",
        description=f"{RESULTS}/data/{LABELLED}/dataset.json",
    output:
        comparison=f"{RESULTS}/choice/comparison.csv",
    log:
        f"{RESULTS}/logs/compare_networks.log",
    benchmark:
        f"{RESULTS}/runtimes/compare_networks.tsv"
    threads: 1
    resources:
        **growing(mem_mb=4000, runtime=30),
    conda:
        "../envs/rlnas.yaml"
    script:
        "../workflow_scripts/compare_networks.py"


rule draw_label_curve:
    input:
        accuracies=expand(f"{RESULTS}/retrained/{RETRAINED}/accuracy.csv", zip, **CURVE),
        labels=expand(f"{RESULTS}/data/{{dataset}}/train_labels.npy", dataset=CURVE_DATASETS),
    output:
        svg=report(
            f"{RESULTS}/figures/labels.svg",
            caption="../report/labels.rst",
            category="Model",
            labels={"figure": "labels", "shows": "accuracy against the number of labels"},
        ),
        pdf=f"{RESULTS}/figures/labels.pdf",
        png=f"{RESULTS}/figures/labels.png",
        csv=f"{RESULTS}/figures/labels.csv",
    params:
        datasets=CURVE_DATASETS,
    log:
        f"{RESULTS}/logs/draw_label_curve.log",
    benchmark:
        f"{RESULTS}/runtimes/draw_label_curve.tsv"
    threads: 1
    resources:
        **growing(mem_mb=1000, runtime=10),
    conda:
        "../envs/analysis.yaml"
    script:
        "../workflow_scripts/draw_label_curve.py"


# Without labels the model is the architecture found, with its initial weights.
rule initialise_network:
    input:
        architecture=f"{RESULTS}/architectures/{{space}}/{{architecture}}.csv",
        description=f"{RESULTS}/data/{{dataset}}/dataset.json",
    output:
        weights=f"{RESULTS}/untrained/{RETRAINED}/weights.safetensors",
    params:
        settings=retraining_settings,
    log:
        f"{RESULTS}/logs/initialise_network/{RETRAINED}.log",
    benchmark:
        f"{RESULTS}/runtimes/initialise_network/{RETRAINED}.tsv"
    threads: 1
    resources:
        **growing(mem_mb=4000, runtime=10),
    conda:
        "../envs/rlnas.yaml"
    script:
        "../workflow_scripts/initialise_network.py"


use rule export_model as export_found with:
    input:
        unpack(found_network),
    output:
        model=directory(FOUND_MODEL),
    log:
        f"{RESULTS}/logs/export_found.log",
    benchmark:
        f"{RESULTS}/runtimes/export_found.tsv"


rule summarise_search:
    input:
        unpack(summary_inputs),
        candidates=f"{RESULTS}/choice/candidates.csv",
        agreement=f"{RESULTS}/choice/agreement.csv",
        model=FOUND_MODEL,
        runtimes=[f"{RESULTS}/runtimes/{job}.tsv" for job in SEARCH_JOBS],
    output:
        md=f"{RESULTS}/summary.md",
        html=report(
            f"{RESULTS}/summary.html",
            caption="../report/summary.rst",
            category="Model",
            labels={"shows": "the architecture found, and what it was compared with"},
        ),
    params:
        limit=limit_settings,
        jobs=SEARCH_JOBS,
    log:
        f"{RESULTS}/logs/summarise_search.log",
    benchmark:
        f"{RESULTS}/runtimes/summarise_search.tsv"
    threads: 1
    resources:
        **growing(mem_mb=1000, runtime=10),
    conda:
        "../envs/analysis.yaml"
    script:
        "../workflow_scripts/summarise_search.py"
