"""What the files of one deposit say twice, held against each other: every difference is a flag, `code: text`.

The sets of a deposit are equal where its vendor wrote it: Space Ranger's filtered matrix holds the spots in tissue, its
positions list the whole array, Xenium's matrix and table hold the same cells. Authors who filter spots break this in
good faith, so a difference refuses nothing here (the readers refuse what is another section); it is counted and said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

NOTHING = frozenset({"na", "nan", "n/a", "none", "null", "inf", "-inf", "true", "false"})
XENIUM_PIXEL_UM = 0.2125
MADE_UNIQUE = re.compile(r"(?P<stem>.+)-\d+")
NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
MOST_SHARED = 20  # a twentieth of the genes; in vendors' references some names of 30,000 are shared
FEWEST_OF_RAW = 20  # units off the tissue, from which a matrix that holds most of them is the raw one


def flags(report: Mapping[str, Any]) -> list[str]:
    """Every difference that a reader's report counts.

    Parameters
    ----------
    report
        The measures of any reader (`Reading.report`); what it does not count is not judged.

    Returns
    -------
    list of str
        `code: text`, in a fixed order; empty where all that is said twice agrees.
    """
    unit = report.get("unit", "spot")
    is_cell = unit == "cell"
    others = "cells of the table" if is_cell else "in-tissue spots"
    without_counts = report.get("spots_without_counts" if is_cell else "spots_without_counts_in_tissue", 0)
    in_all = report.get("rows_in_spots" if is_cell else "spots_in_tissue", 0)
    found = [
        (
            report.get("counts_without_spot", 0),
            "counts-without-position: {:,} of {:,} {}s with counts have no position and are left out",
            (report.get("rows_in_counts", 0), unit),
        ),
        (without_counts, "tissue-without-counts: {:,} of {:,} {} have no counts", (in_all, others)),
        (
            report.get("counts_off_tissue", 0),
            "counts-off-tissue: {:,} {}s are in a matrix of spots in tissue and not in tissue by their positions",
            (unit,),
        ),
        (
            report.get("array_places_missing", 0),
            "array-incomplete: {:,} places of the array are not in the table of positions, which lists {:,}",
            (report.get("rows_in_spots", 0),),
        ),
        (
            report.get("positions_without_numbers", 0),
            "positions-without-numbers: {:,} rows off the tissue lack numbers and are left out",
            (),
        ),
        (
            report.get("places_apart", 0),
            "places-apart: {:,} spots are elsewhere by their place on the array, their measured place or their pixels",
            (),
        ),
        (
            report.get("bins_off_lattice", 0),
            "bins-off-lattice: {:,} bins lie over half a bin off their place on the array",
            (),
        ),
        (
            report.get("cells_with_other_sum") or 0,
            "other-sums: {:,} cells have another sum of counts than the table of cells states",
            (),
        ),
        (report.get("gene_ids_twice", 0), "gene-ids-twice: {:,} genes have the id of another", ()),
        (
            report.get("genes_twice", 0),
            "genes-twice: {:,} genes come again with the same name and the same counts",
            (),
        ),
        (
            shared if MOST_SHARED * (shared := report.get("duplicate_gene_names", 0)) > report.get("genes", 0) else 0,
            "gene-names-shared: {:,} of {:,} genes have the name of another",
            (report.get("genes", 0),),
        ),
        (
            report.get("gene_names_numbers", 0),
            "gene-names: {:,} of {:,} genes have a number or a word for nothing as their name",
            (report.get("genes", 0),),
        ),
        (
            _cells_apart(report),
            "cells-in-manifest: the table of cells lists {1:,}, the manifest {2:,}",
            (report.get("rows_in_spots", 0), report.get("cells_in_manifest") or 0),
        ),
    ]
    said = [text.format(count, *more) for count, text, more in found if count]
    pixel_um = report.get("pixel_size_um") if is_cell else None
    if pixel_um is not None and pixel_um != XENIUM_PIXEL_UM:
        said.append(f"other-pixel-size: the manifest has {pixel_um:g} um, every Xenium {XENIUM_PIXEL_UM:g}")
    lacking = list(report.get("columns_not_given", []))
    genes, without_id = report.get("genes", 0), report.get("genes_without_id", 0)
    if 0 < 2 * without_id < genes:  # where most have none, the deposit names its genes by symbols
        lacking.append(f"the id of {without_id:,} of {genes:,} genes")
    said += [f"not-given: {', '.join(lacking)}"] if lacking else []
    return [*said, *(f"optional-file: {note}" for note in report.get("optional_files_passed_over", []))]


def _cells_apart(report: Mapping[str, Any]) -> int:
    stated = report.get("cells_in_manifest")
    return 0 if stated is None else abs(int(stated) - int(report.get("rows_in_spots", 0)))


def counts_off_tissue(in_tissue: NDArray[np.int64], kept: NDArray[np.intp]) -> int:
    """Units of a filtered matrix that are not in tissue; 0 for a raw matrix, which holds most of those off it.

    Parameters
    ----------
    in_tissue
        (N,) 0 or 1, of every unit with a position.
    kept
        (K,) which of them have counts.
    """
    off = int((in_tissue == 0).sum())
    counted = int((in_tissue[kept] == 0).sum())
    return 0 if counted >= FEWEST_OF_RAW and 2 * counted >= off else counted


def places_missing(in_tissue: NDArray[np.int64], whole: int) -> int:
    """Places of an array of `whole` places that a table lacks; 0 where it lists those in tissue only, as authors do."""
    return whole - len(in_tissue) if (in_tissue == 0).any() else 0


def of_genes(names: Sequence[str], gene_ids: Sequence[str], counts: csr_matrix) -> dict[str, int]:
    """What the genes say against themselves: vendors file each id once, and no gene twice with the same counts.

    Parameters
    ----------
    names
        Of the genes, made unique by `-1`, `-2` …
    gene_ids
        Blank where unknown.
    counts
        Units x genes.

    Returns
    -------
    dict
        `gene_ids_twice`, `genes_twice`, `gene_names_numbers`, `genes_without_id`.
    """
    given = [gene_id for gene_id in gene_ids if gene_id]
    at = {name: column for column, name in enumerate(names)}
    found = ((column, MADE_UNIQUE.fullmatch(name)) for name, column in at.items())
    pairs = [(at[match["stem"]], column) for column, match in found if match and match["stem"] in at]
    twice = 0
    if pairs:
        first, second = (counts[:, [pair[side] for pair in pairs]].tocsc() for side in (0, 1))
        differ = abs(first - second).sum(axis=0)
        twice = int(((differ == 0) & (first.sum(axis=0) > 0)).sum())
    return {
        "gene_ids_twice": len(given) - len(set(given)),
        "genes_twice": twice,
        "gene_names_numbers": sum(name.lower() in NOTHING or bool(NUMBER.fullmatch(name)) for name in names),
        "genes_without_id": len(gene_ids) - len(given),
    }
