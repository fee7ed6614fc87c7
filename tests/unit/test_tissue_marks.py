"""What lies on a section beside tissue, planted with the truth known; and none of it on real clean sections."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import pyvips
from scipy import ndimage
from test_tissue import FINE_UM, INKS, SCENE_UM, draw_scene

from real_data import DATA, NOT_HERE
from spotweave.io import read_json
from spotweave.pictures.reduced import read_reduced
from spotweave.tissue import marks, polygons
from spotweave.tissue.dots import printed_dots
from spotweave.tissue.focus import blurred
from spotweave.tissue.folds import folds
from spotweave.tissue.methods import Slide, classical
from spotweave.tissue.picture import Picture

AREAS = {"min_hole_um2": 50_000.0, "min_piece_um2": 50_000.0}
EOSIN, HAEMATOXYLIN = np.array([0.07, 0.99, 0.35]), np.array([0.95, 0.95, 0.45])


def recall_and_precision(found: np.ndarray, truth: np.ndarray, slack_px: int = 2) -> tuple[float, float]:
    """Share of the truth that was found, and of what was found within `slack_px` of the truth."""
    near = ndimage.binary_dilation(truth, iterations=slack_px)
    return (found & truth).sum() / truth.sum(), (found & near).sum() / max(found.sum(), 1)


@pytest.mark.parametrize("colour", INKS)
def test_a_pen_stroke_is_marked_as_one(colour, tmp_path):
    scene = draw_scene(colour)
    side = round(SCENE_UM / FINE_UM)
    y_um, x_um = (np.mgrid[:side, :side] + 0.5) * FINE_UM
    stroke = (np.abs(x_um - 2650 - 60 * np.sin(y_um / 300)) < 130) & (y_um > 300) & (y_um < 2700)
    truth = stroke[::2, ::2]
    picture = Picture(scene.rgb, 8.0)
    found = marks.find_marks(picture, scene.truth, Slide(tmp_path / "none.png", 8.0))
    recall, precision = recall_and_precision(found["pen"], truth, 8)
    assert recall > 0.95 and precision > 0.95
    assert not found["painted"].any() and found["blur"] is None
    assert marks.shares(found, scene.truth, picture)["pen_share"] < 0.01, "the stroke lies beside the tissue"


@pytest.mark.parametrize("colour", ["blue", "green", "black"])
def test_a_pen_over_tissue_is_a_share_of_it(colour, tmp_path):
    scene = draw_scene()
    rgb = scene.rgb.copy()
    stroke = np.zeros_like(scene.truth)
    stroke[150:180, 20:300] = True
    # Ink lets a fifth of the tissue's light through.
    rgb[stroke] = (0.8 * np.array(INKS[colour]) + 0.2 * rgb[stroke] * np.array(INKS[colour]) / 255).astype(np.uint8)
    picture = Picture(rgb, 8.0)
    tissue = classical.segment(picture, **AREAS)
    found = marks.find_marks(picture, tissue, Slide(tmp_path / "none.png", 8.0))
    recall, precision = recall_and_precision(found["pen"], stroke, 8)
    assert recall > 0.95 and precision > 0.95
    hidden = (stroke & scene.truth).sum() / scene.truth.sum()
    assert marks.shares(found, tissue, picture)["pen_share"] == pytest.approx(hidden, abs=0.4 * hidden)


def test_black_paint_is_no_pen(tmp_path):
    scene = draw_scene("painted")
    found = marks.find_marks(Picture(scene.rgb, 8.0), scene.truth, Slide(tmp_path / "none.png", 8.0))
    assert found["painted"].mean() > 0.3 and not found["pen"].any()


def test_a_fold_is_marked_and_a_gland_is_not():
    """Tissue twice over in a band; and another band as dark, but blue, as glands are."""
    scene = draw_scene()
    glass = np.array([242, 242, 243.0])
    density = np.log(glass / np.maximum(scene.rgb, 1.0))
    y, x = np.mgrid[: scene.truth.shape[0], : scene.truth.shape[1]]
    fold = (np.abs(y - 225 - 0.1 * (x - 150)) < 6) & (x > 90) & (x < 210) & scene.truth
    gland = (np.abs(y - 120) < 6) & (x > 110) & (x < 200) & scene.truth
    density[fold] += np.roll(density, -14, axis=0)[fold]
    density[gland] += 0.5 * HAEMATOXYLIN
    picture = Picture(np.clip(glass * np.exp(-density), 0, 255).astype(np.uint8), 8.0)
    found = folds(picture, scene.truth)
    recall, precision = recall_and_precision(found, fold)
    assert recall > 0.7 and precision > 0.9
    assert not found[gland].any()
    assert not folds(Picture(scene.rgb, 8.0), scene.truth).any()


def nuclei_at_1_um(side_px: int) -> np.ndarray:
    """(side, side, 3) float: eosin with fibres and nuclei of some 6 um, at 1 um a pixel."""
    rng = np.random.default_rng(3)
    fibres = ndimage.gaussian_filter(rng.normal(size=(side_px, side_px)), (1.5, 5))
    nuclei = ndimage.gaussian_filter((rng.random((side_px, side_px)) < 0.006).astype(float), 1.6)
    density = (0.3 + 0.1 * fibres / fibres.std())[..., None] * EOSIN
    density = density + np.minimum(16 * nuclei, 0.9)[..., None] * HAEMATOXYLIN
    return 243 * np.exp(-np.maximum(density, 0))


def test_what_is_out_of_focus_is_marked(tmp_path):
    sharp = nuclei_at_1_um(1200)
    soft = ndimage.gaussian_filter(sharp, (2.5, 2.5, 0))
    seen = sharp.copy()
    seen[:, 600:] = soft[:, 600:]
    seen += np.random.default_rng(4).normal(scale=1.5, size=seen.shape)
    tissue = np.ones((150, 150), bool)
    truth = np.zeros_like(tissue)
    truth[:, 75:] = True
    for rgb, expected in ((seen, truth), (sharp, np.zeros_like(tissue))):
        path = tmp_path / "slide.png"
        pyvips.Image.new_from_array(np.clip(rgb, 0, 255).astype(np.uint8), interpretation="srgb").write_to_file(
            str(path)
        )
        found = blurred(Slide(path, 1.0), tissue, 8.0)
        assert (found == expected).mean() > 0.93
    assert not found.any(), "a sharp slide has no blur"


def test_focus_is_not_judged_on_a_coarse_slide(tmp_path):
    assert blurred(Slide(tmp_path / "none.png", 4.4), np.ones((9, 9), bool), 8.0) is None


def test_printed_dots_are_marked_and_specks_are_not():
    scene = draw_scene("debris")
    assert not printed_dots(Picture(scene.rgb, 8.0), scene.truth).any()
    y_um, x_um = (np.mgrid[:375, :375] + 0.5) * 8
    rgb = scene.rgb.astype(float)
    centres = [(150.0 * k + 150, y) for k in range(18) for y in (100.0, 250.0)]
    truth = np.zeros_like(scene.truth)
    for x, y in centres:
        disc = np.hypot(x_um - x, y_um - y) < 45
        truth |= disc
        rgb[disc] *= 0.8
    tissue = scene.truth & (y_um > 400)
    found = printed_dots(Picture(rgb.astype(np.uint8), 8.0), tissue)
    assert ndimage.label(found)[1] == pytest.approx(len(centres), abs=2)
    assert (found & truth).sum() / truth.sum() > 0.7


def test_marks_are_written_as_annotations_by_kind(tmp_path):
    squares = polygons.from_mask(np.pad(np.ones((10, 20), bool), 5), (8.0, 8.0))
    polygons.write_marks(tmp_path / "marks.geojson", {"pen": squares, "blur": []}, 0.5)
    content = read_json(tmp_path / "marks.geojson")
    (feature,) = content["features"]
    assert content["type"] == "FeatureCollection" and feature["geometry"]["type"] == "Polygon"
    assert feature["properties"]["kind"] == feature["properties"]["classification"]["name"] == "pen"
    assert feature["properties"]["area_mm2"] == pytest.approx(10 * 20 * (8 * 0.5 / 1000) ** 2, rel=0.02)
    polygons.write_marks(tmp_path / "none.geojson", {}, 0.5)
    assert json.loads((tmp_path / "none.geojson").read_text())["features"] == []


@pytest.mark.parametrize("name", ["dlpfc/151669", "visium_mouse_brain_anterior/spatial"])
def test_a_real_frame_is_dots_and_its_section_has_hardly_a_mark(name):
    path = DATA.joinpath(*name.split("/"), "tissue_lowres_image.png")
    if not path.exists():
        pytest.skip(f"{NOT_HERE}{name}")
    pixel_size_um = 16.1 if name.startswith("dlpfc") else 14.0
    picture = Picture(read_reduced(Path(path), 1)[0], pixel_size_um)
    tissue = classical.segment(picture, **AREAS)
    found = marks.find_marks(picture, tissue, Slide(path, pixel_size_um))
    shares = marks.shares(found, tissue, picture)
    assert shares["pen_share"] == 0 and shares["fold_share"] < 0.01 and shares["blur_share"] is None
    assert ndimage.label(found["fiducials"])[1] > 300  # of 660 printed ones, those that no tissue hides
