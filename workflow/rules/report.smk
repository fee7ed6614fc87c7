rule summarise_quality:
    input:
        shards=expand(rules.assemble_cohort.output.shard, cohort=COHORTS),
    output:
        table=report(
            "<results>/report/quality.html",
            category="Samples",
            caption="../report/quality.rst",
            labels={"sample": "all", "what": "quality and quarantine"},
        ),
    log:
        "<logs>/summarise_quality.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="10m",
    params:
        code=code("summarise_quality"),
    shell:
        "python scripts/summarise_quality.py --shards {input.shards} --table {output.table} > {log} 2>&1"
