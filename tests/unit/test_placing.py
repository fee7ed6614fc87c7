"""What leaves placing is the same for every technology: a table of units in slide px, transforms, measures."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from spotweave import placing
from spotweave.align.lattice import Picture
from spotweave.errors import Refusal
from spotweave.geometry import apply
from spotweave.io import read_json, write_json
from spotweave.placing import lattice
from spotweave.registry import literal
from spotweave.visium.array import capture_area

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "workflow/spotweave"
LIMITS = yaml.safe_load((ROOT / "config/config.yaml").read_text())["limits"] | {"pixel_size_max_um": 20}
AREA = capture_area("6.5 mm")
MATRIX = np.array([[0.1, 0.01, 60.0], [-0.01, 0.1, 130.0], [0, 0, 1]])
SIZE_PX = (800, 900)
OPTIONS = placing.Options((None, None), 55.0, spots_to_image_scale=0.5)


def table(filed_px):
    """All spots of a 6.5 mm array in the file's order of rows, none of them selected."""
    places = AREA.places()
    return pd.DataFrame(
        {
            "spot_id": [f"{row}x{column}" for row, column in places],
            "array_col": places[:, 1],
            "array_row": places[:, 0],
            "x_px": filed_px[:, 0],
            "y_px": filed_px[:, 1],
            "in_tissue": (places[:, 0] % 3 == 0).astype(int),
            "total_counts": np.nan,
        }
    )


FRAME = {
    "is_usable": True,
    "complaints": [],
    "matrix_to_slide": MATRIX.tolist(),
    "pixel_size_um": 9.95,
    "pixel_size_se_um": 1e-4,
    "frame": "6.5 mm",
    "capture_area_letter": None,
    "dots_matched": 300,
    "residual_median_um": 4.0,
    "residual_p95_um": 9.0,
}


def place(spots, frame=None, options=OPTIONS):
    white = np.full((SIZE_PX[1], SIZE_PX[0], 3), 235, np.uint8)
    picture = Picture("he.png", SIZE_PX)
    reading = {"capture_area": "6.5 mm", "in_tissue_known": False, "is_cytassist": True}
    return lattice.align_sample(spots, reading, frame, picture, lambda _: (white, (1.0, 1.0)), options, LIMITS)


def test_spots_are_where_the_deposit_has_them_in_pixels_of_the_slide():
    on_slide = apply(MATRIX, AREA.spots_um())
    noise = np.random.default_rng(1).normal(0, 0.2, on_slide.shape)
    filed = (on_slide + noise) / 0.5
    filed[7] = np.nan
    found = place(table(filed))
    units = found.units
    assert list(units) == list(placing.PLACED_COLUMNS)
    assert units["unit_id"].tolist() == table(filed)["spot_id"].tolist()
    assert units["in_tissue"].dtype == np.int64 and units["in_tissue"].sum() == (AREA.places()[:, 0] % 3 == 0).sum()
    np.testing.assert_array_equal(units[["x_px", "y_px"]], filed * 0.5)
    np.testing.assert_array_equal(units[["vendor_x_px", "vendor_y_px"]], filed * 0.5)
    # The map is that of all spots: one spot's noise does not reach where it is modelled.
    np.testing.assert_allclose(units[["modelled_x_px", "modelled_y_px"]], on_slide, atol=0.05)
    array, scale = found.transforms
    np.testing.assert_allclose(array.matrix, MATRIX, atol=0.05)
    expected_um = np.nanmedian(np.linalg.norm(noise[np.arange(len(noise)) != 7], axis=1)) * 9.95
    assert array.residual_um == pytest.approx(expected_um, rel=0.05)
    np.testing.assert_array_equal(scale.matrix, np.diag([0.5, 0.5, 1]))
    assert scale.residual_um is None


def test_a_spot_off_the_lattice_of_the_others_is_not_in_tissue_unless_a_frame_places_it():
    filed = apply(MATRIX, AREA.spots_um()) / 0.5
    spots = table(filed)
    spots.loc[300, ["x_px", "y_px"]] += 40.0  # 20 px of the slide: two distances between spots
    selected = spots["in_tissue"].to_numpy().copy()
    selected[300] = spots.loc[300, "in_tissue"] = 1
    by_frame = place(spots, FRAME).units["in_tissue"]
    np.testing.assert_array_equal(by_frame, selected)
    selected[300] = 0
    np.testing.assert_array_equal(place(spots).units["in_tissue"], selected)


def test_a_frame_places_them_by_column_along_x_and_by_row_along_y_and_the_vendors_stay_beside():
    filed = (apply(MATRIX, AREA.spots_um()) + np.array([1.0, 0.0])) / 0.5
    filed[:100] = np.nan
    found = place(table(filed), FRAME)
    by_hand = AREA.places()[:, ::-1] * np.array([50.0, 87.0]) @ MATRIX[:2, :2].T + MATRIX[:2, 2]
    np.testing.assert_allclose(found.units[["x_px", "y_px"]], by_hand, atol=1e-6)
    np.testing.assert_array_equal(found.units[["vendor_x_px", "vendor_y_px"]], filed * 0.5)
    (array,) = found.transforms
    assert (array.residual_um, array.residual_p95_um) == (4.0, 9.0)
    assert found.measures["positions_from"] == "fiducial frame"


def test_places_are_read_back_to_the_last_bit_and_written_the_same_each_time(tmp_path):
    found = place(table(apply(MATRIX, AREA.spots_um()) / 0.5))
    for name in ("one", "two"):
        found.write(tmp_path / f"{name}.json", tmp_path / f"{name}.parquet")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    pd.testing.assert_frame_equal(placing.read_units(tmp_path / "one.parquet"), found.units, check_exact=True)
    alignment = read_json(tmp_path / "one.json")
    np.testing.assert_array_equal(alignment["transforms"][0]["matrix"], found.transforms[0].matrix)
    write_json(tmp_path / "measures.json", found.measures)
    assert {key: alignment[key] for key in found.measures} == read_json(tmp_path / "measures.json")
    assert (alignment["image_width_px"], alignment["image_height_px"]) == SIZE_PX


def test_a_deposit_is_read_with_ids_as_they_are_and_numbers_to_the_last_bit(tmp_path):
    x_px = [0.1 + 0.2, 1 / 3, 12345.678901234567]
    pd.DataFrame({"spot_id": ["007", "NA", "1e5"], "x_px": x_px}).to_csv(tmp_path / "spots.csv", index=False)
    write_json(tmp_path / "reading.json", {"measures": {"unit": "spot"}})
    found = placing.Deposit.read(
        tmp_path / "raw.json", tmp_path / "spots.csv", tmp_path / "reading.json", None, None, OPTIONS, {}
    )
    assert found.table["spot_id"].tolist() == ["007", "NA", "1e5"]
    assert found.table["x_px"].tolist() == x_px
    assert (found.reading, found.frame) == ({"unit": "spot"}, None)


def test_an_array_of_unknown_pitch_is_refused_with_what_to_do():
    with pytest.raises(Refusal, match="give array_pitch_x_um and array_pitch_y_um in the row"):
        lattice.align_sample(table(np.ones((4992, 2))), {}, None, Picture("he.png", SIZE_PX), None, OPTIONS, LIMITS)


def test_every_way_names_limits_that_the_configuration_has():
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())["limits"]
    for way in placing.PLACINGS.names():
        assert set(literal(LIBRARY / f"{placing.PLACINGS.module(way)}.py", "LIMITS")) <= set(config)
    assert placing.PLACINGS.names() == ("lattice", "registration", "transform")
