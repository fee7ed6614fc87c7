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
        seed=config["seed"],
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
        code=code("evaluate_recipe", lambda wildcards: ["metrics/pearson"]),
    shell:
        "python scripts/evaluate_recipe.py --recipe {wildcards.recipe} --base {params.base} --scores {input.scores}"
        " --folds {input.folds} --metrics {output.metrics} > {log} 2>&1"
