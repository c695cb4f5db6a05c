# RLNAS: neural architecture search with random labels
from snakemake.utils import min_version

min_version("9.0")


# A configuration with searches or a model is complete; any other extends the paper's.
if not {"searches", "model"} & config.keys():

    configfile: workflow.source_path("config/config.yaml")


# With --sdm conda apptainer, jobs run in this image, and their conda environments are created in it.
container: "docker://condaforge/miniforge3:24.3.0-0"


if workflow.modifier.is_main_snakefile():

    report: "report/workflow.rst"


include: "rules/common.smk"
include: "rules/guard.smk"
include: "rules/experiments.smk"
include: "rules/inputs.smk"
include: "rules/table_inputs.smk"
include: "rules/ranking_inputs.smk"
include: "rules/images.smk"
include: "rules/labels.smk"
include: "rules/supernets.smk"
include: "rules/search.smk"
include: "rules/retraining.smk"
include: "rules/transfer.smk"
include: "rules/benchmark.smk"
include: "rules/rankings.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"
include: "rules/claims.smk"


if config["model"]:

    include: "rules/model_inputs.smk"
    include: "rules/model.smk"


rule all:
    default_target: True
    input:
        (
            [FOUND_MODEL, f"{RESULTS}/summary.md"]
            if config["model"]
            else [SEARCHES, TABLES, FIGURES, NETWORKS, MODELS, RANKED, CHOSEN, f"{RESULTS}/claims.md"]
        ),
    localrule: True
