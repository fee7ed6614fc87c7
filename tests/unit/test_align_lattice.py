"""The lattice aligner: what it measures on real sections and what it refuses."""

import csv

import numpy as np
import pytest

from real_data import DATA, NOT_HERE
from spotweave.align import lattice
from spotweave.errors import Refusal

SHARED = DATA
LIMITS = {
    "pixel_size_max_um": 1.15,
    "pixel_size_min_um": 0.1,
    "residual_max_um": 27.5,
    "anisotropy_max": 0.03,
    "spots_outside_max": 0.01,
}
SIZE_PX = (9300, 9900)
PICTURE = lattice.Picture("section.jpg", SIZE_PX)


def spots(pixel_size_um=0.69, columns=10, rows=12, noise_um=0.0, swap=False):
    column, row = (axis.ravel() for axis in np.meshgrid(np.arange(1, columns + 1), np.arange(1, rows + 1)))
    array = np.column_stack([column, row])
    noise = np.random.default_rng(0).normal(0, 1, array.shape) * noise_um
    xy_px = (array * 200 + noise) / pixel_size_um
    return lattice.Spots(array[:, ::-1] if swap else array, xy_px, np.ones(len(array), dtype=bool))


def refusal(given, size_px=SIZE_PX, pitch_um=(200, 200), **limits):
    with pytest.raises(Refusal) as caught:
        lattice.align(given, pitch_um, lattice.Picture("section.jpg", size_px), {**LIMITS, **limits})
    return caught.value


def read_selection(path, delimiter="\t"):
    with open(path, newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter=delimiter))
    array = np.array([[int(row["x"]), int(row["y"])] for row in rows])
    xy_px = np.array([[float(row["pixel_x"]), float(row["pixel_y"])] for row in rows])
    return lattice.Spots(array, xy_px, np.array([row["selected"] == "1" for row in rows]))


def test_a_reduced_picture_is_refused_with_its_number():
    found = refusal(spots(3.18), size_px=(2000, 2138))
    assert "section.jpg is too coarse" in found.reason
    assert found.measured == pytest.approx(3.18)
    assert found.threshold == 1.15


def test_a_pixel_size_no_scanner_has_is_refused():
    assert "finer than any scanner" in refusal(spots(0.05)).reason


def test_spots_off_their_lattice_are_refused():
    found = refusal(spots(noise_um=60))
    assert "do not lie on their lattice" in found.reason
    assert found.measured > 27.5


def test_a_pitch_that_is_wrong_on_one_axis_is_refused():
    found = refusal(spots(), pitch_um=(200, 220))
    assert "differ by 10.0%" in found.reason


def test_more_in_tissue_spots_outside_the_picture_than_the_share_allows_are_refused_and_counted():
    found = refusal(spots(), size_px=(2800, 9900))
    assert (found.measured, found.threshold) == (0.1, 0.01)
    assert "12 of 120 in-tissue spots (10.0%) lie outside section.jpg (2800 x 9900 px)" in found.reason
    assert "not a crop of it" in found.reason and "spots_to_image_scale" not in found.reason


@pytest.mark.parametrize(("number", "is_refused"), [(20, False), (69, False), (70, True)])
def test_one_in_a_hundred_in_tissue_spots_may_lie_outside(number, is_refused):
    given = spots(columns=199, rows=35)  # 6,965, as in a section on an 11 mm area
    given.xy_px[:number, 1] = -1.0
    size_px = (60_000, 60_000)
    if is_refused:
        assert refusal(given, size_px=size_px).measured == pytest.approx(number / 6965, abs=1e-4)
    else:
        picture = lattice.Picture("section.jpg", size_px)
        assert lattice.align(given, (200, 200), picture, LIMITS).spots_fitted == 6965


@pytest.mark.parametrize(
    ("size_px", "advice"),
    [
        ((1400, 1700), "reduced or cropped copy"),
        ((3600, 2950), "with x and y exchanged all lie inside"),
    ],
)
def test_the_advice_for_spots_outside_follows_from_where_they_lie(size_px, advice):
    assert advice in refusal(spots(), size_px=size_px).reason


def test_off_tissue_spots_may_lie_outside():
    given = spots()
    picture = lattice.Picture("section.jpg", (2800, 9900))
    in_tissue = ~lattice.outside_picture(given.xy_px, picture.size_px)
    fit = lattice.align(
        lattice.Spots(given.array, given.xy_px, in_tissue),
        (200, 200),
        lattice.Picture("section.jpg", (2800, 9900)),
        LIMITS,
    )
    assert fit.spots_fitted == 120


def test_negative_positions_count_as_outside():
    assert lattice.outside_picture(np.array([[-0.1, 5], [5, 5], [np.nan, 5]]), (10, 10)).tolist() == [True, False, True]


def test_two_spots_are_too_few():
    given = spots(columns=2, rows=1)
    assert "no lattice can be fitted to the 2 spots" in refusal(given).reason


def test_the_pitch_of_an_offset_lattice_is_that_to_the_nearest_neighbour():
    array = np.array([[x, y] for x in range(10) for y in range(10) if (x + y) % 2 == 0])
    assert lattice.nearest_neighbour_um(array, (3.0, 4.0)) == pytest.approx(5.0)


@pytest.mark.skipif(not (SHARED / "her2st").is_dir(), reason=f"{NOT_HERE}data/her2st")
@pytest.mark.parametrize(
    ("section", "pixel_size_um"),
    [("B4", 0.68688), ("C2", 0.68808), ("C3", 0.68633), ("C4", 0.68654), ("C5", 0.68590)],
)
def test_real_sections_give_the_independently_measured_pixel_size(section, pixel_size_um):
    fit = lattice.align(read_selection(SHARED / "her2st" / f"{section}_selection.tsv"), (200, 200), PICTURE, LIMITS)
    assert fit.pixel_size_um == pytest.approx(pixel_size_um, abs=2e-5)
    assert fit.pixel_size_se_um < 0.0007
    assert abs(fit.rotation_deg) < 0.3
    assert fit.residual_um < 16


@pytest.mark.skipif(not (SHARED / "her2st").is_dir(), reason=f"{NOT_HERE}data/her2st")
def test_the_reduced_real_picture_of_a1_is_refused():
    given = read_selection(SHARED / "her2st" / "A1_selection.tsv")
    found = refusal(lattice.Spots(given.array, given.xy_px * 0.28760, given.in_tissue), size_px=(2000, 2138))
    assert found.measured == pytest.approx(3.18, abs=0.02)


@pytest.mark.skipif(not (SHARED / "mob").is_dir(), reason=f"{NOT_HERE}data/mob")
def test_with_the_pitch_of_the_2k_array_real_mob_pixels_are_square():
    given = read_selection(SHARED / "mob" / "alignment_table_MOB1.tsv")
    loose = {**LIMITS, "pixel_size_max_um": 5, "anisotropy_max": 0.05}
    fit = lattice.align(given, (95.38, 106.45), lattice.Picture("MOB1.jpg", (1905, 1905)), loose)
    assert fit.anisotropy < 0.01
    assert 4.3 < fit.pixel_size_um < 4.5


def test_width_and_height_of_a_picture_are_not_exchanged():
    points = np.array([[15.0, 5.0], [5.0, 15.0]])
    assert lattice.outside_picture(points, (20, 10)).tolist() == [False, True]


def test_the_neighbour_distance_goes_by_the_axis_of_the_neighbour_and_not_by_repeated_spots():
    along_x, along_y = np.array([[0, 0], [1, 0], [2, 0]]), np.array([[0, 0], [0, 1], [0, 2]])
    assert lattice.nearest_neighbour_um(np.vstack([along_x, along_x]), (3.0, 4.0)) == pytest.approx(3.0)
    assert lattice.nearest_neighbour_um(along_y, (3.0, 4.0)) == pytest.approx(4.0)
