"""Positions of spots and bins as Space Ranger and copies of its files write them.

    read_positions(raw) -> Positions      tissue_positions(_list).csv/.txt/.parquet, or an h5ad that carries them
    read_loupe(raw) -> Loupe              Loupe alignment JSON: positions by place on the array, without barcodes

Space Ranger 1 writes no header, 2 and later do, and so do some deposits of 1; Visium HD writes parquet. The pixel
columns come row (y) first. Columns with a header may stand in any order; R adds a column of row names and quotes.
Tables that went through a spreadsheet or a hand have a line `sep=;`, comments, titles, blank rows, UTF-16, semicolons,
blanks or decimals with commas; spots off the tissue without numbers are left out and counted.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spotweave.deposits.opening import check_parquet, parses, read_bytes, read_json
from spotweave.deposits.raw import RawFile
from spotweave.deposits.values import UNKNOWN
from spotweave.errors import Refusal
from spotweave.matrices import GZIP_MAGIC, HDF5_MAGIC
from spotweave.matrices.barcodes import looks_like_barcode
from spotweave.matrices.count_table import SEPARATOR_LINE, UTF16_BOMS
from spotweave.matrices.features import is_summary

COLUMNS = ("barcode", "in_tissue", "array_row", "array_col", "y_px", "x_px")  # the order of a file without header
NEEDED = ("in_tissue", "array_row", "array_col", "y_px", "x_px")
FARTHEST_PLACE = 1 << 24  # on an array; the whole 2 um bins of Visium HD are 3,350 on a side
WHOLE = ("in_tissue", "array_row", "array_col")
# What headers call the columns, in small letters: Space Ranger, Seurat and STUtility, SpatialExperiment.
NAMES = {
    "barcode": ("barcode", "barcodes", "barcode_id", "cell", "spot", "spot_id"),
    "in_tissue": ("in_tissue", "tissue", "intissue"),
    "array_row": ("array_row", "row", "arrayrow"),
    "array_col": ("array_col", "col", "array_column", "column", "arraycol"),
    "y_px": ("pxl_row_in_fullres", "pxl_row", "imagerow", "image_row", "pxl_row_in_full_res"),
    "x_px": ("pxl_col_in_fullres", "pxl_col", "imagecol", "image_col", "pxl_col_in_full_res"),
}
PARQUET_MAGIC = b"PAR1"
KNOWN_NAMES = {name for names in NAMES.values() for name in names}
DELIMITERS = (",", "\t", ";")
FEWEST_FIELDS = len(COLUMNS) - 1  # R writes no name over its row names
MOST_PREAMBLE = 50  # lines of comments and titles above a table
COMMENTS = ("#", "%", "//")
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")
THOUSANDS = r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?"
HEAD_BYTES = 512
FLAGS = {"true": "1", "false": "0", "t": "1", "f": "0", "yes": "1", "no": "0"}
EXPECTED = "barcode, in_tissue, array_row, array_col, pxl_row_in_fullres, pxl_col_in_fullres"


@dataclass(frozen=True)
class Positions:
    """Positions of one file.

    Attributes
    ----------
    name
        The file's, for messages.
    table
        One row per spot as filed: `barcode` (str, as filed), `in_tissue` (int64, 0/1), `array_row`, `array_col`
        (int64), `y_px`, `x_px` (float64, px of the full-resolution image).
    report
        JSON-ready: `positions_layout`, `rows_in_positions`, `spots_in_tissue`, `position_columns_unused`,
        `positions_without_numbers` (left out), and for text `position_rows_blank`.
    unit_columns
        Further columns as text, of tables with a header and of h5ad.
    """

    name: str
    table: pd.DataFrame
    report: dict[str, Any]
    unit_columns: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Loupe:
    """A Loupe alignment.

    Attributes
    ----------
    name
        The file's, for messages.
    table
        `array_row`, `array_col` (int64), `in_tissue` (int64, 0/1), `y_px`, `x_px` (float64, px of the full-resolution
        H&E), one row per spot, sorted by place.
    serial_number, area
        Of the slide, empty if not given.
    is_cytassist
        Whether the spots were moved from the instrument's picture to the H&E.
    to_instrument
        (3, 3) float64, px of the H&E -> px of the CytAssist picture; None for slides placed directly.
    """

    name: str
    table: pd.DataFrame
    serial_number: str
    area: str
    is_cytassist: bool
    to_instrument: NDArray[np.float64] | None = None


@parses
def read_positions(raw: RawFile) -> Positions:
    """Read the positions of all spots of a capture area.

    Raises
    ------
    Refusal
        The file is damaged or of another layout, a number is missing in tissue or none, or a barcode comes twice.
    """
    with open(raw.path, "rb") as handle:
        head = handle.read(len(HDF5_MAGIC))
    if not head:
        raise Refusal(f"{raw.name}: the file is empty; download it again")
    content = read_bytes(raw) if head.startswith(GZIP_MAGIC) else None
    if content is not None:
        head = content[: len(HDF5_MAGIC)]
    columns: dict[str, list[str]] = {}
    left_out: dict[str, int] = {}
    if head.startswith(HDF5_MAGIC):
        table, unused, columns, left_out = _read_h5ad(raw)
        layout = "h5ad"
    elif head.startswith(PARQUET_MAGIC):
        table, unused, left_out = _read_parquet(raw, content)
        layout = "parquet"
    else:
        table, columns, layout, left_out = _read_text(raw, read_bytes(raw) if content is None else content)
        unused = list(columns)
    _check(raw, table, columns)
    report = {
        "positions_layout": layout,
        "rows_in_positions": len(table),
        "spots_in_tissue": int(table["in_tissue"].sum()),
        "position_columns_unused": unused,
        **left_out,
    }
    return Positions(raw.name, table, report, columns)


def _decoded(raw: RawFile, content: bytes) -> str:
    """Text in UTF-8, in UTF-16 (what spreadsheets call Unicode text), or in the code page of Windows."""
    if b"\x00" in content[:HEAD_BYTES] and not content.startswith(UTF16_BOMS):
        at = content.index(b"\x00") % 2
        encodings: tuple[str, ...] = ("utf-16-le" if at else "utf-16-be",)
    else:
        encodings = ("utf-16",) if content.startswith(UTF16_BOMS) else ("utf-8-sig", "cp1252")
    error: UnicodeDecodeError | None = None
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError as found:
            error = error or found
            continue
        if not CONTROL.search(text[:HEAD_BYTES]):
            return text
    why = f" ({error.reason} at byte {error.start:,})" if error else ""
    raise Refusal(f"{raw.name}: not a table of positions in text{why}; download it again and check the address")


@dataclass(frozen=True)
class _Layout:
    """Where the table of a text begins: its first line (the header, if it has one), and what separates its fields."""

    at: int
    header: list[str]
    delimiter: str


def _fields(line: str, delimiter: str) -> list[str]:
    return [
        part.strip() for part in next(csv.reader([line.strip(" ")], delimiter=delimiter, skipinitialspace=True), [])
    ]


def _is_blank(line: str) -> bool:
    return not line.strip(" \t,;\"'")


def _find_layout(lines: Sequence[str]) -> _Layout | None:
    """The first line of the table, below `sep=`, comments and titles; None if there is no table."""
    stated = ""
    for at, line in enumerate(lines[:MOST_PREAMBLE]):
        separator = SEPARATOR_LINE.fullmatch(line)
        if separator:
            stated = separator["mark"]
        if separator or _is_blank(line):
            continue
        is_comment = line.lstrip(' "').startswith(COMMENTS)
        bare = line.lstrip(' "#%/') if is_comment else line
        delimiter = stated or max(DELIMITERS, key=bare.count)
        header = _fields(bare, delimiter if delimiter in bare else " ")
        known = {_normal(name) for name in header} & KNOWN_NAMES
        is_table = len(header) >= FEWEST_FIELDS or len(known) > 1
        if not is_table or (is_comment and len(known) < len(NEEDED)):
            continue
        return _Layout(at, header, delimiter if delimiter in bare else " ")
    return None


def _read_text(raw: RawFile, content: bytes) -> tuple[pd.DataFrame, dict[str, list[str]], str, dict[str, int]]:
    text = _decoded(raw, content)
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    if not first or first.lstrip().startswith("<"):
        raise Refusal(
            f"{raw.name}: {'not a table of positions' if first else 'the file is empty'}; download it again and"
            " check the address"
        )
    layout = _find_layout(lines)
    if layout is None:
        raise Refusal(f"{raw.name}: unknown layout, expected are {EXPECTED}; the first row is {first[:200]}")
    header, delimiter = layout.header, layout.delimiter
    has_header = not any(looks_like_barcode(name) for name in header)
    start = layout.at + has_header
    numbers = [at for at in range(start, len(lines)) if not (_is_blank(lines[at]) or lines[at].startswith(COMMENTS))]
    if not numbers:
        raise Refusal(f"{raw.name}: the table has a header and no rows; download the file again")
    try:
        frame = pd.read_csv(
            io.StringIO("\n".join(lines[at] for at in numbers)),
            sep=delimiter if delimiter != " " else r"\s+",
            header=None,
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise Refusal(f"{raw.name}: cut or damaged ({' '.join(str(error).split())}); download it again") from error
    # Row 1 is the first line of the file; only a quoted line break makes a row of two lines.
    frame.index = pd.Index(numbers[: len(frame)]) + 1
    if has_header:
        header, frame = _without_blank_ends(header, frame)
    width = frame.shape[1]
    if has_header and len(header) != width:
        raise Refusal(f"{raw.name}: {width} columns under a header of {len(header)}; download the file again")
    places, unused = _columns_by_name(raw, header, frame) if has_header else ({}, [])
    if not places:
        places, unused = _columns_by_order(raw, header if has_header else [], frame)
    table = pd.DataFrame({key: frame[at].str.strip() for key, at in places.items()})
    others = {name: frame[header.index(name)] for name in unused}
    is_sum = np.array([is_summary(name) for name in table["barcode"]], dtype=bool)
    off = _off_tissue_without_numbers(table) & ~is_sum
    for at in table.index[off] - 1:
        there = len(_fields(lines[at], delimiter))
        if there < width:
            raise Refusal(
                f"{raw.name}: row {at + 1:,} has {there} fields where {width} are expected; the table is cut or"
                " damaged, download it again",
                measured=there,
                threshold=width,
            )
    table = table[~off & ~is_sum]
    for key in NEEDED:
        table[key] = _with_points(raw, key, table[key])
    left_out = {
        "position_rows_blank": len(lines) - start - len(numbers),
        "positions_without_numbers": int(off.sum()),
        "summary_positions_left_out": int(is_sum.sum()),
    }
    return (
        _numbers(raw, table),
        {name: values[~off & ~is_sum].tolist() for name, values in others.items()},
        "text with header" if has_header else "text",
        left_out,
    )


def _without_blank_ends(header: list[str], frame: pd.DataFrame) -> tuple[list[str], pd.DataFrame]:
    """Header and rows less blank columns behind the last; a corner that R left out is put in."""
    if len(header) == frame.shape[1] - 1 and (frame.iloc[:, -1].str.strip() == "").all():
        frame = frame.iloc[:, :-1]  # separators at the ends of the rows, and none at that of the header
    if header[-1] and len(header) == frame.shape[1] - 1:  # R writes no name over its row names
        header = ["", *header]
    while header and not header[-1] and len(header) <= frame.shape[1]:
        if len(header) == frame.shape[1] and (frame.iloc[:, -1].str.strip() == "").all():
            frame = frame.iloc[:, :-1]
        header = header[:-1]
    return header, frame


def _off_tissue_without_numbers(table: pd.DataFrame) -> NDArray[np.bool_]:
    """(rows,) bool: spots that are not in tissue and lack a number, as tables made by hand have them."""
    lacks = np.zeros(len(table), dtype=bool)
    for key in ("array_row", "array_col", "y_px", "x_px"):
        lacks |= _is_missing(table[key])
    if not lacks.any():
        return lacks
    flags = table["in_tissue"]
    is_off = flags.astype(str).str.strip().str.lower().replace(FLAGS).isin(("0", "0.0")).to_numpy()
    return lacks & (is_off | _is_missing(flags))


def _is_missing(values: pd.Series) -> NDArray[np.bool_]:
    if pd.api.types.is_numeric_dtype(values.dtype):
        return values.isna().to_numpy(dtype=bool)
    return (values.isna() | values.astype(str).str.strip().str.lower().isin(UNKNOWN)).to_numpy(dtype=bool)


def _with_points(raw: RawFile, key: str, texts: pd.Series) -> pd.Series:
    """Numbers with a point before their decimals; refused where a comma may as well part thousands."""
    commas = texts[texts.str.contains(",", regex=False)]
    if commas.empty:
        return texts
    if commas.str.fullmatch(THOUSANDS).all():
        raise Refusal(
            f"{raw.name}: row {commas.index[0]:,}, {_header_name(key)}: {commas.iloc[0]!r} may be thousands or"
            " decimals; save the table with plain numbers such as 5546.12",
            measured=len(commas),
            threshold=0,
        )
    return texts.str.replace(",", ".", regex=False)


def _normal(name: str) -> str:
    """A name of a column in small letters, with `_` for what R and people write there."""
    return re.sub(r"[\s.-]+", "_", name.strip().lower())


def _columns_by_name(raw: RawFile, header: Sequence[str], frame: pd.DataFrame) -> tuple[dict[str, int], list[str]]:
    """Where the columns of `COLUMNS` are; nothing if the header has none of their names (R's V1, V2 …)."""
    lower = [_normal(name) for name in header]
    found = {key: [lower.index(name) for name in names if name in lower] for key, names in NAMES.items()}
    twice = [
        name for name in lower if name and lower.count(name) > 1 and any(name in known for known in NAMES.values())
    ]
    if twice:
        raise Refusal(f"{raw.name}: two columns are called {twice[0]!r}; remove one")
    places = {key: at[0] for key, at in found.items() if at}
    if not set(places) & set(NEEDED):
        return {}, []
    if "barcode" not in places:
        at = _barcode_column(frame)
        if at is not None and at not in places.values():
            places["barcode"] = at
    missing = [key for key in COLUMNS if key not in places]
    if missing:
        raise Refusal(
            f"{raw.name}: no column for {', '.join(_header_name(key) for key in missing)}; the file has"
            f" {', '.join(name or '(no name)' for name in header)[:200]}; expected are {EXPECTED}"
        )
    return places, [name for i, name in enumerate(header) if i not in places.values() and name]


def _columns_by_order(raw: RawFile, header: Sequence[str], frame: pd.DataFrame) -> tuple[dict[str, int], list[str]]:
    """The barcodes' column, by what it holds, and the five after it."""
    at = _barcode_column(frame)
    width = frame.shape[1]
    if at is None or width - at != len(COLUMNS):
        shown = " | ".join(map(str, header if header else frame.iloc[0]))[:200]
        raise Refusal(f"{raw.name}: unknown layout, expected are {EXPECTED}; the first row is {shown}")
    return {key: at + i for i, key in enumerate(COLUMNS)}, []


def _header_name(key: str) -> str:
    return NAMES[key][0]


def _barcode_column(frame: pd.DataFrame) -> int | None:
    for at in range(frame.shape[1]):
        names = frame[at]
        sample = names.iloc[:: max(1, len(names) // 100)]
        if sum(map(looks_like_barcode, sample)) > 0.5 * len(sample):
            return at
    return None


def _numbers(raw: RawFile, table: pd.DataFrame) -> pd.DataFrame:
    """Text to numbers; what is none is refused with its row, which the index counts."""
    done: dict[str, Any] = {"barcode": table["barcode"].reset_index(drop=True)}
    for key in NEEDED:
        texts = table[key].str.lower().replace(FLAGS) if key == "in_tissue" else table[key]
        done[key] = _checked(raw, key, _parsed(texts), table[key])
    return pd.DataFrame(done)


def _parsed(texts: pd.Series) -> pd.Series:
    """Numbers, NaN where a text is none; pandas' own parser would be off by the last digit of many."""
    try:
        return texts.astype(np.float64)
    except ValueError:
        return pd.to_numeric(texts, errors="coerce")


def _checked(raw: RawFile, key: str, values: pd.Series, shown: pd.Series) -> NDArray[Any]:
    """One column as int64 or float64; missing, infinite and, for places, broken numbers are refused."""
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    good = np.isfinite(numbers)
    if key in WHOLE:
        good &= (numbers == np.floor(numbers)) & (np.abs(numbers) <= FARTHEST_PLACE)
    if key == "in_tissue":
        good &= (numbers == 0) | (numbers == 1)
    bad = np.flatnonzero(~good)
    if bad.size:
        what = {"in_tissue": "neither 0 nor 1"}.get(key, "no whole number" if key in WHOLE else "no number")
        more = f" (and {bad.size - 1:,} more such rows)" if bad.size > 1 else ""
        raise Refusal(
            f"{raw.name}: row {shown.index[bad[0]]:,}, {_header_name(key)}: {str(shown.iloc[bad[0]])[:40]!r} is {what}"
            f"{more}; correct the table or download it again",
            measured=int(bad.size),
            threshold=0,
        )
    return numbers.astype(np.int64) if key in WHOLE else numbers


def _read_parquet(raw: RawFile, content: bytes | None) -> tuple[pd.DataFrame, list[str], dict[str, int]]:
    """Parquet, only the columns needed; barcodes stay in Arrow's memory, as Visium HD has eleven million."""
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(raw.path if content is None else io.BytesIO(content))
        check_parquet(raw.name, file, raw.path.stat().st_size if content is None else len(content))
        header = [str(name) for name in file.schema_arrow.names]
        lower = [_normal(name) for name in header]
        places = {key: next((lower.index(n) for n in names if n in lower), None) for key, names in NAMES.items()}
        index = "__index_level_0__"  # how pandas files an index without a name
        if places["barcode"] is None and index in header:
            places["barcode"] = header.index(index)
        missing = [key for key, at in places.items() if at is None]
        if missing:
            raise Refusal(
                f"{raw.name}: no column for {', '.join(_header_name(key) for key in missing)}; the file has"
                f" {', '.join(header)[:200]}"
            )
        wanted = {key: header[at] for key, at in places.items() if at is not None}
        twice = [name for name in wanted.values() if header.count(name) > 1]
        if twice:
            raise Refusal(f"{raw.name}: two columns are called {twice[0]!r}; remove one")
        read = file.read(columns=list(wanted.values()))
    except (pyarrow.ArrowException, OSError) as error:
        text = " ".join(str(error).split())[:200]
        raise Refusal(f"{raw.name}: cut or damaged parquet ({text}); download it again") from error
    columns = {key: read[wanted[key]].to_pandas() for key in NEEDED}
    off = _off_tissue_without_numbers(pd.DataFrame(columns))
    barcode = pd.Series(pd.array(read[wanted["barcode"]], dtype=pd.StringDtype("pyarrow")))
    done: dict[str, Any] = {"barcode": barcode[~off].reset_index(drop=True)}
    for key, values in columns.items():
        values.index += 1
        kept = values[~off] if off.any() else values
        done[key] = _checked(raw, key, pd.to_numeric(kept, errors="coerce"), kept)
    unused = [name for name in header if name not in wanted.values() and name != "__index_level_0__"]
    return pd.DataFrame(done), unused, {"positions_without_numbers": int(off.sum())}


def _read_h5ad(raw: RawFile) -> tuple[pd.DataFrame, list[str], dict[str, list[str]], dict[str, int]]:
    """Positions that an AnnData file carries: places in `obs`, pixels in `obsm['spatial']` (x first) or `obs`."""
    from anndata.io import read_elem

    from spotweave.matrices.h5ad import read_frame, text_columns
    from spotweave.matrices.hdf5 import keys, open_file

    with open_file(raw) as file:
        if "obs" not in file:
            raise Refusal(f"{raw.name}: an HDF5 file without positions; give tissue_positions.csv as the spots")
        obs = read_frame(raw.name, file["obs"], "obs")
        spatial = np.asarray(read_elem(file["obsm/spatial"])) if "spatial" in keys(file.get("obsm")) else None
    lower = {_normal(str(name)): str(name) for name in obs}
    places = {
        key: lower[next(n for n in names if n in lower)]
        for key, names in NAMES.items()
        if any(n in lower for n in names)
    }
    if not {"array_row", "array_col"} <= set(places) or not ({"y_px", "x_px"} <= set(places) or spatial is not None):
        raise Refusal(
            f"{raw.name}: obs has no array_row and array_col, or there are no pixels in obsm['spatial']; give"
            " tissue_positions.csv as the spots"
        )
    if "in_tissue" not in places:
        obs = obs.assign(in_tissue=1)
        places["in_tissue"] = "in_tissue"
    if spatial is not None:
        if spatial.shape[0] != len(obs) or spatial.ndim != 2 or spatial.shape[1] < 2:
            raise Refusal(f"{raw.name}: obsm['spatial'] has the shape {spatial.shape} for {len(obs):,} spots")
        obs = obs.assign(spatial_x=spatial[:, 0], spatial_y=spatial[:, 1])
        places["x_px"], places["y_px"] = "spatial_x", "spatial_y"
    off = _off_tissue_without_numbers(pd.DataFrame({key: obs[places[key]] for key in NEEDED}))
    obs = obs[~off]
    done: dict[str, Any] = {"barcode": pd.Series([str(name) for name in obs.index])}
    for key in NEEDED:
        values = obs[places[key]].set_axis(np.flatnonzero(~off) + 1)
        texts = values.astype(str).str.lower().replace(FLAGS) if key == "in_tissue" else values.astype(str)
        done[key] = _checked(raw, key, pd.to_numeric(texts, errors="coerce"), values)
    others = text_columns(obs.drop(columns=list(places.values())))
    return pd.DataFrame(done), [], others, {"positions_without_numbers": int(off.sum())}


def _check(raw: RawFile, table: pd.DataFrame, columns: Mapping[str, list[str]]) -> None:
    """Refuse a table that is empty or has a barcode twice, unless another column tells the two apart."""
    if not len(table):
        raise Refusal(f"{raw.name}: the table has a header and no rows; download the file again")
    if (table["barcode"] == "").any():
        raise Refusal(
            f"{raw.name}: {int((table['barcode'] == '').sum()):,} rows have no barcode; download the file again"
        )
    repeated = table["barcode"].duplicated()
    is_joint = any(len(set(zip(table["barcode"], values, strict=True))) == len(table) for values in columns.values())
    if repeated.any() and not is_joint:
        first = table["barcode"][repeated].iloc[0]
        raise Refusal(
            f"{raw.name}: barcode {first} comes twice ({int(repeated.sum()):,} such rows); remove the wrong rows",
            measured=int(repeated.sum()),
            threshold=0,
        )


def refuse_twins(name: str, table: pd.DataFrame) -> None:
    """Refuse two spots of one capture area in the same place."""
    repeated = table.duplicated(["array_row", "array_col"])
    if repeated.any():
        row, col = table.loc[repeated, ["array_row", "array_col"]].iloc[0]
        raise Refusal(
            f"{name}: two spots are at row {row}, column {col} of the array ({int(repeated.sum()):,} such places); the"
            " file holds several capture areas, or is damaged",
            measured=int(repeated.sum()),
            threshold=0,
        )


@parses
def read_loupe(raw: RawFile) -> Loupe:
    """Read a Loupe alignment JSON.

    `oligo` lists the spots with `row`, `col` (array_col, both from 0), `imageX`, `imageY` in px and `tissue` where
    selected. Files of CytAssist slides give px of the instrument's picture, and in
    `cytAssistInfo.transformImages` the (3, 3) map from the H&E to it, of which the inverse is applied.

    Raises
    ------
    Refusal
        It is no alignment, or its spots have no place in the picture.
    """
    content = read_json(raw)
    oligo = content.get("oligo") if isinstance(content, Mapping) else None
    if not isinstance(oligo, list) or not oligo:
        raise Refusal(
            f"{raw.name}: no Loupe alignment, it has no list 'oligo'; give the alignment JSON or leave it out"
        )
    try:
        places = np.array([[int(spot["row"]), int(spot["col"])] for spot in oligo], dtype=np.int64)
        pixels = np.array([[float(spot["imageX"]), float(spot["imageY"])] for spot in oligo], dtype=np.float64)
        matrix = (content.get("cytAssistInfo") or {}).get("transformImages")
        to_instrument = None if matrix is None else np.asarray(matrix, dtype=np.float64).reshape(3, 3)
        if to_instrument is not None:
            inverse = np.linalg.inv(to_instrument)
            mapped = np.column_stack([pixels, np.ones(len(pixels))]) @ inverse.T
            pixels = mapped[:, :2] / mapped[:, 2:]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, np.linalg.LinAlgError) as error:
        raise Refusal(
            f"{raw.name}: a Loupe alignment whose spots lack row, col, imageX or imageY, or whose transform cannot be"
            f" inverted ({error!r}); save the alignment in Loupe again"
        ) from error
    table = pd.DataFrame(
        {
            "array_row": places[:, 0],
            "array_col": places[:, 1],
            "in_tissue": np.array([int(bool(spot.get("tissue"))) for spot in oligo], dtype=np.int64),
            "y_px": pixels[:, 1],
            "x_px": pixels[:, 0],
        }
    )
    refuse_twins(raw.name, table)
    return Loupe(
        raw.name,
        table.sort_values(["array_row", "array_col"], ignore_index=True),
        str(content.get("serialNumber") or ""),
        str(content.get("area") or ""),
        to_instrument is not None,
        to_instrument,
    )
