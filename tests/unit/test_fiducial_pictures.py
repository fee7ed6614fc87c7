"""What the pictures of a fit show must be where the fit has it; places are read off marks painted into the picture."""

import json
import struct
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from PIL import Image
from scipy import ndimage

from real_data import DATA, NOT_HERE
from spotweave.fiducials import pictures, printing
from spotweave.fiducials.detection import Detection
from spotweave.fiducials.measures import FrameFit
from spotweave.geometry import apply, fit_affine
from spotweave.visium.array import capture_area

SHARED = DATA
SIDE_PX = 1200
SIX = {"#0072B2": "found", "#D55E00": "missed", "#009E73": "spot", "#404040": "unused", "#FFFFFF": "glass"}
COLOURS = np.array([[int(code[at : at + 2], 16) for at in (1, 3, 5)] for code in SIX], dtype=float)
MAGENTA = np.array([255.0, 0.0, 255.0])
MARKS_PX = np.array([(400.0, 400.0), (800.0, 420.0), (420.0, 780.0)])


def placed(rotation_deg=0.0, *, mirrored=False, area_name="6.5 mm", side_px=SIDE_PX, pixel_size_um=None):
    """The map that lays an area, turned, onto the middle of a picture."""
    area = capture_area(area_name)
    um = pixel_size_um or (8.0 if area_name == "6.5 mm" else 14.0)
    cos, sin = np.cos(np.radians(rotation_deg)) / um, np.sin(np.radians(rotation_deg)) / um
    matrix = np.eye(3)
    matrix[:2, :2] = np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if mirrored else 1.0, 1.0])
    matrix[:2, 2] = side_px / 2 - matrix[:2, :2] @ area.outline_um().mean(axis=0)
    return matrix


def a_fit(matrix=None, *, area_name="6.5 mm", letter="B1", seed=0, **changed):
    """A fit that found two of three dots."""
    area = capture_area(area_name)
    matrix = placed(area_name=area_name) if matrix is None else matrix
    used = np.arange(len(area.dots_um)) % 3 != 0
    residual = np.random.default_rng(seed).normal(0, 2, size=(int(used.sum()), 2))
    length = np.linalg.norm(residual, axis=1)
    fit = FrameFit(
        area=area_name,
        letter=letter if len(area.gaps_um) else None,
        letter_margin=1.0,
        matrix=matrix,
        corners_matrix=matrix,
        is_affine=False,
        is_print=False,
        mirrored=bool(np.linalg.det(matrix[:2, :2]) < 0),
        pixel_size_um=float(1 / np.sqrt(abs(np.linalg.det(matrix[:2, :2])))),
        pixel_size_se_um=1e-4,
        rotation_deg=0.0,
        dots_matched=int(used.sum()),
        dots_inside=len(used),
        dots_um=area.dots_um[used],
        residual_um=residual,
        residual_median_um=float(np.median(length)),
        residual_p95_um=float(np.percentile(length, 95)),
        held_out_um=2.5,
        corner_error_um=1.0,
        spot_se_um=0.4,
        support=0.6,
        margin=60,
        corners_used=4,
    )
    return replace(fit, **changed)


def marked(side_px=SIDE_PX):
    """A white picture with three squares, by which its pixels are found again in what is drawn."""
    picture = np.full((side_px, side_px, 3), 255, dtype=np.uint8)
    for x, y in MARKS_PX.astype(int):
        picture[y - 20 : y + 20, x - 20 : x + 20] = MAGENTA
    return picture


def drawn_at(image):
    """The map from px of `marked()` to px of what was drawn, read off the squares in it."""
    red, green, blue = np.moveaxis(np.asarray(image)[:, :960], 2, 0)
    is_magenta = (red > 150) & (green < 130) & (blue > 150)
    ys, xs = np.nonzero(is_magenta)
    rough = np.array([(xs.min(), ys.min()), (xs.max(), ys.min()), (xs.min(), ys.max())], dtype=float)
    middles = []
    for corner in rough:
        near = np.hypot(xs - corner[0], ys - corner[1]) < 80
        middles.append([(v[near].min() + v[near].max() + 1) / 2 for v in (xs, ys)])
    return fit_affine(MARKS_PX, np.array(middles))


def named(pixels):
    """Which colour of the legend pixels have on white, however thin: blending with white keeps an ink's direction."""
    ink, inks = 255 - np.asarray(pixels, dtype=float), 255 - COLOURS[:-1]
    strength = np.linalg.norm(ink, axis=-1)
    cosine = ink @ (inks / np.linalg.norm(inks, axis=1, keepdims=True)).T / np.maximum(strength, 1)[..., None]
    return np.where(strength < 60, "glass", np.array(list(SIX.values()))[cosine.argmax(axis=-1)])


def share_of_ring(image, centres_px, radius_px, colour):
    """Per centre: how much of the circle around it has a colour, both in px of the picture."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = radius_px * np.column_stack([np.cos(angle), np.sin(angle)])
    points = (np.asarray(centres_px)[:, None] + circle).reshape(-1, 2)
    x, y = np.floor(apply(drawn_at(image), points)).astype(int).T
    return (named(np.asarray(image)[y, x]) == colour).reshape(-1, len(angle)).mean(axis=1)


def draw(fit, picture=None, **changed):
    options = {"title": "sample", "reasons": (), **changed}
    return pictures.overlay(marked() if picture is None else picture, fit, options.pop("detections", []), **options)


@cache
def standard():
    """The picture of `a_fit()`."""
    return draw(a_fit())


@pytest.mark.parametrize(
    ("area_name", "rotation_deg", "mirrored"),
    [("6.5 mm", 0.0, False), ("6.5 mm", 173.0, True), ("11 mm", 30.0, False)],
)
def test_every_dot_has_its_ring_in_the_colour_of_what_became_of_it(area_name, rotation_deg, mirrored):
    fit = a_fit(placed(rotation_deg, mirrored=mirrored, area_name=area_name), area_name=area_name)
    area = capture_area(area_name)
    image = draw(fit)
    used = np.arange(len(area.dots_um)) % 3 != 0
    # The four corners and the area are named on top of a few dots.
    dots, radius = apply(fit.matrix, area.dots_um), 45 / fit.pixel_size_um
    assert np.mean(share_of_ring(image, dots[used], radius, "found") > 0.6) > 0.93
    assert np.mean(share_of_ring(image, dots[~used], radius, "missed") > 0.6) > 0.93
    between = apply(fit.matrix, area.dots_um + np.array([area.lattice_um[0], 0.0]))
    assert np.mean(share_of_ring(image, between, radius / 4, "found") > 0.6) < 0.05


def test_a_wrong_fit_draws_its_rings_elsewhere():
    area, right = capture_area("6.5 mm"), a_fit()
    move = np.eye(3)
    move[0, 2] = 75.0
    image = draw(replace(right, matrix=right.matrix @ move))
    on_right_places = share_of_ring(image, apply(right.matrix, area.dots_um), 45 / right.pixel_size_um, "found")
    assert np.mean(on_right_places > 0.6) < 0.05


def test_dots_are_ringed_at_the_printed_places_of_the_table_the_fit_used(tmp_path):
    area = capture_area("6.5 mm")
    moved = np.zeros_like(area.dots_um)
    far = int(np.flatnonzero((area.side == 3) & (np.arange(len(area.dots_um)) % 3 != 0))[20])
    moved[far] = (-400.0, 0.0)  # left of the frame, where no other dot is
    table = tmp_path / "print.csv"
    printing.to_table({"": moved, "B1": moved}).to_csv(table, index=False)
    places = apply(a_fit().matrix, np.array([area.dots_um[far], area.dots_um[far] + moved[far]]))
    radius = 45 / a_fit().pixel_size_um
    ideal = share_of_ring(standard(), places, radius, "found")
    printed = share_of_ring(draw(a_fit(is_print=True), printing=table), places, radius, "found")
    assert ideal[0] > 0.6 > 0.2 > ideal[1]
    assert printed[1] > 0.6 > 0.2 > printed[0]


def test_spots_are_dotted_inside_their_outline():
    fit, area, image = a_fit(), capture_area("6.5 mm"), standard()
    to_drawn = drawn_at(image)
    spots = area.spots_um()
    is_clear = np.abs(apply(fit.matrix, spots)[:, None] - MARKS_PX).max(axis=2).min(axis=1) > 40
    x, y = np.floor(apply(to_drawn, apply(fit.matrix, spots[is_clear]))).astype(int).T
    pixels = np.asarray(image).astype(int)
    assert np.mean(pixels[y, x, 1] - pixels[y, x, 0] > 40) > 0.9  # greenish
    x, y = np.floor(apply(to_drawn, apply(fit.matrix, spots[is_clear] + (50.0, 0.0)))).astype(int).T
    assert np.mean(pixels[y, x, 1] - pixels[y, x, 0] > 40) < 0.05


def test_the_gap_that_names_the_area_has_no_dot_and_the_other_three_have():
    fit, area = a_fit(letter="C1"), capture_area("6.5 mm")
    image = draw(fit)
    ringed = share_of_ring(image, apply(fit.matrix, area.gaps_um), 45 / fit.pixel_size_um, "unused")
    assert (ringed[[0, 1, 3]] > 0.8).all()
    assert ringed[2] < 0.55  # dotted


@pytest.mark.parametrize(("rotation_deg", "mirrored"), [(0.0, True), (180.0, False), (-92.0, True)])
def test_the_zoomed_corners_lie_as_in_the_picture(rotation_deg, mirrored):
    fit = a_fit(placed(rotation_deg, mirrored=mirrored))
    picture = marked()
    corners = apply(fit.matrix, capture_area("6.5 mm").corners_um).astype(int)
    inks = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)], dtype=np.uint8)
    for (x, y), ink in zip(corners, inks, strict=True):
        picture[y - 6 : y + 7, x - 30 : x + 31] = ink
    pixels = np.asarray(draw(fit, picture)).astype(int)
    pixels[:, :960] = 0
    pixels[760:] = 0
    seen = []
    for ink in inks:
        ys, xs = np.nonzero(np.abs(pixels - ink).max(axis=2) < 60)
        assert len(xs) > 200
        seen.append((np.median(xs), np.median(ys)))
    right, below = (np.array(seen) > np.mean(seen, axis=0)).T
    np.testing.assert_array_equal(right, corners[:, 0] > SIDE_PX / 2)
    np.testing.assert_array_equal(below, corners[:, 1] > SIDE_PX / 2)


def test_the_file_is_the_same_bytes_twice_and_says_nothing_but_its_pixels(tmp_path):
    for name in ("one.png", "two.png"):
        pictures.write_overlay(tmp_path / name, marked(), a_fit(), [], title="sample")
    one, two = ((tmp_path / name).read_bytes() for name in ("one.png", "two.png"))
    assert one == two
    chunks, at = set(), 8
    while at < len(one):
        (length,) = struct.unpack(">I", one[at : at + 4])
        chunks.add(one[at + 4 : at + 8])
        at += length + 12
    assert chunks == {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png"]


def test_the_file_keeps_the_colours_of_the_marks_and_stays_small(tmp_path):
    rng = np.random.default_rng(1)
    tissue = np.array([(190, 140, 188)]) + rng.normal(0, 25, size=(2000, 2000, 1))
    picture = np.clip(tissue, 0, 255).astype(np.uint8)
    fit = a_fit(placed(side_px=2000))
    image = draw(fit, picture)
    pictures.write_overlay(tmp_path / "a.png", picture, fit, [], title="sample")
    assert (tmp_path / "a.png").stat().st_size < 1.5e6
    written = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    drawn = np.asarray(image).astype(int)
    for code, colour in zip(SIX, COLOURS, strict=True):
        is_mark = (drawn == colour).all(axis=2)
        assert is_mark.sum() > 50, code
        assert (written[is_mark] == colour).all(), code
    assert np.abs(written - drawn).mean() < 4


def test_without_a_fit_the_boxes_of_what_was_detected_are_drawn():
    found = [Detection(1, 300.0, 250.0, 80.0, 60.0, 0.8), Detection(3, 900.0, 1000.0, 70.0, 70.0, 0.4)]
    image = draw(None, detections=found, reasons=["no fiducial frame was found in the picture"])
    to_drawn = drawn_at(image)
    for box in found:
        # The upper side carries the name; the lower one is free.
        along = box.x_px + np.linspace(-0.45, 0.45, 30) * box.width_px
        edge = apply(to_drawn, np.column_stack([along, np.full(30, box.y_px + box.height_px / 2)]))
        x, y = np.floor(edge).astype(int).T
        rows = np.array([named(np.asarray(image)[y + dy, x]) == "missed" for dy in (-1, 0, 1)])
        assert rows.any(axis=0).mean() > 0.9
    assert image.size[0] == 1600 and image.mode == "RGB"


def test_nothing_found_at_all_is_drawn_too():
    nothing = draw(None, reasons=["no fiducial frame was found in the picture"])
    other = draw(None, reasons=["the picture is blank"])
    assert nothing.size == other.size
    assert np.asarray(nothing).tobytes() != np.asarray(other).tobytes()


def test_a_refused_fit_says_why_and_shows_what_was_detected():
    detection = Detection(0, 600.0, 600.0, 90.0, 70.0, 0.9)
    accepted = standard()
    refused = draw(a_fit(), detections=[detection], reasons=["only 12 dots of the frame were found", "too few"])
    badge = (slice(10, 46), slice(1450, 1590))
    assert (named(np.asarray(accepted)[badge]) == "found").mean() > 0.4
    assert (named(np.asarray(refused)[badge]) == "missed").mean() > 0.4
    assert refused.size[1] > accepted.size[1]  # a line for each reason
    edge = apply(drawn_at(refused), np.array([(570.0, 635.0), (640.0, 635.0)]))
    below = named(np.asarray(refused)[int(edge[0, 1]) - 2 : int(edge[0, 1]) + 3, int(edge[0, 0]) : int(edge[1, 0])])
    assert (below == "missed").any(axis=0).mean() > 0.9


@pytest.mark.parametrize("title", ["a$b$c", "x" * 300, ""])
def test_any_name_can_be_drawn(title):
    assert draw(None, title=title).size == draw(None, title="sample").size


def test_the_pixel_size_of_the_filed_picture_is_named_and_changes_nothing_below_the_headline():
    own, filed = np.asarray(standard()), np.asarray(draw(a_fit(), pixel_size_um=0.5))
    rows = np.flatnonzero((own != filed).any(axis=(1, 2)))
    assert len(rows) and rows.max() < 75


def test_a_fit_beside_the_picture_is_drawn():
    move = np.eye(3)
    move[:2, 2] = (50_000.0, 4_000.0)
    assert draw(a_fit(placed() @ move), reasons=["off"]).size[0] == 1600


@pytest.mark.parametrize("shape", [(30, 3000, 3), (3000, 30, 3), (1, 1, 3)])
def test_a_picture_of_any_shape_is_drawn(shape):
    assert draw(None, np.full(shape, 200, dtype=np.uint8)).size[0] == 1600


def test_a_large_picture_is_reduced_before_it_is_drawn(monkeypatch):
    sizes, show = [], Axes.imshow
    monkeypatch.setattr(Axes, "imshow", lambda axes, part, **how: sizes.append(part.shape) or show(axes, part, **how))
    picture = np.full((6000, 6000, 3), 190, dtype=np.uint8)
    draw(a_fit(placed(side_px=6000, pixel_size_um=1.6)), picture)
    assert len(sizes) == 5 and max(max(size) for size in sizes) < 1000


def test_on_a_real_frame_what_lies_in_a_ring_is_darker_than_what_lies_around_it():
    folder = SHARED / "dlpfc/151673"
    if not folder.exists():
        pytest.skip(f"{NOT_HERE}{folder}")
    scale = json.loads((folder / "scalefactors_json.json").read_text())["tissue_lowres_scalef"]
    table = pd.read_csv(next(folder.glob("tissue_positions_list.*")), header=None)
    area = capture_area("6.5 mm")
    vendor = fit_affine(area.spots_um(table[[2, 3]].to_numpy()), table[[5, 4]].to_numpy() * scale)
    picture = np.asarray(Image.open(folder / "tissue_lowres_image.png").convert("RGB"))

    def share_darker(matrix):
        fit = a_fit(matrix)
        on_white = named(np.asarray(draw(fit, np.full_like(picture, 255)))[:, :960]) == "found"
        brightness = np.asarray(draw(fit, picture)).sum(axis=2)[:, :960]
        discs, number = ndimage.label(ndimage.binary_fill_holes(on_white) & ~on_white)
        area_px = np.bincount(discs.ravel(), minlength=number + 1)
        round_ones = np.flatnonzero((area_px > 20) & (area_px < 100))
        inside = ndimage.median(brightness, discs, round_ones)
        rims = ndimage.maximum_filter(discs, size=11) * ~ndimage.binary_dilation(discs > 0, iterations=3)
        assert len(round_ones) > 300
        return np.mean(inside < ndimage.median(brightness, rims, round_ones) - 20)

    half_a_dot = np.eye(3)
    half_a_dot[1, 2] = 65.0
    assert share_darker(vendor) > 0.8
    assert share_darker(vendor @ half_a_dot) < 0.5


def spots_px():
    places = np.array([(x, y) for x in (200.0, 400.0, 600.0, 800.0, 1000.0) for y in (200.0, 1000.0)])
    return np.vstack([places, [(600.0, 500.0)]])
