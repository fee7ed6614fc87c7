"""Transcripts brought onto the slide and pooled, against reading and writing the same tables with pyarrow alone.

    python tests/bench/transcripts.py --rows 1e8 --genes 5000

Simulated: uniform over the section, as many a gene as real panels have them apart, with every column of the vendor.
A part of `make bench`; by itself with other numbers (a hundred million take 5 GB of disk and some minutes).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent / "workflow")]

from measure import Cost, cost_of
from turns import in_turn, seconds, times

ROOT = TESTS.parent
REPEATS = 3
ROWS = 10_000_000
GENES = 300
SIDES_UM = (20_000.0, 10_000.0)
SIZE_PX, MPP = (100_000, 50_000), 0.25
GROUP = 1 << 20
# Calls of controls by kind and of any quality, about as in the sections of the vendor's own releases.
CONTROLS = {"NegControlProbe": 20, "NegControlCodeword": 40, "UnassignedCodeword": 100}
CATEGORIES = ("negative_control_probe", "negative_control_codeword", "unassigned_codeword")
SHARE_OF_CONTROLS = 0.005
READ = ["feature_name", "x_location", "y_location", "qv", "codeword_category", "is_gene"]
GRIDS = ("square_55um", "square_100um", "square_200um")


def write_vendor(path: Path, rows: int, genes: int, packing: str = "snappy") -> list[str]:
    """Write `transcripts.parquet` as Onboard Analysis 3 has it; returns the genes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    names = [f"GENE{k}" for k in range(genes)]
    features = names + [f"{name}_{k:05d}" for name, count in CONTROLS.items() for k in range(count)]
    category = ["predesigned_gene"] * genes
    category += [kind for kind, count in zip(CATEGORIES, CONTROLS.values(), strict=True) for _ in range(count)]
    share = rng.pareto(1.2, genes) + 0.05
    controls = np.full(len(features) - genes, SHARE_OF_CONTROLS / (len(features) - genes))
    share = np.append(share / share.sum() * (1 - SHARE_OF_CONTROLS), controls)

    def coded(codes: np.ndarray, values: list[str]) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(values)).cast(pa.string())

    writer = None
    for start in range(0, rows, GROUP):
        count = min(GROUP, rows - start)
        code = rng.choice(len(features), count, p=share)
        cells = [f"{k:08x}-1" for k in range(start // 150, (start + count) // 150 + 1)]
        stripe = (start + rng.uniform(0, count, count)) / rows  # as fields of view follow each other
        table = pa.table(
            {
                "transcript_id": pa.array(np.arange(start, start + count, dtype=np.uint64)),
                "cell_id": coded((np.arange(start, start + count) // 150) - start // 150, cells),
                "overlaps_nucleus": pa.array((rng.random(count) < 0.4).astype(np.uint8)),
                "feature_name": coded(code, features),
                "x_location": pa.array(rng.uniform(0, SIDES_UM[0], count).astype(np.float32)),
                "y_location": pa.array((stripe * SIDES_UM[1]).astype(np.float32)),
                "z_location": pa.array(rng.uniform(0, 30, count).astype(np.float32)),
                "qv": pa.array(np.minimum(40, rng.uniform(5, 70, count)).astype(np.float32)),
                "fov_name": pa.array(["A1"] * count),
                "nucleus_distance": pa.array(rng.uniform(0, 10, count).astype(np.float32)),
                "codeword_index": pa.array(code.astype(np.int32)),
                "codeword_category": coded(code, category),
                "is_gene": pa.array(code < genes),
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema, compression=packing)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    return names


class Section:
    """A section's files for both jobs, in a folder."""

    def __init__(self, folder: Path, rows: int, genes: int) -> None:
        import anndata
        import pandas as pd
        import pyarrow as pa
        import pyarrow.parquet as pq
        from scipy import sparse

        from spotweave.deposits.raw import RawFile
        from spotweave.pooling import Parts
        from spotweave.slide_map import SlideMap

        self.folder = folder
        self.raw = RawFile("transcripts.parquet", folder / "vendor.parquet")
        var = pd.DataFrame(
            {"gene_id": "", "genome": ""}, index=pd.Index(write_vendor(self.raw.path, rows, genes), dtype=object)
        )
        turn = np.deg2rad(91)
        matrix = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, MPP]]) / MPP
        matrix[:2, 2] = (SIDES_UM[1] / MPP * 1.3, SIDES_UM[0] / MPP * 0.1)
        self.map = SlideMap(matrix)
        names = ("expression.h5ad", "alignment.json", "units.parquet", "transcripts.parquet")
        self.parts = Parts(*(folder / name for name in names))
        anndata.AnnData(sparse.csr_matrix((1, genes), dtype=np.float32), var=var).write_h5ad(self.parts.expression)
        content = {"image_width_px": SIZE_PX[0], "image_height_px": SIZE_PX[0], "pixel_size_um": MPP}
        self.parts.alignment.write_text(json.dumps(content))
        pq.write_table(pa.table({"unit_id": ["a"]}), self.parts.units)
        entry = {"role": "transcripts", "name": self.raw.name, "path": str(self.raw.path)}
        entry |= {"bytes": self.raw.path.stat().st_size}
        (folder / "raw.json").write_text(json.dumps({"files": [entry]}))
        (folder / "registration.json").write_text(json.dumps(self.map.content()))
        self.map.write_field(folder / "field.npy")

    def warp_job(self) -> Cost:
        """The whole job, as the workflow runs it."""
        made = [
            f"{option} {self.folder / name}"
            for option, name in (
                ("--manifest", "raw.json"),
                ("--registration", "registration.json"),
                ("--field", "field.npy"),
                ("--transcripts", "transcripts.parquet"),
                ("--cell-seg", "c.parquet"),
                ("--cell-seg-geojson", "c.geojson"),
                ("--nucleus-seg", "n.parquet"),
                ("--nucleus-seg-geojson", "n.geojson"),
                ("--record", "warp.json"),
            )
        ]
        return self._job("warp_transcripts", " ".join(made))

    def pool_job(self, grids: tuple[str, ...]) -> Cost:
        """The whole job, as the workflow runs it."""
        named = {"expression": self.parts.expression, "alignment": self.parts.alignment, "units": self.parts.units}
        files = " ".join(f"--{name} {path}" for name, path in named.items())
        pools = " ".join(str(self.folder / f"{grid}.h5ad") for grid in grids)
        return self._job(
            "pool_sample",
            f"{files} --transcripts {self.parts.transcripts} --pooling transcripts --min-qv 20"
            f" --grids {' '.join(grids)} --pools {pools} --record {self.folder / 'pool.json'}",
        )

    def _job(self, script: str, options: str) -> Cost:
        return cost_of([sys.executable, str(ROOT / f"scripts/{script}.py"), *options.split()], self.folder)


def bench_transcripts(folder: Path, rows: int = ROWS, genes: int = GENES) -> list[str]:
    """Lines of the table of `make bench`."""
    import pyarrow.parquet as pq

    from spotweave.pooling import pool_sample
    from spotweave.xenium.warping import warp_transcripts

    section = Section(folder, rows, genes)
    target = section.parts.transcripts
    assert target is not None

    def read_columns() -> None:
        source = pq.ParquetFile(section.raw.path)
        for k in range(source.num_row_groups):
            source.read_row_group(k, columns=READ)

    def copy() -> None:
        source = pq.ParquetFile(section.raw.path)
        with pq.ParquetWriter(folder / "copy.parquet", source.schema_arrow) as writer:
            for k in range(source.num_row_groups):
                writer.write_table(source.read_row_group(k))

    def pool(grids: tuple[str, ...]) -> None:
        pool_sample("transcripts", section.parts, grids)

    warp_transcripts(section.raw, section.map, target)
    works = {
        "read": read_columns,
        "copy": copy,
        "warp": lambda: warp_transcripts(section.raw, section.map, target),
        "one": lambda: pool(GRIDS[:1]),
        "three": lambda: pool(GRIDS),
    }
    cost = in_turn(works, REPEATS)
    (folder / "copy.parquet").unlink()
    whole = [warp + one for warp, one in zip(cost["warp"], cost["one"], strict=True)]
    whole_three = [warp + three for warp, three in zip(cost["warp"], cost["three"], strict=True)]
    warp, pooled, all_pooled = section.warp_job(), section.pool_job(GRIDS[:1]), section.pool_job(GRIDS)
    some = f"{rows / 1e6:g} M transcripts, {genes:,} genes (simulated)"
    return [
        f"| {some}: onto the slide, every column written | {seconds(cost['warp'])}, {times(cost['warp'], cost['copy'])}"
        f" reading and writing the same table with pyarrow; {warp.peak_mb:,.0f} MB |",
        f"| … filtered and pooled to {GRIDS[0]} | {seconds(cost['one'])}, {times(cost['one'], cost['read'])} reading"
        f" the columns with pyarrow; {pooled.peak_mb:,.0f} MB |",
        f"| … the same, mapped and written first | {times(whole, cost['read'])} reading the columns (HEST-Library,"
        " loaded and pooled, was measured at 55 times: not run here) |",
        f"| … {len(GRIDS)} grids in one pass | {times(cost['three'], cost['one'])} one,"
        f" {times(whole_three, whole)} with mapping and writing; as whole jobs {all_pooled.cpu_s / pooled.cpu_s:.2f}"
        f" times (n = 1), {all_pooled.peak_mb:,.0f} MB |",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=float, default=ROWS)
    parser.add_argument("--genes", type=int, default=GENES)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(*bench_transcripts(Path(folder), int(args.rows), args.genes), sep="\n")


if __name__ == "__main__":
    main()
