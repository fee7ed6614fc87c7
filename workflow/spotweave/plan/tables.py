"""All tables of a run: read once, checked whole before anything starts.

All faults of all tables are collected and raised together as `TableFaults`. Nothing here may import more than the
standard library, PyYAML and fastjsonschema: it runs at the start of every job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spotweave import splitting
from spotweave.errors import TableFaults
from spotweave.placing import PLACINGS
from spotweave.plan import batches, released
from spotweave.plan.benchmark import entry_faults, task_faults
from spotweave.plan.models import (
    cellvit_faults,
    environment_faults,
    method_columns,
    method_faults,
    model_faults,
    nuclei_faults,
    recipe_columns,
)
from spotweave.plan.samples import read_cohorts, sample_faults
from spotweave.pooling import POOLINGS
from spotweave.readers import layout_fault
from spotweave.registry import Registry, nearest
from spotweave.released.folder import ReleasedTask
from spotweave.sources import source_fault
from spotweave.tables import config as configuration
from spotweave.tables import selection
from spotweave.tables.rows import Row, read_table
from spotweave.tables.schemas import parsed
from spotweave.tissue.methods import faults as tissue_faults

MIN_GROUPS = 2  # a fold trains on one and tests on another


@dataclass(frozen=True)
class Tables:
    """What the workflow knows before the first job: rows by their keys, in the order of the tables."""

    samples: dict[str, Row]
    cohorts: dict[str, tuple[str, ...]]
    technologies: dict[str, Row]
    encoders: dict[str, Row]
    tasks: dict[str, Row]
    recipes: dict[str, Row]
    left_out: dict[str, str] = field(default_factory=dict)
    cohort_left_out: dict[str, int] = field(default_factory=dict)
    file_columns: tuple[str, ...] = ()
    identities: tuple[Row, ...] = ()
    downloads_at_once: dict[str, int] = field(default_factory=dict)
    nuclei: dict[str, Row] = field(default_factory=dict)
    methods: dict[str, Row] = field(default_factory=dict)
    cohort_columns: tuple[str, ...] = ()
    released: dict[str, ReleasedTask] = field(default_factory=dict)
    released_left_out: dict[str, str] = field(default_factory=dict)

    def technology_of(self, sample: str) -> Row:
        """The row of the sample's technology."""
        return self.technologies[self.samples[sample]["technology"]]

    def reader_of(self, sample: str) -> str:
        """The reader of the sample's technology."""
        return self.technology_of(sample)["reader"]

    def runnable_tasks(self, names: Iterable[str]) -> tuple[list[str], dict[str, str]]:
        """The tasks that this choice of samples can run, and why each of the others cannot.

        A task is only left out for what the choice took from it: without a choice, every task runs.
        """
        runnable: list[str] = []
        why: dict[str, str] = {}
        for task in names:
            row = self.tasks[task]
            if released.COLUMN in row:
                runnable += [task] * (task in self.released)
                why |= {task: self.released_left_out[task]} if task in self.released_left_out else {}
                continue
            lost = [name for name in row.get("samples", "").split() if name in self.left_out]
            is_cut = lost or any(self.cohort_left_out.get(cohort) for cohort in row["cohorts"].split())
            is_cut = is_cut or bool(row.get("query"))
            what = splitting.over(self.way_of(task))
            least, what = (1, "sample") if what == splitting.PART else (MIN_GROUPS, what)
            groups = self._groups(task, what)
            if is_cut and groups < least:
                why[task] = f"{groups} of the {what}s it needs ({least} or more) are left by the choice"
            else:
                runnable.append(task)
        return runnable, why

    def task_samples(self, task: str) -> tuple[str, ...]:
        """Ids of all chosen samples a task names, refused ones included (only the build knows which), sorted."""
        if task in self.released:
            return tuple(sorted(self.released[task].samples))
        row = self.tasks[task]
        if "samples" in row:
            named = {sample for sample in row["samples"].split() if sample in self.samples}
        else:
            named = {sample for cohort in row["cohorts"].split() for sample in self.cohorts.get(cohort, ())}
        if "query" in row:
            named &= set(self._met(row["query"]))
        return tuple(sorted(named))

    def cohort_of(self, task: str, sample: str) -> str:
        """The cohort of a sample of a task; of a released task the one that its row names."""
        return self.tasks[task]["cohorts"] if task in self.released else self.samples[sample]["cohort"]

    def genes_of(self, task: str) -> str | None:
        """Which genes a task asks for, where its row says so; of a released task the name of its list."""
        return released.GENES_FILE if task in self.released else self.tasks[task].get("genes")

    def way_of(self, task: str) -> str:
        """The way in which a task is split, a module of `splitting`."""
        return self.tasks[task].get("split", splitting.DEFAULT)

    def fold_count(self, task: str) -> int:
        """The most folds a task can have: as asked for, else one a group, and never more than groups."""
        if task in self.released:
            return len(self.released[task].folds)
        row, way = self.tasks[task], self.way_of(task)
        n_folds = int(row["n_folds"]) if "n_folds" in row else None
        return splitting.fold_count(way, n_folds, self._groups(task, splitting.over(way)))

    def _groups(self, task: str, what: str) -> int:
        """How many donors, cohorts or samples the samples of a task are of."""
        column = "sample_id" if what in ("sample", splitting.PART) else what
        return len({self.samples[sample][column] for sample in self.task_samples(task)})

    def _met(self, query: str) -> list[str]:
        """Samples whose rows meet a query."""
        return selection.choose(self.samples, selection.parse_query(query, self.cohort_columns), ())[0]

    def base_row(self, recipe: str) -> Row:
        """The row of the encoder that a recipe starts from."""
        return self.encoders[self.recipes[recipe]["base_encoder"]]

    def encoder_row(self, encoder: str) -> Row:
        """An encoder's row; a recipe's encoder is its base's with the recipe's weights."""
        if encoder in self.recipes:
            own = {name: cell for name, cell in self.recipes[encoder].items() if name == "env"}
            return {**self.base_row(encoder), "encoder": encoder, "builder": "finetuned", **own}
        return self.encoders[encoder]

    def environment(self, encoder: str) -> str:
        """The environment in which an encoder is trained and embeds, a file of `envs/` without its ending."""
        return self.encoder_row(encoder).get("env", "torch")

    def builders_of(self, encoder: str) -> list[str]:
        """The builders that make an encoder: its own and, for a recipe's, its base's too."""
        builders = {self.encoder_row(encoder)["builder"]}
        if encoder in self.recipes:
            builders.add(self.base_row(encoder)["builder"])
        return sorted(builders)

    def encoders_needed(
        self, encoders: Iterable[str], recipes: Iterable[str], methods: Iterable[str] = ()
    ) -> list[str]:
        """Every encoder that may be asked for: the chosen ones, the recipes' own and those the recipes start from, and
        those that methods are over."""
        recipes = list(recipes)
        bases = (self.recipes[recipe]["base_encoder"] for recipe in recipes)
        under = (self.methods[method]["encoder"] for method in methods if "encoder" in self.methods[method])
        return list(dict.fromkeys([*encoders, *recipes, *bases, *under]))

    def seen_by(self, encoder: str) -> list[str]:
        """Cohorts whose pictures the weights of an encoder, or of what its recipe starts from, were trained on."""
        return self.encoder_row(encoder).get("seen", "").split()

    def scored_on(self, task: str, encoders: Iterable[str], recipes: Iterable[str]) -> list[str]:
        """The encoders of a task's leaderboard: the chosen ones, those of its recipes and the ones these start from.

        A recipe's encoder has seen its own task's training donors only: it is scored there.
        """
        return self.encoders_needed(encoders, [recipe for recipe in recipes if self.recipes[recipe]["task"] == task])


def load(config: Mapping[str, Any], root: Path, config_source: str = "config", files: Iterable[Path] = ()) -> Tables:
    """Read and check everything the configuration names.

    Parameters
    ----------
    config
        The merged configuration.
    root
        The project's folder: schemas, resources and the library, in which readers, sources and builders are looked up
        by file name.
    config_source
        What to call the configuration in messages, e.g. its file names.
    files
        The files it was merged from, to be looked at for what the merged values no longer show.

    Raises
    ------
    TableFaults
        With every fault found.
    """
    schemas, library = root / "workflow/schemas", root / "workflow/spotweave"
    faults = [fault for path in files for fault in configuration.read(path)[1]]
    faults += configuration.check(config, schemas / "config.schema.yaml", config_source)
    if faults:
        raise TableFaults(faults)

    def table(
        path: str | Path, schema: str, id_column: str | None, more: Mapping[str, Any] | None = None
    ) -> dict[str, Row]:
        rows, found = read_table(Path(path), schemas / f"{schema}.schema.yaml", id_column, more)
        faults.extend(found)
        if found and not rows:
            unread.add(schema)
        rows_at.update({(schema, name): f"{path}:{number}" for name, (number, _) in rows.items()})
        return {name: row for name, (_, row) in rows.items()}

    def check_column(schema: str, rows: Mapping[str, Row], column: str, fault_of: Callable[[str], str | None]) -> None:
        found = {name: fault_of(row[column]) for name, row in rows.items() if column in row}
        faults.extend(f"{rows_at[schema, name]}:{column}: {fault}" for name, fault in found.items() if fault)

    rows_at: dict[tuple[str, str], str] = {}
    unread: set[str] = set()  # tables that gave no row: what names their rows is not blamed for it
    technologies = table(config["technologies_table"], "technologies", "technology")
    check_column("technologies", technologies, "reader", layout_fault)
    check_column("technologies", technologies, "placing", PLACINGS.fault)
    check_column("technologies", technologies, "pooling", POOLINGS.fault)
    sources = table(root / "resources/sources.csv", "sources", "source")
    check_column("sources", sources, "source", source_fault)
    identities = table(root / "resources/identities.csv", "identities", None)
    encoders = table(config["encoders_table"], "encoders", "encoder")
    tasks = table(config["tasks_table"], "tasks", "task")
    recipes = table(config["recipes_table"], "recipes", "recipe", recipe_columns())
    nuclei = table(config["nuclei_table"], "nuclei", "nuclei")
    methods = table(config["methods_table"], "methods", "method", method_columns())

    samples, cohorts, found = read_cohorts(config["cohorts"], schemas / "cohort.schema.yaml", config_source)
    faults += found
    for where, row in samples.values():
        faults += sample_faults(where, row, None if "technologies" in unread else technologies, sources)

    for key, known in zip(
        ("encoders", "tasks", "recipes", "nuclei", "methods"), (encoders, tasks, recipes, nuclei, methods), strict=True
    ):
        faults += [
            f"{config_source}:{key}: {name!r} is in no table, {nearest(name, known)}"
            for name in config[key]
            if name not in known and key not in unread
        ]
    for key, what in (("probes", "probe"), ("protocols", "protocol"), ("metrics", "metric")):
        for name in config[key]:
            faults += entry_faults(f"{config_source}:{key}", Registry(key, what, library), name)
    faults += [f"{config_source}:tissue.{key}: {fault}" for key, fault in tissue_faults(config["tissue"])]
    faults += environment_faults(f"{config_source}:tissue.env", config["tissue"]["env"], root / "envs")
    if not unread & {"encoders", "recipes"}:
        faults += model_faults(config, config_source, encoders, recipes, methods, rows_at, faults, root / "envs")
    faults += nuclei_faults(nuclei, rows_at, faults, root / "envs") + cellvit_faults(
        config["nuclei"], nuclei, config_source
    )
    faults += method_faults(methods, None if "encoders" in unread else encoders, rows_at, faults, root / "envs")
    columns = parsed((schemas / "cohort.schema.yaml").read_text(encoding="utf-8"))["properties"]
    read, broken, lacking = released.read(config, config_source, tasks, recipes, rows_at)
    for name in config["tasks"]:
        if name in tasks and released.COLUMN not in tasks[name]:
            faults += task_faults(rows_at["tasks", name], tasks[name], samples, cohorts, [*columns, "cohort"])
    chosen, left_out, found = _choose(config, samples, columns, config_source)
    faults += [
        *pool_faults(config, config_source, samples, technologies),
        *lacking,
        *found,
        *batches.faults(config, config_source, [*columns, "cohort"]),
    ]
    if faults:
        raise TableFaults(faults)
    rows = {name: samples[name][1] for name in chosen}
    kept = {cohort: tuple(name for name in names if name in rows) for cohort, names in cohorts.items()}
    return Tables(
        rows,
        {cohort: names for cohort, names in kept.items() if names},
        technologies,
        encoders,
        tasks,
        recipes,
        left_out,
        {cohort: len(names) - len(kept[cohort]) for cohort, names in cohorts.items()},
        # Cells that say where a file is: those with a checksum of their own.
        tuple(column.removesuffix("_checksum") for column in columns if column.endswith("_checksum")),
        tuple(identities.values()),
        {name: int(row["downloads_at_once"]) for name, row in sources.items() if "downloads_at_once" in row},
        nuclei,
        methods,
        (*columns, "cohort"),
        read,
        broken,
    )


def pool_faults(
    config: Mapping[str, Any], source: str, samples: Mapping[str, tuple[str, Row]], technologies: Mapping[str, Row]
) -> list[str]:
    """A grid that joins bins in their own array needs bins: the first pooled sample that has none is named."""
    joined = [name for name in config["pool"]["grids"] if name.startswith("bins_")]
    if not joined:
        return []
    for sample, (_, row) in samples.items():
        way = technologies.get(row.get("technology", ""), {}).get("pooling", "none")
        if POOLINGS.constant(way, "GRIDS") and not POOLINGS.constant(way, "HAS_BINS"):
            return [
                f"{source}:pool.grids: {joined[0]!r} joins bins, and {sample} is a sample of {row['technology']},"
                " allowed: square_<n>um, hexagonal_<n>um; or a configuration of samples with bins alone"
            ]
    return []


def _choose(
    config: Mapping[str, Any], samples: Mapping[str, tuple[str, Row]], columns: Iterable[str], source: str
) -> tuple[list[str], dict[str, str], list[str]]:
    """The samples of this run, why each of the others is left out, and faults."""
    rows = {name: row for name, (_, row) in samples.items()}
    try:
        query = selection.parse_query(config["select"], [*columns, "cohort"])
    except ValueError as error:
        return [], {}, [f"{source}:select: {error}"]
    chosen, left_out = selection.choose(rows, query, config["allow_licences"])
    if rows and not chosen:
        why = selection.values_there(rows, {**query, **({"licence": ()} if config["allow_licences"] else {})})
        return [], {}, [f"{source}:select: no sample is left, allowed: a choice of what the tables have ({why})"]
    return chosen, left_out, []
