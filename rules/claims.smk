# The paper's claims, tested on its numbers and on those of this run


rule check_claims:
    input:
        tables=expand(f"{RESULTS}/tables/table{{number}}.csv", number=ALL_TABLES),
        categories=[f"{RESULTS}/figures/figure1.csv"] if HAS_FIGURE1 else [],
    output:
        csv=f"{RESULTS}/claims.csv",
        md=f"{RESULTS}/claims.md",
        txt=f"{RESULTS}/claims.txt",
        html=report(
            f"{RESULTS}/claims.html",
            caption="../report/claims.rst",
            category="Claims",
            labels={"shows": "which of the paper's claims hold"},
        ),
    log:
        f"{RESULTS}/logs/check_claims.log",
    benchmark:
        f"{RESULTS}/runtimes/check_claims.tsv"
    threads: 1
    resources:
        **growing(mem_mb=1000, runtime=10),
    conda:
        "../envs/analysis.yaml"
    script:
        "../workflow_scripts/check_claims.py"
