"""Dense tables of counts, comma- or tab-separated, units in the rows or in the columns.

Which of the two it is shows in the names: units are named by barcodes, genes are not.
"""

from __future__ import annotations

from collections.abc import Sequence

from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.matrices.barcodes import looks_like_barcode
from spotweave.matrices.count_table import read_counts
from spotweave.matrices.features import GENE_EXPRESSION, are_numbers
from spotweave.matrices.matrix import Matrix, canonical


def read(counts: RawFile) -> Matrix:
    """Read one table."""
    table = read_counts(counts)
    in_rows, in_columns = _share(table.row_names), _share(table.column_names)
    if (in_rows > 0.5) == (in_columns > 0.5):
        raise Refusal(
            f"{counts.name}: either the rows or the columns must be barcodes such as AAACAACGAATAGTTC-1; rows start"
            f" with {_some(table.row_names)}, columns with {_some(table.column_names)}"
            + ("; the header with their names is missing" if are_numbers(table.column_names) else ""),
            measured=f"{in_rows:.0%} of the rows, {in_columns:.0%} of the columns are barcodes",
            threshold="over half of one and not of the other",
        )
    is_by_unit = in_rows > 0.5
    units, genes = (table.row_names, table.column_names) if is_by_unit else (table.column_names, table.row_names)
    matrix = table.counts if is_by_unit else table.counts.T.tocsr()
    return Matrix(
        counts.name,
        units,
        genes,
        [""] * len(genes),
        [GENE_EXPRESSION] * len(genes),
        [""] * len(genes),
        canonical(counts.name, matrix, lambda unit, gene: f"gene {genes[gene]!r}, barcode {units[unit]!r}"),
        "table",
        {
            "container": "table",
            "orientation": "units x genes" if is_by_unit else "genes x units",
            "whole_numbers_with_decimal_point": table.decimals,
        },
    )


def _share(names: Sequence[str]) -> float:
    return sum(map(looks_like_barcode, names)) / max(len(names), 1)


def _some(names: Sequence[str]) -> str:
    return ", ".join(repr(name[:40]) for name in names[:2])
