"""Tasks read from HEST-Benchmark's released folder: their samples, splits and genes. What comes after is as for others."""

RELEASED_DIR = Path(config["released_dir"]).expanduser()
RELEASED_NEED_UM = any(
    needs(TABLES.methods[name], PATCHES) for name in config["methods"]
)
RELEASED_ENCODERS = TABLES.encoders_needed(config["encoders"], [], config["methods"])


def released_sample(wildcards):
    return TABLES.released[wildcards.task].samples[wildcards.sample]


def released_texts(wildcards):
    """Input function: the csv files of a task's folds and its list of genes."""
    return TABLES.released[wildcards.task].texts(RELEASED_DIR)


def released_options(wildcards):
    """Params function: the folder, and the name of the task in it."""
    return {
        "root": str(RELEASED_DIR),
        "name": TABLES.released[wildcards.task].name,
    }


rule take_released:
    """What is made of a sample of the release: looked at, not copied; counts of the genes that its task asks for."""
    input:
        texts=released_texts,
        pictures=lambda wildcards: released_sample(wildcards).patches.path,
        counts=lambda wildcards: released_sample(wildcards).expression.path,
    output:
        patches="<results>/released/{task}/{sample}/patches.h5",
        targets="<results>/released/{task}/{sample}/targets.h5",
        alignment="<results>/released/{task}/{sample}/alignment.json",
        record="<results>/released/{task}/{sample}/records/take_released.json",
    log:
        "<logs>/take_released/{task}.{sample}.log",
    wildcard_constraints:
        sample=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(4000),
        runtime="1h",
    params:
        given=lambda wildcards: as_json(
            {**released_options(wildcards), "sample": wildcards.sample}
        ),
        size_px=config["patch"]["size_px"],
        um_per_px=config["patch"]["pixel_size_um"],
        needs_um=" --needs-um" * RELEASED_NEED_UM,
        code=code("take_released"),
    shell:
        "python scripts/take_released.py --given - --size-px {params.size_px} --um-per-px {params.um_per_px}{params.needs_um} --patches {output.patches}"
        " --targets {output.targets} --alignment {output.alignment} --record {output.record}"
        " --code {params.code} <<< {params.given:q} > {log} 2>&1"


rule split_released:
    """The folds of the release; none, and the reason, where one of its samples is not what it should be."""
    input:
        texts=released_texts,
        records=lambda wildcards: expand(
            rules.take_released.output.record,
            sample=TABLES.task_samples(wildcards.task),
            allow_missing=True,
        ),
    output:
        splits="<results>/benchmark/{task}/splits.json",
    log:
        "<logs>/split_released/{task}.log",
    wildcard_constraints:
        task=one_of(RELEASED),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime="10m",
    params:
        given=lambda wildcards: as_json(
            {
                **released_options(wildcards),
                "task": wildcards.task,
                "samples": TABLES.task_samples(wildcards.task),
            }
        ),
        records=per_sample("records/take_released.json"),
        code=code("split_released"),
    shell:
        "python scripts/split_released.py --given - --records {params.records} --splits {output.splits}"
        " <<< {params.given:q} > {log} 2>&1"


rule gather_released:
    """Genes and counts of a task, once for all predictors: the release's genes under every protocol."""
    input:
        splits=rules.split_released.output.splits,
        targets=lambda wildcards: expand(
            rules.take_released.output.targets,
            sample=TABLES.task_samples(wildcards.task),
            allow_missing=True,
        ),
    output:
        targets="<results>/benchmark/{task}/{protocol}/targets.h5",
    log:
        "<logs>/gather_released/{task}.{protocol}.log",
    wildcard_constraints:
        task=one_of(RELEASED),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(4000),
        runtime="30m",
    params:
        given=lambda wildcards: as_json(
            {"samples": TABLES.task_samples(wildcards.task)}
        ),
        targets=per_sample("targets.h5"),
        code=code("gather_released"),
    shell:
        "python scripts/gather_released.py --splits {input.splits} --given - --of-sample {params.targets}"
        " --targets {output.targets} <<< {params.given:q} > {log} 2>&1"


use rule embed_patches as embed_released with:
    input:
        patches=rules.take_released.output.patches,
        slide=[],
        folds=[],
        together=[],
    output:
        embeddings="<results>/released/{task}/{sample}/embeddings/{encoder}.h5",
        record="<results>/released/{task}/{sample}/records/embed_patches.{encoder}.json",
    log:
        "<logs>/embed_released/{task}.{sample}.{encoder}.log",
    benchmark:
        "<benchmarks>/embed_released/{task}.{sample}.{encoder}.tsv"
    wildcard_constraints:
        sample=r"[A-Za-z0-9][A-Za-z0-9_.-]*",


rule compare_released:
    """Beside published numbers; each that was measured is a line of a ledger, which is no output: it holds dates."""
    input:
        scores="<results>/benchmark/scores.parquet",
        folds="<results>/benchmark/folds.csv",
        splits=expand(rules.split_released.output.splits, task=RELEASED),
    output:
        published="<results>/benchmark/published.csv",
        tasks="<results>/benchmark/released.csv",
    log:
        "<logs>/compare_released.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(2000),
        runtime="10m",
    params:
        given=lambda wildcards, input: as_json(
            {
                "tasks": RELEASED,
                "splits": list(map(str, input.splits)),
                "names": {
                    task: TABLES.tasks[task]["released"]
                    for task in [*RELEASED, *TABLES.released_left_out]
                },
                "left_out": TABLES.released_left_out,
                "encoders": {
                    name: {
                        "code": embedding_code(name),
                        "weights": options.weights_of(TABLES.encoder_row(name)),
                    }
                    for name in RELEASED_ENCODERS
                },
                # What a number was measured with: other code, another line of the ledger.
                "fits": {
                    f"{probe} {protocol}": code(
                        "fit_probe",
                        lambda _: [protocol_entry(protocol), f"probes/{probe}"],
                    )(None)
                    for probe in config["probes"]
                    for protocol in config["protocols"]
                },
            }
        ),
        ledger=f"results/{config['dataset']}/measured.jsonl",
        seed=config["seed"],
        code=code("compare_released"),
    shell:
        "python scripts/compare_released.py --scores {input.scores} --folds {input.folds} --given -"
        " --seed {params.seed} --ledger {params.ledger}"
        " --published {output.published} --tasks-table {output.tasks} <<< {params.given:q} > {log} 2>&1"
