"""From a row to files: which files are taken, from where, and what is refused."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from faults.fault_server import FaultServer
from spotweave import sources
from spotweave.deposits import archives
from spotweave.deposits.archives import Member
from spotweave.errors import Refusal
from spotweave.intake.ingest import ingest
from spotweave.intake.packed import Archive
from spotweave.intake.request import Ingested, Request, parse_request
from spotweave.sources import find_place
from spotweave.transfer.files import Checksum, FetchSettings, Unreachable
from spotweave.transfer.local import local_path
from spotweave.transfer.remote_zip import open_zip

SETTINGS = FetchSettings(attempts=2, timeout_s=5, backoff_s=0)


def hdf5() -> bytes:
    buffer = io.BytesIO()
    h5py.File(buffer, "w").close()
    return buffer.getvalue()


H5 = hdf5()
JPEG = b"\xff\xd8\xff\xe0 a picture \xff\xd9"
POSITIONS = b"AAACAACGAATAGTTC-1,1,0,0,10,20\n"
SCALES = b'{"spot_diameter_fullres": 90.0}'
CELLS = b"PAR1 cells PAR1"
BUNDLE = {
    "outs/cell_feature_matrix.h5": H5,
    "outs/cells.parquet": CELLS,
    "outs/experiment.xenium": b'{"pixel_size": 0.2125}',
    "outs/transcripts.parquet": b"PAR1 transcripts PAR1",
    "outs/morphology_mip.ome.tif": b"II*\0 focused",
    "outs/morphology.ome.tif": bytes(200_000),
}


def folder_of(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


OUTS = {
    "filtered_feature_bc_matrix.h5": H5,
    "raw_feature_bc_matrix.h5": H5 + b"raw",
    "spatial/tissue_positions_list.csv": POSITIONS,
    "spatial/scalefactors_json.json": SCALES,
    "spatial/tissue_hires_image.png": b"\x89PNG\r\n\x1a\n IEND\xaeB`\x82",
    "slide_HE.jpg": JPEG,
    "analysis/umap.csv": b"x",
}


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), content, compression)
    return buffer.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def taken(ingested: Ingested) -> dict[str, bytes]:
    return {one.role: one.file.path.read_bytes() for one in ingested.files}


@pytest.fixture
def server():
    with FaultServer() as running:
        yield running


def test_a_folder_is_enough_for_a_visium_sample(tmp_path):
    outs = folder_of(tmp_path / "outs", OUTS)
    got = ingest(Request("S1", "visium", "file", accession=str(outs)), tmp_path / "raw", SETTINGS)
    assert taken(got) == {"counts": H5, "spots": POSITIONS, "scalefactors": SCALES, "image": JPEG}
    assert not (tmp_path / "raw").exists()  # local files stay where they are
    assert got.report["files_listed"] == len(OUTS)
    assert set(got.report["found"]) == {"counts", "spots", "scalefactors", "image"}


def test_a_cell_of_the_row_is_stronger_than_the_listing(tmp_path):
    outs = folder_of(tmp_path / "outs", {**OUTS, "other.h5": H5 + b"other"})
    request = Request("S1", "visium", "file", accession=str(outs), given={"counts": ("other.h5", Checksum())})
    got = ingest(request, tmp_path / "raw", SETTINGS)
    assert taken(got)["counts"] == H5 + b"other"
    assert got.report["found"]["counts"] == "named in the row"


def test_a_checksum_of_the_row_is_held_against_a_file_that_was_named(tmp_path):
    outs = folder_of(tmp_path / "outs", OUTS)
    wrong = {"counts": ("raw_feature_bc_matrix.h5", Checksum(sha256="0" * 64))}
    with pytest.raises(Refusal, match="not the file of the row"):
        ingest(Request("S1", "visium", "file", accession=str(outs), given=wrong), tmp_path / "raw", SETTINGS)


def test_files_narrow_an_accession_that_holds_several_samples(tmp_path):
    both = {f"{sample}/{name}": content + sample.encode() for sample in ("A1", "B1") for name, content in OUTS.items()}
    deposit = folder_of(tmp_path / "deposit", both)
    with pytest.raises(Refusal, match=r"2 files could be its counts: A1/filtered.*B1/filtered.*'files'") as refusal:
        ingest(Request("S1", "visium", "file", accession=str(deposit)), tmp_path / "raw", SETTINGS)
    assert (refusal.value.measured, refusal.value.threshold) == (2, 1)
    request = Request("S1", "visium", "file", accession=str(deposit), files="B1/*")
    assert taken(ingest(request, tmp_path / "raw", SETTINGS))["counts"] == H5 + b"B1"


def test_a_pattern_that_fits_nothing_says_what_there_is(tmp_path):
    outs = folder_of(tmp_path / "outs", OUTS)
    request = Request("S1", "visium", "file", accession=str(outs), files="*C1*")
    with pytest.raises(Refusal, match=r"none of its 7 files fits 'files', '\*C1\*'; .*filtered_feature_bc_matrix.h5"):
        ingest(request, tmp_path / "raw", SETTINGS)


def test_a_reduced_picture_is_never_the_slide(tmp_path):
    outs = folder_of(tmp_path / "outs", {name: content for name, content in OUTS.items() if "HE" not in name})
    with pytest.raises(Refusal, match=r"no file for image; only a reduced picture is there .tissue_hires_image.png."):
        ingest(Request("S1", "visium", "file", accession=str(outs)), tmp_path / "raw", SETTINGS)


def test_a_role_the_reader_does_not_know_is_refused(tmp_path):
    with pytest.raises(Refusal, match="names a file for experiment, which visium does not read"):
        ingest(Request("S1", "visium", "file", given={"experiment": ("x", Checksum())}), tmp_path / "raw", SETTINGS)


@pytest.mark.parametrize("pack", [tarred, zipped], ids=["tar.gz", "zip"])
def test_positions_are_taken_out_of_an_archive_beside_the_counts(tmp_path, pack):
    suffix = ".tar.gz" if pack is tarred else ".zip"
    spatial = pack({f"spatial/{name.rpartition('/')[2]}": OUTS[name] for name in OUTS if name.startswith("spatial/")})
    files = {"s_filtered_feature_bc_matrix.h5": H5, f"s_spatial{suffix}": spatial, "s_image.jpg": JPEG}
    outs = folder_of(tmp_path / "outs", files)
    got = ingest(Request("S1", "visium", "file", accession=str(outs)), tmp_path / "raw", SETTINGS)
    assert taken(got) == {"counts": H5, "spots": POSITIONS, "scalefactors": SCALES, "image": JPEG}
    assert got.report["archives_opened"] == [f"s_spatial{suffix}"]
    assert sorted(path.name for path in outs.iterdir()) == sorted(files)  # nothing is written beside the raw files


def test_a_packed_picture_is_unpacked_and_its_packed_copy_kept(tmp_path):
    outs = folder_of(tmp_path / "outs", {"GSM1_slide.jpg.gz": gzip.compress(JPEG), **OUTS})
    request = Request("S1", "visium", "file", accession=str(outs), given={"image": ("GSM1_slide.jpg.gz", Checksum())})
    for _ in range(2):
        got = ingest(request, tmp_path / "raw", SETTINGS)
        assert taken(got)["image"] == JPEG
    assert (outs / "GSM1_slide.jpg.gz").exists()


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_single_members_of_a_remote_zip_are_fetched_without_the_rest(server, tmp_path, compression):
    noise = bytes((index * index) % 251 for index in range(4_000_000))
    content = zipped({**BUNDLE, "outs/morphology.ome.tif": noise}, compression)
    url = server.put("run_outs.zip", content)
    image = server.put("he_image.ome.tif", tiff())
    given = {"bundle": (url, Checksum()), "image": (image, Checksum())}
    request = Request("S1", "xenium", "https", given=given)
    got = ingest(request, tmp_path / "raw", SETTINGS)
    assert taken(got)["cells"] == CELLS
    assert set(taken(got)) == {"counts", "cells", "experiment", "transcripts", "morphology", "image"}
    assert set(server.statuses("run_outs.zip")) == {206}
    if compression == zipfile.ZIP_STORED:
        assert server.bytes_sent("run_outs.zip") < len(content)
    sent = server.bytes_sent("he_image.ome.tif")
    again = ingest(request, tmp_path / "raw", SETTINGS)
    assert taken(again) == taken(got)
    assert server.bytes_sent("he_image.ome.tif") == sent


def test_a_large_member_takes_few_requests(server, tmp_path):
    noise = np.random.default_rng(0).bytes(60_000_000)
    content = zipped({"a.bin": noise[:1_000_000], "b.bin": noise, "c.bin": noise[:1_000_000]}, zipfile.ZIP_STORED)
    url = server.put("big.zip", content)
    archive = open_zip(url, SETTINGS)
    opened = server.bytes_sent("big.zip")
    assert opened < 2_000_000
    archives.extract_zip(archive, {"b.bin": tmp_path / "b.bin"}, "big.zip")
    assert (tmp_path / "b.bin").read_bytes() == noise
    assert len(server.statuses("big.zip")) < 20
    assert server.bytes_sent("big.zip") < opened + len(noise) + 34_000_000


def test_a_zip_that_changes_while_it_is_read_is_not_mixed(server, tmp_path):
    noise = np.random.default_rng(0).bytes(3_000_000)
    content = zipped({"a.bin": noise, "b.bin": noise}, zipfile.ZIP_STORED)
    url = server.put("big.zip", content)
    archive = open_zip(url, SETTINGS)
    server.put("big.zip", content[::-1], lambda exchange: exchange.serve(etag='"second"'))
    with pytest.raises(Unreachable, match="changed while it was read"):
        archives.extract_zip(archive, {"a.bin": tmp_path / "a.bin"}, "big.zip")
    assert not (tmp_path / "a.bin").exists()


def test_a_block_that_breaks_off_is_asked_for_again(server, tmp_path):
    noise = np.random.default_rng(0).bytes(3_000_000)
    content = zipped({"a.bin": noise, "b.bin": noise}, zipfile.ZIP_STORED)

    def flaky(exchange):
        exchange.serve(stop_at=1_000_000 if exchange.number == 5 else None)

    archive = open_zip(server.put("big.zip", content, flaky), SETTINGS)
    archives.extract_zip(archive, {"a.bin": tmp_path / "a.bin"}, "big.zip")
    assert (tmp_path / "a.bin").read_bytes() == noise


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_remote_zip_that_is_gone_is_refused(server, status):
    url = server.put("big.zip", b"", lambda exchange: exchange.reply(status))
    with pytest.raises(Refusal, match=str(status)):
        open_zip(url, SETTINGS)


def test_one_member_may_fill_two_roles(tmp_path):
    outs = folder_of(tmp_path / "outs", {"all.zip": zipped({"section.h5ad": H5}), "slide.jpg": JPEG})
    given = {role: ("all.zip!section.h5ad", Checksum()) for role in ("counts", "spots")}
    got = ingest(
        Request("S1", "visium", "file", accession=str(outs), given={**given, "image": ("slide.jpg", Checksum())}),
        tmp_path / "raw",
        SETTINGS,
    )
    assert taken(got) == {"counts": H5, "spots": H5, "image": JPEG}
    in_listing = ingest(Request("S1", "visium", "file", accession=str(outs)), tmp_path / "raw2", SETTINGS)
    assert taken(in_listing) == taken(got)


def test_an_archive_is_listed_once(tmp_path, monkeypatch):
    spatial = tarred({f"spatial/{name.rpartition('/')[2]}": OUTS[name] for name in OUTS if name.startswith("spatial/")})
    files = {"s_filtered_feature_bc_matrix.h5": H5, "s_spatial.tar.gz": spatial, "s_image.jpg": JPEG}
    outs = folder_of(tmp_path / "outs", files)
    request = Request("S1", "visium", "file", accession=str(outs))
    first = ingest(request, tmp_path / "raw", SETTINGS)
    monkeypatch.setattr(archives, "members", lambda *_: pytest.fail("listed again"))
    assert taken(ingest(request, tmp_path / "raw", SETTINGS)) == taken(first)


def tiff() -> bytes:
    import tifffile

    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((8, 8, 3), np.uint8))
    return buffer.getvalue()


def test_a_server_without_ranges_costs_the_whole_zip_and_gives_the_same_files(server, tmp_path):
    content = zipped(BUNDLE)
    url = server.put("run_outs.zip", content, lambda exchange: exchange.serve(ranges=False))
    image = server.put("he_image.ome.tif", tiff())
    request = Request("S1", "xenium", "https", given={"bundle": (url, Checksum()), "image": (image, Checksum())})
    got = ingest(request, tmp_path / "raw", SETTINGS)
    assert taken(got)["cells"] == CELLS
    assert list((tmp_path / "raw/archive").glob("*.zip"))


def test_one_member_can_be_named_in_the_row_by_the_end_of_its_path(server, tmp_path):
    url = server.put("run_outs.zip", zipped(BUNDLE))
    image = server.put("he.ome.tif", tiff())
    given = {
        "counts": (f"{url}!cell_feature_matrix.h5", Checksum()),
        "cells": (f"{url}!outs/cells.parquet", Checksum(size=len(CELLS))),
        "experiment": (f"{url}!experiment.xenium", Checksum()),
        "image": (image, Checksum()),
    }
    got = ingest(Request("S1", "xenium", "https", given=given), tmp_path / "raw", SETTINGS)
    assert taken(got)["cells"] == CELLS
    assert next(one.location for one in got.files if one.role == "counts") == f"{url}!outs/cell_feature_matrix.h5"


def test_a_geo_sample_is_found_by_its_number_alone(server, tmp_path, monkeypatch):
    mirrors = [f"https://{host}.ncbi.nlm.nih.gov/={server.address}/" for host in ("ftp", "www")]
    monkeypatch.setenv("SPOTWEAVE_MIRRORS", " ".join(mirrors))
    home = "geo/samples/GSM9000nnn/GSM9000001/suppl"
    files = {
        "GSM9000001_A_filtered_feature_bc_matrix.h5": H5,
        "GSM9000001_A_tissue_positions_list.csv.gz": gzip.compress(POSITIONS),
        "GSM9000001_A_scalefactors_json.json.gz": gzip.compress(SCALES),
        "GSM9000001_A_tissue_hires_image.png.gz": gzip.compress(b"\x89PNG\r\n\x1a\n"),
        "GSM9000001_A_HE.jpg.gz": gzip.compress(JPEG),
    }
    for name, content in files.items():
        server.put(f"{home}/{name}", content)
    lines = ["#Archive/File\tName\tTime\tSize\tType"]
    lines += [f"File\t{name}\t01/01/2024 00:00:00\t{len(content)}\tX" for name, content in files.items()]
    server.put(f"{home}/filelist.txt", "\n".join(lines).encode())
    server.put(f"{home}/", "".join(f'<a href="{name}">{name}</a>' for name in files).encode())
    got = ingest(Request("S1", "visium", "geo", accession="GSM9000001"), tmp_path / "raw", SETTINGS)
    assert taken(got)["counts"] == H5
    assert gzip.decompress(taken(got)["spots"]) == POSITIONS
    assert taken(got)["image"] == JPEG
    assert got.files[0].location == "geo:GSM9000001/GSM9000001_A_filtered_feature_bc_matrix.h5"
    hires = f"{home}/GSM9000001_A_tissue_hires_image.png.gz"
    assert server.bytes_sent(hires) == 0


def test_requests_survive_their_json_form():
    content = {
        "sample": "S1",
        "reader": "visium",
        "source": "geo",
        "accession": "GSM1",
        "given": {"counts": {"location": "a.h5", "checksum": "bytes:3"}},
    }
    request = parse_request(json.loads(json.dumps(content)))
    assert request == Request("S1", "visium", "geo", accession="GSM1", given={"counts": ("a.h5", Checksum(size=3))})


MEX = {
    f"{folder}/{name}.gz": gzip.compress(f"{folder} {name}".encode(), mtime=0)
    for folder in ("filtered_feature_bc_matrix", "raw_feature_bc_matrix")
    for name in ("matrix.mtx", "features.tsv", "barcodes.tsv")
}
REST = {"spatial/tissue_positions_list.csv": POSITIONS, "slide_HE.jpg": JPEG}


@pytest.mark.parametrize("reads", ["folder", "archive"])
def test_a_matrix_named_in_the_row_gets_its_own_lists_and_not_those_of_another(tmp_path, reads):
    files = {**MEX, **REST} if reads == "folder" else {"all.tar.gz": tarred(MEX), **REST}
    outs = folder_of(tmp_path / "outs", files)
    name = ("all.tar.gz!" if reads == "archive" else "") + "raw_feature_bc_matrix/matrix.mtx.gz"
    request = Request("S1", "visium", "file", accession=str(outs), given={"counts": (name, Checksum())})
    got = taken(ingest(request, tmp_path / "raw", SETTINGS))
    for role, part in {"counts": "matrix.mtx", "features": "features.tsv", "barcodes": "barcodes.tsv"}.items():
        assert gzip.decompress(got[role]) == f"raw_feature_bc_matrix {part}".encode()


def test_lists_of_a_matrix_that_is_not_taken_are_not_taken_either(tmp_path):
    outs = folder_of(tmp_path / "outs", {**MEX, **REST, "other.h5": H5})
    request = Request(
        "S1",
        "visium",
        "file",
        accession=str(outs),
        files="filtered* spatial* slide*",
        given={"counts": ("other.h5", Checksum())},
    )
    assert set(taken(ingest(request, tmp_path / "raw", SETTINGS))) == {"counts", "spots", "image"}


def test_a_matrix_without_its_lists_is_refused_by_their_names(tmp_path):
    outs = folder_of(tmp_path / "outs", {"matrix.mtx": b"x", **REST})
    with pytest.raises(Refusal, match="S1: no file for features, barcodes; name them in the row"):
        ingest(Request("S1", "visium", "file", accession=str(outs)), tmp_path / "raw", SETTINGS)


def test_an_optional_role_that_several_files_could_fill_is_reported(tmp_path):
    outs = folder_of(tmp_path / "outs", {**OUTS, "a_alignment.json": b"{}", "b_alignment.json": b"{}"})
    got = ingest(Request("S1", "visium", "file", accession=str(outs)), tmp_path / "raw", SETTINGS)
    assert got.report["left_open"] == {"alignment": ["a_alignment.json", "b_alignment.json"]}


def test_a_packed_picture_that_was_replaced_is_unpacked_anew(tmp_path):
    outs = folder_of(tmp_path / "outs", {"slide.jpg.gz": gzip.compress(JPEG), **REST, "a.h5": H5})
    request = Request("S1", "visium", "file", accession=str(outs), given={"image": ("slide.jpg.gz", Checksum())})
    assert taken(ingest(request, tmp_path / "raw", SETTINGS))["image"] == JPEG
    other = JPEG.replace(b"picture", b"erutcip")
    (outs / "slide.jpg.gz").write_bytes(gzip.compress(other))
    assert taken(ingest(request, tmp_path / "raw", SETTINGS))["image"] == other


@pytest.mark.parametrize("pack", [tarred, zipped], ids=["tar.gz", "zip"])
def test_members_of_an_archive_that_was_replaced_are_taken_anew(tmp_path, pack):
    name = "s_spatial.tar.gz" if pack is tarred else "s_spatial.zip"
    other = POSITIONS.replace(b"10,20", b"30,40")
    outs = folder_of(tmp_path / "outs", {"a.h5": H5, "slide_HE.jpg": JPEG})
    request = Request("S1", "visium", "file", accession=str(outs))
    for positions in (POSITIONS, other):
        (outs / name).unlink(missing_ok=True)
        (outs / name).write_bytes(pack({"spatial/tissue_positions_list.csv": positions}))
        assert taken(ingest(request, tmp_path / "raw", SETTINGS))["spots"] == positions


def test_members_of_a_remote_zip_that_was_replaced_are_taken_anew(server, tmp_path):
    image = (server.put("he_image.ome.tif", tiff()), Checksum())
    other = CELLS.replace(b"cells", b"sllec")
    for cells in (CELLS, other):
        url = server.put("run_outs.zip", zipped({**BUNDLE, "outs/cells.parquet": cells}))
        request = Request("S1", "xenium", "https", given={"bundle": (url, Checksum()), "image": image})
        assert taken(ingest(request, tmp_path / "raw", SETTINGS))["cells"] == cells


def test_a_local_archive_is_read_once_to_list_and_once_to_take_and_then_no_more(tmp_path, monkeypatch):
    outs = folder_of(tmp_path / "outs", {"s_spatial.tar.gz": tarred(REST), "a.h5": H5, "slide_HE.jpg": JPEG})
    opened: list[Path] = []
    open_tar = archives._open_tar
    monkeypatch.setattr(archives, "_open_tar", lambda path, *rest: opened.append(path) or open_tar(path, *rest))
    for reads in (2, 2):
        ingest(Request("S1", "visium", "file", accession=str(outs)), tmp_path / "raw", SETTINGS)
        assert len(opened) == reads


def test_the_listing_goes_on_where_an_archive_of_the_row_ends(tmp_path):
    files = {
        "a_spatial.tar.gz": tarred(REST),
        "a_filtered_feature_bc_matrix.tar.gz": tarred({name: MEX[name] for name in MEX if name.startswith("filtered")}),
        "slide_HE.jpg": JPEG,
    }
    outs = folder_of(tmp_path / "outs", files)
    request = Request("S1", "visium", "file", accession=str(outs), given={"spatial": ("a_spatial.tar.gz", Checksum())})
    got = ingest(request, tmp_path / "raw", SETTINGS)
    assert set(taken(got)) == {"counts", "features", "barcodes", "spots", "image"}
    assert len(got.report["archives_opened"]) == 2


def test_an_archive_inside_an_archive_is_refused(tmp_path):
    given = {"bundle": ("https://host/all.zip!inner.zip", Checksum())}
    with pytest.raises(Refusal, match=r"bundle: https://host/all\.zip!inner\.zip: an archive inside an archive"):
        ingest(Request("S1", "xenium", "https", given=given), tmp_path / "raw", SETTINGS)


def test_a_checksum_of_an_archive_holds_for_members_that_the_row_names(server, tmp_path):
    url = server.put("run_outs.zip", zipped(BUNDLE))
    given = {"bundle": (url, Checksum(sha256="0" * 64)), "cells": (f"{url}!cells.parquet", Checksum())}
    with pytest.raises(Refusal, match="not the file of the row"):
        ingest(Request("S1", "xenium", "https", given=given), tmp_path / "raw", SETTINGS)


def test_a_link_to_a_zip_with_a_query_is_read_by_ranges_and_its_token_is_not_logged(server, tmp_path, caplog):
    url = server.put("run_outs.zip", zipped(BUNDLE)) + "?download=1&token=secret"
    image = server.put("he_image.ome.tif", tiff())
    request = Request("S1", "xenium", "https", given={"bundle": (url, Checksum()), "image": (image, Checksum())})
    with caplog.at_level("INFO"):
        got = ingest(request, tmp_path / "raw", SETTINGS)
    assert set(server.statuses("run_outs.zip")) == {206}
    assert taken(got)["cells"] == CELLS
    assert "outs/cells.parquet" in caplog.text
    assert "secret" not in caplog.text


def test_a_file_that_fills_two_roles_is_fetched_once(server, tmp_path):
    url = server.put("section.h5ad", H5)
    given = {role: (url, Checksum()) for role in ("counts", "spots")}
    given["image"] = (server.put("slide.jpg", JPEG), Checksum())
    ingest(Request("S1", "visium", "https", given=given), tmp_path / "raw", SETTINGS)
    assert server.bytes_sent("section.h5ad") == len(H5)


# --- links and paths of one's own machine ---------------------------------------------------------


@pytest.mark.parametrize("linked", ["outs", "outs/spatial"])
def test_files_behind_a_linked_folder_are_found(tmp_path, linked):
    folder_of(tmp_path / "deposit/outs", OUTS)
    away = tmp_path / "elsewhere"
    (tmp_path / "deposit" / linked).rename(away)
    (tmp_path / "deposit" / linked).symlink_to(away)
    request = Request("S1", "visium", "file", accession=str(tmp_path / "deposit"))
    got = ingest(request, tmp_path / "raw", SETTINGS)
    assert taken(got) == {"counts": H5, "spots": POSITIONS, "scalefactors": SCALES, "image": JPEG}
    assert got.report["files_listed"] == len(OUTS)
    assert "links_passed_over" not in got.report


def test_a_folder_that_two_links_lead_to_is_listed_once_and_at_its_own_place(tmp_path):
    outs = folder_of(tmp_path / "outs", OUTS)
    (outs / "a_spatial").symlink_to(outs / "spatial")
    (outs / "b_spatial").symlink_to("spatial")
    listing = sources.SOURCES.load("file").list_files(str(outs), SETTINGS)
    assert [file.name for file in listing.files] == sorted(OUTS)
    assert listing.notes == ()


def test_links_in_a_circle_and_links_to_nothing_are_said_and_the_rest_is_found(tmp_path):
    outs = folder_of(tmp_path / "outs", OUTS)
    (outs / "spatial/up").symlink_to("..")
    (outs / "self").symlink_to("self")
    (outs / "gone.h5").symlink_to("nothing.h5")
    (outs / "a").symlink_to("b")
    (outs / "b").symlink_to("a")
    got = ingest(Request("S1", "visium", "file", accession=str(outs)), tmp_path / "raw", SETTINGS)
    assert got.report["files_listed"] == len(OUTS)
    said = got.report["links_passed_over"]
    assert [note.split(":")[0] for note in said] == ["a", "b", "gone.h5", "self", "spatial/up"]
    assert all("circle" in note for note in said)


def test_a_deposit_of_nothing_but_circles_says_so(tmp_path):
    (tmp_path / "outs").mkdir()
    (tmp_path / "outs/again").symlink_to(".")
    with pytest.raises(Refusal, match="again: a link that leads in a circle"):
        ingest(Request("S1", "visium", "file", accession=str(tmp_path / "outs")), tmp_path / "raw", SETTINGS)


AS_WRITTEN = ["my counts.h5", "a%20b.h5", "new!.h5", "old!data/c.h5", "100% sure!.h5", "#1 (copy).h5", "größe.h5"]


@pytest.mark.parametrize("name", AS_WRITTEN)
@pytest.mark.parametrize("how", ["absolute", "relative to the folder", "the folder's listing"])
def test_a_path_is_written_as_it_is_on_the_disk(tmp_path, name, how):
    files = {name: content for name, content in OUTS.items() if not name.endswith(".h5")}
    outs = folder_of(tmp_path / "a !%20 folder", {**files, name: H5 + b"mine"})
    cell = {"absolute": str(outs / name), "relative to the folder": name}
    given = {"counts": (cell[how], Checksum())} if how in cell else {}
    got = ingest(Request("S1", "visium", "file", accession=str(outs), given=given), tmp_path / "raw", SETTINGS)
    assert taken(got)["counts"] == H5 + b"mine"


def test_a_path_copied_from_an_address_is_found_too_and_the_literal_one_first(tmp_path):
    folder = folder_of(tmp_path, {"my counts.h5": b"blank"})
    assert local_path(f"{folder}/my%20counts.h5").read_bytes() == b"blank"
    assert local_path(f"file://{folder}/my%20counts.h5").read_bytes() == b"blank"
    folder_of(tmp_path, {"my%20counts.h5": b"literal"})
    assert local_path(f"{folder}/my%20counts.h5").read_bytes() == b"literal"
    assert local_path(f"file://{folder}/my%20counts.h5").read_bytes() == b"blank"


def test_a_mark_in_a_local_path_parts_an_archive_only_where_no_file_has_the_whole_name(tmp_path):
    folder = folder_of(tmp_path / "x!y", {"outs.zip": zipped(OUTS), "a.zip!b.h5": H5})
    inside = find_place(f"{folder}/outs.zip!spatial/tissue_positions_list.csv", "file", None)
    assert (inside.location, inside.member) == (f"{folder}/outs.zip", "spatial/tissue_positions_list.csv")
    whole = find_place("a.zip!b.h5", "file", str(folder))
    assert (whole.location, whole.member) == (f"{folder}/a.zip!b.h5", None)
    absent = find_place("none!.h5", "file", str(folder))
    assert (absent.location, absent.member) == (f"{folder}/none!.h5", None)
    not_yet = find_place("later.tar.gz!m.h5", "file", str(folder))
    assert (not_yet.location, not_yet.member) == (f"{folder}/later.tar.gz", "m.h5")


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [tarred, zipped], ids=["tar.gz", "zip"])
def test_a_member_is_the_end_of_a_path_and_not_of_a_name(tmp_path, pack):
    archive = tmp_path / ("a.tar.gz" if pack is tarred else "a.zip")
    archive.write_bytes(pack({"x/old_counts.h5": H5 + b"old", "x/new/counts.h5": H5 + b"new"}))
    outs = folder_of(tmp_path / "outs", {name: content for name, content in OUTS.items() if not name.endswith("h5")})
    given = {"counts": (f"{archive}!counts.h5", Checksum())}
    got = ingest(Request("S1", "visium", "file", accession=str(outs), given=given), tmp_path / "raw", SETTINGS)
    assert taken(got)["counts"] == H5 + b"new"
    wrong = {"counts": (f"{archive}!ounts.h5", Checksum())}
    with pytest.raises(Refusal, match=r"no member is called 'ounts.h5'"):
        ingest(Request("S1", "visium", "file", accession=str(outs), given=wrong), tmp_path / "raw2", SETTINGS)


@pytest.mark.parametrize(
    ("there", "asked", "write"),
    [
        (["square_002um"], None, "square_002um"),
        (["square_008um", "square_002um"], None, "square_002um"),
        (["square_002um", "square_016um"], "square_008um", "square_002um"),
        (["square_016um"], "cell", "square_016um"),
    ],
)
def test_an_hd_deposit_without_the_unit_says_which_there_are_and_what_to_write(tmp_path, there, asked, write):
    files = {
        f"binned_outputs/{unit}/{name}": content
        for unit in there
        for name, content in {"filtered_feature_bc_matrix.h5": H5, "spatial/tissue_positions.parquet": CELLS}.items()
    }
    outs = folder_of(tmp_path / "outs", {**files, "tissue_image.jpg": JPEG})
    with pytest.raises(Refusal, match=rf"there is only {', '.join(sorted(there))}, and not (\w+)") as refusal:
        ingest(Request("S1", "visium_hd", "file", accession=str(outs), unit=asked), tmp_path / "raw", SETTINGS)
    assert f"and not {asked or 'square_016um'}" in refusal.value.reason
    assert f"write {write} in the column 'unit'" in refusal.value.reason


def test_the_end_of_a_members_path_is_whole_names_only():
    archive = object.__new__(Archive)
    archive.name, archive._remote = "a.tar", None
    names = ("run/outs/matrix.h5", "run/outs/raw_matrix.h5", "matrix.h5.sha256", "run/spatial/positions.csv")
    archive._members = tuple(Member(name, 1) for name in names)
    assert archive.find("matrix.h5", "counts") == "run/outs/matrix.h5"
    assert archive.find("spatial/positions.csv", "spots") == "run/spatial/positions.csv"
    assert archive.find("run/outs/raw_matrix.h5", "counts") == "run/outs/raw_matrix.h5"
    for ending in ("ositions.csv", "atial/positions.csv", "x5"):
        with pytest.raises(Refusal, match="no member is called"):
            archive.find(ending, "spots")
