"""Simulated Visium samples: one small known truth in every layout deposits use, and a deposit with a picture.

`VARIANTS` names the layouts a reader has to read alike; each writes the same truth, drawn without any tissue. The
deposit of `write_visium_deposit` has tissue, picture and counts that go together, laid out as a GEO sample is. Arrays
have the vendor's geometry; barcodes are drawn, not the vendor's.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy.io import mmwrite
from scipy.sparse import coo_matrix, csr_matrix
from scipy.spatial import cKDTree

from spotweave.io import atomic
from spotweave.simulate import tissue as tissues
from spotweave.simulate.expression import draw_counts, expected_counts, panel
from spotweave.simulate.frames import Look, draw_dots
from spotweave.simulate.stain import Staining, paint
from spotweave.simulate.tissue import DOMAINS, Floats
from spotweave.visium.array import capture_area, dots_of

# Rows, half-columns, um between half-columns and between rows, um of the software's spot.
ARRAYS = {"6.5 mm": (78, 128, 50.0, 87.0, 65.0), "11 mm": (128, 224, 50.0, 86.5, 60.0)}
SPOT_DIAMETER_UM = 55.0
FIDUCIAL_DIAMETER_UM = 105.0
GENES = 60
HEADER = ("barcode", "in_tissue", "array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres")
ANTIBODIES = ("CD3.1", "CD19.1", "EPCAM.1")
JPEG_QUALITY = 90
LISTS = "barcode_lists"  # the folder in which variants without positions leave their barcode list
LIST_OF = {"6.5 mm": "visium-v1", "11 mm": "visium-v5"}
FADE_PX = 120  # over which painted glass fades into plain glass


@dataclass(frozen=True)
class Truth:
    """A sample: what a reader must find in any files written of it.

    `barcodes` 16 nucleotides, one per place; `array` (n, 2) int64 row, column; `pixels` (n, 2) int64 y, x of the
    full-resolution picture; `in_tissue` (n,) int64; `counts` (n, genes) int64; `names`, `ids` and `genomes` of genes.
    """

    capture_area: str
    barcodes: list[str]
    array: NDArray[np.int64]
    pixels: NDArray[np.int64]
    in_tissue: NDArray[np.int64]
    counts: NDArray[np.int64]
    names: list[str]
    ids: list[str]
    genomes: list[str]
    pixel_size_um: float

    @property
    def tissue(self) -> NDArray[np.intp]:
        """Indices of the spots in tissue."""
        return np.flatnonzero(self.in_tissue)

    @property
    def counted(self) -> NDArray[np.intp]:
        """Indices of the spots with any count."""
        return np.flatnonzero(self.counts.sum(axis=1))

    @property
    def every(self) -> NDArray[np.intp]:
        """Indices of all spots."""
        return np.arange(len(self.barcodes))


def draw_truth(
    seed: int = 0, *, capture_area: str = "6.5 mm", two_species: bool = False, whole_array: bool = True
) -> Truth:
    """Draw a sample with a few hundred spots in tissue, sparse counts beside it, and gene names that repeat.

    Without the `whole_array` it has the places around the tissue only, for speed.
    """
    rng = np.random.default_rng([20220301, seed])
    array = array_places(capture_area)
    pixel_size_um = 0.5
    rows, columns, step_x, step_y, _ = ARRAYS[capture_area]
    from_centre = np.hypot(array[:, 0] - 0.55 * rows, (array[:, 1] - 0.4 * columns) * step_x / step_y)
    if not whole_array:
        array, from_centre = array[from_centre < 20], from_centre[from_centre < 20]
    turn = np.deg2rad(0.4)
    um = array[:, ::-1] * (step_x, step_y)
    xy = um @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) / pixel_size_um + (1480, 1510)
    in_tissue = (from_centre < 13).astype(np.int64)
    counts = rng.negative_binomial(0.4, 0.1, (len(array), GENES))
    counts[in_tissue == 0] = rng.binomial(1, 0.004, (int((in_tissue == 0).sum()), GENES))
    counts[:, :2] = 0
    counts[np.flatnonzero(in_tissue)[0], 2] = 1 << 24  # the largest whole number that float32 is sure to hold
    names = [f"GENE{i}" for i in range(GENES - 4)] + ["HLA-A", "TBCE", "TBCE", "AC0001.1"]
    ids = [f"ENSG{i:011d}" for i in range(GENES)]
    genomes = ["GRCh38"] * GENES
    if two_species:
        names = names[: GENES // 2] + [name.capitalize() for name in names[: GENES // 2]]
        ids = ids[: GENES // 2] + [f"ENSMUSG{i:011d}" for i in range(GENES // 2)]
        genomes = ["GRCh38"] * (GENES // 2) + ["mm10"] * (GENES // 2)
    return Truth(
        capture_area,
        _draw_barcodes(rng, len(array)),
        array,
        np.rint(xy[:, ::-1]).astype(np.int64),
        in_tissue,
        counts.astype(np.int64),
        names,
        ids,
        genomes,
        pixel_size_um,
    )


def array_places(capture_area: str) -> NDArray[np.int64]:
    """Row and column (n, 2) of every spot of an array, row by row."""
    rows, columns = ARRAYS[capture_area][:2]
    return np.array([(row, col) for row in range(rows) for col in range(row % 2, columns, 2)], dtype=np.int64)


def _draw_barcodes(rng: np.random.Generator, number: int) -> list[str]:
    drawn: dict[str, None] = {}
    while len(drawn) < number:
        letters = rng.integers(0, 4, (number, 16))
        drawn.update((("".join("ACGT"[letter] for letter in row)), None) for row in letters)
    return list(drawn)[:number]


# --- files of a truth -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """A count matrix as filed: `units` x genes."""

    units: list[str]
    counts: NDArray[np.int64]
    names: list[str]
    ids: list[str]
    types: list[str]
    genomes: list[str]


Written = dict[str, Path]


def block_of(truth: Truth, spots: NDArray[np.intp], before: str = "", after: str = "-1") -> Block:
    """Counts of some spots, under their barcodes with something before and after."""
    units = [f"{before}{truth.barcodes[spot]}{after}" for spot in spots]
    types = ["Gene Expression"] * len(truth.names)
    return Block(units, truth.counts[spots], truth.names, truth.ids, types, truth.genomes)


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


def _put(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def _packed(path: Path) -> Path:
    """The same file packed once more, as GEO does."""
    packed = _put(path.with_name(path.name + ".gz"), path.read_bytes())
    path.unlink()
    return packed


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
        "counts": _put(folder / f"{prefix}matrix.mtx{suffix}", matrix.getvalue()),
        "features": _put(folder / f"{prefix}{gene_list}{suffix}", genes.encode()),
        "barcodes": _put(folder / f"{prefix}barcodes.tsv{suffix}", "".join(f"{u}\n" for u in block.units).encode()),
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
    return _put(path, text.getvalue().encode())


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


def position_rows(truth: Truth, spots: NDArray[np.intp], before: str = "", after: str = "-1") -> list[list[str]]:
    """Rows of tissue_positions for some spots."""
    numbers = np.column_stack([truth.in_tissue, truth.array, truth.pixels])[spots].tolist()
    return [
        [f"{before}{truth.barcodes[spot]}{after}", *map(str, row)]
        for spot, row in zip(spots.tolist(), numbers, strict=True)
    ]


def write_positions(
    path: Path, rows: Sequence[Sequence[str]], header: Sequence[str] | None = None, mark: str = ","
) -> Path:
    """A table of positions, with or without a header."""
    lines = ([header] if header is not None else []) + list(rows)
    return _put(path, "".join(mark.join(line) + "\n" for line in lines).encode())


def write_scalefactors(path: Path, truth: Truth, **others: float) -> Path:
    """`scalefactors_json.json`; the spot's diameter is the software's 65 or 60 um, not the 55 um of the print."""
    content = {
        "spot_diameter_fullres": ARRAYS[truth.capture_area][4] / truth.pixel_size_um,
        "tissue_hires_scalef": 0.15,
        "fiducial_diameter_fullres": FIDUCIAL_DIAMETER_UM / truth.pixel_size_um,
        "tissue_lowres_scalef": 0.045,
        **others,
    }
    return _put(path, json.dumps(content).encode())


def write_loupe(
    path: Path, truth: Truth, *, transform: NDArray[np.float64] | None = None, serial_number: str = "V10A13-001"
) -> Path:
    """A Loupe alignment JSON; with `transform` (3, 3), H&E px to px of the CytAssist picture, it is of CytAssist."""
    xy = truth.pixels[:, ::-1].astype(np.float64)
    if transform is not None:
        mapped = np.column_stack([xy, np.ones(len(xy))]) @ transform.T
        xy = mapped[:, :2] / mapped[:, 2:]
    oligo: list[dict[str, Any]] = []
    for spot, ((row, col), (x, y)) in enumerate(zip(truth.array.tolist(), xy.tolist(), strict=True)):
        entry = {"x": 50.0 * col, "y": 87.0 * row, "row": row, "col": col, "dia": 55.0, "imageX": x, "imageY": y}
        oligo.append(entry | ({"tissue": True} if truth.in_tissue[spot] else {}))
    content: dict[str, Any] = {"oligo": oligo, "fiducial": [], "serialNumber": serial_number, "area": "A1"}
    if transform is not None:
        content["cytAssistInfo"] = {"transformImages": transform.tolist()}
    return _put(path, json.dumps(content).encode())


def write_barcode_list(folder: Path, truth: Truth, name: str | None = None) -> Path:
    """A list as Space Ranger has them: barcode, column, row, from 1, in the order of the barcodes, without header."""
    folder.mkdir(exist_ok=True)
    rows = zip(truth.barcodes, truth.array.tolist(), strict=True)
    lines = sorted(f"{barcode}\t{col + 1}\t{row + 1}\n" for barcode, (row, col) in rows)
    return _put(folder / f"{name or LIST_OF[truth.capture_area]}_coordinates.txt", "".join(lines).encode())


# --- layouts --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant:
    """A layout, and what of the truth is in it.

    `write(folder, truth)` returns the files by role. `counted` and `placed` name the spots with counts and with
    positions (`tissue`, `every`, `counted` of `Truth`), `ids` and `genome` whether genes have them, `member` the
    sample to ask for. `positions_from` is `positions file`, or `loupe` or `barcode list` for those without one: they
    leave a barcode list in the folder `LISTS`, which holds a whole array only. `in_tissue` names the spots that the
    files, not the truth, have in tissue, `in_tissue_known` whether a reader can tell.
    """

    description: str
    write: Callable[[Path, Truth], Written]
    technology: str = "Visium"
    counted: str = "tissue"
    placed: str = "every"
    ids: bool = True
    genome: bool = True
    member: str | None = None
    capture_area: str = "6.5 mm"
    two_species: bool = False
    left_out: dict[str, int] = field(default_factory=dict)
    positions_from: str = "positions file"
    in_tissue: str = "tissue"
    in_tissue_known: bool = True

    def truth(self, seed: int = 0, *, whole_array: bool = True) -> Truth:
        """A truth that suits the layout."""
        whole_array = whole_array or self.positions_from != "positions file"
        return draw_truth(seed, capture_area=self.capture_area, two_species=self.two_species, whole_array=whole_array)


VARIANTS: dict[str, Variant] = {}


Write = Callable[[Path, Truth], Written]


def _variant(description: str, **what: Any) -> Callable[[Write], None]:
    def register(write: Write) -> None:
        VARIANTS[write.__name__.strip("_")] = Variant(description, write, **what)

    return register


def _without_positions(description: str, **what: Any) -> Callable[[Write], None]:
    """A layout without a positions file, on both slides."""

    def register(write: Write) -> None:
        name = write.__name__.strip("_")
        VARIANTS[name] = Variant(description, write, **what)
        VARIANTS[f"{name}_11_mm"] = Variant(f"{description}, 11 mm", write, capture_area="11 mm", **what)

    return register


def _filtered(folder: Path, truth: Truth) -> Path:
    return write_h5_layout_3(folder / "filtered_feature_bc_matrix.h5", block_of(truth, truth.tissue))


def _list(folder: Path, truth: Truth) -> Path:
    return write_positions(folder / "tissue_positions_list.csv", position_rows(truth, truth.every))


@_variant("Space Ranger 1: filtered HDF5, positions without header, scale factors")
def _space_ranger_1(folder: Path, truth: Truth) -> Written:
    scalefactors = write_scalefactors(folder / "scalefactors_json.json", truth)
    return {"counts": _filtered(folder, truth), "spots": _list(folder, truth), "scalefactors": scalefactors}


@_variant("Space Ranger 2 and later: positions with header")
def _space_ranger_2(folder: Path, truth: Truth) -> Written:
    spots = write_positions(folder / "tissue_positions.csv", position_rows(truth, truth.every), HEADER)
    return {"counts": _filtered(folder, truth), "spots": spots}


@_variant("tissue_positions_list.csv that has a header all the same")
def _list_with_header(folder: Path, truth: Truth) -> Written:
    spots = write_positions(folder / "tissue_positions_list.csv", position_rows(truth, truth.every), HEADER)
    return {"counts": _filtered(folder, truth), "spots": spots}


@_variant("positions as parquet")
def _positions_parquet(folder: Path, truth: Truth) -> Written:
    frame = pd.DataFrame(position_rows(truth, truth.every), columns=HEADER)
    frame[list(HEADER[1:4])] = frame[list(HEADER[1:4])].astype(np.int32)
    frame[list(HEADER[4:])] = frame[list(HEADER[4:])].astype(np.float64)
    frame.to_parquet(folder / "tissue_positions.parquet", index=False)
    return {"counts": _filtered(folder, truth), "spots": folder / "tissue_positions.parquet"}


@_variant("positions called .txt, without header")
def _positions_txt(folder: Path, truth: Truth) -> Written:
    spots = write_positions(folder / "tissue_positions_list.txt", position_rows(truth, truth.every))
    return {"counts": _filtered(folder, truth), "spots": spots}


@_variant("positions separated by tabs")
def _positions_tabs(folder: Path, truth: Truth) -> Written:
    spots = write_positions(folder / "positions.tsv", position_rows(truth, truth.every), HEADER, "\t")
    return {"counts": _filtered(folder, truth), "spots": spots}


@_variant("positions separated by semicolons, decimals with commas, as a spreadsheet saves them")
def _positions_semicolons(folder: Path, truth: Truth) -> Written:
    rows = [[*row[:4], f"{row[4]},0", f"{row[5]},0"] for row in position_rows(truth, truth.every)]
    return {"counts": _filtered(folder, truth), "spots": write_positions(folder / "p.csv", rows, HEADER, ";")}


@_variant("positions whose whole numbers are written as floats")
def _positions_floats(folder: Path, truth: Truth) -> Written:
    rows = [[row[0], *(f"{value}.0" for value in row[1:])] for row in position_rows(truth, truth.every)]
    return {"counts": _filtered(folder, truth), "spots": write_positions(folder / "tissue_positions.csv", rows, HEADER)}


@_variant("positions with header and columns in another order, one more among them")
def _positions_other_order(folder: Path, truth: Truth) -> Written:
    order = (4, 0, 3, 5, 1, 2)
    header = [*(HEADER[i] for i in order), "cluster"]
    rows = [[*(row[i] for i in order), "7"] for row in position_rows(truth, truth.every)]
    return {"counts": _filtered(folder, truth), "spots": write_positions(folder / "tissue_positions.csv", rows, header)}


@_variant("positions written by R: quotes, row numbers, a header")
def _positions_by_r(folder: Path, truth: Truth) -> Written:
    rows = [[f'"{i}"', f'"{row[0]}"', *row[1:]] for i, row in enumerate(position_rows(truth, truth.every), start=1)]
    spots = write_positions(folder / "positions.csv", rows, ['""', *(f'"{name}"' for name in HEADER)])
    return {"counts": _filtered(folder, truth), "spots": spots}


@_variant("positions read by R without header and written with one: V1 to V6, row numbers")
def _positions_by_r_headless(folder: Path, truth: Truth) -> Written:
    rows = [[f'"{i}"', f'"{row[0]}"', *row[1:]] for i, row in enumerate(position_rows(truth, truth.every), start=1)]
    header = ['""', *(f'"V{i}"' for i in range(1, 7))]
    return {"counts": _filtered(folder, truth), "spots": write_positions(folder / "positions.csv", rows, header)}


@_variant("coordinates out of a Seurat object: barcodes as row names, tissue, row, col, imagerow, imagecol")
def _positions_of_seurat(folder: Path, truth: Truth) -> Written:
    header = ['"tissue"', '"row"', '"col"', '"imagerow"', '"imagecol"']
    rows = [[f'"{row[0]}"', *row[1:]] for row in position_rows(truth, truth.every)]
    return {"counts": _filtered(folder, truth), "spots": write_positions(folder / "coordinates.csv", rows, header)}


@_variant("positions of the spots in tissue only", placed="tissue")
def _positions_in_tissue(folder: Path, truth: Truth) -> Written:
    spots = write_positions(folder / "tissue_positions_list.csv", position_rows(truth, truth.tissue))
    return {"counts": _filtered(folder, truth), "spots": spots}


@_variant("raw HDF5 with every barcode of the array", counted="every")
def _raw_h5(folder: Path, truth: Truth) -> Written:
    counts = write_h5_layout_3(folder / "raw_feature_bc_matrix.h5", block_of(truth, truth.every))
    return {"counts": counts, "spots": _list(folder, truth)}


@_variant("raw HDF5 of Space Ranger 1.3 and later: no barcodes without reads", counted="counted")
def _raw_h5_counted(folder: Path, truth: Truth) -> Written:
    counts = write_h5_layout_3(folder / "raw_feature_bc_matrix.h5", block_of(truth, truth.counted))
    return {"counts": counts, "spots": _list(folder, truth)}


@_variant("HDF5 in the layout of Cell Ranger 2")
def _h5_layout_2(folder: Path, truth: Truth) -> Written:
    counts = write_h5_layout_2(folder / "filtered_gene_bc_matrices_h5.h5", block_of(truth, truth.tissue))
    return {"counts": counts, "spots": _list(folder, truth)}


@_variant("GEO: prefixed, HDF5 and positions packed with gzip once more")
def _geo_packed(folder: Path, truth: Truth) -> Written:
    counts = write_h5_layout_3(folder / "GSM1_A_filtered_feature_bc_matrix.h5", block_of(truth, truth.tissue))
    rows = position_rows(truth, truth.every)
    spots = write_positions(folder / "GSM1_A_tissue_positions_list.csv.gz", rows)
    return {"counts": _packed(counts), "spots": spots}


@_variant("Market Exchange of Space Ranger: features.tsv.gz with three columns", genome=False)
def _mex(folder: Path, truth: Truth) -> Written:
    return {**write_mex(folder, block_of(truth, truth.tissue)), "spots": _list(folder, truth)}


@_variant("Market Exchange of Cell Ranger 2: genes.tsv with two columns, unpacked", genome=False)
def _mex_2(folder: Path, truth: Truth) -> Written:
    block = block_of(truth, truth.tissue)
    return {**write_mex(folder, block, columns=2, packed=False), "spots": _list(folder, truth)}


@_variant("Market Exchange with GEO's prefixes", genome=False)
def _mex_prefixed(folder: Path, truth: Truth) -> Written:
    return {**write_mex(folder, block_of(truth, truth.tissue), prefix="GSM1_A_"), "spots": _list(folder, truth)}


@_variant("Market Exchange the other way round: barcodes x genes", genome=False)
def _mex_turned(folder: Path, truth: Truth) -> Written:
    return {**write_mex(folder, block_of(truth, truth.tissue), turned=True), "spots": _list(folder, truth)}


@_variant("Market Exchange whose lists R wrote: quotes, a header, row numbers", genome=False)
def _mex_by_r(folder: Path, truth: Truth) -> Written:
    block = block_of(truth, truth.tissue)
    files = write_mex(folder, block, packed=False)
    barcodes = '"","x"\n' + "".join(f'"{i}","{unit}"\n' for i, unit in enumerate(block.units, start=1))
    genes = '"","V1","V2"\n' + "".join(
        f'"{i}","{gene_id}","{name}"\n' for i, (gene_id, name) in enumerate(zip(block.ids, block.names, strict=True), 1)
    )
    files["barcodes"] = _put(folder / "barcodes.csv", barcodes.encode())
    files["features"] = _put(folder / "genes.csv", genes.encode())
    return {**files, "spots": _list(folder, truth)}


@_variant("a table, genes x spots, commas", ids=False, genome=False)
def _csv_genes_by_spots(folder: Path, truth: Truth) -> Written:
    counts = write_table(folder / "counts.csv", block_of(truth, truth.tissue))
    return {"counts": counts, "spots": _list(folder, truth)}


@_variant("a table, spots x genes, tabs, packed", ids=False, genome=False)
def _tsv_spots_by_genes(folder: Path, truth: Truth) -> Written:
    counts = write_table(folder / "counts.tsv.gz", block_of(truth, truth.tissue), mark="\t", by_unit=True)
    return {"counts": counts, "spots": _list(folder, truth)}


@_variant("a table written by R: quotes, dots for dashes, no name over the row names", ids=False, genome=False)
def _csv_by_r(folder: Path, truth: Truth) -> Written:
    counts = write_table(folder / "counts.csv", block_of(truth, truth.tissue, after=".1"), corner=None, quoted=True)
    return {"counts": counts, "spots": _list(folder, truth)}


@_variant("a table whose counts are written as 3.0", ids=False, genome=False)
def _csv_decimals(folder: Path, truth: Truth) -> Written:
    counts = write_table(folder / "counts.csv", block_of(truth, truth.tissue), cell=lambda count: f"{count}.0")
    return {"counts": counts, "spots": _list(folder, truth)}


@_variant("barcodes without -1 in the counts")
def _no_suffix(folder: Path, truth: Truth) -> Written:
    counts = write_h5_layout_3(folder / "counts.h5", block_of(truth, truth.tissue, after=""))
    return {"counts": counts, "spots": _list(folder, truth)}


@_variant("barcodes without -1 in the positions")
def _positions_no_suffix(folder: Path, truth: Truth) -> Written:
    spots = write_positions(folder / "tissue_positions_list.csv", position_rows(truth, truth.every, after=""))
    return {"counts": _filtered(folder, truth), "spots": spots}


@_variant("barcodes that end with _1")
def _underscore_suffix(folder: Path, truth: Truth) -> Written:
    counts = write_h5_layout_3(folder / "counts.h5", block_of(truth, truth.tissue, after="_1"))
    return {"counts": counts, "spots": _list(folder, truth)}


@_variant("barcodes with the name of an assay behind them")
def _assay_suffix(folder: Path, truth: Truth) -> Written:
    counts = write_h5_layout_3(folder / "counts.h5", block_of(truth, truth.tissue, after="-1_Assay1"))
    return {"counts": counts, "spots": _list(folder, truth)}


@_variant("barcodes with the sample before them, in one sample's own matrix")
def _sample_prefix(folder: Path, truth: Truth) -> Written:
    counts = write_h5_layout_3(folder / "counts.h5", block_of(truth, truth.tissue, before="P12_A1_"))
    return {"counts": counts, "spots": _list(folder, truth)}


def _three_samples(truth: Truth, marks: Sequence[tuple[str, str]]) -> Block:
    """The truth between two other samples with the same barcodes and other counts; `marks` are before and after."""
    (first, middle, last) = marks
    other = replace(truth, counts=truth.counts[::-1] % 50 + 1)
    third = replace(truth, counts=truth.counts[:, ::-1] % 50 + 2)
    return stacked(
        block_of(other, truth.tissue[: len(truth.tissue) // 2], *first),
        block_of(truth, truth.tissue, *middle),
        block_of(third, truth.tissue[5:], *last),
    )


@_variant("a joint matrix whose samples differ in the number behind the barcode", member="-3")
def _joint_suffix(folder: Path, truth: Truth) -> Written:
    block = _three_samples(truth, (("", "-1"), ("", "-3"), ("", "-2")))
    return {"counts": write_h5_layout_3(folder / "aggr.h5", block), "spots": _list(folder, truth)}


@_variant("a joint matrix whose samples differ in a number behind -1", member="2")
def _joint_numbered(folder: Path, truth: Truth) -> Written:
    block = _three_samples(truth, (("", "-1_1"), ("", "-1_2"), ("", "-1_3")))
    return {"counts": write_h5_layout_3(folder / "merged.h5", block), "spots": _list(folder, truth)}


@_variant("a joint table whose samples are named before the barcode", member="A1", ids=False, genome=False)
def _joint_prefix(folder: Path, truth: Truth) -> Written:
    block = _three_samples(truth, (("B1_", "-1"), ("A1_", "-1"), ("C1_", "-1")))
    return {"counts": write_table(folder / "merged.csv.gz", block), "spots": _list(folder, truth)}


@_variant("joint counts and joint positions, samples named before the barcode", member="A1")
def _joint_positions(folder: Path, truth: Truth) -> Written:
    block = _three_samples(truth, (("B1_", "-1"), ("A1_", "-1"), ("C1_", "-1")))
    moved = replace(truth, pixels=truth.pixels + 100)
    rows = [*position_rows(moved, truth.every, "B1_"), *position_rows(truth, truth.every, "A1_")]
    spots = write_positions(folder / "positions.csv", [*rows, *position_rows(moved, truth.every, "C1_")], HEADER)
    return {"counts": write_h5_layout_3(folder / "merged.h5", block), "spots": spots}


@_variant("joint counts, and joint positions with the same barcodes and a column that names the sample", member="A1")
def _joint_positions_by_column(folder: Path, truth: Truth) -> Written:
    block = _three_samples(truth, (("B1_", "-1"), ("A1_", "-1"), ("C1_", "-1")))
    moved = replace(truth, pixels=truth.pixels + 100)
    rows = [[*row, "A1"] for row in position_rows(truth, truth.every)]
    rows += [[*row, "B1"] for row in position_rows(moved, truth.every)]
    spots = write_positions(folder / "positions.csv", rows, [*HEADER, "sample"])
    return {"counts": write_h5_layout_3(folder / "merged.h5", block), "spots": spots}


@_variant("an AnnData file of several samples, told by a column of obs", member="library_id=A1")
def _joint_h5ad(folder: Path, truth: Truth) -> Written:
    block = _three_samples(truth, (("", "-1-0"), ("", "-1-1"), ("", "-1-2")))
    half, whole = len(truth.tissue) // 2, len(truth.tissue)
    obs = {"library_id": ["B1"] * half + ["A1"] * whole + ["C1"] * (whole - 5)}
    return {"counts": write_h5ad(folder / "all.h5ad", block, obs=obs), "spots": _list(folder, truth)}


@_variant("AnnData with counts in X")
def _h5ad(folder: Path, truth: Truth) -> Written:
    return {"counts": write_h5ad(folder / "a.h5ad", block_of(truth, truth.tissue)), "spots": _list(folder, truth)}


@_variant("AnnData with normalised X and counts in a layer")
def _h5ad_layer(folder: Path, truth: Truth) -> Written:
    counts = write_h5ad(folder / "a.h5ad", block_of(truth, truth.tissue), place="layers")
    return {"counts": counts, "spots": _list(folder, truth)}


@_variant("AnnData with X normalised and cut to variable genes, and counts in raw")
def _h5ad_raw(folder: Path, truth: Truth) -> Written:
    counts = write_h5ad(folder / "a.h5ad", block_of(truth, truth.tissue), place="raw")
    return {"counts": counts, "spots": _list(folder, truth)}


@_variant("AnnData with a dense X, packed with gzip")
def _h5ad_dense(folder: Path, truth: Truth) -> Written:
    counts = write_h5ad(folder / "a.h5ad", block_of(truth, truth.tissue), dense=True)
    return {"counts": _packed(counts), "spots": _list(folder, truth)}


@_variant("AnnData that carries the positions itself: array places in obs, pixels in obsm['spatial']", placed="tissue")
def _h5ad_with_positions(folder: Path, truth: Truth) -> Written:
    chosen = truth.tissue
    array = truth.array[chosen]
    obs = {"in_tissue": truth.in_tissue[chosen], "array_row": array[:, 0], "array_col": array[:, 1]}
    pixels = truth.pixels[chosen][:, ::-1]
    path = write_h5ad(folder / "a.h5ad", block_of(truth, chosen), obs=obs, spatial=pixels)
    return {"counts": path, "spots": path}


@_variant("antibodies beside the genes (HDF5)", left_out={"Antibody Capture": len(ANTIBODIES)})
def _antibodies_h5(folder: Path, truth: Truth) -> Written:
    block = with_antibodies(block_of(truth, truth.tissue))
    return {"counts": write_h5_layout_3(folder / "counts.h5", block), "spots": _list(folder, truth)}


@_variant("antibodies beside the genes (Market Exchange)", genome=False, left_out={"Antibody Capture": len(ANTIBODIES)})
def _antibodies_mex(folder: Path, truth: Truth) -> Written:
    block = with_antibodies(block_of(truth, truth.tissue))
    return {**write_mex(folder, block), "spots": _list(folder, truth)}


@_variant("genes of two species (xenograft), prefixed, HDF5", two_species=True)
def _two_species_h5(folder: Path, truth: Truth) -> Written:
    block = prefixed(block_of(truth, truth.tissue))
    return {"counts": write_h5_layout_3(folder / "counts.h5", block), "spots": _list(folder, truth)}


@_variant("genes of two species, one group each, HDF5 of Cell Ranger 2", two_species=True)
def _two_species_layout_2(folder: Path, truth: Truth) -> Written:
    block = prefixed(block_of(truth, truth.tissue))
    return {"counts": write_h5_layout_2(folder / "counts.h5", block), "spots": _list(folder, truth)}


@_variant("genes of two species, prefixed, Market Exchange", two_species=True)
def _two_species_mex(folder: Path, truth: Truth) -> Written:
    return {**write_mex(folder, prefixed(block_of(truth, truth.tissue))), "spots": _list(folder, truth)}


@_variant("rows of counts and positions in another order each")
def _shuffled_rows(folder: Path, truth: Truth) -> Written:
    rng = np.random.default_rng(5)
    counts = write_h5_layout_3(folder / "counts.h5", block_of(truth, rng.permutation(truth.tissue)))
    rows = position_rows(truth, rng.permutation(truth.every))
    return {"counts": counts, "spots": write_positions(folder / "tissue_positions_list.csv", rows)}


@_variant("counts of barcodes that have no position, and of none like one")
def _barcodes_without_position(folder: Path, truth: Truth) -> Written:
    block = block_of(truth, truth.tissue)
    units = [*block.units, "A" * 16 + "-1", "C" * 16 + "-1", "unmapped"]
    block = replace(block, units=units, counts=np.concatenate([block.counts, block.counts[5:8] + 1]))
    return {"counts": write_h5_layout_3(folder / "counts.h5", block), "spots": _list(folder, truth)}


@_variant("11 mm capture area", capture_area="11 mm")
def _eleven_mm(folder: Path, truth: Truth) -> Written:
    spots = write_positions(folder / "tissue_positions.csv", position_rows(truth, truth.every), HEADER)
    scalefactors = write_scalefactors(folder / "scalefactors_json.json", truth)
    return {"counts": _filtered(folder, truth), "spots": spots, "scalefactors": scalefactors}


@_variant("CytAssist: alignment in px of the instrument's picture, its scale among the factors")
def _cytassist(folder: Path, truth: Truth) -> Written:
    turn = np.array([[0.0, -0.2, 2900.0], [0.2, 0.0, 40.0], [0.0, 0.0, 1.0]])
    return {
        "counts": _filtered(folder, truth),
        "spots": write_positions(folder / "tissue_positions.csv", position_rows(truth, truth.every), HEADER),
        "scalefactors": write_scalefactors(folder / "scalefactors_json.json", truth, regist_target_img_scalef=0.2),
        "alignment": write_loupe(folder / "alignment.json", truth, transform=turn, serial_number="V42A20-353"),
    }


SERIAL_OF = {"6.5 mm": "V10A13-001", "11 mm": "V52Y10-337"}


@_without_positions("no positions: filtered HDF5 alone", positions_from="barcode list")
def _filtered_alone(folder: Path, truth: Truth) -> Written:
    write_barcode_list(folder / LISTS, truth)
    return {"counts": _filtered(folder, truth)}


@_without_positions(
    "no positions: raw HDF5 alone, every barcode",
    counted="every",
    positions_from="barcode list",
    in_tissue="counted",
    in_tissue_known=False,
)
def _raw_alone(folder: Path, truth: Truth) -> Written:
    write_barcode_list(folder / LISTS, truth)
    return {"counts": write_h5_layout_3(folder / "raw_feature_bc_matrix.h5", block_of(truth, truth.every))}


@_without_positions(
    "no positions: raw HDF5 alone, no barcodes without reads",
    counted="counted",
    positions_from="barcode list",
    in_tissue="counted",
    in_tissue_known=False,
)
def _raw_counted_alone(folder: Path, truth: Truth) -> Written:
    write_barcode_list(folder / LISTS, truth)
    return {"counts": write_h5_layout_3(folder / "raw_feature_bc_matrix.h5", block_of(truth, truth.counted))}


@_without_positions(
    "no positions: one matrix of several samples, told by the number behind the barcode",
    member="-3",
    positions_from="barcode list",
)
def _joint_alone(folder: Path, truth: Truth) -> Written:
    write_barcode_list(folder / LISTS, truth)
    block = _three_samples(truth, (("", "-1"), ("", "-3"), ("", "-2")))
    return {"counts": write_h5_layout_3(folder / "aggr.h5", block)}


@_without_positions("no positions: raw HDF5 and Loupe alignment", counted="every", positions_from="loupe")
def _loupe_and_raw(folder: Path, truth: Truth) -> Written:
    write_barcode_list(folder / LISTS, truth)
    return {
        "counts": write_h5_layout_3(folder / "raw_feature_bc_matrix.h5", block_of(truth, truth.every)),
        "alignment": write_loupe(folder / "alignment.json", truth, serial_number=SERIAL_OF[truth.capture_area]),
    }


@_without_positions(
    "no positions: filtered Market Exchange and CytAssist's Loupe alignment", positions_from="loupe", genome=False
)
def _loupe_of_cytassist(folder: Path, truth: Truth) -> Written:
    write_barcode_list(folder / LISTS, truth)
    turn = np.array([[0.0, -0.25, 2900.0], [0.25, 0.0, 40.0], [0.0, 0.0, 1.0]])
    loupe = write_loupe(folder / "alignment.json", truth, transform=turn, serial_number=SERIAL_OF[truth.capture_area])
    return {**write_mex(folder, block_of(truth, truth.tissue)), "alignment": loupe}


@_without_positions("AnnData as the counts and no positions in it", positions_from="barcode list")
def _h5ad_alone(folder: Path, truth: Truth) -> Written:
    write_barcode_list(folder / LISTS, truth)
    path = write_h5ad(folder / "a.h5ad", block_of(truth, truth.tissue))
    return {"counts": path, "spots": path}


# --- a deposit with tissue and picture ------------------------------------------------------------


@dataclass(frozen=True)
class Deposit:
    """What `write_visium_deposit` wrote: `files` by role, and the truth they were written from."""

    files: Written
    truth: Truth
    nuclei_under_spots: NDArray[np.int64]


def write_visium_deposit(
    folder: Path,
    prefix: str,
    seed: int,
    *,
    donor: int = 0,
    pixel_size_um: float = 1.05,
    tissue_um: float = 2600.0,
    margin_um: float = 900.0,
) -> Deposit:
    """Write one simulated Visium sample as GEO would hold it.

    Parameters
    ----------
    folder, prefix
        Where, and what all names begin with, such as `GSM0000001_A_`.
    seed, donor
        Of the section, and of what the sections of a donor share; the same arguments give the same bytes.
    pixel_size_um
        um per px of the picture.
    tissue_um
        Side of the square in which the tissue grows, in the middle of the 6.5 mm array; the rest is empty glass.
    margin_um
        Glass around the array, on which the fiducial frame (of area B1) is printed.

    Returns
    -------
    Deposit
        Files `counts` (.h5.gz), `spots` (.csv.gz), `scalefactors` (.json.gz) and `image` (.jpg).
    """
    tissue_rng, paint_rng, count_rng, barcode_rng = np.random.default_rng([seed, donor, 65]).spawn(4)
    (gene_rng,) = np.random.default_rng([donor]).spawn(1)
    array = array_places("6.5 mm")
    extent_um = np.array([127 * 50.0, 77 * 87.0])
    shape = tuple(int(side) for side in np.ceil((extent_um[::-1] + 2 * margin_um) / pixel_size_um))
    spots_um = array[:, ::-1] * (50.0, 87.0) + margin_um
    corner_px = np.floor((extent_um / 2 + margin_um - tissue_um / 2) / pixel_size_um).astype(int)

    grown = tissues.grow(tissue_rng, tissue_um, tissue_um)
    fractions, nuclei = _under_spots(grown, spots_um - corner_px * pixel_size_um, tissue_um)
    counts = draw_counts(count_rng, expected_counts(count_rng, gene_rng, fractions, nuclei))
    in_tissue = (fractions[:, 1:].sum(axis=1) >= 0.5).astype(np.int64)
    names = list(panel().genes)
    truth = Truth(
        "6.5 mm",
        _draw_barcodes(barcode_rng, len(array)),
        array,
        np.rint(spots_um[:, ::-1] / pixel_size_um).astype(np.int64),
        in_tissue,
        counts.astype(np.int64),
        names,
        [f"ENSG{90000000000 + i:011d}" for i in range(len(names))],
        ["GRCh38"] * len(names),
        pixel_size_um,
    )
    folder.mkdir(parents=True, exist_ok=True)
    counts_path = write_h5_layout_3(folder / f"{prefix}filtered_feature_bc_matrix.h5", block_of(truth, truth.tissue))
    files = {
        "counts": _packed(counts_path),
        "spots": write_positions(folder / f"{prefix}tissue_positions_list.csv.gz", position_rows(truth, truth.every)),
        "scalefactors": write_scalefactors(folder / f"{prefix}scalefactors_json.json.gz", truth),
        "image": folder / f"{prefix}image.jpg",
    }
    picture = _glass_with(paint_rng, grown, (shape[0], shape[1]), (int(corner_px[0]), int(corner_px[1])), pixel_size_um)
    frame_rng = np.random.default_rng([seed, donor, 66])
    dots_px = (dots_of(capture_area("6.5 mm"), "B1") + margin_um) / pixel_size_um
    draw_dots(frame_rng, picture, dots_px, Look(letter="B1"), pixel_size_um)
    with atomic(files["image"]) as part:
        Image.fromarray(picture).save(part, "JPEG", quality=JPEG_QUALITY)
    return Deposit(files, truth, nuclei)


def _under_spots(grown: tissues.Tissue, spots_um: Floats, side_um: float) -> tuple[Floats, NDArray[np.int64]]:
    """Domain fractions (spots, 5) and number of nuclei (spots,) within each spot's disc, in the tissue's own um."""
    radius_um = SPOT_DIAMETER_UM / 2
    steps = np.arange(-radius_um + 1, radius_um, 2.0)
    dx, dy = (offset[np.hypot(*np.meshgrid(steps, steps)) < radius_um] for offset in np.meshgrid(steps, steps))
    x, y = spots_um[:, :1] + dx, spots_um[:, 1:] + dy
    outside = (x < 0) | (y < 0) | (x >= side_um) | (y >= side_um)
    codes = np.where(outside, 0, tissues.at(grown.domain, x, y))
    fractions = np.stack([(codes == code).mean(axis=1) for code in range(len(DOMAINS))], axis=1)
    centres = cKDTree(np.stack([grown.nuclei.x_um, grown.nuclei.y_um], axis=1))
    return fractions, np.asarray(centres.query_ball_point(spots_um, radius_um, return_length=True), dtype=np.int64)


def _glass_with(
    rng: np.random.Generator,
    grown: tissues.Tissue,
    shape: tuple[int, int],
    corner_px: tuple[int, int],
    pixel_size_um: float,
) -> NDArray[np.uint8]:
    """Empty glass of `shape` (rows, columns) with the painted tissue at `corner_px` (x, y), faded into it."""
    glass = (241.0, 239.0, 238.0)
    size = (int(grown.height_um / pixel_size_um), int(grown.width_um / pixel_size_um))
    no_spots = np.zeros((0, 2))
    painted = paint(rng, grown, Staining(1.0, 1.0, glass), size, pixel_size_um, no_spots, SPOT_DIAMETER_UM)
    empty = tissues.enlarge(grown.level_um, size) < -100
    edge = np.median(painted[empty], axis=0)
    noise = rng.integers(-2, 3, (*shape, 1), dtype=np.int8)
    picture = np.clip(np.rint(edge).astype(np.int16) + noise, 0, 255).astype(np.uint8)
    window = (slice(corner_px[1], corner_px[1] + size[0]), slice(corner_px[0], corner_px[0] + size[1]))
    ramp = [
        np.minimum.reduce([np.arange(side), np.arange(side)[::-1], np.full(side, FADE_PX)]) / FADE_PX for side in size
    ]
    weight = np.minimum(ramp[0][:, None], ramp[1][None, :])[..., None].astype(np.float32)
    picture[window] = np.rint(weight * painted + (1 - weight) * picture[window]).astype(np.uint8)
    return picture
