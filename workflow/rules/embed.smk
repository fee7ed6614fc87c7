def encoder_row(encoder):
    """An encoder's row; a recipe's encoder is its base's with the recipe's weights."""
    if encoder in TABLES.recipes:
        base = TABLES.encoders[TABLES.recipes[encoder]["base_encoder"]]
        return {**base, "encoder": encoder, "builder": "finetuned"}
    return TABLES.encoders[encoder]


def encoder_code(wildcards):
    """The modules an encoder needs: its builder's and, for a recipe, its base's."""
    row = encoder_row(wildcards.encoder)
    builders = {row["builder"]}
    if wildcards.encoder in TABLES.recipes:
        base = TABLES.recipes[wildcards.encoder]["base_encoder"]
        builders.add(TABLES.encoders[base]["builder"])
    return [f"encoders/{builder}" for builder in sorted(builders)]


def fold_weights(wildcards):
    """Input function: the weights of every fold of a recipe; nothing for other encoders."""
    if wildcards.encoder not in TABLES.recipes:
        return []
    task = TABLES.recipes[wildcards.encoder]["task"]
    return expand(
        rules.finetune_encoder.output.weights,
        recipe=wildcards.encoder,
        fold=range(TABLES.fold_count(task)),
    )


rule embed_patches:
    input:
        patches=rules.extract_patches.output.patches,
        folds=fold_weights,
    output:
        embeddings="<samples>/{sample}/embeddings/{encoder}.h5",
        record="<samples>/{sample}/records/embed_patches.{encoder}.json",
    log:
        "<logs>/embed_patches/{sample}.{encoder}.log",
    benchmark:
        "<benchmarks>/embed_patches/{sample}.{encoder}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 2
    resources:
        gpu=lambda wildcards: int(encoder_row(wildcards.encoder)["gpu"]),
        mem_mb=scaled_mem(8000),
        runtime="4h",
    params:
        spec=lambda wildcards: as_json(encoder_row(wildcards.encoder)),
        seed=config["seed"],
        code=code("embed_patches", encoder_code),
    shell:
        "python scripts/embed_patches.py --sample {wildcards.sample} --encoder {wildcards.encoder}"
        " --spec {params.spec:q} --seed {params.seed} --threads {threads}"
        " --patches {input.patches} --folds {input.folds} --embeddings {output.embeddings}"
        " --record {output.record} --code {params.code} > {log} 2>&1"
