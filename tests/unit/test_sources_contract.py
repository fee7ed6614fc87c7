"""What holds for every source, held against a small publisher that answers as the real one does."""

from __future__ import annotations

import csv
import hashlib
import importlib
import inspect
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import quote

import pytest
import yaml
from test_sources_archives import (
    CONTENT,
    MD5,
    OTHER,
    SETTINGS,
    SHA256,
    TOKEN,
    Deposit,
    Publisher,
    bring,
    forget,
    publish_geo,
    publish_github,
    publish_hca,
    publish_huggingface,
    publish_spatial_research,
    publish_synapse,
    publish_tenx,
    publisher,
)

from faults.fault_server import answers, drops_at
from spotweave import sources
from spotweave.errors import Refusal
from spotweave.onboard.accession import detect_source, page_of
from spotweave.tables.rows import read_table
from spotweave.transfer.api import Locating
from spotweave.transfer.files import Fetched, FetchSettings, Listing, Unreachable, Wanted

ROOT = Path(__file__).resolve().parents[2]
TABLE, SCHEMA = ROOT / "resources/sources.csv", ROOT / "workflow/schemas/sources.schema.yaml"
NAMES = sources.SOURCES.names()
ROWS = {row["source"]: row for row in csv.DictReader(TABLE.read_text(encoding="utf-8").splitlines())}

__all__ = ["publisher"]  # a fixture


def account_of(name: str) -> str:
    """The environment variable with the token of a source; empty where it has none."""
    return str(sources.SOURCES.constant(name, "ACCOUNT", ""))


@dataclass(frozen=True)
class Known:
    """A source and its deposit: the location that `fetch` takes is not always `<accession>/<name>`."""

    source: str
    deposit: Deposit
    place: str

    def listed(self) -> Listing:
        forget()
        return sources.SOURCES.load(self.source).list_files(self.deposit.accession, SETTINGS)

    def bring(self, folder: Path, checksum: str = "", settings: FetchSettings = SETTINGS) -> Fetched:
        forget()
        return bring(self.source, self.place, folder, checksum, settings)


def publish_https(server: Publisher) -> Deposit:
    server.stands_for("https://example.org/", "web")
    server.put("web/spots.csv", CONTENT)
    return Deposit("https://example.org/spots.csv", "spots.csv", "web/spots.csv", "https://example.org/no.csv")


def publish_zenodo(server: Publisher) -> Deposit:
    server.stands_for("https://zenodo.org/", "zenodo")
    files = [
        {"id": "1", "key": "a.csv", "size": 5, "checksum": "md5:" + "0" * 32},
        {"id": "2", "key": "spots.csv", "size": len(CONTENT), "checksum": f"md5:{MD5}"},
    ]
    record = {"id": 4751624, "files": files, "metadata": {"title": "her2st", "license": {"id": "cc-by-4.0"}}}
    server.says("zenodo/api/records/4751624", record)
    path = "zenodo/api/records/4751624/files/spots.csv/content"
    server.put(path, CONTENT)
    return Deposit("4751624", "spots.csv", path, "999999999")


def publish_figshare(server: Publisher) -> Deposit:
    server.stands_for("https://api.figshare.com/", "figshare")
    file = {"id": 31621547, "name": "spots.csv", "size": len(CONTENT), "is_link_only": False, "computed_md5": MD5}
    article = {
        "id": 17087765,
        "version": 2,
        "title": "Sections",
        "files": [file],
        "license": {"value": 1, "name": "CC BY 4.0", "url": "https://creativecommons.org/licenses/by/4.0/"},
    }
    server.says("figshare/v2/articles/17087765/versions/2", article)
    address = server.put("s3/spots", CONTENT)
    server.put("figshare/v2/file/download/31621547", b"", answers(302, Location=f"{address}?X-Amz-Signature=abc"))
    return Deposit("17087765/versions/2", "spots.csv", "s3/spots", "999999999")


def publish_mendeley(server: Publisher) -> Deposit:
    server.stands_for("https://data.mendeley.com/", "mendeley")
    base = "mendeley/public-api/datasets/svw96g68dv"
    server.says(f"{base}/folders/5", [{"id": "f1", "name": "S1", "parent_id": None}])
    details = {
        "id": "c1",
        "sha256_hash": SHA256,
        "size": len(CONTENT),
        "content_type": "text/csv",
        "download_url": "https://data.mendeley.com/public-files/datasets/svw96g68dv/files/c1/file_downloaded",
    }
    file = {"id": "c1", "filename": "spots.csv", "size": len(CONTENT), "content_details": details}
    server.says(f"{base}/files", lambda question: [file] if question["folder_id"] == "f1" else [])
    server.says(base, {"id": "svw96g68dv", "name": "Sections", "data_licence": {"short_name": "CC BY 4.0"}})
    path = "mendeley/public-files/datasets/svw96g68dv/files/c1/file_downloaded"
    server.put(path, CONTENT)
    return Deposit("svw96g68dv/5", "S1/spots.csv", path, "svw96g68dv/6")


def publish_dryad(server: Publisher) -> Deposit:
    server.stands_for("https://datadryad.org/", "dryad")
    doi = "10.5061/dryad.x0k6djhmx"
    links = {"stash:version": {"href": "/api/v2/versions/7"}}
    about = {"title": "Sections", "license": "https://spdx.org/licenses/CC0-1.0.html", "_links": links}
    server.says(f"dryad/api/v2/datasets/{quote('doi:' + doi, safe='')}", about)
    file = {
        "path": "spots.csv",
        "size": len(CONTENT),
        "digestType": "sha-256",
        "digest": SHA256,
        "_links": {"stash:download": {"href": "/api/v2/files/9/download"}},
    }
    pages = {"_links": {}, "count": 1, "total": 1, "_embedded": {"stash:files": [file]}}
    server.says("dryad/api/v2/versions/7/files", pages)
    server.put("dryad/api/v2/files/9/download", CONTENT)
    return Deposit(doi, "spots.csv", "dryad/api/v2/files/9/download", "10.5061/dryad.nothing")


def publish_biostudies(server: Publisher) -> Deposit:
    server.stands_for("https://www.ebi.ac.uk/biostudies/", "ebi")
    entries = [
        {"path": "a.csv", "size": 5, "type": "file", "Name": "a.csv"},
        {"path": "S1/spots.csv", "size": len(CONTENT), "type": "file", "Name": "spots.csv"},
    ]

    def page(question: dict[str, str]) -> dict[str, object]:
        start = int(question.get("offset", 0))
        return {"recordsTotal": 2, "recordsFiltered": 2, "data": entries[start : start + 500]}

    server.says("ebi/api/v1/files/E-MTAB-11114", page)
    server.put("ebi/files/E-MTAB-11114/S1/spots.csv", CONTENT)
    return Deposit("E-MTAB-11114", "S1/spots.csv", "ebi/files/E-MTAB-11114/S1/spots.csv", "E-MTAB-99999")


PUBLISHERS: dict[str, Callable[[Publisher], Deposit]] = {
    "biostudies": publish_biostudies,
    "dryad": publish_dryad,
    "figshare": publish_figshare,
    "geo": publish_geo,
    "github": publish_github,
    "hca": publish_hca,
    "https": publish_https,
    "huggingface": publish_huggingface,
    "mendeley": publish_mendeley,
    "spatial_research": publish_spatial_research,
    "tenx": publish_tenx,
    "zenodo": publish_zenodo,
}
REMOTE = [name for name in NAMES if name != "file"]
WITH_TOKEN = [name for name in NAMES if account_of(name)]
LISTING = [name for name in NAMES if ROWS.get(name, {}).get("lists") == "yes"]
every_source = pytest.mark.parametrize("name", NAMES)


def of(names: list[str]) -> pytest.MarkDecorator:
    """Run a test for the deposit of each of these sources."""
    return pytest.mark.parametrize("known", names, indirect=True)


@pytest.fixture
def known(request, publisher, monkeypatch, tmp_path) -> Known:
    """The deposit of the source that a test is run for; tokens are set where a source needs one."""
    name = request.param
    if account_of(name):
        monkeypatch.setenv(account_of(name), TOKEN)
    if name == "file":
        (tmp_path / "given").mkdir()
        (tmp_path / "given/spots.csv").write_bytes(CONTENT)
        folder = f"{tmp_path}/given"
        return Known(name, Deposit(folder, "spots.csv", "", f"{tmp_path}/no_such_folder"), f"{folder}/spots.csv")
    made = publish_synapse(publisher, monkeypatch) if name == "synapse" else PUBLISHERS[name](publisher)
    return Known(name, made, made.accession if name == "https" else made.location)


# --- the table ------------------------------------------------------------------------------------------------------


def test_every_source_has_its_row_and_every_row_its_source() -> None:
    assert sorted(ROWS) == list(NAMES)
    assert sorted([*PUBLISHERS, "file", "synapse"]) == list(NAMES)


def test_the_table_keeps_its_schema() -> None:
    rows, faults = read_table(TABLE, SCHEMA, "source")
    assert faults == []
    assert list(rows) == list(ROWS)


def test_every_column_is_described() -> None:
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    assert list(schema["properties"]) == list(next(iter(ROWS.values())))
    for rules in schema["properties"].values():
        assert rules["description"]
        assert "pattern" not in rules or rules["allowed"]


@every_source
def test_a_module_says_what_its_accessions_look_like(name: str) -> None:
    source = sources.SOURCES.load(name)
    assert sources.source_fault(name) is None
    assert sources.SOURCES.constant(name, "ACCESSION") == source.ACCESSION
    assert sources.SOURCES.constant(name, "EXAMPLE") == source.EXAMPLE
    assert not re.search(r"\s", source.EXAMPLE)


@every_source
def test_a_module_names_the_token_that_it_reads(name: str) -> None:
    text = Path(str(inspect.getsourcefile(importlib.import_module(f"spotweave.sources.{name}")))).read_text()
    assert not re.search(r'os\.environ(?:\.get\(|\[)"\w+_TOKEN"', text)
    assert ("os.environ.get(ACCOUNT" in text) == bool(account_of(name))


@pytest.mark.parametrize("name", [name for name in NAMES if sources.SOURCES.constant(name, "WEB_PAGE")])
def test_the_page_of_an_accession_is_an_address_that_names_it(name: str) -> None:
    example = sources.SOURCES.constant(name, "EXAMPLE")
    page = page_of(name, example)
    assert page.startswith("https://")
    assert detect_source(page) == (name, example.partition("/versions")[0])


# --- the modules ----------------------------------------------------------------------------------------------------


@every_source
def test_a_source_has_docstrings_and_the_common_signatures(name: str) -> None:
    source = importlib.import_module(f"spotweave.sources.{name}")
    expected = {
        source.list_files: ({"accession": str, "settings": FetchSettings}, Listing),
        source.fetch: ({"wanted": Wanted, "folder": Path, "settings": FetchSettings}, Fetched),
    }
    assert source.__doc__
    for function, (parameters, returned) in expected.items():
        signature = inspect.signature(function, eval_str=True)
        assert function.__doc__
        assert {key: value.annotation for key, value in signature.parameters.items()} == parameters
        assert signature.return_annotation is returned


@of(LISTING)
def test_a_listing_names_each_file_once_and_always_in_the_same_order(known: Known) -> None:
    listing = known.listed()
    names = [file.name for file in listing.files]
    assert known.deposit.name in names
    assert len(set(names)) == len(names)
    assert known.listed() == listing


@of(LISTING)
def test_a_listed_location_is_what_fetch_takes(known: Known, tmp_path: Path) -> None:
    (file,) = [file for file in known.listed().files if file.name == known.deposit.name]
    got = bring(known.source, file.location, tmp_path / "raw", str(file.checksum))
    assert got.path.read_bytes() == CONTENT


@of(sorted(set(NAMES) - set(LISTING)))
def test_a_source_that_cannot_list_says_so_and_what_to_do(known: Known) -> None:
    with pytest.raises(Refusal, match=r"lists no files; .* in") as refused:
        known.listed()
    assert known.deposit.accession in refused.value.reason


@of(LISTING)
def test_an_accession_that_is_not_there_is_refused_by_its_name(known: Known) -> None:
    with pytest.raises(Refusal, match=re.escape(known.deposit.missing)) as refused:
        sources.SOURCES.load(known.source).list_files(known.deposit.missing, SETTINGS)
    assert "\n" not in refused.value.reason


@of(NAMES)
def test_a_file_that_is_not_there_is_refused_by_its_name(known: Known, tmp_path: Path) -> None:
    # Where nothing is listed, only the server can say so.
    place = known.place.replace("spots", "spitz").replace("_MOB", "_MUB").replace("selection", "sulection")
    place = place.replace("INT1", "INT7").replace("he_imagealignment", "if_imagealignment")
    assert place != known.place
    with pytest.raises(Refusal, match=re.escape(place.rpartition("/")[2])):
        bring(known.source, place, tmp_path / "raw")
    assert not list((tmp_path / "raw").glob("*"))


@of(NAMES)
def test_a_file_is_fetched_as_it_is_published(known: Known, tmp_path: Path) -> None:
    got = known.bring(tmp_path / "raw")
    assert got.path.read_bytes() == CONTENT
    assert (got.bytes, got.sha256) == (len(CONTENT), SHA256)
    assert got.name == got.path.name
    assert got.name.endswith(".csv")


@of(REMOTE)
def test_a_file_that_is_here_is_not_sent_again(known: Known, publisher: Publisher, tmp_path: Path) -> None:
    assert known.bring(tmp_path / "raw") == known.bring(tmp_path / "raw", f"sha256:{SHA256}")
    assert publisher.bytes_sent(known.deposit.path) == len(CONTENT)


@of(REMOTE)
def test_a_download_that_breaks_off_is_taken_up_where_it_ended(
    known: Known, publisher: Publisher, tmp_path: Path
) -> None:
    publisher.put(known.deposit.path, CONTENT, drops_at(0.4, 0.7))
    settings = FetchSettings(attempts=4, backoff_s=0)
    if known.source == "tenx":  # asked for its size first
        publisher.put(known.deposit.path, CONTENT, drops_at(1, 0.4, 0.7))
    got = known.bring(tmp_path / "raw", settings=settings)
    assert got.sha256 == SHA256
    assert publisher.bytes_sent(known.deposit.path) == len(CONTENT)


@of(NAMES)
@pytest.mark.parametrize("checksum", [f"sha256:{'0' * 64}", f"md5:{'0' * 32}", f"bytes:{len(CONTENT) + 1}"])
def test_a_file_that_is_not_the_one_of_the_row_is_refused(known: Known, tmp_path: Path, checksum: str) -> None:
    with pytest.raises(Refusal, match="not the file of the row") as refused:
        known.bring(tmp_path / "raw", checksum)
    assert str(refused.value.threshold) == checksum.partition(":")[2]
    assert not list((tmp_path / "raw").glob("*"))


# What 10x and the local disk have is what they state; GEO's sizes are in the lists of series.
@of([name for name in NAMES if name not in ("file", "geo", "tenx")])
def test_bytes_pass_only_if_they_are_what_the_table_says_that_the_source_states(
    known: Known, publisher: Publisher, tmp_path: Path
) -> None:
    stated = set(ROWS[known.source]["checksum"].split()) - {"none"}
    has_hash = bool(stated & {"sha256", "md5"}) or known.source == "github"  # which states that of the blob
    cases = {OTHER: not has_hash, CONTENT + b"1,1\n": not has_hash and "bytes" not in stated}
    for i, (content, passes) in enumerate(cases.items()):
        folder = tmp_path / str(i)
        publisher.put(known.deposit.path, content)
        if passes:
            assert known.bring(folder).path.read_bytes() == content
        else:
            with pytest.raises(Refusal, match="not the file of the"):
                known.bring(folder)
            assert not list(folder.glob("*"))


@of([name for name in LISTING if name != "file"])
def test_a_source_states_the_checksums_that_its_row_of_the_table_says(known: Known) -> None:
    module = cast(Locating, sources.SOURCES.load(known.source))
    accession = "GSE190811" if known.source == "geo" else known.deposit.accession
    checksum = module.locate(f"{accession}/{known.deposit.name}", SETTINGS).checksum
    found = {kind for kind, value in zip(("sha256", "md5", "bytes"), vars(checksum).values(), strict=True) if value}
    stated = set(ROWS[known.source]["checksum"].split())
    assert found <= stated
    assert "bytes" in found
    assert bool(found & {"sha256", "md5"}) == bool(stated & {"sha256", "md5"})


# --- tokens ---------------------------------------------------------------------------------------------------------


@of(WITH_TOKEN)
@pytest.mark.parametrize("status", [200, 401, 403, 404, 429, 500])
def test_a_token_is_sent_and_never_told(
    known: Known, publisher: Publisher, tmp_path: Path, monkeypatch, caplog, status: int
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    told = []
    if status != 200:
        publisher.put(known.deposit.path, CONTENT, answers(status, f"bad {TOKEN}".encode()))
    for ask in (known.listed, lambda: known.bring(tmp_path / "raw")):
        try:
            ask()
        except (Refusal, Unreachable) as error:
            told += [str(error), repr(error), str(error.__cause__)]
    assert bool(told) == (status != 200)
    seen = publisher._server.seen.values()
    assert f"Bearer {TOKEN}" in {headers.get("Authorization") for asked in seen for headers in asked}
    written = [path.read_text() for path in tmp_path.rglob("*.json")]
    assert TOKEN not in caplog.text + "".join(told) + "".join(written)


@of(WITH_TOKEN)
def test_blanks_around_a_token_do_no_harm(known: Known, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv(account_of(known.source), f"{TOKEN}\n")
    assert known.bring(tmp_path / "raw").sha256 == SHA256


@of(REMOTE)
def test_the_record_beside_a_download_names_the_place_and_not_the_address_of_the_day(
    known: Known, tmp_path: Path
) -> None:
    got = known.bring(tmp_path / "raw")
    record = json.loads(got.path.with_name(f"{got.name}.fetched.json").read_text())
    prefix = "" if known.source == "https" else f"{known.source}:"
    assert record["url"] == f"{prefix}{known.place}"
    assert record["sha256"] == hashlib.sha256(got.path.read_bytes()).hexdigest()


@of([name for name in LISTING if name != "file"])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_publisher_in_trouble_is_a_failure_and_not_a_refusal(known: Known, publisher: Publisher, status: int) -> None:
    for path in list(publisher._server.files):
        publisher.put(path.removeprefix("/"), CONTENT, answers(status))
    with pytest.raises(Unreachable):
        known.listed()
