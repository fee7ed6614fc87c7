"""The pages of a file as libvips pictures, whoever decodes them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pyvips

from spotweave.errors import Refusal
from spotweave.pictures.tiff_tags import JPEG, NONE, Tags
from spotweave.pictures.tiff_tiles import tiles_of
from spotweave.pictures.virtual_tiff import Tiles, damage_of, open_tiles

PACKED_STRIP_BYTES_MAX = 400 << 20  # libtiff takes twice as much memory


@dataclass(frozen=True)
class Page:
    """One picture of a file; `load` opens it anew, since a picture streams only once.

    Attributes
    ----------
    number, subifd
        Which page of a TIFF, from 0, and which of the reduced copies that hang on it.
    tiles
        How it is decoded where libvips does not.
    tags
        Of a TIFF's page, None where they are not known.
    fail_on
        What a decoder's word stops at. Decoders go on over corrupt data with grey blocks and only warn: that counts.
    """

    path: Path
    number: int = 0
    subifd: int | None = None
    tiles: Tiles | None = None
    tags: Tags | None = None
    fail_on: str = "warning"

    @property
    def limits(self) -> dict[str, bool]:
        """libtiff's limit of memory is lifted for large strips, whose size is known (`page_of_tags`)."""
        is_large = self.tags is not None and self.tags.largest_strip_bytes > 0
        return {"unlimited": True} if is_large else {}

    def load(self) -> pyvips.Image:
        """(H, W) px as filed; its header is read, its px are decoded when they are used."""
        if self.tiles is not None:
            return open_tiles(self.tiles)
        where: dict[str, int | bool] = {"page": self.number} if self.number else {}
        where.update(self.limits)
        if self.subifd is not None:
            where["subifd"] = self.subifd
        return pyvips.Image.new_from_file(str(self.path), access="sequential", fail_on=self.fail_on, **where)

    def with_fail_on(self, fail_on: str) -> Page:
        return replace(self, fail_on=fail_on)


def page_of_tags(path: Path, tags: Tags, fail_on: str = "warning") -> Page:
    """A page of a TIFF.

    Raises
    ------
    Refusal
        Neither libvips nor imagecodecs decodes it or its colours: libvips shows black px for what it does not know,
        and luma and chroma as if they were red, green and blue.
    """
    if not tags.colours_are_read and (tags.by_libvips or tags.by_imagecodecs):
        raise Refusal(
            f"{path.name}: a TIFF whose colours are filed as {tags.photometric_name}, packed by"
            f" {tags.compression_name}, which is not read; save it as RGB"
        )
    if tags.by_libvips and tags.compression != NONE and tags.largest_strip_bytes > PACKED_STRIP_BYTES_MAX:
        raise Refusal(
            f"{path.name}: a strip of {tags.largest_strip_bytes:,} bytes packed by {tags.compression_name}, which is"
            " read as a whole; save it in tiles of 512 px",
            measured=tags.largest_strip_bytes,
            threshold=PACKED_STRIP_BYTES_MAX,
        )
    if tags.by_libvips:
        return Page(path, tags.number, tags.subifd, tags=tags, fail_on=fail_on)
    if tags.by_imagecodecs:
        return Page(path, tags.number, tags.subifd, tiles=tiles_of(path, tags), tags=tags)
    raise Refusal(
        f"{path.name}: a TIFF packed by {tags.compression_name} with samples of {tags.bits} bits, which is not read;"
        " save it packed by JPEG, Deflate, LZW, Zstandard, WebP or JPEG 2000"
    )


def page_by_imagecodecs(page: Page) -> Page | None:
    """The same page read by imagecodecs, which stops at any damaged tile; None where it does not know it."""
    tags = page.tags
    if tags is None or not tags.by_imagecodecs or not tags.is_plain or tags.compression == JPEG:
        return None
    try:
        return replace(page, tiles=tiles_of(page.path, tags))
    except Refusal:
        return None


def undecodable(path: Path, error: Exception) -> Refusal:
    """The refusal of a file that a decoder cannot read, in one line."""
    detail = damage_of(path) or " ".join(str(error).split())[-200:]
    return Refusal(f"{path.name}: the picture cannot be decoded ({detail}); fetch it again or convert it to TIFF")
