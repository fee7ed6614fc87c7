"""Files of patches in HEST-1k's layout, with their pictures or without: written, and read as if they had them.

A file without pictures says where its patches lie; their pixels are then cut from the slide when they are asked for, by
the code that would have written them, and are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spotweave.errors import Refusal
from spotweave.slide.patches import Cutter, PatchGrid
from spotweave.slide.resample import Pixels

# Patches cut at a time, in the order of the slide's tiles, where a file holds none: a thousand of 224 px.
AHEAD_BYTES = 160_000_000


class PatchWriter:
    """One open file of patches, filled in any order.

    `coords` (N, 2) int64 top left at level 0, `centres` (N, 2) float64 in slide px, not rounded, `barcode` (N, 1) str,
    `padded` (N,) bool, and with pictures `img` (N, size, size, 3) uint8, not compressed, one chunk each.
    """

    def __init__(
        self,
        target: Path,
        grid: PatchGrid,
        barcodes: Sequence[str],
        padded: NDArray[np.bool_],
        sample: str,
        *,
        pictures: bool = True,
    ) -> None:
        count, size = len(barcodes), grid.size_px
        self.file = h5py.File(target, "w")
        attributes = {
            "patch_size_src": grid.source_size_px,
            "patch_size_target": size,
            "downsample": grid.source_size_px / size,
            "pixel_size": grid.slide_pixel_size_um,
            "pixel_size_target": grid.target_pixel_size_um,
            "name": sample,
        }
        self.images: h5py.Dataset | None = None
        if pictures:
            chunks = (1, size, size, 3) if count else None
            self.images = self.file.create_dataset("img", (count, size, size, 3), np.uint8, chunks=chunks)
            self.images.attrs.update(attributes)
        self.file["coords"] = grid.top_left_px
        # HEST's own reader takes them from the places, which a file without pictures has as well.
        self.file["coords"].attrs.update(attributes)
        self.file["centres"] = grid.centres_px
        names = np.array(barcodes, dtype=object).reshape(-1, 1)
        self.file.create_dataset("barcode", data=names, dtype=h5py.string_dtype())
        self.file["padded"] = padded

    def put(self, row: int, patch: Pixels) -> None:
        """Write one picture; nothing where the file has none."""
        if self.images is not None:
            self.images.id.write_direct_chunk((row, 0, 0, 0), np.ascontiguousarray(patch))

    def add(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Write more datasets, a value a patch."""
        for name, values in columns.items():
            self.file[name] = values

    def __enter__(self) -> PatchWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.file.close()


class PatchReader:
    """One file of patches: their pictures are read from it, or cut from `slide` where it holds none.

    Parameters
    ----------
    path
        As `PatchWriter` made it, or any file with `img` and `barcode`.
    slide
        The sample's pyramid; needed for files without pictures, and opened for no other.

    Raises
    ------
    Refusal
        If there are neither pictures nor a slide.
    """

    def __init__(self, path: Path, slide: Path | None = None) -> None:
        self.file = h5py.File(path, "r")
        self.barcodes: NDArray[Any] = self.file["barcode"][:]
        self.cutter: Cutter | None = None
        if "img" in self.file:
            return
        if slide is None:
            self.file.close()
            raise Refusal(f"{path.name} holds no pictures of patches (patch: pictures: false): give the slide as well")
        from spotweave.slide.levels import Pyramid

        said = self.file["coords"].attrs
        grid = PatchGrid(
            centres_px=self.file["centres"][:],
            size_px=int(said["patch_size_target"]),
            target_pixel_size_um=float(said["pixel_size_target"]),
            slide_pixel_size_um=float(said["pixel_size"]),
        )
        self.cutter = Cutter(Pyramid(slide), [grid])
        self.ahead = max(1, AHEAD_BYTES // (3 * grid.size_px**2))
        self.cut: Pixels = np.empty((min(self.ahead, len(self)), grid.size_px, grid.size_px, 3), np.uint8)
        self.cut_from = -1

    def __len__(self) -> int:
        return len(self.barcodes)

    def names(self) -> list[str]:
        """The barcodes, one a patch."""
        return [barcode.decode() for barcode in self.barcodes[:, 0]]

    def images(self, start: int, stop: int) -> Pixels:
        """(n, size, size, 3) uint8, the patches of rows `start` to `stop` at most."""
        stop = min(stop, len(self))
        if self.cutter is None:
            return np.asarray(self.file["img"][start:stop])
        found = np.empty((max(stop - start, 0), *self.cut.shape[1:]), np.uint8)
        for first in range(start - start % self.ahead, stop, self.ahead):
            self._cut_window(first)
            low, high = max(start, first), min(stop, first + self.ahead)
            found[low - start : high - start] = self.cut[low - first : high - first]
        return found

    def _cut_window(self, first: int) -> None:
        if first == self.cut_from or self.cutter is None:
            return
        for row in self.cutter.order(np.arange(first, min(first + self.ahead, len(self)))):
            self.cut[row - first] = self.cutter.cut(int(row))[0]
        self.cut_from = first

    def __enter__(self) -> PatchReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.file.close()
