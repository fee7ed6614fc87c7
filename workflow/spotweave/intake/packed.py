"""Archives and their members: only what is wanted is taken out, and it is verified and recorded like a download."""

from __future__ import annotations

import contextlib
import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from spotweave.deposits import archives
from spotweave.deposits.archives import Member
from spotweave.deposits.naming import FORMATS
from spotweave.errors import Refusal
from spotweave.intake.places import file_name, named, shown, written
from spotweave.io import read_json, remove, write_json
from spotweave.sources import SOURCES, Place
from spotweave.transfer.api import Locating, safe_name
from spotweave.transfer.content import HEAD_BYTES, check_head
from spotweave.transfer.digests import check, digest_file
from spotweave.transfer.disk import kept, record_path, write_record
from spotweave.transfer.files import Checksum, Fetched, FetchSettings, Wanted
from spotweave.transfer.local import local_path
from spotweave.transfer.remote_zip import NoRanges, open_zip

log = logging.getLogger("spotweave")

PACKED_PICTURES = tuple(f".{one}.gz" for one in FORMATS)


class Archive:
    """An archive at some place: read from afar if it is a zip on a server that hands out ranges, else fetched whole."""

    def __init__(self, place: Place, checksum: Checksum, folder: Path, settings: FetchSettings) -> None:
        self.place = place
        self.checksum = checksum
        self.folder = folder
        self.settings = settings
        self.name = file_name(place)
        self.label = f"archive: {named(place)}"
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
                f"{role}: {self.name}: {len(found) or 'no'} member{'s are' if found else ' is'} called {member!r};"
                f" {'give more of its path' if found else 'it holds'}: {shown(found or names)}",
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
        label = f"{named(self.place)}!"
        fetched = {
            name: there[name] or _verified(targets[name], asked[name], f"{role}: {label}{name}")
            for name, role in roles.items()
        }
        return {role: fetched[name] for role, name in wanted.items()}

    def _identity(self, name: str) -> str:
        """A member in this state of its archive: of a newer state, it is taken out anew."""
        place = f"{written(self.place)}!{name}"
        if self._remote:
            info = self._remote.getinfo(name)
            return f"{place} ({info.file_size} bytes, crc {info.CRC:08x})"
        state = cast(Path, self._path).stat()
        return f"{place} (of {state.st_size} bytes, {state.st_mtime_ns} ns)"

    def _bring_whole(self) -> None:
        """Fetch and list it, or believe the list kept from an earlier run: a large tar takes long to read.

        The list lies among the sample's files, also that of a local archive.
        """
        kept_in = self.folder / "archive" / f"{safe_name(written(self.place))}.members.json"
        asked = {"location": written(self.place), "requirement": str(self.checksum)}
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
        return SOURCES.load(self.place.source).fetch(wanted, self.folder / "archive", self.settings).path

    def _open_remote(self) -> zipfile.ZipFile | None:
        """The archive as a remote zip; None where it must be fetched whole.

        A checksum of the whole can only be held against the whole.
        """
        if not self.name.lower().endswith(".zip") or self.place.source == "file" or self.checksum.has_hash:
            return None
        url, headers = self.place.location, {}
        if self.place.source != "https":
            located = cast(Locating, SOURCES.load(self.place.source)).locate(self.place.location, self.settings)
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


def unpacked(fetched: Fetched, folder: Path, label: str, location: str) -> Fetched:
    """A picture without the .gz around it, which no picture library reads through; any other file as it is.

    `label` names the file in messages, `location` is the place it came from.
    """
    if not fetched.name.lower().endswith(PACKED_PICTURES):
        return fetched
    target = folder / fetched.name[: -len(".gz")]
    wanted = Wanted("", f"{location} unpacked from sha256:{fetched.sha256}")
    there = kept(target, wanted)
    if there:
        return there
    remove(record_path(target))
    archives.decompress(fetched.path, target, label)
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
