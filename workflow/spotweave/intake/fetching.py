"""Bringing the files of one sample, each from its place and each once: downloads, members of archives, local files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from spotweave.errors import Refusal
from spotweave.intake.packed import Archive, unpacked
from spotweave.intake.places import named, written
from spotweave.sources import SOURCES, Place
from spotweave.transfer.digests import mismatch
from spotweave.transfer.files import Checksum, Fetched, FetchSettings, Wanted


class Fetching:
    """What is here of one sample, below `folder`, and how to bring more.

    Attributes
    ----------
    checksums
        Archive -> what the row asks of its bytes.
    """

    def __init__(self, folder: Path, settings: FetchSettings) -> None:
        self.folder = folder
        self.settings = settings
        self.checksums: dict[Place, Checksum] = {}
        self._archives: dict[Place, Archive] = {}
        self._here: dict[str, Fetched] = {}

    def expect(self, role: str, place: Place, checksum: Checksum) -> None:
        """Note an archive that the row names, and what it asks of its bytes.

        Raises
        ------
        Refusal
            It lies inside another archive, or the row gives it two checksums.
        """
        if place.member:
            raise Refusal(
                f"{role}: {named(place)}: an archive inside an archive is not opened; take it out by hand and give its"
                " path with the source 'file'"
            )
        known = self.checksums.get(place, checksum)
        if Checksum() not in (known, checksum) and known != checksum:
            raise Refusal(
                f"{role}: {named(place)}: the row gives it two checksums, {known} and {checksum}; keep the right one"
            )
        self.checksums[place] = checksum if known == Checksum() else known

    def archive(self, place: Place) -> Archive:
        """An archive, opened once, however many cells of the row name its members."""
        if place not in self._archives:
            checksum = self.checksums.get(place, Checksum())
            self._archives[place] = Archive(place, checksum, self.folder, self.settings)
        return self._archives[place]

    def bring(self, role: str, place: Place, checksum: Checksum) -> tuple[Place, Fetched]:
        """One file, and its whole place: a member may be named by the end of its path."""
        archive = None
        if place.member:
            archive = self.archive(Place(place.source, place.location))
            place = Place(place.source, place.location, archive.find(place.member, role))
        fetched = self._here_already(place, checksum)
        if fetched is None and archive is not None and place.member:
            fetched = archive.take({role: place.member}, {role: checksum})[role]
        elif fetched is None:
            wanted = Wanted(role, place.location, checksum)
            fetched = SOURCES.load(place.source).fetch(wanted, self.folder / role, self.settings)
        return place, self._kept(role, place, fetched)

    def bring_members(self, archive: Place, members: Mapping[str, str]) -> dict[str, Fetched]:
        """Members of an archive by role, taken out in one go."""
        taken = self.archive(archive).take(members)
        return {
            role: self._kept(role, Place(archive.source, archive.location, members[role]), fetched)
            for role, fetched in taken.items()
        }

    def _kept(self, role: str, place: Place, fetched: Fetched) -> Fetched:
        file = unpacked(fetched, self.folder / role, f"{role}: {named(place)}", written(place))
        self._here[written(place)] = file
        return file

    def _here_already(self, place: Place, checksum: Checksum) -> Fetched | None:
        """One file may fill two roles (an h5ad with its own positions): it is brought once."""
        file = self._here.get(written(place))
        if file is None or checksum.md5 or mismatch(checksum, Checksum(file.sha256, None, file.bytes)):
            return None
        return file
