"""The fit of a frame, held against rendered truth and against the vendor on real pictures; corners are made up here."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from skimage.transform import SimilarityTransform

from real_data import DATA, NOT_HERE
from spotweave.fiducials import dots
from spotweave.fiducials.detection import Detection
from spotweave.fiducials.fit import locate, relocate
from spotweave.fiducials.measures import Final, corner_error, rotation_of, standard_errors
from spotweave.fiducials.poses import inliers
from spotweave.fiducials.printing import displacement_um
from spotweave.fiducials.verdict import complaints, confidence, describe
from spotweave.geometry import apply, fit_affine, fit_similarity
from spotweave.simulate.frames import Look, draw_look, render
from spotweave.visium.array import capture_area

SHARED = DATA
REAL = {
    "151507": ("dlpfc/151507", "A1"),
    "151669": ("dlpfc/151669", "A1"),
    "151673": ("dlpfc/151673", "A1"),
    "151676": ("dlpfc/151676", "D1"),
    "anterior": ("visium_mouse_brain_anterior/spatial", None),
    "posterior": ("visium_mouse_brain_posterior_outs/spatial", None),
}


def pixel_size_um(matrix):
    return 1 / np.sqrt(abs(np.linalg.det(matrix[:2, :2])))


def detections(area_name, matrix, *, shown=(0, 1, 2, 3), false=6, seed=0, size_px=(600, 600)):
    """Corners where the matrix has them, a little off, and false ones."""
    rng = np.random.default_rng(seed)
    area, um = capture_area(area_name), pixel_size_um(matrix)
    corners = apply(matrix, area.corners_um) + rng.normal(0, 20 / um, size=(4, 2))
    found = [Detection(k, *corners[k], 390 / um, 350 / um, 0.9) for k in shown]
    for _ in range(false):
        found.append(Detection(int(rng.integers(4)), *rng.uniform(0, size_px), 390 / um, 350 / um, 0.3))
    return found


def error_um(fit, frame):
    spots = capture_area(frame.look.area).spots_um()
    off = apply(fit.matrix, spots) - apply(frame.matrix, spots)
    return np.linalg.norm(off, axis=1) * pixel_size_um(frame.matrix)


LOOKS = {
    "6.5 mm": Look(),
    "11 mm": Look(area="11 mm", letter=None, size_px=1000),
    "mirrored": Look(mirrored=True, letter="C1"),
    "upside down": Look(rotation_deg=180.0, letter="D1"),
    "turned and mirrored": Look(rotation_deg=-93.0, mirrored=True, letter="B1"),
    "11 mm turned": Look(area="11 mm", letter=None, size_px=1200, rotation_deg=91.5),
    "half hidden": Look(hidden=0.5, letter="B1"),
    "blurred": Look(blur_px=1.5, noise=6.0),
    "cut at the left": Look(margins_um=(-500.0, 900.0, 900.0, 900.0)),
    "faint": Look(dot_contrast=9.0, noise=3.0),
}


@pytest.mark.parametrize("name", LOOKS)
def test_a_frame_is_found_to_a_few_um(name):
    look = LOOKS[name]
    frame = render(np.random.default_rng(3), look)
    fit = locate(frame.picture, detections(look.area, frame.matrix, size_px=frame.picture.shape[1::-1]))
    assert fit is not None
    assert complaints(fit) == []
    assert fit.area == look.area
    assert fit.mirrored == look.mirrored
    assert np.median(error_um(fit, frame)) < 2.0
    assert fit.letter in (look.letter, None)
    assert fit.pixel_size_um == pytest.approx(pixel_size_um(frame.matrix), rel=5e-4)


@pytest.mark.parametrize("shown", [(0, 1), (0, 2), (1, 3), (0, 1, 3), (2, 3)])
def test_two_corners_are_enough(shown):
    frame = render(np.random.default_rng(4), Look(letter="A1"))
    fit = locate(frame.picture, detections("6.5 mm", frame.matrix, shown=shown))
    assert fit is not None and complaints(fit) == []
    assert np.median(error_um(fit, frame)) < 2.0


def test_the_capture_area_is_read_from_the_gap():
    for letter in ("A1", "B1", "C1", "D1"):
        frame = render(np.random.default_rng(7), Look(letter=letter, size_px=900, tissue_share=0.2))
        assert locate(frame.picture, detections("6.5 mm", frame.matrix)).letter == letter


def test_a_gap_that_is_covered_names_no_area():
    look = Look(letter="A1", size_px=900)
    frame = render(np.random.default_rng(7), look)
    picture = frame.picture.copy()
    gap = apply(frame.matrix, capture_area("6.5 mm").gaps_um).mean(axis=0).astype(int)
    picture[gap[1] - 60 : gap[1] + 60, gap[0] - 90 : gap[0] + 90] = (120, 60, 110)
    fit = locate(picture, detections("6.5 mm", frame.matrix))
    assert complaints(fit) == []
    assert fit.letter is None


def test_a_wrong_place_is_refused_even_where_most_dots_coincide():
    frame = render(np.random.default_rng(8), Look(tissue_share=0.2))
    fit = locate(frame.picture, detections("6.5 mm", frame.matrix))
    move = np.eye(3)
    move[0, 2] = 150.0  # one dot to the right along the top
    moved = relocate(frame.picture, replace(fit, matrix=fit.matrix @ move))
    assert moved is None or complaints(moved)


def test_a_frame_taken_from_behind_is_put_right_though_its_rows_are_offset():
    # Two corners taken for each other: mirrored, half of the dots fit, half a step off where the right way round has
    # them. Found among rendered frames, where it was accepted with a margin of 22 places.
    rng = np.random.default_rng([20_000_003, 1, 5])
    frame = render(rng, draw_look(rng, "hard"))
    corners = [(0, 674.3, 747.0), (1, 690.9, 163.4), (2, 94.6, 146.5)]
    fit = locate(frame.picture, [Detection(shape, x_px, y_px, 31.0, 31.0, 0.9) for shape, x_px, y_px in corners])
    assert fit is not None
    assert not fit.mirrored
    spots = capture_area("6.5 mm").spots_um()
    off_um = np.linalg.norm(apply(fit.matrix, spots) - apply(frame.matrix, spots), axis=1) * fit.pixel_size_um
    assert off_um.max() < 10


def test_no_frame_gives_no_accepted_fit():
    for seed in range(6):
        rng = np.random.default_rng([seed, 9])
        frame = render(rng, draw_look(rng, "no_frame", size_px=700))
        fit = locate(frame.picture, detections(frame.look.area, frame.matrix, seed=seed))
        assert complaints(fit)


def test_no_detections_give_no_fit():
    picture = np.full((600, 600, 3), 200, dtype=np.uint8)
    assert locate(picture, []) is None
    assert "no fiducial frame" in complaints(None)[0].reason
    assert describe(None) == {}


def test_dots_bring_the_fit_nearer_than_corners_alone():
    corners, dots = [], []
    for seed in range(5):
        frame = render(np.random.default_rng(seed), Look(tissue_share=0.3))
        fit = locate(frame.picture, detections("6.5 mm", frame.matrix, seed=seed))
        spots = capture_area("6.5 mm").spots_um()
        off = apply(fit.corners_matrix, spots) - apply(frame.matrix, spots)
        corners.append(np.median(np.linalg.norm(off, axis=1)) * pixel_size_um(frame.matrix))
        dots.append(np.median(error_um(fit, frame)))
    assert 10 * np.median(dots) < np.median(corners)


def test_a_fit_moves_with_its_picture():
    frame = render(np.random.default_rng(3), Look())
    fit = locate(frame.picture, detections("6.5 mm", frame.matrix))
    larger = fit.in_larger_picture((4.0, 4.0))
    np.testing.assert_allclose(apply(larger.matrix, fit.dots_um), 4 * apply(fit.matrix, fit.dots_um))
    assert larger.pixel_size_um == pytest.approx(fit.pixel_size_um / 4)
    assert confidence(fit) == confidence(larger) > 0.6


def vendor(name):
    folder = SHARED / REAL[name][0]
    if not folder.exists():
        pytest.skip(f"{NOT_HERE}{folder}")
    scale = json.loads((folder / "scalefactors_json.json").read_text())["tissue_lowres_scalef"]
    table = pd.read_csv(next(folder.glob("tissue_positions_list.*")), header=None)
    spots_um = capture_area("6.5 mm").spots_um(table[[2, 3]].to_numpy())
    picture = np.asarray(Image.open(folder / "tissue_lowres_image.png").convert("RGB"))
    return picture, spots_um, table[[5, 4]].to_numpy() * scale


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("printing", [True, False])
def test_on_real_frames_the_fit_agrees_with_the_vendor(name, printing):
    picture, spots_um, spots_px = vendor(name)
    found = detections("6.5 mm", fit_affine(spots_um, spots_px))
    fit = locate(picture, found) if printing else locate(picture, found, printing=None)
    assert complaints(fit) == []
    off_px = np.linalg.norm(apply(fit.matrix, spots_um) - spots_px, axis=1)
    assert np.median(off_px) <= 0.5
    assert np.percentile(off_px, 95) <= 1.0
    assert not fit.mirrored and abs(fit.rotation_deg) < 2
    assert REAL[name][1] in (fit.letter, None)
    assert fit.held_out_um / fit.pixel_size_um < (0.3 if printing else 0.6)


def test_the_print_moves_no_dot_far_and_the_frame_not_at_all():
    area = capture_area("6.5 mm")
    for letter in ("A1", "B1", "C1", "D1", None):
        moved = displacement_um(area, letter)
        assert 2 < np.sqrt((moved**2).mean()) < 12
        assert np.abs(moved).max() < 30
        matrix = fit_affine(area.dots_um, area.dots_um + moved)
        np.testing.assert_allclose(matrix[:2, 2], 0, atol=8)
        np.testing.assert_allclose(np.linalg.svd(matrix[:2, :2])[1], 1, atol=0.003)
    assert not displacement_um(capture_area("11 mm"), None).any()


def quadratic(top, bends=(3.0, 1.0), twist=0.8, size=(40, 50)):
    """A surface with its top at `top` (x, y from the corner): -bend_x dx^2 - bend_y dy^2 - twist dx dy."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    dx, dy = x - top[0], y - top[1]
    return (1000 - bends[0] * dx**2 - bends[1] * dy**2 - twist * dx * dy).astype(np.float32)


@pytest.mark.parametrize("top", [(20.3, 15.8), (31.62, 9.5), (12.05, 30.41)])
def test_the_top_of_a_tilted_parabola_is_found_exactly(top):
    found = dots._peaks(quadratic(top))
    np.testing.assert_allclose(found.xy_px, [top], atol=2e-3)


def disc(pixel_size_um, colour=0, diameter_um=90.0):
    side = round(1200 / pixel_size_um)
    y, x = (np.mgrid[:side, :side] + 0.5) * pixel_size_um - 600
    picture = np.full((side, side, 3), 200, np.uint8)
    picture[np.hypot(x, y) <= diameter_um / 2, colour] = 80
    return picture


def test_a_dot_answers_alike_at_every_pixel_size_and_in_red_only():
    answers = [dots.Evidence(disc(um)).at(np.array([[600 / um] * 2]), um, 28.0)[0] for um in (3.0, 6.0, 9.0)]
    assert min(answers) > 40
    assert max(answers) / min(answers) < 1.25
    for colour in (1, 2):
        assert dots.Evidence(disc(6.0, colour)).at(np.array([[100.0, 100.0]]), 6.0, 28.0)[0] == pytest.approx(0, abs=1)


def test_places_just_outside_a_picture_have_no_value():
    field = np.arange(12, dtype=np.float32).reshape(3, 4)
    places = np.array([(-0.2, 1.0), (1.0, -0.2), (0.0, 0.0), (3.9, 2.9), (4.0, 1.0), (1.0, 3.0)])
    framed = np.pad(field, 1, constant_values=np.nan)
    np.testing.assert_array_equal(dots.sample(framed, places), [np.nan, np.nan, 0, 11, np.nan, np.nan])


def test_the_residuals_of_a_frame_are_summed_up_by_median_and_95th_percentile():
    frame = render(np.random.default_rng(4), Look(tissue_share=0.2))
    fit = locate(frame.picture, detections("6.5 mm", frame.matrix))
    length_um = np.linalg.norm(fit.residual_um, axis=1)
    assert fit.residual_median_um == pytest.approx(np.median(length_um))
    assert fit.residual_p95_um == pytest.approx(np.percentile(length_um, 95))
    assert abs(length_um.mean() / np.median(length_um) - 1) > 0.02


def test_standard_errors_are_those_of_repeated_fits():
    area = capture_area("6.5 mm")
    rng = np.random.default_rng(5)
    places = area.dots_um[rng.choice(len(area.dots_um), 60, replace=False)]
    box = np.array([(x, y) for x in (0, 6350) for y in (0, 6699)], dtype=float)
    far = box[np.linalg.norm(box - places.mean(axis=0), axis=1).argmax()]
    scales, off_um, stated = [], [], []
    for _ in range(400):
        matrix = fit_similarity(places, places + rng.normal(0, 5, places.shape))
        scales.append(np.sqrt(np.linalg.det(matrix[:2, :2])))
        off_um.append(apply(matrix, far[None])[0] - far)
        residual_um = rng.normal(0, 5, places.shape)
        residual_um = places + residual_um - apply(fit_similarity(places, places + residual_um), places)
        stated.append(standard_errors(area, places, residual_um))
    spot_se_um, scale_se = np.sqrt((np.array(stated) ** 2).mean(axis=0))
    assert spot_se_um == pytest.approx(np.sqrt((np.array(off_um) ** 2).sum(axis=1).mean()), rel=0.12)
    assert scale_se == pytest.approx(np.std(scales), rel=0.12)


def final_of(places_um, xy_px, mirrored=False):
    final = object.__new__(Final)
    final.places_um, final.xy_px, final.is_affine, final._mirrored = places_um, xy_px, False, mirrored
    return final


def test_the_distance_of_dots_held_out_is_from_fits_without_them():
    rng = np.random.default_rng(6)
    places = rng.uniform(0, 6000, (27, 2))
    pixels = places * 0.2 + rng.normal(0, 2, places.shape)
    off_um = np.empty(27)
    for k in range(27):
        others = [i for i in range(27) if i % 5 != k % 5]
        found = SimilarityTransform.from_estimate(places[others], pixels[others])
        off_um[k] = np.linalg.norm(found(places[k]) - pixels[k]) / found.scale
    assert final_of(places, pixels)._held_out_um() == pytest.approx(np.median(off_um))


def test_a_quarter_of_the_frame_that_is_off_is_off_by_all_of_it():
    places = capture_area("6.5 mm").dots_um
    pixels = places * 0.2
    quarter = (places > (places.min(axis=0) + places.max(axis=0)) / 2).all(axis=1)
    pixels[quarter] += np.array([3.0, 4.0])  # 25 um at 5 um/px
    assert corner_error(final_of(places, pixels)) == pytest.approx(25.0)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation_deg", [-150.0, 10.0, 95.0])
def test_the_rotation_is_that_of_the_arrays_x_axis_before_a_mirror(rotation_deg, mirrored):
    angle = np.radians(rotation_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle), 3], [np.sin(angle), np.cos(angle), 5], [0, 0, 1]])
    matrix = turn @ np.diag([-0.2 if mirrored else 0.2, 0.2, 1.0])
    assert rotation_of(matrix) == pytest.approx(rotation_deg)


def test_a_twentieth_of_far_dots_is_left_out_and_none_of_the_others():
    """Of normal residuals exp(-3.5^2 / 2) lie beyond 3.5 standard deviations of a coordinate (Rayleigh)."""
    rng = np.random.default_rng(7)
    residual = rng.normal(0, 2, (20_000, 2))
    kept = inliers(residual, np.ones(len(residual), bool))
    assert 1 - kept.mean() == pytest.approx(np.exp(-(3.5**2) / 2), rel=0.3)


def test_a_measure_that_is_no_number_is_a_complaint_and_the_worst_measure_makes_the_confidence():
    frame = render(np.random.default_rng(3), Look())
    fit = locate(frame.picture, detections("6.5 mm", frame.matrix))
    for name in ("held_out_um", "corner_error_um", "spot_se_um", "residual_median_um"):
        assert len(complaints(replace(fit, **{name: float("nan")}))) == 1, name
    at_limit = replace(fit, corner_error_um=27.5)
    assert complaints(at_limit) == [] and confidence(at_limit) == pytest.approx(0.5)
    assert confidence(replace(fit, corner_error_um=55.0)) == pytest.approx(1 / 3)
