"""Strips and tiles against the header: whole files pass in every layout, one with a smaller size in its header is told.

The files are written by tifffile and by Pillow (libtiff); headers are changed with tifffile, which also tells what is
in them.
"""

import shutil
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from real_data import real
from spotweave.errors import Refusal
from spotweave.pictures.files import open_picture
from spotweave.pictures.tiff_parts import check_tiff_parts

H, W = 301, 203
RGB = np.random.default_rng(0).integers(0, 255, (H, W, 3), dtype=np.uint8)
COMPRESSIONS = (None, "zlib", "lzw", "packbits", "zstd", "jpeg", "webp", "jpeg2000")
LAYOUTS = {
    "one strip": {"rowsperstrip": H},
    "strips": {"rowsperstrip": 16},
    "tiles": {"tile": (64, 48)},
    "planes": {"rowsperstrip": 16, "planarconfig": "separate"},
    "tiled planes": {"tile": (64, 48), "planarconfig": "separate"},
}


def written(path, compression=None, photometric="rgb", layout="strips", rgb=RGB, **more):
    options = {**LAYOUTS[layout], **more}
    is_separate = options.get("planarconfig") == "separate"
    data = np.moveaxis(rgb, 2, 0) if is_separate else rgb
    tifffile.imwrite(path, data, photometric=photometric, compression=compression, metadata=None, **options)
    return path


def set_tag(path, name, value, page=0):
    """Overwrite the first number of a tag, whatever its type."""
    with tifffile.TiffFile(path) as tiff:
        tag, order = tiff.pages[page].tags[name], tiff.byteorder
    with open(path, "r+b") as file:
        file.seek(tag.valueoffset)
        file.write(struct.pack(order + {3: "H", 4: "I"}[int(tag.dtype)], value))
    return path


def size_of(path, page=0):
    with tifffile.TiffFile(path) as tiff:
        tags = tiff.pages[page].aspage().tags
        return tags["ImageWidth"].value, tags["ImageLength"].value


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_whole_pictures_pass_and_those_announced_smaller_do_not(tmp_path, compression, layout):
    if compression == "webp" and "planes" in layout:
        pytest.skip("WebP is of whole pixels")
    path = written(tmp_path / "a.tif", compression, layout=layout)
    check_tiff_parts(path, 0, (W, H))
    shown = open_picture(path).image
    assert (shown.width, shown.height) == (W, H)
    if layout == "one strip" and compression not in (None, "zlib", "lzw", "packbits"):
        return  # one strip of a codec that is not counted
    with tifffile.TiffFile(path) as tiff:
        filed = len(tiff.pages[0].dataoffsets)
    path = set_tag(shutil.move(path, tmp_path / "small.tif"), "ImageLength", 101)  # libvips remembers what it opened
    is_one = layout == "one strip"
    with pytest.raises(Refusal, match=r"small\.tif: 203 x 101 px by its header, and it holds more") as caught:
        check_tiff_parts(path, 0, (W, 101))
    assert caught.value.measured > caught.value.threshold
    assert is_one or caught.value.measured == filed
    with pytest.raises(Refusal, match=r"small\.tif: "):
        open_picture(path)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits"])
@pytest.mark.parametrize(("name", "value"), [("ImageWidth", 60), ("SamplesPerPixel", 1), ("RowsPerStrip", 40)])
def test_every_field_that_makes_a_strip_smaller_is_told(tmp_path, compression, name, value):
    path = set_tag(written(tmp_path / "a.tif", compression), name, value)
    with pytest.raises(Refusal, match="it holds more than that"):
        check_tiff_parts(path, 0, size_of(path))


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits"])
def test_a_single_row_more_in_the_only_strip_is_told_and_less_than_a_row_is_not(tmp_path, compression):
    path = set_tag(written(tmp_path / "a.tif", compression, layout="one strip"), "ImageLength", H - 1)
    with pytest.raises(Refusal) as caught:
        check_tiff_parts(path, 0, (W, H - 1))
    assert (caught.value.measured, caught.value.threshold) == (H * W * 3, (H - 1) * W * 3)
    set_tag(path, "ImageLength", H)
    set_tag(path, "ImageWidth", W - 1)
    if compression:
        with pytest.raises(Refusal):
            check_tiff_parts(path, 0, (W - 1, H))
    else:  # 903 bytes may be padding
        check_tiff_parts(path, 0, (W - 1, H))
    whole = written(tmp_path / "b.tif")
    for more, is_told in ((W * 3 - 1, False), (W * 3, True), (W * 3 + 1, False), (4096, False), (4097, True)):
        path = shutil.copy(whole, tmp_path / "c.tif")
        set_tag(path, "StripByteCounts", 16 * W * 3 + more)
        if is_told:
            with pytest.raises(Refusal, match="whole rows more in the first of its strips"):
                check_tiff_parts(path, 0, (W, H))
        else:
            check_tiff_parts(path, 0, (W, H))


def test_damage_beyond_what_must_be_counted_hides_nothing(tmp_path):
    path = set_tag(written(tmp_path / "a.tif", "zlib", layout="one strip"), "ImageLength", 50)
    with tifffile.TiffFile(path) as tiff:
        at, length = tiff.pages[0].dataoffsets[0], tiff.pages[0].databytecounts[0]
    with open(path, "r+b") as file:
        file.seek(at + length // 2)
        file.write(bytes(200))
    with pytest.raises(Refusal, match="203 x 50 px"):
        check_tiff_parts(path, 0, (W, 50))


def test_a_last_strip_filled_up_to_a_whole_one_passes(tmp_path):
    padded = np.vstack([RGB, np.zeros((304 - H, W, 3), np.uint8)])
    path = set_tag(written(tmp_path / "a.tif", rgb=padded), "ImageLength", H)
    check_tiff_parts(path, 0, (W, H))
    assert np.array_equal(open_picture(path).image.numpy(), RGB)


def test_where_one_list_alone_is_longer_the_picture_is_shown(tmp_path):
    path = written(tmp_path / "a.tif")
    with tifffile.TiffFile(path) as tiff:
        at = tiff.pages[0].tags["StripByteCounts"].offset
    with open(path, "r+b") as file:
        file.seek(at + 4)
        file.write(struct.pack("<I", 25))
    check_tiff_parts(path, 0, (W, H))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("is_big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_byte_orders_and_depths(tmp_path, bits, is_big, order):
    rgb = RGB.astype(f"u{bits // 8}") * (257 if bits == 16 else 1)
    path = written(tmp_path / "a.tif", rgb=rgb, layout="one strip", bigtiff=is_big, byteorder=order)
    check_tiff_parts(path, 0, (W, H))
    set_tag(path, "ImageLength", 7)
    with pytest.raises(Refusal):
        check_tiff_parts(path, 0, (W, 7))


@pytest.mark.parametrize("is_sub", [False, True])
def test_levels_of_a_pyramid_each_by_their_own_header(tmp_path, is_sub):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for level in range(3):
            more = {"subifds": 2} if is_sub and level == 0 else {}
            page = RGB[:: 2**level, :: 2**level]
            file.write(page, tile=(64, 48), subfiletype=min(level, 1), compression="zlib", photometric="rgb", **more)
    opened = open_picture(path)
    assert (opened.image.width, opened.image.height) == (W, H)
    with tifffile.TiffFile(path) as tiff:
        pages = len(tiff.pages)
    assert pages == (1 if is_sub else 3)
    for page in range(pages):
        check_tiff_parts(path, page, size_of(path, page))
        set_tag(path, "ImageLength", 20, page)
        with pytest.raises(Refusal, match="tiles where"):
            check_tiff_parts(path, page, size_of(path, page))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "1", "CMYK"])
def test_what_libtiff_writes_passes(tmp_path, compression, mode):
    if compression == "jpeg" and mode in ("RGBA", "1"):
        pytest.skip("JPEG has no opacity and no single bits")
    path = tmp_path / "a.tif"
    Image.fromarray(RGB).convert(mode).save(path, compression=compression)
    check_tiff_parts(path, 0, (W, H))


def test_other_files_and_other_pages_pass(tmp_path):
    path = written(tmp_path / "a.tif")
    check_tiff_parts(path, 0, (W, H - 1))  # not the page that the decoder shows
    check_tiff_parts(path, 3, (W, H))
    set_tag(path, "StripOffsets", 1 << 30)
    check_tiff_parts(path, 0, (W, H))
    (tmp_path / "b.tif").write_bytes(path.read_bytes()[:9])
    check_tiff_parts(tmp_path / "b.tif", 0, (W, H))


def test_slides_of_real_scanners_pass():
    slides = sorted(real("data/slides").glob("*.svs"))
    assert slides
    for slide in slides:
        with tifffile.TiffFile(slide) as tiff:
            pages = len(tiff.pages)
        for page in range(pages):
            check_tiff_parts(slide, page, size_of(slide, page))
        open_picture(slide)


@pytest.mark.parametrize("layout", ["strips", "tiles"])
def test_jpeg_of_fewer_columns_than_announced_is_told(tmp_path, layout):
    """The decoder would leave the rest black."""
    path = written(tmp_path / "a.tif", "jpeg", layout=layout, **({"tile": (64, 48)} if layout == "tiles" else {}))
    assert open_picture(path).image.width == W
    set_tag(shutil.move(path, tmp_path / "wide.tif"), "ImageWidth" if layout == "strips" else "TileWidth", 304)
    with pytest.raises(Refusal, match=r"wide\.tif: .* px by its header, and its (strips|tiles) have \d+ px a row"):
        open_picture(tmp_path / "wide.tif")
