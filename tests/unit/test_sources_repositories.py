"""Repositories with a JSON API: what they list, what they hand out, and every way in which they misbehave."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_publishers import (
    CONTENTS,
    FOLDERS,
    PUBLISHERS,
    Put,
    figshare_files,
    md5,
    put_biostudies,
    put_dryad,
    put_figshare,
    put_mendeley,
    put_pages,
    put_zenodo,
    sha256,
)
from hypothesis import given
from hypothesis import strategies as st
from test_sources_archives import Publisher, Reply, forget, publisher

from faults.fault_server import FaultServer, always_drops_at, answers, drops_at, first
from spotweave import sources
from spotweave.errors import Refusal
from spotweave.sources import biostudies, dryad, figshare, mendeley, zenodo
from spotweave.transfer import api
from spotweave.transfer.files import (
    Checksum,
    Fetched,
    FetchSettings,
    Listed,
    Listing,
    Unreachable,
    Wanted,
    parse_checksum,
)

SETTINGS = FetchSettings(attempts=3, timeout_s=20, backoff_s=0)
ONCE = FetchSettings(attempts=1, timeout_s=20, backoff_s=0)
TOKEN = "hunter2-secret"
NAMES = sorted(PUBLISHERS)
WITH_HASH = ["dryad", "figshare", "mendeley", "zenodo"]
WITH_TOKEN = {"dryad": "DRYAD_TOKEN", "zenodo": "ZENODO_TOKEN"}
HTML = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head></html>"
every_repository = pytest.mark.parametrize("name", NAMES)

__all__ = ["publisher"]  # a fixture


@pytest.fixture(autouse=True)
def tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """No token but where Dryad hands out nothing without."""
    monkeypatch.delenv("ZENODO_TOKEN", raising=False)
    monkeypatch.setenv("DRYAD_TOKEN", TOKEN)


def bring(name: str, location: str, folder: Path, checksum: str = "", settings: FetchSettings = SETTINGS) -> Fetched:
    return sources.SOURCES.load(name).fetch(Wanted("spots", location, parse_checksum(checksum)), folder, settings)


def listed(name: str, accession: str) -> Listing:
    return sources.SOURCES.load(name).list_files(accession, SETTINGS)


def sent(server: FaultServer) -> dict[str, int]:
    """How often each path was asked for."""
    return {path.removeprefix("/"): len(asked) for path, asked in server._server.seen.items()}


# --- listings -------------------------------------------------------------------------------------------------------

ABOUT = {
    "biostudies": ("CC BY 4.0", "Developing heart"),
    "dryad": ("https://spdx.org/licenses/CC0-1.0.html", "Tumour sections"),
    "figshare": ("CC BY 4.0", "Sections of a heart"),
    "mendeley": ("CC BY 4.0", "Prostate"),
    "zenodo": ("cc-by-4.0", "Spatial deconvolution"),
}
HASHES: dict[str, Callable[[bytes], dict[str, str]]] = {
    "biostudies": lambda content: {},
    "dryad": lambda content: {"sha256": sha256(content)},
    "figshare": lambda content: {"md5": md5(content)},
    "mendeley": lambda content: {"sha256": sha256(content)},
    "zenodo": lambda content: {"md5": md5(content)},
}


@every_repository
def test_a_deposit_is_listed_with_sizes_hashes_licence_and_title(name, publisher):
    put = PUBLISHERS[name](publisher)
    listing = listed(name, put.accession)
    expected = {
        file: Checksum(size=len(content), **HASHES[name](content)) for file, content in sorted(CONTENTS.items())
    }
    assert {file.name: file.checksum for file in sorted(listing.files, key=lambda file: file.name)} == expected
    assert [file.location for file in listing.files] == [f"{put.accession}/{file.name}" for file in listing.files]
    assert (listing.licence, listing.title) == ABOUT[name]
    assert listing.accession == put.accession


@every_repository
def test_every_listed_file_is_fetched_and_the_deposit_is_listed_once(name, publisher, tmp_path):
    put = PUBLISHERS[name](publisher)
    for file in listed(name, put.accession).files:
        got = bring(name, file.location, tmp_path)
        assert got.path.read_bytes() == CONTENTS[file.name]
        assert got.sha256 == sha256(CONTENTS[file.name])
    counts = sent(publisher)
    assert counts[put.listing] == 1
    assert all(counts[path] == 1 for path in put.paths.values())


@every_repository
def test_files_of_one_name_in_two_folders_stay_apart(name, publisher, tmp_path):
    put = PUBLISHERS[name](publisher, FOLDERS)
    locations = {file.name: file.location for file in listed(name, put.accession).files}
    assert sorted(locations) == sorted(FOLDERS)
    got = {file: bring(name, location, tmp_path) for file, location in locations.items()}
    assert {file: one.path.read_bytes() for file, one in got.items()} == FOLDERS
    assert {one.path.parent for one in got.values()} == {tmp_path}
    with pytest.raises(Refusal, match=r"2 files are called spots\.csv; give one with its folder: S1/spots\.csv, S2"):
        bring(name, f"{put.accession}/spots.csv", tmp_path)


SPELLINGS = {
    "biostudies": [
        "E-MTAB-11114",
        "e-mtab-11114",
        "https://www.ebi.ac.uk/biostudies/studies/E-MTAB-11114",
        "https://www.ebi.ac.uk/biostudies/arrayexpress/studies/E-MTAB-11114?query=heart",
        "https://www.ebi.ac.uk/biostudies/files/E-MTAB-11114/",
    ],
    "dryad": [
        "10.5061/dryad.x0k6djhmx",
        "doi:10.5061/dryad.x0k6djhmx",
        "https://doi.org/10.5061/dryad.x0k6djhmx",
        "https://datadryad.org/dataset/doi:10.5061/dryad.x0k6djhmx",
        "https://datadryad.org/stash/dataset/doi%3A10.5061%2Fdryad.x0k6djhmx",
    ],
    "figshare": [
        "17087765/versions/2",
        "17087765.v2",
        "10.6084/m9.figshare.17087765.v2",
        "doi:10.6084/m9.figshare.17087765.v2",
        "https://doi.org/10.25377/sussex.17087765.v2",
        "https://figshare.com/articles/dataset/Sections_of_a_heart/17087765/2",
        "https://sussex.figshare.com/articles/dataset/Sections_of_a_heart/17087765/2?file=31621547",
    ],
    "mendeley": [
        "svw96g68dv/5",
        "10.17632/svw96g68dv.5",
        "DOI: 10.17632/svw96g68dv.5",
        "https://doi.org/10.17632/svw96g68dv.5",
        "https://data.mendeley.com/datasets/svw96g68dv/5",
        "data.mendeley.com/datasets/svw96g68dv/5/",
    ],
    "zenodo": [
        "4751624",
        "10.5281/zenodo.4751624",
        "doi:10.5281/zenodo.4751624",
        "https://doi.org/10.5281/ZENODO.4751624",
        "https://zenodo.org/record/4751624",
        "https://zenodo.org/records/4751624/",
        "https://zenodo.org/records/4751624#files",
    ],
}


@pytest.mark.parametrize(("name", "spelling"), [(name, one) for name in NAMES for one in SPELLINGS[name]])
def test_an_accession_may_be_written_in_the_usual_ways(name, spelling, publisher):
    put = PUBLISHERS[name](publisher, FOLDERS)
    assert listed(name, spelling) == listed(name, put.accession)
    if "?" not in spelling and "#" not in spelling:  # a row's accession with a file behind it
        located = sources.SOURCES.load(name).locate(f"{spelling.rstrip('/')}/S2/spots.csv", SETTINGS)  # type: ignore[attr-defined]
        assert located.name == "S2--spots.csv"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("zenodo", "4751624x", "not a Zenodo record"),
        ("zenodo", "zenodo", "not a Zenodo record"),
        ("zenodo", "4751624/B1.csv", "not a Zenodo record"),
        ("zenodo", "10.17632/svw96g68dv.5", "not a Zenodo record"),
        ("figshare", "figshare.com/articles/17087765", "not a figshare article"),
        ("figshare", "17087765/versions/two", "not a figshare article"),
        ("mendeley", "svw96g68dv", "add the version"),
        ("mendeley", "10.17632/svw96g68dv", "add the version"),
        ("mendeley", "svw96g68dv/5x", "add the version"),
        ("dryad", "dryad.x0k6djhmx", "not a Dryad DOI"),
        ("biostudies", "GSE190811", "not a study"),
        ("biostudies", "E-MTAB-11114x", "not a study"),
    ],
)
def test_what_is_no_accession_is_refused_with_an_example(name, text, words, publisher):
    with pytest.raises(Refusal, match=words) as caught:
        listed(name, text)
    assert caught.value.reason.startswith(text)
    assert not sent(publisher)


@every_repository
@pytest.mark.parametrize("location", ["no accession/B1.csv", "", "/B1.csv", "{accession}", "{accession}/"])
def test_a_location_without_accession_or_file_is_refused(name, location, publisher, tmp_path):
    put = PUBLISHERS[name](publisher)
    with pytest.raises(Refusal, match="not a file of a"):
        bring(name, location.format(accession=put.accession), tmp_path)
    assert not list(tmp_path.iterdir())


@every_repository
def test_a_file_that_is_not_listed_is_refused_with_the_names_most_like_it(name, publisher, tmp_path):
    put = PUBLISHERS[name](publisher)
    with pytest.raises(Refusal, match=r"no file b1\.CSV; did you mean B1\.csv, .*\?") as caught:
        bring(name, f"{put.accession}/b1.CSV", tmp_path)
    assert put.accession in caught.value.reason
    with pytest.raises(Refusal, match=r"it has 3 files"):
        bring(name, f"{put.accession}/000000000.zip", tmp_path)


@every_repository
def test_odd_names_reach_the_publisher_and_stay_in_the_folder(name, publisher, tmp_path):
    contents = {"Patient 1 (März) #2?.csv": b"x,y\n1,1\n", "100%&a=b+c.csv": b"x,y\n2,2\n", "..csv": b"x,y\n3,3\n"}
    put = PUBLISHERS[name](publisher, contents)
    for file in listed(name, put.accession).files:
        got = bring(name, file.location, tmp_path)
        assert got.path.read_bytes() == contents[file.name]
        assert got.path.parent == tmp_path
        assert got.name[0] != "."


# --- what publisher and row say of the bytes ------------------------------------------------------------------------


@pytest.mark.parametrize("name", WITH_HASH)
def test_bytes_other_than_the_published_hash_says_are_refused(name, publisher, tmp_path):
    put = PUBLISHERS[name](publisher)
    publisher.put(put.paths["B1.csv"], b"x,y\n1,3\n")
    with pytest.raises(Refusal, match="not the file of the row") as caught:
        bring(name, f"{put.accession}/B1.csv", tmp_path)
    assert caught.value.threshold in (md5(CONTENTS["B1.csv"]), sha256(CONTENTS["B1.csv"]))
    assert not list(tmp_path.iterdir())


@every_repository
def test_bytes_of_another_number_than_published_are_refused(name, publisher, tmp_path):
    put = PUBLISHERS[name](publisher)
    publisher.put(put.paths["B1.csv"], b"x,y\n1,2\n\n")
    with pytest.raises(Refusal, match="9 bytes, but the row says 8 bytes"):
        bring(name, f"{put.accession}/B1.csv", tmp_path)


@every_repository
def test_a_row_that_contradicts_the_publisher_is_refused_before_the_download(name, publisher, tmp_path):
    put = PUBLISHERS[name](publisher)
    published = HASHES[name](CONTENTS["B1.csv"])
    wrong = {"bytes:9": (9, 8)}
    wrong |= {f"{kind}:{'0' * len(value)}": ("0" * len(value), value) for kind, value in published.items()}
    for checksum, (asked, stated) in wrong.items():
        with pytest.raises(Refusal, match="publisher's own figures") as caught:
            bring(name, f"{put.accession}/B1.csv", tmp_path, checksum)
        assert (caught.value.measured, caught.value.threshold) == (stated, asked)
        assert str(asked) in caught.value.reason
        assert str(stated) in caught.value.reason
    assert put.paths["B1.csv"] not in sent(publisher)


@every_repository
def test_the_row_may_add_what_the_publisher_does_not_say(name, publisher, tmp_path):
    put = PUBLISHERS[name](publisher)
    checksum = f"sha256:{sha256(CONTENTS['B1.csv'])};md5:{md5(CONTENTS['B1.csv'])}"
    assert bring(name, f"{put.accession}/B1.csv", tmp_path, checksum).bytes == 8


def test_hashes_of_other_kinds_and_without_sense_are_not_used(publisher, caplog):
    assert dryad._checksum({"size": 5, "digestType": "sha-1", "digest": "a" * 40}) == Checksum(size=5)
    assert dryad._checksum({"size": 5, "digestType": "md5", "digest": "A" * 32}) == Checksum(md5="a" * 32, size=5)
    assert dryad._checksum({"size": 0}) == Checksum()
    assert api.checksum_of("12", md5="") == Checksum(size=12)
    assert not caplog.records
    assert api.checksum_of("²", md5="nonsense") == Checksum()
    assert "nonsense" in caplog.text


# --- formats that changed -------------------------------------------------------------------------------------------

NEEDED = [
    ("zenodo", "zenodo/api/records/4751624", ["id"]),
    ("zenodo", "zenodo/api/records/4751624", ["files"]),
    ("zenodo", "zenodo/api/records/4751624", ["files", 0, "key"]),
    ("figshare", "figshare/v2/articles/17087765/versions/2", ["files"]),
    ("figshare", "figshare/v2/articles/17087765/versions/2", ["files", 0, "id"]),
    ("figshare", "figshare/v2/articles/17087765/versions/2", ["files", 0, "name"]),
    ("mendeley", "mendeley/public-api/datasets/svw96g68dv/folders/5", [0, "id"]),
    ("mendeley", "mendeley/public-api/datasets/svw96g68dv/folders/5", [0, "name"]),
    ("mendeley", "mendeley/public-api/datasets/svw96g68dv/files", [0, "id"]),
    ("mendeley", "mendeley/public-api/datasets/svw96g68dv/files", [0, "filename"]),
    ("mendeley", "mendeley/public-api/datasets/svw96g68dv/files", [0, "content_details"]),
    ("mendeley", "mendeley/public-api/datasets/svw96g68dv/files", [0, "content_details", "download_url"]),
    ("dryad", "dryad/api/v2/datasets/doi%3A10.5061%2Fdryad.x0k6djhmx", ["_links", "stash:version"]),
    ("dryad", "dryad/api/v2/versions/77/files", ["_embedded", "stash:files"]),
    ("dryad", "dryad/api/v2/versions/77/files", ["_embedded", "stash:files", 0, "path"]),
    ("biostudies", "ebi/biostudies/api/v1/files/E-MTAB-11114", ["data"]),
    ("biostudies", "ebi/biostudies/api/v1/files/E-MTAB-11114", ["data", 1, "path"]),
    ("biostudies", "ebi/biostudies/api/v1/files/E-MTAB-11114", ["recordsFiltered"]),
]


def answer_of(server: Publisher, path: str, question: str = "folder_id=folder-S1") -> Any:
    """What the server would answer there, as a value."""
    kept: list[Any] = []

    class Asked:
        class handler:
            requestline = f"GET /?{question} HTTP/1.1"
            command = "GET"

        def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
            kept.append(json.loads(body))

    server._server.files[f"/{path}"][1](Asked())  # type: ignore[arg-type]
    return kept[0]


def without(content: Any, keys: list[Any]) -> Any:
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    del inner[keys[-1]]
    return content


@pytest.mark.parametrize(("name", "path", "keys"), NEEDED)
def test_a_field_that_is_gone_is_told_in_one_line(name, path, keys, publisher):
    put = PUBLISHERS[name](publisher, FOLDERS)
    publisher.says(path, without(answer_of(publisher, path), keys))
    with pytest.raises(Refusal, match="format has changed") as caught:
        listed(name, put.accession)
    assert "\n" not in caught.value.reason
    assert put.accession in caught.value.reason
    assert f"'{[key for key in keys if isinstance(key, str)][-1]}" in caught.value.reason.replace(".", "'")


@pytest.mark.parametrize(("name", "path"), sorted({(name, path) for name, path, _ in NEEDED}))
@pytest.mark.parametrize("answer", [[], {}, "text", 7, None, [1], {"files": {}, "data": {}, "id": 4751624}])
def test_an_answer_of_another_shape_is_never_a_crash(name, path, answer, publisher):
    put = PUBLISHERS[name](publisher, FOLDERS)
    publisher.says(path, json.dumps(answer))
    try:
        listed(name, put.accession)
    except (Refusal, Unreachable) as error:
        assert put.accession in str(error)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("mendeley", "mendeley/public-api/datasets/svw96g68dv/snapshot/5"),
        ("biostudies", "ebi/biostudies/api/v1/studies/E-MTAB-11114"),
    ],
)
@pytest.mark.parametrize("answer", [Reply(404), [], {"licence": None, "attributes": [1], "section": 3}])
def test_a_deposit_without_title_and_licence_is_listed_all_the_same(name, path, answer, publisher):
    put = PUBLISHERS[name](publisher)
    publisher.says(path, lambda _: answer)
    listing = listed(name, put.accession)
    assert len(listing.files) == 3
    assert (listing.licence, listing.title) == (None, None)


# --- answers that are none ------------------------------------------------------------------------------------------

FAULTS: dict[str, tuple[Any, type[Exception], str]] = {
    "web page": (answers(200, HTML, Content_Type="text/html"), Unreachable, "a web page in place"),
    "challenge of a firewall": (answers(202, b"", x_amzn_waf_action="challenge"), Unreachable, "for a robot"),
    "challenge with a page": (answers(403, HTML, cf_mitigated="challenge"), Unreachable, "for a robot"),
    "accepted, not done": (answers(202, b"{}"), Unreachable, "an empty answer"),
    "nothing": (answers(200, b""), Unreachable, "an empty answer"),
    "half of it": (answers(200, b'{"files": [{"key": "B1.c'), Unreachable, "breaks off or is no JSON"),
    "binary": (answers(200, b"\x80\x81\xff"), Refusal, "is no text"),
    "nested without end": (answers(200, b"[" * 200_000), Unreachable, "no JSON"),
    "gone": (answers(410), Refusal, "has been withdrawn; correct the accession"),
    "not there": (answers(404), Refusal, "does not exist .*; correct the accession"),
    "login": (answers(401), Refusal, r"\(401\)"),
    "denied": (answers(403), Refusal, r"\(403\)"),
    "question of no sense": (answers(400, b'{"message":\n"PID wrong"}'), Refusal, r"\(400: '.*PID wrong"),
    "trouble": (answers(503), Unreachable, "answers 503"),
    "too many": (answers(429), Unreachable, "no requests are left"),
    "always cut": (always_drops_at(0.5), Unreachable, "cannot be reached"),
}


@every_repository
@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_no_answer_is_told_in_one_line_with_the_accession(name, fault, publisher):
    behaviour, kind, words = FAULTS[fault]
    put = PUBLISHERS[name](publisher)
    publisher.put(put.listing, b'{"files": []}' * 100, behaviour)
    with pytest.raises(kind, match=words) as caught:
        listed(name, put.accession)
    assert put.accession in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 405, 422])
def test_a_question_that_is_not_understood_is_refused_with_the_address_and_what_was_said(status, publisher):
    url = publisher.put("a.json", b"", answers(status, b'{"message": "no such\n\tspelling"}'))
    with pytest.raises(Refusal) as caught:
        api.get_json(f"{url}?token={TOKEN}", SETTINGS, label="S-1")
    assert caught.value.reason == (
        f'S-1: {url}?… does not understand what it is asked ({status}: \'{{"message": "no such spelling"}}\');'
        " correct the accession in the row"
    )
    assert (caught.value.measured, caught.value.threshold) == (status, 200)
    assert publisher.statuses("a.json") == [status]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "(400)"),
        (HTML, "(400)"),
        (b"x" * 5000, f"(400: '{'x' * 200}…')"),
        (b"bad \x1b[31m\xff" + TOKEN.encode(), "(400: 'bad [31m\ufffd…')"),
        (f"see https://a:b@x.org/q?key={TOKEN}#top now".encode(), "(400: 'see https://x.org/q?… now')"),
    ],
    ids=["nothing", "a web page", "long", "a token and control letters", "an address with a secret"],
)
def test_what_a_publisher_says_is_one_short_line_without_secrets(body, said, publisher):
    url = publisher.put("a.json", b"", answers(400, body))
    with pytest.raises(Refusal) as caught:
        api.get_text(url, SETTINGS, label="a", headers=api.bearer(TOKEN))
    assert said in caught.value.reason
    assert "\n" not in caught.value.reason
    assert TOKEN not in caught.value.reason


def test_an_explanation_that_breaks_off_changes_nothing(publisher):
    def breaks_off(exchange):
        exchange._head(422, {"Content-Length": "50"})
        exchange._send(b"wrong")
        exchange.drop()

    with pytest.raises(Refusal, match=r"\(422"):
        api.get_text(publisher.put("a.json", b"", breaks_off), SETTINGS, label="a")


def test_a_broken_connection_is_tried_again_and_trouble_is_not(publisher):
    body = json.dumps({"fine": True}).encode()
    url = publisher.put("a.json", body, drops_at(0.3, 0.7))
    assert api.get_json(url, SETTINGS, label="a") == {"fine": True}
    assert publisher.statuses("a.json") == [200, 200, 200]
    url = publisher.put("b.json", body, always_drops_at(0.5))
    waits: list[float] = []
    settings = FetchSettings(attempts=3, timeout_s=20, backoff_s=2)
    with pytest.raises(Unreachable, match=r"b: .*cannot be reached"):
        api.get_json(url, settings, label="b", sleep=waits.append)
    assert waits == [2, 4]
    url = publisher.put("c.json", body, answers(200, HTML))
    with pytest.raises(Unreachable):
        api.get_json(url, SETTINGS, label="c")
    assert publisher.statuses("c.json") == [200]


def test_a_server_that_is_not_there_is_unreachable():
    with FaultServer() as server:
        url = server.put("a.json", b"{}")
    with pytest.raises(Unreachable, match="ConnectionError"):
        api.get_json(f"{url}?token={TOKEN}", SETTINGS, label="a")


def test_an_answer_without_end_is_not_read_to_it(publisher, monkeypatch):
    monkeypatch.setattr(api, "LARGEST_ANSWER", 1000)
    url = publisher.put("a.json", b" " * 100_000, lambda exchange: exchange.serve(chunked=True))
    with pytest.raises(Refusal, match="over 1,000 bytes") as caught:
        api.get_text(url, SETTINGS, label="a")
    assert caught.value.measured == 1001


# --- limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 429])
def test_a_counter_at_zero_is_waited_for_and_the_question_asked_again(status, publisher):
    spent = answers(status, X_RateLimit_Remaining="0", X_RateLimit_Reset="17")
    url = publisher.put("a.json", b"[1]", first(spent))
    waits: list[float] = []
    assert api.get_json(url, ONCE, label="a", sleep=waits.append) == [1]
    assert waits == [17]


def test_a_counter_that_stays_at_zero_is_a_failure_after_one_wait(publisher):
    url = publisher.put("a.json", b"[1]", answers(429, X_RateLimit_Remaining="0", X_RateLimit_Reset="17"))
    waits: list[float] = []
    with pytest.raises(Unreachable, match="no requests are left for now"):
        api.get_json(url, ONCE, label="a", sleep=waits.append)
    assert waits == [17]
    assert len(publisher.requests("a.json")) == 2


@pytest.mark.parametrize(
    ("remaining", "reset", "waited_s"),
    [("0", "30", 30), ("0", "86400", 600), ("1", "30", None), ("0", "", None), ("0", "soon", None), ("0", "0", None)],
)
def test_the_last_question_allowed_is_followed_by_a_wait_of_bounds(remaining, reset, waited_s, publisher):
    limits = {"X_RateLimit_Remaining": remaining, "X_RateLimit_Reset": reset}
    url = publisher.put("a.json", b"", answers(200, b"[1]", **limits))
    waits: list[float] = []
    assert api.get_json(url, SETTINGS, label="a", sleep=waits.append) == [1]
    assert waits == ([] if waited_s is None else [waited_s])


def test_a_counter_may_start_anew_at_a_time_of_the_clock(publisher):
    for seconds, expected in ((40, [pytest.approx(40, abs=10)]), (-40, [])):
        limits = {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": str(int(time.time()) + seconds)}
        url = publisher.put("a.json", b"", answers(200, b"[1]", **limits))
        waits: list[float] = []
        api.get_json(url, SETTINGS, label="a", sleep=waits.append)
        assert waits == expected


def test_a_wait_that_the_server_names_is_kept_by_the_session(publisher):
    url = publisher.put("a.json", b"[1]", first(answers(429, Retry_After="0")))
    assert api.get_json(url, SETTINGS, label="a") == [1]
    assert publisher.statuses("a.json") == [429, 200]


# --- tokens ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WITH_TOKEN)
def test_a_token_is_not_sent_on_to_the_host_that_stores_the_file(name, publisher, tmp_path, monkeypatch, caplog):
    caplog.set_level("DEBUG")
    monkeypatch.setenv(WITH_TOKEN[name], f"{TOKEN}\n")
    put = PUBLISHERS[name](publisher)
    with FaultServer() as storage:
        address = storage.put("bucket/B1", CONTENTS["B1.csv"])
        publisher.put(put.paths["B1.csv"], b"", answers(302, Location=f"{address}?X-Amz-Signature=abc"))
        assert bring(name, f"{put.accession}/B1.csv", tmp_path).bytes == 8
        (asked,) = storage.requests("bucket/B1")
        assert "Authorization" not in asked
    (first_asked,) = publisher.requests(put.paths["B1.csv"])
    assert first_asked["Authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in caplog.text
    assert not [path for path in tmp_path.iterdir() if TOKEN.encode() in path.read_bytes()]


def test_the_addresses_of_other_repositories_get_no_token(publisher, tmp_path, monkeypatch):
    monkeypatch.setenv("ZENODO_TOKEN", TOKEN)
    for name in ("biostudies", "figshare", "mendeley"):
        put = PUBLISHERS[name](publisher)
        bring(name, f"{put.accession}/B1.csv", tmp_path / name)
    assert not [asked for seen in publisher._server.seen.values() for asked in seen if "Authorization" in asked]


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("name", WITH_TOKEN)
def test_a_token_that_has_expired_is_told_by_its_name(name, status, publisher, tmp_path, monkeypatch):
    monkeypatch.setenv(WITH_TOKEN[name], TOKEN)
    put = PUBLISHERS[name](publisher)
    publisher.put(put.paths["B1.csv"], b"", answers(status, b'{"error":"Unauthorized"}'))
    with pytest.raises(Refusal, match=f"B1.csv: .*{WITH_TOKEN[name]}.*source 'file'") as caught:
        bring(name, f"{put.accession}/B1.csv", tmp_path)
    assert (caught.value.measured, caught.value.threshold) == (status, 200)
    assert TOKEN not in str(caught.value)


def test_a_login_kept_for_other_programs_does_not_take_the_place_of_a_token(publisher, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("ZENODO_TOKEN", TOKEN)
    put = put_zenodo(publisher)
    listed("zenodo", put.accession)
    assert [asked["Authorization"] for asked in publisher.requests(put.listing)] == [f"Bearer {TOKEN}"]


def test_without_a_token_dryad_is_listed_and_its_files_are_refused(publisher, tmp_path, monkeypatch):
    monkeypatch.delenv("DRYAD_TOKEN")
    put = put_dryad(publisher)
    assert len(listed("dryad", put.accession).files) == 3
    with pytest.raises(Refusal, match="DRYAD_TOKEN is missing or has expired: make one"):
        bring("dryad", f"{put.accession}/B1.csv", tmp_path)
    assert put.paths["B1.csv"] not in sent(publisher)


def test_dryad_is_listed_with_an_expired_token(publisher):
    """The real one answers 401 to questions that would be answered without."""
    put = put_dryad(publisher)
    listed("dryad", put.accession)
    asked = [headers for seen in publisher._server.seen.values() for headers in seen]
    assert asked
    assert not [headers for headers in asked if "Authorization" in headers]


# --- Zenodo ---------------------------------------------------------------------------------------------------------


def test_the_number_of_all_versions_is_refused_with_the_number_to_write(publisher):
    put = put_zenodo(publisher)
    publisher.put("zenodo/api/records/4751623", b"", answers(302, Location=f"/{put.listing}"))
    with pytest.raises(
        Refusal, match=r"record 4751623: names all versions .* leads to 4751624; write 4751624"
    ) as caught:
        listed("zenodo", "10.5281/zenodo.4751623")
    assert (caught.value.measured, caught.value.threshold) == ("4751624", "4751623")


@pytest.mark.parametrize("state", ["restricted", "embargoed", "closed"])
def test_a_closed_record_is_refused_with_what_to_do(state, publisher):
    about = {"title": "Closed", "access_right": state}
    publisher.stands_for("https://zenodo.org/", "zenodo")
    publisher.says("zenodo/api/records/99", {"id": 99, "metadata": about})
    with pytest.raises(Refusal, match=f"record 99: {state}: .*ZENODO_TOKEN"):
        listed("zenodo", "99")


def test_a_zenodo_token_goes_with_the_listing_too(publisher, monkeypatch):
    monkeypatch.setenv("ZENODO_TOKEN", TOKEN)
    put = put_zenodo(publisher)
    listed("zenodo", put.accession)
    assert [asked["Authorization"] for asked in publisher.requests(put.listing)] == [f"Bearer {TOKEN}"]


# --- figshare -------------------------------------------------------------------------------------------------------


def many(count: int) -> dict[str, bytes]:
    return {f"{i:03d}.csv": b"x,y\n%d,0\n" % i for i in range(count)}


@pytest.mark.parametrize("count", [9, 10, 11, 15, 16])
def test_all_files_of_an_article_are_listed_though_it_names_ten(count, publisher, monkeypatch):
    monkeypatch.setattr(figshare, "PAGE", 5)
    put = put_figshare(publisher, many(count))
    assert [file.name for file in listed("figshare", put.accession).files] == sorted(many(count))


def test_an_article_without_a_version_is_pinned_to_the_newest_and_says_so(publisher, caplog, tmp_path):
    put = put_figshare(publisher)
    listing = listed("figshare", "10.6084/m9.figshare.17087765")
    assert listing.accession == put.accession
    assert [file.location for file in listing.files] == [f"17087765/versions/2/{name}" for name in CONTENTS]
    assert "write 17087765/versions/2 in the row" in caplog.text
    assert bring("figshare", "17087765/B1.csv", tmp_path).bytes == 8


def test_files_of_one_name_without_folders_are_told_apart_by_their_numbers(publisher, tmp_path):
    put = put_figshare(publisher, FOLDERS, folder_structure={})
    names = [file.name for file in listed("figshare", put.accession).files]
    assert names == ["31621547/spots.csv", "31621548/spots.csv"]
    got = bring("figshare", f"{put.accession}/31621548/spots.csv", tmp_path)
    assert got.path.read_bytes() == FOLDERS["S2/spots.csv"]


def test_a_file_that_is_only_a_link_is_refused_with_its_address(publisher, tmp_path):
    (file,) = figshare_files({"far.zip": b""})
    file |= {"is_link_only": True, "download_url": "https://host.org/far.zip", "size": 0, "computed_md5": ""}
    put_figshare(publisher, files=[file])
    with pytest.raises(Refusal, match=r"only has a link to https://host\.org/far\.zip; give that address"):
        bring("figshare", "17087765/versions/2/far.zip", tmp_path)


def test_an_article_under_embargo_is_refused_with_the_day(publisher):
    put_figshare(publisher, files=[], is_embargoed=True, embargo_date="2030-01-01")
    with pytest.raises(Refusal, match="under embargo until 2030-01-01"):
        listed("figshare", "17087765/versions/2")


def test_the_web_pages_of_figshare_are_never_asked_for_bytes(publisher):
    put = put_figshare(publisher)
    located = figshare.locate(f"{put.accession}/B1.csv", SETTINGS)
    assert located.url == "https://api.figshare.com/v2/file/download/31621548"


def test_a_challenge_in_place_of_a_file_is_refused(publisher, tmp_path):
    put = put_figshare(publisher)
    publisher.put(put.paths["B1.csv"], b"", answers(202, x_amzn_waf_action="challenge"))
    with pytest.raises(Refusal, match="202 Accepted"):
        bring("figshare", f"{put.accession}/B1.csv", tmp_path)
    assert not list(tmp_path.glob("*.csv"))


# --- Mendeley Data --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 4, 5])
def test_folders_of_many_files_are_listed_page_by_page(count, publisher, monkeypatch):
    monkeypatch.setattr(mendeley, "PAGE", 2)
    contents = {f"a/b/{name}": content for name, content in many(count).items()}
    put = put_mendeley(publisher, contents)
    assert [file.name for file in listed("mendeley", put.accession).files] == sorted(contents)


def test_a_repository_that_sends_the_same_page_for_ever_comes_to_an_end(publisher, monkeypatch):
    put = put_mendeley(publisher, many(2))
    page = answer_of(publisher, "mendeley/public-api/datasets/svw96g68dv/files", "folder_id=root")
    monkeypatch.setattr(mendeley, "PAGE", 2)
    publisher.says("mendeley/public-api/datasets/svw96g68dv/files", page)
    assert len(listed("mendeley", put.accession).files) == 2


def test_folders_in_a_circle_are_refused(publisher):
    put_mendeley(publisher)
    circle = [{"id": "a", "name": "A", "parent_id": "b"}, {"id": "b", "name": "B", "parent_id": "a"}]
    publisher.says("mendeley/public-api/datasets/svw96g68dv/folders/5", circle)
    with pytest.raises(Refusal, match="lie in each other in a circle"):
        listed("mendeley", "svw96g68dv/5")


# --- Dryad ----------------------------------------------------------------------------------------------------------


def test_an_older_version_of_a_dataset_can_be_named(publisher):
    put = put_dryad(publisher)
    listing = listed("dryad", f"{put.accession}/versions/1")
    assert [file.location for file in listing.files] == [f"{put.accession}/versions/1/B1.tsv"]
    with pytest.raises(Refusal, match="versions/3: does not exist; its versions are 1, 2"):
        listed("dryad", f"doi:{put.accession}/versions/3")


def test_a_dataset_that_states_more_files_than_it_lists_is_refused(publisher):
    put = put_dryad(publisher)
    page = answer_of(publisher, "dryad/api/v2/versions/77/files")
    publisher.says("dryad/api/v2/versions/77/files", {**page, "_links": {}, "total": 3})
    with pytest.raises(Refusal, match="it lists 2 of 3 stash:files") as caught:
        listed("dryad", put.accession)
    assert (caught.value.measured, caught.value.threshold) == (2, 3)


def test_pages_that_lead_back_come_to_an_end(publisher):
    put = put_dryad(publisher)
    page = answer_of(publisher, "dryad/api/v2/versions/77/files")
    back = {"next": {"href": "/api/v2/versions/77/files?page=1"}}
    publisher.says("dryad/api/v2/versions/77/files", {**page, "_links": back})
    with pytest.raises(Refusal, match="4 of 3"):
        listed("dryad", put.accession)


def test_a_token_of_dryad_is_never_sent_where_its_answers_lead(publisher, tmp_path):
    put = put_dryad(publisher)
    page = answer_of(publisher, "dryad/api/v2/versions/77/files")
    page["_embedded"]["stash:files"][0]["_links"]["stash:download"]["href"] = f"{publisher.address}/elsewhere"
    put_pages(publisher, "dryad/api/v2/versions/77/files", "stash:files", page["_embedded"]["stash:files"])
    with pytest.raises(Refusal, match="lead away from"):
        bring("dryad", f"{put.accession}/B1.tsv", tmp_path)
    assert "elsewhere" not in sent(publisher)


def test_a_file_that_dryad_does_not_hand_out_is_listed_and_refused(publisher, tmp_path):
    put = put_dryad(publisher)
    page = answer_of(publisher, "dryad/api/v2/versions/77/files")
    del page["_embedded"]["stash:files"][0]["_links"]["stash:download"]
    put_pages(publisher, "dryad/api/v2/versions/77/files", "stash:files", page["_embedded"]["stash:files"])
    assert [file.name for file in listed("dryad", put.accession).files] == ["B1.tsv", "B1.csv"]
    with pytest.raises(Refusal, match=r"B1\.tsv: Dryad does not hand it out: it may be under embargo"):
        bring("dryad", f"{put.accession}/B1.tsv", tmp_path)


# --- BioStudies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [1, 2, 4, 500])
def test_a_study_is_listed_page_by_page_and_its_folders_are_counted(page, publisher, monkeypatch, caplog):
    monkeypatch.setattr(biostudies, "PAGE", page)
    put = put_biostudies(publisher, many(7))
    assert [file.name for file in listed("biostudies", put.accession).files] == sorted(many(7))
    assert "left out of the listing: 1 folders" in caplog.text


def test_a_study_whose_pages_repeat_themselves_is_refused(publisher):
    """As a server does that does not know the names of the questions' parameters."""
    put = put_biostudies(publisher, many(9))
    page = answer_of(publisher, put.listing)
    publisher.says(put.listing, page)
    with pytest.raises(Refusal, match="it lists 5 of 10 files") as caught:
        listed("biostudies", put.accession)
    assert (caught.value.measured, caught.value.threshold) == (5, 10)


def test_a_study_without_files_is_an_empty_listing(publisher):
    put = put_biostudies(publisher)
    publisher.says(put.listing, {"recordsTotal": 0, "recordsFiltered": 0, "data": []})
    assert listed("biostudies", put.accession).files == ()


# --- names ----------------------------------------------------------------------------------------------------------

paths = st.text(min_size=1, max_size=300)


@given(paths)
def test_no_name_leads_out_of_the_folder_or_is_too_long(path):
    name = api.safe_name(path)
    assert Path(name).name == name
    assert not name.startswith(".")
    assert len(name.encode()) <= 180


def test_long_names_keep_their_ends_and_stay_apart():
    names = [api.safe_name(f"{letter * 5}/{'Ü' * 300}.ome.tif") for letter in "ab"]
    assert len(set(names)) == 2
    assert all(name.endswith("ÜÜ.ome.tif") for name in names)
    assert all(170 < len(name.encode()) <= 180 for name in names)


def test_a_file_is_found_by_its_path_or_its_last_part():
    listing = Listing("X", tuple(Listed(name, f"X/{name}") for name in ("a/b.csv", "b.csv", "c/d.csv")))
    assert api.find(listing, "b.csv").name == "b.csv"
    assert api.find(listing, "a/b.csv").name == "a/b.csv"
    assert api.find(listing, "d.csv").name == "c/d.csv"
    with pytest.raises(Refusal, match=r"X: there is no file D\.CSV; did you mean c/d\.csv"):
        api.find(listing, "D.CSV")


def test_what_is_remembered_is_forgotten_with_the_process(publisher):
    put: Put = put_zenodo(publisher)
    for _ in range(3):
        zenodo.list_files(put.accession, SETTINGS)
    assert len(publisher.requests(put.listing)) == 1
    forget()
    zenodo.list_files(put.accession, SETTINGS)
    assert len(publisher.requests(put.listing)) == 2


@pytest.mark.parametrize("content", [{"files": [{"a": 1}, 2]}, {"files": ["a"]}, {"files": {"a": 1}}, {}, [1]])
def test_a_list_of_anything_but_objects_is_a_changed_format(content):
    with pytest.raises(Refusal, match=r"the answer has no 'files': the repository's format has changed"):
        api.entries(content, "files", label="record 1")
    assert api.entries({"files": [{"a": 1}]}, "files", label="record 1") == [{"a": 1}]
