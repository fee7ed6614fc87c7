"""Bins and cells on the slide: where the deposit has them, measured; refused or flagged where the picture objects."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from real_data import real
from spotweave import placing
from spotweave.align import offset, squares
from spotweave.align.lattice import Picture
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.geometry import apply
from spotweave.io import write_json
from spotweave.placing import transform
from spotweave.readers.visium_hd import read as visium_hd

ROOT = Path(__file__).resolve().parents[2]
LIMITS = yaml.safe_load((ROOT / "config/config.yaml").read_text())["limits"]
PIXEL_UM = 0.25
BIN_UM = 16
SIDE = 200  # bins along the array: 3.2 mm
WIDE_UM, TALL_UM = 4400, 4000
SIZE_PX = (int(WIDE_UM / PIXEL_UM), int(TALL_UM / PIXEL_UM))
DRAWN_UM = 4  # um per px of the drawn picture
NOTHING = placing.Options((None, None), None)
TURN = np.deg2rad(-1.2)
MATRIX = np.eye(3)
MATRIX[:2, :2] = np.array([[np.cos(TURN), -np.sin(TURN)], [np.sin(TURN), np.cos(TURN)]]) * (-1, 1) / PIXEL_UM
MATRIX[:2, 2] = np.array([3800.0, 400.0]) / PIXEL_UM  # mirrored, as real arrays are


def tissue(seed):
    """A drawn section: picture (H, W, 3), where it is, and how many cells there are (0-1)."""
    rng = np.random.default_rng(seed)
    shape = (TALL_UM // DRAWN_UM, WIDE_UM // DRAWN_UM)
    mask = np.zeros(shape, np.uint8)
    for _ in range(5):
        centre = (int(rng.uniform(400, 700)), int(rng.uniform(350, 650)))
        axes = (int(rng.uniform(80, 240)), int(rng.uniform(60, 200)))
        cv2.ellipse(mask, centre, axes, rng.uniform(0, 180), 0, 360, 1, -1)
    cells = np.zeros(shape)
    for blur in (4, 20):
        field = cv2.GaussianBlur(rng.normal(size=shape), (0, 0), blur)
        cells += (field - field.min()) / np.ptp(field) / 2
    stained = np.array([235, 190, 215.0]) * (1 - cells[..., None]) + np.array([100, 60, 140.0]) * cells[..., None]
    picture = np.where(mask[..., None] > 0, stained, 238.0) + rng.normal(0, 3, (*shape, 3))
    return np.clip(picture, 0, 255).astype(np.uint8), mask > 0, cells


def bins(seed, shift_um=(0.0, 0.0)):
    """The reader's table of a section, and its picture; counts of tissue `shift_um` away, in um of the array."""
    picture, mask, cells = tissue(seed)
    row, column = (axis.ravel() for axis in np.mgrid[:SIDE, :SIDE])
    um = (np.column_stack([column, row]) + 0.5) * BIN_UM
    xy_px = apply(MATRIX, um)
    j, i = np.floor(apply(MATRIX, um - np.array(shift_um)) * PIXEL_UM / DRAWN_UM).astype(int).T
    counts = np.random.default_rng(seed + 1000).poisson(20 * cells[i, j] * mask[i, j])
    table = pd.DataFrame(
        {
            "spot_id": [
                f"s_016um_{at_row:05d}_{at_column:05d}-1" for at_row, at_column in zip(row, column, strict=True)
            ],
            "array_col": pd.array(column, dtype="Int64"),
            "array_row": pd.array(row, dtype="Int64"),
            "x_px": xy_px[:, 0],
            "y_px": xy_px[:, 1],
            "in_tissue": mask[i, j].astype(int),
            "total_counts": pd.array(counts, dtype="Int64"),
        }
    )
    return table, picture


TABLE, PICTURE = bins(0)


def place(table=TABLE, picture=PICTURE, size_px=SIZE_PX, options=NOTHING, tag_um=None, **reading):
    report = {"unit": "bin", "bin_size_um": float(BIN_UM), "scalefactors": {"microns_per_pixel": PIXEL_UM}, **reading}

    def reduced(factor):
        shape = [max(1, round(side * min(factor, 1))) for side in size_px]
        return cv2.resize(picture, shape, interpolation=cv2.INTER_AREA), (size_px[0] / shape[0], size_px[1] / shape[1])

    return transform.place_units(table, report, Picture("he.tif", size_px, tag_um), reduced, options, LIMITS)


def moved(change):
    table = TABLE.copy()
    table[["x_px", "y_px"]] = change(table[["x_px", "y_px"]].to_numpy())
    return table


def codes(placement):
    return [flag.partition(":")[0] for flag in placement.measures["flags"]]


def refusal(*given, **more):
    with pytest.raises(Refusal) as caught:
        place(*given, **more)
    return caught.value


def test_bins_are_where_the_deposit_has_them_and_what_was_found_is_said(tmp_path):
    found = place()
    assert list(found.units) == list(placing.PLACED_COLUMNS)
    filed = TABLE[["x_px", "y_px"]].to_numpy()
    np.testing.assert_array_equal(found.units[["x_px", "y_px"]], filed)
    np.testing.assert_array_equal(found.units[["vendor_x_px", "vendor_y_px"]], filed)
    np.testing.assert_allclose(found.units[["modelled_x_px", "modelled_y_px"]], filed, atol=1e-6)
    assert found.units["in_tissue"].tolist() == TABLE["in_tissue"].tolist()
    measured = found.measures
    assert measured["pixel_size_um"] == pytest.approx(PIXEL_UM, rel=1e-6)
    assert measured["pixel_size_from"] == "lattice" and measured["mirrored"]
    assert (measured["bin_size_um"], measured["spot_pitch_um"]) == (BIN_UM, BIN_UM)
    assert measured["agreement"] > 1.4 and measured["rival_gain"] < 0
    assert np.abs(measured["counts_offset_um"]).max() < 2
    assert measured["flags"] == []
    np.testing.assert_allclose(found.transforms[0].matrix, MATRIX, atol=1e-6)
    needed = ("pixel_size_se_um", "anisotropy", "residual_um", "positions_from")
    assert all(measured[name] is not None for name in needed)
    write_json(tmp_path / "measures.json", measured)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (moved(lambda xy: xy * (-1, 1) + (SIZE_PX[0], 0)), "mirrored left to right"),
        (moved(lambda xy: np.array(SIZE_PX) - xy), "turned by 180 degrees"),
        (moved(lambda xy: xy[:, ::-1]), "x and y exchanged"),
        (moved(lambda xy: xy + np.array([64 / PIXEL_UM, 0])), "moved by 1, 0 steps"),
        (moved(lambda xy: xy + np.array([0, -128 / PIXEL_UM])), "moved by 0, 2 steps"),
    ],
)
def test_bins_in_another_place_are_refused_with_where_they_agree(table, said):
    found = refusal(table)
    assert "agree better with the picture" in found.reason and said in found.reason
    assert found.measured > found.threshold == LIMITS["rival_gain_max"]


@pytest.mark.parametrize("other", [52, 57, 60, 61])  # of fourteen tried, the most alike
def test_another_slides_picture_is_refused(other):
    found = refusal(TABLE, tissue(other)[0])
    assert found.measured is not None and found.threshold is not None
    assert "picture" in found.reason or "he.tif" in found.reason


@pytest.mark.parametrize("shift_um", [(16.0, 0.0), (0.0, -16.0), (-20.0, 12.0)])
def test_a_step_too_small_for_rivals_is_measured_and_flagged(shift_um):
    found = place(*bins(3, shift_um))
    np.testing.assert_allclose(found.measures["counts_offset_um"], shift_um, atol=2)
    assert codes(found) == ["counts-offset"]


@pytest.mark.parametrize(("shift_um", "said"), [(0.0, "no such step is seen here"), (16.0, "such a step is seen here")])
def test_the_known_shift_of_firmware_is_said_with_what_the_picture_shows_of_it(shift_um, said):
    found = place(*bins(3, (0.0, shift_um)), software="spaceranger-3.0.1", cytassist_shift_possible=True)
    (flag,) = [flag for flag in found.measures["flags"] if flag.startswith("cytassist-shift")]
    assert f"({said})" in flag and "spaceranger-3.0.1" in flag


def test_a_hires_picture_is_refused_with_what_to_give():
    found = refusal(size_px=(SIZE_PX[0] // 10, SIZE_PX[1] // 10))
    assert "a reduced or cropped copy" in found.reason
    assert found.measured > 0.9


def test_a_picture_twice_as_large_is_refused():
    found = refusal(size_px=(2 * SIZE_PX[0], 2 * SIZE_PX[1]))
    assert "do not agree with the picture" in found.reason and found.measured < LIMITS["agreement_min"]


def test_a_picture_of_another_scale_is_taken_by_the_rows_scale():
    double = placing.Options((None, None), None, spots_to_image_scale=2.0)
    found = place(size_px=(2 * SIZE_PX[0], 2 * SIZE_PX[1]), options=double)
    assert found.measures["pixel_size_um"] == pytest.approx(PIXEL_UM / 2, rel=1e-6)
    assert found.measures["pixel_size_estimates"]["scalefactors"]["um"] == PIXEL_UM / 2
    assert found.measures["flags"] == []


def test_a_crop_is_refused_beyond_the_limit_and_flagged_below():
    inside = TABLE["in_tissue"] == 1
    left = int(TABLE.loc[inside, "x_px"].quantile(0.995))
    picture = PICTURE[:, : int(left * PIXEL_UM / DRAWN_UM)]
    assert codes(place(picture=picture, size_px=(left, SIZE_PX[1]))) == ["off-picture"]
    left = int(TABLE.loc[inside, "x_px"].quantile(0.97))
    assert refusal(picture=picture, size_px=(left, SIZE_PX[1])).threshold == LIMITS["spots_outside_max"]


def test_pixel_sizes_that_differ_are_flagged_and_the_lattice_is_taken():
    stated = placing.Options((None, None), None, stated_pixel_size_um=0.5)
    found = place(options=stated, tag_um=0.2738)
    assert found.measures["pixel_size_um"] == pytest.approx(PIXEL_UM, rel=1e-6)
    assert codes(found) == ["pixel-size"]
    assert found.measures["pixel_size_stated_deviation"] == 1.0


def test_bins_off_the_lattice_have_no_place_and_many_are_refused():
    table = TABLE.copy()
    table.loc[[40, 20_100], "x_px"] += 40 / PIXEL_UM
    found = place(table)
    assert np.flatnonzero(found.units["x_px"].isna()).tolist() == [40, 20_100]
    assert not found.units.loc[[40, 20_100], "in_tissue"].any()
    assert found.measures["spots_off_lattice"] == 2 and codes(found) == ["off-lattice"]
    table.loc[: SIDE * SIDE // 20, "x_px"] += 40 / PIXEL_UM
    assert refusal(table).threshold == LIMITS["spots_off_lattice_max"]


def test_what_cannot_be_judged_is_flagged():
    assert codes(place(TABLE.assign(in_tissue=1).iloc[: SIDE * 8])) == ["not-judged"]


def test_a_coarse_picture_is_refused():
    found = refusal(moved(lambda xy: xy / 8), size_px=(SIZE_PX[0] // 8, SIZE_PX[1] // 8))
    assert "too coarse" in found.reason and found.measured == pytest.approx(2.0)


def cells(seed):
    picture, mask, density = tissue(seed)
    rng = np.random.default_rng(seed + 2000)
    um = rng.uniform(0, 1, (60_000, 2)) * (WIDE_UM - 1, TALL_UM - 1)
    j, i = (um // DRAWN_UM).astype(int).T
    um = um[mask[i, j] & (rng.random(len(um)) < density[i, j])]
    number = pd.array([pd.NA] * len(um), dtype="Int64")
    table = pd.DataFrame({"spot_id": [f"cellid_{k:09d}-1" for k in range(len(um))], "array_col": number})
    xy_px = um / PIXEL_UM
    counts = pd.array(rng.poisson(20, len(um)), dtype="Int64")
    more = {"array_row": number, "x_px": xy_px[:, 0], "y_px": xy_px[:, 1], "in_tissue": 1, "total_counts": counts}
    return table.assign(**more), picture


def test_cells_are_placed_as_they_are_and_judged_like_bins():
    table, picture = cells(4)
    found = place(table, picture, unit="cell")
    np.testing.assert_array_equal(found.units[["x_px", "y_px"]], table[["x_px", "y_px"]])
    assert found.units["modelled_x_px"].isna().all()
    measured = found.measures
    assert (measured["pixel_size_um"], measured["pixel_size_from"]) == (PIXEL_UM, "scalefactors")
    assert (measured["bin_size_um"], measured["anisotropy"], measured["residual_um"]) == (None, None, None)
    assert measured["flags"] == []
    turned = refusal(table.assign(x_px=SIZE_PX[0] - table["x_px"]), picture, unit="cell")
    assert "agree better" in turned.reason


def test_cells_without_any_pixel_size_are_refused():
    table, picture = cells(4)
    assert "nothing says how large a pixel is" in refusal(table, picture, unit="cell", scalefactors={}).reason


def test_the_real_folder_is_placed_on_a_picture_of_its_size_and_refused_on_its_reduced_one():
    folder = real("data/visium_hd_schema/binned_outputs/square_002um")
    roles = {
        "counts": "filtered_feature_bc_matrix.h5",
        "spots": "spatial/tissue_positions.parquet",
        "scalefactors": "spatial/scalefactors_json.json",
    }
    reading = visium_hd.read({role: RawFile(name, folder / name) for role, name in roles.items()})
    found = place(reading.spots, np.full((10, 10, 3), 240, np.uint8), (22_000, 22_000), **reading.report)
    assert found.measures["pixel_size_um"] == pytest.approx(0.27399, abs=1e-5)  # 0.06 % off the scale factors
    assert found.measures["residual_um"] < 0.2
    assert codes(found) == ["not-judged"]
    small = (473, 600)
    with pytest.raises(Refusal, match=r"10 of 10 in-tissue spots .* a reduced or cropped copy"):
        place(reading.spots, np.full((10, 10, 3), 240, np.uint8), small, **reading.report)


# --- squares and steps ----------------------------------------------------------------------------


def test_squares_sum_what_lies_in_them():
    um = np.array([[1.0, 1], [3, 1], [1, 3], [3, 3], [5, 1], [-1, 1], [np.nan, 0]])
    used = np.array([True, True, False, True, True, True, True])
    counts = np.array([2.0, 4, 9, np.nan, 7, 1, 5])
    found = squares.square_up(um, used, counts, 4.0, by_area=True)
    assert found.array.tolist() == [[-1, 0], [0, 0], [1, 0]]
    assert found.in_tissue.tolist() == [False, True, False]
    assert found.counts.tolist() == [1, 3, 7]
    cells = squares.square_up(um, used, counts, 4.0, by_area=False)
    assert cells.in_tissue.tolist() == [True, True, True]
    assert cells.counts.tolist() == [1, 6, 7]


def test_counts_that_say_nothing_tell_no_step():
    places = np.column_stack([axis.ravel() for axis in np.mgrid[:30, :30]]) * 16.0
    picture = np.full((200, 200, 3), 230, np.uint8)
    assert offset.measure(picture, (4.0, 4.0), places, np.ones(900), np.eye(3), 16.0) is None
    counts = np.random.default_rng(0).poisson(9, 900).astype(float)
    found = offset.measure(picture, (4.0, 4.0), places, counts, np.eye(3), 16.0)
    assert found is not None and not found.is_told
