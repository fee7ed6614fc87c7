"""A Visium deposit without positions, through the scripts as jobs run them: read, find the frame, align."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from spotweave.geometry import apply
from spotweave.io import read_json, write_json
from spotweave.simulate.count_files import write_h5_layout_3
from spotweave.simulate.frames import Look, render
from spotweave.simulate.visium import block_of, draw_truth
from spotweave.simulate.visium_files import write_loupe
from spotweave.visium.array import capture_area

ROOT = Path(__file__).resolve().parents[2]
LIMITS = {
    "pixel_size_max_um": 20,
    "pixel_size_min_um": 0.1,
    "residual_max_um": 27.5,
    "anisotropy_max": 0.03,
    "spots_outside_max": 0.01,
    "spots_off_lattice_max": 0.02,
    "frame_offset_max_um": 250,
    "frame_offset_flagged_um": 27.5,
    "agreement_min": 0.2,
    "edge_auc_flagged": 0.9,
    "rival_gain_max": 0.1,
    "rival_gain_flagged": 0.05,
}
LOOK = Look(size_px=1400, letter="C1", rotation_deg=1.5, hidden=0.1)
TO_INSTRUMENT = np.array([[0.0, -0.5, 2400.0], [0.5, 0.0, 40.0], [0, 0, 1]])


def deposit(folder, files):
    """A manifest as the fetch stage writes it."""
    entries = [
        {"role": role, "name": path.name, "path": str(path), "bytes": path.stat().st_size}
        for role, path in files.items()
    ]
    write_json(folder / "raw.json", {"sample": "s1", "licence": "CC0-1.0", "files": entries})
    return folder / "raw.json"


def run(script, folder, **options):
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    words += ["--record", str(folder / f"{script}.json")]
    environment = {**os.environ, "SPACERANGER_BARCODES": str(folder / "lists")}
    subprocess.run([sys.executable, str(ROOT / f"scripts/{script}.py"), *words], check=True, env=environment)
    return read_json(folder / f"{script}.json")


def through(folder, files):
    manifest = deposit(folder, files)
    made = {"expression": folder / "expression.h5ad", "spots": folder / "spots.csv"}
    run("read_expression", folder, sample="s1", reader="visium", manifest=manifest, **made)
    found = {"fiducials": folder / "fiducials.json", "overlay": folder / "fiducials.png"}
    weights = ROOT / "resources/fiducial_detector/weights.safetensors"
    printing = ROOT / "resources/fiducial_print.csv"
    run("detect_fiducials", folder, sample="s1", manifest=manifest, weights=weights, printing=printing, **found)
    record = run(
        "align_array",
        folder,
        manifest=manifest,
        spots=folder / "spots.csv",
        reading=folder / "read_expression.json",
        fiducials=folder / "fiducials.json",
        placing="lattice",
        spot_diameter_um=55,
        limits=json.dumps(LIMITS),
        alignment=folder / "alignment.json",
        units=folder / "units.parquet",
    )
    return record, read_json(folder / "fiducials.json")


@pytest.fixture(scope="module")
def truth():
    return draw_truth(3)


@pytest.fixture(scope="module")
def frame():
    return render(np.random.default_rng(11), LOOK)


@pytest.fixture
def counts(tmp_path, truth):
    (tmp_path / "lists").mkdir()
    rows = [f"{code}\t{col + 1}\t{row + 1}" for code, (row, col) in zip(truth.barcodes, truth.array, strict=True)]
    (tmp_path / "lists/visium-v1_coordinates.txt").write_text("\n".join(rows))
    return write_h5_layout_3(tmp_path / "filtered.h5", block_of(truth, truth.tissue))


def error_um(alignment, matrix):
    spots = capture_area("6.5 mm").spots_um()
    off = apply(np.asarray(alignment["transforms"][0]["matrix"]), spots) - apply(matrix, spots)
    return np.linalg.norm(off, axis=1) * alignment["pixel_size_um"]


def test_counts_and_a_picture_are_enough(tmp_path, counts, frame):
    picture = tmp_path / "he.png"
    Image.fromarray(frame.picture).save(picture)
    record, found = through(tmp_path, {"counts": counts, "image": picture})
    alignment = read_json(tmp_path / "alignment.json")
    assert record["status"] == "accepted"
    assert alignment["positions_from"] == "fiducial frame"
    assert alignment["pixel_size_from"] == "frame"
    assert found["capture_area_letter"] in ("C1", None)
    assert np.median(error_um(alignment, frame.matrix)) < 2
    spots = pd.read_csv(tmp_path / "spots.csv")
    assert len(spots) == 4992 and spots["x_px"].isna().all()
    units = pd.read_parquet(tmp_path / "units.parquet")
    assert units["unit_id"].tolist() == spots["spot_id"].tolist() and np.isfinite(units[["x_px", "y_px"]]).all(
        axis=None
    )
    assert units["vendor_x_px"].isna().all() and (units["x_px"] == units["modelled_x_px"]).all()
    assert (tmp_path / "fiducials.png").stat().st_size > 50_000


def test_a_cytassist_frame_places_spots_through_the_loupe_registration(tmp_path, counts, frame, truth):
    instrument, he = tmp_path / "cytassist.png", tmp_path / "he.png"
    Image.fromarray(frame.picture).save(instrument)
    on_he = np.linalg.inv(TO_INSTRUMENT) @ frame.matrix
    size = np.ceil(apply(on_he, capture_area("6.5 mm").spots_um()).max(axis=0)).astype(int) + 200
    canvas = np.full((size[1], size[0], 3), 230, np.uint8)
    half_px = round(50 * np.sqrt(abs(np.linalg.det(on_he[:2, :2]))))
    for x, y in apply(on_he, capture_area("6.5 mm").spots_um(truth.array))[truth.tissue].astype(int):
        canvas[max(y - half_px, 0) : y + half_px, max(x - half_px, 0) : x + half_px] = (190, 110, 160)
    Image.fromarray(canvas).save(he)
    moved = draw_truth(3)
    moved.pixels[:] = np.rint(apply(on_he, capture_area("6.5 mm").spots_um(truth.array)))[:, ::-1]
    loupe = write_loupe(tmp_path / "alignment_loupe.json", moved, transform=TO_INSTRUMENT)
    files = {"counts": counts, "image": he, "cytassist_image": instrument, "alignment": loupe}
    record, found = through(tmp_path, files)
    assert record["status"] == "accepted"
    assert found["picture"] == "cytassist_image"
    assert record["measures"]["positions_from"] == "fiducial frame"
    assert record["measures"]["vendor_positions_from"] == "loupe"
    assert record["measures"]["frame_offset_p95_um"] < 5
    assert record["measures"]["edge_auc"] > 0.95
    assert record["measures"]["flags"] == []
    np.testing.assert_allclose(np.asarray(found["matrix_to_slide"])[:2, :2], on_he[:2, :2], atol=1e-4)


def test_without_frame_and_positions_the_sample_is_refused_with_both_reasons(tmp_path, counts):
    picture = tmp_path / "he.png"
    Image.fromarray(np.full((900, 900, 3), 230, np.uint8)).save(picture)
    record, found = through(tmp_path, {"counts": counts, "image": picture})
    assert not found["is_usable"]
    assert record["status"] == "refused"
    assert "no spot positions" in record["reason"] and "no fiducial frame was found" in record["reason"]
