"""From a row to files: finds the raw files of one sample, brings them, and says why these.

A role is one purpose of a file (`counts`, `spots`, `image`, …). In this order it is filled by

1. the row's own cell,
2. the listing of the row's accession,
3. the archives that the row or the listing has: only the members that are needed are taken out of them.

A role that several files could fill is never chosen silently: the sample is refused with their names.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from spotweave import readers
from spotweave.deposits.naming import BREAK, LISTS, PICTURE, REDUCED, REST, plain
from spotweave.errors import Refusal
from spotweave.intake import layouts
from spotweave.intake.choosing import Choice, choose
from spotweave.intake.fetching import Fetching
from spotweave.intake.places import SHOWN, last, named, shown, written
from spotweave.intake.request import Brought, Ingested, Request
from spotweave.sources import SOURCES, Place, find_place
from spotweave.transfer.files import Checksum, Fetched, FetchSettings, Listed

log = logging.getLogger("spotweave")

ARCHIVE_ROLES = ("spatial", "bundle")


def ingest(request: Request, folder: Path, settings: FetchSettings) -> Ingested:
    """Bring every raw file of a sample into `folder`, one sub-folder a role.

    Raises
    ------
    Refusal
        A needed role has no file or several, or a file is wrong.
    Unreachable
        The network, or the publisher, is not to be had now.
    """
    job = _Ingest(request, Fetching(folder, settings), settings)
    job.take_given()
    job.take_listed()
    job.take_from_archives()
    job.refuse_missing()
    return Ingested([job.brought[role] for role in job.roles.fetched if role in job.brought], job.report())


class _Ingest:
    """One sample on its way: `brought` fills up."""

    def __init__(self, request: Request, fetching: Fetching, settings: FetchSettings) -> None:
        self.request = request
        self.fetching = fetching
        self.settings = settings
        self.layout = readers.layout(request.reader)
        self.roles = self.layout.roles
        self.brought: dict[str, Brought] = {}
        self.candidates: list[Place] = []  # archives that may hold what is missing
        self.listed = 0
        self.notes: list[str] = []
        self.opened: list[str] = []
        self.seen: list[str] = []
        self.left_open: dict[str, list[str]] = {}

    def missing(self, roles: Iterable[str]) -> list[str]:
        return [role for role in roles if role not in self.brought]

    def lacking(self) -> list[str]:
        """What a sample cannot be built without and does not have; of several that would do, the first."""
        either = self.roles.either
        has_either = not either or any(role in self.brought for role in either)
        return self.missing(self.roles.needed) + self._lists() + ([] if has_either else [either[0]])

    def _lists(self) -> list[str]:
        """The lists that a matrix in Market Exchange format still needs."""
        counts = self.brought.get("counts")
        is_matrix = counts is not None and counts.file.name.lower().removesuffix(".gz").endswith(".mtx")
        return [role for role in self.missing(LISTS) if is_matrix and role in self.roles.fetched]

    def take_given(self) -> None:
        """The files that the row names; its archives come later."""
        request = self.request
        unknown = sorted(set(request.given) - set(self.roles.fetched) - set(ARCHIVE_ROLES))
        if unknown:
            raise Refusal(
                f"{request.sample}: the row names a file for {', '.join(unknown)}, which {request.reader} does not"
                f" read; leave it blank. It reads {', '.join(self.roles.fetched)}"
            )
        for role in ARCHIVE_ROLES:
            if role in request.given:
                text, checksum = request.given[role]
                self.fetching.expect(role, find_place(text, request.source, request.accession), checksum)
        self.candidates = list(self.fetching.checksums)
        for role in self.roles.fetched:
            if role in request.given:
                text, checksum = request.given[role]
                self._bring(role, find_place(text, request.source, request.accession), checksum, "named in the row")

    def take_listed(self) -> None:
        """What the accession's listing offers for roles that are still open."""
        request = self.request
        if request.accession is None or not (self.lacking() or self.missing(self.roles.wanted)):
            return
        listing = SOURCES.load(request.source).list_files(request.accession, self.settings)
        self.notes += listing.notes
        files: dict[str, Listed] = {
            file.name: file for file in listing.files if layouts.matches(file.name, request.files)
        }
        if not files:
            there = shown([*(file.name for file in listing.files), *self.notes])
            none = "it has no files; correct the accession. Seen:"
            if listing.files:
                none = f"none of its {len(listing.files)} files fits 'files', {request.files!r}; correct that. It has"
            raise Refusal(
                f"{request.accession}: {none} {there}",
                measured=0,
                threshold=1,
            )
        self.listed = len(files)
        choice = self._choose(files, lambda name: Place(request.source, files[name].location))
        for role, name in choice.roles.items():
            self._bring(role, Place(request.source, files[name].location), files[name].checksum, choice.why[role])
        listed = [Place(request.source, files[name].location) for name in choice.archives]
        self.candidates += [place for place in listed if place not in self.candidates]

    def take_from_archives(self) -> None:
        """Members of the archives at hand, likeliest first, until nothing needed or wanted is missing."""
        for place in self.candidates:
            if not self.lacking() and not self.missing(self.roles.wanted):
                return
            self._open(place)

    def _open(self, archive: Place) -> None:
        self.opened.append(archive.location)
        inside = self.fetching.archive(archive).names()
        # A sample's own archive need not repeat the label that picked it out.
        own = [name for name in inside if layouts.matches(name, self.request.files)] or inside

        def place_of(name: str) -> Place:
            return Place(archive.source, archive.location, name)

        choice = self._choose(own, place_of)
        for role, fetched in self.fetching.bring_members(archive, choice.roles).items():
            why = f"in {last(archive.location)}, {choice.why[role]}"
            self._keep(role, place_of(choice.roles[role]), why, fetched)

    def _choose(self, names: Iterable[str], place_of: Callable[[str], Place]) -> Choice:
        """The names that fill open roles."""
        names = sorted(set(names))
        self.seen += names
        counts = self.brought.get("counts")
        matrix = next((name for name in names if counts and written(place_of(name)) == counts.location), None)
        choice = choose(names, self.request, self.missing(self.roles.fetched), matrix)
        for role, several in choice.left_open.items():
            self.left_open[role] = sorted({*self.left_open.get(role, []), *several})
        return choice

    def _bring(self, role: str, place: Place, checksum: Checksum, why: str) -> None:
        if place.member:
            whole = Place(place.source, place.location)
            self.candidates += [whole] if whole not in self.candidates else []
        place, fetched = self.fetching.bring(role, place, checksum)
        self._keep(role, place, why, fetched)

    def _keep(self, role: str, place: Place, why: str, fetched: Fetched) -> None:
        log.info("%s: %s (%s)", role, named(place), why)
        self.brought[role] = Brought(role, written(place), why, fetched)

    def refuse_missing(self) -> None:
        """Refuse a sample that lacks what it needs, and say what to do about it."""
        missing = self.lacking()
        if not missing:
            return
        advice = self._advice(missing)
        if missing[-1] in self.roles.either:
            missing[-1] = " or ".join(self.roles.either)
        raise Refusal(
            f"{self.request.sample}: no file for {', '.join(missing)}; {advice}. Seen: {shown(self.seen)}"
            + "".join(f". {note}" for note in self.notes[:SHOWN]),
            measured=len(missing),
            threshold=0,
        )

    def _advice(self, missing: list[str]) -> str:
        """What to do where roles have no file."""
        there = layouts.units_of(self.seen, self.request.reader)
        default = self.layout.units.default if self.layout.units else ""
        asked = self.request.unit or default
        if there and asked not in there and set(missing) - {"image"}:
            return (
                f"there is only {', '.join(there)}, and not {asked}"
                f"{'' if self.request.unit else ', which is read where the row says nothing'}; write {there[0]} in the"
                " column 'unit'"
            )
        reduced = [name for name in self.seen if re.search(rf"{BREAK}({REDUCED}){REST}{PICTURE}", plain(name))]
        if missing == ["image"] and reduced:
            return f"only a reduced picture is there ({last(reduced[0])}); give the full-resolution one in the row"
        return f"name {'it' if len(missing) == 1 else 'them'} in the row"

    def report(self) -> dict[str, Any]:
        """JSON-ready measures of what was found, and where."""
        return {
            "files": len(self.brought),
            "bytes": sum(one.file.bytes for one in self.brought.values()),
            "files_listed": self.listed,
            "archives_opened": [last(location) for location in self.opened],
            "found": {role: one.why for role, one in self.brought.items()},
            **({"left_open": self.left_open} if self.left_open else {}),
            **({"links_passed_over": self.notes} if self.notes else {}),
        }
