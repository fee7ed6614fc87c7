"""Simulated counts in every container that deposits use: 10x HDF5, Market Exchange, tables, AnnData."""

from __future__ import annotations

import csv
import gzip
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.io import mmwrite
from scipy.sparse import coo_matrix, csr_matrix

ANTIBODIES = ("CD3.1", "CD19.1", "EPCAM.1")


@dataclass(frozen=True)
class Block:
    """A count matrix as filed: `units` x genes; `counts` an array or, for HDF5, a sparse matrix."""

    units: list[str]
    counts: Any
    names: list[str]
    ids: list[str]
    types: list[str]
    genomes: list[str]


Written = dict[str, Path]


def prefixed(block: Block) -> Block:
    """Names and ids as references of two species have them: the genome before them, padded to one length."""
    width = max(map(len, block.genomes)) + 1
    marks = [genome.ljust(width, "_") for genome in block.genomes]
    names = [mark + name for mark, name in zip(marks, block.names, strict=True)]
    ids = [mark + gene_id for mark, gene_id in zip(marks, block.ids, strict=True)]
    return replace(block, names=names, ids=ids)


def with_antibodies(block: Block) -> Block:
    """The same with protein features among the genes, which have counts too."""
    many = len(ANTIBODIES)
    protein = np.full((len(block.units), many), 7, dtype=np.int64)
    return Block(
        block.units,
        np.concatenate([block.counts[:, :5], protein, block.counts[:, 5:]], axis=1),
        [*block.names[:5], *ANTIBODIES, *block.names[5:]],
        [*block.ids[:5], *ANTIBODIES, *block.ids[5:]],
        [*block.types[:5], *["Antibody Capture"] * many, *block.types[5:]],
        [*block.genomes[:5], *[""] * many, *block.genomes[5:]],
    )


def stacked(*blocks: Block) -> Block:
    """One table of several samples' units."""
    units = [unit for block in blocks for unit in block.units]
    return replace(blocks[0], units=units, counts=np.concatenate([block.counts for block in blocks]))


def put(path: Path, content: bytes) -> Path:
    """Write a file, packed with gzip where its name says so; the path."""
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def gzipped(path: Path) -> Path:
    """The same file packed once more, as GEO does."""
    beside = put(path.with_name(path.name + ".gz"), path.read_bytes())
    path.unlink()
    return beside


def write_h5_layout_3(path: Path, block: Block) -> Path:
    """`filtered_feature_bc_matrix.h5` of Space Ranger."""
    sparse = csr_matrix(block.counts)
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        _sparse_into(group, sparse, block.units)
        features = group.create_group("features")
        for key, values in (
            ("id", block.ids),
            ("name", block.names),
            ("feature_type", block.types),
            ("genome", block.genomes),
            ("_all_tag_keys", ["genome"]),
        ):
            features.create_dataset(key, data=np.array(values, dtype="S"))
    return path


def write_h5_layout_2(path: Path, block: Block) -> Path:
    """`filtered_gene_bc_matrices_h5.h5` of Cell Ranger 2: one group a genome."""
    with h5py.File(path, "w") as file:
        for genome in sorted(set(block.genomes)):
            genes = [i for i, own in enumerate(block.genomes) if own == genome]
            group = file.create_group(genome)
            _sparse_into(group, csr_matrix(block.counts[:, genes]), block.units)
            group.create_dataset("genes", data=np.array([block.ids[i] for i in genes], dtype="S"))
            group.create_dataset("gene_names", data=np.array([block.names[i] for i in genes], dtype="S"))
    return path


def _sparse_into(group: h5py.Group, sparse: csr_matrix, units: Sequence[str]) -> None:
    group.create_dataset("data", data=sparse.data.astype(np.int32), compression="gzip")
    group.create_dataset("indices", data=sparse.indices.astype(np.int64), compression="gzip")
    group.create_dataset("indptr", data=sparse.indptr.astype(np.int64))
    group.create_dataset("shape", data=np.array(sparse.shape[::-1], dtype=np.int32))
    group.create_dataset("barcodes", data=np.array(units, dtype="S"))


def write_mex(
    folder: Path, block: Block, *, prefix: str = "", columns: int = 3, packed: bool = True, turned: bool = False
) -> Written:
    """A Market Exchange triplet; `columns` of the gene list, 2 (Cell Ranger 2, `genes.tsv`) or 3."""
    suffix = ".gz" if packed else ""
    matrix = io.BytesIO()
    counts = coo_matrix(block.counts if turned else block.counts.T)
    mmwrite(matrix, counts, field="integer", symmetry="general", comment='metadata_json: {"format_version": 2}')
    fields = (block.ids, block.names, block.types)[:columns]
    genes = "".join("\t".join(row) + "\n" for row in zip(*fields, strict=True))
    gene_list = "features.tsv" if columns == 3 else "genes.tsv"
    return {
        "counts": put(folder / f"{prefix}matrix.mtx{suffix}", matrix.getvalue()),
        "features": put(folder / f"{prefix}{gene_list}{suffix}", genes.encode()),
        "barcodes": put(folder / f"{prefix}barcodes.tsv{suffix}", "".join(f"{u}\n" for u in block.units).encode()),
    }


def write_table(
    path: Path,
    block: Block,
    *,
    mark: str = ",",
    by_unit: bool = False,
    corner: str | None = "",
    quoted: bool = False,
    cell: Callable[[int], str] = str,
) -> Path:
    """A dense table, genes x units unless `by_unit`; without a `corner` the header is one field short, as R's is."""
    rows, columns = (block.units, block.names) if by_unit else (block.names, block.units)
    values = block.counts if by_unit else block.counts.T
    text = io.StringIO()
    write = csv.writer(text, delimiter=mark, lineterminator="\n", quoting=csv.QUOTE_NONE, escapechar="\\").writerow
    named = [f'"{name}"' if quoted else name for name in columns]
    text.write(mark.join(([] if corner is None else [f'"{corner}"' if quoted else corner]) + named) + "\n")
    for name, line in zip(rows, values, strict=True):
        if quoted:
            text.write(mark.join([f'"{name}"', *map(cell, line.tolist())]) + "\n")
        else:
            write([name, *map(cell, line.tolist())])
    return put(path, text.getvalue().encode())


def write_h5ad(
    path: Path,
    block: Block,
    *,
    place: str = "X",
    obs: dict[str, Any] | None = None,
    spatial: NDArray[Any] | None = None,
    dense: bool = False,
) -> Path:
    """An AnnData file with raw counts in `X`, in `layers` (X is normalised) or in `raw` (X is half of the genes)."""
    counts = csr_matrix(block.counts.astype(np.float32))
    var = pd.DataFrame(
        {"gene_ids": block.ids, "feature_types": block.types, "genome": block.genomes},
        index=pd.Index(block.names, dtype=object),
    )
    frame = pd.DataFrame(obs or {}, index=pd.Index(block.units, dtype=object))
    with warnings.catch_warnings():  # that names of genes repeat is on purpose
        warnings.simplefilter("ignore", UserWarning)
        adata = anndata.AnnData(X=counts, obs=frame, var=var)
    if place == "layers":
        adata.layers["counts"] = counts
    if place == "raw":
        adata.raw = adata
        adata = adata[:, ::2].copy()
    if place != "X":
        adata.X = csr_matrix(adata.X).log1p()
    if dense:
        adata.X = adata.X.toarray()
    if spatial is not None:
        adata.obsm["spatial"] = spatial
    adata.write_h5ad(path)
    return path
