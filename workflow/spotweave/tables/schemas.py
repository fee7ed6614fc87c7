"""JSON Schemas, compiled: quick enough for every row at the start of every job."""

from __future__ import annotations

from collections.abc import Callable
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
    # fastjsonschema knows drafts up to 7; the schemas use nothing newer.
    return fastjsonschema.compile({**schema, "$schema": "http://json-schema.org/draft-07/schema#"})


def passes(check: Callable[[Any], Any], value: Any) -> bool:
    """Whether a value fits a compiled schema."""
    try:
        check(value)
    except fastjsonschema.JsonSchemaValueException:
        return False
    return True
