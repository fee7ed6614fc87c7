"""Transcripts and outlines on the slide: the vendor's tables as they are, and where each thing lies on the H&E."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from real_data import real
from spotweave.deposits import arrow_tables
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.simulate.xenium import cell_names, draw_truth
from spotweave.simulate.xenium_layouts import VARIANTS
from spotweave.slide_map import SlideMap
from spotweave.xenium import boundaries, warping
from spotweave.xenium.warping import IMAGED, METADATA, warp_outlines, warp_transcripts

ROOT = Path(__file__).resolve().parents[2]
TURNED = SlideMap(np.array([[0.0, -4.0, 900.0], [4.0, 0.0, -30.5], [0.0, 0.0, 1.0]]))


def bent() -> SlideMap:
    """A smooth field of some px over the places of the simulated bundle and of the tables here."""
    i, j = np.mgrid[0:30, 0:30]
    field = np.stack([6 * np.sin(i / 5) + j / 10, 4 * np.cos(j / 4)], axis=-1).astype(np.float32)
    return SlideMap(TURNED.matrix, field, 50.0)


def raw(path: Path) -> RawFile:
    return RawFile(path.name, path)


def vendor(rows: int = 300) -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "transcript_id": pa.array(np.arange(rows, dtype=np.uint64) + np.uint64(2**63)),
            "cell_id": pa.array([f"c{k // 7}-1" if k % 5 else None for k in range(rows)]),
            "overlaps_nucleus": pa.array(np.arange(rows) % 2, pa.uint8()),
            "feature_name": pa.array([f"GENE{k % 11}" for k in range(rows)]),
            "x_location": pa.array(rng.uniform(0, 200, rows), pa.float32()),
            "y_location": pa.array(rng.uniform(0, 100, rows), pa.float32()),
            "qv": pa.array(rng.uniform(0, 40, rows), pa.float32()),
            "another": pa.array([b"\x00\x01"] * rows, pa.binary(2)),
            "is_gene": pa.array([True] * rows),
        }
    )


@pytest.mark.parametrize("slide_map", [TURNED, bent()], ids=["matrix", "field"])
@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_every_layout_keeps_its_columns_and_gains_places(name, slide_map, tmp_path):
    files = VARIANTS[name].write(tmp_path / "raw", draw_truth(2))
    measures = warp_transcripts(raw(files["transcripts"]), slide_map, tmp_path / "t.parquet")
    table = pq.read_table(tmp_path / "t.parquet")
    with arrow_tables.open_table(
        raw(files["transcripts"]), warping.TRANSCRIPTS, ("feature_name",), whole=True
    ) as opened:
        filed = pa.Table.from_batches(list(opened.batches))
    assert table.schema.names == [*filed.schema.names, "he_x", "he_y"]
    for column in filed.schema.names:
        of_file = filed[column].combine_chunks()
        expected = arrow_tables.text(of_file) if pa.types.is_dictionary(of_file.type) else of_file
        assert table[column].combine_chunks().equals(expected), column
        assert table.schema.field(column).type in (warping.TRANSCRIPTS[column], pa.int32(), pa.int64(), pa.float64())
    xy_um = np.column_stack([table["x_location"].to_numpy(), table["y_location"].to_numpy()]).astype(np.float64)
    he = np.column_stack([table["he_x"].to_numpy(), table["he_y"].to_numpy()])
    np.testing.assert_array_equal(he, slide_map.to_slide(xy_um).astype(np.float32))
    assert measures["transcripts"] == len(table) > 0
    assert measures["round_trip_p95_um"] <= measures["round_trip_max_um"] < 1e-3


def test_a_table_is_the_same_whatever_its_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(warping, "ROWS_IN_GROUP", 64)
    written = []
    for number, (rows, at_once) in enumerate(((300, 1 << 18), (7, 5), (64, 64))):
        source, target = tmp_path / f"{number}.parquet", tmp_path / f"{number}-he.parquet"
        pq.write_table(vendor(), source, row_group_size=rows)
        monkeypatch.setattr(arrow_tables, "ROWS_AT_ONCE", at_once)
        warp_transcripts(raw(source), TURNED, target)
        written.append(pq.read_table(target))
    assert written[0].equals(written[1]) and written[0].equals(written[2])
    found = pq.ParquetFile(target).metadata
    assert [found.row_group(k).num_rows for k in range(found.num_row_groups)] == [64, 64, 64, 64, 44]


@pytest.mark.parametrize(
    ("packing", "kept"), [("snappy", "SNAPPY"), ("zstd", "ZSTD"), ("none", "ZSTD"), ("brotli", "ZSTD")]
)
def test_it_is_packed_as_it_came(packing, kept, tmp_path):
    pq.write_table(vendor(), tmp_path / "a.parquet", compression=packing)
    warp_transcripts(raw(tmp_path / "a.parquet"), TURNED, tmp_path / "b.parquet")
    assert pq.ParquetFile(tmp_path / "b.parquet").metadata.row_group(0).column(0).compression == kept
    back = pq.read_table(tmp_path / "b.parquet").drop_columns(["he_x", "he_y"])
    assert back.cast(vendor().schema).equals(vendor())


def test_what_was_imaged_is_noted(tmp_path):
    table = vendor()
    pq.write_table(table, tmp_path / "a.parquet")
    warp_transcripts(raw(tmp_path / "a.parquet"), bent(), tmp_path / "b.parquet")
    outline = shapely.Polygon(json.loads(pq.ParquetFile(tmp_path / "b.parquet").metadata.metadata[METADATA])[IMAGED])
    xy = np.column_stack([table["x_location"].to_numpy(), table["y_location"].to_numpy()]).astype(np.float64)
    low, high = xy.min(axis=0), xy.max(axis=0)
    fine = np.concatenate([np.linspace(low, (high[0], low[1]), 500), np.linspace((high[0], low[1]), high, 500)])
    assert shapely.distance(outline.exterior, shapely.points(bent().to_slide(fine))).max() < 0.5
    assert outline.is_valid
    assert shapely.contains_xy(outline.buffer(0.5), bent().to_slide(xy)).all()


def test_positions_that_are_missing_stay_missing(tmp_path):
    table = vendor(10)
    x = table["x_location"].to_pylist()
    x[3], x[4] = None, float("nan")
    table = table.set_column(4, "x_location", pa.array(x, pa.float32()))
    pq.write_table(table, tmp_path / "a.parquet")
    measures = warp_transcripts(raw(tmp_path / "a.parquet"), bent(), tmp_path / "b.parquet")
    back = pq.read_table(tmp_path / "b.parquet")
    assert measures["transcripts_without_position"] == 2
    assert [k for k, place in enumerate(back["he_x"].to_pylist()) if place is None] == [3, 4]


def test_what_is_no_table_of_the_vendor_is_refused(tmp_path):
    path, target = tmp_path / "a.parquet", tmp_path / "b.parquet"
    pq.write_table(vendor().append_column("he_x", pa.array(np.zeros(300))), path)
    with pytest.raises(Refusal, match=r"a\.parquet: has a column 'he_x' already, so it is not the vendor's own"):
        warp_transcripts(raw(path), TURNED, target)
    pq.write_table(vendor().slice(0, 0), path)
    with pytest.raises(Refusal, match=r"a\.parquet: the table has a header and no transcripts"):
        warp_transcripts(raw(path), TURNED, target)
    pq.write_table(vendor().drop_columns(["qv"]), path)
    with pytest.raises(Refusal, match=r"a\.parquet: no column qv"):
        warp_transcripts(raw(path), TURNED, target)
    pq.write_table(vendor().set_column(6, "qv", pa.array(["high"] * 300)), path)
    with pytest.raises(Refusal, match=r"a\.parquet: the column qv holds dictionary<.*>, not numbers"):
        warp_transcripts(raw(path), TURNED, target)
    names = pa.array([b"GENE1"] * 299 + [b"\xff\xfe"])
    pq.write_table(vendor().set_column(3, "feature_name", names), path)
    with pytest.raises(Refusal, match=r"a\.parquet: a cut, damaged or incomplete file"):
        warp_transcripts(raw(path), TURNED, target)


def test_a_map_that_folds_is_refused(tmp_path):
    i, j = np.mgrid[0:30, 0:30]
    folding = SlideMap(TURNED.matrix, np.stack([-60.0 * (j % 2), 0.0 * i], axis=-1).astype(np.float32), 50.0)
    pq.write_table(vendor(), tmp_path / "a.parquet")
    with pytest.raises(
        Refusal, match=r"the map onto the slide folds: places come back .* um from where they were"
    ) as told:
        warp_transcripts(raw(tmp_path / "a.parquet"), folding, tmp_path / "b.parquet")
    assert told.value.measured > told.value.threshold


# --- outlines -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["xoa_1_0", "xoa_1_0_text", "xoa_2_0", "xoa_2_0_early", "xoa_4_0"])
@pytest.mark.parametrize("what", ["cell", "nucleus"])
def test_outlines_keep_their_columns_and_are_polygons_on_the_slide(name, what, tmp_path):
    truth = draw_truth(2)
    role = f"{what}_boundaries"
    files = VARIANTS[name].write(tmp_path / "raw", truth)
    parquet, geojson = tmp_path / "o.parquet", tmp_path / "o.geojson"
    report = warp_outlines(raw(files[role]), bent(), role, parquet, geojson)
    table = pq.read_table(parquet)
    xy_um = np.column_stack([table["vertex_x"].to_numpy(), table["vertex_y"].to_numpy()]).astype(np.float64)
    he = np.column_stack([table["he_x"].to_numpy(), table["he_y"].to_numpy()])
    np.testing.assert_array_equal(he, bent().to_slide(xy_um).astype(np.float32))
    rings = truth.outlines(what)
    features = json.loads(geojson.read_text())["features"]
    assert report["polygons"] == len(features) == len(rings)
    names = dict(zip(truth.numbers, map(str, cell_names(truth.numbers, VARIANTS[name].version)), strict=True))
    for feature, (number, ring) in zip(features, rings, strict=True):
        assert feature["properties"]["cell_id"] == names[number]
        assert feature["properties"]["classification"]["name"] == {"cell": "Cell", "nucleus": "Nucleus"}[what]
        found = shapely.Polygon(feature["geometry"]["coordinates"][0])
        assert found.is_valid
        assert shapely.hausdorff_distance(found, shapely.Polygon(bent().to_slide(ring))) < 0.011
    again = tmp_path / "again.geojson"
    warp_outlines(raw(files[role]), bent(), role, tmp_path / "again.parquet", again)
    assert again.read_bytes() == geojson.read_bytes()


@pytest.mark.parametrize("name", ["xoa_1_0", "xoa_2_0", "xoa_2_0_early"])
@pytest.mark.parametrize("at_once", [1, 4, 7])
def test_polygons_are_the_same_whatever_the_pieces(name, at_once, tmp_path, monkeypatch):
    """A polygon goes on from one batch to the next; merged ones are taken apart all the same."""
    file = raw(VARIANTS[name].write(tmp_path / "raw", draw_truth(2))["nucleus_boundaries"])
    whole = boundaries.read_boundaries(file)
    monkeypatch.setattr(arrow_tables, "ROWS_AT_ONCE", at_once)
    pieces = boundaries.read_boundaries(file)
    assert pieces.report == whole.report
    assert pieces.cell_id.tolist() == whole.cell_id.tolist()
    assert shapely.equals_exact(pieces.polygons, whole.polygons).all()
    assert (pieces.label_id is None) == (whole.label_id is None)


def test_a_bundle_without_outlines_has_empty_ones(tmp_path):
    parquet, geojson = tmp_path / "o.parquet", tmp_path / "o.geojson"
    assert warp_outlines(None, TURNED, "cell_boundaries", parquet, geojson) == {"polygons": 0}
    assert pq.read_table(parquet).schema.names == ["cell_id", "vertex_x", "vertex_y", "label_id", "he_x", "he_y"]
    assert json.loads(geojson.read_text()) == {"type": "FeatureCollection", "features": []}


def test_real_outlines_hold_the_real_transcripts_of_nuclei(tmp_path):
    """Transcripts that the vendor puts in a nucleus lie in it on the slide too, whatever the turn."""
    folder = real("data", "xenium_fragments")
    warp_transcripts(raw(folder / "transcripts.parquet"), TURNED, tmp_path / "t.parquet")
    report = warp_outlines(
        raw(folder / "nucleus_boundaries.parquet"),
        TURNED,
        "nucleus_boundaries",
        tmp_path / "n.parquet",
        tmp_path / "n.json",
    )
    nuclei = [
        shapely.geometry.shape(one["geometry"]) for one in json.loads((tmp_path / "n.json").read_text())["features"]
    ]
    assert report["polygons"] == len(nuclei) > 50
    table = pq.read_table(tmp_path / "t.parquet")
    inside = shapely.contains_xy(
        shapely.union_all(nuclei).buffer(0.5), table["he_x"].to_numpy(), table["he_y"].to_numpy()
    )
    in_nucleus = table["overlaps_nucleus"].to_numpy() == 1
    assert inside[in_nucleus].mean() > 0.85  # nuclei on the edge of the fragment are not in its outlines
    assert inside[~in_nucleus].mean() < 0.1


# --- the job --------------------------------------------------------------------------------------


def test_the_job_writes_every_table(tmp_path):
    files = VARIANTS["xoa_3_0"].write(tmp_path / "raw", draw_truth(2))
    entries = [
        {"role": role, "name": path.name, "path": str(path), "bytes": path.stat().st_size}
        for role, path in files.items()
    ]
    (tmp_path / "raw.json").write_text(json.dumps({"files": entries}))
    (tmp_path / "registration.json").write_text(json.dumps(bent().content()))
    bent().write_field(tmp_path / "field.npy")
    outputs = {
        "transcripts": "transcripts.parquet",
        "cell-seg": "xenium_cell_seg.parquet",
        "cell-seg-geojson": "xenium_cell_seg.geojson",
        "nucleus-seg": "xenium_nucleus_seg.parquet",
        "nucleus-seg-geojson": "xenium_nucleus_seg.geojson",
        "record": "record.json",
    }
    written = []
    for turn in ("one", "two"):
        command = [sys.executable, str(ROOT / "scripts/warp_transcripts.py"), "--manifest", str(tmp_path / "raw.json")]
        command += ["--registration", str(tmp_path / "registration.json"), "--field", str(tmp_path / "field.npy")]
        command += [part for option, name in outputs.items() for part in (f"--{option}", str(tmp_path / turn / name))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        written.append([(tmp_path / turn / name).read_bytes() for name in outputs.values()])
    assert written[0] == written[1]
    measures = json.loads((tmp_path / "one/record.json").read_text())["measures"]
    assert measures["outlines_of_cells"]["polygons"] == len(draw_truth(2).outlines("cell"))
    assert measures["round_trip_max_um"] < 1e-3
