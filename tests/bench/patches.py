"""Patches of one and of three sizes against fetching the pixels: CPU seconds of one thread, on two real slides."""

from __future__ import annotations

import csv
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import threadpoolctl
from numpy.typing import NDArray

from real_data import DATA
from spotweave.slide import patches, pyramid
from spotweave.slide.levels import Pyramid
from spotweave.slide.patch_files import PatchWriter
from spotweave.slide.sharpness import focus
from spotweave.slide.sizes import PatchSize

REPEATS = 7
HEST = PatchSize(112, 224)
# Spot- and niche-sized: at the scale of the first, and as large as networks take them.
SMALL, LARGE = ("56um_112px", "256um_128px"), ("55um_224px", "512um_256px")
STEP_UM = 100.0  # of Visium's lattice, laid over the slide that has no spots

Slide = tuple[str, Path, float, NDArray[np.float64]]


def bench_patches(folder: Path) -> list[str]:
    """Lines of the table; nothing where the slides are not there."""
    os.environ["VIPS_CONCURRENCY"] = "1"
    cv2.setNumThreads(1)
    import pyvips

    pyvips.cache_set_max(0)
    # As the job has it: one thread for all libraries.
    with threadpoolctl.threadpool_limits(1):
        return [line for slide in _slides(folder) for line in _lines(folder, *slide)]


def _slides(folder: Path) -> list[Slide]:
    """Name, pyramid, um per px and centres: a section whose patches are enlarged, a scanner's that are reduced."""
    import pyvips

    section, scan = DATA / "her2st/C2.jpg", DATA / "slides/cmu-1-small-region.svs"
    if not section.exists() or not scan.exists():
        return []
    with open(DATA / "her2st/C2_selection.tsv", newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    spots = np.array([(float(row["pixel_x"]), float(row["pixel_y"])) for row in rows])
    image = pyvips.Image.new_from_file(str(scan))
    step = STEP_UM / 0.499
    down, across = np.mgrid[step / 2 : image.height : step * 3**0.5 / 2, step / 2 : image.width - step / 2 : step]
    lattice = np.column_stack([(across + np.arange(len(across))[:, None] % 2 * step / 2).ravel(), down.ravel()])
    found = []
    for name, source, um, centres in (("section", section, 0.69, spots), ("scanner's slide", scan, 0.499, lattice)):
        slide = folder / f"{source.stem}.tif"
        pyramid.build_pyramid(source, slide, pixel_size_um=um, tile_px=512, jpeg_quality=85)
        found.append((name, slide, um, centres))
    return found


def _lines(folder: Path, name: str, slide: Path, um: float, centres: NDArray[np.float64]) -> list[str]:
    import pyvips

    def grids(names: Sequence[str]) -> list[patches.PatchGrid]:
        sizes = [HEST, *map(PatchSize.named, names)]
        return [patches.PatchGrid(centres, one.size_px, one.pixel_size_um, um) for one in sizes]

    side = int(np.ceil(grids([])[0].source_size_px))
    order = patches.Cutter(Pyramid(slide), grids([])).order()
    full = pyvips.Image.tiffload(str(slide))
    corners = np.clip(centres[order] - side / 2, 0, [full.width - side, full.height - side]).astype(int).tolist()

    def fetch() -> None:
        """libvips alone, in the order in which it decodes each tile once."""
        region = pyvips.Region.new(pyvips.Image.tiffload(str(slide)))
        for x, y in corners:
            region.fetch(x, y, side, side)

    def work(names: Sequence[str], *, pictures: bool = True, quality: bool = True) -> Callable[[], None]:
        return lambda: one_pass(slide, grids(names), folder, pictures=pictures, quality=quality)

    works = {
        "fetch": fetch,
        "plain": work([], quality=False),
        "one": work([]),
        "small": work(SMALL),
        "large": work(LARGE),
        "one, coordinates": work([], pictures=False),
        "large, coordinates": work(LARGE, pictures=False),
    }
    cost = cpu_s(works)
    each_ms = 1000 * statistics.median(cost["plain"]) / len(centres)

    def times(what: str, of: str) -> str:
        ratios = sorted(one / other for one, other in zip(cost[what], cost[of], strict=True))
        return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f}) times"

    pixels = [
        round(sum(PatchSize.named(one).size_px ** 2 for one in names) / HEST.size_px**2, 1) for names in (SMALL, LARGE)
    ]
    return [
        f"| {len(centres)} patches of a real {name} at {um:g} um/px, one thread: cut and written | {each_ms:.2f} CPU ms"
        f" each, {times('plain', 'fetch')} fetching their pixels with libvips; with their focus"
        f" {times('one', 'fetch')} |",
        f"| … three sizes, {', '.join(SMALL)} as well ({1 + pixels[0]:.1f} times the pixels) | {times('small', 'one')}"
        " one |",
        f"| … three sizes, {', '.join(LARGE)} as well ({1 + pixels[1]:.1f} times the pixels) | {times('large', 'one')}"
        " one |",
        f"| … coordinates only | {times('one, coordinates', 'one')} one written; three sizes"
        f" {times('large, coordinates', 'one, coordinates')} one |",
    ]


def one_pass(slide: Path, grids: list[patches.PatchGrid], folder: Path, *, pictures: bool, quality: bool) -> None:
    """What `extract_patches` does between its imports and its sheet."""
    opened = Pyramid(slide)
    names = [str(row) for row in range(len(grids[0].centres_px))]
    writers = [
        PatchWriter(
            folder / f"{number}.h5",
            grid,
            names,
            grid.padded(opened.width_px, opened.height_px),
            "bench",
            pictures=pictures,
        )
        for number, grid in enumerate(grids)
    ]
    cutter = patches.Cutter(opened, grids if pictures else grids[:1])
    for row, numbers, cut in cutter.passes():
        for number, patch in zip(numbers, cut, strict=True):
            writers[number].put(row, patch)
        if quality and numbers[0] == 0:
            focus(cut[0], HEST.pixel_size_um)
    for writer in writers:
        writer.file.close()


def cpu_s(works: Mapping[str, Callable[[], None]]) -> dict[str, list[float]]:
    """CPU seconds of each repeat of several works, done in turn so that a busy moment meets them all."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(REPEATS):
        for name, work in works.items():
            start = time.process_time()
            work()
            found[name].append(time.process_time() - start)
    return found
