"""Counts and selection against the picture: what is refused, flagged and left alone, on drawn and real sections."""

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from spotweave.align import agreement
from spotweave.align.lattice import Picture
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.geometry import apply
from spotweave.placing import Options
from spotweave.placing.lattice import align_sample
from spotweave.readers.visium import read as visium
from spotweave.simulate.count_files import write_h5_layout_3
from spotweave.simulate.visium import block_of, draw_truth
from spotweave.simulate.visium_files import write_positions
from spotweave.visium.array import capture_area

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared/data"
LIMITS = yaml.safe_load((ROOT / "config/config.yaml").read_text())["limits"] | {"pixel_size_max_um": 20}
UM = 10.0  # um per px of the drawn section
PITCH_UM = 200.0
COLUMNS, ROWS = 31, 33
SIZE_PX = (740, 780)


def drawn():
    """A table of spots on a hook-shaped tissue, and its picture: dark where counts are high."""
    column, row = (axis.ravel() for axis in np.meshgrid(np.arange(1, COLUMNS + 1), np.arange(1, ROWS + 1)))
    xy = np.column_stack([column, row]) * PITCH_UM / UM + 30.0
    picture = np.full((SIZE_PX[1], SIZE_PX[0], 3), 235, np.uint8)
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.ellipse(mask, (300, 350), (190, 250), 20, 0, 360, 1, -1)
    cv2.circle(mask, (430, 480), 110, 0, -1)
    shade = np.linspace(0, 1, SIZE_PX[0])[None, :, None] * np.ones((SIZE_PX[1], 1, 1))
    tissue = np.array([230, 150, 200]) * (1 - shade) + np.array([120, 60, 140]) * shade
    picture[mask > 0] = tissue[mask > 0].astype(np.uint8)
    inside = mask[xy[:, 1].astype(int), xy[:, 0].astype(int)] > 0
    counts = np.random.default_rng(2).poisson(200 + 3 * xy[:, 0])
    table = pd.DataFrame(
        {
            "spot_id": [f"{x}x{y}" for x, y in zip(column, row, strict=True)],
            "array_col": column,
            "array_row": row,
            "array_x": np.nan,
            "array_y": np.nan,
            "x_px": xy[:, 0],
            "y_px": xy[:, 1],
            "in_tissue": inside.astype(int),
            "total_counts": counts,
        }
    )
    return table, picture


TABLE, PICTURE = drawn()


def aligned(table=TABLE, picture=PICTURE, reading=None, frame=None, **options):
    size_px = picture.shape[1::-1]
    given = {"pitch_um": (PITCH_UM, PITCH_UM), "spot_diameter_um": 100.0, **options}
    return align_sample(
        table,
        reading or {},
        frame,
        Picture("he.jpg", size_px),
        lambda factor: (picture, (1.0, 1.0)),
        Options(**given),
        LIMITS,
    ).measures


def moved(change):
    table = TABLE.copy()
    table[["x_px", "y_px"]] = change(table[["x_px", "y_px"]].to_numpy())
    return table


def codes(measured):
    return [flag.partition(":")[0] for flag in measured["flags"]]


def test_a_right_section_is_measured_and_not_flagged():
    found = aligned()
    assert found["edge_auc"] > 0.97
    assert found["counts_rho"] > 0.8
    assert found["rival_gain"] < 0
    assert found["flags"] == []


@pytest.mark.parametrize("turn", [lambda p: p[:, ::-1], lambda p: p[::-1], lambda p: p[::-1, ::-1], np.rot90])
def test_a_turned_or_mirrored_picture_is_refused_with_what_would_agree(turn):
    with pytest.raises(Refusal, match="agree") as refusal:
        aligned(picture=np.ascontiguousarray(turn(PICTURE)))
    assert refusal.value.measured is not None


def test_the_rival_that_undoes_the_mistake_is_named():
    with pytest.raises(Refusal, match="better with the picture mirrored left to right, about the picture's middle"):
        aligned(picture=np.ascontiguousarray(PICTURE[:, ::-1]))
    with pytest.raises(Refusal, match="better with the picture moved by -2, 0 steps of the array"):
        aligned(moved(lambda xy: xy + np.array([2 * PITCH_UM / UM, 0])))


@pytest.mark.parametrize("step", [[1, 0], [-1, 0], [0, 1], [0, -1]])
def test_one_step_is_seen(step):
    try:
        found = aligned(moved(lambda xy: xy + np.array(step) * PITCH_UM / UM))
    except Refusal as refusal:
        assert "agree better with the picture moved by" in refusal.reason
    else:
        assert "rival-placement" in codes(found)


def test_x_and_y_exchanged_is_no_agreement():
    with pytest.raises(Refusal, match="agree"):
        aligned(moved(lambda xy: xy[:, ::-1]))


def test_the_same_exchange_on_a_direct_visium_slide_is_refused_by_its_hand():
    with pytest.raises(Refusal, match=r"mirrored onto the picture.*pxl_row_in_fullres"):
        aligned(moved(lambda xy: xy[:, ::-1]), reading={"capture_area": "6.5 mm"})
    # A CytAssist may mirror; then the picture decides.
    with pytest.raises(Refusal, match="agree"):
        aligned(moved(lambda xy: xy[:, ::-1]), reading={"capture_area": "6.5 mm", "is_cytassist": True})


@pytest.mark.parametrize(
    "names", [("pxl_row_in_fullres", "pxl_col_in_fullres"), ("pxl_col_in_fullres", "pxl_row_in_fullres")]
)
def test_a_header_that_names_rows_columns_is_seen_from_the_file_on(tmp_path, names):
    truth = draw_truth(5, whole_array=False)
    rows = [
        [f"{barcode}-1", str(inside), *map(str, place), *map(str, pixel)]
        for barcode, inside, place, pixel in zip(
            truth.barcodes, truth.in_tissue, truth.array, truth.pixels, strict=True
        )
    ]
    files = {
        "counts": write_h5_layout_3(tmp_path / "filtered.h5", block_of(truth, truth.tissue)),
        "spots": write_positions(
            tmp_path / "tissue_positions.csv", rows, ["barcode", "in_tissue", "array_row", "array_col", *names]
        ),
    }
    found = visium.read({role: RawFile(path.name, path) for role, path in files.items()})
    canvas = np.full((800, 800, 3), 235, np.uint8)  # a twentieth of the picture that the positions are of
    for y, x in truth.pixels[truth.tissue]:
        cv2.circle(canvas, (int(x) // 20, int(y) // 20), 6, (190, 110, 160), -1)

    def align():
        picture = Picture("he.tif", (16_000, 16_000))
        options = Options((None, None), 55.0)
        return align_sample(found.spots, found.report, None, picture, lambda _: (canvas, (20.0, 20.0)), options, LIMITS)

    if names[0] == "pxl_row_in_fullres":
        assert align().measures["flags"] == []
    else:
        with pytest.raises(Refusal, match="mirrored onto the picture") as refusal:
            align()
        assert (refusal.value.measured, refusal.value.threshold) == ("mirrored", "not mirrored")


def test_a_mirrored_array_that_agrees_is_flagged():
    table = TABLE.assign(array_col=COLUMNS + 1 - TABLE["array_col"])
    assert codes(aligned(table)) == ["mirrored"]


def test_a_grey_picture_is_flagged():
    grey = np.repeat(PICTURE.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    found = aligned(picture=grey)
    assert (found["edge_auc"], found["coloured_share"]) == (0.5, 0.0)
    assert "tissue-edge" in codes(found)


def test_a_picture_of_nothing_is_refused():
    with pytest.raises(Refusal, match="only 0% of them lie on tissue"):
        aligned(picture=np.full_like(PICTURE, 230))


def test_a_blackened_background_is_no_tissue():
    masked = PICTURE.copy()
    masked[(PICTURE == 235).all(axis=2)] = 0
    assert aligned(picture=masked)["edge_auc"] > 0.97


def test_a_table_of_the_spots_in_tissue_is_compared_with_the_places_beside_them():
    found = aligned(TABLE[TABLE["in_tissue"] == 1].reset_index(drop=True))
    assert found["edge_auc"] > 0.97
    assert found["flags"] == []


def test_spots_left_out_within_the_tissue_are_not_taken_for_glass():
    kept = (TABLE["in_tissue"] == 1) & (np.random.default_rng(3).random(len(TABLE)) < 0.9)
    found = aligned(TABLE[kept].reset_index(drop=True))
    assert found["edge_auc"] > 0.9
    assert found["flags"] == []


def test_part_of_a_tissue_may_be_selected_and_is_flagged():
    near = np.hypot(TABLE["x_px"] - 230, TABLE["y_px"] - 330) < 90
    found = aligned(TABLE.assign(in_tissue=near.astype(int)))
    assert found["edge_auc"] < 0.9
    assert "tissue-edge" in codes(found)


def test_where_nobody_selected_spots_nothing_is_compared():
    found = aligned(reading={"in_tissue_known": False})
    assert found["edge_auc"] is None
    assert codes(found) == ["tissue-unknown"]


def test_spots_off_the_picture_are_counted_and_dropped_up_to_the_share():
    table = TABLE.copy()
    off = table.index[table["in_tissue"] == 1][:2]
    table.loc[off, "x_px"] = -1.0
    found = aligned(table)
    assert found["spots_dropped_from_tissue"] == 2
    assert codes(found) == ["off-picture", "off-lattice"]


def test_spots_off_the_lattice_are_flagged_and_refused_beyond_the_share():
    table = TABLE.copy()
    off = table.index[table["in_tissue"] == 1][[5, 40]]
    table.loc[off, "x_px"] += 0.6 * PITCH_UM / UM
    found = aligned(table)
    assert found["spots_off_lattice"] == 2
    assert "off-lattice" in codes(found)
    assert found["pixel_size_um"] == pytest.approx(UM, rel=1e-9), "the spots that lie elsewhere do not drag the fit"
    table.loc[table.index[::40], "x_px"] += 0.6 * PITCH_UM / UM
    with pytest.raises(Refusal, match="off the lattice of the others"):
        aligned(table)


def test_a_frame_that_places_says_how_far_its_dots_lie_and_not_its_own_spots():
    small = capture_area("6.5 mm")
    matrix = np.array([[0.1, 0.0, 60.0], [0.0, 0.1, 60.0], [0, 0, 1]])
    places = small.places()
    right = apply(matrix, small.spots_um())
    selected = np.hypot(*(right - [300, 350]).T) < 150
    canvas = np.full((800, 760, 3), 235, np.uint8)
    cv2.circle(canvas, (300, 350), 150, (190, 110, 160), -1)
    vendor = right + np.array([10.0, 0.0])
    table = pd.DataFrame(
        {
            "spot_id": [f"{col}x{row}" for row, col in places.tolist()],
            "array_col": places[:, 1],
            "array_row": places[:, 0],
            "x_px": vendor[:, 0],
            "y_px": vendor[:, 1],
            "in_tissue": selected.astype(int),
            "total_counts": np.nan,
        }
    )
    frame = {
        "is_usable": True,
        "complaints": [],
        "matrix_to_slide": matrix.tolist(),
        "pixel_size_um": 10.0,
        "pixel_size_se_um": 1e-4,
        "dots_matched": 500,
        "frame": "6.5 mm",
        "capture_area_letter": "B1",
        "residual_median_um": 4.5,
        "residual_p95_um": 9.0,
    }
    reading = {"capture_area": "6.5 mm", "slide_area": "A1"}
    found = aligned(table, canvas, reading, frame, pitch_um=(None, None), spot_diameter_um=55.0)
    assert found["positions_from"] == "fiducial frame"
    assert found["pixel_size_from"] == "frame"
    assert (found["residual_um"], found["residual_p95_um"]) == (4.5, 9.0)
    assert codes(found) == ["frame-offset", "area-letter"]
    assert "100.0 um (median), 100.0 um (95th percentile)" in found["flags"][0]


def test_the_area_under_the_curve_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(4)
    values, chosen = rng.integers(0, 9, 60).astype(np.float32), rng.random(60) < 0.4
    ones, zeros = values[chosen][:, None], values[~chosen][None]
    assert agreement._auc(values, chosen) == pytest.approx(np.mean((ones > zeros) + 0.5 * (ones == zeros)))


@pytest.mark.parametrize("section", ["151507", "151673"])
def test_real_sections_pass_and_the_picture_of_another_does_not(section):
    folder = SHARED / "dlpfc" / section
    if not folder.is_dir():
        pytest.skip(f"the public data is not here: {folder}")
    names = ["spot_id", "in_tissue", "array_row", "array_col", "y_px", "x_px"]
    table = pd.read_csv(next(folder.glob("tissue_positions_list.*")), header=None, names=names)
    table = table.assign(total_counts=np.nan)
    scale = json.loads((folder / "scalefactors_json.json").read_text())["tissue_lowres_scalef"]
    pictures = {
        name: cv2.imread(str(SHARED / "dlpfc" / name / "tissue_lowres_image.png"))[..., ::-1]
        for name in (section, "151676" if section == "151507" else "151507")
    }
    outcomes = []
    for picture in pictures.values():
        try:
            found = aligned(
                table,
                np.ascontiguousarray(picture),
                {"capture_area": "6.5 mm"},
                pitch_um=(None, None),
                spot_diameter_um=55.0,
                spots_to_image_scale=scale,
            )
            outcomes.append(codes(found))
        except Refusal:
            outcomes.append(["refused"])
    own, other = outcomes
    assert own == []
    assert other in (["tissue-edge"], ["tissue-edge", "rival-placement"], ["refused"])
