"""The tables, the wildcards and what the rules share."""

import functools
import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

ROOT = Path(workflow.basedir)
LIBRARY = ROOT / "workflow"
sys.path.insert(0, str(LIBRARY))

from spotweave import splitting
from spotweave.addresses import public_row
from spotweave.arguments import as_json
from spotweave.batch.corrections import CORRECTIONS
from spotweave.codehash import code_hash
from spotweave.errors import TableFaults
from spotweave.methods import METHODS, PATCHES, needs
from spotweave.nuclei import NUCLEI
from spotweave.plan import batches, closing, options, requests, tables
from spotweave.pooling import has_grids
from spotweave.readers import modules as reader_modules
from spotweave.recipes import RECIPES, stand_ins
from spotweave.sources import SOURCES
from spotweave.tables import switches
from spotweave.tissue.methods import NO_WEIGHTS, TISSUE_METHODS

try:
    TABLES = tables.load(
        config,
        ROOT,
        config_source=" + ".join(map(str, dict.fromkeys(workflow.configfiles))),
        files=map(Path, dict.fromkeys(map(str, workflow.configfiles))),
    )
except TableFaults as faults:
    raise WorkflowError(str(faults))

SAMPLES = TABLES.samples
COHORTS = TABLES.cohorts
COHORT_TABLES = {Path(path).stem: path for path in config["cohorts"]}
# A choice of samples may leave a task without donors to test on: it is left out, and the closing lines say so.
config["tasks"], TASKS_LEFT_OUT = TABLES.runnable_tasks(config["tasks"])
# Those read from HEST-Benchmark's release; their samples are their own, and lie beside those of the cohorts.
RELEASED = [task for task in config["tasks"] if task in TABLES.released]
OWN_TASKS = [task for task in config["tasks"] if task not in RELEASED]
config["recipes"] = [
    name
    for name in config["recipes"]
    if TABLES.recipes[name]["task"] in config["tasks"]
]
LIMITS = config["limits"]
FIGURES = config.get("figures", {})
EVALUATION = config.get("evaluation", {})

# No more downloads from a publisher side by side than its row says; --resources and the profiles may say otherwise.
for source, most in TABLES.downloads_at_once.items():
    if f"{source}_downloads" not in workflow.global_resources:
        workflow.register_resource(f"{source}_downloads", most)

# How patiently files are fetched changes none of them: handed on beside the commands, which Snakemake tracks.
os.environ.update(
    SPOTWEAVE_FETCH_ATTEMPTS=str(config["fetch"]["attempts"]),
    SPOTWEAVE_FETCH_TIMEOUT_S=str(config["fetch"]["timeout_s"]),
    SPOTWEAVE_FETCH_UNANNOUNCED_MAX_GB=str(config["fetch"]["unannounced_max_gb"]),
    SPOTWEAVE_FETCH_FREE_MIN_GB=str(config["fetch"]["free_min_gb"]),
)


def one_of(names):
    """Wildcard constraint: exactly these names."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    sample=r"[A-Za-z0-9][A-Za-z0-9-]*",
    cohort=one_of(COHORTS),
    encoder=one_of(
        TABLES.encoders_needed(
            config["encoders"], config["recipes"], config["methods"]
        )
    ),
    task=one_of(config["tasks"]),
    recipe=one_of(config["recipes"]),
    protocol=one_of(config["protocols"]),
    probe=one_of(config["probes"]),
    method=one_of(config["methods"]),
    nuclei=one_of(config["nuclei"]),
    fold=r"\d+",


@functools.cache
def entry_file(entry):
    """The file of an entry of a registry; of one that is a package its `__init__`."""
    path = LIBRARY / "spotweave" / f"{entry}.py"
    return path if path.is_file() else path.with_suffix("") / "__init__.py"


def code(script, entries=None, files=()):
    """Content hash of a script, all library modules it uses and the `files` it reads beside its inputs.

    `entries` is a function of the wildcards that names the entries of registries that the job loads
    (["readers/st_v1"]): only the jobs that load them depend on them.
    """
    always = (ROOT / "scripts" / f"{script}.py", *(ROOT / file for file in files))
    if entries is None:
        return code_hash(LIBRARY, *always)

    def hashed(wildcards):
        loaded = map(entry_file, entries(wildcards))
        return code_hash(LIBRARY, *always, *loaded)

    return hashed


def protocol_entry(name):
    """The entry of a protocol, its switches left out: they are in the command, and in the paths."""
    return f"protocols/{switches.base_of(name)}"


def row_json(row):
    """A row of a table as a job sees it, without remarks."""
    return as_json(options.without_remarks(row))


def scaled_mem(base_mb):
    """Memory that doubles with each retry."""
    return lambda wildcards, attempt: base_mb * 2 ** (attempt - 1)


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


def biomarker_picture(what):
    """A picture of morphology against expression, in the report like a sample's others."""
    return picture(f"<samples>/{{sample}}/biomarkers_{what}.png", f"biomarkers, {what}")


def comparison_picture(what):
    """A picture of how predictors compare in a task, in the report."""
    return report(
        f"<results>/benchmark/figures/{{task}}/{{protocol}}/{what}.png",
        category="Leaderboard",
        subcategory="{task}",
        caption="../report/methods.rst",
        labels={"what": what, "protocol": "{protocol}"},
    )


def wanted_files(wildcards):
    """The request of the fetch script, and the sizes of local files."""
    row = SAMPLES[wildcards.sample]
    table = COHORT_TABLES[row["cohort"]]
    given = requests.fetch_options(TABLES, wildcards.sample, config["raw_dir"], table)
    return {
        "given": as_json(given),
        "local_bytes": requests.local_bytes(row, TABLES.file_columns),
    }


@functools.cache
def used_sources(sample):
    return requests.used_sources(SAMPLES[sample], TABLES.file_columns)


def all_used_sources():
    """The sources that any sample is fetched from: a job has no limit of the others to be held against."""
    return sorted(set().union(*map(used_sources, SAMPLES)))


def takes_from(source):
    """Resource function: 1 for a sample that is fetched from this source, so that a profile can limit each."""
    return lambda wildcards: int(source in used_sources(wildcards.sample))


def technology_of(wildcards):
    return TABLES.technology_of(wildcards.sample)


def placing_of(wildcards):
    return f"placing/{technology_of(wildcards)['placing']}"


def pooling_of(wildcards):
    return f"pooling/{technology_of(wildcards)['pooling']}"


def limits_of(module):
    """The limits that a module of the library uses, as JSON: no other reaches the job."""
    return as_json(
        options.limits_of(LIBRARY / "spotweave" / f"{module}.py", config["limits"])
    )


def reader_of(wildcards):
    return technology_of(wildcards)["reader"]


def settings_of(wildcards):
    """The configuration that shaped a sample; what only other technologies use is left out."""
    names = ["limits", "patch", "slide", "tissue", "nuclei"]
    names += ["registration"] * is_registered(wildcards)
    names += ["pool"] * is_pooled(wildcards)
    names += ["biomarkers"] * has_biomarkers(wildcards)
    return {name: config[name] for name in names}


def network_threads(row):
    """Small networks gain nothing from a second core; beside a GPU, cores keep it fed."""
    return 4 if int(row["gpu"]) else 1
