"""What it costs to make a slide of a picture, against libvips alone with the same options, and in memory.

Each is measured in a process of its own, CPU seconds and peak memory. `python tests/bench/slides.py --px 40000`
measures other sizes than `make bench` does.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workflow"))
sys.path.insert(0, str(ROOT / "tests"))

from turns import seconds, times

REPEATS = 3
SIDE_PX = 12_000
JPEG2000_PX = 6_000
DRAWN_PX = 6_000  # what larger pictures repeat

BARE = """
import sys, pyvips
image = pyvips.Image.new_from_file(sys.argv[1], access="sequential", fail_on="warning")
image.tiffsave(sys.argv[2], tile=True, tile_width=512, tile_height=512, pyramid=True, depth="onetile",
    compression="jpeg", Q=85, bigtiff=True, resunit="cm", xres=2000, yres=2000, keep="none")
"""
OURS = f"""
import sys
sys.path.insert(0, {str(ROOT / "workflow")!r})
from pathlib import Path
from spotweave.slide.pyramid import build_pyramid
build_pyramid(Path(sys.argv[1]), Path(sys.argv[2]), pixel_size_um=0.5, tile_px=512, jpeg_quality=85)
"""
WHOLE = "import sys, tifffile; tifffile.imread(sys.argv[1])"


def bench_slides(folder: Path, side_px: int = SIDE_PX) -> list[str]:
    """Lines of the table of figures."""
    import openslide

    lines = []
    for name, path in _written(folder, side_px).items():
        ours, bare = _in_turn(path, OURS, BARE)
        slide = openslide.OpenSlide(folder / "ours.tif")
        assert abs(float(slide.properties["openslide.mpp-x"]) - 0.5) < 1e-9
        lines.append(
            f"| drawn slide of {side_px:,} x {side_px:,} px, {name} | {seconds(ours.cpu_s)}, {ours.peak_mb:.0f} MB:"
            f" {times(ours.cpu_s, bare.cpu_s)} bare `vips tiffsave` ({bare.peak_mb:.0f} MB); OpenSlide sees"
            f" {slide.level_count} levels |"
        )
    ours, whole = _in_turn(_jpeg_2000(folder), OURS, WHOLE)
    lines.append(
        f"| drawn slide of {JPEG2000_PX:,} x {JPEG2000_PX:,} px, JPEG 2000 in tiles, which this libvips does not"
        f" decode | {seconds(ours.cpu_s)}, {ours.peak_mb:.0f} MB: {times(ours.cpu_s, whole.cpu_s)} decoding it whole"
        f" with tifffile ({whole.peak_mb:.0f} MB) |"
    )
    return lines


@dataclass(frozen=True)
class Costs:
    """Of the same work, several times."""

    cpu_s: list[float]
    peak_mb: float


def _in_turn(path: Path, ours: str, other: str) -> tuple[Costs, Costs]:
    """Two pieces of code, each given a picture and where to write `ours.tif` or `other.tif` beside it."""
    from measure import cost_of

    codes = {"ours.tif": ours, "other.tif": other}
    turns = [
        [
            cost_of([sys.executable, "-c", code, str(path), str(path.with_name(to))], path.parent)
            for to, code in codes.items()
        ]
        for _ in range(REPEATS)
    ]
    of_ours, of_other = zip(*turns, strict=True)
    mine, others = (
        Costs([cost.cpu_s for cost in side], max(cost.peak_mb for cost in side)) for side in (of_ours, of_other)
    )
    return mine, others


def _drawn(side_px: int) -> object:
    """Cells of one texture with a camera's noise, repeated."""
    import pyvips

    drawn = min(side_px, DRAWN_PX)
    cells = pyvips.Image.worley(drawn, drawn, cell_size=48, seed=1).linear([-1.2, -2.0, -1.0], [245, 235, 245])
    noise = pyvips.Image.gaussnoise(drawn, drawn, sigma=4, mean=0, seed=2)
    one = (cells + noise).cast("uchar").copy(interpretation="srgb").copy_memory()
    times = -(-side_px // drawn)
    return one.replicate(times, times).crop(0, 0, side_px, side_px)


def _written(folder: Path, side_px: int) -> dict[str, Path]:
    picture = _drawn(side_px)
    jpeg, tiles = folder / "source.jpg", folder / "tiles.tif"
    picture.jpegsave(str(jpeg), Q=88)  # type: ignore[attr-defined]
    options = {"compression": "jpeg", "Q": 88, "bigtiff": True, "tile": True, "tile_width": 256, "tile_height": 256}
    picture.tiffsave(str(tiles), **options)  # type: ignore[attr-defined]
    return {"JPEG": jpeg, "tiles of JPEG (copied)": tiles}


def _jpeg_2000(folder: Path) -> Path:
    import tifffile

    path = folder / "jpeg2000.tif"
    samples = np.asarray(_drawn(JPEG2000_PX).numpy())  # type: ignore[attr-defined]
    tifffile.imwrite(
        path, samples, photometric="rgb", tile=(256, 256), compression="jpeg2000", compressionargs={"level": 40}
    )
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--px", type=int, default=SIDE_PX)
    side_px = parser.parse_args().px
    with tempfile.TemporaryDirectory() as folder:
        print(*bench_slides(Path(folder), side_px), sep="\n")


if __name__ == "__main__":
    main()
