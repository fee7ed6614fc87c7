rule list_embeddings:
    """What all fits on an encoder depend on: thousands of files for each of them would fill the memory of a plan."""
    input:
        embeddings=task_members(rules.embed_patches.output.embeddings),
        records=task_members(rules.embed_patches.output.record),
    output:
        listed="<results>/benchmark/{task}/embeddings/{encoder}.json",
    log:
        "<logs>/list_embeddings/{task}.{encoder}.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime="30m",
    params:
        given=lambda wildcards: as_json(
            {"samples": TABLES.task_samples(wildcards.task)}
        ),
        embeddings=per_sample("embeddings/{encoder}.h5"),
        records=per_sample("records/embed_patches.{encoder}.json"),
        code=code("list_embeddings"),
    shell:
        "python scripts/list_embeddings.py --given - --embeddings {params.embeddings} --records {params.records}"
        " --listed {output.listed} <<< {params.given:q} > {log} 2>&1"


rule fit_probe:
    """One file of predictions; what scores it asks for no encoder and no probe."""
    input:
        splits=rules.make_splits.output.splits,
        targets=rules.choose_genes.output.targets,
        listed=rules.list_embeddings.output.listed,
    output:
        prediction="<results>/predictions/{task}/{protocol}/{encoder}+{probe}/fold{fold}.h5",
    log:
        "<logs>/fit_probe/{task}.{protocol}.{encoder}+{probe}.fold{fold}.log",
    benchmark:
        "<benchmarks>/fit_probe/{task}.{protocol}.{encoder}+{probe}.fold{fold}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(8000),
        runtime="2h",
    params:
        given=lambda wildcards: as_json(
            {"samples": TABLES.task_samples(wildcards.task)}
        ),
        embeddings=per_sample("embeddings/{encoder}.h5"),
        records=per_sample("records/embed_patches.{encoder}.json"),
        seed=config["seed"],
        code=code(
            "fit_probe",
            lambda wildcards: [
                protocol_entry(wildcards.protocol),
                f"probes/{wildcards.probe}",
            ],
        ),
    shell:
        "OMP_NUM_THREADS={threads} python scripts/fit_probe.py --splits {input.splits} --targets {input.targets}"
        " --given - --fold {wildcards.fold} --protocol {wildcards.protocol} --probe {wildcards.probe}"
        " --encoder {wildcards.encoder} --embeddings {params.embeddings} --records {params.records}"
        " --seed {params.seed} --prediction {output.prediction} <<< {params.given:q} > {log} 2>&1"
