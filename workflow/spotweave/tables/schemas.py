"""JSON Schemas, compiled: quick enough for every row at the start of every job."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import fastjsonschema
import yaml

# The parser in C reads a schema ten times as fast; not every build of the library has it.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parsed(schema: str) -> Any:
    """The content of a file in YAML, a schema of the project: one whose messages nobody needs to read."""
    return yaml.load(schema, Loader=LOADER)  # noqa: S506 (a SafeLoader)


def compiled(schema: Any) -> Callable[[Any], Any]:
    """A function that raises where a value does not fit the schema."""
    return _compiled(json.dumps(schema))


@cache
def _compiled(schema: str) -> Callable[[Any], Any]:
    """Compiling costs more than most checks: one schema is compiled once in a process."""
    # fastjsonschema knows drafts up to 7; the schemas use nothing newer.
    check: Callable[[Any], Any] = fastjsonschema.compile(
        {**json.loads(schema), "$schema": "http://json-schema.org/draft-07/schema#"}
    )
    return check


def passes(check: Callable[[Any], Any], value: Any) -> bool:
    """Whether a value fits a compiled schema."""
    try:
        check(value)
    except fastjsonschema.JsonSchemaValueException:
        return False
    return True
