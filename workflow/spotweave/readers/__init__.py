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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from spotweave.deposits.naming import Layout, Roles
from spotweave.deposits.opening import parsing
from spotweave.deposits.raw import RawFile
from spotweave.deposits.redundancy import flags, of_genes
from spotweave.errors import Refusal
from spotweave.registry import Registry

if TYPE_CHECKING:  # the registry itself must stay light
    import pyarrow as pa
    from anndata import AnnData
    from pandas import DataFrame

READERS = Registry("readers", "reader")
SPOT_COLUMNS = (
    "spot_id",
    "array_col",
    "array_row",
    "array_x",
    "array_y",
    "x_px",
    "y_px",
    "in_tissue",
    "total_counts",
)


@dataclass(frozen=True)
class Reading:
    """What a reader returns.

    Attributes
    ----------
    adata
        X: raw counts, CSR float32, units x genes, only units with counts and a position. obs: `x_px`, `y_px`
        (float64, as the vendor gives them, NaN if not given), `in_tissue` (int64, 0/1) and, for spots and bins,
        `array_col`, `array_row` (int64); cells have no array. var: `gene_id` (str, empty if unknown). Spots and bins
        sorted by (array_row, array_col), cells by name, genes as filed.
    spots
        `SPOT_COLUMNS`, one row per unit of the vendor's spot or cell file, in the same order; `array_col`,
        `array_row` Int64 (missing for cells), `array_x`, `array_y` float64 (NaN if not measured), `total_counts`
        Int64 (missing where the counts have no such unit).
    report
        JSON-ready measures: what was found, kept and left out; `unit` says what a row is: `spot`, `bin` or `cell`.
    """

    adata: AnnData
    spots: DataFrame
    report: dict[str, Any]

    def write(self, expression: Path, spots: Path) -> None:
        """Write `expression` (.h5ad, gzip) and `spots` (.csv); the same reading gives the same bytes."""
        self.adata.write_h5ad(expression, compression="gzip")
        _write_csv(self.spots, spots)


LONE_SURROGATE = re.compile("[\ud800-\udfff]")
ROWS_AT_ONCE = 1 << 20
# Between these, Arrow writes a number as pandas does, but for the ".0" of whole ones; beyond, with another exponent.
PLAIN_LEAST, PLAIN_MOST = 1e-4, 1e15


def _write_csv(frame: DataFrame, target: Path) -> None:
    """Write a table as CSV (UTF-8, `\\n`, missing values blank, floats as short as they can be read back).

    A Visium HD section has 11 million rows: Arrow writes them, with the bytes that pandas would write. What the two
    write differently (quotes, very small and very large numbers, other types) is left to pandas.
    """
    import pyarrow as pa
    import pyarrow.csv

    table = pa.Table.from_pandas(frame, preserve_index=False)
    if not all(map(_is_plain, [*table.columns, pa.chunked_array([frame.columns.to_list()])])):
        frame.to_csv(target, index=False, lineterminator="\n", encoding="utf-8")
        return
    names = table.column_names
    with open(target, "wb") as handle:
        handle.write(f"{','.join(names)}\n".encode())
        for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE):
            part = pa.table([_as_written(column) for column in batch.columns], names=names)
            options = pa.csv.WriteOptions(include_header=False, quoting_style="none")
            pa.csv.write_csv(part, handle, options)


def _is_plain(column: pa.ChunkedArray) -> bool:
    """Whether Arrow and pandas write a column's values the same way (but for whole floats)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_integer(column.type) or pa.types.is_null(column.type):
        return True
    if pa.types.is_float64(column.type):
        size = pc.abs(column)
        beyond = pc.or_(pc.less(size, PLAIN_LEAST), pc.greater_equal(size, PLAIN_MOST))
        return not pc.any(pc.and_(beyond, pc.not_equal(size, 0))).as_py()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return not pc.any(pc.match_substring_regex(column, r'[",\r\n]')).as_py()
    return False


def _as_written(column: pa.Array) -> pa.Array:
    """A column with its floats as text: whole ones with the `.0` by which they are read as floats again."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_float64(column.type):
        return column
    text = column.cast(pa.string())
    return pc.if_else(pc.equal(column, pc.floor(column)), pc.binary_join_element_wise(text, ".0", ""), text)


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
                    f"{given}: a name with characters that are none ({broken!r:.60}); download the files again"
                )
    genes = reading.adata.var
    reading.report.update(of_genes(genes.index.tolist(), genes["gene_id"].tolist(), reading.adata.X))
    reading.report["data_flags"] = flags(reading.report)
    return reading


def _is_unwritable(name: Any) -> bool:
    """Whether HDF5 and CSV cannot hold a text: NUL ends one there, half a surrogate has no code in UTF-8."""
    return isinstance(name, str) and ("\0" in name or (not name.isascii() and bool(LONE_SURROGATE.search(name))))


def pick_files(manifest: Mapping[str, Any], roles: Roles) -> dict[str, RawFile]:
    """The raw files in a sample's manifest (`raw.json`) that its reader reads, at most one of a role.

    Raises
    ------
    Refusal
        A role that is always read is not there, or any of them twice.
    """
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
