"""Spatial Transcriptomics (first generation, 33 x 35 and larger arrays): a table of counts and a table of spots.

Counts: a dense table, spots x genes or genes x spots, whose spots are named by their place on the array, column
first: `10x14`, `10_14`, measured places as `10.98x7.02`, behind the name of a section where one table holds several
(`A1x10x14`, `A1_10x14`), behind R's `X` where R made them column names.
Spots: the table of the ST spot detector (`x y new_x new_y pixel_x pixel_y [selected]`), or one whose first column
holds the places and whose columns `X` and `Y` are pixels (He et al. 2020, Nat Biomed Eng 4:827) or `HE_X` and `HE_Y`
(Ortiz et al. 2020, Sci Adv 6:eabb3446). The first studies have no spot file but a transformation from places to pixels
(Stahl et al. 2016, Science 353:78): nine numbers, column after column of a 3 x 3 matrix.

The two are joined by place, never by the order of their rows.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.utils import make_index_unique
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from spotweave.deposits.raw import RawFile
from spotweave.deposits.values import UNKNOWN
from spotweave.errors import Refusal
from spotweave.geometry import apply, fit_affine
from spotweave.matrices import features
from spotweave.matrices.count_table import (
    DELIMITERS,
    CountTable,
    Records,
    parse_numbers,
    read_counts,
    read_records,
)
from spotweave.readers import SPOT_COLUMNS, Reading

PLACE = re.compile(r"(?:(?P<member>.+?)[x_]|(?P<r>X))?(?P<x>\d+(?:\.\d+)?)(?P<mark>[x_])(?P<y>\d+(?:\.\d+)?)", re.ASCII)
ENSEMBL = re.compile(r"ENS[A-Z]{0,4}G\d{11}(?:\.\d+)?")
SYMBOL_AND_ENSEMBL = re.compile(rf"(?P<symbol>\S{{1,200}}?)[ _|]{{1,8}}(?P<gene_id>{ENSEMBL.pattern})")
SPOT_FILE_EXPECTED = (
    "columns x, y and optionally new_x, new_y, pixel_x, pixel_y, selected, or a first column of spots such as 10x14 "
    "with X and Y in pixels"
)
FLAGS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
EXAMPLES = 5
FEWEST_COMPARED = 20
FARTHEST_FROM_PLACE = 0.75  # array steps; .51 in real tables (rounded), 1 and more for a wrong place, less its own .3
MEASURED_TO_STEPS = 0.01  # places with two decimals, in both axes


@dataclass(frozen=True)
class _Places:
    """Places on the array, one per name: `xy` float64 (names, 2), column first; `where` says where a name stands."""

    names: list[str]
    where: list[str]
    members: list[str]
    xy: NDArray[np.float64]
    format: str

    def keep(self, chosen: NDArray[np.intp]) -> _Places:
        return _Places(
            [self.names[i] for i in chosen],
            [self.where[i] for i in chosen],
            [self.members[i] for i in chosen],
            self.xy[chosen],
            self.format,
        )


@dataclass(frozen=True)
class _Spots:
    """The spot file, sorted by (row, column) of the array.

    `array` int64 (spots, 2), column first; `measured` float64 (spots, 2), NaN if not given; `pixels` float64
    (spots, 2), x first, NaN if not given; `in_tissue` int64 (spots,).
    """

    array: NDArray[np.int64]
    measured: NDArray[np.float64]
    pixels: NDArray[np.float64]
    in_tissue: NDArray[np.int64]
    report: dict[str, Any]

    def __len__(self) -> int:
        return len(self.array)

    @functools.cached_property
    def ids(self) -> list[str]:
        return [f"{x}x{y}" for x, y in self.array.tolist()]


def read(files: Mapping[str, RawFile], *, member: str | None = None) -> Reading:
    """Read one section.

    Parameters
    ----------
    files
        Role `counts`, and `spots` or, for the first studies, `transform`.
    member
        The section to take from a table that names several before each spot.
    """
    table = read_counts(files["counts"])
    counts, places, genes, found = _orient(table)
    counts, places, members = _select_member(counts, places, member, table.name)
    if "spots" in files:
        spots = _read_spots(files["spots"], member)
    elif "transform" in files:
        spots = _transformed_spots(files["transform"], places)
    else:
        raise Refusal(f"{table.name}: there is neither a spot file nor a transformation; name one in the row")
    spot_of_row, join = _join(places, spots)
    row_of_spot, duplicates = _invert(places, spot_of_row, spots, table.name)
    if (row_of_spot < 0).all():
        raise Refusal(
            f"{table.name} and {files['spots'].name} have no spot in common: counts have {places.names[0]!r}, the spot "
            f"file has {spots.ids[0]!r}; check that both belong to the same section",
            measured=0,
            threshold=1,
        )
    kept = np.flatnonzero(row_of_spot >= 0)
    adata, gene_report = _assemble(counts[row_of_spot[kept]], spots, kept, genes)
    without_spot = [places.names[row] for row in np.flatnonzero(spot_of_row < 0)]
    without_counts = [spots.ids[spot] for spot in np.flatnonzero(row_of_spot < 0)]
    unplaced = int((~np.isfinite(spots.pixels).all(axis=1)).sum())
    report = {
        "unit": "spot",
        **found,
        "key_format": places.format,
        "joined_by": join,
        "largest_offset_array_steps": float(np.abs(places.xy - _round(places.xy)).max().round(6)),
        "members_in_counts": members,
        "delimiter": DELIMITERS.get(table.delimiter, "blank"),
        "whole_numbers_with_decimal_point": table.decimals,
        "rows_in_counts": len(places.names),
        "rows_in_spots": len(spots),
        "spots_kept": len(kept),
        "counts_without_spot": len(without_spot),
        "counts_without_spot_examples": without_spot[:EXAMPLES],
        "spots_without_counts": len(without_counts),
        "spots_without_counts_in_tissue": int(spots.in_tissue[row_of_spot < 0].sum()),
        "places_apart": _places_apart(spots),
        "columns_not_given": [f"the pixels of {unplaced:,} of {len(spots):,} spots"] if unplaced else [],
        "spots_without_counts_examples": without_counts[:EXAMPLES],
        "duplicate_keys": duplicates,
        **spots.report,
        **gene_report,
    }
    return Reading(adata, _spot_table(spots, kept, adata.X), report)


def _orient(table: CountTable) -> tuple[csr_matrix, _Places, list[str], dict[str, Any]]:
    """Counts as spots x genes, the places of the spots, the names of the genes, and how the file had them.

    Sums and leftovers of counting programs are left out and named.
    """
    rows_where = [f"row {line}" for line in table.row_lines]
    columns_where = [f"column {index + 2}" for index in range(len(table.column_names))]
    in_rows, in_columns = _share_of_places(table.row_names), _share_of_places(table.column_names)
    if (in_rows > 0.5) == (in_columns > 0.5):
        raise Refusal(
            f"{table.name}: unknown layout: either the rows or the columns must be spots such as 10x14; rows start "
            f"with {_some(table.row_names)}, columns with {_some(table.column_names)}"
            + ("; the header with their names is missing" if features.are_numbers(table.column_names) else ""),
            measured=f"{in_rows:.0%} of the rows, {in_columns:.0%} of the columns are spots",
            threshold="over half of one and not of the other",
        )
    by_row = in_rows > 0.5
    counts = table.counts if by_row else table.counts.T.tocsr()
    names, where, genes, genes_where = (
        (table.row_names, rows_where, table.column_names, columns_where)
        if by_row
        else (table.column_names, columns_where, table.row_names, rows_where)
    )
    judged = features.judge(table.name, counts, names, genes)
    places = _parse_places(table.name, [names[i] for i in judged.units], [where[i] for i in judged.units])
    genes, genes_where = [genes[i] for i in judged.genes], [genes_where[i] for i in judged.genes]
    if "" in genes:
        raise Refusal(f"{table.name}: {genes_where[genes.index('')]} has no gene name; add it or remove its counts")
    if not judged.is_whole:
        counts = csr_matrix(counts[judged.units][:, judged.genes])
    return counts, places, genes, {"orientation": "spots x genes" if by_row else "genes x spots", **judged.report}


def _some(names: Sequence[str]) -> str:
    return ", ".join(repr(name[:40]) for name in names[:2])


def _share_of_places(names: Sequence[str]) -> float:
    return sum(PLACE.fullmatch(name) is not None for name in names) / len(names)


def _parse_places(file: str, names: list[str], where: list[str]) -> _Places:
    found = [PLACE.fullmatch(name) for name in names]
    if None in found:
        first, more = found.index(None), found.count(None) - 1
        also = f" (and {more:,} more such names)" if more else ""
        raise Refusal(
            f"{file}: {where[first]}: {names[first]!r} is no spot such as 10x14{also}; remove what is not a spot",
            measured=more + 1,
            threshold=0,
        )
    matches = [match for match in found if match is not None]
    xy = np.array([(float(match["x"]), float(match["y"])) for match in matches], dtype=np.float64).reshape(-1, 2)
    return _Places(names, where, [match["member"] or "" for match in matches], xy, _name_formats(matches))


def _name_formats(matches: Sequence[re.Match[str]]) -> str:
    """The formats in use, as `XxY`, `X_Y`, `MEMBERxXxY`, `0.0x0.0` …, joined by ` and `."""

    def name(match: re.Match[str]) -> str:
        before = f"MEMBER{match.string[match.end('member')]}" if match["member"] else match["r"] or ""
        number = "{}.0" if "." in match["x"] + match["y"] else "{}"
        return f"{before}{number.format('X')}{match['mark']}{number.format('Y')}"

    return " and ".join(sorted({name(match) for match in matches}))


def _select_member(
    counts: csr_matrix, places: _Places, member: str | None, file: str
) -> tuple[csr_matrix, _Places, list[str]]:
    """The rows of one member, and the members there are."""
    chosen, members = _rows_of_member(places.members, member, file)
    return counts[chosen], places.keep(chosen), members


def _rows_of_member(members: list[str], member: str | None, file: str) -> tuple[NDArray[np.intp], list[str]]:
    there = Counter(members)
    listed = ", ".join(f"{name or '(no prefix)'} ({count:,} spots)" for name, count in sorted(there.items()))
    if member is None and len(there) > 1:
        raise Refusal(
            f"{file}: the table holds {len(there)} sections: {listed}; name one as the member to read",
            measured=len(there),
            threshold=1,
        )
    if member is not None and member not in there:
        raise Refusal(f"{file}: there is no member {member!r}; the table holds {listed}")
    chosen = [row for row, found in enumerate(members) if member is None or found == member]
    return np.array(chosen, dtype=np.intp), sorted(name for name in there if name)


def _read_spots(raw: RawFile, member: str | None) -> _Spots:
    records = read_records(raw)
    column = _find_columns(records)
    records, without_numbers = _without_unmeasured(records, column)
    places = np.full((len(records.rows), 2), np.nan)
    if column.keys:
        keys = _parse_places(records.name, records.column(0), [f"row {line}" for line in records.lines])
        if any(keys.members):
            chosen, _ = _rows_of_member(keys.members, member, records.name)
            keys = keys.keep(chosen)
            records = Records(
                records.name,
                records.header,
                [records.rows[row] for row in chosen],
                [records.lines[row] for row in chosen],
            )
        places = keys.xy
    else:
        places = _pair(records, column.place)
    array = _round(places)
    measured = _pair(records, column.measured)
    if column.measured is None and (places != array).any():
        measured = places
    pixels = _pair(records, column.pixels)
    in_tissue = _flags(records, column.selected)
    order = np.lexsort((array[:, 0], array[:, 1]))
    _refuse_twins(records, array, order)
    report = {
        "spot_file_layout": "first column XxY" if column.keys else "columns x, y",
        "spot_file_columns_unused": column.unused,
        "spots_with_pixels": int(np.isfinite(pixels).all(axis=1).sum()),
        "spots_in_tissue": int(in_tissue.sum()),
        "in_tissue_given": column.selected is not None,
        "positions_without_numbers": without_numbers,
    }
    return _Spots(array[order], measured[order], pixels[order], in_tissue[order], report)


def _transformed_spots(raw: RawFile, places: _Places) -> _Spots:
    """The spots that have counts, put onto the picture by a transformation of their measured places."""
    try:
        numbers = [float(text) for text in raw.path.read_text(encoding="utf-8-sig").replace(",", " ").split()]
    except (UnicodeDecodeError, ValueError) as error:
        raise Refusal(f"{raw.name}: not a transformation of nine numbers ({error})") from error
    matrix = np.array(numbers).reshape(3, 3).T if len(numbers) == 9 else np.zeros((3, 3))
    if not np.isfinite(matrix).all() or not np.allclose(matrix[2], (0, 0, 1)) or abs(np.linalg.det(matrix)) < 1e-9:
        raise Refusal(
            f"{raw.name}: {len(numbers)} numbers, not the columns of an invertible affine matrix: nine numbers whose"
            " third, sixth and ninth are 0, 0 and 1",
            measured=len(numbers),
            threshold=9,
        )
    array, first_at = np.unique(_round(places.xy), axis=0, return_index=True)
    order = np.lexsort((array[:, 0], array[:, 1]))
    xy = places.xy[first_at[order]]
    pixels = np.column_stack([xy, np.ones(len(xy))]) @ matrix[:2].T
    measured = xy if (xy != array[order]).any() else np.full(xy.shape, np.nan)
    report = {
        "spot_file_layout": "transformation of places",
        "spot_file_columns_unused": [],
        "spots_with_pixels": len(xy),
        "spots_in_tissue": len(xy),
        "in_tissue_given": False,
    }
    return _Spots(array[order], measured, pixels, np.ones(len(xy), dtype=np.int64), report)


@dataclass(frozen=True)
class _SpotColumns:
    """Which columns of a spot file mean what; `keys` if the first one holds the places."""

    keys: bool
    place: tuple[int, int] | None
    measured: tuple[int, int] | None
    pixels: tuple[int, int] | None
    selected: int | None
    unused: list[str]


def _find_columns(records: Records) -> _SpotColumns:
    header = [name.lower() for name in records.header]
    known = ("x", "y", "new_x", "new_y", "pixel_x", "pixel_y", "he_x", "he_y", "selected")
    twice = [name for name in known if header.count(name) > 1]
    index = {name: header.index(name) for name in known if name in header}

    def pair(first: str, second: str) -> tuple[int, int] | None:
        return (index[first], index[second]) if first in index and second in index else None

    place, measured = pair("x", "y"), pair("new_x", "new_y")
    pixels = pair("pixel_x", "pixel_y") or pair("he_x", "he_y")
    half = any((known[i] in index) != (known[i + 1] in index) for i in range(0, 8, 2))
    keys = _share_of_places(records.column(0)) > 0.5 and (place is None or pixels is None)
    if twice or half or not (keys or place):
        raise Refusal(
            f"{records.name}: unknown layout: expected {SPOT_FILE_EXPECTED}; found {', '.join(records.header)[:200]}"
        )
    if keys and pixels is None:
        place, pixels = None, place
    used = {0} if keys else set()
    used.update(*(columns for columns in (None if keys else place, measured, pixels) if columns))
    selected = index.get("selected")
    unused = [name for i, name in enumerate(records.header) if i not in used and i != selected and name]
    return _SpotColumns(keys, place, measured, pixels, selected, unused)


def _without_unmeasured(records: Records, column: _SpotColumns) -> tuple[Records, int]:
    """The records less the spots that are not selected and lack a number, and how many these are."""
    if column.selected is None:
        return records, 0
    numbers = [at for pair in (column.place, column.measured, column.pixels) if pair for at in pair]
    kept = [
        FLAGS.get(row[column.selected].lower()) != 0 or all(row[at].lower() not in UNKNOWN for at in numbers)
        for row in records.rows
    ]
    rows = [row for row, is_kept in zip(records.rows, kept, strict=True) if is_kept]
    lines = [line for line, is_kept in zip(records.lines, kept, strict=True) if is_kept]
    if not rows:
        raise Refusal(f"{records.name}: no spot is selected and has numbers; give the table of the spot detector")
    return Records(records.name, records.header, rows, lines), len(records.rows) - len(rows)


def _pair(records: Records, columns: tuple[int, int] | None) -> NDArray[np.float64]:
    """Two columns as float64 (rows, 2), NaN without columns."""
    if columns is None:
        return np.full((len(records.rows), 2), np.nan)
    return np.column_stack([parse_numbers(records, index) for index in columns])


def _flags(records: Records, index: int | None) -> NDArray[np.int64]:
    if index is None:
        return np.ones(len(records.rows), dtype=np.int64)
    found = [FLAGS.get(text.lower()) for text in records.column(index)]
    if None in found:
        first, more = found.index(None), found.count(None) - 1
        also = f" (and {more:,} more such rows)" if more else ""
        raise Refusal(
            f"{records.name}: row {records.lines[first]}, {records.label(index)}: {records.rows[first][index]!r} is "
            f"neither 0 nor 1{also}; correct the table",
            measured=more + 1,
            threshold=0,
        )
    return np.array(found, dtype=np.int64)


def _round(xy: NDArray[np.float64]) -> NDArray[np.int64]:
    """Nearest place of the array; halves go up."""
    return np.floor(xy + 0.5).astype(np.int64)


def _refuse_twins(records: Records, array: NDArray[np.int64], order: NDArray[np.intp]) -> None:
    same = np.flatnonzero((array[order][1:] == array[order][:-1]).all(axis=1))
    if same.size:
        first, second = sorted(records.lines[row] for row in order[same[0] : same[0] + 2])
        x, y = array[order[same[0]]]
        also = f" (and {same.size - 1:,} more such rows)" if same.size > 1 else ""
        raise Refusal(
            f"{records.name}: rows {first} and {second} both are spot {x}x{y}{also}; remove the wrong one",
            measured=int(same.size),
            threshold=0,
        )


def _join(places: _Places, spots: _Spots) -> tuple[NDArray[np.int64], str]:
    """Index of the spot of every row of counts, -1 without one, and by what they were joined.

    Places that are no whole numbers are either the measured ones of the spot file, digit by digit, or near whole
    ones. Rounding alone would be wrong where the array was measured over half a step away from its plan.
    """
    rounded = _round(places.xy)
    by_array = _look_up(rounded, spots.array)
    if (places.xy == rounded).all():
        return by_array, "array place"
    if len(np.unique(spots.measured, axis=0)) == len(spots):
        by_measure = _look_up(places.xy, spots.measured)
        if 2 * np.count_nonzero(by_measure >= 0) >= min(len(spots), len(places.names)):
            return by_measure, "measured place"
    return by_array, "rounded place"


def _places_apart(spots: _Spots) -> int:
    """Spots whose place on the array, measured place and pixels are not one; 0 where they are not all given.

    The spot detector computes measured places from pixels by an affine map, and places by rounding.
    """
    if len(spots) < FEWEST_COMPARED or not np.isfinite(spots.measured).all():
        return 0
    is_apart = (np.abs(spots.measured - spots.array) > FARTHEST_FROM_PLACE).any(axis=1)
    known = np.isfinite(spots.pixels).all(axis=1)
    good = known & ~is_apart
    for _ in range(2):  # once more without the spots that lie elsewhere, which drag the map along
        try:
            matrix = fit_affine(spots.measured[good], spots.pixels[good])
        except ValueError:
            return int(is_apart.sum())
        step_px = np.sqrt(abs(np.linalg.det(matrix[:2, :2])))
        off_px = np.linalg.norm(spots.pixels - apply(matrix, spots.measured), axis=1)
        is_off = known & (off_px > 1 + MEASURED_TO_STEPS * step_px)
        good = known & ~is_off & ~is_apart
    return int((is_apart | is_off).sum())


def _look_up(wanted: NDArray[Any], there: NDArray[Any]) -> NDArray[np.int64]:
    index = {(x, y): row for row, (x, y) in enumerate(there.tolist())}
    return np.array([index.get((x, y), -1) for x, y in wanted.tolist()], dtype=np.int64)


def _invert(places: _Places, spot_of_row: NDArray[np.int64], spots: _Spots, file: str) -> tuple[NDArray[np.int64], int]:
    """Index of the row of counts of every spot, -1 without one, and how many rows off the spot file are repeated.

    Two rows for one spot are refused: nothing says which one is right.
    """
    rows = np.flatnonzero(spot_of_row >= 0)
    taken, first_at = np.unique(spot_of_row[rows], return_index=True)
    clashes = np.setdiff1d(rows, rows[first_at])
    if clashes.size:
        second = int(clashes[0])
        first = int(np.flatnonzero(spot_of_row == spot_of_row[second])[0])
        also = f" (and {clashes.size - 1:,} more such pairs)" if clashes.size > 1 else ""
        raise Refusal(
            f"{file}: {places.where[first]} ({places.names[first]}) and {places.where[second]} "
            f"({places.names[second]}) both are spot {spots.ids[spot_of_row[second]]}{also}; remove the wrong one, or "
            "give the spot file with the measured places",
            measured=int(clashes.size),
            threshold=0,
        )
    row_of_spot = np.full(len(spots), -1, dtype=np.int64)
    row_of_spot[taken] = rows[first_at]
    elsewhere = _round(places.xy)[spot_of_row < 0]
    return row_of_spot, len(elsewhere) - len(np.unique(elsewhere, axis=0))


def _assemble(
    counts: csr_matrix, spots: _Spots, kept: NDArray[np.intp], genes: list[str]
) -> tuple[AnnData, dict[str, Any]]:
    obs = pd.DataFrame(
        {
            "array_col": spots.array[kept, 0],
            "array_row": spots.array[kept, 1],
            "x_px": spots.pixels[kept, 0],
            "y_px": spots.pixels[kept, 1],
            "in_tissue": spots.in_tissue[kept],
        },
        index=pd.Index([spots.ids[spot] for spot in kept], dtype=object),
    )
    names, gene_ids, form = _name_genes(genes)
    unique = make_index_unique(pd.Index(names, dtype=object))
    var = pd.DataFrame({"gene_id": gene_ids}, index=unique, dtype=object)
    report = {
        "genes": len(genes),
        "gene_names": form,
        "duplicate_gene_names": len(names) - len(set(names)),
        "zero_genes": int(len(genes) - np.unique(counts.indices).size),
        "zero_spots": int((np.diff(counts.indptr) == 0).sum()),
        "total_counts": int(counts.data.sum(dtype=np.float64)),
    }
    return AnnData(X=counts, obs=obs, var=var), report


def _name_genes(genes: Sequence[str]) -> tuple[list[str], list[str], str]:
    """Names, Ensembl ids without version (empty if unknown), and the form the file has them in."""
    names, gene_ids, forms = [], [], Counter[str]()
    for gene in genes:
        both = SYMBOL_AND_ENSEMBL.fullmatch(gene)
        alone = ENSEMBL.fullmatch(gene)
        names.append(both["symbol"] if both else gene)
        gene_ids.append((both["gene_id"] if both else gene if alone else "").partition(".")[0])
        forms["symbol and Ensembl" if both else "Ensembl" if alone else "symbol"] += 1
    return names, gene_ids, " and ".join(f"{form} ({forms[form]})" for form in sorted(forms))


def _spot_table(spots: _Spots, kept: NDArray[np.intp], counts: csr_matrix) -> pd.DataFrame:
    total = pd.array([pd.NA] * len(spots), dtype="Int64")
    exact = counts.astype(np.float64)  # scipy sums float32 in float32, whatever the dtype asked for
    total[kept] = np.asarray(exact.sum(axis=1)).ravel().astype(np.int64)
    columns = (
        spots.ids,
        *spots.array.T,
        *spots.measured.T,
        *spots.pixels.T,
        spots.in_tissue,
        total,
    )
    return pd.DataFrame(dict(zip(SPOT_COLUMNS, columns, strict=True)))
