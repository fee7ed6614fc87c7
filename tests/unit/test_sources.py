"""The contract of the sources, and what they know about names, addresses and file formats."""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import io
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pyvips
import requests
import tifffile
import urllib3
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from real_data import DATA, NOT_HERE
from spotweave import sources
from spotweave.errors import Refusal
from spotweave.sources import Place, file
from spotweave.transfer import content, digests, disk, http
from spotweave.transfer.files import Checksum, Fetched, FetchSettings, Listing, Wanted, parse_checksum
from spotweave.transfer.local import local_sizes

WORKFLOW = Path(sources.__file__).resolve().parents[2]
PACKAGE = Path(sources.__file__).parent
SHARED = DATA
SETTINGS = FetchSettings(backoff_s=0)
HEX = "0123456789abcdef"

checksums = st.builds(
    Checksum,
    st.none() | st.text(HEX, min_size=64, max_size=64),
    st.none() | st.text(HEX, min_size=32, max_size=32),
    st.none() | st.integers(1, 10**15),
)


@given(checksums)
def test_a_checksum_is_parsed_back_from_its_text(checksum):
    assert parse_checksum(str(checksum)) == checksum


def test_an_empty_checksum_asks_nothing():
    assert parse_checksum("") == parse_checksum(None) == parse_checksum(" ; ") == Checksum()
    assert not Checksum().has_hash


def test_a_checksum_may_be_written_in_capitals_and_in_any_order():
    assert parse_checksum(f" bytes:7 ; MD5: {'A' * 32}") == Checksum(md5="a" * 32, size=7)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a" * 64, "sha256:<hex>"),
        ("sha1:" + "a" * 40, "sha256:<hex>"),
        ("sha256:" + "a" * 63, "64 hexadecimal digits"),
        ("md5:" + "g" * 32, "32 hexadecimal digits"),
        ("bytes:-1", "whole number"),
        ("bytes:0", "whole number"),
        ("bytes:1e6", "whole number"),
        ("bytes:²", "whole number"),
        ("bytes:1;bytes:1", "twice"),
    ],
)
def test_a_faulty_checksum_is_explained(text, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        parse_checksum(text)


@pytest.mark.parametrize("name", sources.SOURCES.names())
def test_every_source_keeps_the_contract(name, tmp_path):
    source = sources.SOURCES.load(name)
    expected = {
        source.fetch: ({"wanted": Wanted, "folder": Path, "settings": FetchSettings}, Fetched),
        source.list_files: ({"accession": str, "settings": FetchSettings}, Listing),
    }
    for function, (parameters, returned) in expected.items():
        signature = inspect.signature(function, eval_str=True)
        assert {key: value.annotation for key, value in signature.parameters.items()} == parameters
        assert signature.return_annotation is returned
        assert function.__doc__
    assert importlib.import_module(f"spotweave.sources.{name}").__doc__
    assert re.compile(source.ACCESSION)
    with pytest.raises(Refusal, match="ftp:"):
        source.fetch(Wanted("image", "ftp://nowhere.invalid/no such file.tif"), tmp_path / "raw", SETTINGS)
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize("name", sources.SOURCES.names())
def test_every_source_refuses_an_accession_that_is_none(name):
    with pytest.raises(Refusal, match="no such accession"):
        sources.SOURCES.load(name).list_files("no such accession", SETTINGS)


def test_an_unknown_source_is_explained():
    with pytest.raises(ValueError, match=r"'_disk' is no source, allowed: .*file, .*https, .*zenodo"):
        sources.SOURCES.load("_disk")


@pytest.mark.parametrize(
    ("text", "source", "accession", "place"),
    [
        ("https://host/a.zip", "geo", "GSM1", Place("https", "https://host/a.zip")),
        ("https://host/a.zip!in/b.h5", "geo", "GSM1", Place("https", "https://host/a.zip", "in/b.h5")),
        ("zenodo:4751624/B4.jpg", "geo", "GSM1", Place("zenodo", "4751624/B4.jpg")),
        ("GSM1_A.h5", "geo", "GSM1", Place("geo", "GSM1/GSM1_A.h5")),
        ("spatial/p.csv", "file", "/data/outs", Place("file", "/data/outs/spatial/p.csv")),
        ("/other/p.csv", "file", "/data/outs", Place("file", "/other/p.csv")),
        ("p.csv", "file", None, Place("file", "p.csv")),
        ("C:odd.csv", "file", None, Place("file", "C:odd.csv")),
    ],
)
def test_a_cell_says_from_which_source_a_file_comes(text, source, accession, place):
    assert sources.find_place(text, source, accession) == place


def test_the_package_does_not_import_its_sources():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not [name for name in imported if name.startswith("spotweave.sources")]


def test_checksums_are_validated_without_heavy_imports():
    code = "import sys, spotweave.sources; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(WORKFLOW)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert not {"requests", "urllib3", "numpy", "tqdm", "tenacity"} & set(done.stdout.split())


@pytest.mark.parametrize("bad", [{"attempts": 0}, {"timeout_s": 0}, {"backoff_s": -1}, {"chunk_bytes": 0}])
def test_settings_out_of_range_are_not_taken(bad):
    with pytest.raises(ValueError, match="out of range"):
        FetchSettings(**bad)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.org/a/B1.tsv.gz", "B1.tsv.gz"),
        ("https://example.org/a/B1.tsv.gz?download=1#top", "B1.tsv.gz"),
        ("https://example.org/a/B%201%2Bx.tif", "B_1+x.tif"),
        ("https://example.org/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "_.._etc_passwd"),
        ("https://example.org/..%5c..%5cx.csv", "_.._x.csv"),
        ("https://example.org/.hidden", "hidden"),
        ("https://example.org/a%00b.csv", "a_b.csv"),
        ("https://example.org/" + "x" * 300 + ".ome.tif", "x" * 172 + ".ome.tif"),
    ],
)
def test_a_file_is_named_by_the_last_part_of_its_address(url, name):
    assert http.file_name(url) == name


@pytest.mark.parametrize(
    "url", ["https://example.org", "https://example.org/a/", "https://example.org/..", "https://[x/a"]
)
def test_an_address_without_a_file_is_refused(url):
    with pytest.raises(Refusal):
        http.file_name(url)


@given(st.text(max_size=200))
def test_no_address_leads_out_of_the_folder(text):
    try:
        name = http.file_name(f"https://example.org/{text}")
    except Refusal:
        return
    assert Path(name).name == name
    assert not name.startswith(".")
    assert len(name.encode()) <= http.LONGEST_NAME


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.org/a.csv", "https://example.org/a.csv"),
        ("https://example.org/a.csv?X-Amz-Signature=abc", "https://example.org/a.csv?…"),
        ("https://me:secret@example.org/a.csv", "https://example.org/a.csv"),
        ("https://me:p@ss@example.org/a.csv#frag", "https://example.org/a.csv"),
        ("https://example.org/a@b.csv", "https://example.org/a@b.csv"),
    ],
)
def test_addresses_are_shown_without_secrets(url, shown):
    assert http.redacted(url) == shown


def test_errors_are_told_without_the_address_they_speak_of():
    retries = urllib3.exceptions.MaxRetryError(None, "http://me:secret@a.org/f.csv?token=secret", None)
    assert "secret" not in http._said(requests.ConnectionError(retries))
    assert "secret" not in http._said(requests.exceptions.InvalidURL("Invalid URL 'http://?token=secret'"))


def test_the_longest_mirror_prefix_wins():
    mirrors = "https://a.org/=http://127.0.0.1:1/\n  https://a.org/deep/=http://127.0.0.1:2/x=y/"
    assert http.mirrored("https://a.org/f.csv", mirrors) == "http://127.0.0.1:1/f.csv"
    assert http.mirrored("https://a.org/deep/f.csv", mirrors) == "http://127.0.0.1:2/x=y/f.csv"
    assert http.mirrored("https://b.org/f.csv", mirrors) == "https://b.org/f.csv"
    assert http.mirrored("https://b.org/f.csv", "") == "https://b.org/f.csv"


@pytest.mark.parametrize("mirrors", ["https://a.org/", "=http://127.0.0.1/", "https://a.org/="])
def test_a_faulty_mirror_is_explained(mirrors):
    with pytest.raises(ValueError, match="SPOTWEAVE_MIRRORS"):
        http.mirrored("https://b.org/f.csv", mirrors)


def given_file(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_a_local_file_is_used_where_it_is(tmp_path):
    path = given_file(tmp_path, "spots.csv", b"x,y\n1,2\n")
    path.chmod(0o444)
    got = file.fetch(Wanted("spots", str(path), parse_checksum("bytes:8")), tmp_path / "raw", SETTINGS)
    assert got == Fetched(path, "spots.csv", 8, hashlib.sha256(b"x,y\n1,2\n").hexdigest())
    assert [found.name for found in tmp_path.iterdir()] == ["spots.csv"]


def test_a_relative_path_stays_relative(tmp_path, monkeypatch):
    given_file(tmp_path, "spots.csv", b"x,y\n")
    monkeypatch.chdir(tmp_path)
    assert file.fetch(Wanted("spots", "spots.csv"), tmp_path, SETTINGS).path == Path("spots.csv")


def test_a_path_may_start_at_home_or_be_a_file_url(tmp_path, monkeypatch):
    path = given_file(tmp_path, "my spots.csv", b"x,y\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for location in ("~/my spots.csv", f"file://{tmp_path}/my%20spots.csv", f"file://localhost{path}"):
        assert file.fetch(Wanted("spots", location), tmp_path, SETTINGS).path == path


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("~nosuch/x.tsv", "there is no user 'nosuch' here"),
        ("~nosuch", "there is no user 'nosuch' here"),
        ("file://[x", "not an address"),
        ("file://elsewhere/x.tsv", "names a file of another machine"),
        ("a" * 300, "names no file"),
        ("a/" * 5000, "names no file"),
        ("a\0b", "names no file"),
        ("file:///a%00b", "names no file"),
        ("//[x", "there is no such file"),
    ],
)
def test_a_cell_that_names_no_file_is_one_refusal_and_stops_no_table(cell, words, tmp_path):
    place = sources.find_place(cell, "file", None)
    with pytest.raises(Refusal, match=words) as refusal:
        file.fetch(Wanted("counts", place.location), tmp_path, FetchSettings())
    assert "\n" not in refusal.value.reason
    assert local_sizes([place.location], place.location)[0].endswith(":missing")


def test_sizes_of_local_files_tell_that_one_changed(tmp_path):
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/c").write_bytes(b"1")
    assert local_sizes([str(tmp_path / "a"), str(tmp_path / "no")], str(tmp_path / "b")) == [
        f"{tmp_path}/a:3",
        f"{tmp_path}/no:missing",
        f"{tmp_path}/b/c:1",
    ]


def test_a_symbolic_link_is_followed_and_keeps_its_name(tmp_path):
    given_file(tmp_path, "blob", b"x,y\n")
    (tmp_path / "spots.csv").symlink_to("blob")
    assert file.fetch(Wanted("spots", str(tmp_path / "spots.csv")), tmp_path, SETTINGS).name == "spots.csv"


def test_local_files_that_cannot_be_used_are_refused(tmp_path):
    given_file(tmp_path, "empty.csv", b"")
    given_file(tmp_path, "spots.csv", b"<html>sign in</html>")
    given_file(tmp_path, "image.png", b"\xff\xd8\xff")
    given_file(tmp_path, "counts.csv", b"x,y\n")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "broken.csv").symlink_to("nothing")
    cases = {
        "gone.csv": "no such file",
        "counts.csv/below": "no such file",
        "broken.csv": "no such file",
        ".": "not a file",
        "pipe": "not a file",
        "empty.csv": "empty",
        "spots.csv": "web page",
        "image.png": "not a PNG picture",
    }
    for name, words in cases.items():
        with pytest.raises(Refusal, match=words) as caught:
            file.fetch(Wanted("counts", f"{tmp_path}/{name}"), tmp_path, SETTINGS)
        assert f"{tmp_path}/{name}" in caught.value.reason
    with pytest.raises(Refusal, match="another machine"):
        file.fetch(Wanted("counts", "file://server/share/x.csv"), tmp_path, SETTINGS)
    with pytest.raises(Refusal, match="not the file of the row") as caught:
        file.fetch(Wanted("counts", str(tmp_path / "counts.csv"), Checksum(md5="0" * 32)), tmp_path, SETTINGS)
    assert caught.value.measured == hashlib.md5(b"x,y\n").hexdigest()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_local_file_without_permission_is_refused(tmp_path):
    path = given_file(tmp_path, "counts.csv", b"x,y\n")
    path.chmod(0)
    with pytest.raises(Refusal, match="permissions"):
        file.fetch(Wanted("counts", str(path)), tmp_path, SETTINGS)


RGB = np.random.default_rng(0).integers(0, 255, (64, 80, 3), dtype=np.uint8)


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, kind)
    return buffer.getvalue()


def tiff(**options) -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, **options) as writer:
        writer.write(RGB, photometric="rgb", tile=(32, 32), subifds=1)
        writer.write(RGB[::2, ::2], photometric="rgb", subfiletype=1)
        writer.write(RGB, photometric="rgb")
    return buffer.getvalue()


def pyramid() -> bytes:
    """As libtiff writes it, directories last."""
    options = {"tile": True, "pyramid": True, "tile_width": 32, "tile_height": 32}
    return pyvips.Image.new_from_array(RGB).tiffsave_buffer(**options)


def hdf5(libver: str, userblock: int = 0) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=libver, userblock_size=userblock) as handle:
        handle["counts"] = np.arange(5000)
    return buffer.getvalue()


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as handle:
        handle.writestr("cells.csv", "x,y\n" * 1000)
    return buffer.getvalue()


def parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"x": range(1000)}), buffer)
    return buffer.getvalue()


FORMATS: dict[str, Callable[[], bytes]] = {
    "a.jpg": lambda: picture("jpeg"),
    "b.png": lambda: picture("png"),
    "c.tif": tiff,
    "d.btf": lambda: tiff(bigtiff=True),
    "e.ome.tif": lambda: tiff(byteorder=">"),
    "f.tiff": lambda: tiff(bigtiff=True, byteorder=">"),
    "g.svs": pyramid,
    "h.h5": lambda: hdf5("earliest"),
    "i.h5ad": lambda: hdf5("latest"),
    "j.h5": lambda: hdf5("earliest", 1024),
    "k.zip": archive,
    "l.parquet": parquet,
}


@pytest.mark.parametrize("name", FORMATS)
def test_files_written_by_the_libraries_are_taken_and_cut_ones_refused(tmp_path, name):
    content = FORMATS[name]()
    path = given_file(tmp_path, name, content)
    assert file.fetch(Wanted("image", str(path)), tmp_path, SETTINGS).bytes == len(content)
    for fraction in (0.3, 0.6, 0.95):
        path.write_bytes(content[: int(fraction * len(content))])
        with pytest.raises(Refusal, match="ends too early"):
            file.fetch(Wanted("image", str(path)), tmp_path, SETTINGS)


@given(st.binary(max_size=200))
def test_any_bytes_after_a_signature_are_judged_without_a_crash(tmp_path_factory, tail):
    folder = tmp_path_factory.getbasetemp() / "any_bytes"
    folder.mkdir(exist_ok=True)
    starts = [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\x89HDF\r\n\x1a\n", b"\x1f\x8b", b"PK\x03\x04"]
    for start, name in zip(starts, ["a.tif", "b.tif", "c.tif", "d.tif", "e.h5", "f.gz", "g.zip"], strict=True):
        path = given_file(folder, name, start + tail)
        content.check_head("image", name, path.read_bytes())
        try:
            content.check_whole("image", path, name)
        except Refusal:
            continue


def test_the_real_files_of_publishers_are_taken():
    if not SHARED.is_dir():
        pytest.skip(f"{NOT_HERE}{SHARED}")
    # The schema example names two plain text files .gz.
    misnamed = {"barcodes.tsv.gz", "features.tsv.gz"}
    paths = [path for path in sorted(SHARED.rglob("*")) if path.is_file()]
    paths = [path for path in paths if not ("visium_hd_schema" in path.parts and path.name in misnamed)]
    assert len(paths) > 50
    assert {".gz", ".jpg", ".svs", ".h5", ".parquet"} <= {path.suffix for path in paths}
    for path in paths:
        got = file.fetch(Wanted("counts", str(path)), Path(), SETTINGS)
        assert got.bytes == path.stat().st_size


def test_a_record_that_was_cut_off_is_not_believed(tmp_path):
    target = given_file(tmp_path, "a.csv", b"x,y\n")
    disk.record_path(target).write_text('{"url": "https://a.org/a.csv", "byt')
    assert disk.kept(target, Wanted("spots", "https://a.org/a.csv")) is None


def test_a_file_put_there_by_hand_is_taken_if_it_meets_the_hash(tmp_path):
    target = given_file(tmp_path, "a.csv", b"x,y\n")
    asked = Checksum(sha256=hashlib.sha256(b"x,y\n").hexdigest())
    assert disk.kept(target, Wanted("spots", "https://a.org/a.csv")) is None
    assert disk.kept(target, Wanted("spots", "https://a.org/a.csv", asked)) is not None
    assert disk.kept(target, Wanted("spots", "https://a.org/a.csv")) is not None


@pytest.mark.parametrize("size", [0, 1, 5000, None])
def test_of_a_file_no_more_is_hashed_than_is_asked_for(size, tmp_path):
    content = bytes(range(256)) * 40
    (tmp_path / "a").write_bytes(content)
    found = digests.digest_file(tmp_path / "a", Checksum(), size).found
    assert found.sha256 == hashlib.sha256(content[:size]).hexdigest()
    assert found.size == (len(content) if size is None else size)
