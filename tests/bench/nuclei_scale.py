"""What becomes of CellViT's maps at the size of a slide: time, memory, and whether it depends on how the slide is cut.

    python tests/bench/nuclei_scale.py --nuclei 1e6 --threads 3

Simulated: ellipses of 3.5 to 7.5 um on a shaken lattice, their offsets with noise; six tiles of maps that come again
and again, as a network would hand them on. Separating, outlines, shapes, seams, neighbourhood and both files are
measured.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyvips
import shapely
from scipy.spatial import cKDTree

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent / "workflow")]

from cellvit_published import published
from spotweave.nuclei import segment
from spotweave.nuclei.cellvit.checkpoint import CLASSES
from spotweave.nuclei.cellvit.maps import Maps, instances, separate
from spotweave.nuclei.cellvit.model import MARGIN_PX, TILE_PX
from spotweave.nuclei.files import write_nuclei
from spotweave.nuclei.tiles import Windows

UM_PER_PX = 0.25
PITCH_PX = 33.0
SHAKEN_PX = 6.0
RADII_PX = (7.0, 15.0)
REACH_PX = 16
NOISE = 0.05
FEW = 6  # tiles of maps
CUT_PX = 3000
ORIGINS = ((331, 517), (448, 448), (-100, 60))


def simulated(seed: int, side: int) -> Maps:
    """Maps of a square with a nucleus at every place of a lattice; where two meet, the later one is on top."""
    rng = np.random.default_rng(seed)
    lattice = np.arange(PITCH_PX / 2, side, PITCH_PX)
    mask, classes = np.zeros((side, side), bool), np.zeros((side, side), np.uint8)
    offsets = rng.normal(0, NOISE, (2, side, side)).astype(np.float32)
    places = np.stack(np.meshgrid(lattice, lattice, indexing="ij"), -1).reshape(-1, 2)
    for y, x in places + rng.uniform(-SHAKEN_PX, SHAKEN_PX, places.shape):
        (major, minor), turn = rng.uniform(*RADII_PX, 2), rng.uniform(0, np.pi)
        box = tuple(slice(max(0, int(at) - REACH_PX), min(side, int(at) + REACH_PX + 1)) for at in (y, x))
        down, across = np.mgrid[box] + 0.5 - np.array([y, x])[:, None, None]
        along, aside = across * np.cos(turn) + down * np.sin(turn), down * np.cos(turn) - across * np.sin(turn)
        inside = (along / major) ** 2 + (aside / minor) ** 2 <= 1
        mask[box] |= inside
        classes[box][inside] = rng.integers(1, len(CLASSES) + 1)
        for axis, offset in enumerate((across, down)):
            offsets[axis][box][inside] = (offset / np.abs(offset[inside]).max())[inside] + rng.normal(0, NOISE)
    return Maps(mask, classes, np.clip(offsets, -1, 1).astype(np.float16))


class Simulated:
    """A model that looks at no pixel."""

    um_per_px, native_um_per_px = UM_PER_PX, (0.2, 0.3)
    tile_px, margin_px, batch, classes = TILE_PX, MARGIN_PX, 1, CLASSES

    def __init__(self, maps: list[Maps]) -> None:
        self.maps, self.given, self.provenance = maps, 0, {"arch": "simulated"}

    def prepare(self, overview: object) -> None:
        """Nothing."""

    def predict(self, tiles: np.ndarray) -> list[Maps]:
        """The next tile's maps."""
        self.given += 1
        return [self.maps[self.given % len(self.maps)]]

    def separator(self) -> object:
        """As CellViT's."""
        return separate


class Carried(Simulated):
    """A model whose maps are the pixels of the slide: classes, and offsets in 255 steps."""

    def predict(self, tiles: np.ndarray) -> list[Maps]:
        """The tile's maps."""
        found = []
        for tile in tiles:
            offsets = tile[..., 1:].transpose(2, 0, 1) / 127.0 - 1
            mask = tile[..., 0] < 255
            found.append(Maps(mask, np.where(mask, tile[..., 0], 0).astype(np.uint8), offsets.astype(np.float16)))
        return found


def scale(nuclei: int, threads: int, folder: Path) -> list[str]:
    """So many nuclei through workers, seams and files."""
    maps = [simulated(seed, TILE_PX) for seed in range(FEW)]
    core = TILE_PX - 2 * MARGIN_PX
    per_tile = np.mean([len(separate(one).classes) for one in maps]) * (core / TILE_PX) ** 2
    side = core * int(np.ceil(np.sqrt(nuclei / per_tile)))
    blank = pyvips.Image.black(side, side, bands=3).copy(interpretation="srgb")
    blank.tiffsave(str(folder / "blank.tif"), tile=True, pyramid=True, compression="deflate", bigtiff=True)
    tissue = [shapely.box(1, 1, side - 1, side - 1)]
    start = time.perf_counter()
    (folder / "shards").mkdir()
    windows = Windows(folder / "blank.tif")
    model = Simulated(maps)
    found, tiles = segment.through(model, windows, tissue, UM_PER_PX, threads=threads, folder=folder / "shards")
    separated = time.perf_counter()
    parts = found.parts(CLASSES, tissue, UM_PER_PX)
    write_nuclei(folder / "n.parquet", folder / "n.geojson", parts, {"model": "simulated"})
    written = time.perf_counter()
    own, workers = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    sizes = [(folder / name).stat().st_size / 1e6 for name in ("n.parquet", "n.geojson")]
    return [
        f"{len(found.x_px):,} nuclei in {tiles} tiles, {threads} processes: {separated - start:.0f} s to separate,"
        f" {written - separated:.0f} s to write; CPU {own.ru_utime + workers.ru_utime:.0f} s, of which workers"
        f" {workers.ru_utime:.0f} s",
        f"peak memory {own.ru_maxrss / 1e6:.2f} GB and {workers.ru_maxrss / 1e6:.2f} GB a worker;"
        f" files {sizes[0]:.0f} and {sizes[1]:.0f} MB",
    ]


def against_published() -> list[str]:
    """Pixels in which the quick separation differs, and what both cost."""
    differing, spent = 0, [0.0, 0.0]
    for seed in range(FEW):
        one = simulated(seed, TILE_PX)
        found = []
        for place, way in enumerate((instances, published)):
            start = time.process_time()
            found.append(way(one.mask, one.offsets))
            spent[place] += time.process_time() - start
        differing += int((found[0] != found[1]).sum())
    quick, slow = (seconds / FEW for seconds in spent)
    return [
        f"{differing} of {FEW * TILE_PX**2:,} px differ from the published steps; {quick:.3f} s a tile, not {slow:.3f}"
    ]


def cut_elsewhere(folder: Path) -> list[str]:
    """One slide cut from several origins."""
    maps = simulated(1, CUT_PX)
    pixels = np.concatenate([np.where(maps.mask, maps.types, 255)[None], np.rint((maps.offsets + 1.0) * 127)])
    picture = pyvips.Image.new_from_array(pixels.transpose(1, 2, 0).astype(np.uint8), interpretation="srgb")
    picture.tiffsave(str(folder / "maps.tif"), tile=True, pyramid=True, compression="none")
    tissue = [shapely.box(MARGIN_PX, MARGIN_PX, CUT_PX - MARGIN_PX, CUT_PX - MARGIN_PX)]
    lines, first = [], None
    for origin in ((0, 0), *ORIGINS):
        with tempfile.TemporaryDirectory() as shards:
            found, _ = segment.through(
                Carried([]),
                Windows(folder / "maps.tif"),
                tissue,
                UM_PER_PX,
                threads=1,
                folder=Path(shards),
                origin_px=origin,
            )
        places = np.column_stack([found.x_px, found.y_px])
        if first is None:
            first, classes = places, found.classes
            continue
        distance, nearest = cKDTree(places).query(first)
        same = int(((distance < 1e-6) & (classes == found.classes[nearest])).sum())
        lines.append(
            f"cut from {origin}: {len(first)} and {len(places)} nuclei, {int((distance < 1).sum())} within 1 px,"
            f" {same} the same"
        )
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nuclei", type=float, default=1e6)
    parser.add_argument("--threads", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        print(*against_published(), *cut_elsewhere(Path(scratch)), sep="\n", flush=True)
        print(*scale(int(given.nuclei), given.threads, Path(scratch)), sep="\n")
