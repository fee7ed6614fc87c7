"""How places are written: in messages, in logs, and as the row would name them; never with what may be a token."""

from __future__ import annotations

from collections.abc import Iterable

from spotweave.addresses import identity, redacted
from spotweave.sources import Place
from spotweave.transfer.http import file_name as name_in_address

SHOWN = 8


def named(place: Place) -> str:
    """A place for messages and logs: without what may be a token."""
    text = written(Place(place.source, redacted(place.location)))
    return f"{text}!{place.member}" if place.member else text


def file_name(place: Place) -> str:
    """The archive's own name: an address may have a query behind it."""
    return name_in_address(place.location) if place.source == "https" else place.location.rpartition("/")[2]


def written(place: Place) -> str:
    """A place as a row would name it, without what may be a token."""
    text = identity(place.location) if place.source in ("https", "file") else f"{place.source}:{place.location}"
    return f"{text}!{place.member}" if place.member else text


def last(location: str) -> str:
    """The file's own name, fit for a log."""
    return redacted(location).rpartition("/")[2]


def shown(names: Iterable[str]) -> str:
    """The first of some names, sorted, and how many more there are."""
    listed = sorted(names)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return (", ".join(listed[:SHOWN]) or "nothing at all") + more
