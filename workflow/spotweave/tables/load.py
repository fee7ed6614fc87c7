"""Configuration and tables: read once with the standard library, checked whole before anything starts.

Every row is a dict of its non-blank cells (all strings). All faults of all tables are collected and raised
together as `TableFaults`, each as `file:row:column: what, what is allowed`; the header is row 1.
Nothing here may import more than the standard library, PyYAML and fastjsonschema: it runs at the start of
every job. jsonschema, which can name every fault, is loaded when there is one.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastjsonschema
import yaml

from spotweave.encoders import check_row
from spotweave.errors import TableFaults
from spotweave.intake.layouts import ROLES
from spotweave.sources import parse_checksum
from spotweave.tables import selection, sheets, vocabulary

Row = dict[str, str]
OPEN = "?"  # what a draft of a table holds where a person has to look
MIN_DONORS = 2  # a fold trains on one and tests on another
LONGEST_NAME = 100  # it becomes part of file names, beside others, in the 255 bytes of one
SHOWN = 40
LONGEST_SAID = 120
DEEPEST = 20  # of nested mappings and lists


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
    checksum_columns: tuple[str, ...] = ()
    identities: tuple[Row, ...] = ()

    def runnable_tasks(self, names: Iterable[str]) -> tuple[list[str], dict[str, str]]:
        """The tasks that this choice of samples can run, and why each of the others cannot.

        A task is only left out for what the choice took from it: without a choice, every task runs.
        """
        runnable: list[str] = []
        why: dict[str, str] = {}
        for task in names:
            row = self.tasks[task]
            lost = [name for name in row.get("samples", "").split() if name in self.left_out]
            is_cut = lost or any(self.cohort_left_out.get(cohort) for cohort in row["cohorts"].split())
            donors = {self.samples[sample]["donor"] for sample in self.task_samples(task)}
            if is_cut and len(donors) < MIN_DONORS:
                why[task] = f"{len(donors)} of the donors it needs ({MIN_DONORS} or more) are left by the choice"
            else:
                runnable.append(task)
        return runnable, why

    def task_samples(self, task: str) -> tuple[str, ...]:
        """Ids of all chosen samples a task names, refused ones included (only the build knows which), sorted."""
        row = self.tasks[task]
        if "samples" in row:
            return tuple(sorted(sample for sample in set(row["samples"].split()) if sample in self.samples))
        return tuple(sorted(sample for cohort in row["cohorts"].split() for sample in self.cohorts.get(cohort, ())))

    def fold_count(self, task: str) -> int:
        """The most folds a task can have: as asked for, else one a donor, and never more than donors."""
        donors = {self.samples[sample]["donor"] for sample in self.task_samples(task)}
        return min(int(self.tasks[task].get("n_folds", len(donors))), len(donors))


def _compiled(schema: Any) -> Callable[[Any], Any]:
    # fastjsonschema knows drafts up to 7; the schemas use nothing newer.
    return fastjsonschema.compile({**schema, "$schema": "http://json-schema.org/draft-07/schema#"})


def _passes(check: Callable[[Any], Any], value: Any) -> bool:
    try:
        check(value)
    except fastjsonschema.JsonSchemaValueException:
        return False
    return True


class _Checker:
    """Checks rows against one schema and words what it finds."""

    def __init__(self, schema_path: Path) -> None:
        schema = yaml.safe_load(schema_path.read_text(encoding="utf-8"))
        self.columns: Mapping[str, Any] = schema["properties"]
        self.required = tuple(schema["required"])
        self.check = _compiled(schema)

    def faults(self, where: str, row: Row) -> Iterable[str]:
        if _passes(self.check, row) and OPEN not in row.values():
            return
        for column in self.required:
            if column not in row:
                yield f"{where}:{column}: empty, {self._allowed(column)}"
        for column in sorted(name for name, cell in row.items() if cell == OPEN):
            yield f"{where}:{column}: still {OPEN!r}, as a draft leaves it, {self._allowed(column)}"
        for column in sorted(name for name in set(row) & set(self.columns) if row[name] != OPEN):
            if not _passes(_compiled(self.columns[column]), row[column]):
                yield f"{where}:{column}: {sheets.shown(row[column])}, {self._allowed(column, row[column])}"

    def _allowed(self, column: str, cell: str = "") -> str:
        rule = self.columns[column]
        if "enum" in rule:
            words = vocabulary.nearest_of(column, cell) if cell else None
            near = words if words in rule["enum"] else _closest(cell, rule["enum"])
            return "allowed: " + ", ".join(rule["enum"]) + (f"; did you mean {near!r}?" if near else "")
        return "allowed: " + rule.get("allowed", rule["description"])


def _closest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like this one, whatever its case."""
    folded = {one.casefold(): one for one in known}
    close = difflib.get_close_matches(name[:LONGEST_NAME].casefold(), list(folded), n=1)
    return folded[close[0]] if close else None


def _nearest(name: str, known: Iterable[str]) -> str:
    near = _closest(name, known)
    listed = sorted(known)
    more = f" … ({len(listed)} in all)" if len(listed) > SHOWN else ""
    return f"did you mean {near!r}?" if near else f"allowed: {', '.join(listed[:SHOWN])}{more}"


def read_table(path: Path, schema_path: Path, key: str | None) -> tuple[dict[str, tuple[int, Row]], list[str]]:
    """Read and check one CSV table.

    Returns
    -------
    rows
        key -> (row number in the file, non-blank cells). A repeated key keeps its first row. Without a key column, the
        row number is the key.
    faults
        One line each.
    """
    checker = _Checker(schema_path)
    if not os.path.isfile(path):  # noqa: PTH113 (a name too long for any file is no error here)
        return {}, [f"{path}: no such file, allowed: a CSV table with the columns {', '.join(checker.required)}"]
    try:
        sheet = sheets.read(path, checker.columns)
    except sheets.NoTable as error:
        return {}, [f"{path}{'' if error.row is None else f':{error.row}'}: {error}"]
    faults = _header_faults(f"{path}:1", sheet, checker)
    if any(column not in sheet.header for column in checker.required):
        return {}, faults
    rows: dict[str, tuple[int, Row]] = {}
    for record in sheet.records:
        where = f"{path}:{record.number}"
        if record.cells[0].startswith("#"):
            continue
        extra = record.cells[len(sheet.header) :]
        if len(record.cells) < len(sheet.header) or any(cell.strip() for cell in extra):
            faults.append(
                f"{where}: the number of cells ({len(record.cells)}) is not that of the header"
                f" ({len(sheet.header)}), allowed: equal numbers; is a comma in a cell without quotes?"
            )
            continue
        row, found = _row_of(where, sheet, record, checker)
        if not row and not found:
            continue
        faults += found or checker.faults(where, row)
        name = str(record.number) if key is None else row.get(key)
        if name in rows:
            faults.append(f"{where}:{key}: {name!r} is already in row {rows[name][0]}, allowed: unique ids")
        elif name is not None:
            rows[name] = (record.number, row)
    return rows, faults


def _header_faults(where: str, sheet: sheets.Sheet, checker: _Checker) -> list[str]:
    """What is wrong with the names of the columns; one line where none of them is known."""
    named = [name for name in sheet.header if name]
    if not set(named) & set(checker.columns):
        start = ",".join(sheet.header[:4])
        return [f"{where}: {sheets.shown(start)} is no header, allowed: columns named {', '.join(checker.required)}, …"]
    faults = [
        f"{where}:{name}: unknown column, {_nearest(name, checker.columns)}"
        for name in named
        if name not in checker.columns
    ]
    faults += [
        f"{where}:{column}: the column is there twice, allowed: once"
        for column in sorted({name for name in named if named.count(name) > 1})
    ]
    for i, name in enumerate(sheet.header):
        filled = [record for record in sheet.records if i < len(record.cells) and record.cells[i].strip()]
        if not name and filled and not filled[0].cells[0].startswith("#"):
            cell = sheets.shown(filled[0].cells[i].strip())
            faults.append(f"{where}: column {i + 1} has no name but holds {cell} in row {filled[0].number}")
    return faults + [
        f"{where}:{column}: missing column, required" for column in checker.required if column not in named
    ]


def _row_of(where: str, sheet: sheets.Sheet, record: sheets.Record, checker: _Checker) -> tuple[Row, list[str]]:
    """The non-blank cells of known columns, and what no cell may hold: such a cell is left out."""
    row: Row = {}
    faults = []
    for name, text in zip(sheet.header, record.cells, strict=False):
        cell = sheets.cleaned(text)
        if not cell or name not in checker.columns:
            continue
        rule = checker.columns[name]
        bad = sheets.wrong(cell, rule.get("maxLength", sheets.MOST_CHARACTERS))
        if bad:
            faults.append(f"{where}:{name}: {bad}")
            continue
        if (
            sheet.delimiter == ";"
            and re.fullmatch(r"\d*,\d+", cell)
            and _passes(_compiled(rule), cell.replace(",", "."))
        ):
            cell = cell if _passes(_compiled(rule), cell) else cell.replace(",", ".")  # decimals as where ; parts cells
        row[name] = cell
    return row, faults


def check_config(config: Mapping[str, Any], schema_path: Path, source: str) -> list[str]:
    """Check the merged configuration; faults name the key by its path."""
    schema = yaml.safe_load(schema_path.read_text(encoding="utf-8"))
    faults = [f"{source}:{where}: {bad}" for where, bad in _unseen(config)]
    if not faults and _passes(_compiled(schema), dict(config)):
        return _range_faults(config["limits"], source)
    import jsonschema

    for error in jsonschema.Draft202012Validator(schema).iter_errors(config):
        where = ".".join(str(part) for part in error.absolute_path)
        rule: Any = error.schema
        if error.validator == "additionalProperties":
            known = rule["properties"]
            for name in sorted(map(str, set(error.instance) - set(known))):
                path = f"{where}.{name}" if where else name
                faults.append(f"{source}:{path}: unknown key, {_nearest(name, known)}")
        elif error.validator == "required":
            faults.append(f"{source}:{where}: {error.message}")
        else:
            top = schema["properties"].get(str(error.absolute_path[0]), {}) if error.absolute_path else schema
            allowed = rule.get("description") or top["description"]
            found = f"{_cut(repr(error.instance))} ({_cut(error.message)})"
            faults.append(f"{source}:{where}: {found}, allowed: {allowed}")
    return faults


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_SAID else text[:LONGEST_SAID] + "…"


def _unseen(value: Any, where: str = "", depth: int = 0) -> Iterable[tuple[str, str]]:
    """Texts of the configuration with characters that cannot be seen: they would become part of names and commands."""
    if isinstance(value, str):
        bad = sheets.wrong(value)
        if bad:
            yield where, bad
    elif isinstance(value, (Mapping, list)) and depth < DEEPEST:
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for name, inner in pairs:
            yield from _unseen(inner, f"{where}.{name}" if where else str(name), depth + 1)


class _Strict(yaml.SafeLoader):
    """YAML in which a key stands once: the usual loader takes the last one in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if isinstance(key.value, str) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} is there twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_config(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Read one configuration file; what is wrong with it as a file (its values are `check_config`'s) in one line."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Strict)  # noqa: S506 (a SafeLoader)
    except FileNotFoundError:
        return {}, [f"{path}: no such file, allowed: a configuration in YAML"]
    except (OSError, UnicodeDecodeError) as error:
        return {}, [f"{path}: cannot be read ({error}), allowed: a configuration in YAML, in UTF-8"]
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or type(error).__name__
        return {}, [f"{path}{where}: {what}, allowed: YAML in which each key stands once, indented by blanks"]
    if not isinstance(content, dict):
        return {}, [f"{path}: no keys at its top level, allowed: a configuration in YAML, as config/config.yaml"]
    return content, []


def _range_faults(limits: Mapping[str, float], source: str) -> list[str]:
    """What a schema cannot say: NaN compares with nothing, and a range must not be empty."""
    faults = [
        f"{source}:limits.{name}: not a number, allowed: a finite number"
        for name in limits
        if limits[name] != limits[name]
    ]
    low, high = limits["pixel_size_min_um"], limits["pixel_size_max_um"]
    if low >= high:
        faults.append(f"{source}:limits.pixel_size_min_um: {low}, allowed: less than pixel_size_max_um ({high})")
    return faults


def load(
    config: Mapping[str, Any],
    schemas: Path,
    library: Path,
    config_source: str = "config",
    config_files: Iterable[Path] = (),
) -> Tables:
    """Read and check everything the configuration names.

    Parameters
    ----------
    config
        The merged configuration.
    schemas
        Folder of the JSON Schemas.
    library
        The package's folder, in which readers, sources and builders are looked up by file name.
    config_source
        What to call the configuration in messages, e.g. its file names.
    config_files
        The files it was merged from, to be looked at for what the merged values no longer show.

    Raises
    ------
    TableFaults
        With every fault found.
    """
    faults = [fault for path in config_files for fault in read_config(path)[1]]
    faults += check_config(config, schemas / "config.schema.yaml", config_source)
    if faults:
        raise TableFaults(faults)

    def table(key: str, schema: str, id_column: str) -> dict[str, Row]:
        path = Path(config[key])
        rows, found = read_table(path, schemas / f"{schema}.schema.yaml", id_column)
        faults.extend(found)
        places.update({(schema, name): f"{path}:{number}" for name, (number, _) in rows.items()})
        return {name: row for name, (_, row) in rows.items()}

    places: dict[tuple[str, str], str] = {}
    technologies = table("technologies_table", "technologies", "technology")
    for name, row in technologies.items():
        where = places["technologies", name]
        for column, package in (("reader", "readers"), ("placing", "placing"), ("pooling", "pooling")):
            faults += _registry_fault(f"{where}:{column}", library / package, row.get(column, ""))
    sources, found = read_table(library.parents[1] / "resources/sources.csv", schemas / "sources.schema.yaml", "source")
    faults += found
    accessions = {name: row for name, (_, row) in sources.items()}
    identities, found = read_table(
        library.parents[1] / "resources/identities.csv", schemas / "identities.schema.yaml", None
    )
    faults += found
    encoders = table("encoders_table", "encoders", "encoder")
    tasks = table("tasks_table", "tasks", "task")
    recipes = table("recipes_table", "recipes", "recipe")

    samples, cohorts, found = _load_cohorts(config["cohorts"], schemas, config_source)
    faults += found
    for where, row in samples.values():
        faults += _sample_faults(where, row, technologies, library)
        faults += _accession_faults(where, row, accessions)

    faults += _choice_faults(config, config_source, "encoders", encoders)
    faults += _choice_faults(config, config_source, "tasks", tasks)
    faults += _choice_faults(config, config_source, "recipes", recipes)
    faults += _unit_faults(config, config_source, library)
    for name, row in encoders.items():
        where = places["encoders", name]
        faults += _registry_fault(f"{where}:builder", library / "encoders", row.get("builder", ""))
        faults += [f"{where}:{column}: {fault}" for column, fault in check_row(row)]
    for name in config["tasks"]:
        if name in tasks:
            faults += _task_faults(places["tasks", name], tasks[name], samples, cohorts)
    for name in config["recipes"]:
        if name in recipes:
            faults += _recipe_faults(places["recipes", name], name, recipes[name], encoders, config)
    columns = yaml.safe_load((schemas / "cohort.schema.yaml").read_text(encoding="utf-8"))["properties"]
    chosen, left_out, found = _choose(config, samples, columns, config_source)
    faults += found
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
        tuple(column for column in columns if column.endswith("_checksum")),
        tuple(row for _, row in identities.values()),
    )


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


def _load_cohorts(
    paths: Iterable[str], schemas: Path, config_source: str
) -> tuple[dict[str, tuple[str, Row]], dict[str, tuple[str, ...]], list[str]]:
    """Samples by id, each with the place of its row; samples of each cohort; faults."""
    samples: dict[str, tuple[str, Row]] = {}
    cohorts: dict[str, tuple[str, ...]] = {}
    faults: list[str] = []
    for path in map(Path, paths):
        rows, found = read_table(path, schemas / "cohort.schema.yaml", "sample_id")
        faults += found
        if path.stem in cohorts:
            faults.append(f"{config_source}:cohorts: two tables are called {path.stem!r}, allowed: unique file names")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", path.stem) or len(path.stem) > LONGEST_NAME:
            faults.append(
                f"{config_source}:cohorts: {path.stem!r} becomes part of file names, allowed: letters, digits,"
                f" hyphens and underscores, at most {LONGEST_NAME}"
            )
        if not rows and not found:
            faults.append(f"{path}: no rows, allowed: at least one sample")
        cohorts[path.stem] = tuple(sample for sample in rows if sample not in samples)
        for sample, (number, row) in rows.items():
            where = f"{path}:{number}"
            if sample in samples:
                faults.append(f"{where}:sample_id: {sample!r} is already in {samples[sample][0]}")
            else:
                samples[sample] = (where, {**row, "cohort": path.stem})
    return samples, cohorts, faults


def _registry_fault(where: str, folder: Path, unit: str) -> list[str]:
    known = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    if unit in known:
        return []
    return [f"{where}: {sheets.shown(unit)} is not a module of {folder.name}/, {_nearest(unit, known)}"]


def _sample_faults(where: str, row: Row, technologies: Mapping[str, Row], library: Path) -> list[str]:
    faults = []
    technology = row.get("technology", "")
    if technology and technology not in technologies:
        faults.append(f"{where}:technology: {sheets.shown(technology)}, {_nearest(technology, technologies)}")
    if "source" in row:
        faults += _registry_fault(f"{where}:source", library / "sources", row["source"])
    for column in sorted(name for name in row if name.endswith("_checksum")):
        try:
            parse_checksum(row[column])
        except ValueError as error:
            faults.append(f"{where}:{column}: {error}")
        location = column.removesuffix("_checksum")
        if location not in row:
            faults.append(
                f"{where}:{column}: there is no {location} it could be of, allowed: a checksum beside its file"
            )
    faults += [f"{where}:{column}: {fault}" for column, fault in vocabulary.faults(row)]
    reader = technologies.get(technology, {}).get("reader", "")
    return faults + _place_faults(where, row, reader)


def _accession_faults(where: str, row: Row, sources: Mapping[str, Row]) -> list[str]:
    """An accession must look like those of its source; a folder of one's own may be anything."""
    source = sources.get(row.get("source", ""))
    if "accession" not in row or source is None or source["source"] in ("https", "file"):
        return []
    if re.fullmatch(source["accession_pattern"], row["accession"]):
        return []
    allowed = f"allowed: as {source['source']} writes it, {source['example']}"
    return [f"{where}:accession: {sheets.shown(row['accession'])}, {allowed}"]


def _place_faults(where: str, row: Row, reader: str) -> list[str]:
    """A row says where its files are: each by itself, in an archive, or by the accession that holds them."""
    if "accession" in row:
        if row.get("source") == "https":
            return [f"{where}:accession: a web server lists no files, allowed: a source that does, or no accession"]
        return []
    if "files" in row:
        return [f"{where}:files: narrows an accession, and there is none, allowed: an accession beside it"]
    if "bundle" in row or reader not in ROLES:
        return []
    lacking = [role for role in ROLES[reader].needed if role not in row]
    either = ROLES[reader].either
    if either and not set(either) & set(row):
        lacking.append(either[0])
    return [
        f"{where}:{role}: empty, allowed: where the file is, or an accession whose listing has it"
        for role in lacking
        if not (role == "spots" and "spatial" in row)
    ]


def _choice_faults(config: Mapping[str, Any], source: str, key: str, known: Mapping[str, Row]) -> list[str]:
    return [
        f"{source}:{key}: {name!r} is in no table, {_nearest(name, known)}" for name in config[key] if name not in known
    ]


def _unit_faults(config: Mapping[str, Any], source: str, library: Path) -> list[str]:
    faults = []
    for key in ("probes", "protocols"):
        for name in config[key]:
            faults += _registry_fault(f"{source}:{key}", library / key, name)
    return faults


def _task_faults(
    where: str, row: Row, samples: Mapping[str, object], cohorts: Mapping[str, tuple[str, ...]]
) -> list[str]:
    faults = []
    for cohort in row.get("cohorts", "").split():
        if cohort not in cohorts:
            faults.append(f"{where}:cohorts: {cohort!r} is not in the configuration, {_nearest(cohort, cohorts)}")
    for sample in row.get("samples", "").split():
        if sample not in samples:
            faults.append(f"{where}:samples: {sample!r} is in no cohort table, {_nearest(sample, samples)}")
    return faults


def _recipe_faults(
    where: str, name: str, row: Row, encoders: Mapping[str, Row], config: Mapping[str, Any]
) -> list[str]:
    faults = []
    if name in encoders:
        faults.append(f"{where}:recipe: {name!r} is an encoder already, allowed: a name of its own")
    if row.get("base_encoder") not in encoders:
        base = row.get("base_encoder", "")
        faults.append(f"{where}:base_encoder: {base!r} is in no table, {_nearest(base, encoders)}")
    elif encoders[row["base_encoder"]].get("builder") != "timm_model":
        faults.append(f"{where}:base_encoder: {row['base_encoder']!r} cannot be trained, allowed: a timm_model encoder")
    if row.get("task") not in config["tasks"]:
        faults.append(f"{where}:task: {row.get('task')!r} is not run, allowed: {', '.join(config['tasks'])}")
    return faults
