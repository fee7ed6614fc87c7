"""Patches of one and of three sizes against fetching the pixels: CPU seconds of one thread, on a real section."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from real_data import DATA
from spotweave.slide import patches, pyramid
from spotweave.slide.levels import Pyramid
from spotweave.slide.patch_files import PatchWriter
from spotweave.slide.sharpness import focus
from spotweave.slide.sizes import PatchSize

PIXEL_SIZE_UM = 0.69
REPEATS = 5
HEST = PatchSize(112, 224)
# Spot- and niche-sized: at the scale of the first, and as large as networks take them.
SMALL, LARGE = ("56um_112px", "256um_128px"), ("55um_224px", "512um_256px")


def bench_patches(folder: Path) -> list[str]:
    """Lines of the table; nothing where the section is not there."""
    section = DATA / "her2st/C2.jpg"
    if not section.exists():
        return []
    os.environ["VIPS_CONCURRENCY"] = "1"
    cv2.setNumThreads(1)
    import pyvips

    pyvips.cache_set_max(0)
    slide = folder / "c2.tif"
    pyramid.build_pyramid(section, slide, pixel_size_um=PIXEL_SIZE_UM, tile_px=512, jpeg_quality=85)
    with open(DATA / "her2st/C2_selection.tsv", newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    centres = np.array([(float(row["pixel_x"]), float(row["pixel_y"])) for row in rows])

    def grids(names: Sequence[str]) -> list[patches.PatchGrid]:
        sizes = [HEST, *map(PatchSize.named, names)]
        return [patches.PatchGrid(centres, one.size_px, one.pixel_size_um, PIXEL_SIZE_UM) for one in sizes]

    def fetch() -> None:
        region = Pyramid(slide).regions[0]
        side = int(np.ceil(grids([])[0].source_size_px))
        for x, y in centres:
            region.fetch(int(x - side / 2), int(y - side / 2), side, side)

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
    cost = least_cpu_s(works)
    each_ms = 1000 / len(centres)
    return [
        f"| {len(centres)} patches of a real section at .69 um/px: cut and written | {cost['plain'] * each_ms:.2f} CPU"
        f" ms each, {cost['plain'] / cost['fetch']:.2f} times fetching their pixels; with their focus"
        f" {cost['one'] / cost['fetch']:.2f} times |",
        f"| … three sizes, {', '.join(SMALL)} as well | {cost['small'] / cost['one']:.2f} times one |",
        f"| … three sizes, {', '.join(LARGE)} as well (3.3 times the pixels) | {cost['large'] / cost['one']:.2f} times"
        " one |",
        f"| … coordinates only | {cost['one, coordinates'] / cost['one']:.2f} times one written; three sizes"
        f" {cost['large, coordinates'] / cost['one, coordinates']:.2f} times one |",
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
    for row in cutter.order():
        cut = cutter.cut(row)
        for writer, patch in zip(writers, cut, strict=False):
            writer.put(row, patch)
        if quality:
            focus(cut[0], HEST.pixel_size_um)
    for writer in writers:
        writer.file.close()


def least_cpu_s(works: Mapping[str, Callable[[], None]]) -> dict[str, float]:
    """Least CPU seconds of each of several works, done in turn so that a busy moment meets them all."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(REPEATS):
        for name, work in works.items():
            start = time.process_time()
            work()
            found[name].append(time.process_time() - start)
    return {name: min(one) for name, one in found.items()}
