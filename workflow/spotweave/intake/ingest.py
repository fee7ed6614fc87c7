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

from spotweave import sources
from spotweave.addresses import identity, redacted
from spotweave.deposits import archives
from spotweave.deposits.archives import Member
from spotweave.errors import Refusal
from spotweave.intake import layouts
from spotweave.io import read_json, remove, write_json
from spotweave.sources import Checksum, Fetched, FetchSettings, Listed, Place, Wanted, find_place, local_path
from spotweave.sources._api import Locating, safe_name
from spotweave.sources._content import HEAD_BYTES, check_head
from spotweave.sources._digests import check, digest_file, mismatch
from spotweave.sources._disk import kept, record_path, write_record
from spotweave.sources._remote_zip import NoRanges, open_zip
from spotweave.sources.https import file_name

log = logging.getLogger("spotweave")

ARCHIVE_ROLES = ("spatial", "bundle")
# Large and not looked at by any stage: not worth a download.
NOT_FETCHED = frozenset({"hires_image", "morphology"})
PACKED_PICTURES = tuple(f".{one}.gz" for one in layouts.FORMATS)
# The two lists that belong to one matrix, and to no other.
PARTNERS = ("features", "barcodes")
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
        roles = layouts.ROLES[request.reader]
        self.needed = tuple(roles.needed)
        self.either = roles.either
        self.wanted = roles.wanted
        self.roles = tuple(role for role in (*roles.needed, *roles.optional) if role not in NOT_FETCHED)
        self.brought: dict[str, Brought] = {}
        self.listed = 0
        self.notes: list[str] = []
        self.opened: list[str] = []
        self.candidates: list[Place] = []
        self.checksums: dict[Place, Checksum] = {}
        self.archives: dict[Place, _Archive] = {}
        self.seen: list[str] = []
        self.left_open: dict[str, list[str]] = {}

    def missing(self, roles: Iterable[str]) -> list[str]:
        return [role for role in roles if role not in self.brought]

    def lacking(self) -> list[str]:
        """What a sample cannot be built without and does not have; of several that would do, the first."""
        has_either = not self.either or any(role in self.brought for role in self.either)
        return self.missing(self.needed) + self._lists() + ([] if has_either else [self.either[0]])

    def _lists(self) -> list[str]:
        """The lists that a matrix in Market Exchange format still needs."""
        counts = self.brought.get("counts")
        is_matrix = counts is not None and counts.file.name.lower().removesuffix(".gz").endswith(".mtx")
        return [role for role in self.missing(PARTNERS) if is_matrix and role in self.roles]

    def take_given(self) -> None:
        """The files that the row names; its archives come later."""
        unknown = sorted(set(self.request.given) - set(self.roles) - set(ARCHIVE_ROLES))
        if unknown:
            raise Refusal(
                f"{self.request.sample}: the row names a file for {', '.join(unknown)}, which"
                f" {self.request.reader} does not read; its roles are {', '.join(self.roles)}"
            )
        for role in ARCHIVE_ROLES:
            if role in self.request.given:
                self._note_archive(role, *self.request.given[role])
        self.candidates = list(self.checksums)
        for role in self.roles:
            if role in self.request.given:
                text, checksum = self.request.given[role]
                place = find_place(text, self.request.source, self.request.accession)
                self._bring(role, place, checksum, "named in the row")

    def _note_archive(self, role: str, text: str, checksum: Checksum) -> None:
        place = find_place(text, self.request.source, self.request.accession)
        if place.member:
            raise Refusal(
                f"{role}: {_named(place)}: an archive inside an archive is not opened; take it out by hand and give its"
                " path with the source 'file'"
            )
        known = self.checksums.get(place, checksum)
        if Checksum() not in (known, checksum) and known != checksum:
            raise Refusal(f"{role}: {_named(place)}: the row gives it two checksums, {known} and {checksum}")
        self.checksums[place] = checksum if known == Checksum() else known

    def take_listed(self) -> None:
        """What the accession's listing offers for roles that are still open."""
        if self.request.accession is None or not (self.lacking() or self.missing(self.wanted)):
            return
        source = sources.load(self.request.source)
        listing = source.list_files(self.request.accession, self.settings)
        self.notes += listing.notes
        files = {file.name: file for file in listing.files if layouts.matches(file.name, self.request.files)}
        if not files:
            pattern = f" that match {self.request.files!r}" if self.request.files else ""
            raise Refusal(
                f"{self.request.accession}: {len(listing.files)} files, none{pattern};"
                f" {_shown([*(file.name for file in listing.files), *self.notes])}",
                measured=0,
                threshold=1,
            )
        self.listed = len(files)
        assigned = self._take(files, lambda file: Place(self.request.source, file.location), "")
        listed = [Place(self.request.source, files[name].location) for name in assigned.archives]
        self.candidates += [place for place in listed if place not in self.candidates]

    def take_from_archives(self) -> None:
        """Members of the archives at hand, likeliest first, until nothing needed or wanted is missing."""
        for place in self.candidates:
            if not self.lacking() and not self.missing(self.wanted):
                return
            self._open(place)

    def _open(self, place: Place) -> None:
        self.opened.append(place.location)
        archive = self._archive(place)
        inside = archive.names()
        # A sample's own archive need not repeat the label that picked it out.
        own = [name for name in inside if layouts.matches(name, self.request.files)] or inside
        names = {name: Listed(name, name) for name in own}
        self._take(
            names, lambda file: Place(place.source, place.location, file.name), f"in {_last(place.location)}, ", archive
        )

    def _archive(self, place: Place) -> _Archive:
        """An archive is opened once, however many cells of the row name its members."""
        if place not in self.archives:
            checksum = self.checksums.get(place, Checksum())
            self.archives[place] = _Archive(place, checksum, self.folder, self.settings)
        return self.archives[place]

    def _take(
        self,
        files: Mapping[str, Listed],
        place_of: Callable[[Listed], Place],
        where: str,
        archive: _Archive | None = None,
    ) -> layouts.Assignment:
        """Fill open roles from a set of names."""
        self.seen += sorted(files)
        assigned = layouts.assign(list(files), self.request.reader, unit=self.request.unit)
        self._refuse_ambiguous(assigned)
        found = {role: assigned.roles[role] for role in self.missing(self.roles) if role in assigned.roles}
        if "counts" not in found:
            own = self._partners_of_given({name: place_of(file) for name, file in files.items()})
            found = {role: name for role, name in found.items() if role not in PARTNERS} | own
        wanted = {role: files[name] for role, name in found.items()}
        if archive is None:
            for role, file in wanted.items():
                self._bring(role, place_of(file), file.checksum, where + assigned.why.get(role, ""))
            return assigned
        for role, fetched in archive.take({role: file.name for role, file in wanted.items()}).items():
            self._keep(role, place_of(wanted[role]), where + assigned.why.get(role, ""), fetched)
        return assigned

    def _refuse_ambiguous(self, assigned: layouts.Assignment) -> None:
        """Several names for a needed role are refused; for one that may stay open, they are reported."""
        for role in self.missing(assigned.ambiguous):
            names = assigned.ambiguous[role]
            if role in (*self.needed, *self.either, *self.wanted):
                raise Refusal(
                    f"{self.request.sample}: {len(names)} files could be its {role}: {_shown(names)}; name one in the"
                    f" column '{role}', or narrow them with 'files'",
                    measured=len(names),
                    threshold=1,
                )
            if role in self.roles:
                log.warning("%s: left open, %s files could be it: %s", role, len(names), _shown(names))
                self.left_open[role] = sorted({*self.left_open.get(role, []), *names})

    def _partners_of_given(self, places: Mapping[str, Place]) -> dict[str, str]:
        """The lists beside a matrix that the row names; those of another matrix would be wrong in silence."""
        given = self.brought.get("counts")
        matrix = next((name for name, place in places.items() if given and _written(place) == given.location), None)
        if matrix is None:
            return {}
        lists = [name for name in places if any(word in name.lower() for word in ("features", "genes", "barcodes"))]
        roles = layouts.assign([matrix, *lists], self.request.reader, unit=self.request.unit).roles
        if roles.get("counts") != matrix:
            return {}
        return {role: roles[role] for role in self.missing(PARTNERS) if role in roles and role in self.roles}

    def _bring(self, role: str, place: Place, checksum: Checksum, why: str) -> None:
        if place.member:
            whole = Place(place.source, place.location)
            archive = self._archive(whole)
            self.candidates += [whole] if whole not in self.candidates else []
            name = archive.find(place.member, role)
            place = Place(place.source, place.location, name)
        fetched = self._here_already(place, checksum)
        if fetched is None and place.member:
            fetched = archive.take({role: place.member}, {role: checksum})[role]
        elif fetched is None:
            wanted = Wanted(role, place.location, checksum)
            fetched = sources.load(place.source).fetch(wanted, self.folder / role, self.settings)
        self._keep(role, place, why, fetched)

    def _here_already(self, place: Place, checksum: Checksum) -> Fetched | None:
        """One file may fill two roles (an h5ad with its own positions): it is brought once."""
        for one in self.brought.values():
            found = Checksum(one.file.sha256, None, one.file.bytes)
            if one.location == _written(place) and not checksum.md5 and not mismatch(checksum, found):
                return one.file
        return None

    def _keep(self, role: str, place: Place, why: str, fetched: Fetched) -> None:
        if fetched.name.lower().endswith(PACKED_PICTURES):
            fetched = _unpacked_picture(fetched, self.folder / role, f"{role}: {_named(place)}", _written(place))
        log.info("%s: %s (%s)", role, _named(place), why)
        self.brought[role] = Brought(role, _written(place), why, fetched)

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
        units = layouts.units_of(self.seen) if self.request.reader == "visium_hd" else []
        asked = self.request.unit or layouts.DEFAULT_UNIT
        if units and asked not in units and {"counts", "spots"} & set(missing):
            advice = (
                f"there is only {', '.join(units)}, and not {asked}"
                f"{'' if self.request.unit else ', which is read where the row says nothing'}; write {units[0]} in the"
                " column 'unit'"
            )
        raise Refusal(
            f"{self.request.sample}: no file for {', '.join(missing)}; {advice}. Seen: {_shown(self.seen)}"
            + "".join(f". {note}" for note in self.notes[:SHOWN]),
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
            **({"left_open": self.left_open} if self.left_open else {}),
            **({"links_passed_over": self.notes} if self.notes else {}),
        }


class _Archive:
    """An archive at some place: read from afar if it is a zip on a server that hands out ranges, else fetched whole."""

    def __init__(self, place: Place, checksum: Checksum, folder: Path, settings: FetchSettings) -> None:
        self.place = place
        self.checksum = checksum
        self.folder = folder
        self.settings = settings
        self.name = _file_name(place)
        self.label = f"archive: {_named(place)}"
        self._path: Path | None = None
        self._members: tuple[Member, ...] = ()
        self._remote = self._open_remote()
        if self._remote is None:
            self._bring_whole()

    def names(self) -> list[str]:
        """Names of its files."""
        if self._remote:
            return [info.filename for info in self._remote.infolist() if not info.is_dir()]
        return [member.name for member in self._members]

    def find(self, member: str, role: str) -> str:
        """The full name of a member that is given by the end of its path."""
        names = self.names()
        found = [name for name in names if name == member] or [name for name in names if name.endswith(f"/{member}")]
        if len(found) != 1:
            raise Refusal(
                f"{role}: {self.name}: {len(found)} members are called {member!r}; {_shown(found or names)}",
                measured=len(found),
                threshold=1,
            )
        return found[0]

    def take(self, wanted: Mapping[str, str], checksums: Mapping[str, Checksum] | None = None) -> dict[str, Fetched]:
        """Members by role, each in the folder of its role, verified and recorded like a download.

        A member that two roles ask for is taken out once.
        """
        roles = {name: role for role, name in reversed(list(wanted.items()))}
        asked = {
            name: Wanted(role, self._identity(name), (checksums or {}).get(role, Checksum()))
            for name, role in roles.items()
        }
        targets = {name: self.folder / role / safe_name(name.rpartition("/")[2]) for name, role in roles.items()}
        there = {name: kept(targets[name], asked[name]) for name in roles}
        missing = {name: targets[name] for name, file in there.items() if file is None}
        for target in missing.values():
            remove(record_path(target))  # it must not vouch for other bytes if this is broken off
        if missing and self._remote:
            archives.extract_zip(self._remote, missing, self.label)
        elif missing:
            archives.extract(cast(Path, self._path), missing, self.label, listed=self._members)
        label = f"{_named(self.place)}!"
        fetched = {
            name: there[name] or _verified(targets[name], asked[name], f"{role}: {label}{name}")
            for name, role in roles.items()
        }
        return {role: fetched[name] for role, name in wanted.items()}

    def _identity(self, name: str) -> str:
        """A member in this state of its archive: of a newer state, it is taken out anew."""
        place = f"{_written(self.place)}!{name}"
        if self._remote:
            info = self._remote.getinfo(name)
            return f"{place} ({info.file_size} bytes, crc {info.CRC:08x})"
        state = cast(Path, self._path).stat()
        return f"{place} (of {state.st_size} bytes, {state.st_mtime_ns} ns)"

    def _bring_whole(self) -> None:
        """Fetch and list it, or believe the list kept from an earlier run: a large tar takes long to read.

        The list lies among the sample's files, also that of a local archive.
        """
        kept_in = self.folder / "archive" / f"{safe_name(_written(self.place))}.members.json"
        asked = {"location": _written(self.place), "requirement": str(self.checksum)}
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            content = read_json(kept_in)
            path = Path(content["archive"])
            if {key: content[key] for key in (*asked, "bytes", "mtime_ns")} == {**asked, **_state(path)}:
                self._path, self._members = path, tuple(Member(*member) for member in content["members"])
                return
        path = self._fetch()
        self._path, self._members = path, archives.members(path, self.label)
        members = [[member.name, member.bytes, member.leads_to] for member in self._members]
        write_json(kept_in, {**asked, **_state(path), "archive": str(path), "members": members})

    def _fetch(self) -> Path:
        """Where the whole archive lies. A local one is read through when it is listed: not once more for a hash."""
        if self.place.source == "file" and not self.checksum.has_hash:
            path = local_path(self.place.location)
            if path.is_file():
                check(self.label, self.checksum, Checksum(size=path.stat().st_size))
                return path
        wanted = Wanted("archive", self.place.location, self.checksum)
        return sources.load(self.place.source).fetch(wanted, self.folder / "archive", self.settings).path

    def _open_remote(self) -> zipfile.ZipFile | None:
        """The archive as a remote zip; None where it must be fetched whole.

        A checksum of the whole can only be held against the whole.
        """
        if not self.name.lower().endswith(".zip") or self.place.source == "file" or self.checksum.has_hash:
            return None
        url, headers = self.place.location, {}
        if self.place.source != "https":
            located = cast(Locating, sources.load(self.place.source)).locate(self.place.location, self.settings)
            url, headers = located.url, dict(located.headers)
        try:
            return open_zip(url, self.settings, headers, self.label, is_named=self.place.source == "https")
        except NoRanges:
            log.info("%s: its server hands out whole files only", self.label)
            return None


def _state(path: Path) -> dict[str, int]:
    """What tells that a file is still the same, without reading it."""
    state = path.stat()
    return {"bytes": state.st_size, "mtime_ns": state.st_mtime_ns}


def _unpacked_picture(packed: Fetched, folder: Path, label: str, location: str) -> Fetched:
    """A picture without the .gz around it, which no picture library reads through."""
    target = folder / packed.name[: -len(".gz")]
    wanted = Wanted("", f"{location} unpacked from sha256:{packed.sha256}")
    there = kept(target, wanted)
    if there:
        return there
    remove(record_path(target))
    archives.decompress(packed.path, target, label)
    return _verified(target, wanted, label)


def _verified(target: Path, wanted: Wanted, label: str) -> Fetched:
    """A file just unpacked, held against the row and against what its name says, and recorded."""
    try:
        with open(target, "rb") as handle:
            check_head(label, target.name, handle.read(HEAD_BYTES))
        digests = digest_file(target, wanted.checksum)
        check(label, wanted.checksum, digests.found)
    except Refusal:
        remove(target)
        raise
    return write_record(target, wanted, digests)


def _named(place: Place) -> str:
    """A place for messages and logs: without what may be a token."""
    text = _written(Place(place.source, redacted(place.location)))
    return f"{text}!{place.member}" if place.member else text


def _file_name(place: Place) -> str:
    """The archive's own name: an address may have a query behind it."""
    return file_name(place.location) if place.source == "https" else place.location.rpartition("/")[2]


def _written(place: Place) -> str:
    """A place as a row would name it, without what may be a token."""
    text = identity(place.location) if place.source in ("https", "file") else f"{place.source}:{place.location}"
    return f"{text}!{place.member}" if place.member else text


def _last(location: str) -> str:
    """The file's own name, fit for a log."""
    return redacted(location).rpartition("/")[2]


def _shown(names: Iterable[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return (", ".join(listed[:SHOWN]) or "nothing at all") + more
