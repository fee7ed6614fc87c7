"""Simulated sections of Xenium and Visium HD: what is drawn is what is in the files and on the pictures."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import shapely
import tifffile
from shapely.geometry import shape

from spotweave.deposits.raw import RawFile
from spotweave.geometry import apply, fit_affine
from spotweave.io import read_json
from spotweave.readers.visium_hd.read import read as read_visium_hd
from spotweave.readers.xenium.read import read as read_xenium
from spotweave.simulate import deposit, deposit_sections, visium_hd_section, xenium, xenium_section
from spotweave.simulate.cells import cells_of
from spotweave.simulate.section_pair import Pair, draw_pair, on_slide
from spotweave.simulate.tissue import GRID_UM
from spotweave.simulate.visium_hd_section import FIRMWARE_SHIFT_UM
from spotweave.xenium.alignment import read_he_alignment
from spotweave.xenium.boundaries import read_boundaries

ROOT = Path(__file__).resolve().parents[2]
SIZE_UM = (480.0, 560.0)
VERSIONS = [xenium.V1_0, xenium.V1_3, xenium.V2_0, xenium.V3_0, xenium.V4_0]


def small_pair(seed: int = 1, **changed: Any) -> Pair:
    return draw_pair(seed, **{"size_um": SIZE_UM, "dapi_pixel_size_um": 0.85, **changed})


def raws(files: dict[str, Path]) -> dict[str, RawFile]:
    return {role: RawFile(path.name, path) for role, path in files.items()}


@pytest.fixture(scope="module")
def pair() -> Pair:
    return small_pair(deformation_um=12.0, turn_deg=100.0, mirrored=True, stain_spread=0.5)


@pytest.fixture(scope="module")
def section(pair: Pair) -> xenium_section.SectionTruth:
    return xenium_section.draw_section(pair, 3, donor=2)


@pytest.fixture(scope="module")
def hd() -> visium_hd_section.SectionTruth:
    return visium_hd_section.draw_section(small_pair(turn_deg=-91.0, mirrored=True), 3, corner=(160, 48))


# Both pictures


def levels(picture: np.ndarray, places: np.ndarray) -> np.ndarray:
    inside = ((places >= 0) & (places < picture.shape[1::-1])).all(axis=1)
    column, row = places[inside].astype(int).T
    return picture[row, column]


@pytest.mark.parametrize("tear_um", [0.0, 20.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_true_map_puts_nuclei_where_they_are_on_both_pictures(mirrored: bool, tear_um: float) -> None:
    drawn = small_pair(deformation_um=20.0, turn_deg=200.0, mirrored=mirrored, tear_um=tear_um)
    nuclei = drawn.nuclei_um
    red = levels(drawn.he[:, :, 0], drawn.um_to_he(nuclei))
    dapi = levels(drawn.dapi, nuclei / drawn.dapi_pixel_size_um)
    assert len(red) == len(dapi) == len(nuclei) > 500
    assert (red < 130).mean() > 0.95
    assert (dapi > 700).mean() > 0.95
    few = nuclei[drawn.tissue.nuclei.domain == 2]  # stroma, where they lie apart
    beside = few + np.array([9.0, 0.0])
    assert (levels(drawn.he[:, :, 0], drawn.um_to_he(beside)) < 130).mean() < 0.4
    assert (levels(drawn.dapi, beside / drawn.dapi_pixel_size_um) > 700).mean() < 0.4


def test_the_map_goes_both_ways_and_is_off_every_matrix_by_as_much_as_was_asked_for(pair: Pair) -> None:
    axes = [np.linspace(0, side, 41) for side in SIZE_UM]
    nodes = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    slide = pair.um_to_he(nodes)
    assert pair.warp.to_um(slide) == pytest.approx(nodes, abs=1e-5)
    off = slide - apply(fit_affine(nodes, slide), nodes)
    assert np.hypot(*off.T).max() * pair.he_pixel_size_um == pytest.approx(12.0, rel=1e-6)
    assert np.linalg.det(pair.best_affine()[:2, :2]) < 0


def test_nuclei_lie_in_their_own_domains_on_the_slide_too(pair: Pair) -> None:
    moved = on_slide(pair.tissue, pair.warp, pair.he.shape[:2], pair.he_pixel_size_um)
    there = moved.domain[(moved.nuclei.y_um / GRID_UM).astype(int), (moved.nuclei.x_um / GRID_UM).astype(int)]
    assert (there == pair.tissue.nuclei.domain).mean() > 0.95
    assert np.sum(moved.level_um > 0) == pytest.approx(np.sum(pair.tissue.level_um > 0), rel=0.05)


def test_a_part_of_the_section_may_be_off_the_picture() -> None:
    drawn = small_pair(overlap=0.6)
    assert drawn.on_he.mean() == pytest.approx(0.6, abs=0.01)
    assert drawn.he.shape[1] < small_pair().he.shape[1]


def test_the_instrument_may_have_looked_at_a_part_of_the_section() -> None:
    options: dict[str, Any] = {"deformation_um": 12.0, "turn_deg": 30.0, "tear_um": 15.0}
    whole, part = small_pair(**options), small_pair(**options, region_um=(80.0, 120.0, 360.0, 400.0))
    assert (part.he == whole.he).all()
    assert part.dapi.shape == (round(280 / 0.85), round(280 / 0.85))
    assert part.um_to_he(np.array([[10.0, 20.0]])) == pytest.approx(whole.um_to_he(np.array([[90.0, 140.0]])))
    assert part.warp.to_um(part.um_to_he(part.nuclei_um)) == pytest.approx(part.nuclei_um, abs=1e-5)
    assert (levels(part.dapi, part.nuclei_um / 0.85) > 700).mean() > 0.95
    assert (levels(part.he[:, :, 0], part.um_to_he(part.nuclei_um)) < 130).mean() > 0.95
    assert 0.2 < len(part.nuclei_um) / len(whole.nuclei_um) < 0.7
    with pytest.raises(ValueError, match="multiples of 4 um"):
        small_pair(region_um=(81.0, 120.0, 360.0, 400.0))


def test_nuclei_may_be_lost_in_one_picture_but_not_in_both() -> None:
    drawn = small_pair(lost=0.3)
    stroma = drawn.nuclei_um[drawn.tissue.nuclei.domain == 2]
    in_he = levels(drawn.he[:, :, 0], drawn.um_to_he(stroma)) < 130
    in_dapi = levels(drawn.dapi, stroma / drawn.dapi_pixel_size_um) > 700
    assert in_dapi.mean() == pytest.approx(0.7, abs=0.12)
    assert in_he.mean() == pytest.approx(0.79, abs=0.12)
    assert (in_he | in_dapi).mean() > 0.95


def test_a_tear_is_glass_and_moves_all_beyond_it() -> None:
    whole, torn = small_pair(turn_deg=10.0), small_pair(turn_deg=10.0, tear_um=25.0)
    normal_x, normal_y, at, gap = torn.warp.tear
    assert gap == 25.0
    along = whole.nuclei_um @ np.array([normal_x, normal_y])
    apart = torn.um_to_he(torn.nuclei_um) - whole.um_to_he(whole.nuclei_um)
    moved = apart - apart[along <= at].mean(axis=0)
    assert np.hypot(*moved[along > at].T) == pytest.approx(25.0)
    assert np.hypot(*moved[along <= at].T) == pytest.approx(0, abs=1e-6)
    rows, columns = torn.he.shape[:2]
    px = np.stack(np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5), axis=-1).reshape(-1, 2)
    in_gap = np.isnan(torn.warp.to_um(px)).any(axis=1)
    assert in_gap.mean() > 0.02
    assert np.median(levels(torn.he[:, :, 1], px[in_gap])) > 200


def test_tissue_that_would_fold_over_itself_is_not_drawn() -> None:
    with pytest.raises(ValueError, match="would fold over itself under a deformation of 200"):
        small_pair(deformation_um=200.0)


def test_the_same_arguments_give_the_same_pictures(pair: Pair) -> None:
    again = small_pair(deformation_um=12.0, turn_deg=100.0, mirrored=True, stain_spread=0.5)
    assert (again.he == pair.he).all()
    assert (again.dapi == pair.dapi).all()
    assert not np.array_equal(small_pair(2).dapi, pair.dapi)


# Cells


def test_cells_never_overlap_and_hold_their_nuclei(pair: Pair) -> None:
    cells = cells_of(pair.tissue)
    polygons, nuclei = shapely.polygons(cells.rings("cell")), shapely.polygons(cells.rings("nucleus"))
    assert shapely.is_valid(polygons).all()
    assert shapely.contains(polygons, nuclei).all()
    assert not shapely.STRtree(polygons).query(polygons, predicate="overlaps").size
    assert cells.areas("cell") == pytest.approx(shapely.area(polygons))
    assert cells.areas("nucleus") == pytest.approx(shapely.area(nuclei))
    assert cells.centroids() == pytest.approx(shapely.get_coordinates(shapely.centroid(polygons)))


# Xenium


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.software)
def test_a_recount_of_the_transcripts_is_the_matrix(
    version: xenium.Version, section: xenium_section.SectionTruth, tmp_path: Path
) -> None:
    files = xenium_section.write_section(tmp_path, section, version)
    reading = read_xenium({role: raw for role, raw in raws(files).items() if role not in ("image", "morphology")})
    names = [str(name) for name in xenium.cell_names(section.numbers, version)]
    found = pd.DataFrame(reading.adata.X.toarray(), index=reading.adata.obs_names, columns=reading.adata.var_names)
    assert set(found.columns) == set(section.genes)
    calls = pyarrow.parquet.read_table(files["transcripts"]).to_pandas()
    calls["feature_name"] = [name.decode() if isinstance(name, bytes) else name for name in calls["feature_name"]]
    calls["cell_id"] = calls["cell_id"].astype(str)
    good = calls[(calls["qv"] >= 20) & calls["feature_name"].isin(section.genes) & calls["cell_id"].isin(names)]
    recount = pd.crosstab(good["cell_id"], good["feature_name"])
    recount = recount.reindex(index=names, columns=section.genes, fill_value=0)
    assert (recount.to_numpy() == section.counts).all()
    assert (found.loc[names, section.genes].to_numpy() == section.counts).all()
    assert 0.08 < (calls["qv"] < 20).mean() < 0.2
    assert len(set(calls["feature_name"]) - set(section.genes)) == len(version.controls)


def test_transcripts_lie_in_the_outlines_of_their_cells_and_of_no_other(
    section: xenium_section.SectionTruth, tmp_path: Path
) -> None:
    files = xenium_section.write_section(tmp_path, section, xenium.V3_0)
    outlines = {what: read_boundaries(raws(files)[f"{what}_boundaries"]) for what in ("cell", "nucleus")}
    calls = pyarrow.parquet.read_table(files["transcripts"]).to_pandas()
    points = shapely.points(calls["x_location"], calls["y_location"])
    for what, assigned in (
        ("cell", calls["cell_id"].to_numpy()),
        ("nucleus", np.where(calls["overlaps_nucleus"] == 1, calls["cell_id"], "UNASSIGNED")),
    ):
        which, polygon = shapely.STRtree(outlines[what].polygons).query(points, predicate="within")
        by_geometry = np.full(len(points), "UNASSIGNED", dtype=object)
        by_geometry[which] = outlines[what].cell_id[polygon]
        assert len(which) == len(set(which))
        # Outlines are filed as float32, so a call on an edge may fall to either side.
        assert (by_geometry != assigned).sum() <= 2
        assert 0 < (assigned == "UNASSIGNED").mean() < 0.6


def test_genes_follow_the_domains(section: xenium_section.SectionTruth) -> None:
    letters = np.array([gene[3] for gene in section.genes])
    for domain, letter in ((1, "T"), (2, "S"), (3, "I")):
        own = section.counts[:, letters == letter].sum(axis=1)
        among = section.cells.domain == domain
        assert own[among].mean() > 5 * own[~among].mean()


def test_the_alignment_is_the_nearest_matrix_and_keypoints_are_true(
    section: xenium_section.SectionTruth, tmp_path: Path
) -> None:
    pair, size = section.pair, section.pixel_size_um
    files = xenium_section.write_section(tmp_path / "a", section, xenium.V2_0)
    found = read_he_alignment(raws(files)["alignment"]).um_to_he(pair.nuclei_um, size)
    off_um = np.hypot(*(found - pair.um_to_he(pair.nuclei_um)).T) * pair.he_pixel_size_um
    assert 1 < np.sqrt((off_um**2).mean()) < 12
    files = xenium_section.write_section(tmp_path / "b", section, xenium.V2_0, alignment="keypoints")
    points = pd.read_csv(files["alignment"])
    true = pair.um_to_he(points[["fixedX", "fixedY"]].to_numpy() * size)
    assert true == pytest.approx(points[["alignmentX", "alignmentY"]].to_numpy())
    assert "alignment" not in xenium_section.write_section(tmp_path / "c", section, xenium.V2_0, alignment=None)


@pytest.mark.parametrize("how", ["mirrored", "turned", "shifted"])
def test_a_wrong_alignment_is_far_off(how: str, section: xenium_section.SectionTruth) -> None:
    wrong = xenium_section.wrong_alignment(section, how)
    points_px = section.pair.nuclei_um / section.pixel_size_um
    inverse = np.asarray(np.linalg.inv(wrong.he_to_dapi), dtype=np.float64)
    off_px = np.hypot(*(apply(inverse, points_px) - section.pair.um_to_he(section.pair.nuclei_um)).T)
    assert np.median(off_px) * section.pair.he_pixel_size_um > 50
    assert np.sign(np.linalg.det(wrong.he_to_dapi)) == (1 if how == "mirrored" else -1)


@pytest.mark.parametrize(
    ("version", "name"),
    [
        (xenium.V1_3, "morphology_focus.ome.tif"),
        (xenium.V2_0, "morphology_focus/morphology_focus_0000.ome.tif"),
        (xenium.V4_0, "morphology_focus/ch0000_dapi.ome.tif"),
    ],
)
def test_pictures_are_filed_as_the_version_does(
    version: xenium.Version, name: str, section: xenium_section.SectionTruth, tmp_path: Path
) -> None:
    files = xenium_section.write_section(tmp_path, section, version, he={"packed": "lzw", "planar": True})
    assert files["morphology"] == tmp_path / name
    with tifffile.TiffFile(files["morphology"]) as dapi, tifffile.TiffFile(files["image"]) as he:
        assert dapi.is_ome and he.is_ome
        assert (dapi.asarray() == section.pair.dapi).all()
        assert 'PhysicalSizeX="0.85"' in str(dapi.ome_metadata)
        assert [level.shape for level in dapi.series[0].levels][1] == tuple(side // 2 for side in dapi.asarray().shape)
        assert (np.moveaxis(he.asarray(), 0, -1) == section.pair.he).all()
    silent = xenium_section.write_section(tmp_path / "silent", section, version, he_states_size=False)
    with tifffile.TiffFile(silent["image"]) as he:
        assert "PhysicalSize" not in str(he.ome_metadata)


# Visium HD


def test_larger_bins_and_cells_are_sums_of_the_small_ones(hd: visium_hd_section.SectionTruth, tmp_path: Path) -> None:
    files = visium_hd_section.write_section(
        tmp_path, hd, sizes=(2, 8, 16), software="spaceranger-4.0.1", has_cells=True
    )
    readings = {
        unit: read_visium_hd({role: raw for role, raw in raws(own).items() if role != "image"})
        for unit, own in files.items()
    }
    small = hd.bins(2)
    entries = small.counts.tocoo()
    mappings = pd.read_parquet(files["cell"]["barcode_mappings"]).set_index("square_002um").loc[small.names]
    for unit, column in (("square_008um", "square_008um"), ("square_016um", "square_016um"), ("cell", "cell_id")):
        larger = readings[unit].adata
        row = larger.obs_names.get_indexer(pd.Index(mappings[column].fillna("none")))[entries.row]
        summed = np.zeros(larger.shape, dtype=np.int64)
        np.add.at(summed, (row[row >= 0], entries.col[row >= 0]), entries.data[row >= 0])
        assert summed.sum() > 10_000
        assert (larger.X.toarray() == summed).all()
    seen = readings["square_002um"].adata
    rows = np.flatnonzero(small.in_tissue)
    assert (small.counts[rows] != seen.X).nnz == 0
    assert list(seen.obs_names) == [small.names[row] for row in rows]


def test_bins_lie_where_the_true_map_puts_them(hd: visium_hd_section.SectionTruth, tmp_path: Path) -> None:
    files = visium_hd_section.write_section(tmp_path, hd, sizes=(8,))["square_008um"]
    reading = read_visium_hd({role: raw for role, raw in raws(files).items() if role != "image"})
    obs = reading.adata.obs
    array_um = (obs[["array_col", "array_row"]].to_numpy() + 0.5) * 8 - np.array([48, 160]) * 2
    assert obs[["x_px", "y_px"]].to_numpy() == pytest.approx(hd.pair.um_to_he(array_um))
    assert reading.report["array_mirrored"]
    assert reading.report["pixel_size_um_fitted"] == pytest.approx(hd.pixel_size_um)
    assert not reading.report["cytassist_shift_possible"]


def test_outlines_of_cells_are_around_their_nuclei_on_the_slide(
    hd: visium_hd_section.SectionTruth, tmp_path: Path
) -> None:
    files = visium_hd_section.write_section(tmp_path, hd, sizes=(), software="spaceranger-4.0.1", has_cells=True)
    for feature in read_json(files["cell"]["spots"])["features"][::20]:
        number = feature["properties"]["cell_id"]
        centre = hd.pair.um_to_he(hd.pair.nuclei_um[[number - 1]])
        assert shape(feature["geometry"]).contains(shapely.Point(centre[0]))


def test_the_map_of_barcodes_names_the_cell_whose_outline_is_around_a_bin(
    hd: visium_hd_section.SectionTruth, tmp_path: Path
) -> None:
    files = visium_hd_section.write_section(tmp_path, hd, sizes=(), software="spaceranger-4.0.1", has_cells=True)
    outlines = {
        f"cellid_{feature['properties']['cell_id']:09d}-1": shape(feature["geometry"])
        for feature in read_json(files["cell"]["spots"])["features"]
    }
    small = hd.bins(2)
    mappings = pd.read_parquet(files["cell"]["barcode_mappings"]).set_index("square_002um").loc[small.names]
    owned = np.flatnonzero(mappings["in_cell"])
    which, found = shapely.STRtree(list(outlines.values())).query(shapely.points(small.pixels), predicate="within")
    assert which.tolist() == owned.tolist()
    assert [list(outlines)[index] for index in found] == mappings["cell_id"].iloc[owned].tolist()
    assert 0.2 < mappings["in_nucleus"].iloc[owned].mean() < 0.7
    assert not mappings["in_nucleus"][~mappings["in_cell"]].any()


def test_counts_follow_stripes_and_a_shift_only_where_asked_for() -> None:
    pair = small_pair(dapi_pixel_size_um=8.0)
    plain = visium_hd_section.draw_section(pair, 5)
    striped = visium_hd_section.draw_section(pair, 5, stripe_spread=0.4)
    shifted = visium_hd_section.draw_section(pair, 5, shift_um=FIRMWARE_SHIFT_UM)

    def grid(truth: visium_hd_section.SectionTruth) -> np.ndarray:
        return np.asarray(truth.counts.sum(axis=1)).reshape(truth.in_tissue.shape)

    assert (plain.stripes[0] == 1).all()
    full = grid(plain).sum(axis=1) > 100
    left = grid(striped).sum(axis=1)[full] / grid(plain).sum(axis=1)[full]
    assert np.corrcoef(left, striped.stripes[0][full])[0, 1] > 0.75
    rows = int(FIRMWARE_SHIFT_UM) // 2
    assert (grid(shifted)[rows:] == grid(plain)[:-rows]).all()
    assert (shifted.in_tissue == plain.in_tissue).all()


def test_a_section_that_bins_do_not_fill_is_not_drawn() -> None:
    with pytest.raises(ValueError, match="no multiples of 16 um"):
        visium_hd_section.draw_section(small_pair(size_um=(470.0, 480.0), dapi_pixel_size_um=8.0), 1)


# The demo


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's deposit of both, of smaller sections."""
    folder = tmp_path_factory.mktemp("deposit")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deposit_sections, "SIZE_UM", (480.0, 480.0))
        for name in ("one", "two"):
            deposit.build(folder / name, xenium=deposit.XENIUM, visium_hd=deposit.VISIUM_HD)
    return folder


def test_the_demo_has_the_same_bytes_each_time(served: Path) -> None:
    one, two = (sorted(path for path in (served / name).rglob("*") if path.is_file()) for name in ("one", "two"))
    assert len(one) == len(two) == 8
    for first, second in zip(one, two, strict=True):
        assert first.read_bytes() == second.read_bytes(), first


@pytest.mark.parametrize("cohort", ["demo_xenium", "demo_visium_hd"])
def test_every_file_of_the_demo_tables_is_served(cohort: str, served: Path) -> None:
    with open(ROOT / f"config/cohorts/{cohort}.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["sample_id"] for row in rows} == set(deposit.XENIUM if cohort == "demo_xenium" else deposit.VISIUM_HD)
    files = served / "one/files"
    for row in rows:
        assert all((files / row["accession"] / row[column]).is_file() for column in ("bundle", "image"))
