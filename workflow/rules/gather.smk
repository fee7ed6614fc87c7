"""What is gathered: files of the stages that a sample has, of samples, weights, predictions and scores."""

STORE = f"results/{config['dataset']}/samples/"


def store_of(task):
    """The folder of a task's samples; None stands for any task of our own."""
    return (
        f"results/{config['dataset']}/released/{task}/" if task in RELEASED else STORE
    )


def per_sample(file):
    """Params function: a path with `{sample}` in it, for gathers: thousands of paths would fill every log.

    `file` may hold wildcards of the job.
    """

    def found(wildcards):
        store, own = store_of(wildcards.get("task")), file.format(**wildcards)
        return f"{store}{{sample}}/{own}"

    return found


def taking(*paths):
    """Names the outputs that an input function chooses from, for Snakemake to know what makes them (lookups.smk)."""

    def named(function):
        function.takes = paths
        return function

    return named


def members(pattern):
    """Input function: `pattern` for every sample of the wildcard cohort."""
    return taking(pattern)(
        lambda wildcards: expand(
            pattern, sample=COHORTS[wildcards.cohort], allow_missing=True
        )
    )


def task_members(pattern):
    """Input function: `pattern` for every sample of the wildcard task."""

    def found(wildcards):
        task = wildcards.task
        return expand(
            pattern.replace(STORE, store_of(task)),
            sample=TABLES.task_samples(task),
            allow_missing=True,
        )

    # Released samples have rules of their own, so that with any it is not one rule that makes them all.
    return found if RELEASED else taking(pattern)(found)


def task_places(pattern):
    """Input function: `pattern` for every sample of the wildcard task, if its folds cut samples."""

    def found(wildcards):
        if splitting.over(TABLES.way_of(wildcards.task)) != splitting.PART:
            return []
        return task_members(pattern)(wildcards)

    return taking(pattern)(found)


def task_predictions(wildcards):
    """Input function: what every predictor says of every fold that the task can have."""
    common = {
        "task": wildcards.task,
        "protocol": wildcards.protocol,
        "fold": range(TABLES.fold_count(wildcards.task)),
    }
    return [
        *expand(
            rules.fit_probe.output.prediction,
            encoder=TABLES.scored_on(
                wildcards.task, config["encoders"], config["recipes"]
            ),
            probe=config["probes"],
            **common,
        ),
        *expand(rules.fit_method.output.prediction, method=config["methods"], **common),
    ]


def method_folds():
    """Wildcards of every fold of every method, a list each."""
    every = [
        (task, protocol, method, fold)
        for task in config["tasks"]
        for protocol in config["protocols"]
        for method in config["methods"]
        for fold in range(TABLES.fold_count(task))
    ]
    names = ("task", "protocol", "method", "fold")
    return {name: [one[at] for one in every] for at, name in enumerate(names)}


def task_labels(wildcards):
    """Sample -> table of labels, of the task's samples that have one."""
    samples = TABLES.task_samples(wildcards.task)
    return options.labels_of(FIGURES.get("labels", ""), samples)


def method_row(wildcards):
    return TABLES.methods[wildcards.method]


def method_pictures(wildcards):
    """Input function: patches of the task's samples, and slides where patches hold no pictures, of methods that need them."""
    if not needs(method_row(wildcards), PATCHES):
        return []
    patches = task_members(rules.extract_patches.output.patches)(wildcards)
    if config["patch"]["pictures"] or wildcards.task in RELEASED:
        return patches
    return [*patches, *task_members(rules.build_pyramid.output.slide)(wildcards)]


def method_embeddings(wildcards):
    """Input function: the list of embeddings of the encoder that a method's row names, if it names one."""
    encoder = method_row(wildcards).get("encoder")
    listed = rules.list_embeddings.output.listed
    return expand(listed, task=wildcards.task, encoder=encoder) if encoder else []


def method_options(wildcards):
    """Params function: where these lie, and where a network is kept; nothing for methods that they do not concern."""
    row, options = method_row(wildcards), []
    kind, encoder = row["kind"], row.get("encoder")
    if encoder:
        options.append(
            f"--embeddings {per_sample(f'embeddings/{encoder}.h5')(wildcards)}"
            f" --records {per_sample(f'records/embed_patches.{encoder}.json')(wildcards)}"
        )
    if needs(row, PATCHES):
        options.append(f"--patches {per_sample('patches.h5')(wildcards)}")
        if not config["patch"]["pictures"] and wildcards.task not in RELEASED:
            options.append(f"--slides {per_sample('slide.tif')(wildcards)}")
    if METHODS.constant(kind, "LEARNED", False):
        options.append(
            f"--model results/{config['dataset']}/models/"
            "{task}/{protocol}/{method}/fold{fold}".format(**wildcards)
        )
    return " ".join(options)


def scored(output, tasks):
    """The `scores` or the `folds` tables of tasks under every protocol."""
    return expand(
        rules.score_predictions.output[output],
        task=tasks,
        protocol=config["protocols"],
    )


def ranking_code(wildcards):
    """The entries that ranking looks at: metrics for their columns, protocols and splits for what they let through."""
    protocols = sorted(set(map(protocol_entry, config["protocols"])))
    ways = sorted({f"splitting/{TABLES.way_of(task)}" for task in config["tasks"]})
    return [*metric_code(wildcards), *protocols, *ways]


def metric_code(wildcards):
    """The entries of the registry of metrics that are chosen."""
    return [f"metrics/{metric}" for metric in config["metrics"]]


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


def when(condition, *paths):
    """Input function: `paths` for samples that meet a condition; nothing for others."""
    return taking(*paths)(lambda wildcards: list(paths) * condition(wildcards))


@functools.cache
def takes(entry, what):
    return options.takes(LIBRARY, entry, what)


def has_frame(wildcards):
    """Whether a frame of dots is printed around the sample's array."""
    return technology_of(wildcards)["fiducial_frame"] == "yes"


def is_registered(wildcards):
    """Whether the sample is placed by registering the instrument's own picture."""
    return takes(placing_of(wildcards), "registration")


def has_transcripts(wildcards):
    """Whether the sample is pooled from transcripts."""
    return takes(pooling_of(wildcards), "transcripts")


grids_in = functools.cache(has_grids)


def is_pooled(wildcards):
    """Whether the sample is pooled into the grids of the configuration."""
    return grids_in(technology_of(wildcards)["pooling"])


@functools.cache
def cells_in(sample):
    return options.has_cells(TABLES, sample)


def has_cells(wildcards):
    return cells_in(wildcards.sample)


@functools.cache
def bins_in(sample):
    return options.maps_bins(TABLES, sample)


def maps_bins(wildcards):
    return bins_in(wildcards.sample)


@functools.cache
def of_each_model(path):
    """A path for every nuclei model of the configuration; paths of no model as they are."""
    if "{nuclei}" not in path:
        return [path]
    return expand(path, nuclei=config["nuclei"], allow_missing=True)


def of_first_model(path):
    """A path for the nuclei model whose nuclei go into the spots; nothing where no nuclei are looked for."""
    return of_each_model(path)[:1]


def nuclei_code(wildcards):
    """The entry of the registry of nuclei methods that a job loads."""
    return [NUCLEI.module(TABLES.nuclei[wildcards.nuclei]["method"])]


def has_nuclei(wildcards):
    return bool(config["nuclei"])


def released_st(wildcards):
    """Input function: the AnnData to release, with nuclei counted where they are looked for."""
    if has_nuclei(wildcards):
        return rules.count_nuclei.output.counted
    return rules.assemble_sample.output.st


def has_matches(wildcards):
    """Whether nuclei are matched with the sample's cells."""
    return has_nuclei(wildcards) and has_cells(wildcards)


def has_biomarkers(wildcards):
    """Whether the sample's morphology is held against its expression."""
    return has_nuclei(wildcards) and bool(config["biomarkers"]["genes"])


@functools.cache
def stages_of_some():
    """Stages that only some samples have: the condition, the rule's outputs, and which of them are released."""
    warped = ("cell_seg", "cell_seg_geojson", "nucleus_seg", "nucleus_seg_geojson")
    biomarkers = ("correlations", "matrix", "heatmaps", "scatter")
    return (
        (has_frame, rules.detect_fiducials.output, ()),
        (
            is_registered,
            rules.register_sample.output,
            ("registration", "field", "overlay", "checkerboard"),
        ),
        (
            has_transcripts,
            rules.warp_transcripts.output,
            ("transcripts", *warped),
        ),
        (is_pooled, rules.pool_sample.output, ("other_pools",)),
        (has_cells, rules.assemble_cells.output, ("cells",)),
        (maps_bins, rules.map_bins.output, ("bin_cell_map",)),
        (has_nuclei, rules.segment_nuclei.output, ("nuclei", "geojson", "overlay")),
        (has_nuclei, rules.count_nuclei.output, ()),
        (has_nuclei, rules.measure_spots.output, ("spots",)),
        (has_matches, rules.match_cells.output, ("matches",)),
        (has_biomarkers, rules.explore_biomarkers.output, biomarkers),
    )


def some_records(wildcards):
    """Input function: the records of the stages that only some samples have."""
    return [
        path
        for has, output, _ in stages_of_some()
        if has(wildcards)
        for path in of_each_model(output.record)
    ]


def some_files(wildcards):
    """Input function: the released files of the stages that only some samples have."""
    named = [
        getattr(output, name)
        for has, output, names in stages_of_some()
        if has(wildcards)
        for name in names
    ]
    paths = [path for one in named for path in ([one] if isinstance(one, str) else one)]
    return [of_model for path in paths for of_model in of_each_model(path)]
