"""Simulated pictures as OME-TIFF, as instruments and slide scanners file them; the same picture, the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TILE_PX = 512
SMALLEST_PX = 512  # a pyramid ends where its longer side is shorter than this
JPEG_QUALITY = 90


def write_ome(
    path: Path,
    picture: NDArray[Any],
    pixel_size_um: float | None,
    *,
    packed: str = "zlib",
    pyramid: bool = True,
    planar: bool = False,
) -> Path:
    """Write a picture (rows, columns) uint16 or (rows, columns, 3) uint8 in tiles.

    Parameters
    ----------
    pixel_size_um
        `PhysicalSizeX` and `PhysicalSizeY`; None for a file that does not state it.
    packed
        tifffile's name of the compression: `zlib`, `jpeg`, `lzw`, `jpeg2000`.
    pyramid
        Whether halved pictures follow as SubIFDs.
    planar
        Whether a colour picture is three planes one after the other.
    """
    import tifffile

    path.parent.mkdir(parents=True, exist_ok=True)
    is_rgb = picture.ndim == 3
    levels = [picture]
    while pyramid and max(levels[-1].shape[:2]) > SMALLEST_PX:
        levels.append(halved(levels[-1]))
    options: dict[str, Any] = {
        "photometric": "rgb" if is_rgb else "minisblack",
        "planarconfig": ("separate" if planar else "contig") if is_rgb else None,
        "tile": (TILE_PX, TILE_PX),
        "compression": packed,
        "compressionargs": {"level": JPEG_QUALITY} if packed == "jpeg" else None,
        "metadata": None,
        "software": False,
    }
    description = _description(picture, pixel_size_um).encode()
    with tifffile.TiffWriter(path, bigtiff=False) as writer:
        for number, level in enumerate(levels):
            filed = np.moveaxis(level, -1, 0) if is_rgb and planar else level
            if number == 0:
                writer.write(filed, description=description, subifds=len(levels) - 1, **options)
            else:
                writer.write(filed, subfiletype=1, **options)
    return path


def halved(picture: NDArray[Any]) -> NDArray[Any]:
    """The picture at half its size: means of 2 x 2 px, an odd last row or column left out."""
    rows, columns = picture.shape[0] // 2, picture.shape[1] // 2
    even = picture[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2, *picture.shape[2:])
    summed = even.sum(axis=(1, 3), dtype=np.uint32)
    return ((summed + 2) // 4).astype(picture.dtype)


def _description(picture: NDArray[Any], pixel_size_um: float | None) -> str:
    rows, columns = picture.shape[:2]
    samples = picture.shape[2] if picture.ndim == 3 else 1
    size = ""
    if pixel_size_um is not None:
        size = "".join(f' PhysicalSize{axis}="{pixel_size_um!r}" PhysicalSize{axis}Unit="µm"' for axis in "XY")
    return (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0" Name="simulated"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" '
        f'Type="{picture.dtype.name}" SizeX="{columns}" SizeY="{rows}" SizeC="{samples}" SizeZ="1" SizeT="1"{size}>'
        f'<Channel ID="Channel:0:0" SamplesPerPixel="{samples}"/><TiffData IFD="0" PlaneCount="1"/>'
        "</Pixels></Image></OME>"
    )
