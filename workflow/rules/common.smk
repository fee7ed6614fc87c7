"""The tables, the wildcards and every helper the rules use."""

import functools
import json
import os
import re
import sys
from pathlib import Path

from snakemake.dag import DAG
from snakemake.exceptions import WorkflowError

ROOT = Path(workflow.basedir)
LIBRARY = ROOT / "workflow"
sys.path.insert(0, str(LIBRARY))

from spotweave import ledger
from spotweave.tables import load as tables
from spotweave.addresses import public_row
from spotweave.codehash import code_hash
from spotweave.errors import TableFaults
from spotweave.sources import find_place, local_sizes
from spotweave.sources import names as source_names
from spotweave.tissue.methods import TISSUE_METHODS

try:
    TABLES = tables.load(
        config,
        schemas=LIBRARY / "schemas",
        library=LIBRARY / "spotweave",
        config_source=" + ".join(map(str, dict.fromkeys(workflow.configfiles))),
        config_files=map(Path, dict.fromkeys(map(str, workflow.configfiles))),
    )
except TableFaults as faults:
    raise WorkflowError(str(faults))

SAMPLES = TABLES.samples
COHORTS = TABLES.cohorts
# A choice of samples may leave a task without donors to test on: it is left out, and the closing lines say so.
config["tasks"], TASKS_LEFT_OUT = TABLES.runnable_tasks(config["tasks"])
config["recipes"] = [
    name
    for name in config["recipes"]
    if TABLES.recipes[name]["task"] in config["tasks"]
]
# Every encoder that may be asked for: the chosen ones, the recipes' own and those the recipes start from.
ENCODERS = list(
    dict.fromkeys(
        [
            *config["encoders"],
            *config["recipes"],
            *(TABLES.recipes[recipe]["base_encoder"] for recipe in config["recipes"]),
        ]
    )
)
LIMITS = config["limits"]


# How patiently files are fetched changes none of them: handed on beside the commands, which Snakemake tracks.
os.environ.update(
    SPOTWEAVE_FETCH_ATTEMPTS=str(config["fetch"]["attempts"]),
    SPOTWEAVE_FETCH_TIMEOUT_S=str(config["fetch"]["timeout_s"]),
    SPOTWEAVE_FETCH_UNANNOUNCED_MAX_GB=str(config["fetch"]["unannounced_max_gb"]),
    SPOTWEAVE_FETCH_FREE_MIN_GB=str(config["fetch"]["free_min_gb"]),
)


# What every job has written, by its own account.
LEDGER = ledger.Ledger(Path("results") / config["dataset"] / ".ledger")
os.environ[ledger.VARIABLE] = str(LEDGER.root)
FAULTS_SHOWN = 8


def distrust_damaged(dag):
    """Have the jobs run again whose files have gone, or are not as they were written.

    Snakemake itself asks for a missing file only where it is a target or a job that has to run needs it.
    """
    damaged = []
    for job in dag.jobs:
        if not job.output:
            continue
        gone = [path for path in job.output if not os.path.lexists(path)]
        faults = LEDGER.faults(job.output)
        if gone:
            dag.reason(job).missing_output.update(gone)
        elif faults:
            dag.forcefiles.update(job.output)
        damaged += faults
    if damaged:
        shown = [f"  {fault}" for fault in damaged[:FAULTS_SHOWN]]
        more = len(damaged) - len(shown)
        print(
            f"{len(damaged)} files are not as their jobs left them; those jobs run again:",
            *shown,
            *([f"  and {more} more"] if more else []),
            sep="\n",
            file=sys.stderr,
        )


def heed_the_ledger():
    """Look into the ledger when the jobs are known and before it is decided which have to run.

    That is where Snakemake looks for incomplete files, which these are a kind of; it has no hook there.
    """
    check = DAG.check_incomplete

    async def check_incomplete(dag):
        await check(dag)
        if dag.workflow is workflow:
            distrust_damaged(dag)

    DAG.check_incomplete = check_incomplete


def say_how_to_unlock():
    """What to type after a run was killed, before Snakemake says that its folder is locked."""
    there = any(Path(".snakemake/locks").glob("*"))
    if there and not workflow.dryrun and "--unlock" not in sys.argv:
        print(
            "Another run is at work here, or was killed. If it was killed, type your command once with --unlock added,"
            " then as before with --rerun-incomplete (the profiles have it).",
            file=sys.stderr,
        )


# A job on a cluster node plans itself alone, and its outputs are being made.
if workflow.is_main_process:
    heed_the_ledger()
    say_how_to_unlock()


def one_of(names):
    """Wildcard constraint: exactly these names."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    sample=r"[A-Za-z0-9][A-Za-z0-9-]*",
    cohort=one_of(COHORTS),
    encoder=one_of(ENCODERS),
    task=one_of(config["tasks"]),
    recipe=one_of(config["recipes"]),
    protocol=one_of(config["protocols"]),
    probe=one_of(config["probes"]),
    fold=r"\d+",


def code(script, units=None, files=()):
    """Content hash of a script, all library modules it uses and the `files` it reads beside its inputs.

    `units` is a function of the wildcards that names the registry modules the job loads (["readers/st_v1"]): only the
    jobs that load them depend on them.
    """
    always = (ROOT / "scripts" / f"{script}.py", *(ROOT / file for file in files))
    if units is None:
        return code_hash(LIBRARY, *always)

    def hashed(wildcards):
        modules = [LIBRARY / "spotweave" / f"{unit}.py" for unit in units(wildcards)]
        return code_hash(LIBRARY, *always, *modules)

    return hashed


def reader_of(wildcards):
    """The reader of the sample's technology."""
    return TABLES.technologies[SAMPLES[wildcards.sample]["technology"]]["reader"]


# Cells for people and schedulers: no result depends on them.
REMARKS = {"notes", "licence", "gated", "gpu"}


def unit(row):
    """A registry row as a job sees it: rewording a remark rebuilds nothing."""
    return as_json({name: cell for name, cell in row.items() if name not in REMARKS})


def as_json(content):
    """A value for one command-line argument, or for `--given -` (spotweave.arguments); quote it with :q."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def scaled_mem(base_mb):
    """Memory that doubles with each retry."""
    return lambda wildcards, attempt: base_mb * 2 ** (attempt - 1)


def per_sample(file):
    """Params function: a path with `{sample}` in it, for gathers: thousands of paths would fill every log.

    `file` may hold wildcards of the rule.
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


def closing_line():
    """What a finished run says: where the results are and how many samples were refused."""
    results = Path("results") / config["dataset"]
    quarantine = results / "quarantine.csv"
    if not quarantine.exists():
        return "done"
    refused = len(quarantine.read_text().splitlines()) - 1
    lines = [
        f"dataset      {results}/{config['dataset']}.csv"
        f"  ({len(SAMPLES) - refused} of {len(SAMPLES)} samples accepted)",
        f"quarantine   {quarantine}  ({refused} refused)",
    ]
    if TABLES.left_out:
        lines.append(
            f"left out     {results}/left_out.csv  ({len(TABLES.left_out)} samples not chosen)"
        )
    lines += [
        f"left out     task {task}: {why}" for task, why in TASKS_LEFT_OUT.items()
    ]
    return "\n".join(lines)


def known_identities(samples):
    """The rows of resources/identities.csv that speak of these samples, as JSON."""
    there = set(samples)
    return as_json(
        [
            row
            for row in TABLES.identities
            if there.issuperset({row["sample_a"], row.get("sample_b", row["sample_a"])})
        ]
    )


def with_donors(samples):
    """Samples and, in their order, their donors: the options of scripts that gather over donors."""
    return {
        "samples": list(samples),
        "donors": [SAMPLES[sample]["donor"] for sample in samples],
    }


def left_out_by_reason():
    """Reason -> samples that the query or the licences leave out."""
    reasons = {}
    for sample, reason in TABLES.left_out.items():
        reasons.setdefault(reason, []).append(sample)
    return reasons


def picture(path, what):
    """A sample's picture, in the report as long as the dataset is small enough for one HTML file."""
    if len(SAMPLES) > config["report_pictures_up_to"]:
        return path
    return report(
        path,
        category="Samples",
        caption="../report/pictures.rst",
        labels={"sample": "{sample}", "what": what},
    )


# Cells of a row that say where a file is: those with a checksum of their own.
PLACES = [column.removesuffix("_checksum") for column in TABLES.checksum_columns]
COHORT_TABLES = {Path(path).stem: path for path in config["cohorts"]}


def wanted_files(wildcards):
    """What the row asks for: the request as the fetch script takes it, with licence and folder.

    The sizes of local files are in it, so that one that appears, goes or changes its size is noticed at the next run.
    Commands are logged: an address that holds a token is given without it, and the script looks into the table.
    """
    row = SAMPLES[wildcards.sample]
    named = public_row({role: row[role] for role in PLACES if role in row}, PLACES)
    given = {
        role: {"location": place, "checksum": row.get(f"{role}_checksum", "")}
        for role, place in named.items()
    }
    request = {
        "sample": wildcards.sample,
        "reader": reader_of(wildcards),
        "given": given,
        **{
            name: row[name]
            for name in ("source", "accession", "files", "unit")
            if name in row
        },
    }
    if any(row[role] != place for role, place in named.items()):
        request["table"] = COHORT_TABLES[row["cohort"]]
    options = {
        "request": request,
        "folder": f"{config['raw_dir']}/{row['cohort']}/{wildcards.sample}",
        "licence": row.get("licence", "unspecified"),
    }
    return {"given": as_json(options), "local_bytes": local_bytes(row)}


def local_bytes(row):
    """Sizes of the local files that a row names, by path; what cannot be looked at is the fetch's to refuse."""
    if row["source"] != "file":
        return []
    accession = row.get("accession")
    places = [
        find_place(row[role], "file", accession) for role in PLACES if role in row
    ]
    named = [place.location for place in places if place.source == "file"]
    return local_sizes(named, accession if not row.get("counts") else None)


@functools.cache
def used_sources(sample):
    """The sources of a row's files: its own, and that of each place that names another."""
    row = SAMPLES[sample]
    accession = row.get("accession")
    used = {
        find_place(row[role], row["source"], accession).source
        for role in PLACES
        if role in row
    }
    return frozenset({row["source"], *used})


def sources_of(wildcards):
    """The modules that fetch a sample's files."""
    return [f"sources/{source}" for source in sorted(used_sources(wildcards.sample))]


def takes_from(source):
    """Resource function: 1 for a sample that is fetched from this source, so that a profile can limit each."""
    return lambda wildcards: int(source in used_sources(wildcards.sample))


def has_frame(wildcards):
    """Whether the sample's array is printed with a fiducial frame."""
    return reader_of(wildcards) == "visium"


def if_frame(path):
    """Input function: `path` for samples whose array has a fiducial frame; nothing for others."""
    return lambda wildcards: [path] if has_frame(wildcards) else []


def array_options(wildcards):
    """The aligner's options that the row, or else its technology, gives."""
    row = SAMPLES[wildcards.sample]
    usual = TABLES.technologies[row["technology"]]
    given = {
        "--spots-to-image-scale": row.get("spots_to_image_scale"),
        "--stated-pixel-size-um": row.get("pixel_size_um"),
    }
    for name in ("array_pitch_x_um", "array_pitch_y_um", "spot_diameter_um"):
        given[f"--{name.replace('_', '-')}"] = row.get(name) or usual.get(name)
    return " ".join(f"{option} {value}" for option, value in given.items() if value)


def recipe_members(pattern):
    """Input function: `pattern` for every sample of the recipe's task."""

    def paths(wildcards):
        task = TABLES.recipes[wildcards.recipe]["task"]
        return expand(pattern, sample=TABLES.task_samples(task))

    return paths


def recipe_task(wildcards):
    return TABLES.recipes[wildcards.recipe]["task"]


def base_row(recipe):
    """The row of the encoder that a recipe starts from."""
    return TABLES.encoders[TABLES.recipes[recipe]["base_encoder"]]


def network_threads(row):
    """Small networks gain nothing from a second core; beside a GPU, cores keep it fed."""
    return 4 if int(row["gpu"]) else 1


def encoder_row(encoder):
    """An encoder's row; a recipe's encoder is its base's with the recipe's weights."""
    if encoder in TABLES.recipes:
        return {**base_row(encoder), "encoder": encoder, "builder": "finetuned"}
    return TABLES.encoders[encoder]


def encoder_code(wildcards):
    """The modules an encoder needs: its builder's and, for a recipe, its base's."""
    row = encoder_row(wildcards.encoder)
    builders = {row["builder"]}
    if wildcards.encoder in TABLES.recipes:
        builders.add(base_row(wildcards.encoder)["builder"])
    return [f"encoders/{builder}" for builder in sorted(builders)]


def fold_weights(wildcards):
    """Input function: the weights of every fold of a recipe; nothing for other encoders."""
    if wildcards.encoder not in TABLES.recipes:
        return []
    task = TABLES.recipes[wildcards.encoder]["task"]
    return expand(
        rules.finetune_encoder.output.weights,
        recipe=wildcards.encoder,
        fold=range(TABLES.fold_count(task)),
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
    """Every cell of the leaderboard. A recipe's encoder has seen its own task's training donors only: it is scored there."""
    return [
        path
        for task in config["tasks"]
        for encoder in [
            *config["encoders"],
            *(
                recipe
                for recipe in config["recipes"]
                if TABLES.recipes[recipe]["task"] == task
            ),
        ]
        for path in scores_of(task, encoder)
    ]
