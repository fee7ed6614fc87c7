"""From a Visium deposit to its spots: what is listed is taken, and what stands in for positions that are not."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.intake.ingest import ingest
from spotweave.intake.request import Request
from spotweave.matrices.reading import Reading
from spotweave.readers.visium import read as visium
from spotweave.simulate.count_files import write_h5_layout_3, write_h5ad
from spotweave.simulate.visium import Truth, block_of, draw_truth
from spotweave.simulate.visium_files import position_rows, write_barcode_list, write_loupe, write_positions
from spotweave.transfer.files import Checksum, FetchSettings
from spotweave.visium import barcode_lists

SETTINGS = FetchSettings(attempts=1, timeout_s=5, backoff_s=0)


@pytest.fixture(scope="module")
def truth() -> Truth:
    return draw_truth(5)


@pytest.fixture
def deposit(tmp_path: Path, truth: Truth, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with counts and a picture; barcode lists are at hand."""
    monkeypatch.setenv(barcode_lists.VARIABLE, str(tmp_path / "lists"))
    write_barcode_list(tmp_path / "lists", truth)
    folder = tmp_path / "deposit"
    folder.mkdir()
    write_h5_layout_3(folder / "A1_filtered_feature_bc_matrix.h5", block_of(truth, truth.tissue))
    (folder / "A1_image.jpg").write_bytes(b"\xff\xd8\xff\xe0 a picture \xff\xd9")
    return folder


def brought(deposit: Path, **row: str) -> dict[str, RawFile]:
    given = {role: (name, Checksum()) for role, name in row.items()}
    request = Request("S1", "visium", "file", accession=str(deposit), given=given)
    got = ingest(request, deposit.parent / "raw", SETTINGS)
    return {one.role: RawFile(one.file.name, one.file.path) for one in got.files if one.role != "image"}


def read(deposit: Path, **row: str) -> Reading:
    return visium.read(brought(deposit, **row))


def packed(path: Path, members: list[Path]) -> None:
    with tarfile.open(path, mode="w:gz") as archive:
        for member in members:
            content = member.read_bytes()
            info = tarfile.TarInfo(f"spatial/{member.name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
            member.unlink()


def positions(folder: Path, truth: Truth) -> Path:
    return write_positions(folder / "tissue_positions_list.csv", position_rows(truth, truth.every))


def test_counts_and_a_picture_are_a_deposit(deposit: Path, truth: Truth) -> None:
    reading = read(deposit)
    assert reading.report["positions_from"] == "barcode list"
    assert reading.report["spots_kept"] == len(truth.tissue)
    assert reading.spots["x_px"].isna().all()


def test_a_loupe_alignment_in_the_deposit_gives_the_pixels(deposit: Path, truth: Truth) -> None:
    write_loupe(deposit / "V10A13-001-A1.json", truth)
    reading = read(deposit)
    assert reading.report["positions_from"] == "loupe"
    order = np.lexsort((truth.array[:, 1], truth.array[:, 0]))
    np.testing.assert_allclose(reading.spots[["y_px", "x_px"]], truth.pixels[order], atol=1e-6)


def test_listed_positions_are_taken_although_lists_and_an_alignment_are_there(deposit: Path, truth: Truth) -> None:
    write_loupe(deposit / "V10A13-001-A1.json", truth)
    positions(deposit, truth)
    report = read(deposit).report
    assert report["positions_from"] == "positions file"
    assert report["alignment_offset_px"] == 0


def test_positions_in_an_archive_are_taken_although_nothing_needed_is_missing(deposit: Path, truth: Truth) -> None:
    packed(deposit / "A1_spatial.tar.gz", [positions(deposit, truth)])
    assert read(deposit).report["positions_from"] == "positions file"


def test_an_archive_without_positions_leaves_them_to_the_lists(deposit: Path, truth: Truth) -> None:
    note = deposit / "aligned_fiducials.jpg"
    note.write_bytes(b"\xff\xd8\xff\xe0 a picture \xff\xd9")
    packed(deposit / "A1_spatial.tar.gz", [note])
    assert read(deposit).report["positions_from"] == "barcode list"


def test_several_tables_of_positions_are_refused_and_not_passed_over(deposit: Path, truth: Truth) -> None:
    for name in "ab":
        (deposit / name).mkdir()
        positions(deposit / name, truth)
    with pytest.raises(Refusal, match=r"2 files could be its spots: a/tissue_positions_list.csv"):
        read(deposit)


def test_an_h5ad_that_carries_no_positions_is_placed_by_the_lists(deposit: Path, truth: Truth) -> None:
    (deposit / "A1_filtered_feature_bc_matrix.h5").unlink()
    write_h5ad(deposit / "A1.h5ad", block_of(truth, truth.tissue))
    files = brought(deposit)
    assert files["spots"].path == files["counts"].path
    assert visium.read(files).report["positions_from"] == "barcode list"


def test_positions_are_looked_for_in_the_listing_of_a_row_that_names_all_that_is_needed(
    deposit: Path, truth: Truth
) -> None:
    positions(deposit, truth)
    named = {"counts": "A1_filtered_feature_bc_matrix.h5", "image": "A1_image.jpg"}
    assert read(deposit, **named).report["positions_from"] == "positions file"
