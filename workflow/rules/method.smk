rule fit_method:
    """One file of predictions, as a probe over an encoder leaves it."""
    input:
        splits=rules.make_splits.output.splits,
        targets=rules.choose_genes.output.targets,
        # Only of kinds that need them.
        pictures=method_pictures,
        # Only of methods over an encoder.
        listed=method_embeddings,
    output:
        prediction="<results>/predictions/{task}/{protocol}/{method}/fold{fold}.h5",
    log:
        "<logs>/fit_method/{task}.{protocol}.{method}.fold{fold}.log",
    benchmark:
        "<benchmarks>/fit_method/{task}.{protocol}.{method}.fold{fold}.tsv"
    conda:
        lambda wildcards: f"../../envs/{method_row(wildcards).get('env', 'core')}.yaml"
    threads: lambda wildcards: network_threads(method_row(wildcards))
    resources:
        gpu=lambda wildcards: int(method_row(wildcards)["gpu"]),
        mem_mb=scaled_mem(8000),
        runtime="2h",
    params:
        given=lambda wildcards: as_json(
            {
                "samples": TABLES.task_samples(wildcards.task),
                "predictor": row_json(method_row(wildcards)),
            }
        ),
        pictures=method_options,
        seed=config["seed"],
        code=code(
            "fit_method",
            lambda wildcards: [
                protocol_entry(wildcards.protocol),
                METHODS.module(method_row(wildcards)["kind"]),
            ],
        ),
    shell:
        "OMP_NUM_THREADS={threads} python scripts/fit_method.py --splits {input.splits} --targets {input.targets}"
        " --given - --fold {wildcards.fold} --protocol {wildcards.protocol} {params.pictures}"
        " --seed {params.seed} --threads {threads} --prediction {output.prediction} <<< {params.given:q} > {log} 2>&1"
