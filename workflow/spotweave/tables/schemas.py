"""JSON Schemas, compiled: quick enough for every row at the start of every job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fastjsonschema


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
