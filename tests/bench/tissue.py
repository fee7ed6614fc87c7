"""How well tissue agrees with the spots of the real sections, by how their picture is coded.

    python tests/bench/tissue.py

First, through the script of the workflow on the deposited picture: balanced accuracy against the spots (the share of
the selected ones on tissue where no other is listed), area, bare glass, marks. Then, a row a section, share of the
selected spots on tissue, and of the others off it, on the deposited picture, on a copy as JPEG of quality 85 with
halved colours, and on the pyramid that the workflow writes (which it does not segment).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyvips
import yaml

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent / "workflow")]

from real_data import DATA
from spotweave.io import read_json, write_json
from spotweave.pictures.reduced import read_reduced
from spotweave.slide.pyramid import build_pyramid
from spotweave.tissue import agreement, polygons
from spotweave.tissue.methods import classical
from spotweave.tissue.picture import Picture
from spotweave.tissue.section import MIN_PIECE_UM2

VISIUM = (
    *(f"dlpfc/{section}" for section in (151507, 151669, 151673, 151676)),
    "visium_mouse_brain_anterior/spatial",
    "visium_mouse_brain_posterior_outs/spatial",
)


def shares(path: Path, spots: pd.DataFrame, pixel_size_um: float, diameter_um: float) -> str:
    """`inside / outside` of one picture; spots with x, y in px and `selected`."""
    rgb, scale = read_reduced(path, pixel_size_um / 8)
    picture = Picture(rgb, pixel_size_um * scale[0])
    mask = classical.segment(picture, min_hole_um2=50_000.0, min_piece_um2=MIN_PIECE_UM2)
    outlines = polygons.from_mask(mask, scale, simplify_px=4 / pixel_size_um)
    found = agreement.against_spots(
        outlines,
        spots["x"].to_numpy(),
        spots["y"].to_numpy(),
        spots["selected"].to_numpy(),
        diameter_um / pixel_size_um,
    )
    return f"{found['spots_selected_inside']} / {found['spots_unselected_outside']}"


def pixel_size_um(array_um: np.ndarray, xy_px: np.ndarray) -> float:
    """Of the least-squares affine map."""
    matrix = np.linalg.lstsq(np.column_stack([array_um, np.ones(len(array_um))]), xy_px, rcond=None)[0][:2]
    return float(1 / np.sqrt(abs(np.linalg.det(matrix))))


def visium(folder: Path) -> tuple[Path, pd.DataFrame, float]:
    """Picture, spots and pixel size of a Space Ranger folder with its low-resolution picture."""
    names = ["barcode", "selected", "row", "col", "y", "x"]
    spots = pd.read_csv(next(folder.glob("tissue_positions_list.*")), header=None, names=names)
    spots[["x", "y"]] *= json.loads((folder / "scalefactors_json.json").read_text())["tissue_lowres_scalef"]
    array_um = np.column_stack([spots["col"] * 50.0, spots["row"] * 100 * np.sqrt(0.75)])
    return folder / "tissue_lowres_image.png", spots, pixel_size_um(array_um, spots[["x", "y"]].to_numpy())


def first_generation(picture: Path, table: Path, unit_um: float) -> tuple[Path, pd.DataFrame, float]:
    """Picture, spots and pixel size of a section of Spatial Transcriptomics."""
    spots = pd.read_csv(table, sep="\t").drop(columns=["x", "y"]).rename(columns={"pixel_x": "x", "pixel_y": "y"})
    array_um = spots[["new_x", "new_y"]].to_numpy() * unit_um
    return picture, spots, pixel_size_um(array_um, spots[["x", "y"]].to_numpy())


def through_the_workflow(folder: Path, picture: Path, spots: pd.DataFrame, size_um: float, diameter_um: float) -> str:
    """The cells of a section's row, by the script on a store with this picture and these spots."""
    image = {"role": "image", "path": str(picture), "bytes": picture.stat().st_size}
    write_json(folder / "raw.json", {"files": [image]})
    write_json(folder / "alignment.json", {"pixel_size_um": size_um, "spot_diameter_um": diameter_um})
    units = spots.rename(columns={"x": "x_px", "y": "y_px", "selected": "in_tissue"})
    units[["x_px", "y_px", "in_tissue"]].to_parquet(folder / "units.parquet", index=False)
    limits = yaml.safe_load((TESTS.parent / "config/config.yaml").read_text())["limits"]
    made = {
        "tissue": "tissue.geojson",
        "marks": "tissue_marks.geojson",
        "overlay": "tissue.jpg",
        "record": "record.json",
    }
    files = {"manifest": "raw.json", "alignment": "alignment.json", "units": "units.parquet", **made}
    paths = [word for name, file in files.items() for word in (f"--{name}", str(folder / file))]
    command = [sys.executable, str(TESTS.parent / "scripts/segment_tissue.py"), *paths, "--method", "classical"]
    subprocess.run([*command, "--limits", json.dumps(limits)], check=True, capture_output=True)
    found = read_json(folder / "record.json")["measures"]
    inside, outside = found["spots_selected_inside"], found["spots_unselected_outside"]
    accuracy = inside if outside is None else (inside + outside) / 2
    marks = " / ".join(str(found[f"{kind}_share"]) for kind in ("pen", "fold", "blur"))
    cells = (f"{accuracy:.4f}", f"{found['tissue_area_mm2']:.2f}", f"{found['glass_share']:.3f}")
    return " | ".join([*cells, str(found["stain_strength"]), marks])


def main() -> None:
    """Print the tables."""
    sections = {name: (*visium(DATA / name), 55.0) for name in VISIUM}
    for name in ("MOB1", "MOB2", "MOB3"):
        folder = DATA / "mob"
        sections[name] = (
            *first_generation(folder / f"{name}.jpg", folder / f"alignment_table_{name}.tsv", 100.0),
            100.0,
        )
    for name in ("B4", "C2", "C3", "C4", "C5"):
        folder = DATA / "her2st"
        sections[name] = (*first_generation(folder / f"{name}.jpg", folder / f"{name}_selection.tsv", 200.0), 100.0)
    print("| section | um/px | balanced accuracy | mm2 | glass | stain | pen / fold / blur |\n" + "|---" * 7 + "|")
    with tempfile.TemporaryDirectory() as temporary:
        for name, section in sections.items():
            print(f"| {name} | {section[2]:.3g} | {through_the_workflow(Path(temporary), *section)} |", flush=True)
    print("\n| section | um/px | deposited | JPEG 85, halved colours | pyramid |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        for name, (picture, spots, size_um, diameter_um) in sections.items():
            slide = Path(temporary) / f"{name.replace('/', '-')}.tif"
            coded = slide.with_suffix(".jpg")
            flat = pyvips.Image.new_from_file(str(picture))
            flat = flat.flatten(background=[255]) if flat.hasalpha() else flat
            flat.jpegsave(str(coded), Q=85, subsample_mode="on")
            build_pyramid(picture, slide, pixel_size_um=size_um, tile_px=512, jpeg_quality=85)
            cells = [shares(path, spots, size_um, diameter_um) for path in (picture, coded, slide)]
            print(f"| {name} | {size_um:.3g} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
