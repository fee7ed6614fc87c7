"""Servers that mean harm: redirects into the machine, bodies without end, answers that are none, and what is left."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_server import FaultServer, always_drops_at, answers, drops_at, first

from spotweave.errors import Refusal
from spotweave.sources import https
from spotweave.transfer import guard, http
from spotweave.transfer.api import get_json
from spotweave.transfer.files import FetchSettings, Unreachable, Wanted, parse_checksum
from spotweave.transfer.remote_zip import open_zip

ROOT = Path(__file__).resolve().parents[2]
CONTENT = gzip.compress(random.Random(0).randbytes(300_000), mtime=0)
NAME = "counts.tsv.gz"
AT_ONCE = FetchSettings(attempts=2, timeout_s=20, backoff_s=0)
SECRET = b"not for strangers\n" * 100


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    monkeypatch.setenv("NO_PROXY", "*")
    for variable in ("SPOTWEAVE_MIRRORS", "HF_ENDPOINT"):
        monkeypatch.delenv(variable, raising=False)
    with FaultServer() as running:
        yield running


@pytest.fixture
def public(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The server by a name that is taken for a public host's; other names of this machine are what they are."""
    plain, check, port = socket.getaddrinfo, guard.Guard.check_address, server._server.server_port
    names = {"public.example": "127.0.0.1", "internal.example": "127.0.0.1", "meta.example": "169.254.169.254"}

    def judge(self: guard.Guard, address: str, host: str, at: int) -> None:
        if (host, at) != ("public.example", port):
            check(self, address, host, at)

    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *args, **options: plain(names.get(host, host), *args, **options)
    )
    monkeypatch.setattr(guard.Guard, "check_address", judge)
    monkeypatch.setattr(guard.Guard, "__init__", _without_kinds(guard.Guard.__init__))
    return f"http://public.example:{port}"


def _without_kinds(made: Callable[..., None]) -> Callable[..., None]:
    """A guard for a row that names a public host: nothing private is allowed by it."""

    def make(self: guard.Guard, named: str | None = None) -> None:
        made(self, named)
        self.kinds = set()

    return make


def fetch(url: str, folder: Path, checksum: str = "", settings: FetchSettings = AT_ONCE):
    return https.fetch(Wanted("counts", url, parse_checksum(checksum)), folder, settings)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


# How an address of this machine or its network may be written.
INSIDE = [
    "http://127.0.0.1:{port}/secret",
    "http://127.1:{port}/secret",
    "http://2130706433:{port}/secret",
    "http://0x7f000001:{port}/secret",
    "http://0177.0.0.1:{port}/secret",
    "http://0:{port}/secret",
    "http://0.0.0.0:{port}/secret",
    "http://localhost:{port}/secret",
    "http://LOCALHOST:{port}/secret",
    "http://internal.example:{port}/secret",
    "http://[::1]:{port}/secret",
    "http://[::]:{port}/secret",
    "http://[::ffff:127.0.0.1]:{port}/secret",
    "http://[::ffff:7f00:1]:{port}/secret",
    "http://[::127.0.0.1]:{port}/secret",
    "http://[64:ff9b::7f00:1]:{port}/secret",
    "http://[2002:7f00:1::]:{port}/secret",
    "http://me:pw@127.0.0.1:{port}/secret",
    "http://public.example@127.0.0.1:{port}/secret",
    "//127.0.0.1:{port}/secret",
    "http://meta.example/latest/meta-data/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fe80::1]/x",
    "http://[fd00:ec2::254]/latest",
    "http://10.0.0.1/x",
    "http://172.16.0.1/x",
    "http://192.168.1.1/x",
    "http://100.64.0.1/x",
    "http://224.0.0.1/x",
    "http://255.255.255.255/x",
]


@pytest.mark.parametrize("target", INSIDE)
def test_a_redirect_into_the_machine_or_its_network_is_refused(server, public, target, tmp_path):
    secret = server.put("secret", SECRET)
    port = secret.split(":")[2].split("/")[0]
    server.put(NAME, b"", answers(302, Location=target.format(port=port)))
    with pytest.raises(Refusal, match="address of this machine or its network") as refusal:
        fetch(f"{public}/{NAME}", tmp_path)
    assert "\n" not in refusal.value.reason
    assert server.requests("secret") == []
    assert left(tmp_path) == []


def test_a_chain_of_redirects_is_refused_where_it_turns_inside(server, public, tmp_path):
    server.put("secret", SECRET)
    server.put("two", b"", answers(307, Location=f"{server.address}/secret"))
    server.put(NAME, b"", answers(301, Location=f"{public}/two"))
    with pytest.raises(Refusal, match="loopback"):
        fetch(f"{public}/{NAME}", tmp_path)
    assert (server.requests("secret"), len(server.requests("two"))) == ([], 1)


def test_a_name_that_resolves_anew_between_check_and_connection_gets_nothing(server, monkeypatch, tmp_path):
    url = server.put(NAME, SECRET).replace("127.0.0.1", "rebinding.example")
    plain = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: plain("127.0.0.1", *rest, **more))
    monkeypatch.setattr(guard, "_resolved", lambda host, port: ["93.184.215.14"])
    with pytest.raises(Refusal, match=r"rebinding\.example, a loopback address"):
        fetch(url, tmp_path)
    assert server.requests(NAME) == []


@pytest.mark.parametrize("bring", ["download", "question", "zip"])
def test_a_link_that_a_publisher_hands_out_must_not_lead_inside(server, bring, tmp_path):
    url = server.put("secret.zip", SECRET)
    with pytest.raises(Refusal, match="loopback address"):
        if bring == "download":
            http.download(Wanted("counts", "zenodo:1/a"), tmp_path, AT_ONCE, url=url, name="a")
        elif bring == "question":
            get_json(url, AT_ONCE, label="HCA project", is_named=False)
        else:
            open_zip(url, AT_ONCE, is_named=False)
    assert server.requests("secret.zip") == []


def test_a_row_that_names_such_a_host_may_be_sent_on_to_its_like_and_to_no_other(server, tmp_path):
    with FaultServer() as other:
        there = other.put("blob", CONTENT).replace("127.0.0.1", "localhost")
        url = server.put(NAME, b"", answers(302, Location=there))
        assert fetch(url, tmp_path).bytes == len(CONTENT)
    url = server.put("b.gz", b"", answers(302, Location="http://169.254.169.254/latest/meta-data/"))
    with pytest.raises(Refusal, match="link-local"):
        fetch(url, tmp_path)


def test_a_mirror_that_the_user_names_may_be_inside(server, monkeypatch, tmp_path):
    monkeypatch.setenv("SPOTWEAVE_MIRRORS", f"https://deposit.invalid/={server.address}/")
    server.put(NAME, b"", answers(302, Location=f"{server.address}/blob"))
    server.put("blob", CONTENT)
    assert fetch(f"https://deposit.invalid/{NAME}", tmp_path).bytes == len(CONTENT)
    assert http.download(
        Wanted("counts", "zenodo:1/a"), tmp_path, AT_ONCE, url=f"{server.address}/blob", name="a.gz"
    ).bytes == len(CONTENT)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("8.8.8.8", None),
        ("2606:4700::1111", None),
        ("::ffff:8.8.8.8", None),
        ("64:ff9b::808:808", None),
        ("127.9.9.9", "loopback"),
        ("0.0.0.0", "loopback"),
        ("fe80::1%eth0", "link-local"),
        ("fd00::1", "private"),
        ("2002:a00:1::", "private"),
        ("198.18.0.1", "private"),
        ("100.64.0.1", "reserved"),
        ("ff02::1", "reserved"),
    ],
)
def test_addresses_are_judged_by_the_registries(address, kind):
    assert guard.kind_of_address(address) == kind


# What a server may send as the place of a file.
MALFORMED = [
    "http://[x",
    "http://[::1",
    "http://a:b:c/",
    "http://a:99999/x",
    "http://a:0/x",
    "http://:80/",
    "http:///x",
    "http://",
    "http://..",
    "http://.a./x",
    f"http://{'a' * 70}.example/x",
    f"http://{'a.' * 200}example/x",
    "http://a b/x",
    "http://\xff\xfe/x",
    "http://xn--/x",
    "http://\u00ad/x".encode().decode("latin-1"),
    "ftp://a.example/x",
    "file:///etc/passwd",
    "data:text/plain,x",
    "javascript:x",
    "mailto:a",
    "gopher://127.0.0.1:70/",
    "//",
    "x" * 60_000,
    "http://127.0.0.1\\@public.example/",
]


@pytest.mark.parametrize("target", MALFORMED, ids=lambda text: ascii(text)[:40])
def test_a_malformed_redirect_is_one_line(server, target, tmp_path):
    url = server.put(NAME, b"", answers(302, Location=target))
    for bring in (
        lambda: fetch(url, tmp_path),
        lambda: get_json(url, AT_ONCE, label="a record", sleep=lambda _: None),
        lambda: open_zip(url, AT_ONCE),
    ):
        with pytest.raises((Refusal, Unreachable)) as error:
            bring()
        assert "\n" not in str(error.value)
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "address",
    [
        "http://[x/a.h5",
        "http://a:x/a.h5",
        f"http://{'a' * 300}/a.h5",
        "http://a..b/a.h5",
        "http:///a.h5",
        "http://ü\u200d/a.h5",
    ],
)
def test_a_malformed_address_of_a_row_is_one_line(address, tmp_path):
    with pytest.raises((Refusal, Unreachable)) as error:
        fetch(address, tmp_path)
    assert "\n" not in str(error.value)


def test_a_redirect_from_https_to_http_is_refused():
    with http.session(AT_ONCE) as own:
        answer = http.requests.Response()
        answer.status_code, answer.url, answer.raw = 302, "https://a.example/x", io.BytesIO()
        answer.headers["Location"] = "http://a.example/x"
        with pytest.raises(Refusal, match="from https to http"):
            own.get_redirect_target(answer)
        answer.headers["Location"] = "https://b.example/x"
        assert own.get_redirect_target(answer) == "https://b.example/x"


def test_the_body_of_a_redirect_is_not_read(server, tmp_path):
    target = server.put("blob", CONTENT)
    endless = bytes(50 << 20)
    url = server.put(NAME, b"", lambda exchange: exchange.reply(302, endless, Location=target))
    assert fetch(url, tmp_path).bytes == len(CONTENT)
    assert server.bytes_sent(NAME) < len(endless) / 2


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_without_a_length_is_cut_off_and_leaves_nothing(server, chunked, tmp_path):
    content = CONTENT * 30
    url = server.put(NAME, content, lambda exchange: exchange.serve(chunked=chunked, length=0, etag=None))
    settings = FetchSettings(2, 20, 0, unannounced_max_bytes=len(CONTENT))
    with pytest.raises(Refusal, match=r"does not tell its size") as refusal:
        fetch(url, tmp_path, "" if chunked else f"sha256:{hashlib.sha256(content).hexdigest()}", settings)
    assert refusal.value.threshold == len(CONTENT)
    assert left(tmp_path) == []
    assert server.bytes_sent(NAME) < len(content)


def test_no_more_is_taken_than_the_row_says(server, tmp_path):
    url = server.put(NAME, CONTENT * 30, lambda exchange: exchange.serve(chunked=True))
    with pytest.raises(Refusal, match="not the file of the row"):
        fetch(url, tmp_path, f"bytes:{len(CONTENT)}")
    assert left(tmp_path) == []
    assert server.bytes_sent(NAME) < len(CONTENT) * 30


@pytest.mark.parametrize("length", ["9" * 5000, "-5", "1e9", "\xb2", "5, 5", ""])
def test_lengths_that_are_none_are_no_traceback(server, length, tmp_path):
    def behave(exchange):
        exchange.handler.close_connection = True
        exchange._head(200, {"Content-Length": length, "ETag": '"x"'})
        exchange._send(CONTENT)

    url = server.put(NAME, CONTENT, behave)
    try:
        assert fetch(url, tmp_path, f"sha256:{hashlib.sha256(CONTENT).hexdigest()}").bytes == len(CONTENT)
    except (Refusal, Unreachable) as error:
        assert "\n" not in str(error)


class Disk:
    """A disk that fills up while it is looked at."""

    def __init__(self, *free: int) -> None:
        self.free = list(free)

    def __call__(self, folder):
        free = self.free.pop(0) if len(self.free) > 1 else self.free[0]
        return type("", (), {"free": free})


def test_a_disk_that_fills_up_is_a_plain_failure_and_the_next_try_goes_on(server, tmp_path, monkeypatch):
    monkeypatch.setattr(http, "SPACE_BYTES", 1 << 16)
    monkeypatch.setattr(http.shutil, "disk_usage", Disk(10**9, 10**9, 1000))
    url = server.put(NAME, CONTENT)
    settings = FetchSettings(2, 20, 0, chunk_bytes=1 << 14, free_min_bytes=0)
    with pytest.raises(OSError, match="bytes are needed beside 0 that stay free, 1,000 are free") as error:
        fetch(url, tmp_path, settings=settings)
    assert error.value.errno == errno.ENOSPC
    assert not isinstance(error.value, Refusal)
    monkeypatch.setattr(http.shutil, "disk_usage", Disk(10**12))
    assert fetch(url, tmp_path, settings=settings).sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert server.statuses(NAME) == [200, 206]


def test_a_full_disk_is_seen_without_an_announced_size_too(server, tmp_path, monkeypatch):
    monkeypatch.setattr(http.shutil, "disk_usage", Disk(50))
    url = server.put(NAME, CONTENT, lambda exchange: exchange.serve(chunked=True, etag=None))
    with pytest.raises(OSError, match="50 are free"):
        fetch(url, tmp_path)
    assert left(tmp_path) == []  # what nothing could take up again does not fill the disk further


def test_a_write_that_fails_leaves_what_can_be_taken_up(server, tmp_path, monkeypatch):
    from spotweave.transfer.disk import Partial

    url = server.put(NAME, CONTENT)
    append = Partial.append

    def full(self, data):
        if self.size > 100_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(self, data)

    settings = FetchSettings(2, 20, 0, chunk_bytes=1 << 14)
    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr(Partial, "append", full)
        fetch(url, tmp_path, settings=settings)
    assert fetch(url, tmp_path).bytes == len(CONTENT)
    assert server.statuses(NAME) == [200, 206]


# What may lie where a download keeps what has arrived.
DEBRIS = {
    "a folder": lambda part, state: part.mkdir(),
    "a link to elsewhere": lambda part, state: part.symlink_to(part.with_name("elsewhere")),
    "a dangling link": lambda part, state: part.symlink_to("/nowhere/x"),
    "bytes without a state": lambda part, state: part.write_bytes(b"old"),
    "a state that is no JSON": lambda part, state: (part.write_bytes(b"old"), state.write_bytes(b"{")),
    "a state of wrong types": lambda part, state: (
        part.write_bytes(b"old"),
        state.write_text(json.dumps({"url": "URL", "etag": 3, "last_modified": [], "total": "many"})),
    ),
    "more bytes than the file has": lambda part, state: (
        part.write_bytes(bytes(len(CONTENT) * 2)),
        state.write_text(json.dumps({"url": "URL", "etag": '"first"', "total": None})),
    ),
    "other bytes of the same length": lambda part, state: (
        part.write_bytes(bytes(len(CONTENT))),
        state.write_text(json.dumps({"url": "URL", "etag": '"first"', "total": len(CONTENT)})),
    ),
    "other bytes": lambda part, state: (
        part.write_bytes(b"other bytes"),
        state.write_text(json.dumps({"url": "URL", "etag": '"first"', "total": len(CONTENT)})),
    ),
    "a state that is a folder": lambda part, state: (part.write_bytes(b"old"), state.mkdir()),
}


@pytest.mark.parametrize("kind", DEBRIS)
def test_a_partial_file_never_blocks_the_next_try(server, kind, tmp_path):
    url = server.put(NAME, CONTENT)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"mine")
    part = tmp_path / f".part-{NAME}"
    state = tmp_path / f".part-{NAME}.json"
    DEBRIS[kind](part, state)
    if state.is_file():
        state.write_text(state.read_text().replace("URL", url))
    fetched = fetch(url, tmp_path)
    assert fetched.path.read_bytes() == CONTENT
    assert elsewhere.read_bytes() == b"mine"
    assert left(tmp_path) == [NAME, f"{NAME}.fetched.json", "elsewhere"]


@pytest.mark.parametrize("status", [400, 403, 404, 500, 501, 502])
def test_a_server_that_stumbles_over_ranges_is_asked_for_the_whole(server, status, tmp_path):
    def behave(exchange):
        if exchange.header("Range"):
            exchange.reply(status)
        else:
            exchange.serve()

    url = server.put(NAME, CONTENT, first(drops_at(0.5), then=behave))
    assert fetch(url, tmp_path).bytes == len(CONTENT)
    assert left(tmp_path) == [NAME, f"{NAME}.fetched.json"]


def test_what_has_arrived_stays_where_the_server_is_gone_for_now(server, tmp_path):
    url = server.put(NAME, CONTENT, first(drops_at(0.5), answers(404), answers(404)))
    with pytest.raises(Refusal, match="404"):
        fetch(url, tmp_path)
    assert fetch(url, tmp_path).bytes == len(CONTENT)
    assert server.statuses(NAME) == [200, 404, 404, 206]


TOKENS = [
    "?token=hunter2",
    "?X-Amz-Credential=hunter2&X-Amz-Signature=hunter2",
    "?sv=1&sig=hunter2#hunter2",
]


@pytest.mark.parametrize("tail", TOKENS)
def test_no_token_is_in_any_file_or_line_of_the_script(server, tail, tmp_path):
    names = {"counts": "c.tsv.gz", "spots": "s.csv", "image": "i.jpg"}
    contents = {"counts": CONTENT, "spots": b"x,y\n1,1\n", "image": b"\xff\xd8\xff\xe0" + bytes(99) + b"\xff\xd9"}
    urls = {
        role: server.put(name, contents[role]).replace("//", "//me:hunter2@") + tail for role, name in names.items()
    }
    table = tmp_path / "t.csv"
    table.write_text("sample_id,counts,spots,image\nS1," + ",".join(urls.values()) + "\n")
    from spotweave.addresses import public_place

    given = {role: {"location": public_place(url)} for role, url in urls.items()}
    request = {"sample": "S1", "reader": "st_v1", "source": "https", "given": given, "table": str(table)}
    out = tmp_path / "out"
    options = json.dumps({"request": request, "folder": str(out / "raw"), "licence": "-x"})
    assert "hunter2" not in options
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "scripts/fetch_sample.py"), "--given", "-", "--backoff-s=0"),
            *("--manifest", str(out / "raw.json"), "--record", str(out / "record.json")),
        ],
        input=options,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    files = [path for path in out.rglob("*") if path.is_file()]
    assert json.loads((out / "record.json").read_text())["status"] == "accepted"
    assert not [path for path in files if b"hunter2" in path.read_bytes()]
    assert not [path for path in files if "hunter2" in path.name]
    assert "hunter2" not in done.stdout + done.stderr
    assert all(len(server.requests(name)) == 1 for name in names.values())


def test_a_network_that_fails_is_told_in_one_line(tmp_path, server):
    url = server.put(NAME, CONTENT, always_drops_at(0.0))
    request = {"sample": "S1", "reader": "st_v1", "source": "https", "given": {"counts": {"location": url}}}
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "scripts/fetch_sample.py"), "--given", "-", "--backoff-s=0", "--attempts=1"),
            *("--manifest", str(tmp_path / "raw.json"), "--record", str(tmp_path / "record.json")),
            *("--timeout-s=5", "--free-min-gb=1e9"),
        ],
        input=json.dumps({"request": request, "folder": str(tmp_path / "raw")}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "fetch_sample: FAILED: [Errno 28]" in done.stderr.splitlines()[-1]
