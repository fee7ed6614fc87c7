"""Nuclei of a slide: pixels, tiles, seams, workers and files, held against closed forms and other libraries."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import pyvips
import shapely
from scipy import ndimage
from skimage import measure

from spotweave.io import read_json
from spotweave.nuclei import NO_CLASS, Instances, NucleiUnavailable, segment
from spotweave.nuclei.merging import merge
from spotweave.nuclei.morphology import FEATURES, NEIGHBOURHOOD
from spotweave.nuclei.outlines import trace
from spotweave.nuclei.overview import SlideOverview
from spotweave.nuclei.separation import Separation
from spotweave.nuclei.tiles import Grid, Tile, Windows
from spotweave.tissue.polygons import write_geojson

PIXEL_UM = 0.5
ROW = {"nuclei": "dark", "method": "dark", "weights": "none", "um_per_px": "0.5"}


def write_slide(path, pixels):
    """A pyramid without loss."""
    image = pyvips.Image.new_from_array(np.ascontiguousarray(pixels), interpretation="srgb")
    image.tiffsave(str(path), tile=True, tile_width=128, tile_height=128, pyramid=True, compression="none")
    return path


def darkness(tile):
    """Pieces of dark pixels."""
    labels, count = ndimage.label(tile[..., 0] < 128)
    return Instances(labels.astype(np.int32), np.ones(count, np.uint8), np.full(count, np.nan, np.float32))


class Dark:
    """A model that says nothing but the pixels."""

    um_per_px, native_um_per_px = PIXEL_UM, (PIXEL_UM, PIXEL_UM)
    tile_px, margin_px, batch = 160, 32, 3
    classes = (NO_CLASS,)

    def __init__(self):
        self.provenance = {"arch": "none"}

    def prepare(self, overview):
        assert overview.read(2.0).shape == (125, 130, 3)

    def predict(self, tiles):
        return list(tiles)

    def separator(self):
        return darkness


@pytest.fixture(scope="module")
def discs():
    """(N, 3) x, y and radius of dark discs that do not touch, one at a corner of four tiles' cores (96 px)."""
    rng = np.random.default_rng(0)
    y, x = np.meshgrid(np.arange(30, 470, 34), np.arange(30, 470, 34), indexing="ij")
    places = np.column_stack([x.ravel(), y.ravel()]) + rng.uniform(-3, 3, (x.size, 2))
    places[np.linalg.norm(places - 192, axis=1).argmin()] = 192
    return np.column_stack([places, rng.uniform(5, 11, len(places))])


@pytest.fixture(scope="module")
def slide(tmp_path_factory, discs):
    """A slide with these discs, as `segment_sample` is given it."""
    folder = tmp_path_factory.mktemp("slide")
    y, x = np.mgrid[:500, :520] + 0.5
    inside = np.zeros((500, 520), bool)
    for cx, cy, radius in discs:
        inside |= (x - cx) ** 2 + (y - cy) ** 2 <= radius**2
    write_slide(folder / "slide.tif", np.where(inside[..., None], 40, 220).astype(np.uint8).repeat(3, 2))
    write_geojson(folder / "tissue.geojson", [shapely.box(10, 10, 500, 490)], PIXEL_UM)
    (folder / "alignment.json").write_text(json.dumps({"pixel_size_um": PIXEL_UM}))
    return folder


def through(slide, folder, threads=1, origin_px=(0, 0)):
    tissue = [shapely.box(10, 10, 500, 490)]
    windows = Windows(slide / "slide.tif")
    return segment.through(Dark(), windows, tissue, PIXEL_UM, threads=threads, folder=folder, origin_px=origin_px)


def test_every_nucleus_is_found_once_where_it_is(slide, discs, tmp_path):
    found, tiles = through(slide, tmp_path)
    assert tiles == 36
    order = np.lexsort((found.x_px, found.y_px))
    assert (order == np.arange(len(discs))).all()
    xy = np.column_stack([found.x_px, found.y_px])
    distance = np.linalg.norm(xy[:, None] - discs[None, :, :2], axis=2)
    assert sorted(distance.argmin(axis=1)) == list(range(len(discs)))
    assert distance.min(axis=1).max() < 0.3
    assert found.duplicates == 0


@pytest.mark.parametrize("origin_px", [(-17, 31), (48, -60)])
def test_nuclei_do_not_depend_on_how_the_slide_is_cut(slide, tmp_path, origin_px):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, _ = through(slide, tmp_path / "a")
    other, _ = through(slide, tmp_path / "b", origin_px=origin_px)
    np.testing.assert_allclose(one.x_px, other.x_px, rtol=0, atol=1e-9)
    np.testing.assert_allclose(one.y_px, other.y_px, rtol=0, atol=1e-9)
    tables = [
        [part.drop_columns(["x_px", "y_px"]) for part in found.parts((NO_CLASS,), [shapely.box(0, 0, 520, 500)], 0.5)]
        for found in (one, other)
    ]
    first, second = (np.concatenate([part["geometry"].to_numpy() for part in parts]) for parts in tables)
    assert (first == second).all()


def test_nuclei_do_not_depend_on_workers(slide, tmp_path, monkeypatch):
    """The same bytes from one process and from two."""
    made = []
    monkeypatch.setattr(segment.NUCLEI.__class__, "load", lambda *_: Loading)
    for threads in (1, 2):
        outputs = segment.Outputs(*(tmp_path / f"{threads}.{suffix}" for suffix in ("parquet", "geojson", "png")))
        measures = run(slide, outputs, threads=threads)
        made.append([path.read_bytes() for path in (outputs.nuclei, outputs.geojson, outputs.overlay)])
    assert made[0] == made[1]
    assert measures["nuclei"] == 169


def run(slide, outputs, row=ROW, **options):
    files = (slide / "slide.tif", slide / "tissue.geojson", slide / "alignment.json")
    return segment.segment_sample(*files, outputs, row, **options)


class Loading:
    """A method."""

    @staticmethod
    def load(spec, **_):
        if spec.source == "nowhere":
            raise NucleiUnavailable(spec.nuclei, "no file nowhere.", ["get it"])
        return Dark()


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.setattr(segment.NUCLEI.__class__, "load", lambda *_: Loading)
    return segment.Outputs(tmp_path / "n.parquet", tmp_path / "n.geojson", tmp_path / "n.png")


def test_files_say_what_made_them_and_agree(slide, discs, outputs):
    measures = run(slide, outputs)
    assert measures["nuclei"] == len(discs)
    assert measures["nuclei_per_mm2"] == round(len(discs) / (490 * 480 * PIXEL_UM**2 / 1e6), 2)
    assert (measures["um_per_px"], measures["note"], measures["class_shares"]) == (PIXEL_UM, None, {NO_CLASS: 1.0})
    table = pq.read_table(outputs.nuclei)
    expected = ["nucleus", "geometry", "x_px", "y_px", "class", "class_probability", *FEATURES, *NEIGHBOURHOOD]
    assert table.column_names == expected
    said = json.loads(table.schema.metadata[b"spotweave"])
    assert said == {
        **{"model": "dark", "method": "dark", "variant": None, "um_per_px": PIXEL_UM},
        **{"slide_pixel_size_um": PIXEL_UM, "classes": [NO_CLASS], "arch": "none"},
    }
    geo = json.loads(table.schema.metadata[b"geo"])
    assert geo["columns"]["geometry"]["encoding"] == "WKB"
    collection = read_json(outputs.geojson)
    assert collection["spotweave"] == said
    assert collection["features"][0]["properties"] == {
        "objectType": "detection",
        "nucleus": 0,
        "classification": {"name": NO_CLASS, "color": [220, 60, 60]},
    }
    outlines = shapely.from_wkb(table["geometry"].to_numpy())
    assert shapely.is_valid(outlines).all()
    shown = shapely.from_geojson([json.dumps(feature["geometry"]) for feature in collection["features"]])
    assert shapely.hausdorff_distance(outlines, shown).max() < 0.01
    centroids = np.column_stack([table["x_px"], table["y_px"]])
    assert np.abs(shapely.get_coordinates(shapely.centroid(outlines)) - centroids).max() < 0.1
    # The polygon has half a px less than the pixels of the nucleus.
    np.testing.assert_allclose(shapely.area(outlines) + 0.5, table["area_um2"].to_numpy() / PIXEL_UM**2, rtol=1e-5)
    assert pyvips.Image.new_from_file(str(outputs.overlay)).width > 900


@pytest.mark.parametrize(
    ("row", "alignment", "expected"),
    [
        ({**ROW, "um_per_px": "0.2"}, {"pixel_size_um": 0.5}, "the slide is too coarse for dark: 0.5 um a pixel, at m"),
        (ROW, {"pixel_size_um": None}, "the pixel size of the slide is not known, and dark needs it"),
        ({**ROW, "source": "nowhere"}, {"pixel_size_um": 0.5}, "nuclei model dark is unavailable: no file nowhere."),
    ],
)
def test_a_slide_that_a_model_cannot_take_gives_empty_tables_and_one_line(
    slide, outputs, tmp_path, row, alignment, expected
):
    path = tmp_path / "alignment.json"
    path.write_text(json.dumps(alignment))
    files = (slide / "slide.tif", slide / "tissue.geojson", path)
    measures = segment.segment_sample(*files, outputs, row)
    assert measures["nuclei"] is None
    assert measures["note"].startswith(expected)
    assert len(pq.read_table(outputs.nuclei)) == 0
    assert "geometry" in pq.read_schema(outputs.nuclei).names
    collection = read_json(outputs.geojson)
    assert collection["features"] == []
    assert collection["spotweave"]["note"] == measures["note"]


def shard(folder, number, tile, boxes, grid):
    """What a worker leaves of a tile with these nuclei, boxes in px of the slide."""
    labels = np.zeros((grid.tile_px,) * 2, np.int32)
    for place, (left, top, right, bottom) in enumerate(boxes, start=1):
        rows = slice(top - tile.top + grid.margin_px, bottom - tile.top + grid.margin_px)
        labels[rows, left - tile.left + grid.margin_px : right - tile.left + grid.margin_px] = place
    maps = Instances(labels, np.ones(len(boxes), np.uint8), np.full(len(boxes), np.nan, np.float32))
    return Separation(same, grid, 1.0, folder)(number, tile, maps)


def same(maps):
    return maps


@pytest.mark.parametrize(
    ("left", "right", "kept"),
    [
        ([(82, 10, 106, 30)], [(92, 10, 130, 30)], [(111, 20)]),  # over half of the smaller one: the larger
        ([(70, 10, 104, 30)], [(100, 10, 110, 30)], [(87, 20), (105, 20)]),  # 4 of 10 px wide: neighbours
        ([(86, 10, 102, 30)], [(90, 10, 106, 30)], [(94, 20)]),  # of one size: the first
        ([(60, 10, 102, 30)], [(96, 12, 102, 28)], [(81, 20)]),  # within the other
        ([(60, 10, 96, 30)], [(96, 10, 120, 30)], [(78, 20), (108, 20)]),  # they only touch
        ([(70, 10, 105, 30)], [(98, 10, 108, 30), (102, 10, 124, 30)], [(87.5, 20), (113, 20)]),
    ],
)
def test_what_two_tiles_found_twice_is_kept_once(tmp_path, left, right, kept):
    """A seam at x = 96. In the last case what the large one drops drops nothing itself."""
    grid = Grid(1.0, 96, 48)
    tiles = [Tile(0, 0, 0), Tile(96, 0, 0)]
    shards = [
        shard(tmp_path, place, tile, boxes, grid)
        for place, (tile, boxes) in enumerate(zip(tiles, (left, right), strict=True))
    ]
    found = merge(shards, [shapely.box(0, 0, 192, 96)])
    assert list(zip(found.x_px, found.y_px, strict=True)) == kept
    assert found.duplicates == len(left) + len(right) - len(kept)


def test_nuclei_off_the_tissue_are_left_out(tmp_path):
    grid = Grid(1.0, 96, 16)
    shards = [shard(tmp_path, 0, Tile(0, 0, 0), [(10, 10, 30, 30), (60, 60, 80, 80)], grid)]
    found = merge(shards, [shapely.box(0, 0, 50, 50)])
    assert (found.x_px.tolist(), found.off_tissue) == ([20.0], 1)


def test_a_separator_with_gaps_is_a_bug(tmp_path):
    labels = np.zeros((128, 128), np.int32)
    labels[40:50, 40:50] = 2
    gapped = Instances(labels, np.ones(2, np.uint8), np.ones(2, np.float32))
    with pytest.raises(ValueError, match="have a gap"):
        Separation(same, Grid(1.0, 96, 16), 1.0, tmp_path)(0, Tile(0, 0, 0), gapped)


def test_outlines_are_those_of_marching_squares():
    """Against scikit-image, on shapes with holes and necks; n - 1/2 px without holes.

    Where only corners of a nucleus touch, its outline runs around both.
    """
    field = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(300, 300)), 2)
    labels, _ = ndimage.label(field > 0.05)
    labels = labels.astype(np.int32)
    boxes = ndimage.find_objects(labels)
    found = trace(labels, boxes)
    equal = 0
    for number, (box, outline) in enumerate(zip(boxes, found, strict=True), start=1):
        mask = labels[box] == number
        rings = measure.find_contours(np.pad(mask, 1).astype(float), 0.5)
        corner = np.array([box[1].start, box[0].start])
        expected = max((shapely.Polygon(ring[:, ::-1] - 0.5 + corner) for ring in rings), key=lambda one: one.area)
        assert outline.is_valid
        if touching_corners(mask) or touching_corners(mask[:, ::-1]):
            assert outline.covers(expected)
            continue
        assert outline.equals(expected)
        assert outline.area == ndimage.binary_fill_holes(mask).sum() - 0.5
        equal += 1
    assert equal > 100


def touching_corners(mask):
    """Whether there are two by two px of which a diagonal alone is inside."""
    return bool((mask[:-1, :-1] & mask[1:, 1:] & ~mask[:-1, 1:] & ~mask[1:, :-1]).any())


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    pixels = np.random.default_rng(2).integers(0, 256, (301, 403, 3), dtype=np.uint8)
    return pixels, Windows(write_slide(tmp_path_factory.mktemp("noise") / "slide.tif", pixels))


def test_pixels_are_means_over_what_they_cover(noise):
    """At 1.5 px, by the areas of the pixels beneath; white beyond the slide."""
    pixels, windows = noise
    fine = pixels[:300, :300].astype(float).repeat(2, 0).repeat(2, 1)
    expected = fine.reshape(200, 3, 200, 3, 3).mean(axis=(1, 3))
    assert np.abs(windows.read(0, 0, 200, 200, 1.5) - expected).max() <= 0.5 + 1e-3
    assert (windows.read(-8, -8, 8, 8, 1.5) == 255).all()
    np.testing.assert_array_equal(windows.read(5, 7, 20, 30, 1.0), pixels[7:37, 5:25])


def test_coarse_pixels_are_read_from_a_coarse_level(noise):
    pixels, windows = noise
    expected = pixels[:300, :400].astype(float).reshape(150, 2, 200, 2, 3).mean(axis=(1, 3))
    assert windows.factors[:2] == [1.0, 2.0]
    assert np.abs(windows.read(0, 0, 200, 150, 2.0) - expected).max() <= 1


def test_enlarged_pixels_lie_on_parabolas(tmp_path):
    """The kernel is exact for squares, away from the border."""
    x = np.arange(120)
    pixels = np.broadcast_to((0.017 * x**2)[None, :, None], (40, 120, 3)).astype(np.float64)
    windows = Windows(write_slide(tmp_path / "s.tif", np.rint(pixels).astype(np.uint8)))
    found = windows.read(10, 10, 200, 40, 0.5)
    at = (10 + np.arange(200) + 0.5) * 0.5 - 0.5
    assert np.abs(found[20, :, 0] - 0.017 * at**2).max() < 1.3  # both pictures are rounded


@pytest.mark.parametrize("step", [0.37, 0.5, 1.0, 1.3, 2.0, 2.9])
def test_a_pixel_does_not_depend_on_its_window(noise, step):
    _, windows = noise
    whole = windows.read(-10, -10, 120, 90, step)
    part = windows.read(23, 17, 40, 30, step)
    np.testing.assert_array_equal(whole[27:57, 33:73], part)


def test_a_model_sees_the_whole_slide_and_tiles_of_tissue(slide):
    windows = Windows(slide / "slide.tif")
    grid = Grid(1.0, 96, 32, (5, 5))
    ring = shapely.box(0, 0, 300, 300) - shapely.box(100, 100, 200, 200)
    overview = SlideOverview(windows, grid, [ring], PIXEL_UM)
    assert overview.read(2.0).shape == (125, 130, 3)
    tissue = overview.tissue(2.0)
    assert tissue.shape == (125, 130)
    assert abs(tissue.sum() * 16 - ring.area) <= ring.length / 4 * 16 / 2  # half a px along the edge
    assert not tissue[37, 37]
    tiles = overview.sample_tiles(3)
    assert [tile.shape for tile in tiles] == [(160, 160, 3)] * 3
    np.testing.assert_array_equal(tiles[0], Grid(1.0, 96, 32).reader(windows)(Tile(0, 0, 0)))
    assert len(overview.sample_tiles(100)) < 16
