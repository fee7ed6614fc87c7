"""Rendered frames: their truth must be where it says."""

import numpy as np
import pytest

from spotweave.geometry import apply
from spotweave.simulate.frames import DIFFICULTIES, Look, draw_dots, draw_look, plain, render
from spotweave.visium.array import capture_area, dots_of

CALM = plain(Look(dot_contrast=60, filled_dots=0, jpeg_quality=100, shading=0.0))


def darkness(frame):
    grey = frame.picture.astype(float).sum(axis=2)
    return np.median(grey) - grey


@pytest.mark.parametrize(
    "look",
    [
        CALM,
        plain(Look(area="11 mm", letter=None, size_px=1500, dot_contrast=60, filled_dots=0, rotation_deg=7.0)),
        plain(Look(size_px=900, dot_contrast=60, filled_dots=0, rotation_deg=173.0, mirrored=True)),
    ],
)
def test_a_rings_centre_of_mass_lies_where_the_matrix_says(look):
    frame = render(np.random.default_rng(1), look)
    dark = darkness(frame)
    dots = apply(frame.matrix, dots_of(capture_area(look.area), look.letter))
    pixel_size_um = 1 / np.sqrt(abs(np.linalg.det(frame.matrix[:2, :2])))
    reach = int(70 / pixel_size_um)
    off = []
    for x, y in dots:
        column, row = int(x), int(y)
        window = np.clip(dark[row - reach : row + reach + 1, column - reach : column + reach + 1], 0, None)
        window[window < 20] = 0  # glass
        ys, xs = np.mgrid[row - reach : row + reach + 1, column - reach : column + reach + 1] + 0.5
        off.append(((window * xs).sum() / window.sum() - x, (window * ys).sum() / window.sum() - y))
    assert np.abs(np.mean(off, axis=0)).max() < 0.02
    assert np.median(np.abs(off)) < 0.1


@pytest.mark.parametrize("pixel_size_um", [4.0, 9.0, 15.0])
def test_a_lone_rings_centre_of_mass_is_true_to_a_fiftieth_of_a_pixel(pixel_size_um):
    rng = np.random.default_rng(3)
    for centre in rng.uniform(40, 41, size=(20, 2)):
        picture = np.full((81, 81, 3), 200, dtype=np.float32)
        draw_dots(rng, picture, centre[None], Look(), pixel_size_um)
        dark = (200 - picture).sum(axis=2)
        ys, xs = np.mgrid[:81, :81] + 0.5
        assert np.hypot((dark * xs).sum() / dark.sum() - centre[0], (dark * ys).sum() / dark.sum() - centre[1]) < 0.02


@pytest.mark.parametrize(("area", "letter", "number"), [("6.5 mm", "C1", 555), ("11 mm", None, 812)])
def test_every_dot_of_the_frame_is_drawn_and_no_other(area, letter, number):
    from scipy import ndimage

    look = plain(Look(area=area, letter=letter, size_px=1800, dot_contrast=60, filled_dots=1.0, jpeg_quality=100))
    _, found = ndimage.label(darkness(render(np.random.default_rng(2), look)) > 60)
    assert found == number


def test_the_same_state_gives_the_same_picture():
    look = draw_look(np.random.default_rng(5), "hard")
    one, other = (render(np.random.default_rng(6), look) for _ in range(2))
    assert (one.picture == other.picture).all() and (one.matrix == other.matrix).all()


def test_a_picture_without_a_frame_has_no_dots_to_find():
    frame = render(np.random.default_rng(1), draw_look(np.random.default_rng(1), "no_frame", size_px=600))
    assert frame.hidden.all()
    assert not frame.corners_visible.any()


def test_harder_frames_hide_more():
    hidden = {}
    for difficulty in DIFFICULTIES[:4]:
        frames = []
        for seed in range(6):
            rng = np.random.default_rng(seed)
            frames.append(render(rng, draw_look(rng, difficulty, size_px=600)).hidden.mean())
        hidden[difficulty] = np.mean(frames)
    assert hidden["easy"] < 0.1 < hidden["cruel"] < 0.75
