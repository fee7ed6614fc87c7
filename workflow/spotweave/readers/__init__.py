"""Readers: one entry per technology says what its raw files are called and turns them into counts and spots.

A reader is a module of this package, named in `resources/technologies.csv`, with

* `LAYOUT`: what its files are called, by role (`spotweave.deposits.naming.Layout`);
* `read(files, *, member=None) -> Reading`: `files` maps roles to `RawFile`s, those of `LAYOUT.roles.read_always`, and
  those of `read_if_there` that the sample has; `member` selects one section of files that hold several. Wrong data
  raise `Refusal`, never less.

The layout is looked at before the first job, at the start of every run: a reader imports nothing heavy at its top. One
that has much to import, or to say, is a package with the two in `layout.py` and `read.py`; samples are then fetched
anew only for a change of the layout, and read anew for a change of either.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from spotweave.deposits.naming import Layout, Roles
from spotweave.deposits.opening import parsing
from spotweave.deposits.raw import RawFile
from spotweave.deposits.redundancy import flags, of_genes
from spotweave.errors import Refusal
from spotweave.registry import Registry

if TYPE_CHECKING:  # the registry itself must stay light
    from spotweave.matrices.reading import Reading

READERS = Registry("readers", "reader")
LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Reader(Protocol):
    """The part of a reader that reads."""

    def read(self, files: Mapping[str, RawFile], *, member: str | None = None) -> Reading:
        """Read one sample."""
        ...


@functools.cache
def layout(name: str) -> Layout:
    """What a reader's files are called; nothing heavy is imported.

    Raises
    ------
    ValueError
        There is no such reader, or its layout cannot be used: why.
    """
    unknown = READERS.fault(name)
    if unknown:
        raise ValueError(unknown)
    module = READERS.module(name, "layout")
    try:
        found = READERS.load(name, "layout").LAYOUT
    except Exception as error:  # whatever is wrong with a module that somebody has just written
        raise ValueError(f"{module}.py has no LAYOUT that can be used ({error})") from error
    fault = found.fault() if isinstance(found, Layout) else "it is no spotweave.deposits.naming.Layout"
    if fault:
        raise ValueError(f"{module}.py: LAYOUT cannot be used: {fault}")
    return found


def layout_fault(name: str) -> str | None:
    """What to say of a reader that there is not, or whose layout cannot be used; None for a usable one."""
    try:
        layout(name)
    except ValueError as error:
        return str(error)
    return None


def modules(name: str) -> list[str]:
    """The modules of a reader that a job depends on which reads with it, as a code hash names them."""
    return sorted({READERS.module(name, "layout"), READERS.module(name, "read")})


def read_sample(name: str, files: Mapping[str, RawFile], member: str | None = None) -> Reading:
    """Read one sample with the reader of a name; whatever is wrong with its files is a `Refusal`.

    Each function that opens a file names it where its content is at fault. What shows only when the content is used
    (a cast that fails) is refused here, with the names of all files.
    """
    given = ", ".join(raw.name for raw in files.values())
    reader: Reader = READERS.load(name, "read")
    with parsing(given):
        reading = reader.read(files, member=member)
    for table in (reading.adata.obs, reading.adata.var):
        for values in (table.index, *(column for _, column in table.items())):
            broken = next(filter(_is_unwritable, values), None) if values.dtype.kind == "O" else None
            if broken is not None:
                raise Refusal(
                    f"{given}: the name {broken!r:.60} has a character that no file can hold; download the files again"
                )
    genes = reading.adata.var
    reading.report.update(of_genes(genes.index.tolist(), genes["gene_id"].tolist(), reading.adata.X))
    reading.report["data_flags"] = flags(reading.report)
    return reading


def _is_unwritable(name: Any) -> bool:
    """Whether HDF5 and CSV cannot hold a text: NUL ends one there, half a surrogate has no code in UTF-8."""
    return isinstance(name, str) and ("\0" in name or (not name.isascii() and bool(LONE_SURROGATE.search(name))))


def pick_files(manifest: Mapping[str, Any], roles: Roles, sample: str | None = None) -> dict[str, RawFile]:
    """The raw files in a sample's manifest (`raw.json`) that its reader reads, at most one of a role.

    Raises
    ------
    ValueError
        The manifest is not that of `sample`, where one is named.
    Refusal
        A role that is always read is not there, or any of them twice.
    """
    if sample not in (None, manifest["sample"]):
        raise ValueError(f"this is the manifest of {manifest['sample']}, not of {sample}")
    picked: dict[str, RawFile] = {}
    for role in (*roles.read_always, *roles.read_if_there):
        found = [file for file in manifest["files"] if file["role"] == role]
        if not found and role in roles.read_if_there:
            continue
        if len(found) != 1:
            given = ", ".join(f"{file['name']} ({file['role']})" for file in manifest["files"]) or "no files at all"
            raise Refusal(
                f"{manifest['sample']}: exactly one file of role '{role}' is needed, {len(found)} given; the row has "
                f"{given}",
                measured=len(found),
                threshold=1,
            )
        picked[role] = RawFile(found[0]["name"], Path(found[0]["path"]))
    return picked
