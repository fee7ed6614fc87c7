"""Which source places the spots, and what happens when two disagree."""

import json

import numpy as np
import pytest

from spotweave.align import frame as by_frame
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.fiducials.cytassist import to_slide
from spotweave.geometry import apply
from spotweave.visium.array import capture_area
from spotweave.visium.loupe import read_loupe

LIMITS = {"frame_offset_max_um": 250.0, "frame_offset_flagged_um": 27.5}
ARRAY_UM = capture_area("6.5 mm").spots_um()
MATRIX = np.array([[0.4, 0.01, 500.0], [-0.01, 0.4, 700.0], [0, 0, 1]])
NONE = np.full_like(ARRAY_UM, np.nan)


def frame(**changes):
    return {
        "is_usable": True,
        "complaints": [],
        "matrix_to_slide": MATRIX.tolist(),
        "pixel_size_um": 2.5,
        "frame": "6.5 mm",
        "capture_area_letter": "B1",
        **changes,
    }


def test_without_positions_the_frame_places_every_spot():
    placed = by_frame.place(ARRAY_UM, NONE, "barcode list", frame(), LIMITS)
    assert placed.source == by_frame.FRAME
    np.testing.assert_allclose(placed.xy_px, apply(MATRIX, ARRAY_UM))


def about_the_middle(linear):
    """The frame's map after a linear change of the array about its middle."""
    change, middle = np.eye(3), ARRAY_UM.mean(axis=0)
    change[:2, :2] = linear
    change[:2, 2] = middle - np.array(linear) @ middle
    return apply(MATRIX @ change, ARRAY_UM)


def test_an_accepted_frame_places_the_spots_and_the_vendors_are_compared_with_it():
    vendor = apply(MATRIX, ARRAY_UM) + np.array([4.0, 0.0])  # 10 um at 2.5 um/px
    placed = by_frame.place(ARRAY_UM, vendor, "loupe", frame(), LIMITS)
    assert placed.source == by_frame.FRAME
    np.testing.assert_allclose(placed.xy_px, apply(MATRIX, ARRAY_UM))
    assert placed.report["vendor_positions_from"] == "loupe"
    assert placed.report["frame_offset_um"] == pytest.approx(10.0, rel=0.01)
    assert placed.report["frame_offset_p95_um"] == pytest.approx(10.0, rel=0.01)
    assert placed.report["frame_disagrees"] is False


# What real tables were off by: a whole step, a step of one row, .9 % too large, 1 % along one axis. Of the last two the
# expected figures are those of points spread evenly over 6.35 x 6.7 mm.
@pytest.mark.parametrize(
    ("vendor", "median_um", "p95_um"),
    [
        (apply(MATRIX, ARRAY_UM + np.array([100.0, 0.0])), 100, 100),
        (apply(MATRIX, ARRAY_UM + np.array([-50.0, 87.0])), 100.3, 100.3),
        (about_the_middle(1.009 * np.eye(2)), 23.4, 35.2),
        (about_the_middle([[1.0, 0.0], [0.0, 1.01]]), 16.8, 31.8),
    ],
)
def test_tables_that_are_wrong_by_up_to_two_spots_are_put_right_and_flagged(vendor, median_um, p95_um):
    placed = by_frame.place(ARRAY_UM, vendor, "positions file", frame(), LIMITS)
    assert placed.report["frame_disagrees"] is True
    assert placed.report["frame_offset_um"] == pytest.approx(median_um, rel=0.03)
    assert placed.report["frame_offset_p95_um"] == pytest.approx(p95_um, rel=0.03)
    np.testing.assert_allclose(placed.xy_px, apply(MATRIX, ARRAY_UM))


def test_a_flag_takes_the_95th_percentile_where_the_median_is_small():
    vendor = apply(MATRIX, ARRAY_UM)
    vendor[: len(vendor) // 10] += 16.0 / np.sqrt(2)  # 40 um, one spot in ten
    placed = by_frame.place(ARRAY_UM, vendor, "positions file", frame(), LIMITS)
    assert placed.report["frame_offset_um"] == 0
    assert placed.report["frame_disagrees"] is True


def test_positions_known_in_part_are_compared_where_they_are_and_placed_everywhere():
    vendor = apply(MATRIX, ARRAY_UM)
    vendor[::2] = np.nan
    placed = by_frame.place(ARRAY_UM, vendor, "loupe", frame(), LIMITS)
    assert np.isfinite(placed.xy_px).all()
    assert placed.report["frame_offset_um"] == 0


QUARTER = [[0.0, -1.0], [1.0, 0.0]]


@pytest.mark.parametrize(
    ("vendor", "words"),
    [
        (apply(MATRIX, ARRAY_UM + np.array([300.0, 0.0])), "moved against it"),
        (about_the_middle([[-1.0, 0.0], [0.0, 1.0]]), "mirrored against it"),
        (about_the_middle(-np.eye(2)), "turned by .?180 degrees against it"),
        (about_the_middle(QUARTER), "turned by 90 degrees"),
        (apply(MATRIX, ARRAY_UM)[:, ::-1], "mirrored, turned by -87 degrees"),
        (0.15 * apply(MATRIX, ARRAY_UM), r"0\.15 times as large .*spots_to_image_scale 6\.667 times its own"),
    ],
)
def test_tables_of_another_section_orientation_or_scale_are_refused_with_what_is_seen(vendor, words):
    with pytest.raises(Refusal, match=words) as refusal:
        by_frame.place(ARRAY_UM, vendor, "positions file", frame(), LIMITS)
    assert refusal.value.measured > 250 == refusal.value.threshold


def test_a_mirrored_direct_slide_without_a_frame_is_refused_and_others_are_flagged():
    with pytest.raises(Refusal, match=r"mirrored .*exchanged"):
        by_frame.check_hand(True, "positions file", is_direct=True)
    assert by_frame.check_hand(True, "positions file", is_direct=False).startswith("mirrored:")
    assert by_frame.check_hand(True, by_frame.FRAME, is_direct=True).startswith("mirrored:")
    assert by_frame.check_hand(False, "positions file", is_direct=True) == ""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "no fiducial frame"),
        (frame(is_usable=False, complaints=["only 12 dots of the frame were found"]), "only 12 dots"),
        (frame(matrix_to_slide=None), "CytAssist picture"),
    ],
)
def test_with_neither_positions_nor_frame_the_sample_is_refused_with_the_reason(given, words):
    with pytest.raises(Refusal, match=words):
        by_frame.place(ARRAY_UM, NONE, "barcode list", given, LIMITS)


def test_a_frame_that_may_not_be_used_is_not_compared():
    placed = by_frame.place(ARRAY_UM, apply(MATRIX, ARRAY_UM), "loupe", frame(is_usable=False), LIMITS)
    assert placed.report == {"positions_from": "loupe"}


def test_the_pitch_is_the_rows_or_else_the_capture_areas():
    assert by_frame.array_pitch_um((200.0, 200.0), None) == (200.0, 200.0)
    assert by_frame.array_pitch_um((None, None), "6.5 mm") == (50.0, 87.0)
    assert by_frame.array_pitch_um((None, None), "11 mm") == (50.0, 86.5)
    assert by_frame.array_pitch_um((None, None), None) is None


def test_a_cytassist_frame_is_carried_to_the_picture_through_the_inverse_of_its_registration(tmp_path):
    # The H&E is turned by 90 degrees, four times as fine and shifted against the instrument's picture.
    to_instrument = np.array([[0.0, -0.25, 3000.0], [0.25, 0.0, 120.0], [0, 0, 1]])
    frame_on_instrument = np.array([[0.09, 0.0, 400.0], [0.0, 0.09, 380.0], [0, 0, 1]])
    on_slide = to_slide(frame_on_instrument, to_instrument)
    np.testing.assert_allclose(apply(to_instrument, apply(on_slide, ARRAY_UM)), apply(frame_on_instrument, ARRAY_UM))

    # and it agrees with the spots of a Loupe file written for the same slide
    places = capture_area("6.5 mm").places()
    pixels = apply(frame_on_instrument, ARRAY_UM)
    oligo = [
        {"row": int(row), "col": int(col), "imageX": x, "imageY": y}
        for (row, col), (x, y) in zip(places, pixels, strict=True)
    ]
    path = tmp_path / "alignment.json"
    path.write_text(json.dumps({"oligo": oligo, "cytAssistInfo": {"transformImages": to_instrument.tolist()}}))
    loupe = read_loupe(RawFile("alignment.json", path))
    np.testing.assert_allclose(loupe.to_instrument, to_instrument)
    np.testing.assert_allclose(loupe.table[["x_px", "y_px"]], apply(on_slide, ARRAY_UM), atol=1e-6)


@pytest.mark.parametrize(
    ("matrix", "words"),
    [([[1, 0, 0], [0, 1, 0], [0.001, 0, 1]], "no affine map"), ([[1, 1, 0], [1, 1, 0], [0, 0, 1]], "no inverse")],
)
def test_a_registration_that_is_none_is_refused(matrix, words):
    with pytest.raises(Refusal, match=words):
        to_slide(MATRIX, np.array(matrix, dtype=float))


def test_spots_off_the_picture_keep_their_negative_coordinates_and_count_only_in_tissue():
    from spotweave.align import lattice

    shifted = MATRIX.copy()
    shifted[:2, 2] = (-150.0, -90.0)  # the picture cuts the first columns and rows
    placed = by_frame.place(ARRAY_UM, NONE, "barcode list", frame(matrix_to_slide=shifted.tolist()), LIMITS)
    assert placed.xy_px.min() < 0
    limits = {
        "pixel_size_max_um": 5,
        "pixel_size_min_um": 0.1,
        "residual_max_um": 27.5,
        "anisotropy_max": 0.03,
        "spots_outside_max": 0.01,
    }
    inside = ~lattice.outside_picture(placed.xy_px, (3000, 3000))
    array = capture_area("6.5 mm").places()[:, ::-1]
    picture = lattice.Picture("cut.tif", (3000, 3000))
    fit = lattice.align(lattice.Spots(array, placed.xy_px, inside), (50.0, 87.0), picture, limits)
    np.testing.assert_allclose(fit.matrix, shifted, atol=1e-6)
    with pytest.raises(Refusal, match=r"492 of 4,992 in-tissue spots \(9\.9%\) lie outside"):
        lattice.align(lattice.Spots(array, placed.xy_px, np.ones(len(array), bool)), (50.0, 87.0), picture, limits)


@pytest.mark.parametrize(("told", "agrees"), [("B1", True), ("b1", True), ("A1", False), ("", None), (None, None)])
def test_the_letter_read_from_the_frame_is_compared_with_the_one_told(told, agrees):
    assert by_frame.check_area(frame(), "6.5 mm", told) == {"capture_area_letter": "B1", "capture_area_agrees": agrees}
    unread = by_frame.check_area(frame(capture_area_letter=None), "6.5 mm", told)
    assert unread["capture_area_agrees"] is None


def test_a_picture_of_another_kind_of_slide_is_refused():
    with pytest.raises(Refusal, match=r"that of a 6\.5 mm capture area, and the barcodes are of a 11 mm one"):
        by_frame.check_area(frame(), "11 mm", None)
    assert by_frame.check_area(None, "11 mm", "A1") == {}


def test_an_offset_on_a_slide_seen_from_behind_is_as_large_as_from_the_front():
    mirrored = MATRIX @ np.diag([-1.0, 1.0, 1.0])
    vendor = apply(mirrored, ARRAY_UM) + np.array([4.0, 0.0])
    placed = by_frame.place(ARRAY_UM, vendor, "loupe", frame(matrix_to_slide=mirrored.tolist()), LIMITS)
    assert placed.report["frame_offset_um"] == pytest.approx(10.0, rel=0.01)
    assert placed.report["frame_disagrees"] is False
