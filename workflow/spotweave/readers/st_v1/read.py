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

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.utils import make_index_unique
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from spotweave.deposits.delimited import DELIMITERS
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.matrices import features
from spotweave.matrices.count_table import CountTable, read_counts
from spotweave.matrices.reading import Reading, measures, spot_table, totals_of
from spotweave.readers.st_v1.places import Places, nearest, parse_places, select_member, share_of_places
from spotweave.readers.st_v1.spots import Spots, places_apart, read_spots, transformed_spots

ENSEMBL = re.compile(r"ENS[A-Z]{0,4}G\d{11}(?:\.\d+)?")
SYMBOL_AND_ENSEMBL = re.compile(rf"(?P<symbol>\S{{1,200}}?)[ _|]{{1,8}}(?P<gene_id>{ENSEMBL.pattern})")
EXAMPLES = 5


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
    counts, places, members = select_member(counts, places, member, table.name)
    if "spots" in files:
        spots = read_spots(files["spots"], member)
    elif "transform" in files:
        spots = transformed_spots(files["transform"], places)
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
    totals = totals_of(adata.X)
    without_spot = [places.names[row] for row in np.flatnonzero(spot_of_row < 0)]
    without_counts = [spots.ids[spot] for spot in np.flatnonzero(row_of_spot < 0)]
    unplaced = int((~np.isfinite(spots.pixels).all(axis=1)).sum())
    report = {
        "unit": "spot",
        **found,
        "key_format": places.format,
        "joined_by": join,
        "largest_offset_array_steps": float(np.abs(places.xy - nearest(places.xy)).max().round(6)),
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
        "places_apart": places_apart(spots),
        "columns_not_given": [f"the pixels of {unplaced:,} of {len(spots):,} spots"] if unplaced else [],
        "spots_without_counts_examples": without_counts[:EXAMPLES],
        "duplicate_keys": duplicates,
        **spots.report,
        **gene_report,
        **measures(adata.X, totals),
    }
    table_of_spots = spot_table(
        spots.ids,
        (spots.pixels[:, 0], spots.pixels[:, 1]),
        spots.in_tissue,
        (kept, totals),
        array=(spots.array[:, 0], spots.array[:, 1]),
        measured=(spots.measured[:, 0], spots.measured[:, 1]),
    )
    return Reading(adata, table_of_spots, report)


def _orient(table: CountTable) -> tuple[csr_matrix, Places, list[str], dict[str, Any]]:
    """Counts as spots x genes, the places of the spots, the names of the genes, and how the file had them.

    Sums and leftovers of counting programs are left out and named.
    """
    rows_where = [f"row {line}" for line in table.row_lines]
    columns_where = [f"column {index + 2}" for index in range(len(table.column_names))]
    in_rows, in_columns = share_of_places(table.row_names), share_of_places(table.column_names)
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
    places = parse_places(table.name, [names[i] for i in judged.units], [where[i] for i in judged.units])
    genes, genes_where = [genes[i] for i in judged.genes], [genes_where[i] for i in judged.genes]
    if "" in genes:
        raise Refusal(f"{table.name}: {genes_where[genes.index('')]} has no gene name; add it or remove its counts")
    if not judged.is_whole:
        counts = csr_matrix(counts[judged.units][:, judged.genes])
    return counts, places, genes, {"orientation": "spots x genes" if by_row else "genes x spots", **judged.report}


def _some(names: Sequence[str]) -> str:
    return ", ".join(repr(name[:40]) for name in names[:2])


def _join(places: Places, spots: Spots) -> tuple[NDArray[np.int64], str]:
    """Index of the spot of every row of counts, -1 without one, and by what they were joined.

    Places that are no whole numbers are either the measured ones of the spot file, digit by digit, or near whole
    ones. Rounding alone would be wrong where the array was measured over half a step away from its plan.
    """
    rounded = nearest(places.xy)
    by_array = _look_up(rounded, spots.array)
    if (places.xy == rounded).all():
        return by_array, "array place"
    if len(np.unique(spots.measured, axis=0)) == len(spots):
        by_measure = _look_up(places.xy, spots.measured)
        if 2 * np.count_nonzero(by_measure >= 0) >= min(len(spots), len(places.names)):
            return by_measure, "measured place"
    return by_array, "rounded place"


def _look_up(wanted: NDArray[Any], there: NDArray[Any]) -> NDArray[np.int64]:
    index = {(x, y): row for row, (x, y) in enumerate(there.tolist())}
    return np.array([index.get((x, y), -1) for x, y in wanted.tolist()], dtype=np.int64)


def _invert(places: Places, spot_of_row: NDArray[np.int64], spots: Spots, file: str) -> tuple[NDArray[np.int64], int]:
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
    elsewhere = nearest(places.xy)[spot_of_row < 0]
    return row_of_spot, len(elsewhere) - len(np.unique(elsewhere, axis=0))


def _assemble(
    counts: csr_matrix, spots: Spots, kept: NDArray[np.intp], genes: list[str]
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
