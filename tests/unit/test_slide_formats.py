"""Containers and codecs of slides: the px that were written, or one line that says which file, what and what to do."""

import gc
import importlib.util
import struct

import imagecodecs
import numpy as np
import openslide
import pytest
import pyvips
import tifffile
from PIL import Image, ImageCms
from small_slides import write_czi, write_dicom, write_ndpi

from real_data import real
from spotweave.errors import Refusal
from spotweave.pictures import jpeg2000, tiff_pages
from spotweave.pictures.files import open_picture
from spotweave.pictures.header import read_header
from spotweave.pictures.reduced import read_reduced, strips
from spotweave.slide import pyramid

WIDTH, HEIGHT = 330, 280
TILE = {"tile": (128, 128)}
ROWS = {"rowsperstrip": 48}
PLANES = {"planarconfig": "separate"}


def section(width=WIDTH, height=HEIGHT):
    """Stained as H&E is: bright glass, pink tissue, violet nuclei."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    rgb = np.full((height, width, 3), 238.0)
    rgb[((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2) < 0.12] = (214, 150, 186)
    rgb[((x // 9 + y // 11) % 7 == 0) & (rgb[..., 1] < 200)] = (110, 70, 150)
    return np.clip(rgb + rng.normal(0, 3, rgb.shape), 0, 255).astype(np.uint8)


RGB = section()
FIRST = np.moveaxis(RGB, -1, 0).copy()
DEEP = RGB.astype(np.uint16) * 257


def tiff(path, samples, **options):
    tifffile.imwrite(path, samples, **{"photometric": "rgb", "metadata": None, **options})
    return path


def with_copies(path, samples, copies, **options):
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(samples, subifds=len(copies), **options)
        for copy in copies:
            file.write(copy, subfiletype=1, **options)
    return path


def halved(rgb):
    height, width = rgb.shape[0] // 2, rgb.shape[1] // 2
    return rgb[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3).mean((1, 3)).astype(np.uint8)


def shown(path):
    """Both ways that readers take: streamed in full, and reduced."""
    streamed = open_picture(path).image.numpy()
    reduced, _ = read_reduced(path, 1.0)
    np.testing.assert_array_equal(reduced, streamed)
    return streamed


LOSSLESS = {
    "JPEG 2000 in tiles": (RGB, {"compression": "jpeg2000", **TILE}),
    "JPEG 2000 in strips": (RGB, {"compression": "jpeg2000", **ROWS}),
    "Aperio's JPEG 2000": (RGB, {"compression": "aperio_jp2000_rgb", **TILE}),
    "JPEG 2000, 16 bits": (DEEP, {"compression": "jpeg2000", **TILE}),
    "Zstandard in tiles": (RGB, {"compression": "zstd", **TILE}),
    "Zstandard in strips, predicted": (RGB, {"compression": "zstd", "predictor": True, **ROWS}),
    "Zstandard, one tile wider than the picture": (RGB, {"compression": "zstd", "tile": (512, 512)}),
    "planes in tiles": (FIRST, {**PLANES, **TILE}),
    "planes in tiles, Deflate": (FIRST, {"compression": "zlib", **PLANES, **TILE}),
    "planes in tiles, JPEG 2000": (FIRST, {"compression": "jpeg2000", **PLANES, **TILE}),
    "planes in strips": (FIRST, {**PLANES, **ROWS}),
    "planes in one strip each, big-endian, 16 bits": (
        np.moveaxis(DEEP, -1, 0).copy(),
        {**PLANES, "byteorder": ">", "rowsperstrip": HEIGHT},
    ),
    "planes called grey": (FIRST, {"photometric": "minisblack", **PLANES}),
    "bands called grey": (RGB, {"photometric": "minisblack", "planarconfig": "contig"}),
    "64-bit floats": (RGB / 255.0, {}),
    "WebP": (RGB, {"compression": "webp", "compressionargs": {"lossless": True}, **TILE}),
    "BigTIFF of one strip": (RGB, {"bigtiff": True, "rowsperstrip": HEIGHT}),
    "BigTIFF of one strip, LZW": (RGB, {"bigtiff": True, "rowsperstrip": HEIGHT, "compression": "lzw"}),
    "big-endian, Zstandard, 16 bits": (DEEP, {"byteorder": ">", "compression": "zstd", **TILE}),
}


@pytest.mark.parametrize("kind", LOSSLESS)
def test_tiffs_of_every_layout_and_codec_show_the_px_that_were_written(tmp_path, kind):
    samples, options = LOSSLESS[kind]
    np.testing.assert_array_equal(shown(tiff(tmp_path / "a.tif", samples, **options)), RGB)


@pytest.mark.parametrize("options", [{}, {"compression": "jpeg2000"}])
def test_a_pyramid_in_subifds_is_read_from_its_reduced_copies(tmp_path, options):
    blue = np.zeros_like(halved(RGB)) + np.array([0, 0, 255], np.uint8)
    path = with_copies(tmp_path / "a.ome.tif", RGB, [blue, halved(blue)], photometric="rgb", tile=(64, 64), **options)
    np.testing.assert_array_equal(open_picture(path).image.numpy(), RGB)
    reduced, scale = read_reduced(path, 0.2)
    assert (reduced == (0, 0, 255)).all()
    in_strips = []
    for _, strip in strips(path, *reduced.shape[1::-1], 20):
        gc.collect()  # what nobody holds any more must not be needed
        in_strips.append(strip)
    np.testing.assert_array_equal(np.concatenate(in_strips), reduced)
    assert scale == pytest.approx((WIDTH / reduced.shape[1], HEIGHT / reduced.shape[0]))


def test_a_damaged_reduced_copy_is_not_needed(tmp_path):
    options = {"photometric": "rgb", "tile": (64, 64), "compression": "zstd"}
    path = with_copies(tmp_path / "a.tif", RGB, [halved(RGB), halved(halved(RGB))], **options)
    with tifffile.TiffFile(path) as file:
        places = [(p.dataoffsets[0], p.databytecounts[0]) for p in file.pages[0].pages]
    content = bytearray(path.read_bytes())
    for place, length in places:
        content[place : place + length] = bytes(length)
    path.write_bytes(content)
    reduced, _ = read_reduced(path, 0.25)
    assert np.abs(reduced.astype(float) - halved(halved(RGB))[: len(reduced), : reduced.shape[1]]).mean() < 4
    pyramid.build_pyramid(path, tmp_path / "slide.tif", pixel_size_um=0.5, tile_px=256, jpeg_quality=95)


def test_the_real_jpeg_2000_slide_is_openslides(tmp_path):
    path = real("data", "slides", "tcga-cr-7395-01a-01-ts1.svs")
    slide = openslide.OpenSlide(path)
    window = (1024, 512, 700, 500)
    mine = open_picture(path).image.crop(*window).numpy()
    np.testing.assert_array_equal(mine, np.asarray(slide.read_region(window[:2], 0, window[2:]).convert("RGB")))
    reduced, _ = read_reduced(path, 0.1)
    theirs = np.asarray(slide.get_thumbnail((450, 450)).resize(reduced.shape[1::-1]))
    assert np.abs(reduced.astype(float) - theirs).mean() < 6


@pytest.mark.parametrize("compression", ["lzma", "jpegxl", "jpegxr"])
def test_a_codec_that_nobody_here_decodes_is_no_black_picture(tmp_path, compression):
    path = tiff(tmp_path / "a.tif", RGB, compression=compression, **TILE)
    with pytest.raises(Refusal, match=r"a\.tif: a TIFF packed by .*save it packed by"):
        open_picture(path)


@pytest.mark.parametrize("suffix", ["jp2", "j2k"])
def test_jpeg_2000_files(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(imagecodecs.jpeg2k_encode(RGB, level=0, codecformat=suffix))
    np.testing.assert_array_equal(shown(path), RGB)
    monkeypatch.setattr(jpeg2000, "PIXELS_MAX", 1000)
    with pytest.raises(Refusal, match=rf"a\.{suffix}: 330 x 280 px in a JPEG 2000 file, which is decoded as a whole"):
        open_picture(path)


@pytest.mark.skipif(importlib.util.find_spec("aicspylibczi") is None, reason="aicspylibczi is not installed")
def test_a_czi_mosaic(tmp_path):
    path = tmp_path / "a.czi"
    write_czi(path, RGB, 0.22)
    np.testing.assert_array_equal(open_picture(path).image.numpy(), RGB)
    assert read_header(path).pixel_size_um == pytest.approx(0.22)
    reduced, _ = read_reduced(path, 0.2)
    assert np.abs(reduced.mean((0, 1)) - RGB.mean((0, 1))).max() < 3
    path.write_bytes(path.read_bytes()[:-200_000])
    with pytest.raises(Refusal, match=r"a\.czi: the picture cannot be decoded"):
        open_picture(path).image.numpy()


def test_a_czi_says_which_package_would_read_it(tmp_path, monkeypatch):
    write_czi(tmp_path / "a.czi", RGB[:50, :50], 0.22)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Refusal, match=r"a\.czi: .* pip install aicspylibczi"):
        open_picture(tmp_path / "a.czi")


@pytest.mark.parametrize(
    ("write", "name", "vendor"), [(write_ndpi, "a.ndpi", "hamamatsu"), (write_dicom, "a.dcm", "dicom")]
)
def test_slides_of_scanners_are_read_by_openslide(tmp_path, write, name, vendor):
    write(tmp_path / name, RGB, 0.46)
    assert openslide.OpenSlide.detect_format(tmp_path / name) == vendor
    assert np.abs(open_picture(tmp_path / name).image.numpy().astype(float) - RGB).mean() < 3
    header = read_header(tmp_path / name)
    assert (header.width_px, header.height_px, header.note) == (WIDTH, HEIGHT, f"read by OpenSlide ({vendor})")
    assert header.pixel_size_um == pytest.approx(0.46, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.mrxs", b"\xff\xd8\xff\xe0", "it consists of several files"),
        ("a.vsi", b"II*\0", "Bio-Formats"),
        ("a.nd2", b"\xda\xce\xbe\x0a", "the package nd2"),
        ("a.lif", b"\x70\0\0\0", "the package readlif"),
        ("a.jxl", b"\xff\x0a", "JPEG XL"),
        ("a.dcm", b"\0" * 128 + b"DICM", "OpenSlide"),
        ("a.jp2", b"\0\0\0\x0cjP  \r\n\x87\n", "no codestream"),
    ],
)
def test_what_is_not_read_says_what_reads_it(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content + bytes(300))
    with pytest.raises(Refusal, match=rf"^{name}: [^\n]*{said}[^\n]*$"):
        open_picture(tmp_path / name)


def test_a_slide_of_several_files_leads_nowhere_else(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a.mrxs").write_bytes(b"\xff\xd8\xff\xe0")
    (tmp_path / "a" / "Slidedat.ini").write_text("[DATAFILE]\nFILE_COUNT = 1\nFILE_0 = ../../elsewhere.dat\n")
    with pytest.raises(Refusal, match=r"a\.mrxs: its list names a file outside its folder"):
        open_picture(tmp_path / "a.mrxs")


@pytest.mark.parametrize("compression", ["jpeg2000", "zstd", None])
@pytest.mark.parametrize("change", ["cut", "emptied"])
def test_tiles_that_are_not_there_are_told_by_their_place(tmp_path, compression, change):
    options = {"compression": compression, **TILE, **(PLANES if compression is None else {})}
    path = tiff(tmp_path / "a.tif", FIRST if compression is None else RGB, **options)
    with tifffile.TiffFile(path) as file:
        place, length = file.pages[0].dataoffsets[4], file.pages[0].databytecounts[4]
        counts = file.pages[0].tags["TileByteCounts"]
    content = bytearray(path.read_bytes())
    if change == "cut":
        content = content[: place + length // 3]
    else:
        size = 4 if counts.dtype == 4 else 2
        content[counts.valueoffset + 4 * size : counts.valueoffset + 5 * size] = bytes(size)
    path.write_bytes(content)
    with pytest.raises(
        Refusal, match=r"a\.tif: the picture cannot be decoded \(tile \d, \d of page 1 is not in the file"
    ):
        pyramid.build_pyramid(path, tmp_path / "slide.tif", pixel_size_um=0.5, tile_px=256, jpeg_quality=90)


def test_a_tile_of_jpeg_2000_cannot_ask_for_more_than_its_size(tmp_path):
    path = tiff(tmp_path / "a.tif", RGB, compression="jpeg2000", **TILE)
    with tifffile.TiffFile(path) as file:
        place = file.pages[0].dataoffsets[0]
    content = bytearray(path.read_bytes())
    start = content.index(b"\xff\x4f\xff\x51", place)
    content[start + 8 : start + 16] = struct.pack(">II", 60_000, 60_000)
    path.write_bytes(content)
    with pytest.raises(Refusal, match="tile 0, 0 of page 1 holds no codestream of its size"):
        pyramid.build_pyramid(path, tmp_path / "slide.tif", pixel_size_um=0.5, tile_px=256, jpeg_quality=90)


@pytest.mark.parametrize("rows", [HEIGHT, 100])
def test_rows_of_large_strips_are_read_in_parts(tmp_path, monkeypatch, rows):
    monkeypatch.setattr("spotweave.pictures.tiff_tiles.ROWS_BYTES", 330 * 3 * 17)
    path = tiff(tmp_path / "a.tif", FIRST, rowsperstrip=rows, **PLANES)
    np.testing.assert_array_equal(shown(path), RGB)
    path.write_bytes(path.read_bytes()[:-70_000])
    with pytest.raises(Refusal, match=r"a\.tif: the picture cannot be decoded \((rows|unable)"):
        pyramid.build_pyramid(path, tmp_path / "slide.tif", pixel_size_um=0.5, tile_px=256, jpeg_quality=90)


def test_one_packed_strip_is_read_up_to_a_size(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (5000, 4000, 3), dtype=np.uint8)
    path = tmp_path / "a.tif"
    Image.fromarray(noise).save(path, compression="tiff_lzw", tiffinfo={278: 5000})
    row = open_picture(path).image.crop(0, 4990, 4000, 1).numpy()
    np.testing.assert_array_equal(row, noise[4990:4991])
    monkeypatch.setattr("spotweave.pictures.pages.PACKED_STRIP_BYTES_MAX", 1_000_000)
    with pytest.raises(Refusal, match=r"a\.tif: a strip of .* bytes packed by LZW, which is read as a whole"):
        open_picture(path)


def test_strips_too_large_to_be_decoded_whole_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("spotweave.pictures.tiff_tiles.TILE_BYTES_MAX", 100_000)
    path = tiff(tmp_path / "a.tif", RGB, compression="zstd", rowsperstrip=HEIGHT)
    with pytest.raises(Refusal, match=r"a\.tif: strips of 330 x 280 px packed by ZSTD, which are decoded as a whole"):
        open_picture(path)


@pytest.mark.parametrize("samples", [FIRST, FIRST.astype(np.uint16) * 257], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("channel", [{"Name": ["red", "green", "blue"]}, {"Name": ["Channel 1", "C2", "3"]}, {}])
def test_three_grey_pages_are_one_picture_by_their_names_or_by_their_light(tmp_path, samples, channel):
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "CYX", **({"Channel": channel} if channel else {})}
    tifffile.imwrite(path, samples, photometric="minisblack", metadata=metadata)
    np.testing.assert_array_equal(shown(path), RGB)
    assert "three grey pages" in read_header(path).note


@pytest.mark.parametrize(
    ("samples", "said"),
    [(255 - FIRST, "no bright field"), (FIRST[[1, 0, 2]], "no H&E by its colours"), (FIRST[[0, 2, 1]], "no H&E")],
    ids=["dark", "green first", "green last"],
)
def test_nameless_grey_pages_that_look_like_no_stained_section_are_refused(tmp_path, samples, said):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, np.ascontiguousarray(samples), photometric="minisblack", metadata={"axes": "CYX"})
    with pytest.raises(Refusal, match=rf"a\.ome\.tif: three grey pages of one size.*{said}"):
        open_picture(path)


def wide_profile():
    return bytes(pyvips.Operation.call("profile_load", "p3"))


def in_wide_colours(rgb):
    image = pyvips.Image.new_from_array(rgb).copy(interpretation="srgb")
    return image.icc_transform("p3", input_profile="srgb", intent="relative").numpy()


@pytest.mark.parametrize("kind", ["tif", "jpeg 2000", "png", "jpg"])
def test_colours_are_those_of_the_profile(tmp_path, kind):
    rgb = RGB.copy()
    rgb[60:120, 60:200] = (200, 40, 130)
    wide = in_wide_colours(rgb)
    assert np.abs(wide.astype(int) - rgb).max() > 10, "or the test shows nothing"
    path = tmp_path / ("a.tif" if kind == "jpeg 2000" else f"a.{kind}")
    if path.suffix == ".tif":
        codec = {"compression": "jpeg2000", **TILE} if kind == "jpeg 2000" else TILE
        tiff(path, wide, iccprofile=wide_profile(), **codec)
    else:
        Image.fromarray(wide).save(path, icc_profile=wide_profile(), quality=98)
    found = shown(path)
    assert np.abs(found.astype(int) - rgb).mean() < (2.5 if kind == "jpg" else 0.3)
    assert read_header(path).note.startswith("colours converted to sRGB from its profile")


@pytest.mark.parametrize(
    ("profile", "note"),
    [
        (lambda: bytes(pyvips.Operation.call("profile_load", "srgb")), None),
        (lambda: b"rubbish" * 40, "its colour profile cannot be used: colours as filed"),
    ],
    ids=["sRGB", "broken"],
)
def test_profiles_that_change_nothing_leave_the_px_as_filed(tmp_path, profile, note):
    path = tiff(tmp_path / "a.tif", RGB, iccprofile=profile(), **TILE)
    np.testing.assert_array_equal(shown(path), RGB)
    assert read_header(path).note == note


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_coordinates_are_of_the_px_as_filed_whatever_a_tag_says_of_turning(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(RGB).save(tmp_path / f"a.{suffix}", exif=exif, quality=98)
    header = read_header(tmp_path / f"a.{suffix}")
    assert (header.width_px, header.height_px) == (WIDTH, HEIGHT)
    assert header.note == "px as filed: the tag that says to turn them (6) is not followed"
    assert np.abs(shown(tmp_path / f"a.{suffix}").astype(float) - RGB).mean() < 3


@pytest.mark.parametrize(
    ("tag", "field", "value", "said"),
    [(262, 8, 3, "colours are filed as PALETTE"), (256, 2, 1, "the tags of its first page are damaged")],
    ids=["a palette of four bands", "a width of another type"],
)
def test_tags_that_contradict_the_px_are_damage(tmp_path, tag, field, value, said):
    path = tiff(tmp_path / "a.tif", np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)]), extrasamples=[2])
    with tifffile.TiffFile(path) as file:
        entry = file.pages[0].tags[tag].offset
    content = bytearray(path.read_bytes())
    content[entry + field : entry + field + 2] = struct.pack("<H", value)
    path.write_bytes(content)
    with pytest.raises(Refusal, match=rf"a\.tif: .*{said}"):
        open_picture(path)


def test_five_bands_are_refused_whoever_decodes_them(tmp_path):
    samples = np.dstack([RGB, RGB[..., :2]])
    for compression in (None, "zstd"):
        path = tiff(tmp_path / f"{compression}.tif", samples, extrasamples=[0, 0], compression=compression, **TILE)
        with pytest.raises(Refusal, match=rf"{compression}\.tif: 5 bands"):
            open_picture(path)


def damaged(path, samples, tiles, **options):
    """With zeros where the packed bytes of some tiles were."""
    tiff(path, samples, **options)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        places = list(zip(file.pages[0].dataoffsets, file.pages[0].databytecounts, strict=True))
    for tile in tiles:
        offset, length = places[tile]
        content[offset : offset + length] = bytes(length)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("compression", ["zlib", "lzw", "packbits", "webp"])
@pytest.mark.parametrize(("options", "tiles"), [(TILE, [0, 8]), (TILE, range(9)), ({"tile": (512, 512)}, [0])])
def test_damage_of_the_first_and_the_last_tile_is_no_black_picture(tmp_path, compression, options, tiles):
    path = damaged(tmp_path / "a.tif", RGB, tiles, compression=compression, **options)
    with pytest.raises(Refusal, match=r"^a\.tif: .* cannot be decoded \(tile \d, \d of page 1.*; fetch it again"):
        pyramid.build_pyramid(path, tmp_path / "slide.tif", pixel_size_um=0.5, tile_px=256, jpeg_quality=90)


def test_a_tiff_cut_before_its_first_tile_is_refused(tmp_path):
    path = tiff(tmp_path / "a.tif", RGB, compression="zlib", **TILE)
    with tifffile.TiffFile(path) as file:
        first = file.pages[0].dataoffsets[0]
    path.write_bytes(path.read_bytes()[: first + 10])
    with pytest.raises(Refusal, match=r"^a\.tif: .*tile \d, \d of page 1 is not in the file"):
        read_reduced(path, 1.0)


def test_tags_that_libtiff_warns_of_hide_no_damage(tmp_path):
    warned = {"extratags": [(34675, 7, 0, b"", True)], "compression": "zlib", **TILE}
    np.testing.assert_array_equal(shown(tiff(tmp_path / "whole.tif", RGB, **warned)), RGB)
    with pytest.raises(Refusal, match=r"^a\.tif: the picture cannot be decoded"):
        read_reduced(damaged(tmp_path / "a.tif", RGB, [4], **warned), 1.0)


@pytest.mark.parametrize("is_sub", [True, False])
def test_a_damaged_reduced_copy_behind_tags_that_libtiff_warns_of_is_not_needed(tmp_path, monkeypatch, is_sub):
    monkeypatch.setattr(tiff_pages, "_fail_on", lambda *_: "error")
    path, large = tmp_path / "a.tif", section(1200, 900)
    options = {"photometric": "rgb", "metadata": None, "compression": "zlib", **TILE}
    with tifffile.TiffWriter(path) as file:
        file.write(large, **options, subifds=1 if is_sub else 0)
        file.write(halved(large), subfiletype=1, **options)
    with tifffile.TiffFile(path) as file:
        copy = file.pages[0].pages[0] if is_sub else file.pages[1]
        places = list(zip(copy.dataoffsets, copy.databytecounts, strict=True))
    content = bytearray(path.read_bytes())
    for offset, length in places:
        content[offset : offset + length] = bytes(length)
    path.write_bytes(content)
    reduced, _ = read_reduced(path, 0.25)
    expected = halved(halved(large)).astype(float)
    assert np.abs(reduced[: len(expected)] - expected).mean() < 3


INKS = np.asarray(Image.fromarray(RGB).convert("CMYK"))
OTHER_COLOURS = {
    "YCbCr": (np.asarray(Image.fromarray(RGB).convert("YCbCr")), {"extra": 6}),
    "YCbCr, LZW": (np.asarray(Image.fromarray(RGB).convert("YCbCr")), {"extra": 6, "compression": "lzw"}),
    "Lab, Zstandard": (np.asarray(Image.fromarray(RGB).convert("LAB")), {"extra": 8, "compression": "zstd"}),
    "CMYK, Zstandard": (INKS, {"photometric": "separated", "compression": "zstd"}),
    "CMYK in planes": (np.moveaxis(INKS, -1, 0).copy(), {"photometric": "separated", **PLANES}),
    "white is 0, JPEG 2000": (255 - RGB[..., 1], {"photometric": "miniswhite", "compression": "jpeg2000"}),
    "palette, Zstandard": (
        RGB[..., 1].copy(),
        {"photometric": "palette", "compression": "zstd", "colormap": np.zeros((3, 256), np.uint16)},
    ),
}


@pytest.mark.parametrize("kind", OTHER_COLOURS)
def test_colours_that_nobody_here_converts_are_not_shown_as_rgb(tmp_path, kind):
    samples, options = OTHER_COLOURS[kind]
    photometric = options.get("extra")
    path = tiff(tmp_path / "a.tif", samples, **TILE, **{name: options[name] for name in options if name != "extra"})
    if photometric is not None:
        content = bytearray(path.read_bytes())
        with tifffile.TiffFile(path) as file:
            at = file.pages[0].tags["PhotometricInterpretation"].offset + 8
        content[at : at + 2] = struct.pack("<H", photometric)
        path.write_bytes(content)
    with pytest.raises(Refusal, match=r"^a\.tif: a TIFF whose colours are filed as .*; save it as RGB"):
        open_picture(path)


def test_inks_of_16_bits_are_those_of_8(tmp_path):
    eight = open_picture(tiff(tmp_path / "8.tif", INKS, photometric="separated"))
    deep = open_picture(tiff(tmp_path / "16.tif", INKS.astype(np.uint16) * 257, photometric="separated"))
    rgb = eight.image.numpy()
    np.testing.assert_array_equal(deep.image.numpy(), rgb)
    assert np.corrcoef(rgb.ravel(), RGB.ravel())[0, 1] > 0.95
    assert eight.note == deep.note == "converted from CMYK"


@pytest.mark.parametrize("space", ["XYZ", "LAB"])
def test_profiles_of_other_colours_than_rgb_are_no_statement_about_it(tmp_path, space):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes()
    picture = open_picture(tiff(tmp_path / "a.tif", RGB, iccprofile=profile))
    np.testing.assert_array_equal(picture.image.numpy(), RGB)
    assert picture.note == f"its colour profile is one of {space.replace('LAB', 'Lab')}, not of RGB: colours as filed"


def test_a_macro_larger_than_the_slide_is_not_the_slide(tmp_path):
    path = tmp_path / "a.svs"
    with tifffile.TiffWriter(path) as file:
        file.write(RGB, photometric="rgb", metadata=None, description="Aperio Image Library v11|MPP = 0.5", **TILE)
        file.write(section(600, 400), photometric="rgb", metadata=None, subfiletype=1)
        file.write(section(900, 700), photometric="rgb", metadata=None, subfiletype=9)
    np.testing.assert_array_equal(shown(path), RGB)
    assert open_picture(path).note == "page 3 (900 x 700 px) is a reduced copy, a label or a macro by its tag"
    assert read_header(path).pixel_size_um == 0.5


@pytest.mark.parametrize("rows", [1, 16, 700])
def test_strips_behind_a_page_of_tiles_are_read(tmp_path, rows):
    path, large = tmp_path / "a.tif", section(900, 700)
    with tifffile.TiffWriter(path) as file:
        file.write(RGB, photometric="rgb", metadata=None, **TILE)
        file.write(large, photometric="rgb", metadata=None, rowsperstrip=rows)
    np.testing.assert_array_equal(shown(path), large)


def test_of_pages_of_one_size_the_one_with_colours_is_taken(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(RGB[..., 1].copy(), photometric="minisblack", metadata=None)
        file.write(RGB, photometric="rgb", metadata=None)
    np.testing.assert_array_equal(shown(path), RGB)


@pytest.mark.parametrize("shape", [(1, 300), (300, 1)])
def test_tiles_of_jpeg_one_px_high_or_wide_are_a_slide(tmp_path, shape):
    path = tmp_path / "a.tif"
    tiff(path, np.full((*shape, 3), 200, np.uint8), compression="jpeg", **TILE)
    pyramid.build_pyramid(path, tmp_path / "slide.tif", pixel_size_um=0.5, tile_px=256, jpeg_quality=90)
    assert openslide.OpenSlide(tmp_path / "slide.tif").dimensions == shape[::-1]
