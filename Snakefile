"""From cohort tables to a dataset, and from the dataset to a leaderboard: the table of contents."""

import gc

from snakemake.utils import min_version

min_version("9.20")
# Hardly anything of a plan is ever let go: looking for it after every 700 new objects is a quarter of a large plan's time.
gc.set_threshold(100_000)


configfile: "config/config.yaml"


pathvars:
    results=f"results/{config['dataset']}",
    samples=f"results/{config['dataset']}/samples",
    logs=f"logs/{config['dataset']}",
    benchmarks=f"benchmarks/{config['dataset']}",


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/gather.smk"
include: "workflow/rules/ledger.smk"
include: "workflow/rules/fetch.smk"
include: "workflow/rules/read.smk"
include: "workflow/rules/register.smk"
include: "workflow/rules/align.smk"
include: "workflow/rules/pool.smk"
include: "workflow/rules/slide.smk"
include: "workflow/rules/tissue.smk"
include: "workflow/rules/nuclei.smk"
include: "workflow/rules/identity.smk"
include: "workflow/rules/assemble.smk"
include: "workflow/rules/biomarkers.smk"
include: "workflow/rules/batches.smk"
include: "workflow/rules/splits.smk"
include: "workflow/rules/finetune.smk"
include: "workflow/rules/together.smk"
include: "workflow/rules/embed.smk"


if RELEASED:

    include: "workflow/rules/released.smk"


include: "workflow/rules/probe.smk"
include: "workflow/rules/method.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/lookups.smk"
include: "workflow/rules/cluster.smk"


localrules:
    all,
    fetch,
    dataset,
    benchmark,


rule all:
    default_target: True
    input:
        rules.dataset.input if SAMPLES else [],
        rules.benchmark.input,
        rules.summarise_quality.output if SAMPLES else [],
        rules.explore_batches.output if batches.wanted(config) else [],


onerror:
    print(failed_lines())


onsuccess:
    print(
        closing.closing_lines(
            Path("results") / config["dataset"], TABLES, TASKS_LEFT_OUT
        )
    )
