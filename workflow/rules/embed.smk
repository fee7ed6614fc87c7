rule embed_patches:
    input:
        patches=rules.extract_patches.output.patches,
        # Only where patches hold no pictures.
        slide=[] if config["patch"]["pictures"] else rules.build_pyramid.output.slide,
        folds=fold_weights,
    output:
        embeddings="<samples>/{sample}/embeddings/{encoder}.h5",
        record="<samples>/{sample}/records/embed_patches.{encoder}.json",
    log:
        "<logs>/embed_patches/{sample}.{encoder}.log",
    benchmark:
        "<benchmarks>/embed_patches/{sample}.{encoder}.tsv"
    conda:
        lambda wildcards: f"../../envs/{TABLES.environment(wildcards.encoder)}.yaml"
    threads: lambda wildcards: network_threads(TABLES.encoder_row(wildcards.encoder))
    resources:
        gpu=lambda wildcards: int(TABLES.encoder_row(wildcards.encoder)["gpu"]),
        mem_mb=scaled_mem(8000),
        runtime="4h",
    params:
        # For Snakemake to see a changed row: it does not track what is made from inputs.
        spec=lambda wildcards: row_json(TABLES.encoder_row(wildcards.encoder)),
        given=lambda wildcards, input: as_json(
            {
                "spec": row_json(TABLES.encoder_row(wildcards.encoder)),
                "folds": list(map(str, input.folds)),
            }
        ),
        seed=config["seed"],
        code=code(
            "embed_patches",
            lambda wc: [f"encoders/{name}" for name in TABLES.builders_of(wc.encoder)],
        ),
    shell:
        "python scripts/embed_patches.py --sample {wildcards.sample} --encoder {wildcards.encoder}"
        " --given - --seed {params.seed} --threads {threads}"
        " --patches {input.patches} --slide {input.slide} --embeddings {output.embeddings}"
        " --scratch {output.embeddings}.resume"
        " --record {output.record} --code {params.code} <<< {params.given:q} > {log} 2>&1"
