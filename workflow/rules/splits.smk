rule make_splits:
    input:
        metadata=task_members(rules.describe_sample.output.metadata),
    output:
        splits="<results>/benchmark/{task}/splits.json",
    log:
        "<logs>/make_splits/{task}.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="10m",
    params:
        samples=lambda wildcards: TABLES.task_samples(wildcards.task),
        metadata=per_sample("metadata.json"),
        task=lambda wildcards: as_json(TABLES.tasks[wildcards.task]),
        code=code("make_splits"),
    shell:
        "python scripts/make_splits.py --task {params.task:q} --samples {params.samples}"
        " --metadata {params.metadata}"
        " --splits {output.splits} > {log} 2>&1"
