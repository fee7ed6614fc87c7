"""Which encoders a job may embed with together."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from spotweave.io import read_json
from spotweave.plan.tables import Tables


def companies(tables: Tables, encoders: Iterable[str], most: int) -> dict[str, tuple[str, ...]]:
    """Name -> encoders of one environment that ask for as many GPUs, where there are two or more.

    Parameters
    ----------
    encoders
        The chosen ones, none a recipe's: those embed with weights of their own for every fold.
    most
        Encoders that share one reading of a sample's patches; below 2 there are no companies.
    """
    found: dict[str, list[str]] = {}
    for encoder in dict.fromkeys(encoders):
        name = f"{tables.environment(encoder)}.gpu{int(tables.encoder_row(encoder)['gpu'])}"
        found.setdefault(name, []).append(encoder)
    return {name: tuple(members) for name, members in found.items() if min(most, len(members)) > 1}


def made_by(record: str) -> str | None:
    """The hash of the code that an accepted or refused job's record states; None where there is no such record."""
    try:
        code: str | None = read_json(Path(record)).get("code")
    except (OSError, ValueError, AttributeError):
        return None
    return code
