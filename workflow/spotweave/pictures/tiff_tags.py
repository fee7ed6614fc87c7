"""What the tags of a TIFF's pages say, and which of them libvips cannot decode."""

from __future__ import annotations

import contextlib
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

# What tifffile and the decoders behind it raise over damaged files.
DAMAGE = (
    tifffile.TiffFileError,
    struct.error,
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    RuntimeError,
    NotImplementedError,
    AttributeError,
    OSError,
)
PAGES_MAX = 2000
NONE, LZW, OLD_JPEG, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS, WEBP = 1, 5, 6, 7, 8, 32946, 32773, 50001
BY_LIBVIPS = {NONE, 2, 3, 4, LZW, OLD_JPEG, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS, WEBP}
APERIO_YCBCR, APERIO_RGB, JPEG2000, JPEG2000_LOSSY, ZSTD = 33003, 33005, 34712, 33004, 50000
JPEG2000_KINDS = {APERIO_RGB, JPEG2000, JPEG2000_LOSSY}
BY_IMAGECODECS = {*JPEG2000_KINDS, ZSTD, NONE, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS, WEBP}
NAMES = {APERIO_YCBCR: "JPEG 2000 of Aperio, YCbCr", 34887: "LERC", 34925: "LZMA", 34934: "JPEG XR", 50002: "JPEG XL"}
SEPARATE = 2  # planes
LARGE_STRIP_BYTES = 40 << 20  # unpacked; libtiff's own limit of memory is 50 MB
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, INKS, YCBCR = 0, 1, 2, 3, 5, 6
REDUCED = 1  # a bit of NewSubfileType
OPACITY = (1, 2)  # ExtraSamples


@dataclass(frozen=True)
class Tags:
    """Of one page; `subifd` numbers the reduced copies that hang on it, None is the page itself."""

    number: int
    subifd: int | None
    width_px: int
    height_px: int
    samples: int
    bits: int
    kind: str
    compression: int
    photometric: int
    tile_px: tuple[int, int] | None
    rows_a_strip: int
    is_separate: bool
    extra_samples: tuple[int, ...]
    orientation: int
    largest_strip_bytes: int  # packed; 0 where strips are small
    is_called_reduced: bool

    @property
    def by_libvips(self) -> bool:
        """Whether libvips decodes it: of what it does not know it shows black px, with a warning at most."""
        are_planes = self.is_separate and self.samples > 1
        if are_planes and (self.tile_px or self.photometric <= BLACK_IS_ZERO or self.compression == NONE):
            return False
        return self.compression in BY_LIBVIPS and self.bits <= 32

    @property
    def by_imagecodecs(self) -> bool:
        """Whether our own reading of tiles decodes it."""
        kinds = {("u", 8), ("u", 16), ("f", 32), ("f", 64)}
        return self.compression in BY_IMAGECODECS and (self.kind, self.bits) in kinds

    @property
    def is_plain(self) -> bool:
        """Whether its samples are grey or red, green and blue as they are, so that nothing must be converted."""
        return self.photometric in (BLACK_IS_ZERO, RGB)

    @property
    def colours_are_read(self) -> bool:
        """Whether its colours are converted by who decodes it: what is not known is shown as if it were RGB or grey."""
        if self.is_plain:
            return True
        if not self.by_libvips:
            return False
        samples = self.samples - len(self.extra_samples)
        is_jpeg = self.compression in (JPEG, OLD_JPEG)
        return {WHITE_IS_ZERO: True, PALETTE: samples == 1, INKS: samples == 4, YCBCR: is_jpeg}.get(
            self.photometric, False
        )

    @property
    def photometric_name(self) -> str:
        try:
            return tifffile.PHOTOMETRIC(self.photometric).name
        except ValueError:
            return str(self.photometric)

    @property
    def compression_name(self) -> str:
        if self.compression in NAMES:
            return NAMES[self.compression]
        try:
            return tifffile.COMPRESSION(self.compression).name
        except ValueError:
            return str(self.compression)


@dataclass(frozen=True)
class TiffTags:
    """Of all pages that can be read, how many there are, and whose scanner wrote them if it needs its own reader."""

    pages: dict[tuple[int, int | None], Tags]
    count: int
    scanner: str | None

    def subifds(self, number: int) -> list[Tags]:
        return [tags for (page, subifd), tags in self.pages.items() if page == number and subifd is not None]


def read_tags(path: Path) -> TiffTags | None:
    """Tags of the first `PAGES_MAX` pages of a TIFF and their reduced copies; None where they cannot be read.

    Pages whose own tags are damaged are left out.
    """
    try:
        with tifffile.TiffFile(path, is_ome=False) as tiff:
            first = tiff.pages[0].aspage()
            found: dict[tuple[int, int | None], Tags] = {}
            for number in range(min(len(tiff.pages), PAGES_MAX)):
                for subifd, page in _with_copies(tiff, number):
                    try:
                        found[number, subifd] = _of(page, number, subifd)
                    except DAMAGE:
                        continue
            return TiffTags(found, len(tiff.pages), _scanner(first))
    except DAMAGE:
        return None


def _with_copies(tiff: tifffile.TiffFile, number: int) -> list[tuple[int | None, tifffile.TiffPage]]:
    try:
        page = tiff.pages[number].aspage()
    except DAMAGE:
        return []
    found: list[tuple[int | None, tifffile.TiffPage]] = [(None, page)]
    with contextlib.suppress(*DAMAGE):  # those before the damaged one stay
        for index, copy in enumerate(page.pages or ()):
            found.append((index, copy.aspage()))
    return found


def _of(page: tifffile.TiffPage, number: int, subifd: int | None) -> Tags:
    bits = page.bitspersample
    return Tags(
        number=number,
        subifd=subifd,
        width_px=int(page.imagewidth),
        height_px=int(page.imagelength),
        samples=int(page.samplesperpixel),
        bits=int(bits[0] if isinstance(bits, tuple) else bits),
        kind="?" if page.dtype is None else page.dtype.kind,
        compression=int(page.compression),
        photometric=int(page.photometric),
        tile_px=(int(page.tilewidth), int(page.tilelength)) if page.is_tiled else None,
        rows_a_strip=int(page.rowsperstrip or page.imagelength),
        is_separate=int(page.planarconfig or 1) == SEPARATE,
        extra_samples=tuple(int(value) for value in np.atleast_1d(page.tags.valueof(338, ()))),
        orientation=int(page.tags.valueof(274, 1)),
        largest_strip_bytes=_largest_strip_bytes(page),
        is_called_reduced=bool(int(page.subfiletype) & REDUCED),
    )


def _largest_strip_bytes(page: tifffile.TiffPage) -> int:
    rows = min(int(page.rowsperstrip or page.imagelength), int(page.imagelength))
    unpacked = (
        rows * int(page.imagewidth) * int(page.samplesperpixel) * (0 if page.dtype is None else page.dtype.itemsize)
    )
    return 0 if page.is_tiled or unpacked < LARGE_STRIP_BYTES else int(max(page.databytecounts, default=0))


def _scanner(page: tifffile.TiffPage) -> str | None:
    """A kind of TIFF whose pages alone do not make the slide."""
    kinds = {"Hamamatsu NDPI": page.is_ndpi, "Leica SCN": page.is_scn, "Philips TIFF": page.is_philips}
    kinds["Ventana BIF"] = page.is_bif
    kinds["Aperio YCbCr JPEG 2000"] = page.is_svs and int(page.compression) == APERIO_YCBCR
    return next((name for name, is_it in kinds.items() if is_it), None)
