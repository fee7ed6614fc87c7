rule fit_probe:
    input:
        splits=rules.make_splits.output.splits,
        expression=task_members(rules.assemble_sample.output.st),
        embeddings=task_members(rules.embed_patches.output.embeddings),
        records=task_members(rules.embed_patches.output.record),
    output:
        scores="<results>/benchmark/{task}/{protocol}/{encoder}/{probe}/scores.csv",
    log:
        "<logs>/fit_probe/{task}.{protocol}.{encoder}.{probe}.log",
    benchmark:
        "<benchmarks>/fit_probe/{task}.{protocol}.{encoder}.{probe}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(8000),
        runtime="2h",
    params:
        # The task with its notes: the leaderboard shows them.
        given=lambda wildcards: as_json(
            {
                "samples": TABLES.task_samples(wildcards.task),
                "task": TABLES.tasks[wildcards.task],
            }
        ),
        expression=per_sample("st.h5ad"),
        embeddings=per_sample("embeddings/{encoder}.h5"),
        records=per_sample("records/embed_patches.{encoder}.json"),
        seed=config["seed"],
        code=code(
            "fit_probe",
            lambda wildcards: [
                f"protocols/{wildcards.protocol}",
                f"probes/{wildcards.probe}",
            ],
        ),
    shell:
        "OMP_NUM_THREADS={threads} python scripts/fit_probe.py --splits {input.splits} --given -"
        " --protocol {wildcards.protocol} --probe {wildcards.probe} --encoder {wildcards.encoder}"
        " --expression {params.expression} --embeddings {params.embeddings} --records {params.records}"
        " --seed {params.seed} --scores {output.scores} <<< {params.given:q} > {log} 2>&1"


rule rank_encoders:
    input:
        scores=all_scores,
    output:
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
        "<logs>/rank_encoders.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="10m",
    params:
        given=lambda wildcards, input: as_json({"scores": list(map(str, input.scores))}),
        code=code("rank_encoders"),
    shell:
        "python scripts/rank_encoders.py --given - --leaderboard {output.leaderboard} --plot {output.plot}"
        " <<< {params.given:q} > {log} 2>&1"


rule benchmark:
    """The leaderboard, and what fine-tuning changed."""
    input:
        rules.rank_encoders.output if config["tasks"] else [],
        expand(rules.evaluate_recipe.output.metrics, recipe=config["recipes"]),
