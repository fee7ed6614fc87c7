"""Patches of several sizes, with and without pictures, and how good they are."""

import csv
import dataclasses
import json
from pathlib import Path

import anndata
import cv2
import h5py
import numpy as np
import pytest
import pyvips
import shapely
from PIL import Image
from sklearn.metrics import roc_auc_score

from real_data import real
from spotweave import finetune
from spotweave.dataset import layout, patch_quality, patches
from spotweave.embeddings.sample import write_embeddings
from spotweave.encoders import ENCODERS
from spotweave.errors import Refusal
from spotweave.finetune.pairs import read_pairs
from spotweave.networks.spec import EncoderSpec
from spotweave.slide import patch_files, resample
from spotweave.slide.levels import Pyramid
from spotweave.slide.patch_files import PatchReader, PatchWriter
from spotweave.slide.patches import Cutter, PatchGrid, cut
from spotweave.slide.sharpness import focus
from spotweave.slide.sizes import PatchSize

ROOT = Path(__file__).resolve().parents[2]
STEPS = [1.2, 1.45, 2.0, 2.9, 5.3, 8.0]
SLIDE_UM = 0.69


def texture(side, seed=0):
    """Blurred noise of full range, (side, side, 3) uint8."""
    noise = np.random.default_rng(seed).normal(128, 90, (side, side, 3))
    return cv2.GaussianBlur(noise, (0, 0), 1.2).clip(0, 255).round().astype(np.uint8)


def reduced(block, left, top, step, size):
    return resample.Resampler(step, size)(block, left, top).copy()


def by_pillow(block, left, top, step, size):
    """Pillow's own Lanczos, plane by plane in floating point: nothing is rounded."""
    box = (left, top, left + step * size, top + step * size)
    planes = [Image.fromarray(block[..., band].astype(np.float32)) for band in range(3)]
    found = [np.asarray(one.resize((size, size), Image.Resampling.LANCZOS, box=box)) for one in planes]
    return np.stack(found, axis=-1).clip(0, 255)


@pytest.mark.parametrize("step", STEPS)
def test_reduction_is_that_of_lanczos_with_no_more_than_rounding_and_place(step):
    """A 64th of a source px is what places are rounded to; on such a place only rounding to grey levels is left."""
    size = 48
    block = texture(round(step * size) + 60)
    on_place, anywhere = (
        reduced(block, *corner, step, size) - by_pillow(block, *corner, step, size)
        for corner in ((27 + 13 / 64, 28 + 50 / 64), (27.31, 28.787))
    )
    assert np.sqrt((on_place**2).mean()) < 0.31, "rounding alone has .289"
    assert np.abs(on_place).max() < 0.8
    assert np.sqrt((anywhere**2).mean()) < 0.45
    assert np.abs(anywhere).max() < 2.5


@pytest.mark.parametrize("step", STEPS)
def test_a_dot_stays_where_it_is_to_a_twentieth_of_a_pixel(step):
    size, side = 32, round(step * 32) + 60
    at = np.array([30 + 15.3 * step, 30 + 16.8 * step])
    x, y = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
    dot = 200 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * (1.5 * step) ** 2))
    left, top = 30.4, 29.7
    found = reduced(np.repeat(dot.round()[..., None], 3, axis=2).astype(np.uint8), left, top, step, size)[..., 0]
    weights = found.astype(float)
    centre = (np.arange(size) + 0.5) * step
    there = np.array([(weights.sum(axis=0) * centre).sum(), (weights.sum(axis=1) * centre).sum()]) / weights.sum()
    assert np.abs(there + np.array([left, top]) - at).max() < 0.05 * step


@pytest.mark.parametrize("step", [1.0001, 1.01, 1.17, 1.5, 2, 3.3, 8, 16])
def test_every_sum_of_a_reduction_is_exact_in_float32(step):
    """So that the order in which a library adds changes nothing: whole numbers below 2^24 throughout."""
    for phase in (0, 21, 63):
        weights = np.concatenate(resample._at_phase(phase, step, 40).weights)
        assert (weights == np.rint(weights)).all()
        assert (weights[:40].sum(axis=1) == 2**resample.FILTER_BITS).all() and not weights[40:].any()
        size = np.abs(weights).sum(axis=1).max() / 2**resample.FILTER_BITS
        assert 255 * size**2 * 2 ** (resample.KEPT_BITS + resample.FILTER_BITS) < 2**24


@pytest.mark.parametrize("level", [0, 1, 77, 254, 255])
def test_what_is_flat_stays_flat(level):
    assert (reduced(np.full((150, 150, 3), level, np.uint8), 20.3, 20.7, 2.37, 40) == level).all()


def test_size_names():
    size = PatchSize.named("512um_256px")
    assert (size.side_um, size.size_px, size.pixel_size_um) == (512, 256, 2.0)
    with pytest.raises(ValueError, match="512x256"):
        PatchSize.named("512x256")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A small sample: slide, spots, alignment, tissue and marks."""
    folder = tmp_path_factory.mktemp("store")
    picture = pyvips.Image.new_from_array(texture(1500)).copy(interpretation="srgb")
    options = {"tile": True, "tile_width": 128, "tile_height": 128, "pyramid": True, "compression": "jpeg", "Q": 90}
    picture.tiffsave(str(folder / "slide.tif"), **options)
    rng = np.random.default_rng(3)
    spots = anndata.AnnData(X=np.ones((40, 2), np.float32))
    spots.obs_names = [f"{number}x1" for number in range(40)]
    spots.obs["in_tissue"] = np.arange(40) % 4 != 0
    spots.obsm["spatial"] = rng.uniform(20, 1480, (40, 2))
    spots.write_h5ad(folder / "st.h5ad")
    (folder / "alignment.json").write_text(json.dumps({"pixel_size_um": SLIDE_UM}))
    write_features(folder / "tissue.geojson", [(shapely.box(0, 0, 1500, 1500), {"tissue_id": 0})])
    write_features(folder / "marks.geojson", [(shapely.box(0, 0, 750, 1500), {"kind": "pen"})])
    names = ("st.h5ad", "slide.tif", "alignment.json", "tissue.geojson", "marks.geojson")
    return patches.Store(*(folder / name for name in names))


def write_features(path, features):
    listed = [
        {"type": "Feature", "geometry": json.loads(shapely.to_geojson(shape)), "properties": properties}
        for shape, properties in features
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": listed}))


def extract(store, folder, *, also=(), pictures=True):
    folder.mkdir()
    more = {name: folder / f"{name}.h5" for name in also}
    files = (folder / "patches.h5", folder / "patches.jpg")
    return patches.extract("s1", store, (64, 1.0), *files, also=more, pictures=pictures, flag=0.5)


@pytest.fixture(scope="module")
def extracted(store, tmp_path_factory):
    """With pictures and without, three sizes each."""
    folder, also = tmp_path_factory.mktemp("extracted"), ("20um_32px", "300um_100px")
    measured = [extract(store, folder / str(kind), also=also, pictures=kind) for kind in (True, False)]
    return folder / "True", folder / "False", measured


def test_sizes_cut_in_one_pass_are_those_cut_alone(store, extracted):
    folder, _, _ = extracted
    for name in ("patches", "20um_32px", "300um_100px"):
        with h5py.File(folder / f"{name}.h5") as file:
            said = file["coords"].attrs
            grid = PatchGrid(
                file["centres"][:], int(said["patch_size_target"]), said["pixel_size_target"], said["pixel_size"]
            )
            alone = np.stack(list(cut(Pyramid(store.slide), grid)))
            assert (file["img"][:] == alone).all()
            assert (file["coords"][:] == grid.top_left_px).all()
            assert dict(said) == dict(file["img"].attrs)
            side_um = said["patch_size_src"] * SLIDE_UM
            assert side_um == pytest.approx({"patches": 64, "20um_32px": 20, "300um_100px": 300}[name])


def test_files_without_pictures_say_all_but_the_pixels(extracted):
    with_pictures, without, (one, other) = extracted
    assert {**one, "pictures": False} == other
    assert (with_pictures / "patches.jpg").read_bytes() == (without / "patches.jpg").read_bytes()
    for name in ("patches", "20um_32px", "300um_100px"):
        with h5py.File(with_pictures / f"{name}.h5") as full, h5py.File(without / f"{name}.h5") as bare:
            assert set(full) - set(bare) == {"img"}
            for key in bare:
                assert (full[key][:] == bare[key][:]).all()
            assert dict(full["coords"].attrs) == dict(bare["coords"].attrs)


def test_the_sheet_shows_the_patches_of_the_file(extracted):
    sheet = np.asarray(Image.open(extracted[0] / "patches.jpg")).astype(float)
    with h5py.File(extracted[0] / "patches.h5") as file:
        for row in (0, 1, 29):
            top, left = (112 * number + 12 for number in divmod(row, 8))
            patch = cv2.resize(file["img"][row], (108, 108), interpolation=cv2.INTER_CUBIC)[10:98, 10:98]
            shown = sheet[top : top + 88, left : left + 88]
            assert np.corrcoef(patch.ravel(), shown.ravel())[0, 1] > 0.9


def test_two_passes_write_the_same_bytes(store, extracted, tmp_path):
    extract(store, tmp_path / "again", also=("20um_32px", "300um_100px"))
    for path in extracted[0].iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_pixels_read_on_the_fly_are_those_of_the_file(store, extracted, monkeypatch):
    with_pictures, without, _ = extracted
    monkeypatch.setattr(patch_files, "AHEAD_BYTES", 7 * 64 * 64 * 3)
    with PatchReader(with_pictures / "patches.h5") as full, PatchReader(without / "patches.h5", store.slide) as bare:
        assert len(full) == len(bare) == 30
        assert full.names() == bare.names()
        for start, stop in ((0, 30), (5, 9), (6, 8), (28, 99), (3, 3)):
            assert (full.images(start, stop) == bare.images(start, stop)).all()
            assert full.images(start, stop).shape == bare.images(start, stop).shape


def test_embeddings_do_not_depend_on_where_the_pixels_are(store, extracted, tmp_path):
    with_pictures, without, _ = extracted
    with open(ROOT / "config/encoders.csv", newline="") as handle:
        (row,) = (row for row in csv.DictReader(handle) if row["encoder"] == "handcrafted")
    encoder = ENCODERS.load("handcrafted").build(EncoderSpec.from_row(row), folder=None, seed=0, device="cpu")
    for number, (folder, slide) in enumerate([(with_pictures, None), (without, store.slide)]):
        path = folder / "patches.h5"
        named = {"embeddings": encoder}
        write_embeddings(tmp_path / f"{number}.h5", path, named, slide=slide, sample="s1", encoder="e", batch=8)
    assert (tmp_path / "0.h5").read_bytes() == (tmp_path / "1.h5").read_bytes()


def test_pairs_to_train_on_do_not_depend_on_where_the_pixels_are(store, extracted):
    with_pictures, without, _ = extracted
    found = [
        read_pairs(finetune.samples_at(["s1"], [folder / "patches.h5"], [store.st], slides), 2, lambda x: x)
        for folder, slides in ((with_pictures, None), (without, str(store.slide)))
    ]
    assert len(found[0].images) == 30
    rows = np.arange(30)
    assert (found[0].images[rows] == found[1].images[rows]).all()
    named = finetune.samples_at(["a", "b"], [store.st] * 2, [store.st] * 2, "x/{sample}/slide.tif")
    assert [str(one.slide) for one in named] == ["x/a/slide.tif", "x/b/slide.tif"]


def test_patches_without_pictures_or_slide_are_refused(extracted):
    with pytest.raises(Refusal, match=r"patches\.h5 holds no pictures.*give the slide"):
        PatchReader(extracted[1] / "patches.h5")


def test_a_slide_is_read_row_by_row_of_its_tiles(store):
    centres = np.random.default_rng(0).uniform(100, 1400, (300, 2))
    cutter = Cutter(Pyramid(store.slide), [PatchGrid(centres, 64, 0.69, 0.69)])
    order = cutter.order()
    assert sorted(order) == list(range(300))
    rows = np.floor((np.floor(centres[order, 1] - 32) - resample.margin_px(1)) / 128)
    assert (np.diff(rows) >= 0).all()
    for row in np.unique(rows):
        assert (np.diff(centres[order][rows == row, 0]) >= 0).all()


SEVERAL = [(64, 1.0), (32, 0.6), (100, 3.0)]


@pytest.mark.parametrize(
    ("sizes", "together"), [([(400, 1.0)], True), (SEVERAL, True), (SEVERAL, False), (SEVERAL[::-1], False)]
)
def test_every_tile_is_decoded_once(store, sizes, together):
    """Blocks of four rows of tiles in a memory of two would be decoded again for every patch."""
    centres = np.random.default_rng(0).uniform(-20, 1520, (300, 2))
    slide, decoded = Pyramid(store.slide), []
    for level, tiles in enumerate(slide.levels):
        tiles.decode = lambda packed, number, out, level=level, decode=tiles.decode: (
            decoded.append((level, number)) or decode(packed, number, out)
        )
    grids = [PatchGrid(centres, size_px, um, SLIDE_UM) for size_px, um in sizes]
    cutter, there = Cutter(slide, grids), Pyramid(store.slide)
    all_at_once = ((row, range(len(grids)), cutter.cut(row)) for row in cutter.order())
    seen = np.zeros(len(grids), int)
    for row, numbers, found in all_at_once if together else cutter.passes():
        for number, patch in zip(numbers, found, strict=True):
            if seen[number] % 60 == 0:
                size_px, um = sizes[number]
                assert (patch == next(cut(there, PatchGrid(centres[[row]], size_px, um, SLIDE_UM)))).all()
            seen[number] += 1
    assert (seen == len(centres)).all()
    assert len(decoded) > 100
    assert len(set(decoded)) == len(decoded)


def test_coarse_levels_of_a_slide_of_odd_size_shift_nothing(tmp_path):
    """Each halving drops an odd row or column: by the ratio of the sides, patches at the far end would be .8 px off."""
    width, height = 3007, 2511
    near = np.indices((300, 300)) + 0.5 - 150
    picture = np.full((height, width, 3), 20, np.uint8)
    dot = 20 + 200 * np.exp(-(near**2).sum(axis=0) / (2 * 30**2))
    picture[2150:2450, 2650:2950] = dot[..., None]
    image = pyvips.Image.new_from_array(picture).copy(interpretation="srgb")
    image.tiffsave(str(tmp_path / "s.tif"), tile=True, tile_width=256, tile_height=256, pyramid=True)
    centre = np.array([2800.0, 2300.0])
    for um in (1.2, 2.5, 4.5, 8.4):
        (patch,) = cut(Pyramid(tmp_path / "s.tif"), PatchGrid(centre[None], round(150 / um), um, 0.5))
        weights = patch[..., 0].astype(float) - 20
        middle = np.arange(len(patch)) + 0.5 - len(patch) / 2
        found = np.array([(weights.sum(axis=axis) * middle).sum() for axis in (0, 1)]) / weights.sum()
        assert np.abs(found).max() < 0.05


def test_quality_of_half_penned_slide(store, extracted):
    with h5py.File(extracted[0] / "patches.h5") as file:
        pen, quality, tissue = (file[name][:] for name in ("pen_share", "quality", "tissue_share"))
        left = file["centres"][:, 0] - file["coords"].attrs["patch_size_src"] / 2
        expected = np.clip((750 - left) / file["coords"].attrs["patch_size_src"], 0, 1)
        below = np.clip(-left / file["coords"].attrs["patch_size_src"], 0, 1)
        np.testing.assert_allclose(pen, expected - below, atol=1e-6)
        assert (quality[pen == 1] == 0).all()
        assert (quality[(pen == 0) & (tissue == 1)] == 1).all(), "the texture is sharp"
        assert (file["fold_share"][:] == 0).all() and (file["blur_share"][:] == 0).all()
        assert extracted[2][0]["low_quality_share"] == pytest.approx((quality < 0.5).mean(), abs=1e-4)


def test_shares_are_those_of_shapely_for_an_outline_of_many_corners():
    angle = np.linspace(0, 2 * np.pi, 3000, endpoint=False)
    radius = 800 + 60 * np.sin(37 * angle) + 9 * np.sin(501 * angle)
    ring = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    tissue = [
        shapely.Polygon(ring, [shapely.Point(100, 50).buffer(150, 200).exterior.coords]),
        shapely.box(1200, 0, 1300, 9),
    ]
    corners = np.random.default_rng(0).uniform(-1100, 1300, (150, 2))
    squares = shapely.box(*corners.T, *(corners + 162.3).T)
    expected = shapely.area(shapely.intersection(squares, shapely.union_all(tissue))) / 162.3**2
    assert (expected > 0).sum() > 60
    np.testing.assert_allclose(patch_quality.covered(squares, tissue), expected, atol=1e-9)


def test_no_marks_and_no_patches_are_fine(tmp_path):
    write_features(tmp_path / "tissue.geojson", [(shapely.box(0, 0, 10, 10), {})])
    write_features(tmp_path / "marks.geojson", [])
    files = (tmp_path / "tissue.geojson", tmp_path / "marks.geojson")
    found = patch_quality.columns(np.array([[5.0, 0, 15, 10]]), *files, np.array([0.6]))
    assert found["tissue_share"] == pytest.approx(0.5)
    assert found["quality"] == pytest.approx(0.5 * (0.6 - 0.35) / (0.85 - 0.35))
    assert {name: values.dtype for name, values in found.items()} == dict.fromkeys(found, np.float32)
    empty = patch_quality.columns(np.empty((0, 4)), *files, np.empty(0))
    assert patch_quality.measures(empty, 0.5)["quality_median"] is None


@pytest.mark.parametrize("pictures", [True, False])
def test_spots_beyond_the_slide_are_white_without_focus_and_flagged(store, tmp_path, pictures):
    spots = anndata.AnnData(X=np.ones((4, 1), np.float32), obs={"in_tissue": np.ones(4, bool)})
    spots.obs_names = list("abcd")
    spots.obsm["spatial"] = np.array([[-900.0, -900], [3000, 700], [750, -44], [750, 750]])
    spots.write_h5ad(tmp_path / "st.h5ad")
    measures = extract(dataclasses.replace(store, st=tmp_path / "st.h5ad"), tmp_path / "out", pictures=pictures)
    assert measures["patches_padded"] == 3
    with h5py.File(tmp_path / "out/patches.h5") as file:
        np.testing.assert_array_equal(file["focus"][:3], 0)
        assert file["focus"][3] > 0
        assert not pictures or (file["img"][:2] == 255).all()


def test_a_mark_without_its_kind_is_refused(tmp_path):
    write_features(tmp_path / "marks.geojson", [(shapely.box(0, 0, 1, 1), {"name": "pen"})])
    with pytest.raises(Refusal, match=r"marks\.geojson.*'kind'"):
        patch_quality.read_marks(tmp_path / "marks.geojson")


def edges(blur_um, contrast=140, um_per_px=0.5):
    """Steps 16 um apart, blurred by a Gaussian, 112 um wide."""
    size = round(112 / um_per_px)
    at_um = (np.arange(8 * size) + 0.5) * um_per_px / 8
    profile = cv2.GaussianBlur(((at_um + 3) // 16 % 2)[None], (0, 0), 8 * blur_um / um_per_px)[0]
    profile = profile.reshape(size, 8).mean(axis=1)
    return np.repeat(np.tile(60 + contrast * profile, (size, 1))[..., None], 3, axis=2).round().astype(np.uint8)


@pytest.mark.parametrize("blur_um", [1.5, 2, 2.5])
def test_the_focus_of_blurred_edges_is_one_over_root_two_of_their_blur(blur_um):
    expected = 1 / (np.sqrt(2) * blur_um)
    assert focus(edges(blur_um), 0.5) == pytest.approx(expected, rel=0.06)
    assert focus(edges(blur_um, contrast=90), 0.5) == pytest.approx(expected, rel=0.06)
    assert focus(edges(blur_um, um_per_px=0.25), 0.25) == pytest.approx(expected, rel=0.06)


def test_coarse_patches_are_measured_on_their_own_grid():
    assert focus(edges(2.5, um_per_px=2.0), 2.0) == pytest.approx(1 / (np.sqrt(2) * 2.5), rel=0.1)


def test_what_shows_nothing_has_no_focus():
    assert focus(np.full((224, 224, 3), 240, np.uint8), 0.5) == 0
    assert focus(edges(1)[:10], 0.5) == 0


def test_the_white_beyond_the_slide_is_no_edge(store, tmp_path):
    """A flat slide has nothing sharp; half a padded patch is its border."""
    flat = pyvips.Image.black(400, 400, bands=3).linear(1, 120).cast("uchar").copy(interpretation="srgb")
    flat.tiffsave(str(tmp_path / "slide.tif"), tile=True, pyramid=True, compression="jpeg", Q=90)
    spots = anndata.AnnData(X=np.ones((1, 2), np.float32), obs={"in_tissue": [True]})
    spots.obsm["spatial"] = np.array([[2.0, 200.0]])
    spots.write_h5ad(tmp_path / "st.h5ad")
    small = patches.Store(tmp_path / "st.h5ad", tmp_path / "slide.tif", store.alignment, store.tissue, store.marks)
    extract(small, tmp_path / "out")
    with h5py.File(tmp_path / "out/patches.h5") as file:
        assert file["padded"][0] and file["img"][0, :, 0].min() > 250
        assert file["focus"][0] == 0


def test_blur_is_seen_on_real_sections():
    """Patches of two slides of .69 and .5 um/px, blurred by 1, 2 and 4 um and compressed again: one limit for both."""
    section, slide = real("data/her2st/C2.jpg"), real("data/slides/cmu-1-small-region.svs")
    crops = [
        (pyvips.Image.new_from_file(str(section)).crop(4000, 5200, 1000, 1000).numpy(), 0.69),
        (pyvips.Image.new_from_file(str(slide)).crop(500, 1200, 1300, 1300).numpy()[..., :3], 0.499),
    ]
    found = {blur_um: [] for blur_um in (0, 1, 2, 4)}
    for crop, um in crops:
        side = round(112 / um)
        there = range(20, len(crop) - 20 - side, side)
        corners = [(x, y) for x in there for y in there]
        for blur_um, values in found.items():
            blurred = cv2.GaussianBlur(crop, (0, 0), blur_um / um) if blur_um else crop
            again = cv2.imdecode(cv2.imencode(".jpg", blurred, [cv2.IMWRITE_JPEG_QUALITY, 85])[1], cv2.IMREAD_COLOR)
            resampler = resample.Resampler(0.5 / um, 224)
            values += [focus(resampler(again, x + 0.3, y + 0.6), 0.5) for x, y in corners]
    shows_tissue = np.array(found[0]) > 0
    values = {blur_um: np.array(one)[shows_tissue] for blur_um, one in found.items()}
    assert len(values[0]) > 40 and not shows_tissue.all()
    for less, more in ((0, 1), (1, 2), (2, 4)):
        assert (values[less] > values[more]).all()
    for blur_um, least in ((1, 0.98), (2, 1), (4, 1)):
        labels = np.repeat([1, 0], len(values[0]))
        assert roc_auc_score(labels, np.concatenate([values[0], values[blur_um]])) >= least


def test_further_sizes_have_folders_of_their_own():
    name = layout.store_name(("results", "x", "samples", "s1", "patches_more", "512um_256px.h5"))
    assert layout.released("s1", name) == "patches_512um_256px/s1.h5"


def test_a_file_of_no_patches_is_whole(tmp_path):
    grid = PatchGrid(np.empty((0, 2)), 32, 0.5, 0.5)
    with PatchWriter(tmp_path / "p.h5", grid, [], np.empty(0, bool), "s1"):
        pass
    with PatchReader(tmp_path / "p.h5") as file:
        assert len(file) == 0 and file.images(0, 5).shape == (0, 32, 32, 3)
