"""Where dots and spots lie: against the numbers measured on Loupe alignment files."""

import numpy as np
import pytest

from spotweave.visium.array import GAP_COLUMN, NAMES, capture_area, dots_of


@pytest.mark.parametrize(("name", "spots", "dots"), [("6.5 mm", 4992, 555), ("11 mm", 14336, 812)])
def test_a_capture_area_has_the_spots_and_dots_of_the_vendors(name, spots, dots):
    area = capture_area(name)
    assert len(area.places()) == spots == len(area.spots_um())
    assert len(dots_of(area, "B1")) == dots
    assert len(np.unique(dots_of(area, "B1"), axis=0)) == dots


@pytest.mark.parametrize(
    ("name", "extent", "outline", "corners"),
    [
        (
            "6.5 mm",
            (6350, 6699),
            ((-537, -421), (6888, 7119)),
            ((-387, -291), (6738, -291), (6738, 6989), (-387, 6989)),
        ),
        (
            "11 mm",
            (11150, 10985.5),
            ((-578, -488), (11728.5, 11472)),
            ((-427, -358), (11577.5, -358), (11577.5, 11342), (-427, 11342)),
        ),
    ],
)
def test_the_frame_has_its_measured_size_and_corners(name, extent, outline, corners):
    area = capture_area(name)
    np.testing.assert_allclose(area.spots_um().max(axis=0), extent)
    np.testing.assert_allclose(area.outline_um()[[0, 2]], outline)
    np.testing.assert_allclose(area.corners_um, corners)


@pytest.mark.parametrize("name", NAMES)
def test_every_corner_has_its_number_of_dots_around_its_centre(name):
    area = capture_area(name)
    assert [int((area.shape == shape).sum()) for shape in range(4)] == [8, 7, 6, 6]
    for shape in range(4):
        dots = area.dots_um[area.shape == shape]
        np.testing.assert_allclose((dots.min(axis=0) + dots.max(axis=0)) / 2, area.corners_um[shape])
    triangle = area.dots_um[area.shape == 3]
    apex = triangle[triangle[:, 1].argmin()]
    np.testing.assert_allclose(apex - area.corners_um[3], (0, -130))  # 6,859 and 11,212 um, as measured


@pytest.mark.parametrize("name", NAMES)
def test_no_dot_lies_on_a_hole_or_nearer_to_another_than_150_um(name):
    from scipy.spatial import cKDTree

    area = capture_area(name)
    everything = np.vstack([dots_of(area, None), area.gaps_um, area.holes_um])
    assert cKDTree(everything).query(everything, k=2)[0][:, 1].min() > 149


def test_the_four_areas_of_a_slide_differ_by_one_dot():
    area = capture_area("6.5 mm")
    sets = {letter: set(map(tuple, dots_of(area, letter))) for letter in GAP_COLUMN}
    everything = set.union(*sets.values())
    missing = {letter: sorted(everything - dots) for letter, dots in sets.items()}
    assert {letter: [(round((x + 537) / 75), y) for x, y in gone] for letter, gone in missing.items()} == {
        "A1": [(9, -291.0)],
        "B1": [(11, -291.0)],
        "C1": [(13, -291.0)],
        "D1": [(15, -291.0)],
    }


@pytest.mark.parametrize("name", NAMES)
def test_no_turn_or_mirror_image_of_a_frame_is_the_frame(name):
    area = capture_area(name)
    dots = set(map(tuple, area.dots_um.round(1)))
    low, high = area.dots_um.min(axis=0), area.dots_um.max(axis=0)
    for flip_x, flip_y in ((True, False), (False, True), (True, True)):
        turned = area.dots_um.copy()
        if flip_x:
            turned[:, 0] = low[0] + high[0] - turned[:, 0]
        if flip_y:
            turned[:, 1] = low[1] + high[1] - turned[:, 1]
        assert len(dots - set(map(tuple, turned.round(1)))) >= 30


def test_spots_are_55_um_wide_places_100_um_apart():
    for name, between in (("6.5 mm", 100.34), ("11 mm", 99.91)):
        area = capture_area(name)
        places = area.places()
        assert ((places[:, 0] - places[:, 1]) % 2 == 0).all()
        xy = area.spots_um(np.array([(0, 0), (0, 2), (1, 1)]))
        assert xy[1, 0] - xy[0, 0] == 100
        assert np.hypot(*(xy[2] - xy[0])) == pytest.approx(between, abs=0.05)


@pytest.mark.parametrize(("name", "pitch_um"), [("6.5 mm", (50.0, 87.0)), ("11 mm", (50.0, 86.5))])
def test_the_first_number_of_a_place_is_its_row_and_moves_a_spot_down(name, pitch_um):
    area = capture_area(name)
    np.testing.assert_allclose(
        area.spots_um(np.array([(1, 3), (2, 0)])), [(3 * pitch_um[0], pitch_um[1]), (0, 2 * pitch_um[1])]
    )


@pytest.mark.parametrize("name", NAMES)
def test_dots_and_holes_fill_the_band_of_the_frame(name):
    """Three rows above and below, six columns at the sides, every second place: a dot, a gap or a hole each."""
    area = capture_area(name)
    low = area.dots_um.min(axis=0)
    everything = np.vstack([area.dots_um, area.gaps_um, area.holes_um])
    places = np.rint((everything - low) / area.lattice_um).astype(int)
    columns, rows = places.max(axis=0) + 1
    column, row = (axis.ravel() for axis in np.meshgrid(np.arange(columns), np.arange(rows)))
    band = (row < 3) | (row >= rows - 3) | (column < 6) | (column >= columns - 6)
    lattice = {(c, r) for c, r in zip(column[band].tolist(), row[band].tolist(), strict=True) if (c + r) % 2 == 0}
    # Dots of the corner shapes may stand half a step off the lattice.
    on_lattice = np.isclose((everything - low) / area.lattice_um, places, atol=1e-6).all(axis=1)
    assert lattice <= set(map(tuple, places[on_lattice].tolist()))
