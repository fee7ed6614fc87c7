"""Tiles of JPEG that reach the slide as they were filed, and those that may not."""

import json

import numpy as np
import openslide
import pytest
import pyvips
import tifffile
from test_slide_formats import in_wide_colours, section, wide_profile

from real_data import real
from spotweave.errors import Refusal
from spotweave.pictures.files import open_picture
from spotweave.slide import levels, pyramid

RGB = section(900, 701)
JPEG = {"tile": True, "tile_width": 256, "tile_height": 256, "compression": "jpeg"}


def filed(path, rgb=RGB, **options):
    image = pyvips.Image.new_from_array(rgb).copy(interpretation="srgb")
    image.tiffsave(str(path), **{**JPEG, "Q": 85, **options})
    return path


def build(source, target):
    return pyramid.build_pyramid(source, target, pixel_size_um=0.499, tile_px=512, jpeg_quality=85).is_passed_through


def tiles_of(path):
    with tifffile.TiffFile(path) as file:
        page, found = file.pages[0], []
        for place, length in zip(page.dataoffsets, page.databytecounts, strict=True):
            file.filehandle.seek(place)
            found.append(file.filehandle.read(length))
    return found


def px(slide, level=0):
    return np.asarray(slide.read_region((0, 0), level, slide.level_dimensions[level]).convert("RGB")).astype(float)


def sources(tmp_path):
    yield filed(tmp_path / "halved.tif")
    yield filed(tmp_path / "full.tif", Q=95, tile_width=128, pyramid=True)
    rgb = tmp_path / "rgb.tif"
    colours = {"photometric": "rgb", "compression": "jpeg", "compressionargs": {"outcolorspace": 2, "level": 90}}
    tifffile.imwrite(rgb, RGB, tile=(240, 240), subsampling=(1, 1), **colours)
    yield rgb


def check_passed(source, target):
    assert build(source, target)
    assert tiles_of(target) == tiles_of(source)
    slide = openslide.OpenSlide(target)
    assert slide.properties["openslide.vendor"] == "generic-tiff"
    assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.499)
    full = px(slide)
    np.testing.assert_array_equal(full, px(openslide.OpenSlide(source)))
    np.testing.assert_array_equal(full, pyvips.Image.tiffload(str(target)).numpy())
    tiles = levels.Pyramid(target)
    for number, level in enumerate(tiles.levels):
        expected = pyvips.Image.tiffload(str(target), page=number).numpy()
        np.testing.assert_array_equal(tiles.read(number, 0, 0, level.width_px, level.height_px), expected)
    downsamples = tiles.downsamples
    assert downsamples == pytest.approx([2**level for level in range(slide.level_count)], rel=0.01)
    assert slide.level_count > 1
    height, width = full.shape[0] // 2, full.shape[1] // 2
    expected = full[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3).mean((1, 3))
    assert np.abs(px(slide, 1) - expected).mean() < 4


@pytest.mark.parametrize("which", range(3), ids=["YCbCr halved", "YCbCr in full", "RGB"])
def test_tiles_of_jpeg_are_copied_and_smaller_levels_are_halves(tmp_path, which):
    source = list(sources(tmp_path))[which]
    check_passed(source, tmp_path / "slide.tif")
    build(source, tmp_path / "again.tif")
    assert (tmp_path / "again.tif").read_bytes() == (tmp_path / "slide.tif").read_bytes()
    assert not list(tmp_path.glob("*.levels"))


def test_the_real_slide_of_jpeg_is_copied(tmp_path):
    check_passed(real("data", "slides", "cmu-1-small-region.svs"), tmp_path / "slide.tif")


def test_a_picture_of_one_tile_is_copied(tmp_path):
    source = filed(tmp_path / "a.tif", RGB[:200, :180])
    assert build(source, tmp_path / "slide.tif")
    assert openslide.OpenSlide(tmp_path / "slide.tif").level_count == 1


def test_what_must_be_converted_is_encoded_anew(tmp_path):
    wide = tmp_path / "wide.tif"
    image = pyvips.Image.new_from_array(in_wide_colours(RGB)).copy(interpretation="srgb")
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", wide_profile())
    image.tiffsave(str(wide), Q=95, **JPEG)
    assert not build(wide, tmp_path / "slide.tif")
    assert np.abs(px(openslide.OpenSlide(tmp_path / "slide.tif")) - RGB).mean() < 4
    for name, options in {"strips": {"tile": False}, "deflate": {"compression": "deflate"}}.items():
        assert not build(filed(tmp_path / f"{name}.tif", **options), tmp_path / f"{name}-slide.tif")
    large = filed(tmp_path / "large.tif", np.tile(RGB, (2, 2, 1)), tile_width=1280, tile_height=1280)
    assert not build(large, tmp_path / "large-slide.tif")


DAMAGE = {
    "zeros": lambda tile: tile[: len(tile) // 2] + bytes(len(tile) // 4) + tile[3 * len(tile) // 4 :],
    "noise": lambda tile: tile[: len(tile) // 2] + b"\x5a\x13\x77" * 30 + tile[len(tile) // 2 + 90 :],
    "early end": lambda tile: tile[: len(tile) // 2] + b"\xff\xd9" + tile[len(tile) // 2 + 2 :],
    "no head": lambda tile: bytes(8) + tile[8:],
    "last rows": lambda tile: tile[: -len(tile) // 20] + bytes(len(tile) + -len(tile) // 20 - 2) + b"\xff\xd9",
}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("number", [0, 5, 11])
def test_a_damaged_tile_is_refused_by_its_place(tmp_path, kind, number):
    """libvips decodes most of these without a warning."""
    source = filed(tmp_path / "a.tif")
    with tifffile.TiffFile(source) as file:
        place, length = file.pages[0].dataoffsets[number], file.pages[0].databytecounts[number]
    content = source.read_bytes()
    damaged = DAMAGE[kind](content[place : place + length])[:length].ljust(length, b"\0")
    source.write_bytes(content[:place] + damaged + content[place + length :])
    where = rf"tile {number % 4}, {number // 4} of page 1 is damaged|VipsJpeg"
    with pytest.raises(Refusal, match=rf"^a\.tif: the picture cannot be decoded \([^\n]*({where})[^\n]*$"):
        build(source, tmp_path / "slide.tif")


def test_a_cut_file_is_refused(tmp_path):
    source = filed(tmp_path / "a.tif")
    source.write_bytes(source.read_bytes()[:-9000])
    with pytest.raises(Refusal, match=r"^a\.tif: "):
        build(source, tmp_path / "slide.tif")


def test_the_picture_says_which_page_it_is(tmp_path):
    opened = open_picture(filed(tmp_path / "a.tif"))
    assert (opened.page, opened.is_unchanged) == (0, True)


def test_the_record_says_what_was_copied_and_chosen(tmp_path):
    source = filed(tmp_path / "a.tif")
    manifest, alignment = tmp_path / "raw.json", tmp_path / "alignment.json"
    entry = {"role": "image", "name": "a.tif", "path": str(source), "bytes": source.stat().st_size}
    manifest.write_text(json.dumps({"files": [entry]}))
    alignment.write_text(json.dumps({"pixel_size_um": 0.5, "image_width_px": 900, "image_height_px": 701}))
    files = (manifest, alignment, tmp_path / "slide.tif", tmp_path / "thumbnail.jpg")
    measures = pyramid.build_sample(*files, tile_px=512, jpeg_quality=85)
    assert (measures["passed_through"], measures["picture_note"]) == (True, None)
    assert measures["slide_bytes"] == (tmp_path / "slide.tif").stat().st_size
