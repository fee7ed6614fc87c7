"""Nuclei without a trained model: drawn shapes in closed form, simulated slides, real patches with labels."""

import cv2
import numpy as np
import pytest
from scipy import ndimage

from real_data import real
from spotweave.nuclei import NucleiSpec
from spotweave.nuclei.candidates import LEVELS, candidates, smoothed_red, without_holes, zones
from spotweave.nuclei.methods import classical
from spotweave.nuclei.scoring import score, total
from spotweave.simulate import nuclei_slide
from spotweave.simulate.nuclei_slide import Look

UM = 0.5
NUCLEUS, GROUND = (70, 50, 120), (205, 160, 205)


def ellipses(shape, rows, *, nucleus=NUCLEUS, ground=GROUND, blur_px=0.8, seed=0):
    """A picture of ellipses (x, y, major, minor in px, turned by degrees) and their labels."""
    labels = np.zeros(shape, np.int32)
    down, across = np.indices(shape)
    for number, (x, y, major, minor, angle) in enumerate(rows, start=1):
        cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        lengthwise, crosswise = (across - x) * cos + (down - y) * sin, (down - y) * cos - (across - x) * sin
        labels[(lengthwise / major) ** 2 + (crosswise / minor) ** 2 <= 1] = number
    picture = np.where((labels > 0)[..., None], nucleus, ground).astype(np.float32)
    picture = cv2.GaussianBlur(picture, (0, 0), blur_px)
    picture += np.random.default_rng(seed).normal(0, 2, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8), labels


def found(picture):
    """What is found on a picture that is a slide of its own."""
    return classical.segment(picture, um_per_px=UM, stain=classical.measure_stain([picture], UM))


APART = [(40 + 60 * (i % 4), 40 + 60 * (i // 4), 8 + i % 3 * 3, 7 + i % 2, 37 * i) for i in range(16)]


def test_ellipses_apart_are_found_with_their_areas():
    picture, labels = ellipses((280, 280), APART)
    got = found(picture)
    assert got.dtype == np.int32
    assert got.max() == len(APART)
    assert score(labels, got).f1 == 1.0
    for number, (_, _, major, minor, _) in enumerate(APART, start=1):
        area = (got == np.bincount(got[labels == number]).argmax()).sum()
        assert area == pytest.approx(np.pi * major * minor, rel=0.2), number


@pytest.mark.parametrize("apart_px", [15, 17, 19])
def test_discs_that_touch_or_overlap_are_parted(apart_px):
    rows = [(x + side * apart_px, y, 9, 9, 0) for x in (50, 130, 210) for y in (50, 120, 190) for side in (0, 1)]
    picture, labels = ellipses((240, 270), rows)
    assert score(labels, found(picture)).f1 == 1.0


@pytest.mark.parametrize("angle", [0, 30, 77])
def test_long_nuclei_are_not_cut(angle):
    rows = [(60 + 80 * i, 60 + 80 * j, 22, 7, angle) for i in range(3) for j in range(3)]
    picture, labels = ellipses((280, 280), rows)
    assert score(labels, found(picture)).f1 == 1.0


def test_strength_of_the_stain_and_light_change_little():
    for nucleus, ground in (((110, 90, 150), (215, 180, 220)), ((30, 20, 70), (150, 110, 150))):
        picture, labels = ellipses((280, 280), APART, nucleus=nucleus, ground=ground)
        assert score(labels, found(picture)).f1 == 1.0


def test_nothing_is_found_where_nothing_is_stained():
    blank = np.full((200, 200, 3), 240, np.uint8)
    noisy = np.clip(blank + np.random.default_rng(0).normal(0, 2, blank.shape), 0, 255).astype(np.uint8)
    assert classical.measure_stain([], UM) is None
    for picture in (blank, noisy):
        assert classical.measure_stain([picture], UM) is None
        assert found(picture).max() == 0
    picture, _ = ellipses((280, 280), APART)
    stain = classical.measure_stain([picture], UM)
    assert classical.segment(blank, um_per_px=UM, stain=stain).max() == 0


def root(got, node):
    """The whole picture above a node: at a level that the ground does not reach, what is drawn alone."""
    while got.parent[node] >= 0:
        node = got.parent[node]
    return node


def test_what_candidates_measure_is_what_shapes_have():
    picture, _ = ellipses((120, 120), [(60, 60, 20, 10, 25)], blur_px=0.5)
    got = candidates(smoothed_red(picture, UM), UM, 70.0, 205.0)
    middle = LEVELS // 2
    node = root(got, got.zone[60, 60])
    assert got.area_um2[node, middle] == pytest.approx(np.pi * 200 * UM**2, rel=0.03)
    assert got.roundness_of_ellipse[node, middle] == pytest.approx(1.0, abs=0.01)
    assert got.walled[node, middle] == 0
    # An edge of sigma s px from 0 to 1 has the gradient 1 / (s sqrt(2 pi)): the picture's blur and ours, of .3 um.
    expected = 1 / np.sqrt(2 * np.pi * (0.5**2 + 0.6**2)) / UM
    assert got.gradient[node, middle] == pytest.approx(expected, rel=0.3)
    assert got.contrast[node, middle] == pytest.approx(1.0, abs=0.2)
    # Two discs that overlap: area and second moments of all their pixels.
    picture, labels = ellipses((120, 140), [(50, 60, 20, 20, 0), (84, 60, 20, 20, 0)], blur_px=0.5)
    got = candidates(smoothed_red(picture, UM), UM, 70.0, 205.0)
    both = np.nonzero(labels)
    expected = len(both[0]) / (4 * np.pi * np.sqrt(np.linalg.det(np.cov(both))))
    assert expected < 0.96
    assert got.roundness_of_ellipse[root(got, got.zone[60, 50]), middle] == pytest.approx(expected, abs=0.01)


def test_small_holes_are_filled_with_what_lies_in_them_and_large_ones_stay():
    rng = np.random.default_rng(3)
    mask = (cv2.GaussianBlur(rng.normal(size=(200, 230)), (0, 0), 1.5) > -0.12).astype(np.uint8)
    gaps, count = ndimage.label(1 - mask)
    expected = mask.copy()
    for number in range(1, count + 1):
        gap = gaps == number
        whole = ndimage.binary_fill_holes(gap)
        rows, columns = np.nonzero(gap)
        inside = min(rows.min(), columns.min()) > 0 and rows.max() < 199 and columns.max() < 229
        if inside and whole.sum() < 40:
            expected |= whole.astype(np.uint8)
    assert expected.sum() > mask.sum() + 200
    np.testing.assert_array_equal(without_holes(mask.copy(), 40), expected)


def test_zones_are_what_climbing_a_step_at_a_time_gives():
    rng = np.random.default_rng(5)
    height = cv2.GaussianBlur(rng.random((60, 70)).astype(np.float32), (0, 0), 2.0)
    within = cv2.GaussianBlur(rng.random((60, 70)), (0, 0), 3.0) > 0.48
    got = zones(height, within)
    assert ((got > 0) == within).all()
    summits = {}
    for start in np.argwhere(within):
        place = tuple(start)
        while True:
            near = [(place[0] + i, place[1] + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
            near = [one for one in near if 0 <= one[0] < 60 and 0 <= one[1] < 70 and within[one]]
            highest = max(near, key=lambda one: height[one])
            if height[highest] <= height[place]:
                break
            place = highest
        assert summits.setdefault(place, got[tuple(start)]) == got[tuple(start)]
    assert len(summits) == len(set(summits.values())) == got.max() > 10


@pytest.fixture(scope="module")
def slide():
    """A simulated slide with little overlap, and the labels found on it."""
    drawn = nuclei_slide.draw_slide(111, Look(kept=0.3), size_um=(300.0, 300.0))
    return drawn, found(drawn.rgb)


def test_simulated_nuclei_are_found(slide):
    drawn, got = slide
    whole = score(drawn.labels, got)
    assert whole.f1 >= 0.88
    assert got.max() == pytest.approx(drawn.labels.max(), rel=0.12)


def test_simulated_nuclei_are_found_on_blurred_slides():
    """Crowded and out of focus: a whole that is several, or a gap that smoothing closes, costs .015 and more."""
    scores = []
    for seed in (111, 112):
        drawn = nuclei_slide.draw_slide(seed, Look(kept=0.6, blur_um=0.6), size_um=(300.0, 300.0))
        scores.append(score(drawn.labels, found(drawn.rgb)))
    assert total(scores).f1 >= 0.9


def test_what_is_found_does_not_depend_on_where_the_slide_is_cut(slide):
    drawn, got = slide
    stain, margin = classical.measure_stain([drawn.rgb], UM), classical.Classical.margin_px
    top, left = 37, 53
    part = classical.segment(drawn.rgb[top:, left:], um_per_px=UM, stain=stain)
    inner = np.s_[top + margin :, left + margin :]
    whole, same = got[inner], part[margin:, margin:]
    agree = score(whole, same)
    assert agree.f1 == 1.0
    assert agree.sq == pytest.approx(1.0, abs=1e-12)


def test_a_simulated_slide_is_the_same_again_and_its_labels_have_the_areas_of_ellipses():
    look = nuclei_slide.draw_look(np.random.default_rng(4))
    one, again = (nuclei_slide.draw_slide(4, look, size_um=(150.0, 150.0)) for _ in range(2))
    assert (one.rgb == again.rgb).all() and (one.labels == again.labels).all()
    px = np.bincount(one.labels.ravel())[1:]
    assert (px > 0).all(), "labels have no gap"
    nuclei = one.tissue.nuclei
    expected = np.pi * nuclei.semi_major_um * nuclei.semi_minor_um
    assert len(px) <= len(expected)
    assert np.quantile(px, 0.9) * UM**2 == pytest.approx(np.quantile(expected, 0.9), rel=0.1)
    places = nuclei_slide.centroids_um(one.labels, UM)
    assert ((places > 0) & (places < 150)).all()


def test_a_coarse_slide_is_said_to_be_of_low_quality():
    class Overview:
        pixel_size_um = 0.8

        def sample_tiles(self, count):
            return []

    spec = NucleiSpec("classical", "classical", 0.5)
    model = classical.load(spec, folder=None, device="cpu", seed=0)
    assert model.provenance == {}
    model.prepare(Overview())
    assert "0.8 um" in model.provenance["quality"]
    nothing = model.separator()(np.full((64, 64, 3), 200, np.uint8))
    assert len(nothing.classes) == nothing.labels.max() == 0


@pytest.mark.parametrize(("patches", "least"), [(("gbm02", "gbm07"), 0.85), (("lgg05", "lgg07"), 0.80)])
def test_real_nuclei_are_found(patches, least):
    scores = []
    for name in patches:
        picture = cv2.imread(str(real("data", "nuclei_glioma", f"{name}.jpg")))[:, :, ::-1]
        labels = cv2.imread(str(real("data", "nuclei_glioma", f"{name}_labels.png")), cv2.IMREAD_UNCHANGED)
        small = cv2.resize(picture, (256, 256), interpolation=cv2.INTER_AREA)
        truth = cv2.resize(labels, (256, 256), interpolation=cv2.INTER_NEAREST).astype(np.int32)
        scores.append(score(truth, found(small)))
    assert total(scores).f1 >= least
