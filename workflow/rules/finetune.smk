rule finetune_encoder:
    input:
        splits=lambda wildcards: expand(
            rules.make_splits.output.splits, task=recipe_task(wildcards)
        ),
        patches=recipe_members(rules.extract_patches.output.patches),
        slides=(
            []
            if config["patch"]["pictures"]
            else recipe_members(rules.build_pyramid.output.slide)
        ),
        expression=recipe_members(rules.assemble_sample.output.st),
    output:
        weights="<results>/finetune/{recipe}/fold{fold}.safetensors",
        history="<results>/finetune/{recipe}/fold{fold}.history.csv",
        record="<results>/finetune/{recipe}/fold{fold}.record.json",
    log:
        "<logs>/finetune_encoder/{recipe}.fold{fold}.log",
    benchmark:
        "<benchmarks>/finetune_encoder/{recipe}.fold{fold}.tsv"
    conda:
        lambda wildcards: f"../../envs/{TABLES.environment(wildcards.recipe)}.yaml"
    threads: lambda wildcards: network_threads(TABLES.base_row(wildcards.recipe))
    resources:
        gpu=lambda wildcards: int(TABLES.base_row(wildcards.recipe)["gpu"]),
        mem_mb=scaled_mem(16000),
        runtime="12h",
    params:
        given=lambda wildcards: as_json(
            {
                "samples": TABLES.task_samples(recipe_task(wildcards)),
                "recipe": row_json(TABLES.recipes[wildcards.recipe]),
                "base": row_json(TABLES.base_row(wildcards.recipe)),
            }
        ),
        patches=per_sample("patches.h5"),
        slides=(
            ""
            if config["patch"]["pictures"]
            else lambda wildcards: f"--slides {per_sample('slide.tif')(wildcards)}"
        ),
        expression=per_sample("st.h5ad"),
        seed=lambda wildcards: TABLES.recipes[wildcards.recipe].get("seed")
        or config["seed"],
        processes=lambda wildcards, resources: max(1, int(resources.gpu)),
        code=code(
            "finetune_encoder",
            lambda wildcards: [
                f"encoders/{TABLES.base_row(wildcards.recipe)['builder']}",
                RECIPES.module(TABLES.recipes[wildcards.recipe]["kind"]),
            ],
        ),
    shell:
        "python scripts/finetune_encoder.py --splits {input.splits} --fold {wildcards.fold}"
        " --given - --patches {params.patches} --expression {params.expression} {params.slides}"
        " --seed {params.seed} --threads {threads}"
        " --weights {output.weights} --history {output.history}"
        " --scratch {output.weights}.resume --processes {params.processes}"
        " --record {output.record} --code {params.code} <<< {params.given:q} > {log} 2>&1"


rule evaluate_recipe:
    input:
        scores=lambda wildcards: scored("scores", recipe_task(wildcards)),
        folds=lambda wildcards: scored("folds", recipe_task(wildcards)),
    output:
        metrics="<results>/finetune/{recipe}/metrics.json",
    log:
        "<logs>/evaluate_recipe/{recipe}.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime="10m",
    params:
        base=lambda wildcards: TABLES.recipes[wildcards.recipe]["base_encoder"],
        stand_ins=lambda wildcards: stand_ins(TABLES.recipes[wildcards.recipe]),
        code=code("evaluate_recipe", lambda wildcards: ["metrics/pearson"]),
    shell:
        "python scripts/evaluate_recipe.py --recipe {wildcards.recipe} --base {params.base} --scores {input.scores}"
        " --stand-ins {params.stand_ins:q}"
        " --folds {input.folds} --metrics {output.metrics} > {log} 2>&1"


rule embed_expression:
    """Expression in the space of a recipe's encoder, by what each fold trained beside it."""
    input:
        expression=rules.assemble_sample.output.st,
        folds=lambda wildcards: expand(
            rules.finetune_encoder.output.weights,
            recipe=wildcards.recipe,
            fold=range(TABLES.fold_count(recipe_task(wildcards))),
        ),
    output:
        embeddings="<samples>/{sample}/expression_embeddings/{recipe}.h5",
        record="<samples>/{sample}/records/embed_expression.{recipe}.json",
    log:
        "<logs>/embed_expression/{sample}.{recipe}.log",
    conda:
        lambda wildcards: f"../../envs/{TABLES.environment(wildcards.recipe)}.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(4000),
        runtime="1h",
    params:
        code=code("embed_expression"),
    shell:
        "python scripts/embed_expression.py --sample {wildcards.sample} --expression {input.expression}"
        " --folds {input.folds} --threads {threads} --embeddings {output.embeddings}"
        " --record {output.record} --code {params.code} > {log} 2>&1"


rule evaluate_tuning:
    """Labels, retrieval, clusters and expression, before fine-tuning and after, fold by fold."""
    input:
        table=rules.assemble_dataset.output.table,
        splits=lambda wildcards: expand(
            rules.make_splits.output.splits, task=recipe_task(wildcards)
        ),
        expression=recipe_members(rules.assemble_sample.output.st),
        embeddings=lambda wildcards: expand(
            "<samples>/{sample}/embeddings/{encoder}.h5",
            sample=TABLES.task_samples(recipe_task(wildcards)),
            encoder=[
                wildcards.recipe,
                TABLES.recipes[wildcards.recipe]["base_encoder"],
            ],
        ),
        pairs=lambda wildcards: expand(
            rules.embed_expression.output.embeddings,
            sample=TABLES.task_samples(recipe_task(wildcards)),
            recipe=wildcards.recipe,
        ),
        labels=[named.rpartition("=")[2] for named in EVALUATION.get("labels", [])],
    output:
        rows="<results>/finetune/{recipe}/evaluation.csv",
        summary="<results>/finetune/{recipe}/evaluation.json",
        record="<results>/finetune/{recipe}/evaluation.record.json",
    log:
        "<logs>/evaluate_tuning/{recipe}.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(4000),
        runtime="2h",
    params:
        results=lambda wildcards, input: str(input.table).rpartition("/")[0],
        base=lambda wildcards: TABLES.recipes[wildcards.recipe]["base_encoder"],
        labels=EVALUATION.get("labels", []),
        genes=EVALUATION.get("genes", []),
        stand_ins=lambda wildcards: stand_ins(TABLES.recipes[wildcards.recipe]),
        code=code("evaluate_tuning"),
    shell:
        "OMP_NUM_THREADS={threads} python scripts/evaluate_tuning.py --table {input.table} --splits {input.splits}"
        " --results {params.results} --recipe {wildcards.recipe} --base {params.base} --labels {params.labels}"
        " --genes {params.genes} --stand-ins {params.stand_ins:q} --rows {output.rows} --summary {output.summary}"
        " --record {output.record} --code {params.code} > {log} 2>&1"
