rule make_splits:
    input:
        records=task_members(rules.extract_patches.output.record),
        fingerprints=task_members(rules.fingerprint_sample.output.fingerprint),
        # Where spots are, only of tasks that cut samples.
        expression=task_places(rules.assemble_sample.output.st),
    output:
        splits="<results>/benchmark/{task}/splits.json",
    log:
        "<logs>/make_splits/{task}.log",
    wildcard_constraints:
        task=one_of(OWN_TASKS),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="10m",
    params:
        given=lambda wildcards: as_json(
            {
                "task": row_json(TABLES.tasks[wildcards.task]),
                "known": as_json(
                    options.known_identities(
                        TABLES, TABLES.task_samples(wildcards.task)
                    )
                ),
                **options.with_donors(TABLES, TABLES.task_samples(wildcards.task)),
                "cohorts": [
                    TABLES.samples[sample]["cohort"]
                    for sample in TABLES.task_samples(wildcards.task)
                ],
            }
        ),
        records=per_sample("records/extract_patches.json"),
        fingerprints=per_sample("fingerprint.json"),
        expression=per_sample("st.h5ad"),
        # What the tables of expression are made of is made of these: read without being waited for.
        alignments=per_sample("alignment.json"),
        code=code(
            "make_splits",
            lambda wildcards: [f"splitting/{TABLES.way_of(wildcards.task)}"],
        ),
    shell:
        "python scripts/make_splits.py --given - --records {params.records}"
        " --fingerprints {params.fingerprints} --expression {params.expression}"
        " --alignments {params.alignments} --splits {output.splits} <<< {params.given:q} > {log} 2>&1"


rule choose_genes:
    """Genes and counts of a task under a protocol, once for all predictors."""
    input:
        splits=rules.make_splits.output.splits,
        expression=task_members(rules.assemble_sample.output.st),
    output:
        targets="<results>/benchmark/{task}/{protocol}/targets.h5",
    log:
        "<logs>/choose_genes/{task}.{protocol}.log",
    wildcard_constraints:
        task=one_of(OWN_TASKS),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(8000),
        runtime="1h",
    params:
        given=lambda wildcards: as_json(
            {
                "samples": TABLES.task_samples(wildcards.task),
                "task": row_json(TABLES.tasks[wildcards.task]),
                **options.listed_genes(TABLES.tasks[wildcards.task]),
            }
        ),
        expression=per_sample("st.h5ad"),
        code=code(
            "choose_genes", lambda wildcards: [protocol_entry(wildcards.protocol)]
        ),
    shell:
        "python scripts/choose_genes.py --splits {input.splits} --given - --protocol {wildcards.protocol}"
        " --expression {params.expression} --targets {output.targets} <<< {params.given:q} > {log} 2>&1"
