"""Any picture into one tiled pyramidal TIFF with right resolution tags, streaming."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyvips

from spotweave.deposits.raw import raw_file
from spotweave.io import read_json
from spotweave.pictures.files import open_picture, undecodable
from spotweave.pictures.jpeg_tiles import jpeg_tiles_are_whole
from spotweave.pictures.magnification import magnification
from spotweave.slide.pass_through import encoded_level, write_passed_through

THUMBNAIL_PX = 1000  # as HEST-1k released them


def build_sample(
    manifest: Path, alignment: Path, slide: Path, thumbnail: Path, *, tile_px: int, jpeg_quality: int
) -> dict[str, Any]:
    """Build a sample's slide and its thumbnail from its raw picture, with the pixel size that was measured.

    Parameters
    ----------
    manifest, alignment
        `raw.json` and `alignment.json`.
    slide, thumbnail
        Where they go (.tif, .jpg).

    Returns
    -------
    Measures of the record.
    """
    aligned, picture = read_json(alignment), raw_file(manifest, "image")
    built = build_pyramid(
        picture, slide, pixel_size_um=aligned["pixel_size_um"], tile_px=tile_px, jpeg_quality=jpeg_quality
    )
    write_thumbnail(slide, thumbnail, THUMBNAIL_PX)
    return {
        "width_px": aligned["image_width_px"],
        "height_px": aligned["image_height_px"],
        "magnification": magnification(aligned["pixel_size_um"]),
        "picture_note": built.note,
        "passed_through": built.is_passed_through,
        "slide_bytes": slide.stat().st_size,
    }


@dataclass(frozen=True)
class Built:
    """Whether the tiles of the full size were copied as filed; what was chosen of the picture, None for nothing."""

    is_passed_through: bool
    note: str | None


def build_pyramid(source: Path, target: Path, *, pixel_size_um: float, tile_px: int, jpeg_quality: int) -> Built:
    """Write `source` as a tiled pyramidal BigTIFF (RGB, 8 bit, JPEG) that OpenSlide and QuPath open.

    Transparent pixels become white. Decoding and writing stream: memory does not grow with the picture's height. Tiles
    that are JPEG already are copied (`pass_through`), with their own sides and quality.

    Raises
    ------
    Refusal
        When the picture is truncated or cannot be decoded.
    """
    picture = open_picture(source)
    filed = None
    if picture.page is not None and jpeg_tiles_are_whole(source, picture.page) and picture.is_unchanged:
        filed = encoded_level(source, picture.page)
    try:
        if filed is not None:
            write_passed_through(filed, picture.image, target, pixel_size_um=pixel_size_um, jpeg_quality=jpeg_quality)
            return Built(is_passed_through=True, note=picture.note)
        picture.image.tiffsave(
            str(target),
            tile=True,
            tile_width=tile_px,
            tile_height=tile_px,
            pyramid=True,
            depth="onetile",
            compression="jpeg",
            Q=jpeg_quality,
            bigtiff=True,
            resunit="cm",
            # libvips takes pixels per mm, whatever the tag's own measure is.
            xres=1000.0 / pixel_size_um,
            yres=1000.0 / pixel_size_um,
            keep="none",
        )
    except pyvips.Error as error:
        raise undecodable(source, error) from error
    return Built(is_passed_through=False, note=picture.note)


def write_thumbnail(slide: Path, target: Path, longest_px: int) -> None:
    """Write a JPEG thumbnail of a slide."""
    image = pyvips.Image.thumbnail(str(slide), longest_px, height=longest_px, size="down")
    image.jpegsave(str(target), Q=85, keep="none")
