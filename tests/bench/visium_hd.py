"""Pooling a whole Visium HD area, 11 million bins of 2 um and 18,000 genes, against reading the same matrix.

The area is simulated: bins, genes and how often each is caught, not a tissue. It is written as the read and placing
stages write it. `python visium_hd.py read|pool FOLDER [GRID …]` is one measured process.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workflow"))
sys.path.insert(0, str(ROOT / "tests"))

from turns import seconds, times

SIDE = 3350  # bins of 2 um along an area of 6.5 mm and a little more
SIZE_UM = 2
GENES = 18_000
ENTRIES_PER_BIN = 14
ROWS_AT_ONCE = 50
PIXEL_UM = 0.2738
MATRIX = [[-3.6519, 0.0555, 24_617.6], [0.0555, 3.6519, 300.0], [0.0, 0.0, 1.0]]  # mirrored and turned, as real ones
REPEATS = 3


def write(folder: Path) -> int:
    """Write `expression.h5ad`, `units.parquet` and `alignment.json`; how many entries the matrix has."""
    import h5py
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq
    from anndata.io import sparse_dataset, write_elem
    from scipy import sparse

    from spotweave.geometry import apply
    from spotweave.io import write_json
    from spotweave.visium_hd.names import bin_names

    rng = np.random.default_rng(11)
    often = np.sort(rng.pareto(1.0, GENES) + 0.05)
    genes = np.repeat(np.arange(GENES, dtype=np.int32), np.ceil(often / often.sum() * 2**20).astype(int))
    row, column = (axis.ravel() for axis in np.mgrid[:SIDE, :SIDE])
    names = bin_names(SIZE_UM, row, column)
    packed = {"compression": "gzip"}
    entries = 0
    with h5py.File(folder / "expression.h5ad", "w") as file:
        for key, value in (("encoding-type", "anndata"), ("encoding-version", "0.1.0")):
            file.attrs[key] = value
        for first in range(0, SIDE, ROWS_AT_ONCE):
            bins = SIDE * min(ROWS_AT_ONCE, SIDE - first)
            caught = rng.poisson(ENTRIES_PER_BIN, bins)
            ends = np.concatenate([[0], np.cumsum(caught)])
            which = genes[rng.integers(0, len(genes), ends[-1])]
            block = sparse.csr_matrix((np.ones(ends[-1], np.float32), which, ends), shape=(bins, GENES))
            block.sum_duplicates()
            entries += block.nnz
            if first:
                sparse_dataset(file["X"]).append(block)
            else:
                write_elem(file, "X", block, dataset_kwargs=packed)
        obs = pd.DataFrame({"array_col": column, "array_row": row}, index=pd.Index(names.to_pandas(), dtype=object))
        write_elem(file, "obs", obs, dataset_kwargs=packed)
        var = pd.DataFrame({"gene_id": ""}, index=[f"GENE{number}" for number in range(GENES)])
        write_elem(file, "var", var, dataset_kwargs=packed)
    x_px, y_px = apply(np.array(MATRIX), np.column_stack([column + 0.5, row + 0.5]) * SIZE_UM).T
    places = {f"{of}{axis}_px": xy for of in ("", "modelled_", "vendor_") for axis, xy in (("x", x_px), ("y", y_px))}
    pq.write_table(
        pa.table({"unit_id": names, "in_tissue": np.ones(len(row), np.int64), **places}), folder / "u.parquet"
    )
    size_px = {"image_width_px": 25_000, "image_height_px": 25_000}
    transform = {"from": "array", "to": "slide", "matrix": MATRIX}
    content = {"transforms": [transform], "bin_size_um": SIZE_UM, "pixel_size_um": PIXEL_UM, **size_px}
    write_json(folder / "alignment.json", content)
    return entries


def read(folder: Path) -> None:
    """Read the matrix, as any step that holds it whole does."""
    import anndata

    anndata.read_h5ad(folder / "expression.h5ad")


def pool(folder: Path, grids: list[str]) -> None:
    """Read, assign and sum; nothing is written."""
    from spotweave import pooling

    parts = pooling.Parts(folder / "expression.h5ad", folder / "alignment.json", folder / "u.parquet")
    pooling.pool_sample("bins", parts, grids)


def bench_visium_hd(folder: Path) -> list[str]:
    """Lines of the table."""
    from measure import cost_of

    entries = write(folder)
    works = {
        "read": ["read"],
        "one": ["pool", "square_55um"],
        "three": ["pool", "square_55um", "hexagonal_55um", "square_100um"],
    }
    cpu_s: dict[str, list[float]] = {name: [] for name in works}
    peak_mb: dict[str, float] = dict.fromkeys(works, 0)
    for _ in range(REPEATS):
        for name, (what, *grids) in works.items():
            cost = cost_of([sys.executable, __file__, what, str(folder), *grids], folder)
            cpu_s[name].append(float(cost.said.split()[-1]))
            peak_mb[name] = max(peak_mb[name], cost.peak_mb)
    what = f"{SIDE**2:,} bins of 2 um, {GENES:,} genes, {entries:,} entries (simulated)"
    return [
        f"| Visium HD, {what}: read the matrix (anndata) | {seconds(cpu_s['read'])}, {peak_mb['read']:,.0f} MB |",
        f"| … read, placed in squares of 55 um and summed | {times(cpu_s['one'], cpu_s['read'])} reading,"
        f" {peak_mb['one']:,.0f} MB |",
        f"| … three grids in one pass (55 and 100 um squares, Visium's lattice) | {times(cpu_s['three'], cpu_s['one'])}"
        f" one, {peak_mb['three']:,.0f} MB |",
    ]


if __name__ == "__main__":
    start = time.process_time()
    if sys.argv[1] == "read":
        read(Path(sys.argv[2]))
    else:
        pool(Path(sys.argv[2]), sys.argv[3:])
    print(time.process_time() - start)
