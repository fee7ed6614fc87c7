"""Options of a script that come from tables, or are many: as JSON on its standard input.

A cell may start with a dash, be as long as a book and hold any character, and a command line has an end (on Linux
128 KiB for one argument, 2 MiB for all). Rules therefore write `--given - <<< {params.given:q}`: a JSON object, option
-> value, in which a text is one value, a list of texts is several, and anything else is handed on as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

OPTION = "--given"
STANDARD_INPUT = "-"


def as_json(content: Any) -> str:
    """A value for `--given -`, or for one argument of a command line: JSON without blanks, names sorted."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def expanded(arguments: Sequence[str], stdin: TextIO) -> list[str]:
    """A command line in which `--given -` (or `--given <file>`) is replaced by the options it holds.

    Each becomes `--name=value`, once for every value, so that no value can be taken for an option.

    Raises
    ------
    ValueError
        What is given is no JSON object, or a value is `--`, which argparse drops (before Python 3.13).
    """
    found: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument != OPTION:
            found.append(argument)
            continue
        source = next(rest, STANDARD_INPUT)
        text = stdin.read() if source == STANDARD_INPUT else Path(source).read_text(encoding="utf-8")
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError(f"{OPTION} {source}: a JSON object is needed, option -> value")
        found += _options(content)
    if any(argument.partition("=")[2] == "--" for argument in found):
        raise ValueError(f"{OPTION}: '--' cannot be a value")
    return found


def _options(content: Mapping[str, Any]) -> list[str]:
    return [
        f"--{name.replace('_', '-')}={one if isinstance(one, str) else json.dumps(one)}"
        for name, value in content.items()
        for one in (value if _is_texts(value) else [value])
        if one is not None
    ]


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
