"""Where raw files come from: one source, one module; this is their contract.

    list_files(accession: str, settings: FetchSettings) -> Listing
    fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched

A source says what an accession holds, and brings one file of it and vouches for it: whole, of the kind its name says,
and equal to the checksums of the row and of the publisher. It raises `Refusal` when the file is wrong or gone, and an
ordinary exception when the world is (network down, disk full). How to ask politely and to transfer a file is shared:
`spotweave.transfer`.

What must be known of a source before it is asked anything, its module assigns at its top as a literal, which is read
without importing the module:

    ACCESSION    regular expression that an accession fits as a whole
    EXAMPLE      an accession that exists
    ACCOUNT      environment variable with the token of an account, where the source has such
    ADDRESS      (regular expression of the DOIs and addresses of its deposits, how the accession is made of its groups)
    INCOMPLETE   what to add to an address that lacks a part of the accession; without it, the part is left out
    WEB_PAGE     address of the page that shows an accession to people, `{}` for the accession
    LOOK_AT      where to look instead, in words

Only the first two are needed. How many downloads a source bears, and what to know when using it, is in its row of
`resources/sources.csv`.

Nothing heavy is imported here: the tables are checked with it before anything is started.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from spotweave.registry import Registry
from spotweave.transfer.files import Fetched, FetchSettings, Listing, Wanted
from spotweave.transfer.local import local_path

SOURCES = Registry("sources", "source")


@dataclass(frozen=True)
class Place:
    """Where one file is: `location` as its source's `fetch` takes it, and the member of that archive, if one."""

    source: str
    location: str
    member: str | None = None


def find_place(text: str, source: str, accession: str | None) -> Place:
    """Read the cell of a row that says where a file is.

    * `https://host/file`: fetched by `https`, whatever the row's source is
    * `zenodo:4751624/B4.jpg`: from another source than the row's
    * anything else: a file of the row's source and accession; with the source `file`, a path (relative to the
      accession's folder if the row has one)

    `…!member/path` behind it is a file inside that archive; the member may be given by the end of its path. A path on
    this machine is written as it is: a `!` in it parts an archive from its member only where no file of the whole name
    is there.
    """
    whole = text
    text, _, member = text.partition("!")
    if re.match("https?://", text, re.IGNORECASE):
        return Place("https", text, member or None)
    prefix, colon, rest = text.partition(":")
    if colon and prefix in SOURCES.names() and prefix != "file":
        return Place(prefix, rest, member or None)
    is_address = bool(colon) and prefix == "file"
    if source == "file" or is_address:
        is_relative = accession and not is_address and not text.startswith(("/", "~"))
        return Place("file", *_split_local(f"{accession}/{whole}" if is_relative else whole))
    return Place(source, f"{accession}/{text}" if accession else text, member or None)


def _split_local(text: str) -> tuple[str, str | None]:
    """A path on this machine, and the member of the archive that it is."""
    if "!" not in text or os.path.lexists(local_path(text)):
        return text, None
    marks = [at for at, letter in enumerate(text) if letter == "!"]
    archives = [at for at in marks if local_path(text[:at]).is_file()]
    archives += [at for at in marks if re.search(r"\.(tar|tgz|zip|tar\.gz)$", text[:at], re.IGNORECASE)]
    return (text[: archives[0]], text[archives[0] + 1 :] or None) if archives else (text, None)


class Source(Protocol):
    """What every module of this package offers; those with an API also `locate(location, settings)`."""

    ACCESSION: str

    def list_files(self, accession: str, settings: FetchSettings) -> Listing:
        """Say what an accession holds; `Refusal` if it does not exist or cannot be listed."""
        ...

    def fetch(self, wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
        """Bring one file and vouch for it."""
        ...


def source_fault(name: str) -> str | None:
    """What to say of a source that there is not, or whose module cannot be used; None for a usable one."""
    unknown = SOURCES.fault(name)
    if unknown:
        return unknown
    path = f"{SOURCES.module(name)}.py"
    try:
        accession, example = SOURCES.constant(name, "ACCESSION"), SOURCES.constant(name, "EXAMPLE")
        is_fitting = isinstance(accession, str) and isinstance(example, str) and re.fullmatch(accession, example)
    except (SyntaxError, re.error) as error:
        return f"{path} cannot be used ({error})"
    return None if is_fitting else f"{path} cannot be used: it needs ACCESSION and an EXAMPLE that fits it, as literals"
