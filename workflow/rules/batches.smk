rule explore_batches:
    input:
        shards=expand(rules.assemble_cohort.output.shard, cohort=COHORTS),
        st=expand(released_st(None), sample=sorted(SAMPLES)),
    output:
        scores="<results>/batches/scores.csv",
        looked_at="<results>/batches/samples.csv",
        picture=report(
            "<results>/batches/umap.png",
            category="Batches",
            caption="../report/batches.rst",
            labels={"what": "before and after corrections"},
        ),
    log:
        "<logs>/explore_batches.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(4000),
        runtime="2h",
    params:
        given=as_json(
            {
                "samples": sorted(SAMPLES),
                "settings": batches.settings(config),
                "listed": batches.genes(config),
            }
        ),
        st=per_sample(Path(released_st(None)).name),
        seed=config["seed"],
        code=code(
            "explore_batches",
            lambda wildcards: map(CORRECTIONS.module, batches.corrections(config)),
        ),
    shell:
        "python scripts/explore_batches.py --shards {input.shards} --given - --st {params.st} --seed {params.seed}"
        " --scores {output.scores} --looked-at {output.looked_at} --picture {output.picture}"
        " <<< {params.given:q} > {log} 2>&1"
