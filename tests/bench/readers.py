"""Reading a count matrix of nine million entries, against the bare operation on the same file.

A simulated matrix of 5,000 barcodes and 33,000 genes, in the chunks and types that Cell Ranger writes. Bare are: h5py's
three lists into a scipy CSR (10x HDF5 and h5ad), and pandas' parser into three columns and a scipy CSR (Market
Exchange). The bare operation checks nothing and reads no names. `python readers.py ours|bare FILE …` is one measured
process, without imports.
"""

from __future__ import annotations

import gzip
import resource
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workflow"))
sys.path.insert(0, str(ROOT / "tests"))

BARCODES, GENES = 5_000, 33_000
MOLECULES = 3_350  # of a barcode, on average; about 1,800 genes
CHUNK = 80_000  # values, as Cell Ranger writes them
FEWER = 5  # times: the matrix as text has so many fewer barcodes
REPEATS = 3


def simulate(barcodes: int) -> Any:
    """Counts, CSR int32, (barcodes, GENES): genes of very different levels, barcodes of different depths."""
    import numpy as np
    from scipy.sparse import csr_matrix

    rng = np.random.default_rng(12)
    level = rng.lognormal(0, 2.2, GENES)
    caught = np.repeat(np.arange(GENES, dtype=np.int32), np.ceil(level / level.sum() * 2**21).astype(int))
    molecules = rng.poisson(MOLECULES * rng.lognormal(-0.125, 0.5, barcodes))
    drawn = caught[rng.integers(0, len(caught), molecules.sum())]
    ends = np.concatenate([[0], np.cumsum(molecules)])
    counts = csr_matrix((np.ones(len(drawn), np.int32), drawn, ends), shape=(barcodes, GENES))
    counts.sum_duplicates()
    return counts


def names(barcodes: int) -> tuple[list[str], list[str], list[str]]:
    """Barcodes, ids and symbols."""
    letters = ["".join("ACGT"[(number >> 2 * at) & 3] for at in range(16)) for number in range(barcodes)]
    genes = range(GENES)
    return [f"{text}-1" for text in letters], [f"ENSG{i:011d}" for i in genes], [f"GENE{i}" for i in genes]


def write_h5(path: Path, counts: Any) -> None:
    """10x HDF5, layout 3."""
    import h5py
    import numpy as np

    units, ids, symbols = names(counts.shape[0])
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        packed = {"chunks": (CHUNK,), "compression": "gzip", "compression_opts": 4, "shuffle": True}
        group.create_dataset("data", data=counts.data.astype(np.int32), **packed)
        group.create_dataset("indices", data=counts.indices.astype(np.int64), **packed)
        group.create_dataset("indptr", data=counts.indptr.astype(np.int64), compression="gzip")
        group.create_dataset("shape", data=np.array(counts.shape[::-1], dtype=np.int32))
        group.create_dataset("barcodes", data=np.array(units, dtype="S"), compression="gzip")
        features = group.create_group("features")
        lists = {"id": ids, "name": symbols, "feature_type": ["Gene Expression"] * GENES, "genome": ["GRCh38"] * GENES}
        for key, values in lists.items():
            features.create_dataset(key, data=np.array(values, dtype="S"), compression="gzip")


def write_h5ad(path: Path, counts: Any) -> None:
    """AnnData, counts in X, float32, as scanpy saves them."""
    import anndata
    import numpy as np
    import pandas as pd

    units, ids, symbols = names(counts.shape[0])
    var = pd.DataFrame({"gene_ids": ids, "feature_types": "Gene Expression"}, index=symbols)
    anndata.AnnData(counts.astype(np.float32), obs=pd.DataFrame(index=units), var=var).write_h5ad(
        path, compression="gzip"
    )


def write_mex(folder: Path, counts: Any) -> Path:
    """A triplet; where its matrix is."""
    import pandas as pd

    units, ids, symbols = names(counts.shape[0])
    entries = counts.tocoo()
    head = f"%%MatrixMarket matrix coordinate integer general\n{GENES} {counts.shape[0]} {counts.nnz}\n"
    table = pd.DataFrame({"row": entries.col + 1, "column": entries.row + 1, "value": entries.data})
    with gzip.open(folder / "matrix.mtx.gz", "wt", compresslevel=4) as file:
        file.write(head)
        table.to_csv(file, sep=" ", header=False, index=False)
    rows = "".join(f"{i}\t{name}\tGene Expression\n" for i, name in zip(ids, symbols, strict=True))
    (folder / "features.tsv.gz").write_bytes(gzip.compress(rows.encode()))
    (folder / "barcodes.tsv.gz").write_bytes(gzip.compress("".join(f"{unit}\n" for unit in units).encode()))
    return folder / "matrix.mtx.gz"


def bare(path: Path) -> Any:
    """The matrix, unchecked."""
    import h5py
    import pandas as pd
    from scipy.sparse import coo_matrix, csr_matrix

    if path.name.endswith(".mtx.gz"):
        with gzip.open(path) as file:
            file.readline()
            genes, barcodes, _ = map(int, file.readline().split())
            table = pd.read_csv(file, sep=" ", header=None, names=["gene", "barcode", "count"])
        places = table["barcode"].to_numpy() - 1, table["gene"].to_numpy() - 1
        return csr_matrix(coo_matrix((table["count"].to_numpy(), places), shape=(barcodes, genes)))
    with h5py.File(path) as file:
        group = file["X" if "X" in file else "matrix"]
        shape = tuple(group.attrs["shape"]) if "X" in file else tuple(group["shape"][:])[::-1]
        return csr_matrix((group["data"][:], group["indices"][:], group["indptr"][:]), shape=shape)


def ours(path: Path) -> Any:
    """The matrix as the readers of Visium and Xenium get it, checked and named."""
    from spotweave.deposits.raw import RawFile
    from spotweave.matrices.read import read_matrix

    beside = {role: path.with_name(f"{role}.tsv.gz") for role in ("features", "barcodes")}
    lists = {role: RawFile(file.name, file) for role, file in beside.items() if file.exists()}
    return read_matrix(RawFile(path.name, path), **lists).counts


def _measured(how: str, path: Path) -> str:
    """CPU seconds and MB above what Python and the libraries take, of one reading."""
    import pandas  # noqa: F401 - what both import is not measured
    import scipy.sparse  # noqa: F401

    import spotweave.matrices.read  # noqa: F401

    read = {"ours": ours, "bare": bare}[how]
    before = resource.getrusage(resource.RUSAGE_SELF)
    counts = read(path)
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"{seconds} {(after.ru_maxrss - before.ru_maxrss) / 1024} {counts.nnz}"


def bench_readers(folder: Path, repeats: int = REPEATS) -> list[str]:
    """Lines of the table."""
    whole = simulate(BARCODES)
    write_h5(folder / "a.h5", whole)
    write_h5ad(folder / "a.h5ad", whole)
    few = whole[: BARCODES // FEWER]
    files = {
        f"10x HDF5, {whole.nnz / 1e6:.1f} M entries, against h5py and scipy": folder / "a.h5",
        f"h5ad, {whole.nnz / 1e6:.1f} M entries, against h5py and scipy": folder / "a.h5ad",
        f"Market Exchange, {few.nnz / 1e6:.1f} M entries, against pandas and scipy": write_mex(folder, few),
    }
    return [_row(what, path, repeats) for what, path in files.items()]


def _row(what: str, path: Path, repeats: int) -> str:
    from measure import cost_of

    found: dict[str, list[list[float]]] = {"bare": [], "ours": []}
    for _ in range(repeats):
        for how, costs in found.items():
            said = cost_of([sys.executable, __file__, how, str(path)], path.parent).said
            costs.append([float(word) for word in said.split()[-3:]])
    assert len({cost[2] for costs in found.values() for cost in costs}) == 1, "not the same matrix"
    seconds = {how: sorted(cost[0] for cost in costs) for how, costs in found.items()}
    memory = {how: max(cost[1] for cost in costs) for how, costs in found.items()}
    ratios = sorted(one[0] / other[0] for one, other in zip(found["ours"], found["bare"], strict=True))
    middle = len(ratios) // 2
    return (
        f"| read {what} alone | {ratios[middle]:.2f} times ({ratios[0]:.2f} to {ratios[-1]:.2f}, n = {len(ratios)};"
        f" {seconds['ours'][middle]:.2f} and {seconds['bare'][middle]:.2f} CPU s), {memory['ours']:.0f} MB against"
        f" {memory['bare']:.0f} MB |"
    )


if __name__ == "__main__":
    print(_measured(sys.argv[1], Path(sys.argv[2])))
