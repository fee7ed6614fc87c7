"""NCBI GEO: series `GSE190811` and samples `GSM5732357`; files with size where GEO lists one, no checksum.

* Everything is asked for by https; ftp:// hangs behind many firewalls. A folder is `…/GSM5732nnn/GSM5732357/suppl/`:
  the last three digits of the number make its group.
* The index page of a folder names its files; `filelist.txt`, where there is one, the members of a RAW.tar and their
  sizes. Members lie singly in the folders of their samples, so that a RAW.tar is never needed for one of them.
* The tree answers 404 or 403 in spells of minutes. So an accession is called missing only if GEO's own record
  (acc.cgi, SOFT text) says so, and a file that GEO lists but does not hand out is `Unreachable`, not refused. Where
  the tree misses a file the download page may have it.
* A SuperSeries without files of its own has those of its sub-series.
"""

from __future__ import annotations

import functools
import html
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import quote, unquote

import tenacity

from spotweave.errors import Refusal
from spotweave.transfer.api import Located, fetch_located, find, get_text, safe_name, size_of
from spotweave.transfer.files import Checksum, Fetched, FetchSettings, Listed, Listing, Unreachable, Wanted
from spotweave.transfer.http import LONGEST_WAIT_S

log = logging.getLogger("spotweave")

ACCESSION = r"(GSE|GSM)[1-9]\d*"
EXAMPLE = "GSM5732357"
ADDRESS = (r"\b(GS[EM]\d+)\b", "{}")
WEB_PAGE = "https://www.ncbi.nlm.nih.gov/geo/query/acc.cgi?acc={}"
TREE = "https://ftp.ncbi.nlm.nih.gov/geo"
PAGE = "https://www.ncbi.nlm.nih.gov/geo/download/"
RECORD = "https://www.ncbi.nlm.nih.gov/geo/query/acc.cgi"
FILELIST = "filelist.txt"
TREES = {"GSE": "series", "GSM": "samples"}
SPELL = (403, 404)
# What the record's page says in place of a record, and what it means.
NO_RECORD = {
    "was deleted by the GEO staff": "was withdrawn from GEO; remove the row",
    "is currently private": "is not public yet; wait for its release, or ask its authors",
    "is not yet approved": "is not public yet; wait for its release, or ask its authors",
    "Could not find a public or private accession": "does not exist, or is not public; correct the accession",
}

T = TypeVar("T")


class _Record(NamedTuple):
    """What GEO's record of an accession says: names of its files, and of its sub-series."""

    files: tuple[str, ...]
    subseries: tuple[str, ...]


class _Missed(Exception):
    """404 or 403, which may pass."""


def list_files(accession: str, settings: FetchSettings) -> Listing:
    """The files of a sample, or of a series: its own and those of its samples.

    Raises
    ------
    Refusal
        The accession does not exist, is not public, or has no files.
    """
    if not re.fullmatch(ACCESSION, accession):
        raise Refusal(f"{accession}: not a GEO series or sample such as GSE190811 or GSM5732357")
    return _listing(accession, settings)


def locate(location: str, settings: FetchSettings) -> Located:
    """Address and size of `<accession>/<file>`: in the tree if it is listed there, else of the download page."""
    file, home = _file(location, settings)
    if not _is_in_tree(file, home, settings):
        return _locate_on_page(location, settings)
    return Located(f"{folder_of(home)}{quote(file.name)}", safe_name(file.name), {}, file.checksum)


def fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
    """Bring one file, held against the size that GEO states.

    Raises
    ------
    Refusal
        GEO does not list the file, or it is not the file of the row.
    Unreachable
        GEO lists the file, but neither its tree nor its download page hand it out at the moment.
    """

    def bring() -> Fetched:
        for place in (locate, _locate_on_page):
            try:
                return fetch_located(wanted, folder, settings, place, "geo")
            except Refusal as refusal:
                if not _is_spell(refusal):
                    raise
        raise _Missed

    try:
        return _patiently(bring, settings)
    except _Missed:
        file, home = _file(wanted.location, settings)
        label = f"{wanted.role}: {wanted.location}"
        if _is_in_tree(file, home, settings):
            raise Unreachable(
                f"{label}: GEO lists the file, but answers 404 or 403 when asked for it, as it does for minutes at a"
                " time; run again later"
            ) from None
        series = file.location.partition("/")[0]
        raise Refusal(
            f"{label}: GEO does not hand it out by itself; take it from the series' archive:"
            f" {series}/{series}_RAW.tar!{file.name}",
            measured=404,
            threshold=200,
        ) from None


def folder_of(accession: str) -> str:
    """Address of an accession's supplementary files."""
    kind, number = accession[:3], accession[3:]
    return f"{TREE}/{TREES[kind]}/{kind}{number[:-3]}nnn/{accession}/suppl/"


def _file(location: str, settings: FetchSettings) -> tuple[Listed, str]:
    """The listed file of a location, and the accession in whose folder it lies."""
    accession, _, name = location.partition("/")
    if not name:
        raise Refusal(f"{location}: not a file of GEO such as GSM5732357/name.h5")
    file = find(list_files(accession, settings), name)
    owner = file.location.partition("/")[0]
    sample = re.match(r"GSM[1-9]\d*(?=_|$)", file.name) if owner.startswith("GSE") else None
    return file, sample[0] if sample else owner


def _locate_on_page(location: str, settings: FetchSettings) -> Located:
    file, home = _file(location, settings)
    url = f"{PAGE}?acc={home}&format=file&file={quote(file.name, safe='')}"
    return Located(url, safe_name(file.name), {}, file.checksum)


def _is_in_tree(file: Listed, home: str, settings: FetchSettings) -> bool:
    """Whether the folder in which a file should lie lists it."""
    if file.location.startswith(f"{home}/"):
        return True
    try:
        return any(one.name == file.name for one in _listing(home, settings).files)
    except Refusal:  # a sample without a folder of its own
        return False


@functools.cache
def _listing(accession: str, settings: FetchSettings) -> Listing:
    label = f"GEO {accession}"
    names = _index(accession, settings)
    if names is None:
        record = _record(accession, settings)
        if not record.files and not record.subseries:
            raise Refusal(f"{label}: has no supplementary files: give another accession", measured=0, threshold=1)
        if not record.files:
            parts = [_listing(part, settings).files for part in record.subseries]
            return Listing(accession, tuple(file for part in parts for file in part))
        names = _index_in_time(accession, settings)
        if names is None:
            log.warning("%s: its folder cannot be listed; taking the files that its record names", label)
            names = list(record.files)
    sizes = _filelist(accession, settings) if FILELIST in names else {}
    return Listing(
        accession,
        tuple(
            Listed(name, f"{accession}/{name}", Checksum(size=sizes.get(name)))
            for name in dict.fromkeys([*names, *sizes])
            if name != FILELIST
        ),
    )


def _index(accession: str, settings: FetchSettings) -> list[str] | None:
    """Names in the index page of a folder, which rounds sizes; None where there is no folder, or not now."""
    try:
        page = get_text(folder_of(accession), settings, label=f"GEO {accession}")
    except Refusal as refusal:
        if _is_spell(refusal):
            return None
        raise
    # The links out of the folder (its parent, how to sort it, notices) have a slash, or a question mark.
    return [unquote(html.unescape(name)) for name in re.findall(r'<a href="([^"?/]+)"', page)]


def _index_in_time(accession: str, settings: FetchSettings) -> list[str] | None:
    def ask() -> list[str]:
        names = _index(accession, settings)
        if names is None:
            raise _Missed
        return names

    try:
        return _patiently(ask, settings)
    except _Missed:
        return None


def _filelist(accession: str, settings: FetchSettings) -> dict[str, int | None]:
    """Size of each file by its name, of `#Archive/File  Name  Time  Size  Type`, tab-separated."""
    label = f"GEO {accession}"

    def ask() -> str:
        try:
            return get_text(f"{folder_of(accession)}{FILELIST}", settings, label=label)
        except Refusal as refusal:
            if _is_spell(refusal):
                raise _Missed from None
            raise

    try:
        lines = _patiently(ask, settings).splitlines()
    except _Missed:
        raise Unreachable(f"{label}: its {FILELIST} is there but cannot be had now; run again later") from None
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return {row[1]: size_of(row[3].strip()) for row in rows if len(row) >= 4 and row[0] in ("Archive", "File")}


def _record(accession: str, settings: FetchSettings) -> _Record:
    """What GEO's record says: `!Sample_supplementary_file_1 = ftp://…`, `!Series_relation = SuperSeries of: GSE…`."""
    label = f"GEO {accession}"
    text = get_text(f"{RECORD}?acc={accession}&targ=self&form=text&view=brief", settings, label=label)
    for sign, meaning in NO_RECORD.items():
        if sign in text:
            raise Refusal(f"{label}: {meaning}", measured=0, threshold=1)
    if not re.search(rf"^\^(SERIES|SAMPLE) = {accession}\s*$", text, re.MULTILINE):
        raise Unreachable(f"{label}: GEO answers neither with its folder nor with its record; run again later")
    files = re.findall(r"^!(?:Series|Sample)_supplementary_file\w* = \S*/(\S+)\s*$", text, re.MULTILINE)
    subseries = re.findall(r"^!Series_relation = SuperSeries of: (GSE\d+)\s*$", text, re.MULTILINE)
    return _Record(tuple(files), tuple(subseries))


def _is_spell(refusal: Refusal) -> bool:
    return refusal.measured in SPELL and refusal.threshold == 200


def _patiently(ask: Callable[[], T], settings: FetchSettings) -> T:
    """What `ask` returns, asking again while it is missed."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_Missed),
        stop=tenacity.stop_after_attempt(settings.attempts),
        wait=tenacity.wait_exponential(multiplier=settings.backoff_s, max=LONGEST_WAIT_S),
        reraise=True,
    )(ask)
