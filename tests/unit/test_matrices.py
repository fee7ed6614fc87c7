"""Count matrices in every container: what is in them, and what is refused."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
from scipy.sparse import coo_matrix, csc_matrix, csr_matrix

from real_data import DATA, NOT_HERE
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.matrices import features, h5ad, hdf5, matrix, mex
from spotweave.matrices.genes import gene_table
from spotweave.matrices.matrix import LARGEST_COUNT, Matrix, canonical, find_fault
from spotweave.matrices.read import read_matrix
from spotweave.simulate import visium as simulated
from spotweave.simulate.count_files import (
    Block,
    write_h5_layout_2,
    write_h5_layout_3,
    write_h5ad,
    write_mex,
    write_table,
)

POSTERIOR = DATA / "visium_mouse_brain_posterior_outs" / "filtered_feature_bc_matrix"
needs_data = pytest.mark.skipif(not POSTERIOR.exists(), reason=f"{NOT_HERE}{POSTERIOR}")


def raw(path: Path) -> RawFile:
    return RawFile(path.name, path)


def small(values: Any = ((0, 3, 1), (2, 0, 0))) -> Block:
    counts = np.array(values)
    units = [f"{letter * 16}-1" for letter in "ACGT"[: len(counts)]]
    many = counts.shape[1]
    return Block(
        units,
        counts,
        [f"G{i}" for i in range(many)],
        [f"ENSG{i:011d}" for i in range(many)],
        ["Gene Expression"] * many,
        ["GRCh38"] * many,
    )


def write_triplet(folder: Path, block: Block, **how: Any) -> dict[str, RawFile]:
    return {role: raw(path) for role, path in write_mex(folder, block, **how).items()}


WRITERS: dict[str, Callable[[Path, Block], dict[str, RawFile]]] = {
    "layout 3": lambda folder, block: {"counts": raw(write_h5_layout_3(folder / "a.h5", block))},
    "layout 2": lambda folder, block: {"counts": raw(write_h5_layout_2(folder / "a.h5", block))},
    "h5ad": lambda folder, block: {"counts": raw(write_h5ad(folder / "a.h5ad", block))},
    "h5ad dense": lambda folder, block: {"counts": raw(write_h5ad(folder / "a.h5ad", block, dense=True))},
    "triplet": write_triplet,
    "table": lambda folder, block: {"counts": raw(write_table(folder / "a.csv", block))},
}
every_container = pytest.mark.parametrize("container", sorted(WRITERS))


def read(files: dict[str, RawFile]) -> Matrix:
    counts, *_ = (files.pop(role) for role in ("counts",))
    return read_matrix(counts, **files)


@every_container
def test_what_is_written_is_read(container: str, tmp_path: Path) -> None:
    block = small()
    matrix = read(WRITERS[container](tmp_path, block))
    assert matrix.unit_names == block.units
    assert matrix.gene_names == block.names
    assert matrix.gene_ids in (block.ids, [""] * 3)
    assert matrix.feature_types == block.types
    assert matrix.genomes in (block.genomes, [""] * 3)
    assert matrix.counts.dtype == np.float32
    assert matrix.counts.format == "csr"
    assert matrix.counts.has_canonical_format
    assert matrix.counts.toarray().tolist() == block.counts.tolist()
    assert matrix.counts.nnz == 3
    assert matrix.report["container"] == matrix.container


@every_container
def test_the_name_of_a_file_decides_nothing(container: str, tmp_path: Path) -> None:
    files = WRITERS[container](tmp_path, small())
    path = files["counts"].path.rename(tmp_path / "download.bin")
    assert read({**files, "counts": raw(path)}).counts.toarray().tolist() == small().counts.tolist()


@every_container
def test_a_file_packed_once_more_is_read(container: str, tmp_path: Path) -> None:
    files = WRITERS[container](tmp_path, small())
    path = tmp_path / "packed"
    content = files["counts"].path.read_bytes()
    path.write_bytes(content if content.startswith(b"\x1f\x8b") else gzip.compress(content))
    assert read({**files, "counts": raw(path)}).counts.toarray().tolist() == small().counts.tolist()


@pytest.mark.parametrize("value", [-1, LARGEST_COUNT + 2])  # float32 cannot tell 2^24 + 1 from 2^24
@every_container
def test_a_value_that_is_no_count_is_refused_by_its_place(container: str, value: int, tmp_path: Path) -> None:
    block = small(((0, 3, 1), (2, 0, value)))
    with pytest.raises(Refusal) as refusal:
        read(WRITERS[container](tmp_path, block))
    reason = refusal.value.reason
    assert str(value) in reason
    assert "G2" in reason
    assert "C" * 16 in reason or "column 3" in reason


def break_h5ad(path: Path, values: Any) -> None:
    with h5py.File(path, "r+") as file:
        file["X/data"][...] = values


@pytest.mark.parametrize(
    ("value", "advice"),
    [(0.5, "not normalised"), (np.nan, "complete"), (np.inf, "complete"), (-2.0, "not log-transformed")],
)
def test_broken_numbers_in_an_h5ad_are_refused_with_advice(value: float, advice: str, tmp_path: Path) -> None:
    path = write_h5ad(tmp_path / "a.h5ad", small())
    break_h5ad(path, [3, value, 2])
    with pytest.raises(Refusal, match=rf"a.h5ad: X: the value of gene 'G2', barcode 'A+-1' is {value:g}; .*{advice}"):
        read_matrix(raw(path))


def test_of_a_block_of_values_the_first_bad_one_and_their_number_are_found() -> None:
    fault = find_fault(np.array([1.0, 2.5, -1.0, np.nan]))
    assert fault is not None
    assert (fault.index, fault.found, fault.count) == (1, "2.5", 3)
    assert find_fault(np.array([], dtype=np.float32)) is None
    assert find_fault(np.array([0, LARGEST_COUNT], dtype=np.uint32)) is None
    assert find_fault(np.array(["1"])) is not None


def test_a_bad_value_is_placed_right_behind_the_first_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "VALUES_AT_ONCE", 2)
    path = write_h5_layout_3(tmp_path / "a.h5", small(((1, 3, 1), (2, 0, -7))))
    with pytest.raises(Refusal, match=r"gene 'G2', barcode 'C+-1' is -7"):
        read_matrix(raw(path))


def test_matrices_are_read_the_same_in_small_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = simulated.draw_truth()
    block = simulated.block_of(truth, truth.tissue[:50])
    monkeypatch.setattr(hdf5, "VALUES_AT_ONCE", 7)
    monkeypatch.setattr(mex, "ENTRIES_AT_ONCE", 7)
    for container in ("layout 3", "triplet"):
        assert (read(WRITERS[container](tmp_path, block)).counts.toarray() == block.counts).all()


# --- 10x HDF5 -------------------------------------------------------------------------------------


def change(path: Path, key: str, values: Any) -> None:
    with h5py.File(path, "r+") as file:
        del file[key]
        if values is not None:
            file[key] = values


@pytest.mark.parametrize(
    ("key", "values", "match"),
    [
        ("matrix/barcodes", np.array(["A-1"], dtype="S"), r"3 genes x 2 barcodes with 3 gene names and 1 barcodes"),
        ("matrix/features/name", np.array(["A"], dtype="S"), r"with 1 gene names"),
        ("matrix/indptr", np.array([0, 2]), r"does not fit its lists"),
        ("matrix/indptr", np.array([0, 3, 2]), r"does not fit its lists"),
        ("matrix/indptr", np.array([0, 4, 3]), r"runs backwards"),
        ("matrix/data", np.array([1, 2]), r"does not fit its lists"),
        ("matrix/indices", np.array([1, 2, 9]), r"at index 9 of 3"),
        ("matrix/indices", np.array([1, 1, 0]), r"gene 'G1', barcode 'A+-1' is given twice"),
        ("matrix/indices", None, r"without a count matrix"),
        ("matrix/features/name", None, r"incomplete HDF5"),
    ],
)
def test_a_damaged_hdf5_matrix_is_refused(key: str, values: Any, match: str, tmp_path: Path) -> None:
    path = write_h5_layout_3(tmp_path / "a.h5", small())
    change(path, key, values)
    with pytest.raises(Refusal, match=match) as refusal:
        read_matrix(raw(path))
    assert refusal.value.reason.startswith("a.h5: ")


@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_a_cut_hdf5_file_is_refused(share: float, tmp_path: Path) -> None:
    truth = simulated.draw_truth()
    path = write_h5_layout_3(tmp_path / "a.h5", simulated.block_of(truth, truth.tissue))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(Refusal, match="cut, damaged or incomplete HDF5"):
        read_matrix(raw(path))


@pytest.mark.parametrize(
    ("there", "match"),
    [
        (("row_attrs", "col_attrs", "matrix"), "a loom file"),
        (("barcode_idx", "umi"), "filtered_feature_bc_matrix.h5"),
        (("feature_slices", "masks"), "feature_slice.h5"),
        (("assays", "meta.data"), "h5Seurat"),
        (("something",), r"it has something"),
        ((), r"it has nothing"),
    ],
)
def test_other_hdf5_files_are_refused_for_what_they_are(there: tuple[str, ...], match: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in there:
            file.create_dataset(name, data=[1])
    with pytest.raises(Refusal, match=match):
        read_matrix(raw(tmp_path / "a.h5"))


def test_genomes_whose_barcodes_differ_are_put_side_by_side_by_name(tmp_path: Path) -> None:
    block = replace(small(((1, 2, 3), (4, 5, 6))), genomes=["GRCh38", "GRCh38", "mm10"])
    path = write_h5_layout_2(tmp_path / "a.h5", block)
    with h5py.File(path, "r+") as file:
        file["mm10/barcodes"][...] = np.array([block.units[1], "T" * 16 + "-1"], dtype="S")
    matrix = read_matrix(raw(path))
    assert matrix.unit_names == [*block.units, "T" * 16 + "-1"]
    assert matrix.genomes == block.genomes
    assert matrix.counts.toarray().tolist() == [[1, 2, 0], [4, 5, 3], [0, 0, 6]]


def test_a_matrix_without_genes_is_refused_by_what_it_has(tmp_path: Path) -> None:
    path = write_h5_layout_3(tmp_path / "a.h5", replace(small(), types=["Antibody Capture"] * 3))
    with pytest.raises(Refusal, match="3 of type Antibody Capture and no genes"):
        read_matrix(raw(path))


# --- h5ad -----------------------------------------------------------------------------------------


def test_counts_of_an_h5ad_are_found_where_they_are_and_the_rest_is_named(tmp_path: Path) -> None:
    truth = simulated.draw_truth()
    block = simulated.block_of(truth, truth.tissue)
    matrix = read_matrix(raw(write_h5ad(tmp_path / "a.h5ad", block, place="raw")))
    assert matrix.report["counts_from"] == "raw/X"
    assert matrix.report["counts_passed_over"] == ["X"]
    assert (matrix.counts.toarray() == block.counts).all()


def test_of_two_matrices_of_counts_the_one_with_more_genes_is_taken(tmp_path: Path) -> None:
    adata = anndata.AnnData(csr_matrix(small().counts.astype(np.float32)), var=pd.DataFrame(index=small().names))
    adata.raw = adata
    adata[:, :2].copy().write_h5ad(tmp_path / "a.h5ad")
    matrix = read_matrix(raw(tmp_path / "a.h5ad"))
    assert matrix.report["counts_from"] == "raw/X"
    assert matrix.counts.shape == (2, 3)


def test_an_h5ad_compressed_by_genes_is_read(tmp_path: Path) -> None:
    var = pd.DataFrame(index=small().names)
    anndata.AnnData(csc_matrix(small().counts.astype(np.float32)), var=var).write_h5ad(tmp_path / "a.h5ad")
    assert read_matrix(raw(tmp_path / "a.h5ad")).counts.toarray().tolist() == small().counts.tolist()


def test_an_h5ad_without_counts_is_refused_by_all_it_has(tmp_path: Path) -> None:
    adata = anndata.AnnData(csr_matrix(small().counts.astype(np.float32)), var=pd.DataFrame(index=small().names))
    adata.raw = adata
    adata.layers["counts"] = adata.X.copy()
    adata.write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "r+") as file:
        for place in ("X", "raw/X", "layers/counts"):
            file[f"{place}/data"][...] = 0.5
    with pytest.raises(Refusal, match=r"no raw counts in layers/counts, X, raw/X .*G0|no raw counts in"):
        read_matrix(raw(tmp_path / "a.h5ad"))


def test_an_h5ad_whose_index_is_ensembl_ids_gets_its_symbols(tmp_path: Path) -> None:
    adata = anndata.AnnData(csr_matrix(small().counts.astype(np.float32)), var=pd.DataFrame(index=small().names))
    adata.var_names = small().ids
    adata.var["feature_name"] = small().names
    adata.write_h5ad(tmp_path / "a.h5ad")
    matrix = read_matrix(raw(tmp_path / "a.h5ad"))
    assert (matrix.gene_names, matrix.gene_ids) == (small().names, small().ids)


# --- Market Exchange ------------------------------------------------------------------------------


def mtx(folder: Path, text: str, block: Block | None = None) -> dict[str, RawFile]:
    files = write_triplet(folder, block or small(), packed=False)
    files["counts"].path.write_text(text)
    return files


BANNER = "%%MatrixMarket matrix coordinate integer general\n"


@pytest.mark.parametrize(
    "text",
    [
        BANNER + "3 2 3\n1 2 2\n2 1 3\n3 1 1\n",
        BANNER + "%a remark\n\n3 2 3\n1  2\t2\n2 1 3\n 3 1 1\n\n",
        BANNER.replace("integer", "real") + "3 2 3\n2 1 3.0\n3 1 1e0\n1 2 2\n",
        BANNER.replace("\n", "\r\n") + "3 2 3\r\n2 1 3\r\n3 1 1\r\n1 2 2\r\n",
        BANNER + "2 3 3\n1 2 3\n1 3 1\n2 1 2\n",
    ],
)
def test_a_triplet_is_read_however_it_is_written(text: str, tmp_path: Path) -> None:
    matrix = read(mtx(tmp_path, text))
    assert matrix.counts.toarray().tolist() == small().counts.tolist()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (BANNER + "3 2 3\n1 2 2\n2 1 3\n", r"2 of 3 entries are there"),
        (BANNER + "3 2 2\n1 2 2\n2 1 3\n3 1 1\n", r"more than the 2 entries"),
        (BANNER + "3 2 3\n1 2 2\n2 1 3\n3 1\n", r"is nan; .*complete|cut or damaged"),
        (BANNER + "3 2 3\n1 2 2\n2 1 3\n4 1 1\n", r"row 4 of 3"),
        (BANNER + "3 2 3\n1 2 2\n0 1 3\n3 1 1\n", r"row 0 of 3"),
        (BANNER + "3 2 3\n1 2 2\n2 1 3\n2 1 3\n", r"gene 'G1', barcode 'A+-1' is given twice"),
        (BANNER + "3 2 3\n1 2 2\n2 1 0.5\n3 1 1\n", r"gene 'G1', barcode 'A+-1' is 0.5; .*not normalised"),
        (BANNER + "3 2 3\n1 2 2\n2 1 x\n3 1 1\n", r"no numbers"),
        (BANNER + "3 2 99\n1 2 2\n", r"99 entries in 3 x 2"),
        (BANNER + "3 2\n", r"cut or damaged"),
        (BANNER, r"cut or damaged"),
        (BANNER.replace("integer", "pattern") + "3 2 1\n1 2\n", r"coordinate pattern general"),
        (BANNER.replace("general", "symmetric") + "3 3 1\n1 2 1\n", r"integer symmetric"),
        ("%%MatrixMarket matrix array integer general\n3 2 6\n1\n", r"array integer general"),
        (BANNER + "4 2 1\n1 2 2\n", r"4 x 2 for 3 genes in genes.tsv|4 x 2 for 3 genes in features.tsv"),
        (BANNER + "3 3 1\n1 2 2\n", r"3 x 3 for 3 genes .* do not belong together"),
    ],
)
def test_a_damaged_triplet_is_refused(text: str, match: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=match) as refusal:
        read(mtx(tmp_path, text))
    assert refusal.value.reason.startswith("matrix.mtx: ")


@pytest.mark.parametrize("gone", ["features", "barcodes"])
def test_a_triplet_without_a_list_is_refused(gone: str, tmp_path: Path) -> None:
    files = write_triplet(tmp_path, small())
    del files[gone]
    with pytest.raises(Refusal, match=rf"without its list of {gone}"):
        read(files)


def test_a_list_cut_by_one_is_refused_and_one_too_long_is_no_header(tmp_path: Path) -> None:
    for rows in (("G0", "G1"), ("G0", "G1", "G2", "G3")):
        files = write_triplet(tmp_path, small(), packed=False)
        files["features"].path.write_text("".join(f"{row}\n" for row in rows))
        with pytest.raises(Refusal, match=rf"for {len(rows)} genes"):
            read(files)


@pytest.mark.parametrize(
    ("genes", "names", "ids"),
    [
        ("G0\nG1\nG2\n", ["G0", "G1", "G2"], ["", "", ""]),
        ("x\nG0\nG1\nG2\n", ["G0", "G1", "G2"], ["", "", ""]),
        ("G0\tENSG00000000000\nG1\tENSG00000000001\nG2\tENSG00000000002\n", ["G0", "G1", "G2"], small().ids),
        ("ENSG00000000000\tG0\tbiotype\nENSG00000000001\tG1\tx\nENSG00000000002\tG2\tx\n", ["G0", "G1", "G2"], None),
    ],
)
def test_lists_of_genes_are_read_by_what_their_columns_hold(
    genes: str, names: list[str], ids: list[str] | None, tmp_path: Path
) -> None:
    files = write_triplet(tmp_path, small(), packed=False)
    files["features"].path.write_text(genes)
    matrix = read(files)
    assert matrix.gene_names == names
    assert matrix.gene_ids == (small().ids if ids is None else ids)
    assert matrix.counts.toarray().tolist() == small().counts.tolist()


def test_a_triplet_agrees_with_scipy(tmp_path: Path) -> None:
    truth = simulated.draw_truth(4)
    block = simulated.block_of(truth, np.random.default_rng(0).permutation(truth.every)[:700])
    files = write_triplet(tmp_path, block, packed=False)
    scipy.io.mmwrite(files["counts"].path.with_suffix(""), coo_matrix(block.counts.T[:, ::-1]))
    expected = scipy.io.mmread(files["counts"].path).T.toarray()
    assert (read(files).counts.toarray() == expected).all()


@needs_data
def test_a_real_triplet_agrees_with_scipy() -> None:
    matrix = read_matrix(
        raw(POSTERIOR / "matrix.mtx.gz"),
        features=raw(POSTERIOR / "features.tsv.gz"),
        barcodes=raw(POSTERIOR / "barcodes.tsv.gz"),
    )
    expected = csr_matrix(scipy.io.mmread(POSTERIOR / "matrix.mtx.gz").T)
    assert matrix.counts.shape == (3352, 815)
    assert (matrix.counts != expected).nnz == 0


# --- other files ----------------------------------------------------------------------------------


def archive() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("matrix.mtx"))
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.csv", b"", "empty"),
        ("a.rds", gzip.compress(b"X\n\x00\x00\x00\x03\x00"), "an R object"),
        ("a.rds", b"BZh91AY", "an R object"),
        ("a.bin", b"RDX3\nX\n", "an R object"),
        ("a.tar.gz", archive(), r"a tar archive; name the matrix in it as a.tar.gz!path"),
        ("a.zip", b"PK\x03\x04rest", "zip archive"),
        ("a.h5", b"<html>", "web page"),
        ("a.h5", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("a.csv.gz", gzip.compress(b"a,b\n" * 99)[:-20], "gzip stream is cut"),
        ("a.csv", b",G1,G2\nx,1,2\ny,3,4\n", r"either the rows or the columns must be barcodes"),
    ],
)
def test_a_file_that_is_no_matrix_is_refused_with_advice(name: str, content: bytes, match: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Refusal, match=match) as refusal:
        read_matrix(raw(tmp_path / name))
    assert refusal.value.reason.startswith(f"{name}: ")


# --- genes ----------------------------------------------------------------------------------------


def matrix_of(names: list[str], ids: list[str] | None = None, genomes: list[str] | None = None) -> Matrix:
    blank = [""] * len(names)
    counts = csr_matrix((1, len(names)), dtype=np.float32)
    return Matrix("a.h5", ["A-1"], names, ids or blank, blank, genomes or blank, counts, "test", {})


def test_names_that_repeat_are_made_unique_and_counted() -> None:
    var, report = gene_table(matrix_of(["TBCE", "A", "TBCE"]))
    assert list(var.index) == ["TBCE", "A", "TBCE-1"]
    assert report["duplicate_gene_names"] == 1


def test_ids_lose_their_version_and_stand_in_for_missing_names() -> None:
    var, _ = gene_table(matrix_of(["", "ENSG00000000002", "C"], ["ENSG00000000001.7", "", ""]))
    assert list(var.index) == ["ENSG00000000001", "ENSG00000000002", "C"]
    assert list(var["gene_id"]) == ["ENSG00000000001", "ENSG00000000002", ""]


def test_prefixes_of_species_become_genomes() -> None:
    names = ["GRCh38_TP53", "mm10___Trp53", "mm10___mm10_like"]
    for genomes in (None, ["GRCh38", "mm10", "mm10"]):
        var, report = gene_table(matrix_of(names, genomes=genomes))
        assert list(var.index) == ["TP53", "Trp53", "mm10_like"]
        assert list(var["genome"]) == ["GRCh38", "mm10", "mm10"]
        assert report["genes_by_genome"] == {"GRCh38": 1, "mm10": 2}


def test_a_gene_that_looks_prefixed_among_others_keeps_its_name() -> None:
    var, _ = gene_table(matrix_of(["hg19_odd", "TP53", "A1BG", "HLA-A"]))
    assert list(var.index) == ["hg19_odd", "TP53", "A1BG", "HLA-A"]


def test_a_gene_without_name_and_id_is_refused() -> None:
    with pytest.raises(Refusal, match="gene 2 has neither name nor id"):
        gene_table(matrix_of(["A", ""]))


def test_features_that_are_no_genes_may_hold_what_are_no_counts(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["data"] = np.array([3.0, 0.37, 2.0, 1.25])
        group["indices"] = np.array([0, 1, 0, 1])
        group["indptr"] = np.array([0, 2, 4])
        group["shape"] = np.array([2, 2])
        group["barcodes"] = np.array([b"a-1", b"b-1"])
        group["features/id"] = np.array([b"ENSG1", b"p1"])
        group["features/name"] = np.array([b"A", b"CD3"])
        group["features/feature_type"] = np.array([b"Gene Expression", b"Protein Expression"])
    matrix = read_matrix(RawFile("m.h5", path))
    assert matrix.gene_names == ["A"]
    assert matrix.counts.toarray().ravel().tolist() == [3, 2]


# --- what is a gene, and what is none -------------------------------------------------------------


def larger(genes: int = 12, units: int = 14, seed: int = 5) -> Block:
    """Enough genes and units for a sum to be no coincidence."""
    rng = np.random.default_rng(seed)
    barcodes = ["".join(rng.choice(list("ACGT"), 16)) + "-1" for _ in range(units)]
    return Block(
        barcodes,
        rng.poisson(3, (units, genes)),
        [f"GENE{i}" for i in range(genes)],
        [f"ENSG{i:011d}" for i in range(genes)],
        ["Gene Expression"] * genes,
        ["GRCh38"] * genes,
    )


def with_genes(block: Block, names: Sequence[str], values: Any, ids: Sequence[str] | None = None) -> Block:
    """The block with more columns, between the first and the second."""
    values = np.asarray(values).reshape(len(block.units), -1)

    def between(old: Sequence[str], new: Sequence[str]) -> list[str]:
        return [old[0], *new, *old[1:]]

    return replace(
        block,
        counts=np.concatenate([block.counts[:, :1], values, block.counts[:, 1:]], axis=1),
        names=between(block.names, names),
        ids=between(block.ids, names if ids is None else ids),
        types=between(block.types, ["Gene Expression"] * len(names)),
        genomes=between(block.genomes, ["GRCh38"] * len(names)),
    )


SUMMARIES = {
    "HTSeq": ["__no_feature", "__ambiguous", "__too_low_aQual", "__not_aligned", "__alignment_not_unique"],
    "HTSeq without underscores": ["no_feature", "ambiguous", "too_low_aQual", "not_aligned", "alignment_not_unique"],
    "HTSeq through R": ["X__no_feature", "X__ambiguous"],
    "STAR": ["N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous"],
    "featureCounts": ["Unassigned_Unmapped", "Unassigned_NoFeatures", "Unassigned_Ambiguity"],
    "spreadsheet": ["Total", "SUM", "Grand Total", "total_counts", "Column sums"],
    "small letters": ["total", "sum", "n_unmapped", "__NO_FEATURE"],
    "spots' own": ["nCount_RNA", "nFeature_Spatial", "n_genes_by_counts", "in_tissue", "array_row"],
}


@pytest.mark.parametrize("kind", SUMMARIES)
@every_container
def test_summaries_among_the_genes_are_left_out_and_named(container: str, kind: str, tmp_path: Path) -> None:
    block = larger()
    names = SUMMARIES[kind]
    filed = with_genes(block, names, np.tile(block.counts.sum(axis=1)[:, None], len(names)))
    matrix = read(WRITERS[container](tmp_path, filed))
    assert matrix.gene_names == block.names
    assert matrix.counts.toarray().tolist() == block.counts.tolist()
    assert matrix.report["summary_genes_left_out"] == dict.fromkeys(sorted(names), 1)
    assert matrix.report["summary_units_left_out"] == {}


@pytest.mark.parametrize("name", ["Total", "sum", "__no_feature", "N_unmapped", "no_feature"])
@every_container
def test_summaries_among_the_units_are_left_out_and_named(container: str, name: str, tmp_path: Path) -> None:
    block = larger()
    filed = replace(
        block,
        units=[*block.units[:3], name, *block.units[3:]],
        counts=np.insert(block.counts, 3, block.counts.sum(axis=0), axis=0),
    )
    matrix = read(WRITERS[container](tmp_path, filed))
    assert matrix.unit_names == block.units
    assert matrix.counts.toarray().tolist() == block.counts.tolist()
    assert matrix.report["summary_units_left_out"] == {name: 1}


@pytest.mark.parametrize("along", ["genes", "units", "both"])
@every_container
def test_a_sum_by_any_other_name_is_found_by_what_it_is(container: str, along: str, tmp_path: Path) -> None:
    block = larger()
    filed = with_genes(block, ["Gesamt"], block.counts.sum(axis=1)) if along in ("genes", "both") else block
    if along in ("units", "both"):
        filed = replace(
            filed,
            units=[*filed.units, "Summe aller"],
            counts=np.concatenate([filed.counts, filed.counts.sum(axis=0, keepdims=True)]),
        )
    matrix = read(WRITERS[container](tmp_path, filed))
    assert (matrix.gene_names, matrix.unit_names) == (block.names, block.units)
    assert matrix.counts.toarray().tolist() == block.counts.tolist()
    assert matrix.report["summary_genes_left_out"] == ({"Gesamt": 1} if along != "units" else {})
    assert matrix.report["summary_units_left_out"] == ({"Summe aller": 1} if along != "genes" else {})


@pytest.mark.parametrize("value", [0.5, -1.0, float(LARGEST_COUNT * 2)])
@pytest.mark.parametrize("container", ["h5ad", "h5ad dense", "layout 3", "table", "triplet"])
def test_a_summary_may_hold_what_is_no_count(container: str, value: float, tmp_path: Path) -> None:
    block = larger()
    filed = with_genes(replace(block, counts=block.counts.astype(float)), ["Total"], np.full(14, value))
    matrix = read(WRITERS[container](tmp_path, filed))
    assert matrix.counts.toarray().tolist() == block.counts.tolist()


REAL_GENES = ["SUMO1", "MAX", "TOTAL1", "SUMF1", "AMBP", "NOFA", "N", "Nono", "ISUM", "SUM3", "UNMAP1", "TCEAL"]


@every_container
def test_real_genes_are_never_taken_for_summaries(container: str, tmp_path: Path) -> None:
    block = replace(larger(), names=REAL_GENES)
    assert read(WRITERS[container](tmp_path, block)).gene_names == REAL_GENES


@pytest.mark.parametrize("container", ["h5ad", "layout 3", "layout 2", "triplet"])
def test_a_gene_with_an_ensembl_id_is_a_gene_whatever_its_name(container: str, tmp_path: Path) -> None:
    block = larger()
    names = ["Total", "ambiguous", *block.names[2:]]
    assert read(WRITERS[container](tmp_path, replace(block, names=names))).gene_names == names


def test_a_gene_that_has_half_of_the_counts_in_a_few_spots_only_is_a_gene() -> None:
    counts = csr_matrix(np.vstack([np.eye(12), np.zeros((1, 12))]))
    counts[12, 0] = 11
    units = [f"{'ACGT' * 3}{a}{b}CC-1" for a in "ACGT" for b in "ACGT"][:13]
    judged = features.judge("a", csr_matrix(counts), units, [f"G{i}" for i in range(12)])
    assert judged.is_whole


TYPES = {
    "biotypes": ["protein_coding", "lncRNA", "snoRNA", "processed_pseudogene", "IG_V_gene", "TEC"] * 2,
    "after an outer join": ["Gene Expression", "nan", "", "Gene Expression"] * 3,
    "both": ["Gene Expression", "protein_coding", "", "lncRNA", "NaN", "misc_RNA"] * 2,
    "blank": [""] * 12,
    "small letters": ["gene_expression"] * 12,
    "words of its own": ["housekeeping", "marker", "other"] * 4,
}
OTHERS = ["Antibody Capture", "Negative Control Probe", "CRISPR Guide Capture", "Protein Expression", "Hashtag"]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("container", ["h5ad", "h5ad dense", "layout 3", "triplet"])
def test_genes_are_genes_by_one_rule_in_every_container(container: str, kind: str, tmp_path: Path) -> None:
    block = replace(larger(), types=TYPES[kind])
    matrix = read(WRITERS[container](tmp_path, block))
    assert matrix.gene_names == block.names
    assert matrix.report["features_left_out"] == {}
    filed = with_genes(block, OTHERS, np.full((14, len(OTHERS)), 0.5))  # antibodies may hold what are no counts
    filed = replace(filed, types=[block.types[0], *OTHERS, *block.types[1:]])
    matrix = read(WRITERS[container](tmp_path, filed))
    assert matrix.gene_names == block.names
    assert matrix.counts.toarray().tolist() == block.counts.tolist()
    assert matrix.report["features_left_out"] == dict.fromkeys(sorted(OTHERS), 1)


def test_beside_gene_expression_a_word_that_is_no_biotype_is_something_else() -> None:
    assert features.are_genes(["Gene Expression", "Weather"]).tolist() == [True, False]
    assert features.are_genes(["Weather", "lncRNA"]).tolist() == [True, True]


def test_missing_values_of_a_joined_h5ad_are_no_names(tmp_path: Path) -> None:
    block = larger()
    one = anndata.read_h5ad(write_h5ad(tmp_path / "one.h5ad", block))
    other = anndata.AnnData(one.X.copy(), obs=one.obs.set_axis([f"{name[:-1]}2" for name in one.obs_names]))
    other.var_names = [*block.names[:-1], "OTHER"]
    joined = anndata.concat([one, other], join="outer", merge="first")
    joined.var = one.var.reindex(joined.var_names)
    assert joined.var.isna().to_numpy().any()
    joined.write_h5ad(tmp_path / "a.h5ad")
    matrix = read_matrix(raw(tmp_path / "a.h5ad"))
    assert sorted(matrix.gene_names) == sorted([*block.names, "OTHER"])
    assert dict(zip(matrix.gene_names, matrix.gene_ids, strict=True))["OTHER"] == ""
    assert "nan" not in {*matrix.genomes, *matrix.gene_ids}


@every_container
def test_genes_that_are_called_by_numbers_are_refused(container: str, tmp_path: Path) -> None:
    block = larger()
    numbers = [str(i) for i in range(12)]
    with pytest.raises(Refusal, match=r"called by numbers \('0', '1', '2'\).*header.*Entrez") as refusal:
        read(WRITERS[container](tmp_path, replace(block, names=numbers, ids=numbers)))
    assert refusal.value.measured == 1.0


def test_a_table_that_has_lost_its_header_is_refused(tmp_path: Path) -> None:
    for turned in (False, True):
        path = write_table(tmp_path / "a.csv", larger(), by_unit=not turned)
        path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
        with pytest.raises(Refusal, match="header"):
            read_matrix(raw(path))


def test_symbols_or_ids_stand_in_for_the_numbers_of_an_index(tmp_path: Path) -> None:
    block = larger()
    adata = anndata.read_h5ad(write_h5ad(tmp_path / "a.h5ad", block))
    adata.var = pd.DataFrame({"gene_name": block.names, "gene_id": block.ids}, index=list(map(str, range(12))))
    adata.write_h5ad(tmp_path / "a.h5ad")
    matrix = read_matrix(raw(tmp_path / "a.h5ad"))
    assert (matrix.gene_names, matrix.gene_ids) == (block.names, block.ids)
    adata.var = adata.var.drop(columns="gene_name")
    adata.write_h5ad(tmp_path / "a.h5ad")
    assert read_matrix(raw(tmp_path / "a.h5ad")).gene_names == block.ids


@pytest.mark.parametrize("container", ["h5ad", "layout 3", "triplet"])
def test_rows_and_columns_exchanged_are_refused(container: str, tmp_path: Path) -> None:
    block = larger(genes=14)
    turned = replace(block, units=block.names, names=block.units, ids=block.units, counts=block.counts.T)
    with pytest.raises(Refusal, match=r"rows and columns are exchanged.*transpose"):
        read(WRITERS[container](tmp_path, turned))


@pytest.mark.parametrize("first", [0, 1])
@every_container
def test_a_column_of_row_numbers_is_refused(container: str, first: int, tmp_path: Path) -> None:
    block = with_genes(larger(), ["Unnamed: 0"], np.arange(first, 14 + first))
    with pytest.raises(Refusal, match=rf"'Unnamed: 0' are {first}, {first + 1}, {first + 2} .*remove it"):
        read(WRITERS[container](tmp_path, block))


def test_a_column_of_words_in_a_table_is_refused_with_what_to_do(tmp_path: Path) -> None:
    lines = write_table(tmp_path / "a.csv", larger()).read_text().splitlines()
    wide = [line.replace(",", ",gene_name," if not at else ",TP53,", 1) for at, line in enumerate(lines)]
    (tmp_path / "a.csv").write_text("\n".join(wide))
    with pytest.raises(Refusal, match=r"column 2 \(gene_name\): 'TP53' is not a number.*first column only: remove"):
        read_matrix(raw(tmp_path / "a.csv"))


HANDS: dict[str, Callable[[str], bytes]] = {
    "semicolons": lambda text: text.replace(",", ";").encode(),
    "blanks": lambda text: text.replace(",", " ").encode(),
    "aligned blanks": lambda text: text.replace(",", "   ").encode(),
    "a line of Excel": lambda text: ("sep=;\n" + text.replace(",", ";")).encode(),
    "comments": lambda text: ("# made by hand\n#\n" + text).encode(),
    "a header like a comment": lambda text: ("#" + text).encode(),
    "UTF-16": lambda text: text.replace(",", "\t").encode("utf-16"),
    "UTF-16, packed": lambda text: gzip.compress(text.encode("utf-16")),
    "a mark before UTF-8": lambda text: text.encode("utf-8-sig"),
    "Windows": lambda text: text.replace("\n", "\r\n").encode(),
    "blank rows": lambda text: (text.replace("\n", "\n,,,,,,,,,,,,\n\n", 2) + ",,,\n\n").encode(),
    "blank columns": lambda text: text.replace("\n", ",,,\n").encode(),
    "quotes": lambda text: "\n".join(
        ",".join(f'"{field}"' for field in line.split(",")) for line in text.splitlines()
    ).encode(),
}


@pytest.mark.parametrize("hand", HANDS)
def test_count_tables_that_went_through_a_hand_are_read(hand: str, tmp_path: Path) -> None:
    block = larger()
    path = write_table(tmp_path / "a.csv", block)
    path.write_bytes(HANDS[hand](path.read_text()))
    matrix = read_matrix(raw(path))
    assert (matrix.gene_names, matrix.unit_names) == (block.names, block.units)
    assert matrix.counts.toarray().tolist() == block.counts.tolist()


@pytest.mark.parametrize("columns", [(1,), (0, 1), (1, 0), (1, 3), (4, 1), (4, 0, 1), (4, 1, 3), (0, 1, 3)])
def test_gene_lists_are_told_by_what_is_in_them(columns: tuple[int, ...], tmp_path: Path) -> None:
    """Row numbers from 0, symbols, ids, types, in any number: the types are never the names."""
    block = replace(larger(), types=["Gene Expression"] * 11 + ["Antibody Capture"])
    files = write_mex(tmp_path, block)
    rows = list(zip(block.ids, block.names, block.types, block.genomes, map(str, range(12)), strict=True))
    path = tmp_path / "features.tsv"
    for shown in (columns, (*columns, 2)):
        path.write_text("".join("\t".join(row[i] for i in shown) + "\n" for row in rows))
        matrix = read_matrix(raw(files["counts"]), features=raw(path), barcodes=raw(files["barcodes"]))
        assert matrix.gene_names == (block.names if 2 not in shown else block.names[:11])


@pytest.mark.parametrize("container", ["layout 3", "layout 2", "triplet"])
def test_ids_stand_in_for_names_that_are_numbers(container: str, tmp_path: Path) -> None:
    block = larger()
    matrix = read(WRITERS[container](tmp_path, replace(block, names=[str(i) for i in range(12)])))
    assert matrix.gene_names == block.ids


# --- at the edges ---------------------------------------------------------------------------------


def entry(unit: int, gene: int) -> str:
    return f"unit {unit}, gene {gene}"


def test_an_entry_given_twice_is_found_wherever_it_stands() -> None:
    """Between units two equal columns are no repetition, and an empty unit at the start or end changes nothing."""
    for units, columns, starts in (
        (4, [1, 2, 2], [0, 0, 0, 1, 3]),  # the last two, behind empty units
        (3, [2, 2, 1], [0, 2, 3, 3]),  # the first two
        (3, [0, 1, 1, 1], [0, 2, 2, 4]),  # behind an equal column of another unit
    ):
        counts = csr_matrix((np.ones(len(columns), np.float32), columns, starts), shape=(units, 3))
        with pytest.raises(Refusal, match=r"given twice \(1 such entries\)"):
            canonical("a", counts, entry)
    fine = csr_matrix((np.ones(4, np.float32), [2, 2, 0, 2], [0, 0, 1, 2, 4]), shape=(4, 3))
    assert canonical("a", fine, entry).nnz == 4


def test_zeros_that_are_stored_are_dropped() -> None:
    counts = csr_matrix((np.array([1, 0, 2], np.float32), [0, 1, 2], [0, 2, 3]), shape=(2, 3))
    assert canonical("a", counts, entry).nnz == 2


def test_the_largest_count_is_one_and_the_next_is_none() -> None:
    for kind in (np.float32, np.float64, np.int64, np.uint32):
        assert find_fault(np.array([LARGEST_COUNT], dtype=kind)) is None
    assert find_fault(np.array([LARGEST_COUNT + 2.0])) is not None
    assert find_fault(np.array([LARGEST_COUNT + 1])) is not None


def test_a_fault_is_named_at_its_unit_wherever_blocks_and_units_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5, "VALUES_AT_ONCE", 2)
    for row, column in ((0, 1), (1, 0), (1, 2), (2, 0), (2, 1)):
        counts = np.arange(1, 10).reshape(3, 3)
        counts[row, column] = -7
        path = write_h5_layout_3(tmp_path / f"{row}{column}.h5", small(counts))
        with pytest.raises(Refusal, match=rf"gene 'G{column}', barcode '{'ACG'[row]}+-1' is -7"):
            read_matrix(raw(path))


def test_an_index_one_beyond_the_last_gene_is_refused(tmp_path: Path) -> None:
    path = write_h5_layout_3(tmp_path / "a.h5", small())
    change(path, "matrix/indices", np.array([1, 2, 3]))
    with pytest.raises(Refusal, match=r"at index 3 of 3"):
        read_matrix(raw(path))


def test_two_genomes_with_the_same_barcodes_in_another_order_are_joined_by_name(tmp_path: Path) -> None:
    block = replace(small(((1, 2, 3), (4, 5, 6))), genomes=["GRCh38", "GRCh38", "mm10"])
    path = write_h5_layout_2(tmp_path / "a.h5", block)
    with h5py.File(path, "r+") as file:
        file["mm10/barcodes"][...] = np.array(block.units[::-1], dtype="S")
    assert read_matrix(raw(path)).counts.toarray().tolist() == [[1, 2, 6], [4, 5, 3]]


def test_a_fault_of_a_dense_h5ad_is_named_behind_the_first_block_of_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(h5ad, "ROWS_AT_ONCE", 1)
    with pytest.raises(Refusal, match=r"gene 'G2', barcode 'C+-1' is -7"):
        read(WRITERS["h5ad dense"](tmp_path, small(((1, 3, 1), (2, 0, -7)))))


@pytest.mark.parametrize("row", ["AAACAACGAATAGTTC-1,1,,2", "AAACAACGAATAGTTC-1,1,2,", "AAACAACGAATAGTTC-1,,1,2"])
def test_an_empty_cell_of_a_table_is_refused_by_its_column(row: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f",G1,G2,G3\nTTTCAACGAATAGTTC-1,1,2,3\n{row}\n")
    column = row.split(",").index("")
    with pytest.raises(
        Refusal, match=rf"row 3 \(AAACAACGAATAGTTC-1\), column {column + 1} \(G{column}\): the cell is empty"
    ):
        read_matrix(raw(tmp_path / "a.csv"))


@pytest.mark.parametrize("order", ["rising", "falling", "mixed"])
def test_the_order_of_a_units_genes_changes_nothing(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "AT_ONCE", 7)  # rows of 0 to 12 entries over many blocks
    rng = np.random.default_rng(3)
    dense = rng.poisson(0.7, (40, 12)) * rng.integers(0, 2, (40, 1))
    filed = csr_matrix(dense.astype(np.float32))
    for begin, end in pairwise(filed.indptr):
        turned = slice(begin, end)
        by = {"rising": np.arange(end - begin), "falling": np.arange(end - begin)[::-1]}.get(order)
        by = rng.permutation(end - begin) if by is None else by
        filed.indices[turned], filed.data[turned] = filed.indices[turned][by], filed.data[turned][by]
    found = canonical("a", csr_matrix((filed.data, filed.indices, filed.indptr), shape=filed.shape), str)
    assert (found.toarray() == dense).all()
    assert all((np.diff(found.indices[begin:end]) > 0).all() for begin, end in pairwise(found.indptr))
    np.testing.assert_array_equal(matrix.row_sums(found), dense.sum(axis=1))
    np.testing.assert_array_equal(matrix.column_sums(found), dense.sum(axis=0))


def test_sums_are_exact_beyond_what_float32_holds() -> None:
    counts = csr_matrix(np.array([[LARGEST_COUNT, 1, 1], [LARGEST_COUNT, 0, 3]], dtype=np.float32))
    assert matrix.row_sums(counts).tolist() == [LARGEST_COUNT + 2, LARGEST_COUNT + 3]
    assert matrix.column_sums(counts).tolist() == [2 * LARGEST_COUNT, 1, 4]


ENTRY_LINES = [f"{1 + number % 5} {1 + number // 5} {number % 3 + 1}" for number in range(25)]


@pytest.mark.parametrize("odd", ["{}\t{}\t2", " {} {} 2", "{} {}  2", "{} {} 2.0", "{} {} +2", "{} {} 2\r"])
@pytest.mark.parametrize("at", [0, 13, 24])
def test_a_line_of_other_form_in_market_exchange_is_read_as_well(
    odd: str, at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mex, "BYTES_AT_ONCE", 20)
    gene, barcode, _ = map(int, ENTRY_LINES[at].split())
    lines = [*ENTRY_LINES[:at], odd.format(gene, barcode), *ENTRY_LINES[at + 1 :]]
    files = with_entries(tmp_path, lines)
    expected = np.array([int(line.split()[2]) for line in ENTRY_LINES]).reshape(5, 5)
    expected[barcode - 1, gene - 1] = 2
    assert (read(files).counts.toarray() == expected).all()


def with_entries(folder: Path, lines: Sequence[str]) -> dict[str, RawFile]:
    files = write_triplet(folder, wide(), packed=False)
    head = "%%MatrixMarket matrix coordinate integer general\n5 5 25\n"
    files["counts"].path.write_bytes((head + "".join(f"{line}\n" for line in lines)).encode())
    return files


def wide() -> Block:
    block = small(np.ones((4, 5), dtype=int))
    return replace(block, units=[*block.units, "ACGTACGTACGTACGT-1"], counts=np.ones((5, 5), dtype=int))


@pytest.mark.parametrize(
    "line", ["1 1", "1 1 1 1", "1 1\n1 1 1 1", "", "1 1 x", "0 1 1", "6 1 1", "1 1 99999999999999999999"]
)
def test_a_damaged_line_in_market_exchange_is_refused(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mex, "BYTES_AT_ONCE", 50)
    with pytest.raises(Refusal, match=r"matrix\.mtx"):
        read(with_entries(tmp_path, [*ENTRY_LINES[:12], line, *ENTRY_LINES[13:]]))
