rule score_predictions:
    input:
        splits=rules.make_splits.output.splits,
        targets=rules.choose_genes.output.targets,
        predictions=task_predictions,
    output:
        scores="<results>/benchmark/{task}/{protocol}/scores.parquet",
        folds="<results>/benchmark/{task}/{protocol}/folds.csv",
        spread="<results>/benchmark/{task}/{protocol}/spread.csv",
    log:
        "<logs>/score_predictions/{task}.{protocol}.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(4000),
        runtime="1h",
    params:
        given=lambda wildcards, input: as_json(
            {
                "predictions": list(map(str, input.predictions)),
                "metrics": config["metrics"],
                "samples": TABLES.task_samples(wildcards.task),
            }
        ),
        # What the targets are made of is made of these: read without being waited for.
        alignments=per_sample("alignment.json"),
        seed=config["seed"],
        block_um=config["compare"]["block_um"],
        code=code(
            "score_predictions",
            lambda wildcards: [
                protocol_entry(wildcards.protocol),
                *metric_code(wildcards),
            ],
        ),
    shell:
        "python scripts/score_predictions.py --splits {input.splits} --targets {input.targets} --given -"
        " --protocol {wildcards.protocol} --seed {params.seed} --block-um {params.block_um}"
        " --alignments {params.alignments} --scores {output.scores} --folds {output.folds}"
        " --spread {output.spread} <<< {params.given:q} > {log} 2>&1"


rule rank_predictors:
    input:
        parts=scored("scores", config["tasks"]),
        fold_parts=scored("folds", config["tasks"]),
        spread_parts=scored("spread", config["tasks"]),
        splits=expand(rules.make_splits.output.splits, task=config["tasks"]),
    output:
        scores="<results>/benchmark/scores.parquet",
        folds="<results>/benchmark/folds.csv",
        comparisons=report(
            "<results>/benchmark/comparisons.csv",
            category="Leaderboard",
            caption="../report/comparisons.rst",
            labels={"what": "every pair"},
        ),
        ranks="<results>/benchmark/ranks.csv",
        categories="<results>/benchmark/category_ranks.csv",
        leaderboard="<results>/benchmark/leaderboard.csv",
        page=report(
            "<results>/benchmark/leaderboard.html",
            category="Leaderboard",
            caption="../report/leaderboard.rst",
            labels={"what": "table"},
        ),
        plot=report(
            "<results>/benchmark/leaderboard.png",
            category="Leaderboard",
            caption="../report/leaderboard.rst",
            labels={"what": "plot"},
        ),
    log:
        "<logs>/rank_predictors.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(2000),
        runtime="10m",
    params:
        # The tasks with their notes: the leaderboard shows them.
        given=lambda wildcards, input: as_json(
            {
                "parts": list(map(str, input.parts)),
                "fold_parts": list(map(str, input.fold_parts)),
                "spread_parts": list(map(str, input.spread_parts)),
                "splits": list(map(str, input.splits)),
                "metrics": config["metrics"],
                "notes": {
                    task: TABLES.tasks[task].get("notes", "")
                    for task in config["tasks"]
                },
                "genes": {
                    task: TABLES.genes_of(task)
                    for task in config["tasks"]
                    if TABLES.genes_of(task)
                },
                "cohorts": {
                    sample: TABLES.cohort_of(task, sample)
                    for task in config["tasks"]
                    for sample in TABLES.task_samples(task)
                },
                "seen": {
                    name: TABLES.seen_by(name)
                    for task in config["tasks"]
                    for name in [
                        *TABLES.scored_on(task, config["encoders"], config["recipes"]),
                        *TABLES.encoders_needed([], [], config["methods"]),
                    ]
                },
            }
        ),
        patch_um=config["patch"]["size_px"] * config["patch"]["pixel_size_um"],
        ranking=config["compare"]["ranking"],
        code=code("rank_predictors", ranking_code),
    shell:
        "python scripts/rank_predictors.py --given - --patch-um {params.patch_um} --scores {output.scores}"
        " --folds {output.folds} --comparisons {output.comparisons} --ranks {output.ranks}"
        " --categories {output.categories} --ranking {params.ranking}"
        " --leaderboard {output.leaderboard} --page {output.page} --plot {output.plot}"
        " <<< {params.given:q} > {log} 2>&1"


rule draw_scaling:
    input:
        leaderboard=rules.rank_predictors.output.leaderboard,
    output:
        laws="<results>/benchmark/scaling.csv",
        plot=report(
            "<results>/benchmark/scaling.png",
            category="Leaderboard",
            caption="../report/scaling.rst",
            labels={"what": "scaling"},
        ),
    log:
        "<logs>/draw_scaling.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(1000),
        runtime="10m",
    params:
        code=code("draw_scaling"),
    shell:
        "python scripts/draw_scaling.py --leaderboard {input.leaderboard} --laws {output.laws}"
        " --plot {output.plot} > {log} 2>&1"


rule draw_methods:
    """How predictors compare in one task, in pictures."""
    input:
        ranks=rules.rank_predictors.output.categories,
        scores=rules.score_predictions.output.scores,
        splits=rules.make_splits.output.splits,
        targets=rules.choose_genes.output.targets,
        predictions=task_predictions,
        labels=lambda wildcards: list(task_labels(wildcards).values()),
    output:
        ranking=comparison_picture("ranking"),
        violins=comparison_picture("violins"),
        spatial=comparison_picture("spatial"),
        clusters=comparison_picture("clusters"),
        clusters_table="<results>/benchmark/figures/{task}/{protocol}/clusters.csv",
    log:
        "<logs>/draw_methods/{task}.{protocol}.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(4000),
        runtime="1h",
    params:
        given=lambda wildcards, input: as_json(
            {
                "predictions": list(map(str, input.predictions)),
                "metrics": config["metrics"],
                "genes": FIGURES.get("genes", []),
                "labels": as_json(task_labels(wildcards)),
            }
        ),
        seed=config["seed"],
        code=code(
            "draw_methods",
            lambda wildcards: [
                f"protocols/{wildcards.protocol}",
                *metric_code(wildcards),
            ],
        ),
    shell:
        "OMP_NUM_THREADS={threads} python scripts/draw_methods.py --given - --ranks {input.ranks}"
        " --scores {input.scores} --splits {input.splits} --targets {input.targets} --protocol {wildcards.protocol}"
        " --seed {params.seed} --ranking {output.ranking} --violins {output.violins} --spatial {output.spatial}"
        " --clusters {output.clusters} --clusters-table {output.clusters_table} <<< {params.given:q} > {log} 2>&1"


rule tabulate_efficiency:
    """What methods cost, when it is asked for by name: times differ from run to run."""
    input:
        predictions=expand(
            rules.fit_method.output.prediction,
            zip,
            **method_folds(),
        ),
    output:
        efficiency="<results>/benchmark/efficiency.csv",
        ranks="<results>/benchmark/efficiency_ranks.csv",
    log:
        "<logs>/tabulate_efficiency.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(1000),
        runtime="10m",
    params:
        given=lambda wildcards, input: as_json(
            {"predictions": list(map(str, input.predictions))}
        ),
        timings=f"benchmarks/{config['dataset']}/fit_method",
        models=f"results/{config['dataset']}/models",
        code=code("tabulate_efficiency"),
    shell:
        "python scripts/tabulate_efficiency.py --given - --timings {params.timings} --models {params.models}"
        " --efficiency {output.efficiency} --efficiency-ranks {output.ranks}"
        " <<< {params.given:q} > {log} 2>&1"


rule benchmark:
    """The leaderboard, scaling laws, pictures of tasks, and what fine-tuning changed."""
    input:
        [*rules.rank_predictors.output, *rules.draw_scaling.output]
        if config["tasks"]
        else [],
        rules.compare_released.output if RELEASED else [],
        (
            expand(
                rules.draw_methods.output,
                task=config["tasks"],
                protocol=config["protocols"],
            )
            if FIGURES.get("methods")
            else []
        ),
        expand(rules.evaluate_recipe.output.metrics, recipe=config["recipes"]),
        (
            expand(rules.evaluate_tuning.output.summary, recipe=config["recipes"])
            if EVALUATION.get("recipes")
            else []
        ),
