"""From a row to files: finds the raw files of one sample, brings them, and says why these.

A role is one purpose of a file (`counts`, `spots`, `image`, …). In this order it is filled by

1. the row's own cell,
2. the listing of the row's accession,
3. the archives that the row or the listing has: only the members that are needed are taken out of them.

A role that several files could fill is never chosen silently: the sample is refused with their names.
"""

from __future__ import annotations

import contextlib
import logging
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from spotweave import archives, raw_layouts, sources
from spotweave.errors import Refusal
from spotweave.io import read_json, remove, write_json
from spotweave.sources import Checksum, Fetched, FetchSettings, Listed, Place, Wanted, find_place
from spotweave.sources._api import Locating, safe_name
from spotweave.sources._content import HEAD_BYTES, check_head
from spotweave.sources._digests import check, digest_file
from spotweave.sources._disk import kept, write_record
from spotweave.sources._remote_zip import NoRanges, open_zip
from spotweave.sources.https import redacted

log = logging.getLogger("spotweave")

ARCHIVE_ROLES = ("spatial", "bundle")
# Large and not looked at by any stage: not worth a download.
NOT_FETCHED = frozenset({"hires_image", "morphology"})
PACKED_PICTURES = (".tif.gz", ".tiff.gz", ".btf.gz", ".jpg.gz", ".jpeg.gz", ".png.gz", ".ndpi.gz", ".svs.gz")
SHOWN = 8


@dataclass(frozen=True)
class Request:
    """What a row asks for.

    Parameters
    ----------
    sample
        Its id.
    reader
        Reader of its technology: says which roles there are.
    source, accession, files
        Where its files are listed; `files` are shell patterns separated by blanks, that narrow the listing.
    unit
        Which unit of a deposit that has several.
    given
        Role (or `spatial`, `bundle`) -> the row's location and checksum.
    """

    sample: str
    reader: str
    source: str
    accession: str | None = None
    files: str | None = None
    unit: str | None = None
    given: Mapping[str, tuple[str, Checksum]] = field(default_factory=dict)


@dataclass(frozen=True)
class Brought:
    """A file that is here: `why` says how it was found, `location` names it as a row would."""

    role: str
    location: str
    why: str
    file: Fetched


@dataclass(frozen=True)
class Ingested:
    """A sample's raw files, in the order of their roles, and JSON-ready measures."""

    files: list[Brought]
    report: dict[str, Any]


def parse_request(content: Mapping[str, Any]) -> Request:
    """A request from its JSON form, in which `given` maps roles to `{"location": …, "checksum": …}`."""
    given = {
        role: (cell["location"], sources.parse_checksum(cell.get("checksum")))
        for role, cell in content["given"].items()
    }
    rest = {name: content.get(name) for name in ("accession", "files", "unit")}
    return Request(content["sample"], content["reader"], content["source"], given=given, **rest)


def ingest(request: Request, folder: Path, settings: FetchSettings) -> Ingested:
    """Bring every raw file of a sample into `folder`, one sub-folder a role.

    Raises
    ------
    Refusal
        A needed role has no file or several, or a file is wrong.
    sources.Unreachable
        The network, or the publisher, is not to be had now.
    """
    job = _Ingest(request, folder, settings)
    job.take_given()
    job.take_listed()
    job.take_from_archives()
    job.refuse_missing()
    return Ingested([job.brought[role] for role in job.roles if role in job.brought], job.report())


class _Ingest:
    """One sample on its way: `brought` fills up."""

    def __init__(self, request: Request, folder: Path, settings: FetchSettings) -> None:
        self.request = request
        self.folder = folder
        self.settings = settings
        roles = raw_layouts.ROLES[request.reader]
        self.needed = tuple(roles.needed)
        self.either = roles.either
        self.roles = tuple(role for role in (*roles.needed, *roles.optional) if role not in NOT_FETCHED)
        self.brought: dict[str, Brought] = {}
        self.assigned: raw_layouts.Assignment | None = None
        self.listed = 0
        self.opened: list[str] = []
        self.candidates: list[Place] = []
        self.checksums: dict[Place, Checksum] = {}
        self.seen: list[str] = []

    def missing(self, roles: Iterable[str]) -> list[str]:
        return [role for role in roles if role not in self.brought]

    def lacking(self) -> list[str]:
        """What a sample cannot be built without and does not have; of several that would do, the first."""
        has_either = not self.either or any(role in self.brought for role in self.either)
        return self.missing(self.needed) + ([] if has_either else [self.either[0]])

    def take_given(self) -> None:
        """The files that the row names; its archives come later."""
        unknown = sorted(set(self.request.given) - set(self.roles) - set(ARCHIVE_ROLES))
        if unknown:
            raise Refusal(
                f"{self.request.sample}: the row names a file for {', '.join(unknown)}, which"
                f" {self.request.reader} does not read; its roles are {', '.join(self.roles)}"
            )
        for role in self.roles:
            if role in self.request.given:
                text, checksum = self.request.given[role]
                place = find_place(text, self.request.source, self.request.accession)
                self._bring(role, place, checksum, "named in the row")
        self.checksums = {
            find_place(text, self.request.source, self.request.accession): checksum
            for text, checksum in (self.request.given[role] for role in ARCHIVE_ROLES if role in self.request.given)
        }
        self.candidates = list(self.checksums)

    def take_listed(self) -> None:
        """What the accession's listing offers for roles that are still open."""
        if self.request.accession is None or not self.lacking():
            return
        source = sources.load(self.request.source)
        listing = source.list_files(self.request.accession, self.settings)
        files = {file.name: file for file in listing.files if raw_layouts.matches(file.name, self.request.files)}
        if not files:
            pattern = f" that match {self.request.files!r}" if self.request.files else ""
            raise Refusal(
                f"{self.request.accession}: {len(listing.files)} files, none{pattern};"
                f" {_shown(file.name for file in listing.files)}",
                measured=0,
                threshold=1,
            )
        self.listed = len(files)
        self._take(files, lambda file: Place(self.request.source, file.location), "")
        if not self.candidates and self.assigned:
            self.candidates = [Place(self.request.source, files[name].location) for name in self.assigned.archives]

    def take_from_archives(self) -> None:
        """Members of the archives at hand, likeliest first, until nothing needed is missing."""
        for place in self.candidates:
            if not self.lacking():
                return
            self._open(place)

    def _open(self, place: Place) -> None:
        self.opened.append(place.location)
        archive = _Archive(place, self.checksums.get(place, Checksum()), self.folder, self.settings)
        inside = archive.names()
        # A sample's own archive need not repeat the label that picked it out.
        own = [name for name in inside if raw_layouts.matches(name, self.request.files)] or inside
        names = {name: Listed(name, name) for name in own}
        self._take(
            names, lambda file: Place(place.source, place.location, file.name), f"in {_last(place.location)}, ", archive
        )

    def _take(
        self,
        files: Mapping[str, Listed],
        place_of: Callable[[Listed], Place],
        where: str,
        archive: _Archive | None = None,
    ) -> None:
        """Fill open roles from a set of names."""
        self.seen += sorted(files)
        assigned = raw_layouts.assign(list(files), self.request.reader, unit=self.request.unit)
        self.assigned = assigned
        for role in self.missing(self.roles):
            if role in assigned.ambiguous and role in (*self.needed, *self.either):
                raise Refusal(
                    f"{self.request.sample}: {len(assigned.ambiguous[role])} files could be its {role}:"
                    f" {_shown(assigned.ambiguous[role])}; name one in the column '{role}', or narrow"
                    " them with 'files'",
                    measured=len(assigned.ambiguous[role]),
                    threshold=1,
                )
        wanted = {role: files[assigned.roles[role]] for role in self.missing(self.roles) if role in assigned.roles}
        if archive is None:
            for role, file in wanted.items():
                self._bring(role, place_of(file), file.checksum, where + assigned.why.get(role, ""))
            return
        for role, fetched in archive.take({role: file.name for role, file in wanted.items()}).items():
            place = place_of(wanted[role])
            self._keep(role, _written(place), where + assigned.why.get(role, ""), fetched)

    def _bring(self, role: str, place: Place, checksum: Checksum, why: str) -> None:
        if place.member:
            archive = _Archive(Place(place.source, place.location), Checksum(), self.folder, self.settings)
            name = archive.find(place.member)
            fetched = archive.take({role: name}, {role: checksum})[role]
            place = Place(place.source, place.location, name)
        else:
            wanted = Wanted(role, place.location, checksum)
            fetched = sources.load(place.source).fetch(wanted, self.folder / role, self.settings)
        self._keep(role, _written(place), why, fetched)

    def _keep(self, role: str, location: str, why: str, fetched: Fetched) -> None:
        if fetched.name.lower().endswith(PACKED_PICTURES):
            fetched = _unpacked_picture(fetched, self.folder / role, Wanted(role, f"{location} unpacked"))
        log.info("%s: %s (%s)", role, location, why)
        self.brought[role] = Brought(role, location, why, fetched)

    def refuse_missing(self) -> None:
        missing = self.lacking()
        if not missing:
            return
        if missing[-1] in self.either:
            missing[-1] = " or ".join(self.either)
        hires = [name for name in self.seen if "tissue_hires_image" in name]
        advice = f"name {'it' if len(missing) == 1 else 'them'} in the row"
        if missing == ["image"] and hires:
            advice = f"only a reduced picture is there ({_last(hires[0])}); give the full-resolution one in the row"
        raise Refusal(
            f"{self.request.sample}: no file for {', '.join(missing)}; {advice}. Seen: {_shown(self.seen)}",
            measured=len(missing),
            threshold=0,
        )

    def report(self) -> dict[str, Any]:
        return {
            "files": len(self.brought),
            "bytes": sum(one.file.bytes for one in self.brought.values()),
            "files_listed": self.listed,
            "archives_opened": [_last(location) for location in self.opened],
            "found": {role: one.why for role, one in self.brought.items()},
        }


class _Archive:
    """An archive at some place: read from afar if it is a zip on a server that hands out ranges, else fetched whole."""

    def __init__(self, place: Place, checksum: Checksum, folder: Path, settings: FetchSettings) -> None:
        self.place = place
        self.checksum = checksum
        self.folder = folder
        self.settings = settings
        self.label = _last(place.location)
        self._whole: Fetched | None = None
        self._remote = self._open_remote()

    def names(self) -> list[str]:
        """Names of its files."""
        if self._remote:
            return [info.filename for info in self._remote.infolist() if not info.is_dir()]
        return self._listed()

    def _listed(self) -> list[str]:
        """Names of the members, kept beside the sample's files: listing a large tar takes reading all of it."""
        path = self._fetched().path
        kept_in = self.folder / "archive" / f"{safe_name(path.name)}.members.json"
        state = {"archive": str(path), "bytes": path.stat().st_size, "mtime_ns": path.stat().st_mtime_ns}
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            content = read_json(kept_in)
            if {key: content[key] for key in state} == state:
                return [str(name) for name in content["members"]]
        names = [member.name for member in archives.members(path, self.label)]
        write_json(kept_in, {**state, "members": names})
        return names

    def find(self, member: str) -> str:
        """The full name of a member that is given by the end of its path."""
        names = self.names()
        found = [name for name in names if name == member] or [name for name in names if name.endswith(f"/{member}")]
        if len(found) != 1:
            raise Refusal(
                f"{self.label}: {len(found)} members are called {member!r}; {_shown(found or names)}",
                measured=len(found),
                threshold=1,
            )
        return found[0]

    def take(self, wanted: Mapping[str, str], checksums: Mapping[str, Checksum] | None = None) -> dict[str, Fetched]:
        """Members by role, each in the folder of its role, verified and recorded like a download."""
        asked = {
            role: Wanted(role, f"{_written(self.place)}!{name}", (checksums or {}).get(role, Checksum()))
            for role, name in wanted.items()
        }
        targets = {role: self.folder / role / safe_name(name.rpartition("/")[2]) for role, name in wanted.items()}
        there = {role: kept(targets[role], asked[role]) for role in wanted}
        missing = [(wanted[role], targets[role]) for role, file in there.items() if file is None]
        while missing:
            # One member may fill two roles (an h5ad with its own positions): each gets its copy.
            once = dict(missing)
            missing = [(name, target) for name, target in missing if once[name] != target]
            if self._remote:
                archives.extract_zip(self._remote, once, self.label)
            else:
                archives.extract(self._fetched().path, once, self.label)
        return {role: there[role] or _verified(targets[role], asked[role]) for role in wanted}

    def _open_remote(self) -> zipfile.ZipFile | None:
        """The archive as a remote zip; None where it must be fetched whole.

        A checksum of the whole can only be held against the whole.
        """
        if not self.place.location.lower().endswith(".zip") or self.place.source == "file" or self.checksum.has_hash:
            return None
        url, headers = self.place.location, {}
        if self.place.source != "https":
            located = cast(Locating, sources.load(self.place.source)).locate(self.place.location, self.settings)
            url, headers = located.url, dict(located.headers)
        try:
            return open_zip(url, self.settings, headers)
        except NoRanges:
            log.info("%s: its server hands out whole files only", self.label)
            return None

    def _fetched(self) -> Fetched:
        if self._whole is None:
            wanted = Wanted("archive", self.place.location, self.checksum)
            self._whole = sources.load(self.place.source).fetch(wanted, self.folder / "archive", self.settings)
        return self._whole


def _unpacked_picture(packed: Fetched, folder: Path, wanted: Wanted) -> Fetched:
    """A picture without the .gz around it, which no picture library reads through."""
    target = folder / packed.name[: -len(".gz")]
    there = kept(target, wanted)
    if there:
        return there
    archives.decompress(packed.path, target, f"{wanted.role}: {packed.name}")
    return _verified(target, wanted)


def _verified(target: Path, wanted: Wanted) -> Fetched:
    """A file just unpacked, held against the row and against what its name says, and recorded."""
    label = f"{wanted.role}: {wanted.location}"
    try:
        with open(target, "rb") as handle:
            check_head(label, target.name, handle.read(HEAD_BYTES))
        digests = digest_file(target, wanted.checksum)
        check(label, wanted.checksum, digests.found)
    except Refusal:
        remove(target)
        raise
    return write_record(target, wanted, digests)


def _written(place: Place) -> str:
    """A place as a row would name it."""
    text = place.location if place.source in ("https", "file") else f"{place.source}:{place.location}"
    return f"{text}!{place.member}" if place.member else text


def _last(location: str) -> str:
    """The file's own name, fit for a log."""
    return redacted(location).rpartition("/")[2]


def _shown(names: Iterable[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return (", ".join(listed[:SHOWN]) or "nothing at all") + more
