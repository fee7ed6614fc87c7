"""Pyramids and patches against OpenSlide, tifffile and planted pictures."""

from pathlib import Path

import h5py
import numpy as np
import openslide
import pytest
import pyvips
import tifffile
from PIL import Image

from real_data import DATA, NOT_HERE
from spotweave.errors import Refusal
from spotweave.pictures.header import read_header
from spotweave.pictures.magnification import magnification
from spotweave.slide import levels, patch_files, patches, pyramid

KINDS = ["jpg", "png", "png-alpha", "png-palette", "tif", "tif-16-bit", "tif-grey", "jpg-cmyk"]


def picture(width=700, height=500):
    """Smooth colours, so that JPEG and resampling change little."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return (np.stack([x, y, 0.5 * (x + y)], axis=-1) * 180 + 40).astype(np.uint8)


def save(path, kind):
    rgb = picture()
    image = Image.fromarray(rgb)
    if kind == "png-alpha":
        alpha = np.full(rgb.shape[:2], 255, np.uint8)
        alpha[:100, :100] = 0
        image.putalpha(Image.fromarray(alpha))
    elif kind == "png-palette":
        image = image.quantize(256, method=Image.Quantize.MEDIANCUT)
    elif kind == "tif-grey":
        image = image.convert("L")
    elif kind == "jpg-cmyk":
        image = image.convert("CMYK")
    elif kind == "tif-16-bit":
        tifffile.imwrite(path, rgb.astype(np.uint16) * 257, photometric="rgb")
        return
    image.save(path)


def built(tmp_path, rgb, pixel_size_um=0.5, name="source.png"):
    source, target = tmp_path / name, tmp_path / f"slide-{Path(name).stem}.tif"
    Image.fromarray(rgb).save(source)
    pyramid.build_pyramid(source, target, pixel_size_um=pixel_size_um, tile_px=256, jpeg_quality=95)
    return target


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture_becomes_the_same_pyramid(tmp_path, kind):
    source, target = tmp_path / f"source.{kind.split('-')[0]}", tmp_path / "slide.tif"
    save(source, kind)
    pyramid.build_pyramid(source, target, pixel_size_um=0.6869, tile_px=256, jpeg_quality=90)
    slide = openslide.OpenSlide(target)
    assert slide.properties["openslide.vendor"] == "generic-tiff"
    assert slide.dimensions == (700, 500)
    assert slide.level_count >= 2
    assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.6869, rel=1e-6)
    shown = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"), dtype=float)
    expected = picture().astype(float)
    if kind == "tif-grey":
        expected = np.repeat(expected @ [[0.299], [0.587], [0.114]], 3, axis=-1)
    if kind == "png-alpha":
        assert shown[:90, :90].min() > 245, "transparent becomes white"
        shown, expected = shown[110:, 110:], expected[110:, 110:]
    tolerance = {"jpg-cmyk": 40, "png-palette": 12}.get(kind, 4)
    assert np.abs(shown - expected).mean() < tolerance


def test_the_resolution_tag_is_pixels_per_cm(tmp_path):
    target = built(tmp_path, picture(), pixel_size_um=0.25)
    with tifffile.TiffFile(target) as file:
        page = file.pages[0]
        numerator, denominator = page.tags["XResolution"].value
        assert page.tags["ResolutionUnit"].value == tifffile.RESUNIT.CENTIMETER
        assert numerator / denominator == pytest.approx(40000)
        assert page.is_tiled


@pytest.mark.parametrize(
    ("unit", "per_unit", "expected"),
    [
        ("inch", 25_400 / 0.5, 0.5),
        ("cm", 10_000 / 0.5, 0.5),
        ("inch", 72, None),
        ("inch", 96, None),
        ("inch", 300, None),
    ],
)
def test_an_embedded_pixel_size_is_read_in_its_unit_or_not_believed(tmp_path, unit, per_unit, expected):
    path = tmp_path / "a.tif"
    resolution_unit = {"inch": "INCH", "cm": "CENTIMETER"}[unit]
    tifffile.imwrite(
        path, picture(), photometric="rgb", resolution=(per_unit, per_unit), resolutionunit=resolution_unit
    )
    found = read_header(path).pixel_size_um
    assert found == (None if expected is None else pytest.approx(expected, rel=1e-3))


@pytest.mark.parametrize("content", [b"<html>404</html>", b"", b"\xff\xd8\xff\xe0 not a picture"])
def test_what_is_no_picture_is_refused_by_name(tmp_path, content):
    path = tmp_path / "section.jpg"
    path.write_bytes(content)
    with pytest.raises(Refusal, match=r"section\.jpg: the picture cannot be decoded"):
        read_header(path)


def test_a_truncated_picture_is_refused(tmp_path):
    path = tmp_path / "section.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (600, 600, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-20_000])
    with pytest.raises(Refusal, match="cannot be decoded"):
        pyramid.build_pyramid(path, tmp_path / "slide.tif", pixel_size_um=0.5, tile_px=256, jpeg_quality=90)


def test_two_builds_are_the_same_bytes(tmp_path):
    one = built(tmp_path, picture()).read_bytes()
    assert built(tmp_path, picture()).read_bytes() == one


@pytest.mark.parametrize(
    ("pixel_size_um", "expected"),
    [
        (0.1, None),
        (0.2125, "40x"),
        (0.4, "40x"),
        (0.45, "20x"),
        (0.69, "20x"),
        (0.8, "20x"),
        (1.15, "10x"),
        (1.2, None),
    ],
)
def test_magnification_follows_the_bins_of_the_paper(pixel_size_um, expected):
    assert magnification(pixel_size_um) == expected


def grid(centres, slide_um, size_px=224):
    return patches.PatchGrid(np.array(centres, dtype=float), size_px, 0.5, slide_um)


def cut(slide, wanted):
    return list(patches.cut(levels.Pyramid(slide), wanted))


@pytest.mark.parametrize("slide_um", [0.69, 0.5, 0.25, 0.1375])
def test_a_patch_covers_the_same_tissue_whatever_the_pixel_size(tmp_path, slide_um):
    """The picture holds its own coordinates as colours, so each patch pixel says where it was taken."""
    span_um = 400.0
    side = round(span_um / slide_um)
    ramp = (np.arange(side) + 0.5) * slide_um / span_um * 250
    x, y = np.meshgrid(ramp, ramp)
    rgb = np.stack([x, y, np.full_like(x, 128)], axis=-1).round().astype(np.uint8)
    slide = built(tmp_path, rgb, slide_um)
    centre_um = np.array([170.0, 230.0])
    (patch,) = cut(slide, grid([centre_um / slide_um], slide_um))
    at_um = (np.arange(224) + 0.5 - 112) * 0.5
    expected_x = (centre_um[0] + at_um) / span_um * 250
    expected_y = (centre_um[1] + at_um) / span_um * 250
    assert np.abs(patch[..., 0].mean(axis=0) - expected_x).max() < 1.5
    assert np.abs(patch[..., 1].mean(axis=1) - expected_y).max() < 1.5
    # A shift of half a source pixel would show here; rounding and JPEG do not reach it.
    assert abs((patch[..., 0].mean(axis=0) - expected_x).mean()) < 0.15
    assert abs((patch[..., 1].mean(axis=1) - expected_y).mean()) < 0.15


@pytest.mark.parametrize("slide_um", [0.9, 0.69, 0.3, 0.2])
def test_patches_lie_within_a_twentieth_of_a_pixel(tmp_path, slide_um):
    """Waves of 20 um: their phase in the patch says where it was taken; half a source pixel is .1 um and more."""
    side = round(300 / slide_um)
    at_um = (np.arange(side) + 0.5) * slide_um
    wave = 128 + 100 * np.sin(2 * np.pi * at_um / 20)
    rgb = np.repeat(np.add.outer(0 * wave, wave)[..., None], 3, axis=2).round().astype(np.uint8)
    centre_um = np.array([151.3, 149.1])
    for turned in (False, True):
        picture_rgb = np.ascontiguousarray(np.swapaxes(rgb, 0, 1)) if turned else rgb
        (patch,) = cut(built(tmp_path, picture_rgb, slide_um, f"{turned}.png"), grid([centre_um / slide_um], slide_um))
        profile = patch[..., 0].astype(float).mean(axis=1 if turned else 0)
        there_um = centre_um[int(turned)] + (np.arange(224) + 0.5 - 112) * 0.5
        angle = 2 * np.pi * there_um / 20
        waves = np.column_stack([np.sin(angle), np.cos(angle), np.ones(224)])
        sine, cosine, _ = np.linalg.lstsq(waves, profile, rcond=None)[0]
        assert abs(np.arctan2(cosine, sine)) / (2 * np.pi) * 20 < 0.025, "um"


@pytest.mark.parametrize(
    ("slide_um", "stripe_px", "least", "most"),
    [
        (0.2, 1, 0, 0.02),
        (0.26, 1, 0, 0.02),
        (0.3, 1, 0, 0.02),
        (0.35, 1, 0, 0.02),
        (0.4, 1, 0, 0.2),
        (0.2, 2, 0, 0.2),
        (0.45, 1, 0, 0.45),
        (0.3, 4, 0.75, 1),
        (0.45, 4, 0.75, 1),
    ],
)
def test_stripes_that_a_patch_cannot_hold_lose_their_contrast_and_others_keep_it(
    tmp_path, slide_um, stripe_px, least, most
):
    """Patches of 0.5 um/px hold periods from 1 um on; finer ones may not come back as false stripes."""
    bright = (np.arange(900) // stripe_px) % 2 == 0
    rgb = np.repeat(np.tile(np.where(bright, 255, 0).astype(np.uint8), (900, 1))[..., None], 3, axis=2)
    (patch,) = cut(built(tmp_path, rgb, slide_um), grid([(450.3, 450)], slide_um))
    contrast = patch[..., 0].astype(float).std() / 127.5
    assert least <= contrast <= most


def test_border_patches_are_kept_padded_white_and_flagged(tmp_path):
    rgb = np.full((600, 600, 3), 90, np.uint8)
    wanted = grid([(300, 300), (0, 300), (600, 600)], 0.5)
    slide = built(tmp_path, rgb)
    found = cut(slide, wanted)
    assert wanted.padded(600, 600).tolist() == [False, True, True]
    assert [abs(int(patch.min()) - 90) < 4 for patch in found] == [True] * 3
    assert found[1][:, :100].min() > 240
    assert found[2][120:, 120:].min() > 240


def test_the_file_has_the_published_layout(tmp_path):
    slide = built(tmp_path, picture(1200, 1000), 0.69)
    centres = np.random.default_rng(0).uniform(200, 800, (130, 2))
    wanted = grid(centres, 0.69)
    barcodes = [f"{n}x{n}" for n in range(130)]
    target = tmp_path / "patches.h5"
    with patch_files.PatchWriter(target, wanted, barcodes, wanted.padded(1200, 1000), "s1") as file:
        for row, patch in enumerate(cut(slide, wanted)):
            file.put(row, patch)
    with h5py.File(target) as file:
        assert file["img"].shape == (130, 224, 224, 3)
        assert file["img"].dtype == np.uint8
        assert file["barcode"].shape == (130, 1)
        assert file["barcode"].asstr()[:, 0].tolist() == barcodes
        assert file["img"].attrs["patch_size_target"] == 224
        assert file["img"].attrs["patch_size_src"] == pytest.approx(112 / 0.69)
        np.testing.assert_allclose(file["coords"][:] + file["img"].attrs["patch_size_src"] / 2, centres, atol=0.51)
        for index in (0, 63, 64, 129):
            assert (file["img"][index] == cut(slide, grid([centres[index]], 0.69))[0]).all()


def test_a_patch_comes_from_the_coarsest_level_that_is_fine_enough(tmp_path):
    slide = levels.Pyramid(built(tmp_path, picture(3000, 2000), 0.1))
    assert slide.downsamples[:3] == [1, 2, 4]
    assert [slide.level_for(reduction) for reduction in (0.7, 1, 1.9, 2, 3.9, 4.1)] == [0, 0, 0, 1, 1, 2]


def test_a_picture_damaged_in_the_middle_is_refused(tmp_path):
    """libjpeg decodes on over corrupt data and only warns: the rest of the picture would be grey blocks."""
    path = tmp_path / "section.jpg"
    noise = np.random.default_rng(0).normal(0, 8, (1200, 1500, 3))
    Image.fromarray((picture(1500, 1200) + noise).clip(0, 255).astype(np.uint8)).save(path, quality=90)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20_000] = bytes(20_000)
    path.write_bytes(content)
    with pytest.raises(Refusal, match=r"section\.jpg: the picture cannot be decoded"):
        pyramid.build_pyramid(path, tmp_path / "slide.tif", pixel_size_um=0.5, tile_px=256, jpeg_quality=90)


@pytest.mark.parametrize(
    ("size", "unit", "expected"),
    [(0.3638, "µm", 0.3638), (0.000274, "mm", 0.274), (499, "nm", 0.499), (1, "pixel", None)],
)
def test_the_pixel_size_of_an_ome_tiff_is_read_in_its_unit(tmp_path, size, unit, expected):
    path = tmp_path / "section.ome.tif"
    metadata = {"axes": "YXS", "PhysicalSizeX": size, "PhysicalSizeXUnit": unit, "PhysicalSizeY": size}
    tifffile.imwrite(path, np.full((64, 80, 3), 200, np.uint8), photometric="rgb", metadata=metadata)
    found = read_header(path).pixel_size_um
    assert found == (None if expected is None else pytest.approx(expected))


OME = (
    '<?xml version="1.0"?><OME>{label}<Image ID="Image:0"><Pixels ID="Pixels:0" SizeX="80" SizeY="64" {said}>'
    "</Pixels></Image></OME>"
)
LABEL = (
    '<Image ID="Image:1"><Pixels ID="Pixels:1" SizeX="10" SizeY="9" PhysicalSizeX="12.5" PhysicalSizeY="12.5"/></Image>'
)


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        (OME.format(label=LABEL, said='PhysicalSizeX="0.5" PhysicalSizeY="0.5"'), 0.5),
        (OME.format(label="", said='PhysicalSizeX="0.5" PhysicalSizeXUnit="&#181;m"'), 0.5),
        (OME.format(label="", said="PhysicalSizeX='5e-07' PhysicalSizeXUnit='m'"), 0.5),
        (OME.format(label="", said='PhysicalSizeX="0.5" PhysicalSizeY="0.25"'), None),
        ("Aperio Image Library|AppMag = 40|MPP = 2.5e-1", 0.25),
        ("Aperio Image Library|AppMag = 40|MPP = 0,2520", 0.252),
        (OME.format(label="", said='PhysicalSizeX="NaN"'), None),
    ],
    ids=["label first", "entity", "metres", "not square", "exponent", "comma", "no number"],
)
def test_what_a_description_says_of_the_pixel_size_is_read_whole(tmp_path, description, expected):
    path = tmp_path / "a.tif"
    samples = np.full((64, 80, 3), 200, np.uint8)
    tifffile.imwrite(path, samples, photometric="rgb", description=description.encode(), metadata=None)
    assert read_header(path).pixel_size_um == expected


@pytest.mark.parametrize(
    ("per_unit", "unit", "note"),
    [
        ((20_000, 20_000), "NONE", None),
        ((20_000, 10_000), "CENTIMETER", "px of 0.5 x 1 um by its own statement, which is not believed"),
    ],
)
def test_a_resolution_without_a_measure_or_of_oblong_px_is_not_believed(tmp_path, per_unit, unit, note):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture(), photometric="rgb", resolution=per_unit, resolutionunit=unit, metadata=None)
    found = read_header(path)
    assert (found.pixel_size_um, found.note) == (None, note)


def test_an_aperio_slides_own_statement_is_read_as_openslide_reads_it():
    path = DATA / "slides/cmu-1-small-region.svs"
    if not path.exists():
        pytest.skip(f"{NOT_HERE}{path}")
    expected = float(openslide.OpenSlide(str(path)).properties["openslide.mpp-x"])
    assert read_header(path).pixel_size_um == pytest.approx(expected)


def lossless(tmp_path, grey, *, levels=True):
    """A grey picture as a TIFF without loss; `levels` adds a pyramid."""
    path = tmp_path / f"{levels}.tif"
    picture = pyvips.Image.new_from_array(np.repeat(grey[..., None], 3, axis=-1).astype(np.uint8))
    picture.copy(interpretation="srgb").tiffsave(str(path), tile=True, pyramid=levels, compression="deflate")
    return path


@pytest.mark.parametrize("slide_um", [0.69, 0.3, 0.25, 1.0])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_patch_pixel_lies_where_its_centre_is_to_a_seventh_of_a_pixel(tmp_path, slide_um, axis):
    """Neither blur nor interpolation moves a linear ramp; a steep one tells a shift from rounded grey levels."""
    side, per_um, centre_um = round(60 / slide_um), 4.1, np.array([31.3, 28.6])
    ramp = np.broadcast_to((np.arange(side) + 0.5) * slide_um * per_um, (side, side))
    dithered = np.floor((ramp if axis == 1 else ramp.T) + np.random.default_rng(0).uniform(size=(side, side)))
    (patch,) = cut(lossless(tmp_path, dithered, levels=False), grid([centre_um / slide_um], slide_um, size_px=64))
    expected_um = centre_um[1 - axis] + (np.arange(64) + 0.5 - 32) * 0.5
    found_um = patch[..., 0].mean(axis=1 - axis) / per_um
    assert abs((found_um - expected_um).mean()) < 0.07


def test_a_patch_at_an_odd_place_has_its_nearest_whole_corner():
    wanted = patches.PatchGrid(np.array([(100.8, 50.3), (100.2, 50.9)]), 10, 0.5, 0.5)
    assert wanted.top_left_px.tolist() == [[96, 45], [95, 46]]


def test_a_patch_beyond_one_side_is_padded():
    wanted = patches.PatchGrid(np.array([(2.0, 50.0), (50.0, 2.0), (198.0, 50.0), (50.0, 98.0), (5, 5)]), 10, 0.5, 0.5)
    assert wanted.padded(200, 100).tolist() == [True, True, True, True, False]


def test_patches_written_in_any_order_are_read_in_theirs(tmp_path):
    count = 200
    wanted = patches.PatchGrid(np.zeros((count, 2)), 2, 0.5, 0.5)
    names = [str(number) for number in range(count)]
    with patch_files.PatchWriter(tmp_path / "p.h5", wanted, names, np.zeros(count, bool), "s") as file:
        for row in np.random.default_rng(0).permutation(count):
            file.put(row, np.full((2, 2, 3), row, np.uint8))
    with h5py.File(tmp_path / "p.h5") as file:
        assert file["img"][:, 0, 0, 0].tolist() == list(range(count))


def test_a_wide_slide_is_read_to_its_right_edge_and_no_further_down(tmp_path):
    grey = np.full((100, 400), 90.0)
    pyramid_of = levels.Pyramid(lossless(tmp_path, grey, levels=False))
    right = pyramid_of.read(0, 380, 90, 40, 20)[..., 0]
    assert (right[:10, :20] == 90).all()
    assert (right[10:] == 255).all() and (right[:, 20:] == 255).all()
    assert (pyramid_of.read(0, 380, 120, 40, 20) == 255).all() and (pyramid_of.read(0, 420, 20, 9, 9) == 255).all()


@pytest.mark.parametrize("layout", [{"tile": True}, {}], ids=["tiles", "strips"])
@pytest.mark.parametrize("compression", ["none", "lzw", "jpeg"])
def test_windows_of_a_slide_are_those_of_libvips(tmp_path, layout, compression):
    path = tmp_path / "slide.tif"
    image = pyvips.Image.new_from_array(picture(333, 290)).copy(interpretation="srgb")
    image.tiffsave(str(path), compression=compression, Q=80, **layout)
    expected = np.pad(pyvips.Image.tiffload(str(path)).numpy(), ((40, 40), (40, 40), (0, 0)), constant_values=255)
    slide = levels.Pyramid(path)
    for left, top, width, height in [(0, 0, 333, 290), (-40, -40, 413, 370), (120, 100, 30, 160), (300, 250, 73, 80)]:
        window = expected[top + 40 :, left + 40 :][:height, :width]
        np.testing.assert_array_equal(slide.read(0, left, top, width, height), window)


def test_a_damaged_tile_is_named(tmp_path):
    path = built(tmp_path, picture(900, 700))
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].dataoffsets[1]
    content = bytearray(path.read_bytes())
    content[offset : offset + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"slide-source\.tif: tile 1, 0 of page 1 cannot be decoded .*build the slide again"
    ):
        levels.Pyramid(path).read(0, 0, 0, 900, 100)


def test_no_white_creeps_into_a_patch_from_beyond_its_block(tmp_path):
    """The last pixels need what lies beside the patch: a block cut at its edge would be continued by its last pixel."""
    grey = np.full((300, 300), 40.0)
    grey[:, 150:] = 240
    (patch,) = cut(lossless(tmp_path, grey, levels=False), patches.PatchGrid(np.array([(140.0, 140.0)]), 10, 0.5, 0.25))
    (beside,) = cut(
        lossless(tmp_path, grey, levels=False), patches.PatchGrid(np.array([(140.0, 140.0)]), 30, 0.5, 0.25)
    )
    assert (patch == beside[10:20, 10:20]).all()


def test_a_thumbnail_never_enlarges(tmp_path):
    pyramid.write_thumbnail(built(tmp_path, picture(700, 500)), tmp_path / "small.jpg", 350)
    pyramid.write_thumbnail(lossless(tmp_path, np.full((50, 70), 90)), tmp_path / "same.jpg", 350)
    assert Image.open(tmp_path / "small.jpg").size == (350, 250)
    assert Image.open(tmp_path / "same.jpg").size == (70, 50)
