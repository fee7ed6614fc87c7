"""10x HDF5 in both layouts.

Layout 3 (Cell Ranger 3, Space Ranger, Xenium): `/matrix/{data,indices,indptr,shape,barcodes}` and
`/matrix/features/{id,name,feature_type,genome}`. Layout 2 (Cell Ranger 2):
`/<genome>/{data,indices,indptr,shape,barcodes,genes,gene_names}`, one group a genome. Both hold genes x barcodes
column by column, which is units x genes row by row.
"""

from __future__ import annotations

from typing import Any

import h5py
from scipy.sparse import csr_matrix, hstack

from spotweave.errors import Refusal
from spotweave.matrices.features import GENE_EXPRESSION, need_no_check
from spotweave.matrices.hdf5 import keys, read_sparse, refuse_misfit, text
from spotweave.matrices.matrix import Matrix

SPARSE = {"data", "indices", "indptr", "shape", "barcodes"}


def read(name: str, file: h5py.File) -> Matrix:
    """Read one file; `name` is its owner's."""
    if keys(file.get("matrix")) >= {*SPARSE, "features"}:
        return _read_layout_3(name, file["matrix"])
    genomes = sorted(group for group in file if keys(file[group]) >= {*SPARSE, "genes"})
    if genomes:
        return _read_layout_2(name, file, genomes)
    raise Refusal(f"{name}: {_what_it_is(file)}")


def _what_it_is(file: h5py.File) -> str:
    there = set(file)
    if {"row_attrs", "col_attrs"} <= there:
        return "a loom file, which is not read here; save it as .h5ad with raw counts"
    if {"barcode_idx", "umi"} <= there:
        return "molecules (molecule_info.h5), not a count matrix; give filtered_feature_bc_matrix.h5"
    if "feature_slices" in there:
        return "feature_slice.h5 of Visium HD, not a count matrix; give filtered_feature_bc_matrix.h5"
    if {"assays", "meta.data"} <= there:
        return "an h5Seurat file, which is not read here; write its counts as 10x HDF5 or Market Exchange"
    inside = ", ".join(sorted(there)[:8]) or "nothing"
    return (
        f"an HDF5 file without a count matrix of Cell Ranger, Space Ranger or AnnData (it has {inside}); give "
        "filtered_feature_bc_matrix.h5, and download it again if that is what it should be"
    )


def _read_layout_3(name: str, group: Any) -> Matrix:
    features = group["features"]
    units, names = text(name, group, "barcodes"), text(name, features, "name")

    def column(key: str, missing: str) -> list[str]:
        values = text(name, features, key) if key in features else [missing] * len(names)
        if len(values) != len(names):
            raise Refusal(f"{name}: {len(names):,} genes with {len(values):,} of {key}; download the file again")
        return values

    refuse_misfit(name, group, units, names)
    ids, types, genomes = column("id", ""), column("feature_type", GENE_EXPRESSION), column("genome", "")
    other = need_no_check(types, names, ids)
    counts = read_sparse(name, group, units, names, by_unit=True, unchecked=other if other.any() else None)
    container = "10x HDF5, layout 3"
    return Matrix(name, units, names, ids, types, genomes, counts, container, {"container": container})


def _read_layout_2(name: str, file: h5py.File, genomes: list[str]) -> Matrix:
    units = text(name, file[genomes[0]], "barcodes")
    parts: list[csr_matrix] = []
    names, ids, of_genome = [], [], []
    for genome in genomes:
        group = file[genome]
        genes = text(name, group, "gene_names" if "gene_names" in group else "genes")
        here = text(name, group, "barcodes")
        refuse_misfit(name, group, here, genes)
        ids_here = text(name, group, "genes")
        if len(ids_here) != len(genes):
            raise Refusal(f"{name}: {len(genes):,} gene names with {len(ids_here):,} ids; download the file again")
        other = need_no_check([GENE_EXPRESSION] * len(genes), genes, ids_here)
        part = read_sparse(name, group, here, genes, by_unit=True, unchecked=other if other.any() else None)
        if here != units:  # each genome has a list of its own, which need not be in the same order
            units, parts, part = _union(units, parts, here, part)
        parts.append(part)
        names += genes
        ids += ids_here
        of_genome += [genome] * len(genes)
    counts = csr_matrix(hstack(parts, format="csr")) if len(parts) > 1 else parts[0]
    types, container = [GENE_EXPRESSION] * len(names), "10x HDF5, layout 2"
    return Matrix(name, units, names, ids, types, of_genome, counts, container, {"container": container})


def _union(
    units: list[str], parts: list[csr_matrix], here: list[str], part: csr_matrix
) -> tuple[list[str], list[csr_matrix], csr_matrix]:
    """Everything on the units of both lists; a unit one genome has no list entry for has no counts of it."""
    known = set(units)
    both = units + [unit for unit in here if unit not in known]
    return both, [_onto(both, units, old) for old in parts], _onto(both, here, part)


def _onto(both: list[str], names: list[str], counts: csr_matrix) -> csr_matrix:
    row = {name: index for index, name in enumerate(names)}
    rows_of_both = csr_matrix(
        ([1.0] * len(names), ([i for i, unit in enumerate(both) if unit in row], [row[u] for u in both if u in row])),
        shape=(len(both), len(names)),
        dtype=counts.dtype,
    )
    return csr_matrix(rows_of_both @ counts)
