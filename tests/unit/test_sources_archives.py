"""Archives that are no general repositories, each played by a small publisher on this machine in its own words."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from faults import fault_server
from faults.fault_server import Behaviour, Exchange, FaultServer, answers, drops_at, first
from spotweave import sources
from spotweave.errors import Refusal
from spotweave.sources import geo, github, huggingface, synapse, tenx
from spotweave.transfer.files import Checksum, FetchSettings, Unreachable, Wanted, parse_checksum

SETTINGS = FetchSettings(attempts=3, timeout_s=20, backoff_s=0)
CONTENT = b"x,y\n10,14\n" * 6000
OTHER = b"x,y\n11,15\n" * 6000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()
TOKEN = "hunter2-secret"


class _Silent(Exchange):
    """Answers a HEAD request: all but the body."""

    def _send(self, body: bytes, chunked: bool = False) -> None:
        """Nothing is sent."""


class _Handler(fault_server._Handler):
    body: bytes = b""

    def do_HEAD(self) -> None:
        path = self.path.partition("?")[0]
        number = self.server.note(path, dict(self.headers))
        self.path = path
        content, behaviour = self.server.files.get(path, (b"", answers(404)))
        behaviour(_Silent(self, content, number))

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()


class Publisher(FaultServer):
    """A server that also knows HEAD and POST, and takes the place of others."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._mirrors: dict[str, str] = {}

    def __enter__(self) -> Self:
        super().__enter__()
        self._server.RequestHandlerClass = _Handler
        return self

    def stands_for(self, address: str, name: str) -> None:
        """Answer below `/<name>/` what is asked of an address."""
        self._mirrors[address] = f"{self.address}/{name}/"
        self._monkeypatch.setenv("SPOTWEAVE_MIRRORS", " ".join(f"{a}={b}" for a, b in self._mirrors.items()))

    def says(self, name: str, content: Any) -> None:
        """Put an answer on a path: text, what is written as JSON, or a function of the question that returns one."""
        self.put(name, b"", says(content))


def says(content: Any) -> Behaviour:
    def behave(exchange: Exchange) -> None:
        answer = content(asked(exchange)) if callable(content) else content
        if isinstance(answer, Reply):
            exchange.reply(answer.status, answer.body, **answer.headers)
            return
        body = answer if isinstance(answer, str) else json.dumps(answer)
        exchange.reply(200, body.encode(), Content_Type="application/json")

    return behave


@dataclass(frozen=True)
class Reply:
    """An answer that is more than a text."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def asked(exchange: Exchange) -> dict[str, Any]:
    """What was asked: the query, and the fields of a question that was posted as JSON."""
    query = dict(parse_qsl(urlsplit(exchange.handler.requestline.split()[1]).query))
    return {**query, **(json.loads(exchange.handler.body) if exchange.handler.command == "POST" else {})}


def forget() -> None:
    """Drop what the sources remember of publishers."""
    for name in sources.SOURCES.names():
        for value in vars(importlib.import_module(f"spotweave.sources.{name}")).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    monkeypatch.setenv("NO_PROXY", "*")
    for variable in ("SPOTWEAVE_MIRRORS", "HF_ENDPOINT", "HF_TOKEN", "GITHUB_TOKEN", "SYNAPSE_AUTH_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    forget()
    with Publisher(monkeypatch) as running:
        yield running
    forget()


@dataclass(frozen=True)
class Deposit:
    """A published file: where it is on the server, how a row names it, and an accession that is not there."""

    accession: str
    name: str
    path: str
    missing: str
    content: bytes = CONTENT

    @property
    def location(self) -> str:
        return f"{self.accession}/{self.name}"


def bring(source: str, location: str, folder: Path, checksum: str = "", settings: FetchSettings = SETTINGS):
    wanted = Wanted("spots", location, parse_checksum(checksum))
    return sources.SOURCES.load(source).fetch(wanted, folder, settings)


def listed(source: str, accession: str) -> list[str]:
    return [file.name for file in sources.SOURCES.load(source).list_files(accession, SETTINGS).files]


# --- GEO ------------------------------------------------------------------------------------------------------------

SAMPLE, SERIES = "GSM5732357", "GSE190811"
SAMPLE_FOLDER = f"geo/samples/GSM5732nnn/{SAMPLE}/suppl/"
SERIES_FOLDER = f"geo/series/GSE190nnn/{SERIES}/suppl/"
MEMBER = f"{SAMPLE}_spots.csv"
RECORD, PAGE = "record/acc.cgi", "page/"
UNKNOWN = '<HTML><BODY>Could not find a public or private accession "{acc}"</BODY></HTML>'


def index_page(*names: str) -> str:
    """As the web server of NCBI writes it."""
    rows = "".join(f'<a href="{quote(name)}">{name}</a>   2021-12-13 10:00  1.2M  \n' for name in names)
    return (
        '<html><head><title>Index of /geo</title></head><body><h1>Index of /geo</h1><pre><a href="?C=N;O=D">Name</a>'
        f'<hr><a href="/geo/samples/">Parent Directory</a>      -   \n{rows}<hr></pre>'
        '<a href="https://www.hhs.gov/vulnerability-disclosure-policy/index.html">HHS Vulnerability Disclosure</a>'
        "</body></html>"
    )


def filelist(*rows: tuple[str, str, int]) -> str:
    lines = (f"{kind}\t{name}\t12/13/2021 10:00:00\t{size}\tCSV\n" for kind, name, size in rows)
    return "#Archive/File\tName\tTime\tSize\tType\n" + "".join(lines)


def soft(accession: str, *lines: str) -> str:
    kind = {"GSE": "Series", "GSM": "Sample"}[accession[:3]]
    return f"^{kind.upper()} = {accession}\n!{kind}_title = A study\n" + "".join(f"!{kind}_{line}\n" for line in lines)


def publish_geo(server: Publisher) -> Deposit:
    """A sample, and its series with a RAW.tar and a table of its own."""
    server.stands_for("https://ftp.ncbi.nlm.nih.gov/geo/", "geo")
    server.stands_for("https://www.ncbi.nlm.nih.gov/geo/query/", "record")
    server.stands_for("https://www.ncbi.nlm.nih.gov/geo/download/", "page")
    server.says(SAMPLE_FOLDER, index_page(MEMBER))
    server.put(SAMPLE_FOLDER + MEMBER, CONTENT)
    server.says(SERIES_FOLDER, index_page(f"{SERIES}_RAW.tar", f"{SERIES}_all.csv.gz", "filelist.txt"))
    members = [("Archive", f"{SERIES}_RAW.tar", 70_000), ("File", MEMBER, len(CONTENT))]
    server.says(SERIES_FOLDER + "filelist.txt", filelist(*members))
    server.says(RECORD, lambda question: UNKNOWN.format(**question))
    return Deposit(SAMPLE, MEMBER, SAMPLE_FOLDER + MEMBER, "GSM999999999")


@pytest.mark.parametrize(
    ("accession", "folder"),
    [
        ("GSE190811", "series/GSE190nnn/GSE190811"),
        ("GSE1000", "series/GSE1nnn/GSE1000"),
        ("GSE999", "series/GSEnnn/GSE999"),
        ("GSE5", "series/GSEnnn/GSE5"),
        ("GSM12", "samples/GSMnnn/GSM12"),
        ("GSM5732357", "samples/GSM5732nnn/GSM5732357"),
    ],
)
def test_the_folder_of_a_geo_accession_is_grouped_by_its_thousand(accession, folder):
    assert geo.folder_of(accession) == f"https://ftp.ncbi.nlm.nih.gov/geo/{folder}/suppl/"


def test_a_geo_series_lists_its_own_files_and_the_members_of_its_archive_with_sizes(publisher):
    publish_geo(publisher)
    files = geo.list_files(SERIES, SETTINGS).files
    assert [(file.name, file.checksum.size) for file in files] == [
        (f"{SERIES}_RAW.tar", 70_000),
        (f"{SERIES}_all.csv.gz", None),
        (MEMBER, len(CONTENT)),
    ]


def test_a_member_of_a_geo_series_is_fetched_from_its_sample_and_not_out_of_the_archive(publisher, tmp_path):
    publish_geo(publisher)
    got = bring("geo", f"{SERIES}/{MEMBER}", tmp_path)
    assert got.sha256 == SHA256
    assert publisher.statuses(SERIES_FOLDER + f"{SERIES}_RAW.tar") == []


def test_a_member_whose_size_is_not_the_one_geo_lists_is_refused(publisher, tmp_path):
    publish_geo(publisher)
    publisher.put(SAMPLE_FOLDER + MEMBER, CONTENT[:-10])
    with pytest.raises(Refusal) as refused:
        bring("geo", f"{SERIES}/{MEMBER}", tmp_path)
    assert (refused.value.measured, refused.value.threshold) == (len(CONTENT) - 10, len(CONTENT))


@pytest.mark.parametrize("written", ["GSM5732357_A%26B%20%231.csv", "GSM5732357_A&amp;B%20%231.csv"])
def test_names_with_odd_characters_survive_the_index_page_and_the_way_back(publisher, tmp_path, written):
    publish_geo(publisher)
    name = "GSM5732357_A&B #1.csv"
    publisher.says(SAMPLE_FOLDER, index_page(MEMBER).replace(f'"{MEMBER}"', f'"{written}"'))
    assert listed("geo", SAMPLE) == [name]
    publisher.put(PAGE, CONTENT, lambda one: one.serve() if asked(one)["file"] == name else one.reply(404))
    assert bring("geo", f"{SAMPLE}/{name}", tmp_path / "page").sha256 == SHA256
    publisher.put(SAMPLE_FOLDER + quote(name), CONTENT)
    publisher.put(PAGE, b"", answers(404))
    assert bring("geo", f"{SAMPLE}/{name}", tmp_path / "tree").sha256 == SHA256


def test_a_file_that_the_tree_misses_is_fetched_by_the_download_page(publisher, tmp_path):
    deposit = publish_geo(publisher)
    publisher.put(deposit.path, b"", answers(404))
    questions = []

    def page(exchange: Exchange) -> None:
        questions.append(asked(exchange))
        exchange.serve()

    publisher.put(PAGE, CONTENT, page)
    assert bring("geo", deposit.location, tmp_path).sha256 == SHA256
    assert questions == [{"acc": SAMPLE, "format": "file", "file": MEMBER}]


@pytest.mark.parametrize("status", [403, 404])
def test_a_file_that_geo_lists_and_denies_for_a_while_is_asked_for_again(publisher, tmp_path, status):
    deposit = publish_geo(publisher)
    publisher.put(deposit.path, CONTENT, first(answers(status), answers(status)))
    assert bring("geo", deposit.location, tmp_path).sha256 == SHA256
    assert publisher.statuses(deposit.path) == [status, status, 200]


@pytest.mark.parametrize("status", [403, 404])
def test_a_file_that_geo_lists_and_keeps_denying_is_a_failure_not_a_refusal(publisher, tmp_path, status):
    deposit = publish_geo(publisher)
    publisher.put(deposit.path, b"", answers(status))
    with pytest.raises(Unreachable, match="GEO lists the file"):
        bring("geo", deposit.location, tmp_path)
    assert publisher.statuses(deposit.path) == [status] * SETTINGS.attempts


def test_a_member_that_lies_only_in_the_archive_is_refused_with_the_place_to_write(publisher, tmp_path):
    publish_geo(publisher)
    publisher.says(SAMPLE_FOLDER, index_page("GSM5732357_other.csv"))
    publisher.put(SAMPLE_FOLDER + MEMBER, b"", answers(404))
    with pytest.raises(Refusal, match=re.escape(f"{SERIES}/{SERIES}_RAW.tar!{MEMBER}")):
        bring("geo", f"{SERIES}/{MEMBER}", tmp_path)


def test_a_geo_folder_that_cannot_be_listed_for_a_while_is_asked_again_if_the_record_has_files(publisher):
    publish_geo(publisher)
    page = says(index_page(MEMBER, "GSM5732357_cells.csv"))
    publisher.put(SAMPLE_FOLDER, b"", first(answers(404), answers(403), then=page))
    publisher.says(RECORD, soft(SAMPLE, f"supplementary_file_1 = ftp://ftp.ncbi.nlm.nih.gov/{SAMPLE_FOLDER}{MEMBER}"))
    assert listed("geo", SAMPLE) == [MEMBER, "GSM5732357_cells.csv"]
    assert publisher.statuses(SAMPLE_FOLDER) == [404, 403, 200]


def test_a_geo_folder_that_cannot_be_listed_at_all_has_the_files_of_the_record(publisher, tmp_path):
    publish_geo(publisher)
    publisher.put(SAMPLE_FOLDER, b"", answers(404))
    publisher.says(RECORD, soft(SAMPLE, f"supplementary_file_1 = ftp://ftp.ncbi.nlm.nih.gov/{SAMPLE_FOLDER}{MEMBER}"))
    assert listed("geo", SAMPLE) == [MEMBER]
    assert bring("geo", f"{SAMPLE}/{MEMBER}", tmp_path).sha256 == SHA256


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ('<html>Accession "GSM1" was deleted by the GEO staff on Feb 16, 2018.</html>', "withdrawn"),
        ('<html>Accession "GSM1" is currently private and is scheduled to be released on</html>', "not public yet"),
        ('<html>Could not find a public or private accession "GSM1"</html>', "does not exist"),
        (soft("GSM1", "supplementary_file_1 = NONE"), "no supplementary files"),
    ],
)
def test_a_geo_accession_without_files_is_refused_by_what_its_record_says_at_once(publisher, record, words):
    publish_geo(publisher)
    publisher.says(RECORD, record)
    with pytest.raises(Refusal, match=f"GSM1: .*{words}"):
        geo.list_files("GSM1", SETTINGS)
    assert publisher.statuses("geo/samples/GSMnnn/GSM1/suppl/") == [404]


@pytest.mark.parametrize("record", ["<html>Error: the service is overloaded</html>", soft("GSM2")])
def test_a_geo_accession_is_not_called_missing_without_a_record_that_says_so(publisher, record):
    publish_geo(publisher)
    publisher.says(RECORD, record)
    with pytest.raises(Unreachable, match="GSM1"):
        geo.list_files("GSM1", SETTINGS)


def test_a_list_of_members_that_is_there_but_denied_is_a_failure(publisher):
    publish_geo(publisher)
    publisher.put(SERIES_FOLDER + "filelist.txt", b"", answers(404))
    with pytest.raises(Unreachable, match="filelist"):
        geo.list_files(SERIES, SETTINGS)


def test_a_superseries_without_files_has_those_of_its_sub_series(publisher, tmp_path):
    publish_geo(publisher)
    relation = [f"relation = SuperSeries of: {SERIES}", "relation = BioProject: https://www.ncbi.nlm.nih.gov/x"]
    publisher.says(RECORD, soft("GSE7", "supplementary_file = NONE", *relation))
    assert listed("geo", "GSE7") == listed("geo", SERIES)
    assert bring("geo", f"GSE7/{MEMBER}", tmp_path).sha256 == SHA256


# --- 10x Genomics ---------------------------------------------------------------------------------------------------

XENIUM = "xenium/2.0.0/Xenium_V1_human_Pancreas_FFPE"
CLOUDFRONT, S3 = "cf", "s3"


def put_tenx(server: Publisher, accession: str, *endings: str, host: str = CLOUDFRONT) -> list[str]:
    server.stands_for("https://cf.10xgenomics.com/samples/", CLOUDFRONT)
    server.stands_for("https://s3-us-west-2.amazonaws.com/10x.files/samples/", S3)
    names = [f"{accession.rpartition('/')[2]}_{ending}" for ending in endings]
    for name in names:
        server.put(f"{host}/{accession}/{name}", CONTENT)
    return names


def publish_tenx(server: Publisher) -> Deposit:
    names = put_tenx(server, XENIUM, "he_imagealignment.csv")
    return Deposit(XENIUM, names[0], f"{CLOUDFRONT}/{XENIUM}/{names[0]}", "xenium/2.0.0/no_such_sample")


VISIUM, CYTASSIST, HD = (
    "spatial-exp/1.1.0/V1_Human_Heart",
    "spatial-exp/2.0.0/CytAssist_FFPE_Human_Breast_Cancer",
    "spatial-exp/3.0.0/Visium_HD_Human_Colon_Cancer",
)


@pytest.mark.parametrize(
    ("accession", "endings"),
    [
        (VISIUM, ["filtered_feature_bc_matrix.h5", "raw_feature_bc_matrix.h5", "spatial.tar.gz", "image.tif"]),
        (VISIUM, ["filtered_feature_bc_matrix.h5", "spatial.tar.gz", "image.jpg"]),
        (CYTASSIST, ["filtered_feature_bc_matrix.h5", "spatial.tar.gz", "tissue_image.tif", "image.tif"]),
        (HD, ["spatial.tar.gz", "tissue_image.btf", "image.tif", "binned_outputs.tar.gz"]),
        (XENIUM, ["outs.zip", "he_image.ome.tif", "he_imagealignment.csv"]),
    ],
)
def test_the_files_of_a_10x_sample_are_found_by_their_names(publisher, accession, endings):
    names = put_tenx(publisher, accession, *endings)
    assert listed("tenx", accession) == names
    assert {file.checksum.size for file in tenx.list_files(accession, SETTINGS).files} == {len(CONTENT)}
    assert publisher.bytes_sent(f"{CLOUDFRONT}/{accession}/{names[0]}") == 0


def test_what_a_pipeline_version_cannot_have_written_is_not_asked_for(publisher):
    put_tenx(publisher, VISIUM, "image.tif")
    listed("tenx", VISIUM)
    sample = VISIUM.rpartition("/")[2]
    for ending in ("tissue_image.tif", "binned_outputs.tar.gz", "segmented_outputs.tar.gz"):
        assert publisher.statuses(f"{CLOUDFRONT}/{VISIUM}/{sample}_{ending}") == []
    # The first ending of a picture that is there ends the search.
    assert publisher.statuses(f"{CLOUDFRONT}/{VISIUM}/{sample}_image.jpg") == []


def test_a_10x_sample_is_asked_for_with_few_questions(publisher):
    put_tenx(publisher, "spatial-exp/4.0.1/X", "spatial.tar.gz")
    listed("tenx", "spatial-exp/4.0.1/X")
    asked_for = sum(len(pattern.endings) for pattern in tenx.PATTERNS["spatial-exp"])
    assert sum(map(len, publisher._server.seen.values())) == 2 * asked_for - 1
    assert asked_for == 15


def test_a_big_10x_bundle_is_found_at_the_second_host(publisher, tmp_path):
    put_tenx(publisher, XENIUM, "he_image.ome.tif")
    (name,) = put_tenx(publisher, XENIUM, "cells.csv.gz", host=S3)
    publisher.put(f"{S3}/{XENIUM}/{name}", gzip.compress(CONTENT, mtime=0))
    assert bring("tenx", f"{XENIUM}/{name}", tmp_path).name == name
    assert publisher.statuses(f"{CLOUDFRONT}/{XENIUM}/{name}") == [404]


def test_a_10x_file_may_be_had_from_the_second_host_while_the_first_is_in_trouble(publisher, tmp_path):
    deposit = publish_tenx(publisher)
    publisher.put(deposit.path, b"", answers(503))
    publisher.put(deposit.path.replace(CLOUDFRONT, S3, 1), CONTENT)
    assert bring("tenx", deposit.location, tmp_path).sha256 == SHA256


@pytest.mark.parametrize("trouble", [answers(503), answers(429), answers(200, b"<html>", Content_Type="text/html")])
def test_a_10x_server_in_trouble_is_not_taken_for_one_without_the_file(publisher, trouble):
    deposit = publish_tenx(publisher)
    publisher.put(deposit.path, CONTENT, trouble)
    with pytest.raises(Unreachable):
        tenx.list_files(XENIUM, SETTINGS)


def test_10x_servers_deny_clients_that_do_not_look_like_a_browser(publisher, tmp_path):
    deposit = publish_tenx(publisher)

    def picky(exchange: Exchange) -> None:
        agent = exchange.header("User-Agent") or ""
        exchange.serve() if agent.startswith("Mozilla/") else exchange.reply(403)

    publisher.put(deposit.path, CONTENT, picky)
    assert listed("tenx", XENIUM) == [deposit.name]
    assert bring("tenx", deposit.location, tmp_path).sha256 == SHA256


def test_a_10x_file_of_an_unusual_name_can_be_named_in_a_row(publisher, tmp_path):
    (name,) = put_tenx(publisher, VISIUM, "probe_set.csv")
    assert bring("tenx", f"{VISIUM}/{name}", tmp_path).sha256 == SHA256


# --- Hugging Face ---------------------------------------------------------------------------------------------------

DATASET = "MahmoodLab/hest"
TREE = f"hub/api/datasets/{DATASET}/tree/main"
RESOLVE = f"hub/datasets/{DATASET}/resolve/main"


def hub_entry(path: str, content: bytes, *, is_large: bool = True) -> dict[str, Any]:
    """As the hub writes it: for a large file `oid` is the blob of its pointer, and `lfs.oid` the sha256."""
    entry: dict[str, Any] = {"type": "file", "oid": hashlib.sha1(path.encode()).hexdigest(), "size": len(content)}
    if is_large:
        sha256 = hashlib.sha256(content).hexdigest()
        entry |= {"lfs": {"oid": sha256, "size": len(content), "pointerSize": 134}, "xetHash": sha256[::-1]}
    return {**entry, "path": path}


def publish_huggingface(server: Publisher) -> Deposit:
    server.stands_for("https://huggingface.co/", "hub")
    folder = {"type": "directory", "oid": "0" * 40, "size": 0, "path": "st"}
    large, small = hub_entry("st/INT1.csv", CONTENT), hub_entry("README.csv", OTHER, is_large=False)
    server.says(
        TREE,
        lambda question: [folder, small] if question["recursive"] == "false" else [folder, small, large],
    )
    server.says(f"{TREE}/st", [large])
    server.put(f"{RESOLVE}/st/INT1.csv", CONTENT)
    server.put(f"{RESOLVE}/README.csv", OTHER)
    missing = Reply(401, b'{"error":"Invalid username or password."}', {"X_Error_Code": "RepoNotFound"})
    server.says("hub/api/datasets/nobody/nothing/tree/main", lambda _: missing)
    return Deposit(DATASET, "st/INT1.csv", f"{RESOLVE}/st/INT1.csv", "nobody/nothing")


def test_a_dataset_lists_its_files_with_sha256_where_they_are_large(publisher):
    publish_huggingface(publisher)
    files = huggingface.list_files(DATASET, SETTINGS).files
    assert [(file.name, file.checksum) for file in files] == [
        ("README.csv", Checksum(size=len(OTHER))),
        ("st/INT1.csv", Checksum(sha256=SHA256, size=len(CONTENT))),
    ]


def test_a_dataset_of_many_files_is_listed_page_after_page(publisher):
    publish_huggingface(publisher)
    pages = {"": ["a.csv", "b.csv"], "c2=": ["c.csv"], "c3=": ["d.csv"]}
    following = {"": "c2=", "c2=": "c3="}

    def page(question: dict[str, str]) -> Reply:
        cursor = question.get("cursor", "")
        body = json.dumps([hub_entry(path, CONTENT) for path in pages[cursor]]).encode()
        url = f"https://huggingface.co/api/datasets/{DATASET}/tree/main?recursive=true&limit=1000"
        more = following.get(cursor)
        return Reply(200, body, {"Link": f'<{url}&cursor={quote(more, safe="")}>; rel="next"'} if more else {})

    publisher.says(TREE, page)
    assert listed("huggingface", DATASET) == ["a.csv", "b.csv", "c.csv", "d.csv"]


def test_a_revision_is_asked_for_by_its_name(publisher, tmp_path):
    publish_huggingface(publisher)
    publisher.says(f"hub/api/datasets/{DATASET}/tree/v1.1/st", [hub_entry("st/INT1.csv", CONTENT)])
    publisher.put(f"hub/datasets/{DATASET}/resolve/v1.1/st/INT1.csv", CONTENT)
    publisher.put(f"{RESOLVE}/st/INT1.csv", OTHER)
    assert bring("huggingface", f"{DATASET}@v1.1/st/INT1.csv", tmp_path).sha256 == SHA256


def test_another_hub_can_be_named(publisher, tmp_path, monkeypatch):
    deposit = publish_huggingface(publisher)
    monkeypatch.delenv("SPOTWEAVE_MIRRORS")
    monkeypatch.setenv("HF_ENDPOINT", f"{publisher.address}/hub/")
    assert bring("huggingface", deposit.location, tmp_path).sha256 == SHA256


@pytest.mark.parametrize(
    ("status", "token", "words"),
    [(401, "", "gated.*accept the terms.*HF_TOKEN"), (403, TOKEN, "gated"), (401, TOKEN, "HF_TOKEN .* not valid")],
)
def test_a_gated_dataset_is_refused_with_the_steps_to_take(publisher, tmp_path, monkeypatch, status, token, words):
    deposit = publish_huggingface(publisher)
    publisher.put(deposit.path, b"", answers(status, b"Access to dataset is restricted", X_Error_Code="GatedRepo"))
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(Refusal, match=words) as refused:
        bring("huggingface", deposit.location, tmp_path)
    assert refused.value.measured == status
    assert TOKEN not in refused.value.reason


def test_a_token_goes_to_the_hub_and_not_on_to_the_host_of_the_bytes(publisher, tmp_path, monkeypatch):
    deposit = publish_huggingface(publisher)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with FaultServer() as other_host:
        address = other_host.put("blob", CONTENT, drops_at(0.5))
        publisher.put(deposit.path, b"", answers(302, Location=f"{address}?X-Amz-Signature=abc"))
        assert bring("huggingface", deposit.location, tmp_path).sha256 == SHA256
        assert len(other_host.requests("blob")) == 2
        assert not [headers for headers in other_host.requests("blob") if "Authorization" in headers]
    assert {headers.get("Authorization") for headers in publisher.requests(deposit.path)} == {f"Bearer {TOKEN}"}


# --- GitHub ---------------------------------------------------------------------------------------------------------

COMMIT = "9f2260c6aa8347996955d53f0a5f06ac14c93470"
REPOSITORY = "almaan/her2st"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{SHA256}\nsize {len(CONTENT)}\n".encode()


def git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob " + str(len(content)).encode() + b"\0" + content).hexdigest()


def put_github(server: Publisher, files: dict[str, bytes], **more: Any) -> None:
    server.stands_for("https://api.github.com/", "api")
    server.stands_for("https://raw.githubusercontent.com/", "raw")
    server.stands_for("https://media.githubusercontent.com/", "media")
    tree: list[dict[str, Any]] = [{"path": "data", "mode": "040000", "type": "tree", "sha": "0" * 40}]
    for path, content in files.items():
        entry = {"path": path, "mode": "100644", "type": "blob", "sha": git_blob(content), "size": len(content)}
        tree.append(entry)
        server.put(f"raw/{REPOSITORY}/{COMMIT}/{quote(path)}", content)
    answer = {"sha": COMMIT, "tree": tree, "truncated": False, **more}
    server.says(f"api/repos/{REPOSITORY}/git/trees/{COMMIT}", answer)


def publish_github(server: Publisher) -> Deposit:
    put_github(server, {"README.md": b"# her2st\n", "data/A1 selection.csv": CONTENT})
    path = f"raw/{REPOSITORY}/{COMMIT}/data/A1%20selection.csv"
    return Deposit(f"{REPOSITORY}@{COMMIT}", "data/A1 selection.csv", path, f"almaan/nothing@{COMMIT}")


def test_the_blob_of_a_file_is_named_as_git_names_it(tmp_path):
    # `printf 'hello\n' | git hash-object --stdin`
    (tmp_path / "hello").write_bytes(b"hello\n")
    assert github.blob_sha1(tmp_path / "hello") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_a_file_that_is_not_the_blob_of_the_commit_is_refused_and_removed(publisher, tmp_path):
    deposit = publish_github(publisher)
    publisher.put(deposit.path, OTHER)
    with pytest.raises(Refusal, match="not the file of the commit"):
        bring("github", deposit.location, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_kept_with_git_lfs_is_fetched_from_where_github_keeps_it(publisher, tmp_path):
    put_github(publisher, {"data/B4.csv": POINTER})
    publisher.put(f"media/media/{REPOSITORY}/{COMMIT}/data/B4.csv", CONTENT)
    got = bring("github", f"{REPOSITORY}@{COMMIT}/data/B4.csv", tmp_path)
    assert (got.sha256, got.bytes) == (SHA256, len(CONTENT))


def test_a_file_kept_with_git_lfs_is_held_against_its_pointer(publisher, tmp_path):
    put_github(publisher, {"data/B4.csv": POINTER})
    publisher.put(f"media/media/{REPOSITORY}/{COMMIT}/data/B4.csv", OTHER)
    with pytest.raises(Refusal, match=SHA256):
        bring("github", f"{REPOSITORY}@{COMMIT}/data/B4.csv", tmp_path)


def test_a_small_file_is_not_taken_for_a_pointer(publisher, tmp_path):
    small, binary = b"x,y\n" * 33, b"\xff\xfe\x00" * 44
    put_github(publisher, {"small.csv": small, "small.bin": binary})
    for name, content in {"small.csv": small, "small.bin": binary}.items():
        got = bring("github", f"{REPOSITORY}@{COMMIT}/{name}", tmp_path)
        assert got.path.read_bytes() == content


@pytest.mark.parametrize("name", ["@main", "@v1.0", "@9f2260c", ""])
def test_what_is_no_full_commit_is_refused_with_the_commit_it_is_now(publisher, name):
    publish_github(publisher)
    publisher.says(f"api/repos/{REPOSITORY}/commits", [{"sha": COMMIT, "commit": {"message": "Add data"}}])
    with pytest.raises(Refusal, match=f"now it is {REPOSITORY}@{COMMIT}"):
        github.list_files(f"{REPOSITORY}{name}", SETTINGS)


def test_a_repository_too_big_to_be_listed_is_refused(publisher):
    put_github(publisher, {"a.csv": CONTENT}, truncated=True)
    with pytest.raises(Refusal, match=r"raw\.githubusercontent\.com"):
        github.list_files(f"{REPOSITORY}@{COMMIT}", SETTINGS)


@pytest.mark.parametrize("headers", [{"X_RateLimit_Remaining": "0"}, {}])
def test_the_end_of_the_hours_questions_is_a_failure_not_a_refusal(publisher, headers):
    publish_github(publisher)
    limit = answers(403, b'{"message":"API rate limit exceeded"}', **headers)
    publisher.put(f"api/repos/{REPOSITORY}/git/trees/{COMMIT}", b"", limit)
    with pytest.raises(Unreachable, match=r"(?i)token"):
        github.list_files(f"{REPOSITORY}@{COMMIT}", SETTINGS)


# --- Human Cell Atlas -----------------------------------------------------------------------------------------------

PROJECT = "957261f7-2bd6-4358-a6ed-24ee080d5cfc"
AZUL = "https://service.azul.data.humancellatlas.org"
FILE_ID = "aa11bb22-0000-4000-8000-000000000001"
VERSION = "2022-01-01T00:00:00.000000Z"


def azul_file(number: str, name: str, content: bytes = CONTENT) -> dict[str, Any]:
    return {
        "contentDescription": [None],
        "format": "csv",
        "name": name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "uuid": number,
        "version": VERSION,
        "azul_url": f"{AZUL}/repository/files/{number}?catalog=dcp44&version={quote(VERSION)}",
    }


def publish_hca(server: Publisher) -> Deposit:
    server.stands_for(f"{AZUL}/", "azul")
    server.says("azul/index/files", azul_index([azul_file(FILE_ID, "spots.csv")]))
    address = server.put("storage/spots", CONTENT)
    signed = f"{address}?X-Goog-Signature=abc"
    server.says(f"azul/fetch/repository/files/{FILE_ID}", {"Status": 302, "Location": signed})
    server.put(f"azul/repository/files/{FILE_ID}", b"", answers(302, Location=signed))
    return Deposit(PROJECT, "spots.csv", "storage/spots", PROJECT.replace("9", "0"))


def azul_index(files: list[dict[str, Any]], size: int = 500) -> Callable[[dict[str, str]], dict[str, Any]]:
    """The service's listing: one hit a file, the address of the next page in full."""

    def answer(question: dict[str, str]) -> dict[str, Any]:
        known = json.loads(question["filters"]) == {"projectId": {"is": [PROJECT]}}
        start = int(question.get("search_after", 0))
        hits = [{"entryId": file["uuid"], "files": [file]} for file in files[start : start + size]] if known else []
        more = known and start + size < len(files)
        following = f"{AZUL}/index/files?filters={quote(question['filters'])}&size=500&search_after={start + size}"
        pagination = {"count": len(hits), "total": len(files), "next": following if more else None, "previous": None}
        return {"hits": hits, "pagination": pagination, "termFacets": {}}

    return answer


def test_a_project_of_many_files_is_listed_page_after_page_in_one_order(publisher):
    publish_hca(publisher)
    files = [azul_file(f"{i:08d}", f"spots_{9 - i}.csv") for i in range(7)]
    publisher.says("azul/index/files", azul_index(files, size=3))
    assert listed("hca", PROJECT) == [f"spots_{i}.csv" for i in range(3, 10)]


def test_files_of_one_name_in_a_project_are_told_apart(publisher, tmp_path):
    publish_hca(publisher)
    files = [azul_file("22", "spots.csv", OTHER), azul_file(FILE_ID, "spots.csv"), azul_file("33", "cells.csv")]
    publisher.says("azul/index/files", azul_index(files))
    assert listed("hca", PROJECT) == ["cells.csv", "22/spots.csv", f"{FILE_ID}/spots.csv"]
    with pytest.raises(Refusal, match="2 files are called"):
        bring("hca", f"{PROJECT}/spots.csv", tmp_path)
    assert bring("hca", f"{PROJECT}/{FILE_ID}/spots.csv", tmp_path).sha256 == SHA256


def test_a_file_that_is_being_prepared_is_waited_for(publisher, tmp_path, monkeypatch):
    deposit = publish_hca(publisher)
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    step = f"azul/fetch/repository/files/{FILE_ID}"
    later = {"Status": 301, "Retry-After": 7, "Location": f"{AZUL}/fetch/repository/files/{FILE_ID}?requestIndex=1"}
    ready = {"Status": 302, "Location": "https://storage.example.org/signed"}
    publisher.put(step, b"", first(says(later), says(later), then=says(ready)))
    assert bring("hca", deposit.location, tmp_path).sha256 == SHA256
    assert waits == [7, 7]


def test_the_service_is_asked_to_wait_by_itself_should_it_prepare_a_file_once_more(publisher, tmp_path):
    deposit = publish_hca(publisher)
    questions = []

    def redirect(question: dict[str, str]) -> Reply:
        questions.append(question)
        return Reply(302, b"", {"Location": f"{publisher.address}/{deposit.path}"})

    publisher.says(f"azul/repository/files/{FILE_ID}", redirect)
    assert bring("hca", deposit.location, tmp_path).sha256 == SHA256
    assert questions == [{"catalog": "dcp44", "version": VERSION, "wait": "1"}]


def test_a_file_that_is_prepared_for_ever_is_a_failure(publisher, tmp_path, monkeypatch):
    deposit = publish_hca(publisher)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    later = {"Status": 301, "Retry-After": 1, "Location": f"{AZUL}/fetch/repository/files/{FILE_ID}"}
    publisher.says(f"azul/fetch/repository/files/{FILE_ID}", later)
    with pytest.raises(Unreachable, match="still being prepared"):
        bring("hca", deposit.location, tmp_path)


def test_a_signed_address_that_expires_during_a_download_is_asked_for_anew(publisher, tmp_path):
    deposit = publish_hca(publisher)
    expiring = publisher.put("storage/signed-0", CONTENT, first(drops_at(0.5), then=answers(403)))
    fresh = publisher.put("storage/signed-1", CONTENT)
    redirects = [answers(302, Location=address) for address in (expiring, fresh)]
    publisher.put(f"azul/repository/files/{FILE_ID}", b"", first(redirects[0], then=redirects[1]))
    assert bring("hca", deposit.location, tmp_path).sha256 == SHA256
    sent = [publisher.bytes_sent(f"storage/signed-{i}") for i in range(2)]
    assert sent == [len(CONTENT) // 2, len(CONTENT) // 2]


# --- Synapse --------------------------------------------------------------------------------------------------------

ENTITY = "org.sagebionetworks.repo.model."
FOLDER_ID, FILE_SYN = "syn51133602", "syn51133604"


def publish_synapse(server: Publisher, monkeypatch: pytest.MonkeyPatch) -> Deposit:
    """A folder with a folder with a file; files are handed out by a redirect."""
    monkeypatch.setenv("SYNAPSE_AUTH_TOKEN", TOKEN)
    server.stands_for("https://repo-prod.prod.sagebase.org/", "synapse")
    entities = "synapse/repo/v1/entity"
    server.says(f"{entities}/{FOLDER_ID}", {"id": FOLDER_ID, "name": "HTAN", "concreteType": f"{ENTITY}Folder"})
    file = {
        "id": FILE_SYN,
        "name": "spots.csv",
        "concreteType": f"{ENTITY}FileEntity",
        "dataFileHandleId": "123",
        "versionNumber": 2,
    }
    server.says(f"{entities}/{FILE_SYN}", file)
    handles = [
        {"id": "122", "contentMd5": "0" * 32, "contentSize": 5, "fileName": "preview.txt"},
        {"id": "123", "contentMd5": MD5, "contentSize": len(CONTENT), "fileName": "spots.csv"},
    ]
    server.says(f"{entities}/{FILE_SYN}/filehandles", {"list": handles})
    children = {
        FOLDER_ID: [
            {"name": "notes.csv", "id": "syn2", "type": f"{ENTITY}FileEntity"},
            {"name": "S1", "id": "syn1", "type": f"{ENTITY}Folder"},
        ],
        "syn1": [{"name": "spots.csv", "id": FILE_SYN, "type": f"{ENTITY}FileEntity"}],
    }

    def page(question: dict[str, Any]) -> dict[str, Any]:
        assert question["includeTypes"] == ["file", "folder"]
        start = int(question["nextPageToken"] or 0)
        found = children[question["parentId"]]
        return {"page": found[start : start + 1], "nextPageToken": str(start + 1) if start + 1 < len(found) else None}

    server.says(f"{entities}/children", page)
    address = server.put("s3/spots", CONTENT)
    signed = Reply(307, b"", {"Location": f"{address}?X-Amz-Signature=abc"})
    expected = {"fileAssociateType": "FileEntity", "fileAssociateId": FILE_SYN, "redirect": "true"}
    server.says("synapse/file/v1/file/123", lambda question: signed if question == expected else Reply(403))
    return Deposit(FOLDER_ID, "S1/spots.csv", "s3/spots", "syn999")


def test_the_folders_of_synapse_are_walked_page_after_page(publisher, monkeypatch):
    publish_synapse(publisher, monkeypatch)
    assert listed("synapse", FOLDER_ID) == ["S1/spots.csv", "notes.csv"]


def test_an_id_of_synapse_may_be_that_of_a_file(publisher, monkeypatch, tmp_path):
    publish_synapse(publisher, monkeypatch)
    assert listed("synapse", FILE_SYN) == ["spots.csv"]
    assert bring("synapse", f"{FILE_SYN}/spots.csv", tmp_path).sha256 == SHA256


def test_synapse_without_a_token_is_refused_with_the_steps_to_take(publisher, monkeypatch, tmp_path):
    deposit = publish_synapse(publisher, monkeypatch)
    monkeypatch.delenv("SYNAPSE_AUTH_TOKEN")
    for ask in (lambda: synapse.list_files(FOLDER_ID, SETTINGS), lambda: bring("synapse", deposit.location, tmp_path)):
        with pytest.raises(Refusal, match=r"personal access token .* SYNAPSE_AUTH_TOKEN"):
            ask()
    assert publisher._server.seen == {}


def test_terms_of_synapse_that_are_not_accepted_are_refused_with_the_steps_to_take(publisher, monkeypatch, tmp_path):
    deposit = publish_synapse(publisher, monkeypatch)
    publisher.put("synapse/file/v1/file/123", b"", answers(403, b'{"reason":"unmet access requirements"}'))
    with pytest.raises(Refusal, match="accept the terms"):
        bring("synapse", deposit.location, tmp_path)


def test_the_token_of_synapse_does_not_go_to_the_host_of_the_bytes(publisher, monkeypatch, tmp_path):
    deposit = publish_synapse(publisher, monkeypatch)
    with FaultServer() as other_host:
        address = other_host.put("blob", CONTENT)
        publisher.put("synapse/file/v1/file/123", b"", answers(307, Location=address))
        assert bring("synapse", deposit.location, tmp_path).sha256 == SHA256
        assert not [headers for headers in other_host.requests("blob") if "Authorization" in headers]


# --- Spatial Research -----------------------------------------------------------------------------------------------


def publish_spatial_research(server: Publisher) -> Deposit:
    server.stands_for("https://www.spatialresearch.org/wp-content/uploads/", "uploads")
    server.put("uploads/2016/07/Rep1_MOB.csv", CONTENT)
    return Deposit("2016/07", "Rep1_MOB.csv", "uploads/2016/07/Rep1_MOB.csv", "2016/13")


def test_spatial_research_is_told_who_asks(publisher, tmp_path):
    deposit = publish_spatial_research(publisher)
    bring("spatial_research", deposit.location, tmp_path)
    assert publisher.requests(deposit.path)[0]["User-Agent"].startswith("Mozilla/")


def test_a_web_page_of_spatial_research_in_place_of_a_file_is_refused(publisher, tmp_path):
    deposit = publish_spatial_research(publisher)
    publisher.put(deposit.path, b"<!DOCTYPE html><html><title>Page not found</title></html>")
    with pytest.raises(Refusal, match="web page"):
        bring("spatial_research", deposit.location, tmp_path)
