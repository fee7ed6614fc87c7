"""Registration of DAPI with H&E, against simulated pairs whose true map is known in closed form."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml

from real_data import needs_real, real
from spotweave.errors import Refusal
from spotweave.geometry import apply
from spotweave.io import write_json
from spotweave.pictures.grey import read_grey
from spotweave.placing import Deposit, Options, place_sample
from spotweave.register import coarse, fits, judge, matches, pair, rasters, refine, sample, valis
from spotweave.register.pair import Settings
from spotweave.register.rasters import Raster
from spotweave.register.warping import onto
from spotweave.simulate.section_pair import Pair, draw_pair
from spotweave.slide_map import SlideMap

ROOT = Path(__file__).resolve().parents[2]
LIMITS = yaml.safe_load((ROOT / "config/config.yaml").read_text())["limits"]
QUICK = Settings(valis=False)
DAPI_UM = 0.425  # twice the instrument's px: a quarter of the work
SIZE: Any = {"size_um": (900.0, 900.0), "dapi_pixel_size_um": DAPI_UM, "he_pixel_size_um": 0.9}


@pytest.fixture(scope="module")
def section() -> Pair:
    """A bent, turned and mirrored section."""
    return draw_pair(5, **SIZE, deformation_um=20, turn_deg=100, mirrored=True, stain_spread=1)


@pytest.fixture(scope="module")
def other() -> Pair:
    """Another section."""
    return draw_pair(6, **SIZE)


def signals(found: Pair) -> tuple[Raster, Raster]:
    he, dapi = found.he_pixel_size_um, found.dapi_pixel_size_um
    moving = rasters.of_fluorescence(found.dapi, (dapi, dapi), dapi).at(1.0)
    return rasters.of_stain(found.he, (1.0, 1.0), he), moving


def errors_um(truth: Pair, found: SlideMap) -> np.ndarray:
    """True distances of the nuclei that are on the H&E."""
    nuclei = truth.nuclei_um[truth.on_he]
    return np.linalg.norm(found.to_slide(nuclei) - truth.um_to_he(nuclei), axis=1) * truth.he_pixel_size_um


def write_bundle(folder: Path, found: Pair, dapi: str | None = "morphology_focus.ome.tif", **more: Path) -> Path:
    """The files of a bundle and its H&E, and `raw.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"experiment": folder / "experiment.xenium", "cells": folder / "cells.parquet", "image": folder / "he.tif"}
    write_json(files["experiment"], {"pixel_size": found.dapi_pixel_size_um, "analysis_sw_version": "xenium-3.0.0"})
    nuclei = found.nuclei_um
    names = [f"cell{n}" for n in range(len(nuclei))]
    pd.DataFrame({"cell_id": names, "x_centroid": nuclei[:, 0], "y_centroid": nuclei[:, 1]}).to_parquet(files["cells"])
    per_cm = 1e4 / found.he_pixel_size_um
    tifffile.imwrite(files["image"], found.he, photometric="rgb", resolution=(per_cm, per_cm), resolutionunit=3)
    if dapi:
        files["morphology"] = folder / dapi
        tifffile.imwrite(files["morphology"], found.dapi, photometric="minisblack", tile=(256, 256))
    return write_manifest(folder, files | more)


def write_manifest(folder: Path, files: dict[str, Path]) -> Path:
    entries = [
        {"role": role, "name": path.name, "path": str(path), "bytes": path.stat().st_size}
        for role, path in files.items()
    ]
    write_json(folder / "raw.json", {"sample": "S1", "files": entries})
    return folder / "raw.json"


def he_to_dapi(found: Pair) -> np.ndarray:
    """The best matrix as the vendor files it."""
    to_dapi = np.diag([1 / found.dapi_pixel_size_um, 1 / found.dapi_pixel_size_um, 1.0])
    return to_dapi @ np.linalg.inv(found.best_affine())


def write_matrix(path: Path, matrix: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, matrix, delimiter=",", fmt="%.12g")
    return path


def run(manifest: Path, out: Path, settings: Settings = QUICK, stated: str | None = None) -> dict[str, Any]:
    outputs = sample.Outputs(*(out / name for name in ("registration.json", "field.npy", "overlay.png", "checker.png")))
    out.mkdir(parents=True, exist_ok=True)
    return sample.register(manifest, stated, None, settings, LIMITS, outputs)


# --- a sample, from files to files ------------------------------------------------------------------


def test_the_script_registers_a_bent_section_and_every_candidate_is_judged(section: Pair, tmp_path: Path) -> None:
    manifest = write_bundle(tmp_path / "raw", section)
    names = ("registration.json", "field.npy", "registration.png", "checkerboard.png", "record.json")
    files = [tmp_path / name for name in names]
    command = [sys.executable, str(ROOT / "scripts/register_sample.py"), "--manifest", str(manifest)]
    for option, path in zip(("registration", "field", "overlay", "checkerboard", "record"), files, strict=True):
        command += [f"--{option}", str(path)]
    command += ["--limits", json.dumps({name: LIMITS[name] for name in sample.LIMITS})]
    subprocess.run(command, check=True, capture_output=True, text=True)
    content = json.loads(files[0].read_text())
    found = SlideMap.read(files[0], files[1])
    apart = errors_um(section, found)
    assert np.median(apart) <= 1.0 and np.percentile(apart, 95) <= 4.0
    assert np.median(apart) <= 2 * content["error_um"] + 0.5
    by_name = {one["name"]: one for one in content["candidates"]}
    assert any(name.startswith("VALIS rigid") for name in by_name) and any(one["has_field"] for one in by_name.values())
    assert content["chosen"] in by_name and not by_name[content["chosen"]]["beyond_limits"]
    assert json.loads(files[4].read_text())["status"] == "accepted"
    assert content["evidence"] == "DAPI" and content["flags"] == []
    for picture in files[2:4]:
        assert min(cv2.imread(str(picture)).shape[:2]) > 400


def wrong(name: str, matrix: np.ndarray, size_px: tuple[int, int]) -> np.ndarray:
    change = {
        "mirrored": np.array([[-1.0, 0, size_px[0]], [0, 1, 0], [0, 0, 1]]),
        "moved": np.array([[1.0, 0, 90], [0, 1, -60], [0, 0, 1]]),
    }[name]
    return matrix @ change


@pytest.mark.parametrize("name", ["mirrored", "moved"])
def test_a_wrong_alignment_file_is_told_and_not_used(name: str, section: Pair, tmp_path: Path) -> None:
    matrix = wrong(name, he_to_dapi(section), (section.he.shape[1], section.he.shape[0]))
    filed = write_matrix(tmp_path / "he_imagealignment.csv", matrix)
    content = run(write_bundle(tmp_path / "raw", section, alignment=filed), tmp_path / "out")
    assert (
        np.median(errors_um(section, SlideMap.read(tmp_path / "out/registration.json", tmp_path / "out/field.npy")))
        <= 1
    )
    first = content["candidates"][0]
    assert first["is_stated"] and first["beyond_limits"] and first["name"] == "alignment file, matrix"
    flag = next(flag for flag in content["flags"] if flag.startswith("alignment-offset"))
    to_dapi = np.diag([1 / DAPI_UM, 1 / DAPI_UM, 1.0])
    stated = errors_um(section, SlideMap(np.linalg.inv(matrix) @ to_dapi))
    if name == "moved":
        assert float(flag.split(" um")[0].split()[-1]) == pytest.approx(np.median(stated), rel=0.1)


def test_a_right_alignment_file_is_accepted_and_the_same_files_give_the_same_bytes(other: Pair, tmp_path: Path) -> None:
    filed = write_matrix(tmp_path / "he_imagealignment.csv", he_to_dapi(other))
    content = run(write_bundle(tmp_path / "raw", other, alignment=filed), tmp_path / "out")
    assert not content["candidates"][0]["beyond_limits"] and content["flags"] == []
    assert not content["has_field"]
    assert content["stated_offset_um"]["alignment file, matrix"] < 0.5
    run(tmp_path / "raw/raw.json", tmp_path / "again")
    for path in (tmp_path / "out").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_a_stated_identity_is_judged(other: Pair, tmp_path: Path) -> None:
    content = run(write_bundle(tmp_path / "raw", other), tmp_path / "out", stated="identity")
    assert content["candidates"][0]["name"] == "stated identity" and content["candidates"][0]["beyond_limits"]
    assert content["flags"][0].startswith("alignment-offset: the stated identity")
    # An H&E that is on DAPI's grid: the same um, the same origin.
    size = tuple(round(side * DAPI_UM) for side in other.dapi.shape[::-1])
    grid = Raster(np.zeros(size[::-1], np.uint8), (1.0, 1.0), 1.0)
    still, moving = signals(other)
    drawn, _ = onto(Raster(other.he[..., 1], (1.0, 1.0), 1.0), grid, SlideMap(np.linalg.inv(other.best_affine())))
    aligned = Raster(255 - drawn, (1.0, 1.0), 1.0)
    assert not judge.judge(aligned, moving, SlideMap(np.eye(3)), 2.0).faults(LIMITS)
    assert judge.judge(still, moving, SlideMap(np.eye(3)), 2.0).faults(LIMITS)


def test_pictures_of_two_sections_are_refused_with_what_to_give(section: Pair, other: Pair, tmp_path: Path) -> None:
    mixed = replace(section, dapi=other.dapi)
    filed = write_matrix(tmp_path / "he_imagealignment.csv", he_to_dapi(section))
    with pytest.raises(
        Refusal, match=r"could not be registered .* candidates .*alignment file, matrix.* give "
    ) as caught:
        run(write_bundle(tmp_path / "raw", mixed, alignment=filed), tmp_path / "out")
    assert caught.value.measured is not None and caught.value.threshold is not None


@pytest.mark.parametrize("kind", ["nucleus outlines", "cell centres"])
def test_without_dapi_the_nuclei_of_the_bundle_stand_in(kind: str, section: Pair, tmp_path: Path) -> None:
    more = {}
    if kind == "nucleus outlines":
        angle = np.linspace(0, 2 * np.pi, 9)
        ring = section.nuclei_um[:, None] + 3.0 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        ring[:, -1] = ring[:, 0]
        cells = np.repeat([f"cell{n}" for n in range(len(ring))], ring.shape[1])
        table = {"cell_id": cells, "vertex_x": ring[..., 0].ravel(), "vertex_y": ring[..., 1].ravel()}
        more["nucleus_boundaries"] = tmp_path / "nucleus_boundaries.parquet"
        pd.DataFrame(table).to_parquet(more["nucleus_boundaries"])
    content = run(write_bundle(tmp_path / "raw", section, None, **more), tmp_path / "out")
    assert content["evidence"] == kind and content["flags"][0].startswith("no-dapi")
    found = SlideMap.read(tmp_path / "out/registration.json", tmp_path / "out/field.npy")
    assert np.median(errors_um(section, found)) <= 2.0


def test_a_picture_without_a_pixel_size_is_registered_at_the_size_that_fits(other: Pair, tmp_path: Path) -> None:
    manifest = write_bundle(tmp_path / "raw", other)
    tifffile.imwrite(tmp_path / "raw/he.tif", other.he, photometric="rgb")
    files = {entry["role"]: Path(entry["path"]) for entry in json.loads(manifest.read_text())["files"]}
    content = run(write_manifest(tmp_path / "raw", files), tmp_path / "out")
    assert content["pixel_sizes_said_um"] == {}
    assert content["pixel_size_um"] == pytest.approx(other.he_pixel_size_um, rel=0.01)


def test_a_pixel_size_said_wrongly_is_not_the_last_word(other: Pair, tmp_path: Path) -> None:
    """The row states twice the size; the picture's tag is right."""
    manifest = write_bundle(tmp_path / "raw", other)
    outputs = sample.Outputs(*(tmp_path / name for name in ("registration.json", "field.npy", "a.png", "b.png")))
    content = sample.register(manifest, None, 1.8, QUICK, LIMITS, outputs)
    assert content["pixel_size_um"] == pytest.approx(0.9, rel=0.01)
    assert content["pixel_sizes_said_um"] == pytest.approx({"stated": 1.8, "tag": 0.9})


def test_a_failing_valis_is_written_down_and_fails_nothing(
    other: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no features\nat all")

    monkeypatch.setattr(valis, "_run", broken)
    still, moving = signals(other)
    found = pair.register(still, moving, [], Settings(), LIMITS)
    assert found.chosen is not None
    assert found.notes == (f"VALIS from {found.chosen.name}: RuntimeError: no features at all",)


def test_a_field_that_folds_is_told_from_one_that_bends() -> None:
    j, i = np.meshgrid(np.arange(40) * 50.0, np.arange(30) * 50.0)
    bent = np.stack([20 * np.sin(i / 200), 15 * np.cos(j / 250)], axis=-1).astype(np.float32)
    folded = np.stack([-1.2 * np.abs(j - 1000), 0 * j], axis=-1).astype(np.float32)
    assert 0.95 < pair._least_area(SlideMap(np.eye(3), bent, 50.0)) <= 1.05
    assert pair._least_area(SlideMap(np.eye(3), folded, 50.0)) == pytest.approx(-0.2, abs=0.01)


# --- the judge ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("moved_um", [0.0, 3.0, 8.0, 20.0])
def test_the_error_of_held_out_patches_is_the_true_one(moved_um: float, other: Pair) -> None:
    still, moving = signals(other)
    matrix = other.best_affine()
    matrix[0, 2] += moved_um / other.he_pixel_size_um
    found = judge.judge(still, moving, SlideMap(matrix), 2.0)
    assert found.error_um == pytest.approx(moved_um, abs=0.3)
    said = " ".join(text for text, _, _ in found.faults(LIMITS))
    assert ("um (median) off" in said) == (moved_um > LIMITS["registration_error_max_um"])
    assert (found.gain > LIMITS["registration_gain_min"]) == (moved_um <= 3)


@needs_real("data/xenium_fragments")
def test_centres_of_real_cells_agree_with_their_real_dapi_and_nowhere_else() -> None:
    picture = cv2.imread(str(real("data/xenium_fragments/xenium_data_DAPI.png")), cv2.IMREAD_GRAYSCALE)
    cells_px = pd.read_csv(real("data/xenium_fragments/xenium_data_coords.csv"))[["x", "y_img"]].to_numpy(dtype=float)
    um = 0.85  # unknown; that of the pyramid's third level
    fixed = rasters.of_fluorescence(picture, (1.0, 1.0), um)
    moving = rasters.of_centres(cells_px * um, um, (picture.shape[1] * um, picture.shape[0] * um))
    right = np.diag([1 / um, 1 / um, 1.0])
    moved, mirrored = right.copy(), np.diag([-1 / um, 1 / um, 1.0])
    moved[0, 2], mirrored[0, 2] = 30, picture.shape[1]
    found = [judge.judge(fixed, moving, SlideMap(matrix), 2.0) for matrix in (right, moved, mirrored)]
    assert found[0].gain > 4 * LIMITS["registration_gain_min"] and found[0].peak_offset_um < 2
    assert max(one.gain for one in found[1:]) < LIMITS["registration_gain_min"] / 2


def test_held_out_patches_share_no_px_with_those_that_are_fitted_to() -> None:
    rng = np.random.default_rng(0)
    contrast = rng.standard_normal((400, 500)).astype(np.float32)
    everywhere = np.ones((400, 500), dtype=bool)
    used = np.zeros((2, 400, 500), dtype=bool)
    for held_out, tile, step in ((False, 40, 16), (True, 50, 50)):
        corner = matches.centres(contrast, everywhere, tile, step, 10_000, held_out=held_out, block=50.0)
        for x, y in corner.tolist():
            used[int(held_out), y : y + tile, x : x + tile] = True
    assert used[0].mean() > 0.4 and used[1].mean() > 0.15
    assert not (used[0] & used[1]).any()


@pytest.mark.parametrize(
    ("gained_um", "spread_um", "is_kept"),
    [(2.0, 1.0, True), (0.05, 0.01, False), (0.5, 4.0, False), (-1.0, 0.1, False)],
)
def test_a_field_is_kept_only_where_it_helps_by_more_than_chance(
    gained_um: float, spread_um: float, is_kept: bool
) -> None:
    places = np.column_stack([np.arange(100), np.arange(100)])
    flat = np.random.default_rng(0).normal(0, spread_um, 100)
    flat += 10 - flat.mean()

    def judged(distance_um: np.ndarray) -> judge.Judged:
        return judge.Judged(0.5, 50.0, 0.0, 0.1, 100, 1.0, 1.0, 2.0, float(distance_um.mean()), places, distance_um)

    assert pair.is_better(judged(np.full(100, 10.0 - gained_um)), judged(flat)) is is_kept


# --- parts --------------------------------------------------------------------------------------------


def test_the_search_correlates_as_a_direct_sum_does() -> None:
    rng = np.random.default_rng(1)
    still = rng.standard_normal((20, 26)).astype(np.float32)
    mover = rng.standard_normal((15, 15)).astype(np.float32)
    cover = np.zeros((15, 15), dtype=bool)
    cover[2:13, 3:12] = True
    correlator = coarse._Correlator(still, 15)
    surface = correlator.surface(mover, correlator.overlap(cover))
    for row, column in ((14, 14), (20, 18), (10, 12)):
        ys, xs = np.nonzero(cover)
        y, x = ys + row - 14, xs + column - 14
        inside = (y >= 0) & (y < 20) & (x >= 0) & (x < 26)
        expected = np.corrcoef(still[y[inside], x[inside]], mover[ys[inside], xs[inside]])[0, 1]
        weight = (inside.sum() / cover.sum()) ** 0.25
        assert surface[row, column] == pytest.approx(expected * weight, abs=1e-3)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.25, -1.5), (-6.4, 5.3)])
def test_patches_are_found_to_a_fraction_of_a_px(shift: tuple[float, float]) -> None:
    rng = np.random.default_rng(2)
    still = cv2.GaussianBlur(rng.standard_normal((200, 200)).astype(np.float32), (0, 0), 2)
    moved = cv2.warpAffine(still, np.array([[1, 0, shift[0]], [0, 1, shift[1]]]), (200, 200), flags=cv2.INTER_CUBIC)
    corner = np.array([[60, 60], [90, 100]])
    found = matches.find(still, moved, corner, 48, 10)
    assert np.abs(found.shift_px - shift).max() < 0.15 and (found.peak > 0.95).all()
    assert found.centre_px.tolist() == [[84, 84], [114, 124]]


def test_a_smooth_field_follows_its_places_and_goes_on_straight() -> None:
    rng = np.random.default_rng(3)
    places = rng.uniform(0, 600, (400, 2))
    values = np.column_stack([0.02 * places[:, 0] - 3, 5 - 0.01 * places[:, 1]])
    field = fits.smooth_field(places, values, np.ones(400), (800, 600), 40, 0.05)
    j, i = np.meshgrid(np.arange(field.shape[1]) * 40, np.arange(field.shape[0]) * 40)
    assert np.allclose(field[..., 0], 0.02 * j - 3, atol=1e-2) and np.allclose(field[..., 1], 5 - 0.01 * i, atol=1e-2)


def test_a_warped_grid_is_where_the_map_puts_it() -> None:
    signal = np.zeros((80, 100), dtype=np.uint8)
    signal[30:34, 40:44] = 200  # middle at (42, 32) px, (84, 64) um
    moving = Raster(signal, (2.0, 2.0), 2.0)
    matrix = np.array([[0.0, -1.5, 200], [1.5, 0.0, 20], [0, 0, 1]])
    fixed = Raster(np.zeros((300, 260), np.uint8), (1.0, 1.0), 1.0)
    field = np.tile(np.array([4.0, -3.0]), (9, 9, 1))
    for found, shift in ((SlideMap(matrix), (0, 0)), (SlideMap(matrix, field.astype(np.float32), 40.0), (4, -3))):
        drawn, cover = onto(moving, fixed, found)
        y, x = np.mgrid[:300, :260] + 0.5
        middle = [(drawn * axis).sum() / drawn.sum() for axis in (x, y)]
        assert middle == pytest.approx(apply(matrix, np.array([[84.0, 64.0]]))[0] + shift, abs=0.1)
        assert 0.5 < cover.mean() < 1


def test_an_affine_start_is_led_home(other: Pair) -> None:
    still, moving = signals(other)
    start = other.best_affine()
    start[:2, 2] += (45, -30)
    start[:2, :2] *= 1.02
    found = refine.affine(refine.Pair(still, moving), start, refine.levels(2.0))
    assert np.median(errors_um(other, SlideMap(found))) < 0.5


# --- DAPI pictures ------------------------------------------------------------------------------------


@pytest.fixture
def grey() -> np.ndarray:
    rng = np.random.default_rng(4)
    return (cv2.GaussianBlur(rng.random((700, 900)).astype(np.float32), (0, 0), 6) * 60_000).astype(np.uint16)


@pytest.mark.parametrize("layout", ["strips", "tiles", "jpeg2000"])
def test_a_grey_picture_is_averaged_over_whole_blocks(layout: str, grey: np.ndarray, tmp_path: Path) -> None:
    options: dict[str, Any] = {"strips": {"rowsperstrip": 13}, "tiles": {"tile": (128, 96)}}.get(
        layout, {"tile": (256, 256), "compression": "jpeg2000", "compressionargs": {"reversible": True}}
    )
    tifffile.imwrite(tmp_path / "a.tif", grey, photometric="minisblack", **options)
    whole, scale, note = read_grey(tmp_path / "a.tif", "a.tif", 1e9)
    assert (whole == grey).all() and scale == (1, 1) and note is None
    reduced, scale, _ = read_grey(tmp_path / "a.tif", "a.tif", 71_000)
    expected = grey[:699, :900].reshape(233, 3, 300, 3).mean(axis=(1, 3))
    assert scale == (3, 3) and np.abs(reduced.astype(float) - expected).max() <= 0.51


def test_levels_planes_and_channels_of_an_ome_tiff(grey: np.ndarray, tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "p.ome.tif") as tiff:
        tiff.write(grey, subifds=2, tile=(128, 128), photometric="minisblack")
        for factor in (2, 4):
            tiff.write(grey[::factor, ::factor], subfiletype=1, tile=(128, 128))
    reduced, scale, _ = read_grey(tmp_path / "p.ome.tif", "p", 45_000)
    assert scale == (4, 4) and reduced.shape == (175, 225)
    stack = np.stack([grey, np.roll(grey, 50, axis=0), grey // 2])
    tifffile.imwrite(tmp_path / "z.ome.tif", stack, metadata={"axes": "ZYX"}, photometric="minisblack")
    highest, _, note = read_grey(tmp_path / "z.ome.tif", "z", 1e9)
    assert (highest == stack.max(axis=0)).all() and note == "the brightest of 3 planes"
    tifffile.imwrite(tmp_path / "c.ome.tif", stack, metadata={"axes": "CYX"}, photometric="minisblack")
    first, _, note = read_grey(tmp_path / "c.ome.tif", "c", 1e9)
    assert (first == grey).all() and note == "the first of 3 pages of the same size"


def test_pictures_that_are_no_dapi_are_refused_by_name(grey: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    for content, said in ((np.zeros((50, 50, 3), np.uint8), "samples a px"), (grey * 0, "black")):
        tifffile.imwrite(path, content)
        with pytest.raises(Refusal, match=f"morphology.tif.*{said}"):
            read_grey(path, "morphology.tif", 1e9)
    tifffile.imwrite(path, grey)
    path.write_bytes(path.read_bytes()[:3])
    with pytest.raises(Refusal, match=r"morphology.tif: .*cannot be decoded"):
        read_grey(path, "morphology.tif", 1e9)


# --- placing ------------------------------------------------------------------------------------------


def deposit(**changes: Any) -> Deposit:
    um = np.array([[10.0, 20.0], [500.0, 80.0], [1900.0, 900.0]])
    table = pd.DataFrame(
        {"spot_id": ["a", "b", "c"], "x_px": um[:, 0] / 0.2125, "y_px": um[:, 1] / 0.2125, "in_tissue": 1}
    )
    matrix = np.array([[0.0, 2.0, 30], [-2.0, 0.0, 3700], [0, 0, 1]])
    registration = {
        "image_width_px": 2000,
        "image_height_px": 4000,
        "error_um": 0.8,
        "error_p95_um": 2.5,
        "chosen": "search 1",
        "gain": 90.0,
        "matched_share": 0.97,
        "flags": ["no-dapi: x"],
        "pixel_sizes_said_um": {"tag": 0.5},
        "stated_maps": {},
    }
    given = {
        "manifest": Path("raw.json"),
        "table": table,
        "reading": {"pixel_size_um": 0.2125},
        "frame": None,
        "options": Options((None, None), None),
        "limits": LIMITS,
        "slide_map": SlideMap(matrix),
        "registration": registration,
    }
    for name, change in changes.items():
        given[name] = {**given[name], **change} if isinstance(change, dict) else change
    return Deposit(**given)


def test_cells_are_placed_by_the_map() -> None:
    placement = place_sample("registration", deposit())
    units = placement.units
    assert units["x_px"].tolist() == pytest.approx([70, 190, 1830])
    assert units["y_px"].tolist() == pytest.approx([3680, 2700, -100])
    assert units["in_tissue"].tolist() == [1, 1, 0] and units["vendor_x_px"].isna().all()
    assert placement.measures["pixel_size_um"] == 0.5 and placement.measures["residual_um"] == 0.8
    assert placement.measures["flags"] == ["no-dapi: x", "off-picture: 1 cells lie outside the picture"]
    assert placement.spot_diameter_um is None and placement.size_px == (2000, 4000)


def test_cells_have_the_places_that_the_deposit_states_too() -> None:
    stated = {"alignment file, matrix": [[2.0, 0, 1], [0, 2.0, 2], [0, 0, 1]]}
    units = place_sample("registration", deposit(registration={"stated_maps": stated})).units
    assert units["vendor_x_px"].tolist() == pytest.approx([21, 1001, 3801])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"slide_map": SlideMap(np.diag([0.5, 0.5, 1]))}, "too coarse"),
        ({"slide_map": SlideMap(np.diag([20.0, 20.0, 1]))}, "finer than any scanner"),
        ({"slide_map": SlideMap(np.diag([2.0, 2.2, 1]))}, "stretches"),
        ({"registration": {"image_width_px": 50, "image_height_px": 50}}, "outside the H&E"),
    ],
)
def test_what_is_beyond_a_limit_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Refusal, match=said) as caught:
        place_sample("registration", deposit(**changes))
    assert caught.value.measured is not None


def test_a_pixel_size_that_contradicts_the_map_is_flagged() -> None:
    flags = place_sample("registration", deposit(registration={"pixel_sizes_said_um": {"tag": 0.52}})).measures["flags"]
    assert "pixel-size: 0.52 um by the tag, 0.5 um by the registration" in flags
