"""The configuration: files of YAML, merged by Snakemake, held against their schema.

jsonschema, which can name every fault, is loaded when there is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from spotweave.registry import nearest
from spotweave.tables import sheets
from spotweave.tables.schemas import compiled, parsed, passes

LONGEST_SAID = 120
DEEPEST = 20  # of nested mappings and lists


def check(config: Mapping[str, Any], schema_path: Path, source: str) -> list[str]:
    """Check the merged configuration; faults name the key by its path."""
    schema = parsed(schema_path.read_text(encoding="utf-8"))
    faults = [f"{source}:{where}: {bad}" for where, bad in _unseen(config)]
    if not faults and passes(compiled(schema), dict(config)):
        return _range_faults(config["limits"], source)
    import jsonschema

    for error in jsonschema.Draft202012Validator(schema).iter_errors(config):
        where = ".".join(str(part) for part in error.absolute_path)
        rule: Any = error.schema
        if error.validator == "additionalProperties":
            known = rule["properties"]
            for name in sorted(map(str, set(error.instance) - set(known))):
                path = f"{where}.{name}" if where else name
                faults.append(f"{source}:{path}: unknown key, {nearest(name, known)}")
        elif error.validator == "required":
            faults.append(f"{source}:{where}: {error.message}")
        else:
            top = schema["properties"].get(str(error.absolute_path[0]), {}) if error.absolute_path else schema
            allowed = rule.get("description") or top["description"]
            if error.validator == "type" and "properties" in rule:
                allowed = f"{', '.join(rule['properties'])}, each a key of its own"
            why = _plainly(error.validator, error.validator_value, error.message)
            found = f"{_cut(repr(error.instance))} ({_cut(why)})"
            faults.append(f"{source}:{where}: {found}, allowed: {allowed}")
    return faults


def _plainly(rule: str, value: Any, message: str) -> str:
    """What broke a rule of the schema, in words for people who do not know schemas."""
    kinds = {"object": "keys with values", "array": "a list", "string": "text", "number": "a number"}
    kinds["integer"] = "a whole number"
    if rule == "type" and value in kinds:
        return f"not {kinds[value]}"
    if rule == "contains" and "const" in value:
        return f"without {value['const']}"
    return {"uniqueItems": "the same twice", "minItems": "too few"}.get(rule, message)


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


def overlaid(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """One configuration over another, as Snakemake lays them: mappings are merged, lists and values replaced."""
    return {
        **base,
        **{
            key: overlaid(base[key], value)
            if isinstance(value, Mapping) and isinstance(base.get(key), Mapping)
            else value
            for key, value in over.items()
        },
    }


def read(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Read one configuration file; what is wrong with it as a file (its values are `check`'s) in one line."""
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
