"""Pictures as people deposit them: the colours they were filed in, or a refusal that says what is wrong."""

import struct
import zlib

import numpy as np
import pytest
import pyvips
import tifffile
from PIL import Image

from spotweave.errors import Refusal
from spotweave.pictures.files import open_picture
from spotweave.pictures.header import read_header
from spotweave.pictures.reduced import read_reduced
from spotweave.slide import pyramid


def colours(width=96, height=80):
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return (np.stack([x, y, 0.5 * (x + y)], axis=-1) * 200 + 50).astype(np.uint8)


def tiff(path, samples, **options):
    tifffile.imwrite(path, samples, **{"photometric": "rgb", **options})
    return path


def shown(path):
    """Both ways that readers take: streamed in full, and reduced."""
    streamed = open_picture(path).image.numpy()
    reduced, _ = read_reduced(path, 1.0)
    np.testing.assert_array_equal(reduced, streamed)
    return streamed


@pytest.mark.parametrize(
    "samples",
    [
        lambda rgb: rgb.astype(np.uint16) * 257,
        lambda rgb: rgb.astype(np.float32) / 255,
        lambda rgb: rgb.astype(np.float32),
    ],
    ids=["16 bits", "float 0-1", "float 0-255"],
)
def test_samples_of_other_types_show_the_same_colours(tmp_path, samples):
    np.testing.assert_array_equal(shown(tiff(tmp_path / "a.tif", samples(colours()))), colours())


@pytest.mark.parametrize(("bits", "largest"), [(10, "1,003"), (12, "4,014"), (15, "32,125")])
def test_samples_that_use_fewer_than_16_bits_are_refused_with_the_largest(tmp_path, bits, largest):
    rgb = (colours() / 255 * (2**bits - 1)).astype(np.uint16)
    path = tiff(tmp_path / "a.tif", rgb)
    for read in (open_picture, read_header, lambda p: read_reduced(p, 0.5)):
        with pytest.raises(Refusal, match=rf"a\.tif: 16-bit samples of which the largest is {rgb.max():,}"):
            read(path)
    rgb[0, 0] = 65535
    with pytest.raises(Refusal, match=r"16-bit samples of which the largest is 65,535, and 99\.9% are at most"):
        open_picture(tiff(path, rgb))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_float_samples_that_are_no_numbers_are_said(tmp_path, value):
    samples = colours().astype(np.float32) / 255
    samples[1, 2, 0] = value
    with pytest.raises(Refusal, match=r"float samples of which some are no numbers \(NaN\) or infinite; save it"):
        open_picture(tiff(tmp_path / "a.tif", samples))


@pytest.mark.parametrize("change", [lambda a: a * 4, lambda a: a - 0.5])
def test_float_samples_of_a_doubtful_range_are_refused(tmp_path, change):
    samples = change(colours().astype(np.float32) / 255).astype(np.float32)
    with pytest.raises(Refusal, match=r"float samples from .*neither 0 to 1 nor 0 to 255"):
        open_picture(tiff(tmp_path / "a.tif", samples))


def test_signed_samples_are_refused(tmp_path):
    with pytest.raises(Refusal, match="samples of type short"):
        open_picture(tiff(tmp_path / "a.tif", colours().astype(np.int16)))


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_fourth_band_that_is_not_opacity_by_its_tag_is_left_out_and_said(tmp_path, level):
    samples = np.dstack([colours(), np.full((80, 96), level, np.uint8)])
    path = tiff(tmp_path / "a.tif", samples, extrasamples=["unspecified"])
    np.testing.assert_array_equal(shown(path), colours())
    assert "band 4, which is not opacity" in read_header(path).note


@pytest.mark.parametrize("kind", ["tif", "png"])
@pytest.mark.parametrize("level", [0, 128, "ramp"])
def test_a_fourth_band_called_opacity_that_is_none_is_refused(tmp_path, kind, level):
    fourth = np.tile(np.arange(96, dtype=np.uint8) * 2, (80, 1)) if level == "ramp" else np.full((80, 96), level)
    samples = np.dstack([colours(), fourth.astype(np.uint8)])
    path = tmp_path / f"a.{kind}"
    if kind == "tif":
        tiff(path, samples, extrasamples=["unassalpha"])
    else:
        Image.fromarray(samples).save(path)
    with pytest.raises(Refusal, match="a fourth band that is not opacity"):
        open_picture(path)


def test_real_opacity_is_laid_on_white(tmp_path):
    opacity = np.full((80, 96), 255, np.uint8)
    opacity[:20] = 0
    seen = shown(tiff(tmp_path / "a.tif", np.dstack([colours(), opacity]), extrasamples=["unassalpha"]))
    assert seen[:20].min() == 255
    np.testing.assert_array_equal(seen[20:], colours()[20:])


def ome(path, planes, **channel):
    metadata = {"axes": "CYX", **({"Channel": channel} if channel else {})}
    tifffile.imwrite(path, planes, photometric="minisblack", metadata=metadata)
    return path


@pytest.mark.parametrize(
    "channel", [{"Name": ["Red", "Green", "Blue"]}, {"Name": ["R", "G", "B"]}, {"Color": [-16776961, 16711935, 65535]}]
)
def test_three_grey_pages_that_are_named_red_green_and_blue_are_put_together(tmp_path, channel):
    path = ome(tmp_path / "a.ome.tif", np.moveaxis(colours(), -1, 0).copy(), **channel)
    np.testing.assert_array_equal(shown(path), colours())
    assert "three grey pages put together" in read_header(path).note


@pytest.mark.parametrize("channel", [{}, {"Name": ["DAPI", "FITC", "TRITC"]}, {"Name": ["Blue", "Green", "Red"]}])
def test_other_grey_pages_are_refused_by_name(tmp_path, channel):
    path = ome(tmp_path / "a.ome.tif", np.moveaxis(colours(), -1, 0).copy(), **channel)
    with pytest.raises(Refusal, match=r"a\.ome\.tif: three grey pages"):
        open_picture(path)


def test_colours_in_separate_planes_of_one_page_are_one_picture(tmp_path):
    planes = np.moveaxis(colours(), -1, 0).copy()
    np.testing.assert_array_equal(shown(tiff(tmp_path / "a.tif", planes, planarconfig="separate")), colours())


@pytest.mark.parametrize("first", ["label", "macro"])
def test_the_largest_page_is_the_slide_and_said(tmp_path, first):
    """The macro has the slide's own proportions: a reduced read must not take it for a level of the slide."""
    side = (40, 40) if first == "label" else (20, 24)
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(np.full((*side, 3), 9, np.uint8), photometric="rgb")
        file.write(colours(), photometric="rgb", description="Aperio |MPP = 0.25")
    np.testing.assert_array_equal(shown(path), colours())
    header = read_header(path)
    assert (header.width_px, header.height_px, header.pixel_size_um) == (96, 80, 0.25)
    assert header.note.startswith("page 2 of 2 is the picture: 96 x 80 px, the largest")
    pyramid.build_pyramid(path, tmp_path / "slide.tif", pixel_size_um=0.5, tile_px=256, jpeg_quality=95)
    assert read_reduced(tmp_path / "slide.tif", 1)[0].shape == (80, 96, 3)
    reduced, _ = read_reduced(path, 0.1)
    assert abs(reduced.astype(float).mean() - colours().mean()) < 4


def png_that_announces(width, height):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [30_000, 2_000_000_000])
def test_dimensions_that_the_file_cannot_hold_are_refused_before_anything_is_decoded(tmp_path, side):
    path = tmp_path / "a.png"
    path.write_bytes(png_that_announces(side, side))
    for read in (open_picture, lambda p: read_reduced(p, 0.001)):
        with pytest.raises(Refusal, match=r"a\.png: (.* px are announced|the picture cannot be decoded)"):
            read(path)


def test_a_tiff_that_announces_more_than_it_holds_is_refused(tmp_path):
    path = tiff(tmp_path / "a.tif", colours())
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for tag in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            entry = file.pages[0].tags[tag]
            content[entry.offset + 2 : entry.offset + 12] = struct.pack("<HII", 4, 1, 60_000)
    path.write_bytes(content)
    with pytest.raises(Refusal, match="60,000 x 60,000 px are announced"):
        open_picture(path)


@pytest.mark.parametrize("tile", [(64, 64), None], ids=["tiles", "strips"])
@pytest.mark.parametrize("which", [0, 5])
def test_a_damaged_tiff_is_refused_though_the_decoder_goes_on(tmp_path, tile, which):
    """Tags that make libtiff warn are no damage (the slide behind a label, above); changed tiles are."""
    noise = np.random.default_rng(0).normal(0, 12, (256, 256, 3))
    rgb = np.clip(colours(256, 256) + noise, 0, 255).astype(np.uint8)
    path = tiff(tmp_path / "a.tif", rgb, compression="deflate", tile=tile, rowsperstrip=None if tile else 32)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        start = file.pages[0].dataoffsets[which]
    content[start : start + 3000] = bytes(3000)
    path.write_bytes(content)
    for read in (lambda p: open_picture(p).image.avg(), lambda p: read_reduced(p, 0.5)):
        with pytest.raises((Refusal, pyvips.Error)):
            read(path)


def test_formats_that_are_programs_are_not_opened(tmp_path):
    path = tmp_path / "a.svg"
    path.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>')
    with pytest.raises(Refusal, match=r"a\.svg"):
        open_picture(path)
