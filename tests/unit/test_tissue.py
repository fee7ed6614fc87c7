"""Tissue on planted scenes, on real sections against their spots, and the way of its outlines through GeoJSON."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import pyvips
import shapely
import yaml
from scipy import ndimage
from skimage.morphology import remove_small_holes

from real_data import DATA, NOT_HERE
from spotweave.errors import Refusal
from spotweave.io import is_refused, read_json, write_json
from spotweave.pictures.reduced import read_reduced
from spotweave.simulate.lung import grow_lung, photograph
from spotweave.tissue import agreement, masks, polygons, section
from spotweave.tissue.methods import TISSUE_METHODS, classical, takes
from spotweave.tissue.picture import GlassSettings, Picture, stain_density
from spotweave.tissue.strength import stain_strength

ROOT = Path(__file__).resolve().parents[2]
SCENE_UM = 3000.0
FINE_UM = 4.0

INKS = {"blue": (35, 60, 170), "green": (25, 130, 70), "red": (215, 35, 45), "black": (25, 25, 28)}
LILAC = (221, 208, 224)


def segment(rgb: np.ndarray, pixel_size_um: float, min_hole_um2: float = 50_000.0) -> np.ndarray:
    picture = Picture(rgb, pixel_size_um)
    return classical.segment(picture, min_hole_um2=min_hole_um2, min_piece_um2=section.MIN_PIECE_UM2)


@dataclass
class Scene:
    """A drawn section: what the camera sees, and where the tissue is."""

    rgb: np.ndarray
    truth: np.ndarray
    pixel_size_um: float


def draw_scene(*nuisances: str, pixel_size_um: float = 8.0, tissue: bool = True, glass=(242, 242, 243)) -> Scene:
    """A lobed section on 3 x 3 mm of glass: eosin with fibres, haematoxylin nuclei, and the nuisances asked for.

    Everything is drawn in optical density at 4 um per pixel and averaged to the pixel size, so that two pixel sizes
    show one scene. Ink is drawn beside the tissue, so that truth does not depend on it.
    """
    rng = np.random.default_rng(7)
    side = round(SCENE_UM / FINE_UM)
    y_um, x_um = (np.mgrid[:side, :side] + 0.5) * FINE_UM
    dx, dy = x_um - 1350, y_um - 1350
    angle, radius = np.arctan2(dy, dx), np.hypot(dx, dy)
    rim = 800 * (1 + 0.15 * np.cos(3 * angle) + 0.06 * np.sin(7 * angle))
    truth = (radius < rim) & (np.hypot(dx - 250, dy + 150) > 190)
    density = np.zeros((side, side, 3))
    eosin, haematoxylin = np.array([0.07, 0.99, 0.35]), np.array([0.95, 0.95, 0.45])
    if tissue:
        fibres = ndimage.gaussian_filter(rng.normal(size=(side, side)), 2)
        fibres = 0.3 + 0.08 * fibres / fibres.std()
        nuclei = (rng.random((side, side)) < 0.02).astype(float)
        nuclei = np.minimum(ndimage.gaussian_filter(nuclei, 0.9) * 6, 1.0)
        stained = fibres[..., None] * eosin + nuclei[..., None] * haematoxylin
        density += stained * ndimage.gaussian_filter(truth.astype(float), 0.7)[..., None]
    else:
        truth = np.zeros_like(truth)
    grey = np.ones(3)
    if "halo" in nuisances:
        outside_um = np.maximum(radius - rim, 0)
        side_of = 0.5 * (1 + np.cos(angle - 1.2))
        density += (0.2 * np.exp(-outside_um / 700) * side_of * ~truth)[..., None] * np.array([0.1, 1.0, 0.2])
    if "shadow" in nuisances:
        bars = np.zeros((side, side))
        bars[-80:-15, 80:300] = bars[-80:-15, 450:700] = bars[150:400, -80:-15] = 0.35
        density += ndimage.gaussian_filter(bars, 18)[..., None] * grey
    if "bubble" in nuisances:
        for centre, size_um in (((2600, 2500), 260), ((2650, 350), 90)):
            ring = np.abs(np.hypot(x_um - centre[0], y_um - centre[1]) - size_um) < 22
            density += (0.7 * ndimage.gaussian_filter(ring.astype(float), 1))[..., None] * grey
    if "debris" in nuisances:
        for cx, cy in rng.uniform(100, SCENE_UM - 100, (60, 2)):
            column, row = int(cx / FINE_UM), int(cy / FINE_UM)
            speck = np.exp(-((x_um[:15, :15] - 30) ** 2 + (y_um[:15, :15] - 30) ** 2) / (2 * 9**2))[..., None]
            density[row - 7 : row + 8, column - 7 : column + 8] += 0.9 * speck * (grey if cx > 1500 else haematoxylin)
    background = np.array(LILAC if "tint" in nuisances else glass, float)
    picture = background * np.exp(-density)
    for colour, ink in INKS.items():
        if colour in nuisances:
            stroke = np.abs(x_um - 2650 - 60 * np.sin(y_um / 300)) < 130
            stroke &= (y_um > 300) & (y_um < 2700)
            cover = ndimage.gaussian_filter(stroke.astype(float), 2)[..., None]
            picture = picture * (1 - cover) + np.array(ink) * cover
    picture += rng.normal(scale=1.5, size=picture.shape)
    if "painted" in nuisances:
        picture[radius > rim + 60] = 0
    step = round(pixel_size_um / FINE_UM)
    shape = (side // step, step, side // step, step)
    rgb = picture.reshape(*shape, 3).mean(axis=(1, 3))
    return Scene(
        np.clip(rgb, 0, 255).round().astype(np.uint8), truth.reshape(shape).mean(axis=(1, 3)) > 0.5, step * 4.0
    )


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return (one & other).sum() / max((one | other).sum(), 1)


@pytest.mark.parametrize(
    "nuisances",
    [
        (),
        ("tint",),
        ("halo",),
        ("shadow",),
        ("bubble",),
        *((colour,) for colour in INKS),
        ("painted",),
        ("tint", "halo", "shadow", "bubble", "debris"),
        ("tint", "halo", "debris", "red"),
    ],
    ids="+".join,
)
def test_planted_tissue_is_found_whatever_else_lies_on_the_glass(nuisances):
    scene = draw_scene(*nuisances)
    found = segment(scene.rgb, scene.pixel_size_um)
    assert overlap(found, scene.truth) > 0.96
    far = ndimage.distance_transform_edt(~scene.truth) * scene.pixel_size_um > 100
    assert not found[far].any(), "something that is no tissue was taken for it"


def test_plain_otsu_on_grey_fails_where_this_method_does_not():
    """The nuisances are hard enough to mean something."""
    from skimage.filters import threshold_otsu

    scene = draw_scene("tint", "halo", "shadow", "bubble", "debris")
    grey = scene.rgb.mean(axis=2)
    assert overlap(grey < threshold_otsu(grey), scene.truth) < 0.9


@pytest.mark.parametrize("nuisances", [(), ("halo", "shadow", "bubble", "debris"), ("blue",), ("black",)], ids="+".join)
def test_an_empty_slide_has_no_tissue(nuisances):
    scene = draw_scene(*nuisances, tissue=False)
    assert not segment(scene.rgb, scene.pixel_size_um).any()


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_uniform_picture_has_no_tissue(level):
    assert not segment(np.full((60, 50, 3), level, np.uint8), 8.0).any()


def test_the_same_scene_has_the_same_area_at_4_and_8_um_per_pixel():
    areas = []
    for pixel_size_um in (4.0, 8.0):
        scene = draw_scene("tint", "halo", "debris", pixel_size_um=pixel_size_um)
        assert scene.pixel_size_um == pixel_size_um
        areas.append(segment(scene.rgb, pixel_size_um).sum() * pixel_size_um**2)
    assert areas[0] == pytest.approx(areas[1], rel=0.03)


@pytest.mark.parametrize(
    ("nuisance", "without"), [("blue", {"ink_density": 99.0}), ("red", {"ink_density": 99.0})], ids=["blue", "red"]
)
def test_ink_would_be_tissue_if_its_hue_were_not_looked_at(nuisance, without):
    scene = draw_scene(nuisance)
    picture = Picture(scene.rgb, 8.0, GlassSettings(**without))
    found = classical.segment(picture, min_hole_um2=50_000.0, min_piece_um2=50_000.0)
    assert overlap(found, scene.truth) < 0.9


def test_a_dim_lamp_or_a_quarter_turn_changes_next_to_nothing():
    scene = draw_scene("halo", "shadow")
    found = segment(scene.rgb, 8.0)
    dim = segment((scene.rgb * 0.72).round().astype(np.uint8), 8.0)
    turned = segment(np.ascontiguousarray(np.rot90(scene.rgb)), 8.0)
    assert overlap(found, dim) > 0.98
    assert overlap(found, np.rot90(turned, -1)) > 0.999


def test_large_holes_stay_and_small_ones_are_filled():
    scene = draw_scene()
    keeps = segment(scene.rgb, 8.0)
    fills = segment(scene.rgb, 8.0, min_hole_um2=200_000)
    centre = (round(1200 / 8), round(1600 / 8))
    assert not scene.truth[centre] and not keeps[centre] and fills[centre]


def test_stain_density_of_the_pure_stains_is_high_and_of_grey_is_zero():
    assert stain_density(np.array([0.07, 0.99, 0.11])) == pytest.approx(0.92)
    assert stain_density(np.array([0.65, 0.70, 0.29])) == pytest.approx(0.41)
    assert stain_density(np.array([0.5, 0.5, 0.5])) == 0


@pytest.mark.parametrize("picture", [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3), float)])
def test_a_picture_that_is_not_8_bit_rgb_is_an_error(picture):
    with pytest.raises(ValueError, match="uint8"):
        segment(picture, 8.0)


def rings_and_islands() -> np.ndarray:
    """A blob with a hole, an island in that hole, and a piece that touches the border."""
    y, x = np.mgrid[:300, :400]
    radius = np.hypot(x - 150, y - 150)
    mask = (radius < 110) & (radius > 60) | (radius < 30)
    mask[200:, 330:] = True
    return mask


def test_a_mask_survives_the_way_through_geojson(tmp_path):
    mask, scale = rings_and_islands(), (11.6, 11.5)
    traced = polygons.from_mask(mask, scale)
    polygons.write_geojson(tmp_path / "tissue.geojson", traced, 0.7)
    back = polygons.read_geojson(tmp_path / "tissue.geojson")
    assert [len(piece.interiors) for piece in back] == [1, 0, 0]
    assert all(piece.is_valid for piece in back)
    assert overlap(polygons.to_mask(back, mask.shape, scale), mask) > 0.999


def test_areas_are_in_um2_and_positions_in_px_of_the_slide(tmp_path):
    mask = np.zeros((50, 40), bool)
    mask[10:20, 5:35] = True
    (piece,) = polygons.from_mask(mask, (8.0, 8.0))
    assert piece.bounds == (40, 80, 280, 160)
    polygons.write_geojson(tmp_path / "tissue.geojson", [piece], 0.5)
    (feature,) = read_json(tmp_path / "tissue.geojson")["features"]
    assert feature["properties"]["tissue_id"] == 0
    assert feature["properties"]["area_um2"] == pytest.approx(10 * 30 * 16, rel=0.01)
    assert feature["properties"]["area_mm2"] == pytest.approx(10 * 30 * 16e-6, rel=0.01)
    assert feature["properties"]["measurements"] == {"Area mm^2": feature["properties"]["area_mm2"]}
    assert feature["geometry"]["coordinates"][0][0] == feature["geometry"]["coordinates"][0][-1]


def test_simplified_outlines_have_far_fewer_points_and_the_same_shape():
    mask, scale = rings_and_islands(), (11.6, 11.6)
    full, simple = polygons.from_mask(mask, scale), polygons.from_mask(mask, scale, simplify_px=6)
    assert shapely.get_num_coordinates(simple).sum() < 0.4 * shapely.get_num_coordinates(full).sum()
    assert overlap(polygons.to_mask(simple, mask.shape, scale), mask) > 0.99
    assert all(piece.is_valid for piece in simple)


def test_holes_and_pieces_below_the_limits_are_left_out():
    traced = polygons.from_mask(rings_and_islands(), (1, 1), min_hole_px2=12_000, min_piece_px2=3_000)
    assert [len(piece.interiors) for piece in traced] == [0, 0]
    assert traced[0].area == pytest.approx(np.pi * 110**2, rel=0.01)


def test_an_empty_mask_has_no_polygons():
    assert polygons.from_mask(np.zeros((9, 9), bool), (1, 1)) == []


@pytest.mark.parametrize(
    "text", ["{}", "[1, 2", '{"features": [{"geometry": {"type": "Point", "coordinates": [1, 2]}}]}']
)
def test_a_file_that_holds_no_polygons_is_refused(tmp_path, text):
    (tmp_path / "tissue.geojson").write_text(text)
    with pytest.raises(Refusal, match=r"tissue\.geojson"):
        polygons.read_geojson(tmp_path / "tissue.geojson")


def test_an_outline_that_crosses_itself_is_taken_apart(tmp_path):
    path = tmp_path / "tissue.geojson"
    ring = [[0, 0], [30, 30], [30, 0], [0, 30], [0, 0]]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    pieces = polygons.read_geojson(path)
    assert [piece.area for piece in pieces] == [225, 225] and all(piece.is_valid for piece in pieces)


def test_the_share_of_a_disc_on_tissue_is_that_of_the_closed_form():
    square = shapely.box(0, 0, 100, 100)
    x, y = np.array([50.0, 100, 100, 130, 0, np.nan]), np.array([50.0, 50, 100, 50, 20, 50])
    fractions = agreement.tissue_fraction([square], x, y, 40)
    np.testing.assert_allclose(fractions[:5], [1, 0.5, 0.25, 0, 0.5], atol=1e-9)
    assert np.isnan(fractions[5])


def test_agreement_counts_centres_and_discs_and_says_when_there_is_nothing_to_count():
    square = shapely.box(0, 0, 100, 100)
    x, y = np.array([50.0, 110, 200, 300, np.nan]), np.full(5, 50.0)
    scores = agreement.against_spots([square], x, y, np.array([1, 1, 0, 0, 1]), 40)
    assert scores["spots_selected_inside"] == 0.5 and scores["spots_selected_touching"] == 1.0
    assert scores["spots_unselected_outside"] == 1.0 and scores["spots_without_position"] == 1
    assert agreement.against_spots([square], x[:2], y[:2], np.ones(2), 40)["spots_unselected_outside"] is None


LIMITS = {**yaml.safe_load((ROOT / "config/config.yaml").read_text())["limits"], "tissue_min_mm2": 0.25}


def run_script(folder: Path, rgb: np.ndarray, pixel_size_um: float, alignment: dict, spots: pd.DataFrame) -> dict:
    """Run the script as a job does, on the picture as deposited; return its record."""
    picture = folder / "section.png"
    pyvips.Image.new_from_array(rgb, interpretation="srgb").write_to_file(str(picture))
    image = {"role": "image", "path": str(picture), "bytes": picture.stat().st_size}
    write_json(folder / "raw.json", {"files": [image]})
    write_json(
        folder / "alignment.json",
        {
            "pixel_size_um": pixel_size_um,
            "spot_diameter_um": 100.0,
            **alignment,
        },
    )
    spots.to_parquet(folder / "units.parquet", index=False)
    given = {"manifest": "raw.json", "alignment": "alignment.json", "units": "units.parquet"}
    made = {
        "tissue": "tissue.geojson",
        "marks": "tissue_marks.geojson",
        "overlay": "tissue.jpg",
        "record": "record.json",
    }
    paths = [word for name, file in {**given, **made}.items() for word in (f"--{name}", str(folder / file))]
    command = [sys.executable, str(ROOT / "scripts/segment_tissue.py"), *paths, "--limits", json.dumps(LIMITS)]
    command += ["--method", "classical"]
    subprocess.run(command, check=True, capture_output=True)
    return read_json(folder / "record.json")


def test_the_script_writes_outlines_overlay_and_agreement(tmp_path):
    scene = draw_scene("halo", pixel_size_um=4.0)
    spot_y, spot_x = (grid.ravel() * 200.0 + 150 for grid in np.mgrid[:14, :14])
    selected = scene.truth[(spot_y / 4).astype(int), (spot_x / 4).astype(int)]
    spots = pd.DataFrame({"x_px": spot_x / 4, "y_px": spot_y / 4, "in_tissue": selected.astype(int)})
    record = run_script(tmp_path, scene.rgb, 4.0, {}, spots)
    measures = record["measures"]
    assert record["status"] == "accepted"
    assert measures["tissue_area_mm2"] == pytest.approx(scene.truth.sum() * 16 / 1e6, rel=0.03)
    assert measures["pieces"] == 1 and measures["holes"] == 1
    assert measures["spots_selected_inside"] > 0.98 and measures["spots_unselected_outside"] > 0.98
    found = polygons.to_mask(polygons.read_geojson(tmp_path / "tissue.geojson"), scene.truth.shape, (1, 1))
    assert overlap(found, scene.truth) > 0.96
    overlay = pyvips.Image.new_from_file(str(tmp_path / "tissue.jpg"))
    assert max(overlay.width, overlay.height) <= 1000
    first = (tmp_path / "tissue.geojson").read_bytes()
    run_script(tmp_path, scene.rgb, 4.0, {}, spots)
    assert (tmp_path / "tissue.geojson").read_bytes() == first


def test_the_script_refuses_an_empty_slide_with_the_number(tmp_path):
    scene = draw_scene(tissue=False)
    spots = pd.DataFrame({"x_px": [1.0], "y_px": [1.0], "in_tissue": [1]})
    record = run_script(tmp_path, scene.rgb, 8.0, {}, spots)
    assert record["status"] == "refused" and record["measured"] == 0 and record["threshold"] == 0.25
    assert is_refused(tmp_path / "tissue.geojson") and is_refused(tmp_path / "tissue.jpg")


def spots_of(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    y_um, x_um = (grid.ravel() * 200.0 + 150 for grid in np.mgrid[:14, :14])
    at = [(axis / scene.pixel_size_um).astype(int) for axis in (y_um, x_um)]
    return np.column_stack([x_um, y_um]) / scene.pixel_size_um, scene.truth[at[0], at[1]].astype(int)


def found_on(path: Path, rgb: np.ndarray, pixel_size_um: float, xy_px, in_tissue) -> section.Found:
    pyvips.Image.new_from_array(rgb, interpretation="srgb").write_to_file(str(path))
    return section.find_tissue(
        path, pixel_size_um, xy_px, in_tissue, 55.0, LIMITS, min_hole_um2=50_000, simplify_um=4.0
    )


@pytest.mark.parametrize(
    ("grey", "named"),
    [
        (lambda rgb: rgb.mean(axis=2), "no H&E colours: stain is 0%"),
        (lambda rgb: 255 - rgb.mean(axis=2), r"no H&E colours|mm2 of tissue found"),
    ],
    ids=["greyscale", "like DAPI"],
)
def test_a_grey_picture_named_as_the_stained_one_is_refused(tmp_path, grey, named):
    scene = draw_scene()
    picture = np.repeat(grey(scene.rgb)[..., None], 3, axis=2).astype(np.uint8)
    with pytest.raises(Refusal, match=named):
        found_on(tmp_path / "a.png", picture, 8.0, *spots_of(scene))


def in_false_colours(rgb: np.ndarray, bands: list[int]) -> np.ndarray:
    """What absorbs shines, in some of the bands, on black."""
    shown = np.zeros_like(rgb)
    shown[..., bands] = 255 - rgb.mean(axis=2, keepdims=True)
    return shown


@pytest.mark.parametrize("bands", [[2], [1], [0, 2]], ids=["blue", "green", "magenta"])
def test_fluorescence_in_false_colours_is_no_bright_field(tmp_path, bands):
    scene = draw_scene()
    with pytest.raises(Refusal, match=r"no bright field: half of the picture lets at most 0% .* not the H&E") as caught:
        found_on(tmp_path / "a.png", in_false_colours(scene.rgb, bands), 8.0, *spots_of(scene))
    assert (caught.value.measured, caught.value.threshold) == (0.0, LIMITS["light_share_min"])


def test_sections_on_black_and_overstained_ones_are_bright_field():
    dark = draw_scene("painted").rgb.astype(float)
    for rgb in (dark, 255 * (dark / 255) ** 1.8):
        assert Picture(rgb.astype(np.uint8), 8.0).look().light_share > 2 * LIMITS["light_share_min"]


@pytest.mark.parametrize("shade", ["slope", "vignette"])
def test_a_lamp_that_lights_one_side_makes_no_section_grey(tmp_path, shade):
    """Glass in the shadow absorbs more than all stain of the section, and nothing of it is stain."""
    scene = draw_scene()
    y, x = np.linspace(0, 1, len(scene.rgb))[:, None], np.linspace(0, 1, scene.rgb.shape[1])[None, :]
    light = 0.6 + 0.4 * x + 0 * y if shade == "slope" else 1 - 1.2 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    shaded = (scene.rgb * light[..., None]).astype(np.uint8)
    found = found_on(tmp_path / "a.png", shaded, 8.0, *spots_of(scene))
    assert found.measures["stain_share"] < LIMITS["stain_share_min"] < found.measures["tissue_stain_share"]
    assert found.measures["glass_flagged"]
    mask = polygons.to_mask(found.outlines, scene.truth.shape, found.scale)
    assert overlap(mask, scene.truth) > 0.95
    grey = np.repeat(shaded.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    with pytest.raises(Refusal, match="no H&E colours: stain is 0%"):
        found_on(tmp_path / "grey.png", grey, 8.0, *spots_of(scene))


def test_pale_and_eosin_poor_sections_are_not_called_grey(tmp_path):
    """Haematoxylin alone at half its strength is the least coloured a section gets."""
    scene = draw_scene()
    stain = np.array([0.65, 0.70, 0.29]) * 0.3 * ndimage.gaussian_filter(scene.truth.astype(float), 0.7)[..., None]
    noise = np.random.default_rng(0).normal(scale=2.5, size=scene.rgb.shape)
    rgb = np.clip(242 * np.exp(-stain) + noise, 0, 255).astype(np.uint8)
    look = Picture(rgb, 8.0).look()
    assert look.content_mm2 > LIMITS["tissue_min_mm2"] and look.stain_share > 2 * LIMITS["stain_share_min"]


def test_spots_of_another_section_are_refused_with_their_share(tmp_path):
    scene = draw_scene()
    xy_px, in_tissue = spots_of(scene)
    good = found_on(tmp_path / "a.png", scene.rgb, 8.0, xy_px, in_tissue).measures
    assert good["spots_selected_inside"] > 0.98 and good["tissue_flagged"] is False
    with pytest.raises(Refusal, match=r"a\.png: .* in-tissue spots lie on tissue, at least 50% needed") as refused:
        found_on(tmp_path / "a.png", scene.rgb, 8.0, xy_px, 1 - in_tissue)
    assert refused.value.threshold == 0.5 and refused.value.measured < 0.1


@pytest.mark.parametrize(
    ("on", "off", "unselected", "outcome"),
    [
        (0.0003, 0.9, 500, "refused"),
        (0.04, None, 0, "refused"),
        (0.126, None, 0, "refused"),
        (0.45, 0.9, 500, "refused"),
        (0.45, None, 0, "flagged"),
        (0.95, 0.1, 500, "refused"),
        (0.95, 0.1, 5, "passed"),
        (0.85, 0.9, 500, "flagged"),
        (0.95, 0.7, 500, "flagged"),
        (0.989, 0.887, 500, "passed"),
    ],
)
def test_the_shares_are_judged(on, off, unselected, outcome):
    scores = {
        "spots_selected": 300,
        "spots_unselected": unselected,
        "spots_selected_inside": on,
        "spots_unselected_outside": off,
    }
    if outcome == "refused":
        with pytest.raises(Refusal, match="another section"):
            section.judge("a.png", scores, LIMITS)
    else:
        assert section.judge("a.png", scores, LIMITS) == (outcome == "flagged")


def test_a_slide_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "slide.tif").write_bytes(b"II*\0 not a picture")
    with pytest.raises(Refusal, match=r"slide\.tif"):
        read_reduced(tmp_path / "slide.tif", 0.5 / 8)


def test_a_coarse_slide_is_read_as_it_is_and_a_fine_one_reduced(tmp_path):
    scene = draw_scene()
    pyvips.Image.new_from_array(scene.rgb).tiffsave(str(tmp_path / "slide.tif"), tile=True, pyramid=True)
    same, scale = read_reduced(tmp_path / "slide.tif", 14 / 8)
    assert same.shape == scene.rgb.shape and scale == (1, 1)
    reduced, scale = read_reduced(tmp_path / "slide.tif", 2 / 8)
    assert reduced.shape[:2] == (94, 94) and scale == pytest.approx((4, 4), rel=0.01)


def needs(*parts: str) -> Path:
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{NOT_HERE}{path.name}")
    return path


def scores_of(picture: Path, pixel_size_um: float, x_px, y_px, selected, diameter_um: float) -> dict:
    rgb, scale = read_reduced(picture, pixel_size_um / 8)
    mask = segment(rgb, pixel_size_um * scale[0])
    traced = polygons.from_mask(mask, scale, simplify_px=4 / pixel_size_um)
    return agreement.against_spots(
        traced, np.asarray(x_px), np.asarray(y_px), np.asarray(selected), diameter_um / pixel_size_um
    )


def pixel_size_from_lattice(array_um: np.ndarray, pixels: np.ndarray) -> float:
    """um per px of the least-squares affine map from array positions (um) to px."""
    matrix = np.linalg.lstsq(np.column_stack([array_um, np.ones(len(array_um))]), pixels, rcond=None)[0][:2]
    return float(1 / np.sqrt(abs(np.linalg.det(matrix))))


def stv1_scores(table: Path, picture: Path, unit_um: float, to_picture: float = 1.0) -> dict:
    spots = pd.read_csv(table, sep="\t")
    pixels = spots[["pixel_x", "pixel_y"]].to_numpy() * to_picture
    size_um = pixel_size_from_lattice(spots[["new_x", "new_y"]].to_numpy() * unit_um, pixels)
    return scores_of(picture, size_um, pixels[:, 0], pixels[:, 1], spots["selected"], 100.0)


@pytest.mark.parametrize("section", ["MOB1", "MOB2", "MOB3"])
def test_olfactory_bulbs_agree_with_the_selection_despite_frame_shadows_and_bubbles(section):
    folder = needs("mob")
    # an array of 66 x 63 half steps on 6.2 x 6.6 mm: about 100 um each
    scores = stv1_scores(folder / f"alignment_table_{section}.tsv", folder / f"{section}.jpg", 100.0)
    assert scores["spots_selected_inside"] >= 0.98
    assert scores["spots_unselected_outside"] >= 0.99
    assert scores["spots_selected_touching"] >= 0.995


@pytest.mark.parametrize("section", ["B4", "C2", "C4"])
def test_breast_sections_hold_their_spots_despite_bled_stain_and_pale_fat(section):
    folder = needs("her2st")
    scores = stv1_scores(folder / f"{section}_selection.tsv", folder / f"{section}.jpg", 200.0)
    assert scores["spots_selected_inside"] >= 0.99


def test_a_section_on_painted_over_glass_holds_its_spots():
    folder = needs("her2st")
    scores = stv1_scores(folder / "A1_selection.tsv", folder / "A1_masked.jpg", 200.0, 0.2876)
    assert scores["spots_selected_inside"] >= 0.98


VISIUM_LIMITS = {
    "dlpfc/151507": (0.985, 0.92),
    "dlpfc/151669": (0.995, 0.94),
    "dlpfc/151676": (0.995, 0.94),
    "visium_mouse_brain_posterior_outs/spatial": (0.995, 0.975),
}


@pytest.mark.parametrize("folder", VISIUM_LIMITS)
def test_visium_sections_agree_with_in_tissue_despite_the_fiducial_frame(folder, tmp_path):
    path = needs(*folder.split("/"))
    names = ["barcode", "in_tissue", "array_row", "array_col", "y", "x"]
    spots = pd.read_csv(next(path.glob("tissue_positions_list.*")), header=None, names=names)
    scale = json.loads((path / "scalefactors_json.json").read_text())["tissue_lowres_scalef"]
    array_um = np.column_stack([spots["array_col"] * 50.0, spots["array_row"] * 100 * np.sqrt(0.75)])
    pixels = spots[["x", "y"]].to_numpy() * scale
    size_um = pixel_size_from_lattice(array_um, pixels)
    picture = path / "tissue_lowres_image.png"
    scores = scores_of(picture, size_um, pixels[:, 0], pixels[:, 1], spots["in_tissue"], 55.0)
    inside, outside = VISIUM_LIMITS[folder]
    assert scores["spots_selected_inside"] >= inside
    assert scores["spots_unselected_outside"] >= outside
    coded = tmp_path / "coded.jpg"
    flat = pyvips.Image.new_from_file(str(picture))
    (flat.flatten(background=[255]) if flat.hasalpha() else flat).jpegsave(str(coded), Q=85, subsample_mode="on")
    scores = scores_of(coded, size_um, pixels[:, 0], pixels[:, 1], spots["in_tissue"], 55.0)
    assert scores["spots_selected_inside"] >= inside - 0.005
    assert scores["spots_unselected_outside"] >= outside - 0.05, "halved colours bleed over the edge by 1-2 px of 16 um"


def steps(rgb: np.ndarray, pixel_size_um: float, **settings: float) -> classical._Section:
    return classical._Section(Picture(rgb, pixel_size_um), classical.TissueSettings(**settings), 50_000.0, 50_000.0)


def test_ink_is_left_out_though_it_stains_and_gaps_beside_it_are_closed():
    """Ink is valid nowhere in the mask: neither where it stains like tissue nor where a gap closes over it."""
    scene = draw_scene("red")
    one = steps(scene.rgb, 8.0)
    valid = one.picture.valid
    everywhere = np.full(scene.truth.shape, 0.5, np.float32)
    assert not valid.all()
    found = one._above_background(everywhere, np.zeros(scene.truth.shape, bool))
    assert found[valid].all() and not found[~valid].any()
    assert not one._tidy(np.ones(scene.truth.shape, bool))[~valid].any()


def test_gaps_are_closed_up_to_their_width_and_no_further():
    mask = np.zeros((100, 200), bool)
    mask[20:80, 20:100] = mask[20:80, 108:150] = mask[20:80, 163:190] = True
    closed = steps(np.full((100, 200, 3), 240, np.uint8), 8.0, gap_um=80.0)._close(mask)
    assert closed[50, 100:108].all(), "64 um"
    assert not closed[50, 153:160].any(), "104 um"


def test_areas_are_divided_by_the_area_of_a_pixel():
    assert Picture(np.full((9, 9, 3), 240, np.uint8), 4.0).pixels(1600.0) == 100


@pytest.mark.parametrize("name", [name for name in TISSUE_METHODS.names() if not takes(name, "weights")])
def test_every_method_keeps_the_contract(name):
    """A mask of the picture's size, with a good part of the planted section; nothing on an empty slide.

    Trained ones need weights that are not here (`test_tissue_deeplabv3.py`).
    """
    method = TISSUE_METHODS.load(name)
    assert method.WORKING_PIXEL_SIZE_UM > 0
    areas = {"min_hole_um2": 50_000.0, "min_piece_um2": 50_000.0}
    scene, empty = draw_scene(), draw_scene(tissue=False)
    found = method.segment(Picture(scene.rgb, scene.pixel_size_um), **areas)
    assert found.dtype == bool and found.shape == scene.truth.shape
    assert overlap(found, scene.truth) > 0.8
    assert not method.segment(Picture(empty.rgb, empty.pixel_size_um), **areas).any()


def test_a_disc_that_touches_and_a_spot_without_position_are_told_apart():
    square = shapely.box(0, 0, 100, 100)
    x, y = np.array([50.0, 110, 200, np.nan]), np.full(4, 50.0)
    scores = agreement.against_spots([square], x, y, np.zeros(4), 40)
    assert scores["spots_unselected"] == 3 and scores["spots_without_position"] == 1
    assert scores["spots_unselected_outside"] == pytest.approx(2 / 3, abs=1e-4)
    assert scores["spots_unselected_untouched"] == pytest.approx(1 / 3, abs=1e-4)


def test_the_two_scales_of_a_reduced_picture_are_those_of_its_axes(tmp_path):
    pyvips.Image.black(1000, 300).copy(interpretation="b-w").tiffsave(str(tmp_path / "slide.tif"), tile=True)
    rgb, scale = read_reduced(tmp_path / "slide.tif", 0.0127)
    assert rgb.shape[:2] == (4, 13)
    assert scale == (1000 / 13, 300 / 4)


def coded_as_jpeg(rgb: np.ndarray, quality: int) -> np.ndarray:
    content = pyvips.Image.new_from_array(rgb, interpretation="srgb").jpegsave_buffer(Q=quality, subsample_mode="on")
    return pyvips.Image.new_from_buffer(content, "").numpy()


def real_section(name: str) -> tuple[np.ndarray, float]:
    """A reduced real picture and its pixel size, um."""
    picture = needs(*name.split("/")) / "tissue_lowres_image.png"
    return read_reduced(picture, 1)[0], 16.1 if name.startswith("dlpfc") else 14.0


@pytest.mark.parametrize("section_name", ["planted", "dlpfc/151669"])
def test_what_is_painted_around_the_tissue_changes_its_area_by_a_few_percent(section_name):
    """Black or white from 50 um off the tissue on, as drawn and as JPEG codes it: little glass or none is left."""
    if section_name == "planted":
        rgb, pixel_size_um = draw_scene().rgb, 8.0
    else:
        rgb, pixel_size_um = real_section(section_name)
    whole = segment(rgb, pixel_size_um)
    away = ndimage.distance_transform_edt(~whole) * pixel_size_um > 50
    area = {}
    for level in (0, 255):
        painted = rgb.copy()
        painted[away] = level
        for quality in (None, 90):
            seen = painted if quality is None else coded_as_jpeg(painted, quality)
            area[level, quality] = segment(seen, pixel_size_um).sum() / whole.sum()
    assert all(0.95 < share < 1.1 for share in area.values()), area
    assert abs(area[0, 90] / area[255, 90] - 1) < 0.075
    painted = rgb.copy()
    painted[away] = 0
    assert Picture(painted, pixel_size_um).look().blacked_out_share > LIMITS["blacked_out_share_flag"]


@pytest.mark.parametrize("section_name", ["visium_mouse_brain_anterior/spatial", "dlpfc/151507", "dlpfc/151669"])
def test_a_tight_crop_without_glass_is_tissue_and_says_that_no_glass_is_seen(section_name):
    rgb, pixel_size_um = real_section(section_name)
    rows, columns = np.where(segment(rgb, pixel_size_um))
    (top, bottom), (left, right) = (np.quantile(at, [0.3, 0.7]).astype(int) for at in (rows, columns))
    crop = np.ascontiguousarray(rgb[top:bottom, left:right])
    mask, look = segment(crop, pixel_size_um), Picture(crop, pixel_size_um).look()
    assert mask.mean() > 0.95
    assert look.glass_share < LIMITS["glass_share_flag"]
    assert Picture(rgb, pixel_size_um).look().glass_share > 1.5 * LIMITS["glass_share_flag"]


def test_a_coarse_real_frame_goes_through_the_jobs_as_through_the_library(tmp_path):
    """Its slide, at quality 85 with half the colour resolution, is no picture to segment: it held .15 of the spots."""
    path = needs("dlpfc", "151669")
    spots = pd.read_csv(
        next(path.glob("tissue_positions_list.*")),
        header=None,
        names=["barcode", "in_tissue", "array_row", "array_col", "y_px", "x_px"],
    )
    scale = json.loads((path / "scalefactors_json.json").read_text())["tissue_lowres_scalef"]
    rgb = read_reduced(path / "tissue_lowres_image.png", 1)[0]
    alignment = {"image_width_px": 600, "image_height_px": 600}
    units = spots.assign(x_px=spots["x_px"] * scale, y_px=spots["y_px"] * scale)
    record = run_script(tmp_path, rgb, 16.1, {**alignment, "spot_diameter_um": 55.0}, units)
    made = {"slide": "slide.tif", "thumbnail": "thumbnail.jpg", "record": "pyramid.json"}
    given = {"manifest": "raw.json", "alignment": "alignment.json"}
    paths = [word for name, file in {**given, **made}.items() for word in (f"--{name}", str(tmp_path / file))]
    command = [sys.executable, str(ROOT / "scripts/build_pyramid.py"), *paths, "--tile-px", "512", "--jpeg-quality"]
    subprocess.run([*command, "85"], check=True, capture_output=True)
    in_tissue = spots["in_tissue"]
    xy_px = spots[["x_px", "y_px"]].to_numpy() * scale
    library = scores_of(path / "tissue_lowres_image.png", 16.1, *xy_px.T, in_tissue, 55.0)
    slide = scores_of(tmp_path / "slide.tif", 16.1, *xy_px.T, in_tissue, 55.0)
    for share, allowed in (("spots_selected_inside", 0.02), ("spots_unselected_outside", 0.06)):
        assert record["measures"][share] >= library[share] - 0.005
        assert slide[share] >= library[share] - allowed
    assert record["measures"]["tissue_flagged"] is False and record["measures"]["glass_flagged"] is False


def reduced_four_times(rgb: np.ndarray) -> np.ndarray:
    side = rgb.shape[0] // 4
    return np.rint(rgb.reshape(side, 4, side, 4, 3).mean(axis=(1, 3))).astype(np.uint8)


@pytest.mark.parametrize("strength", [1.0, 0.3])
def test_thin_septa_of_a_simulated_lung_are_tissue_and_wide_airspaces_are_not(strength):
    lung = grow_lung(np.random.default_rng(1), 2400.0, airspace_um=300.0)
    found = segment(reduced_four_times(photograph(np.random.default_rng(2), lung, strength=strength)), 8.0)
    matter = reduced_four_times(np.repeat(255 * lung.matter[..., None], 3, axis=2))[..., 0] > 127
    # What the outlines mean: gaps of 80 um closed, holes below 50,000 um2 filled.
    truth = remove_small_holes(masks.closed(matter, 10.0), max_size=round(50_000 / 64))
    assert found[matter].mean() > 0.99
    assert overlap(found, truth) > 0.75
    assert not found.all() and found[~lung.lobe[::4, ::4]].mean() < 0.03


@pytest.mark.parametrize("share", [0.5, 0.25])
def test_a_pale_copy_of_a_section_has_the_same_tissue_and_is_flagged_once_very_pale(share):
    """Optical density multiplied: what a thinner section, or less stain, gives."""
    rgb, pixel_size_um = real_section("visium_mouse_brain_anterior/spatial")
    whole = Picture(rgb, pixel_size_um)
    glass = np.median(rgb[whole.valid & (np.abs(whole.density[..., 1]) < 0.02)].astype(float), axis=0)
    light = (glass + 1) * np.exp(-share * whole.density) - 1
    noise = np.random.default_rng(0).normal(scale=0.7, size=light.shape)
    pale = np.clip(np.rint(light + noise), 0, 255).astype(np.uint8)
    assert overlap(segment(pale, pixel_size_um), segment(rgb, pixel_size_um)) > 0.97
    strength = stain_strength(Picture(pale, pixel_size_um))
    assert strength == pytest.approx(share * stain_strength(whole), rel=0.1)
    assert (strength < LIMITS["stain_strength_flag"]) == (share == 0.25)


def test_the_strength_of_stain_is_that_of_what_is_stained_and_textured():
    assert stain_strength(Picture(draw_scene().rgb, 8.0)) == pytest.approx(0.35, abs=0.05)
    assert stain_strength(Picture(draw_scene("halo", "debris", tissue=False).rgb, 8.0)) is None
