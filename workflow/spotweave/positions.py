"""Positions of spots and bins as Space Ranger and copies of its files write them.

    read_positions(raw) -> Positions      tissue_positions(_list).csv/.txt/.parquet, or an h5ad that carries them
    read_loupe(raw) -> Loupe              Loupe alignment JSON: positions by place on the array, without barcodes

Space Ranger 1 writes no header, 2 and later do, and so do some deposits of 1; Visium HD writes parquet. The pixel
columns come row (y) first. Columns with a header may stand in any order; R adds a column of row names and quotes.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spotweave.barcodes import looks_like_barcode
from spotweave.errors import Refusal
from spotweave.matrices import GZIP_MAGIC, HDF5_MAGIC
from spotweave.raw import RawFile

COLUMNS = ("barcode", "in_tissue", "array_row", "array_col", "y_px", "x_px")  # the order of a file without header
NEEDED = ("in_tissue", "array_row", "array_col", "y_px", "x_px")
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
UTF8_BOM = b"\xef\xbb\xbf"
DELIMITERS = (",", "\t", ";")
FLAGS = {"true": "1", "false": "0"}
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
        JSON-ready: `positions_layout`, `rows_in_positions`, `spots_in_tissue`, `columns_unused`.
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


def read_positions(raw: RawFile) -> Positions:
    """Read the positions of all spots of a capture area.

    Raises
    ------
    Refusal
        The file is damaged or of another layout, a number is missing or none, or a barcode or place comes twice.
    """
    with open(raw.path, "rb") as handle:
        head = handle.read(len(HDF5_MAGIC))
    if not head:
        raise Refusal(f"{raw.name}: the file is empty; download it again")
    content = _unpacked(raw) if head.startswith(GZIP_MAGIC) else None
    if content is not None:
        head = content[: len(HDF5_MAGIC)]
    columns: dict[str, list[str]] = {}
    if head.startswith(HDF5_MAGIC):
        table, unused, columns = _read_h5ad(raw)
        layout = "h5ad"
    elif head.startswith(PARQUET_MAGIC):
        table, unused = _read_parquet(raw, content)
        layout = "parquet"
    else:
        table, columns, layout = _read_text(raw, raw.path.read_bytes() if content is None else content)
        unused = list(columns)
    _check(raw, table, columns)
    report = {
        "positions_layout": layout,
        "rows_in_positions": len(table),
        "spots_in_tissue": int(table["in_tissue"].sum()),
        "position_columns_unused": unused,
    }
    return Positions(raw.name, table, report, columns)


def _unpacked(raw: RawFile) -> bytes:
    try:
        with gzip.open(raw.path) as packed:
            return packed.read()
    except (OSError, EOFError, zlib.error) as error:
        raise Refusal(f"{raw.name}: the gzip stream is cut or damaged ({error}); download it again") from error


def _read_text(raw: RawFile, content: bytes) -> tuple[pd.DataFrame, dict[str, list[str]], str]:
    try:
        text = content.removeprefix(UTF8_BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refusal(f"{raw.name}: not a table of text ({error.reason} at byte {error.start:,})") from error
    first = next((line for line in text.splitlines() if line.strip()), "")
    if not first or "\x00" in text[:512] or first.lstrip().startswith("<"):
        raise Refusal(
            f"{raw.name}: {'not a table of positions' if first else 'the file is empty'}; download it again and"
            " check the address"
        )
    delimiter = max(DELIMITERS, key=first.count)
    header = [name.strip() for name in next(csv.reader([first], delimiter=delimiter))]
    has_header = not any(looks_like_barcode(name) for name in header)
    try:
        frame = pd.read_csv(
            io.StringIO(text),
            sep=delimiter,
            header=None,
            skiprows=text.splitlines().index(first) + has_header,
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise Refusal(f"{raw.name}: cut or damaged ({' '.join(str(error).split())}); download it again") from error
    width = frame.shape[1]
    if has_header and len(header) == width - 1:  # R writes no name over its row names
        header = ["", *header]
    if has_header and len(header) != width:
        raise Refusal(f"{raw.name}: {width} columns under a header of {len(header)}; download the file again")
    places, unused = _columns_by_name(raw, header, frame) if has_header else ({}, [])
    if not places:
        places, unused = _columns_by_order(raw, header if has_header else [], frame)
    table = pd.DataFrame({key: frame[at] for key, at in places.items()})
    if delimiter == ";":  # a spreadsheet that separates with semicolons writes its decimals with commas
        table[list(NEEDED)] = table[list(NEEDED)].apply(lambda column: column.str.replace(",", "."))
    others = {name: frame[header.index(name)].tolist() for name in unused}
    return _numbers(raw, table, first_row=1 + has_header), others, "text with header" if has_header else "text"


def _columns_by_name(raw: RawFile, header: Sequence[str], frame: pd.DataFrame) -> tuple[dict[str, int], list[str]]:
    """Where the columns of `COLUMNS` are; nothing if the header has none of their names (R's V1, V2 …)."""
    lower = [name.lower() for name in header]
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


def _numbers(raw: RawFile, table: pd.DataFrame, first_row: int) -> pd.DataFrame:
    """Text to numbers; what is none is refused with its row."""
    done: dict[str, Any] = {"barcode": table["barcode"].str.strip()}
    for key in NEEDED:
        texts = table[key].str.strip()
        if key == "in_tissue":
            texts = texts.str.lower().replace(FLAGS)
        done[key] = _checked(raw, key, _parsed(texts), table[key], first_row)
    return pd.DataFrame(done)


def _parsed(texts: pd.Series) -> pd.Series:
    """Numbers, NaN where a text is none; pandas' own parser would be off by the last digit of many."""
    try:
        return texts.astype(np.float64)
    except ValueError:
        return pd.to_numeric(texts, errors="coerce")


def _checked(raw: RawFile, key: str, values: pd.Series, shown: pd.Series, first_row: int) -> NDArray[Any]:
    """One column as int64 or float64; missing, infinite and, for places, broken numbers are refused."""
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    good = np.isfinite(numbers)
    if key in WHOLE:
        good &= numbers == np.floor(numbers)
    if key == "in_tissue":
        good &= (numbers == 0) | (numbers == 1)
    bad = np.flatnonzero(~good)
    if bad.size:
        what = {"in_tissue": "neither 0 nor 1"}.get(key, "no whole number" if key in WHOLE else "no number")
        more = f" (and {bad.size - 1:,} more such rows)" if bad.size > 1 else ""
        raise Refusal(
            f"{raw.name}: row {bad[0] + first_row:,}, {_header_name(key)}: {str(shown.iloc[bad[0]])[:40]!r} is {what}"
            f"{more}; correct the table or download it again",
            measured=int(bad.size),
            threshold=0,
        )
    return numbers.astype(np.int64) if key in WHOLE else numbers


def _read_parquet(raw: RawFile, content: bytes | None) -> tuple[pd.DataFrame, list[str]]:
    """Parquet, only the columns needed; barcodes stay in Arrow's memory, as Visium HD has eleven million."""
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(raw.path if content is None else io.BytesIO(content))
        header = [str(name) for name in file.schema_arrow.names]
        lower = [name.lower() for name in header]
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
        read = file.read(columns=list(wanted.values()))
    except (pyarrow.ArrowException, OSError) as error:
        text = " ".join(str(error).split())[:200]
        raise Refusal(f"{raw.name}: cut or damaged parquet ({text}); download it again") from error
    done: dict[str, Any] = {
        "barcode": pd.Series(pd.array(read[wanted["barcode"]], dtype=pd.StringDtype("pyarrow"))),
    }
    for key in NEEDED:
        values = read[wanted[key]].to_pandas()
        done[key] = _checked(raw, key, pd.to_numeric(values, errors="coerce"), values, first_row=1)
    return pd.DataFrame(done), [name for name in header if name not in wanted.values() and name != "__index_level_0__"]


def _read_h5ad(raw: RawFile) -> tuple[pd.DataFrame, list[str], dict[str, list[str]]]:
    """Positions that an AnnData file carries: places in `obs`, pixels in `obsm['spatial']` (x first) or `obs`."""
    from anndata.io import read_elem

    from spotweave.matrices.h5ad import read_frame, text_columns
    from spotweave.matrices.hdf5 import keys, open_file

    with open_file(raw) as file:
        if "obs" not in file:
            raise Refusal(f"{raw.name}: an HDF5 file without positions; give tissue_positions.csv as the spots")
        obs = read_frame(raw.name, file["obs"], "obs")
        spatial = np.asarray(read_elem(file["obsm/spatial"])) if "spatial" in keys(file.get("obsm")) else None
    lower = {str(name).lower(): str(name) for name in obs}
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
    done: dict[str, Any] = {"barcode": pd.Series([str(name) for name in obs.index])}
    if "in_tissue" not in places:
        obs = obs.assign(in_tissue=1)
        places["in_tissue"] = "in_tissue"
    if spatial is not None:
        if spatial.shape[0] != len(obs) or spatial.ndim != 2 or spatial.shape[1] < 2:
            raise Refusal(f"{raw.name}: obsm['spatial'] has the shape {spatial.shape} for {len(obs):,} spots")
        obs = obs.assign(spatial_x=spatial[:, 0], spatial_y=spatial[:, 1])
        places["x_px"], places["y_px"] = "spatial_x", "spatial_y"
    for key in NEEDED:
        values = obs[places[key]].reset_index(drop=True)
        texts = values.astype(str).str.lower().replace(FLAGS) if key == "in_tissue" else values.astype(str)
        done[key] = _checked(raw, key, pd.to_numeric(texts, errors="coerce"), values, first_row=1)
    return pd.DataFrame(done), [], text_columns(obs.drop(columns=list(places.values())))


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
    except (KeyError, TypeError, ValueError, AttributeError, np.linalg.LinAlgError) as error:
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


def read_json(raw: RawFile) -> Any:
    """Content of a JSON file, plain or packed with gzip; refused if it is none."""
    with open(raw.path, "rb") as handle:
        is_packed = handle.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    try:
        return json.loads((_unpacked(raw) if is_packed else raw.path.read_bytes()).decode("utf-8-sig"))
    except ValueError as error:
        raise Refusal(f"{raw.name}: not JSON ({error}); download it again") from error
