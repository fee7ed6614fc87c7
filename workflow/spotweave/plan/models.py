"""What the schemas cannot say of the tables of encoders, recipes, nuclei models and methods: entries say it of
themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spotweave.encoders import check_row, patch_fault
from spotweave.learning import settings
from spotweave.methods import METHODS
from spotweave.nuclei import check_row as check_nuclei
from spotweave.recipes import RECIPES
from spotweave.registry import nearest
from spotweave.tables.rows import Checker, Row

CELLVIT = "cellvit"


def model_faults(
    config: Mapping[str, Any],
    config_source: str,
    encoders: Mapping[str, Row],
    recipes: Mapping[str, Row],
    methods: Mapping[str, Row],
    rows_at: Mapping[tuple[str, str], str],
    said: Iterable[str],
    envs: Path,
) -> list[str]:
    """What is wrong with encoders and recipes, and with patches for the encoders that are used, a line each.

    Parameters
    ----------
    rows_at
        (`encoders` or `recipes`, name) -> `file:row`.
    said
        Faults found before: builders and kinds are asked about rows whose cells fit their schema.
    envs
        Folder of the environments.
    """
    found = list(said)
    known = len(found)

    def is_sound(table: str, name: str) -> bool:
        return is_clear(rows_at[table, name], found)

    for name, row in encoders.items():
        where = rows_at["encoders", name]
        found += environment_faults(f"{where}:env", row.get("env"), envs)
        if is_sound("encoders", name):
            found += [f"{where}:{column}: {fault}" for column, fault in check_row(row)]
    columns = recipe_columns()
    for name, row in recipes.items():
        where = rows_at["recipes", name]
        found += environment_faults(f"{where}:env", row.get("env"), envs)
        if is_sound("recipes", name):
            found += kind_faults(where, row, columns)
    chosen = {name: recipes[name] for name in config["recipes"] if name in recipes and is_sound("recipes", name)}
    for name, row in chosen.items():
        found += recipe_faults(rows_at["recipes", name], name, row, encoders, config)
    under = (methods[name].get("encoder", "") for name in config["methods"] if name in methods)
    used = dict.fromkeys([*config["encoders"], *(row["base_encoder"] for row in chosen.values()), *under])
    for name in used:
        if name in encoders and is_sound("encoders", name):
            size_px = config["patch"]["size_px"]
            found += patch_faults(name, encoders[name], rows_at["encoders", name], size_px, config_source)
    return found[known:]


def is_clear(where: str, found: Iterable[str]) -> bool:
    """Whether nothing was found at a row (`file:row`)."""
    return not any(fault.startswith(f"{where}:") for fault in found)


def nuclei_faults(
    models: Mapping[str, Row], rows_at: Mapping[tuple[str, str], str], said: Iterable[str], envs: Path
) -> list[str]:
    """What is wrong with the models that look for nuclei, a line each; parameters as in `model_faults`."""
    said = list(said)
    found = []
    for name, row in models.items():
        where = rows_at["nuclei", name]
        own = environment_faults(f"{where}:env", row.get("env"), envs)
        if is_clear(where, [*said, *own]):
            own += [f"{where}:{column}: {fault}" for column, fault in check_nuclei(row)]
        found += own
    return found


def cellvit_faults(chosen: Iterable[str], models: Mapping[str, Row], config_source: str) -> list[str]:
    """CellViT's nuclei are released under the one name that HEST-1k gave them, and no other model's are."""
    rows = {name: models[name] for name in chosen if name in models}
    made = [name for name, row in rows.items() if row["method"] == CELLVIT]
    faults = [
        f"{config_source}:nuclei: {name!r} is a model of {row['method']}, allowed: names that start with {CELLVIT} for "
        f"models of {CELLVIT}, and for no other"
        for name, row in rows.items()
        if (row["method"] == CELLVIT) != (name.split("-")[0] == CELLVIT)
    ]
    if len(made) > 1:
        faults.append(
            f"{config_source}:nuclei: {', '.join(made)} would be released under one name (cellvit_seg/), allowed: one "
            f"model of {CELLVIT} a dataset"
        )
    return faults


def patch_faults(name: str, row: Row, where: str, size_px: int, config_source: str) -> list[str]:
    """A line where the encoder of a sound row at `where` (`file:row`) cannot take patches of `size_px` px."""
    why = patch_fault(row, size_px)
    if why is None:
        return []
    return [f"{config_source}:patch.size_px: {size_px}, which encoder {name} ({where}) cannot take: {why}"]


def environment_faults(where: str, name: str | None, envs: Path) -> list[str]:
    """An environment that has no file; `where` is the cell or key that names it."""
    there = [path.stem for path in envs.glob("*.yaml")]
    if name is None or name in there:
        return []
    return [f"{where}: {name!r} has no file {envs.name}/{name}.yaml, {nearest(name, there)}"]


def recipe_columns() -> dict[str, Any]:
    """The columns of all kinds of recipe."""
    return _together(RECIPES.load(kind).COLUMNS for kind in RECIPES.names())


def method_columns() -> dict[str, Any]:
    """The columns of all kinds of method."""
    return _together(_method_rules(kind)[0] for kind in METHODS.names())


def _method_rules(kind: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The columns of a kind of method, and those of them that may not be blank: all learned kinds share some."""
    columns, required = METHODS.constant(kind, "COLUMNS", {}), tuple(METHODS.constant(kind, "REQUIRED", ()))
    if METHODS.constant(kind, "LEARNED", False):
        encoder = settings.ENCODER if METHODS.constant(kind, "ENCODER", False) is True else {}
        return {**settings.COLUMNS, **encoder, **columns}, (*settings.REQUIRED, *required)
    return columns, required


def _method_encoder_faults(where: str, row: Row, encoders: Mapping[str, Row] | None) -> list[str]:
    """What is wrong with a method's `encoder` beside its own pattern, and with what cannot stand beside one."""
    name, can = row.get("encoder"), METHODS.constant(row["kind"], "ENCODER", False)
    if name is None:
        return []
    if can is not True:
        why = f": {can}" if can else ""
        return [f"{where}:encoder: is not for methods of the kind {row['kind']}{why}; allowed: empty"]
    faults = []
    if encoders is not None and name not in encoders:
        faults.append(f"{where}:encoder: {name!r} is in no table, {nearest(name, encoders)}")
    if row.get("behaviour") == settings.PUBLISHED:
        faults.append(
            f"{where}:behaviour: published, with a trunk of its own and not {name}, allowed: mended, or empty"
        )
    return faults + [
        f"{where}:{column}: is of a trunk of its own, and {name} takes its place, allowed: empty"
        for column in settings.OF_ITS_TRUNK
        if column in row
    ]


def _together(kinds: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Columns of several kinds: name -> rule; where kinds differ, what one of them takes is let pass."""
    rules: dict[str, list[Any]] = {}
    for columns in kinds:
        for column, rule in columns.items():
            if _asked(rule) not in map(_asked, rules.setdefault(column, [])):
                rules[column].append(rule)
    return {
        column: found[0] if len(found) == 1 else {"description": found[0]["description"], "anyOf": found}
        for column, found in rules.items()
    }


def _asked(rule: Mapping[str, Any]) -> dict[str, Any]:
    """What a rule asks of a cell: kinds may use one column for things of their own."""
    return {key: value for key, value in rule.items() if key != "description"}


def kind_faults(where: str, row: Row, others: Iterable[str]) -> list[str]:
    """What the kind of a recipe says of its own columns; `others` are the columns of all kinds."""
    name = row.get("kind", "")
    unknown = RECIPES.fault(name)
    if unknown:
        return [f"{where}:kind: {unknown}"]
    kind = RECIPES.load(name)
    return _own_column_faults(where, row, kind.COLUMNS, kind.REQUIRED, others, f"recipes of the kind {name}")


def method_faults(
    rows: Mapping[str, Row],
    encoders: Mapping[str, Row] | None,
    rows_at: Mapping[tuple[str, str], str],
    said: Iterable[str],
    envs: Path,
) -> list[str]:
    """What is wrong with the methods, a line each; parameters as in `model_faults`, None for encoders not known."""
    said, columns = list(said), method_columns()
    found = []
    for name, row in rows.items():
        where = rows_at["methods", name]
        own = environment_faults(f"{where}:env", row.get("env"), envs)
        if is_clear(where, said):
            kind = row["kind"]
            unknown = METHODS.fault(kind)
            own += (
                [f"{where}:kind: {unknown}"]
                if unknown
                else [
                    *_own_column_faults(
                        where,
                        row,
                        *_method_rules(kind),
                        [column for column in columns if column != "encoder"],
                        f"methods of the kind {kind}",
                    ),
                    *_method_encoder_faults(where, row, encoders),
                ]
            )
        found += own
    return found


def _own_column_faults(
    where: str, row: Row, columns: Mapping[str, Any], required: Iterable[str], others: Iterable[str], whose: str
) -> list[str]:
    """What is wrong with a kind's own columns, and which cells of other kinds' columns are filled in."""
    checker = Checker({"type": "object", "properties": columns, "required": list(required)})
    faults = list(checker.faults(where, {column: cell for column, cell in row.items() if column in columns}))
    unused = sorted(set(row) & set(others) - set(columns))
    return faults + [f"{where}:{column}: is not for {whose}, allowed: empty" for column in unused]


def recipe_faults(where: str, name: str, row: Row, encoders: Mapping[str, Row], config: Mapping[str, Any]) -> list[str]:
    """What is wrong with a sound row: its name is taken, its base cannot be trained, its task is not run."""
    faults = []
    if name in encoders:
        faults.append(f"{where}:recipe: {name!r} is an encoder already, allowed: a name of its own")
    base = encoders.get(row["base_encoder"])
    if base is None:
        unknown = row["base_encoder"]
        faults.append(f"{where}:base_encoder: {unknown!r} is in no table, {nearest(unknown, encoders)}")
    else:
        found = RECIPES.load(row["kind"]).check(row, base)
        faults += [f"{where}:{column}: {fault}" for column, fault in found]
    if row["task"] not in config["tasks"]:
        faults.append(f"{where}:task: {row['task']!r} is not run, allowed: {', '.join(config['tasks'])}")
    return faults
