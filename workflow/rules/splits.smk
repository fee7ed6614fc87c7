rule make_splits:
    input:
        records=task_members(rules.extract_patches.output.record),
        fingerprints=task_members(rules.fingerprint_sample.output.fingerprint),
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
        records=per_sample("records/extract_patches.json"),
        fingerprints=per_sample("fingerprint.json"),
        known=lambda wildcards: known_identities(TABLES.task_samples(wildcards.task)),
        donors=lambda wildcards: [
            SAMPLES[sample]["donor"] for sample in TABLES.task_samples(wildcards.task)
        ],
        task=lambda wildcards: unit(TABLES.tasks[wildcards.task]),
        code=code("make_splits"),
    shell:
        "python scripts/make_splits.py --task {params.task:q} --samples {params.samples}"
        " --donors {params.donors} --records {params.records}"
        " --fingerprints {params.fingerprints} --known {params.known:q}"
        " --splits {output.splits} > {log} 2>&1"
