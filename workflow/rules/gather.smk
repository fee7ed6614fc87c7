"""What is gathered: files of the samples of a cohort, a task or a recipe, weights and scores."""


def per_sample(file):
    """Params function: a path with `{sample}` in it, for gathers: thousands of paths would fill every log.

    `file` may hold wildcards of the job.
    """
    return (
        lambda wildcards: f"results/{config['dataset']}/samples/{{sample}}/"
        + file.format(**wildcards)
    )


def members(pattern):
    """Input function: `pattern` for every sample of the wildcard cohort."""
    return lambda wildcards: expand(
        pattern, sample=COHORTS[wildcards.cohort], allow_missing=True
    )


def task_members(pattern):
    """Input function: `pattern` for every sample of the wildcard task."""
    return lambda wildcards: expand(
        pattern, sample=TABLES.task_samples(wildcards.task), allow_missing=True
    )


def scores_of(task, encoder):
    """Paths of one encoder's scores on a task, under every protocol and probe."""
    return expand(
        rules.fit_probe.output.scores,
        task=task,
        encoder=encoder,
        protocol=config["protocols"],
        probe=config["probes"],
    )


def all_scores(wildcards):
    """Input function: every cell of the leaderboard."""
    return [
        path
        for task in config["tasks"]
        for encoder in TABLES.scored_on(task, config["encoders"], config["recipes"])
        for path in scores_of(task, encoder)
    ]


def recipe_task(wildcards):
    return TABLES.recipes[wildcards.recipe]["task"]


def recipe_members(pattern):
    """Input function: `pattern` for every sample of the recipe's task."""
    return lambda wildcards: expand(
        pattern, sample=TABLES.task_samples(recipe_task(wildcards))
    )


def fold_weights(wildcards):
    """Input function: the weights of every fold of a recipe; nothing for other encoders."""
    if wildcards.encoder not in TABLES.recipes:
        return []
    folds = range(TABLES.fold_count(TABLES.recipes[wildcards.encoder]["task"]))
    weights = rules.finetune_encoder.output.weights
    return expand(weights, recipe=wildcards.encoder, fold=folds)
