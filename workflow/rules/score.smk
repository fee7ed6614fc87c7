rule score_predictions:
    input:
        splits=rules.make_splits.output.splits,
        targets=rules.choose_genes.output.targets,
        predictions=task_predictions,
    output:
        scores="<results>/benchmark/{task}/{protocol}/scores.parquet",
        folds="<results>/benchmark/{task}/{protocol}/folds.csv",
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
            }
        ),
        seed=config["seed"],
        code=code(
            "score_predictions",
            lambda wildcards: [
                f"protocols/{wildcards.protocol}",
                *metric_code(wildcards),
            ],
        ),
    shell:
        "python scripts/score_predictions.py --splits {input.splits} --targets {input.targets} --given -"
        " --protocol {wildcards.protocol} --seed {params.seed}"
        " --scores {output.scores} --folds {output.folds} <<< {params.given:q} > {log} 2>&1"


rule rank_predictors:
    input:
        parts=scored("scores", config["tasks"]),
        fold_parts=scored("folds", config["tasks"]),
    output:
        scores="<results>/benchmark/scores.parquet",
        folds="<results>/benchmark/folds.csv",
        leaderboard=report(
            "<results>/benchmark/leaderboard.csv",
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
                "metrics": config["metrics"],
                "notes": {
                    task: TABLES.tasks[task].get("notes", "")
                    for task in config["tasks"]
                },
            }
        ),
        code=code("rank_predictors", metric_code),
    shell:
        "python scripts/rank_predictors.py --given - --scores {output.scores}"
        " --folds {output.folds} --leaderboard {output.leaderboard} --plot {output.plot}"
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


rule benchmark:
    """The leaderboard, scaling laws, and what fine-tuning changed."""
    input:
        [*rules.rank_predictors.output, *rules.draw_scaling.output]
        if config["tasks"]
        else [],
        expand(rules.evaluate_recipe.output.metrics, recipe=config["recipes"]),
