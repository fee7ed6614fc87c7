rule embed_together:
    """With all chosen encoders of one environment: the rows of each, of which its own job below makes its file."""
    input:
        patches=rules.extract_patches.output.patches,
        # Only where patches hold no pictures.
        slide=[] if config["patch"]["pictures"] else rules.build_pyramid.output.slide,
    output:
        record="<samples>/{sample}/records/embed_together.{company}.json",
    log:
        "<logs>/embed_together/{sample}.{company}.log",
    benchmark:
        "<benchmarks>/embed_together/{sample}.{company}.tsv"
    conda:
        lambda wildcards: f"../../envs/{wildcards.company.rpartition('.')[0]}.yaml"
    threads: lambda wildcards: network_threads(company_row(wildcards))
    resources:
        gpu=lambda wildcards: int(company_row(wildcards)["gpu"]),
        # The largest encoders hold 4.5 GB of weights.
        mem_mb=lambda wildcards, attempt: scaled_mem(
            3000 + 5000 * company_size(wildcards)
        )(wildcards, attempt),
        runtime=lambda wildcards: f"{4 * len(COMPANIES[wildcards.company])}h",
    params:
        given=lambda wildcards: as_json({"asked": asked_of_company(wildcards)}),
        most=company_size,
        seed=config["seed"],
        code=code("embed_together", company_builders),
    shell:
        "python scripts/embed_together.py --sample {wildcards.sample} --given - --most {params.most}"
        " --seed {params.seed} --threads {threads} --patches {input.patches} --slide {input.slide}"
        " --record {output.record} --code {params.code} <<< {params.given:q} > {log} 2>&1"


rule embed_patches:
    input:
        patches=rules.extract_patches.output.patches,
        # Only where patches hold no pictures.
        slide=[] if config["patch"]["pictures"] else rules.build_pyramid.output.slide,
        folds=fold_weights,
        # It only has to come first.
        together=company_first(rules.embed_together.output.record),
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
