"""Downloads from a server that misbehaves: nothing corrupt is accepted, nothing whole is sent twice."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from faults.fault_server import (
    Exchange,
    FaultServer,
    always_drops_at,
    answers,
    drops_at,
    fine,
    first,
)
from spotweave.errors import Refusal
from spotweave.io import is_refused
from spotweave.sources import https
from spotweave.transfer import http
from spotweave.transfer.files import FetchSettings, Unreachable, Wanted, parse_checksum

ROOT = Path(__file__).resolve().parents[2]
JPEG = b"\xff\xd8\xff\xe0 a picture \xff\xd9"
CONTENT = gzip.compress(random.Random(0).randbytes(200_000), mtime=0)
OTHER = gzip.compress(random.Random(1).randbytes(200_000), mtime=0)
# Text of one length: nothing in the format would betray a file made of both.
TEXT, OTHER_TEXT = b"10x14,1\n" * 5000, b"11x15,2\n" * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "counts.tsv.gz"
LOGIN_PAGE = b"\n  <!DOCTYPE html><html><title>Sign in</title></html>"
AT_ONCE = FetchSettings(attempts=5, timeout_s=20, backoff_s=0)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("SPOTWEAVE_MIRRORS", raising=False)
    with FaultServer() as running:
        yield running


def fetch(url: str, folder: Path, checksum: str = "", settings: FetchSettings = AT_ONCE):
    return https.fetch(Wanted("counts", url, parse_checksum(checksum)), folder, settings)


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("[!.]*")) if folder.exists() else []


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(".*")) if folder.exists() else []


def assert_whole(fetched, content: bytes = CONTENT) -> None:
    assert fetched.path.read_bytes() == content
    assert fetched.bytes == len(content)
    assert fetched.sha256 == hashlib.sha256(content).hexdigest()
    assert visible(fetched.path.parent) == [fetched.name, f"{fetched.name}.fetched.json"]
    assert hidden(fetched.path.parent) == []


def assert_refused(url: str, folder: Path, words: str, checksum: str = "") -> Refusal:
    with pytest.raises(Refusal, match=words) as caught:
        fetch(url, folder, checksum)
    assert visible(folder) == []
    assert "\n" not in caught.value.reason
    return caught.value


def test_a_file_is_fetched_with_its_record(server, tmp_path):
    url = server.put(NAME, CONTENT)
    assert_whole(fetch(url, tmp_path, f"sha256:{SHA256}"))
    record = json.loads((tmp_path / f"{NAME}.fetched.json").read_text())
    assert record == {"url": url, "bytes": len(CONTENT), "sha256": SHA256, "requirement": f"sha256:{SHA256}"}
    asked = server.requests(NAME)[0]
    assert "spotweave" in asked["User-Agent"]
    assert asked["Accept-Encoding"] == "identity"


def test_a_file_that_is_already_there_is_not_asked_for_again(server, tmp_path):
    url = server.put(NAME, CONTENT)
    once = fetch(url, tmp_path)
    assert fetch(url, tmp_path, f"sha256:{SHA256};bytes:{len(CONTENT)}") == once
    assert fetch(url, tmp_path, f"md5:{hashlib.md5(CONTENT).hexdigest()}") == once
    assert server.statuses(NAME) == [200]


@pytest.mark.fault("file cut after its download", "fetched again")
def test_a_file_that_was_cut_after_its_download_is_fetched_again(server, tmp_path):
    url = server.put(NAME, CONTENT)
    fetch(url, tmp_path).path.write_bytes(CONTENT[:1000])
    assert_whole(fetch(url, tmp_path))
    assert server.statuses(NAME) == [200, 200]


def test_a_file_that_no_longer_meets_its_row_is_fetched_again(server, tmp_path):
    url = server.put(NAME, CONTENT, first(lambda exchange: exchange.serve(OTHER)))
    assert_whole(fetch(url, tmp_path), OTHER)
    assert_whole(fetch(url, tmp_path, f"sha256:{SHA256}"), CONTENT)


def test_a_file_of_another_address_with_the_same_name_is_not_mistaken_for_this_one(server, tmp_path):
    fetch(server.put(f"old/{NAME}", OTHER), tmp_path)
    assert_whole(fetch(server.put(f"new/{NAME}", CONTENT), tmp_path), CONTENT)


def test_a_file_that_meets_the_hash_is_kept_though_its_address_changed(server, tmp_path):
    fetch(server.put(f"old/{NAME}", CONTENT), tmp_path)
    assert_whole(fetch(server.put(f"new/{NAME}", OTHER), tmp_path, f"sha256:{SHA256}"))
    assert server.statuses(f"new/{NAME}") == []


@pytest.mark.parametrize("fractions", [(0.3,), (0.6,), (0.9,), (0.3, 0.6, 0.9)])
@pytest.mark.fault("connection drops at {fractions}", "resumed, no byte sent twice")
def test_a_truncated_download_is_resumed_and_no_byte_is_sent_twice(server, tmp_path, fractions):
    url = server.put(NAME, CONTENT, drops_at(*fractions))
    assert_whole(fetch(url, tmp_path))
    assert server.statuses(NAME) == [200] + [206] * len(fractions)
    assert server.bytes_sent(NAME) == len(CONTENT)
    assert server.requests(NAME)[1]["If-Range"] == '"first"'


@pytest.mark.fault("server ignores Range", "started over, whole")
def test_a_server_that_ignores_ranges_starts_over(server, tmp_path):
    url = server.put(NAME, CONTENT, drops_at(0.3, 0.6, ranges=False))
    assert_whole(fetch(url, tmp_path))
    assert server.statuses(NAME) == [200, 200, 200]


@pytest.mark.fault("drop, no ETag, no hash", "started over, whole")
def test_without_version_and_hash_a_download_starts_over(server, tmp_path):
    url = server.put(NAME, CONTENT, drops_at(0.5, etag=None))
    assert_whole(fetch(url, tmp_path))
    assert all("Range" not in asked for asked in server.requests(NAME))


@pytest.mark.fault("drop, no ETag, a hash in the row", "resumed, verified")
def test_without_version_a_download_is_resumed_if_the_row_has_a_hash(server, tmp_path):
    url = server.put(NAME, CONTENT, drops_at(0.5, etag=None))
    assert_whole(fetch(url, tmp_path, f"sha256:{SHA256}"))
    assert server.bytes_sent(NAME) == len(CONTENT)


@pytest.mark.fault("weak ETag", "not trusted, whole")
def test_a_weak_etag_is_not_used_to_resume(server, tmp_path):
    url = server.put(NAME, CONTENT, drops_at(0.5, etag='W/"first"', Last_Modified="Mon, 01 Jan 2024 00:00:00 GMT"))
    assert_whole(fetch(url, tmp_path))
    assert server.requests(NAME)[1]["If-Range"] == "Mon, 01 Jan 2024 00:00:00 GMT"


@pytest.mark.parametrize("obeys_if_range", [True, False])
@pytest.mark.fault("file changes between attempts, If-Range obeyed: {obeys_if_range}", "never joined, whole")
def test_a_file_that_changes_between_attempts_is_never_joined_to_the_old_bytes(server, tmp_path, obeys_if_range):
    def changed(exchange: Exchange) -> None:
        exchange.serve(OTHER_TEXT, etag='"second"', obeys_if_range=obeys_if_range)

    url = server.put("spots.csv", TEXT, first(drops_at(0.5), then=changed))
    assert_whole(fetch(url, tmp_path), OTHER_TEXT)


@pytest.mark.fault("server lies about pieces that fit", "fetched again in one go")
def test_pieces_that_do_not_fit_though_the_server_says_so_are_fetched_again_in_one_go(server, tmp_path):
    url = server.put(NAME, CONTENT, first(lambda exchange: exchange.serve(OTHER, stop_at=1000)))
    assert_whole(fetch(url, tmp_path, f"sha256:{SHA256}"))
    assert server.statuses(NAME) == [200, 206, 200]


@pytest.mark.fault("another range than the one asked for", "not taken, whole")
def test_a_part_that_is_not_the_one_asked_for_is_not_taken(server, tmp_path):
    def wrong(exchange: Exchange) -> None:
        exchange.serve(content_range=f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}")

    url = server.put(NAME, CONTENT, first(drops_at(0.5), wrong))
    assert_whole(fetch(url, tmp_path))
    assert server.statuses(NAME) == [200, 206, 200]


@pytest.mark.fault("body always too short", "refused with both sizes")
def test_a_body_that_stays_short_is_refused_with_both_numbers(server, tmp_path):
    url = server.put(NAME, CONTENT, always_drops_at(0.5))
    half = len(CONTENT) // 2
    refusal = assert_refused(url, tmp_path, f"{half:,} of {len(CONTENT):,} bytes after 5 attempts")
    assert (refusal.measured, refusal.threshold) == (half, len(CONTENT))
    assert server.bytes_sent(NAME) == half


def test_attempts_that_bring_new_bytes_are_not_counted(server, tmp_path):
    fractions = [step / 10 for step in range(1, 10)]
    url = server.put(NAME, CONTENT, drops_at(*fractions))
    assert_whole(fetch(url, tmp_path, settings=FetchSettings(attempts=2, backoff_s=0, chunk_bytes=1 << 14)))
    assert server.bytes_sent(NAME) == len(CONTENT)


@pytest.mark.fault("Content-Length above the body", "refused")
def test_a_content_length_above_the_body_is_refused(server, tmp_path):
    def long(exchange: Exchange) -> None:
        exchange.serve(ranges=False, length=len(CONTENT) + 10)
        exchange.drop()

    assert_refused(server.put(NAME, CONTENT, long), tmp_path, "incomplete")


@pytest.mark.fault("Content-Length below the body", "refused")
def test_a_content_length_below_the_body_is_refused(server, tmp_path):
    def short(exchange: Exchange) -> None:
        exchange.serve(ranges=False, length=len(CONTENT) - 10)
        exchange.drop()

    assert_refused(server.put(NAME, CONTENT, short), tmp_path, "ends too early")
    assert hidden(tmp_path) == []


def test_chunks_without_a_length_are_taken_whole(server, tmp_path):
    assert_whole(fetch(server.put(NAME, CONTENT, lambda exchange: exchange.serve(chunked=True)), tmp_path))


@pytest.mark.fault("chunks break off", "resumed")
def test_chunks_that_break_off_are_resumed(server, tmp_path):
    assert_whole(fetch(server.put(NAME, CONTENT, drops_at(0.4, chunked=True)), tmp_path))
    assert server.statuses(NAME) == [200, 206]
    assert server.bytes_sent(NAME) == len(CONTENT)


@pytest.mark.fault("no announced end, no checksum", "refused")
def test_a_body_without_any_announced_end_needs_a_checksum(server, tmp_path):
    url = server.put(NAME, CONTENT, lambda exchange: exchange.serve(length=0))
    assert_refused(url, tmp_path, "does not tell its size")
    assert_whole(fetch(url, tmp_path, f"bytes:{len(CONTENT)}"))


@pytest.mark.parametrize("checksum", [f"sha256:{SHA256}", f"bytes:{len(CONTENT)}"])
@pytest.mark.fault("no announced end, breaks off", "fetched again, verified")
def test_a_body_without_any_announced_end_that_breaks_off_is_fetched_again(server, tmp_path, checksum):
    url = server.put(NAME, CONTENT, drops_at(0.5, length=0, ranges=False))
    assert_whole(fetch(url, tmp_path, checksum))
    assert server.statuses(NAME) == [200, 200]


def test_a_whole_partial_file_of_unknown_size_is_settled_by_416(server, tmp_path):
    url = server.put(NAME, CONTENT)
    leave_partial(tmp_path, url, CONTENT, etag='"first"')
    assert_whole(fetch(url, tmp_path))
    assert server.statuses(NAME) == [416]
    assert server.bytes_sent(NAME) == 0


@pytest.mark.fault("416, partial file too long", "dropped, whole")
def test_a_partial_file_longer_than_the_servers_is_dropped_at_416(server, tmp_path):
    url = server.put(NAME, CONTENT)
    leave_partial(tmp_path, url, CONTENT + b"surplus", etag='"first"')
    assert_whole(fetch(url, tmp_path))
    assert server.statuses(NAME) == [416, 200]


@pytest.mark.fault("416 to a whole request", "refused")
def test_416_to_a_request_for_the_whole_file_is_refused(server, tmp_path):
    assert_refused(server.put(NAME, CONTENT, answers(416)), tmp_path, "416")


@pytest.mark.fault("partial file of another address", "not taken up")
def test_a_partial_file_of_another_address_is_not_taken_up(server, tmp_path):
    url = server.put("spots.csv", TEXT)
    leave_partial(tmp_path, "http://example.org/spots.csv", OTHER_TEXT[:500], etag='"first"')
    assert_whole(fetch(url, tmp_path), TEXT)


@pytest.mark.fault("note of a partial file cut off", "not taken up")
def test_a_partial_file_whose_note_was_cut_off_is_not_taken_up(server, tmp_path):
    url = server.put("spots.csv", TEXT)
    leave_partial(tmp_path, url, OTHER_TEXT[:500], etag='"first"')
    (tmp_path / ".part-spots.csv.json").write_text('{"url": "ht')
    assert_whole(fetch(url, tmp_path), TEXT)


def test_a_whole_partial_file_is_verified_without_a_request(server, tmp_path):
    url = server.put(NAME, CONTENT)
    leave_partial(tmp_path, url, CONTENT, etag='"first"', total=len(CONTENT))
    assert_whole(fetch(url, tmp_path))
    assert server.statuses(NAME) == []


def leave_partial(folder: Path, url: str, content: bytes, **version: object) -> None:
    name = url.rpartition("/")[2]
    (folder / f".part-{name}").write_bytes(content)
    (folder / f".part-{name}.json").write_text(json.dumps({"url": url, **version}))


@pytest.mark.fault("wrong sha256", "refused, bytes removed")
def test_a_wrong_hash_is_refused_and_the_bad_bytes_are_removed(server, tmp_path):
    refusal = assert_refused(server.put(NAME, OTHER), tmp_path, "sha256", f"sha256:{SHA256}")
    assert refusal.measured == hashlib.sha256(OTHER).hexdigest()
    assert refusal.threshold == SHA256
    assert hidden(tmp_path) == []
    assert server.statuses(NAME) == [200]


def test_a_wrong_hash_is_refused_also_when_the_download_came_in_pieces(server, tmp_path):
    url = server.put(NAME, OTHER, first(always_drops_at(0.3), fine, always_drops_at(0.6)))
    assert_refused(url, tmp_path, "sha256", f"sha256:{SHA256}")
    assert server.statuses(NAME) == [200, 206, 200, 206]
    assert hidden(tmp_path) == []


@pytest.mark.fault("wrong md5", "refused")
def test_a_wrong_md5_is_refused(server, tmp_path):
    assert_refused(server.put(NAME, CONTENT), tmp_path, "md5", "md5:" + "0" * 32)


@pytest.mark.fault("wrong size", "refused before the body")
def test_a_size_other_than_the_rows_is_refused_before_the_body_is_read(server, tmp_path):
    big = CONTENT + bytes(20_000_000)
    refusal = assert_refused(server.put(NAME, big), tmp_path, "bytes", "bytes:12")
    assert (refusal.measured, refusal.threshold) == (len(big), 12)
    assert server.bytes_sent(NAME) < len(big)


@pytest.mark.parametrize(("status", "words"), [(401, "login"), (403, "denied"), (404, "correct"), (410, "removed")])
@pytest.mark.fault("status {status}", "refused with advice")
def test_a_file_that_is_gone_is_refused_with_advice(server, tmp_path, status, words):
    refusal = assert_refused(server.put(NAME, CONTENT, answers(status)), tmp_path, words)
    assert refusal.measured == status
    assert server.statuses(NAME) == [status]
    assert hidden(tmp_path) == []


@pytest.mark.fault("403 without User-Agent", "fetched")
def test_a_server_that_wants_a_user_agent_gets_one(server, tmp_path):
    def picky(exchange: Exchange) -> None:
        if (exchange.header("User-Agent") or "").startswith("Mozilla/"):
            exchange.serve()
        else:
            exchange.reply(403)

    assert_whole(fetch(server.put(NAME, CONTENT, picky), tmp_path))


@pytest.mark.parametrize("status", [202, 204])
@pytest.mark.fault("status {status} with an empty body", "refused")
def test_a_success_without_a_file_is_refused(server, tmp_path, status):
    assert_refused(server.put(NAME, CONTENT, answers(status)), tmp_path, f"{status}.*no file came with it")


@pytest.mark.fault("status 200 with an empty body", "refused")
def test_an_empty_body_is_refused(server, tmp_path):
    assert_refused(server.put(NAME, b"", answers(200)), tmp_path, "empty")
    assert hidden(tmp_path) == []


@pytest.mark.fault("429", "waited out")
def test_too_many_requests_is_waited_out(server, tmp_path):
    url = server.put(NAME, CONTENT, first(answers(429, Retry_After="0")))
    assert_whole(fetch(url, tmp_path))
    assert server.statuses(NAME) == [429, 200]


@pytest.mark.fault("429 with Retry-After", "waited as asked")
def test_retry_after_is_honoured(server, tmp_path, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", waits.append)
    assert_whole(fetch(server.put(NAME, CONTENT, first(answers(503, Retry_After="7"))), tmp_path))
    assert waits == [7]


@pytest.mark.fault("503 three times", "asked again, whole")
def test_a_server_in_trouble_is_asked_again(server, tmp_path):
    url = server.put(NAME, CONTENT, first(*[answers(503)] * 3))
    assert_whole(fetch(url, tmp_path))
    assert server.statuses(NAME) == [503, 503, 503, 200]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.fault("status {status} for ever", "failed, can go on later")
def test_a_server_that_stays_in_trouble_is_a_failure_not_a_refusal(server, tmp_path, status):
    with pytest.raises(Unreachable, match=str(status)):
        fetch(server.put(NAME, CONTENT, answers(status)), tmp_path)
    assert server.statuses(NAME) == [status] * AT_ONCE.attempts
    assert visible(tmp_path) == hidden(tmp_path) == []


@pytest.mark.fault("503 in the middle", "kept, resumed")
def test_trouble_in_the_middle_keeps_what_has_arrived(server, tmp_path):
    url = server.put(NAME, CONTENT, first(drops_at(0.5), *[answers(503)] * AT_ONCE.attempts))
    with pytest.raises(Unreachable, match=r"of .* bytes are here"):
        fetch(url, tmp_path)
    assert visible(tmp_path) == []
    assert_whole(fetch(url, tmp_path))
    assert server.bytes_sent(NAME) == len(CONTENT)


@pytest.mark.parametrize("name", [NAME, "image.jpg", "spots.csv", "notes.txt"])
@pytest.mark.fault("web page in place of {name}", "refused")
def test_a_web_page_in_place_of_the_data_is_refused(server, tmp_path, name):
    assert_refused(server.put(name, LOGIN_PAGE, answers(200, LOGIN_PAGE)), tmp_path, "web page")
    assert hidden(tmp_path) == []


def test_what_the_server_calls_a_web_page_is_refused_where_the_bytes_cannot_tell(server, tmp_path):
    url = server.put("spots.csv", b"please sign in", answers(200, b"please sign in", Content_Type="text/html"))
    assert_refused(url, tmp_path, "web page")


def test_a_gzip_file_that_the_server_calls_a_web_page_is_taken(server, tmp_path):
    assert_whole(fetch(server.put(NAME, CONTENT, lambda exchange: exchange.serve(Content_Type="text/html")), tmp_path))


@pytest.mark.fault("big web page", "refused early")
def test_a_big_web_page_is_not_read_to_its_end(server, tmp_path):
    page = LOGIN_PAGE + bytes(20_000_000)
    assert_refused(server.put(NAME, page), tmp_path, "web page")
    assert hidden(tmp_path) == []
    assert server.bytes_sent(NAME) < len(page)


@pytest.mark.fault("other content than the name says", "refused")
def test_a_file_that_is_not_what_its_name_says_is_refused(server, tmp_path):
    assert_refused(server.put("image.jpg", CONTENT), tmp_path, "not a JPEG picture")


@pytest.mark.fault("Git LFS pointer", "refused")
def test_a_git_lfs_pointer_is_refused(server, tmp_path):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + SHA256.encode() + b"\nsize 12345\n"
    assert_refused(server.put("spots.csv", pointer), tmp_path, "Git LFS pointer")


@pytest.mark.fault("compressed on the way", "refused")
def test_a_file_that_is_compressed_on_the_way_is_refused(server, tmp_path):
    url = server.put("spots.csv", CONTENT, lambda exchange: exchange.serve(Content_Encoding="gzip"))
    assert_refused(url, tmp_path, "encoding 'gzip'")


def test_a_gzip_file_is_not_unpacked_on_the_way(server, tmp_path):
    url = server.put(NAME, CONTENT, lambda exchange: exchange.serve(Content_Encoding="gzip"))
    assert_whole(fetch(url, tmp_path))


def test_a_redirect_is_followed_and_the_range_with_it(server, tmp_path):
    target = server.put("elsewhere/blob", CONTENT, drops_at(0.5))
    assert_whole(fetch(server.put(NAME, CONTENT, answers(302, Location=target)), tmp_path))
    assert server.bytes_sent("elsewhere/blob") == len(CONTENT)


@pytest.mark.fault("redirects in circles", "refused")
def test_a_redirect_in_circles_is_refused(server, tmp_path):
    assert_refused(server.put(NAME, CONTENT, answers(302, Location=f"/{NAME}")), tmp_path, "circles")


@pytest.mark.fault("closed without an answer", "failed, can go on later")
def test_a_connection_closed_without_an_answer_is_a_failure(server, tmp_path):
    with pytest.raises(Unreachable):
        fetch(server.put(NAME, CONTENT, Exchange.drop), tmp_path)
    assert len(server.requests(NAME)) == AT_ONCE.attempts
    assert visible(tmp_path) == hidden(tmp_path) == []


@pytest.mark.fault("connection reset", "resumed")
def test_a_reset_connection_is_resumed(server, tmp_path):
    def reset(exchange: Exchange) -> None:
        exchange.serve(stop_at=50_000)
        exchange.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        exchange.handler.connection.close()

    assert_whole(fetch(server.put(NAME, CONTENT, first(reset)), tmp_path))


@pytest.mark.fault("connection refused", "failed, can go on later")
def test_a_connection_that_is_refused_is_a_failure(tmp_path, unused_url):
    with pytest.raises(Unreachable, match="refused"):
        fetch(unused_url, tmp_path)
    assert visible(tmp_path) == hidden(tmp_path) == []


@pytest.mark.fault("slow drip, then silence", "failed, kept")
def test_a_silent_server_is_a_failure_that_keeps_what_has_arrived(server, tmp_path):
    over = threading.Event()
    url = server.put(NAME, CONTENT, first(lambda exchange: exchange.serve(pause_at=(50_000, over.wait))))
    try:
        with pytest.raises(Unreachable, match=r"not a byte for 1 s, 50,000 of"):
            fetch(url, tmp_path, settings=FetchSettings(attempts=1, timeout_s=1, backoff_s=0))
    finally:
        over.set()
    assert visible(tmp_path) == []
    assert_whole(fetch(url, tmp_path))


@pytest.mark.fault("no such host", "failed, can go on later")
def test_a_host_that_cannot_be_found_is_a_failure(tmp_path, monkeypatch):
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("urllib3.util.connection.socket.getaddrinfo", unknown)
    with pytest.raises(Unreachable, match="resolve"):
        fetch("http://nowhere.invalid/counts.tsv.gz", tmp_path, settings=FetchSettings(attempts=1, backoff_s=0))


@pytest.mark.fault("disk full", "failed before the body")
def test_a_full_disk_is_noticed_before_the_body_is_read(server, tmp_path, monkeypatch):
    monkeypatch.setattr("spotweave.transfer.http.shutil.disk_usage", lambda _: type("", (), {"free": 1000}))
    with pytest.raises(OSError, match="1,000 are free"):
        fetch(server.put(NAME, CONTENT), tmp_path)
    assert visible(tmp_path) == []


def test_tokens_are_not_logged_and_not_reported(server, tmp_path, caplog, unused_url):
    caplog.set_level("INFO")
    addresses = [
        server.put(NAME, CONTENT, drops_at(0.5)) + "?token=hunter2",
        server.put("gone.csv", b"", answers(404)) + "?token=hunter2",
        unused_url.replace("http://", "http://user:hunter2@") + "?token=hunter2",
    ]
    said = []
    for address in addresses:
        try:
            fetch(address, tmp_path)
        except (Refusal, Unreachable) as error:
            said.append(str(error))
    assert len(said) == 2
    assert "hunter2" not in caplog.text + "".join(said)


def test_a_mirror_is_asked_in_place_of_the_publisher(server, tmp_path, monkeypatch):
    monkeypatch.setenv("SPOTWEAVE_MIRRORS", f"https://example.org/data/={server.address}/copy/")
    server.put(f"copy/{NAME}", CONTENT)
    url = f"https://example.org/data/{NAME}"
    assert_whole(fetch(url, tmp_path))
    assert json.loads((tmp_path / f"{NAME}.fetched.json").read_text())["url"] == url


@pytest.mark.fault("8 downloads at one time", "all whole")
def test_eight_files_are_fetched_side_by_side(server, tmp_path):
    contents = [gzip.compress(random.Random(seed).randbytes(100_000)) for seed in range(8)]
    urls = [server.put(f"{i}/{NAME}", content, drops_at(0.5)) for i, content in enumerate(contents)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda pair: fetch(pair[1], tmp_path / str(pair[0])), enumerate(urls)))
    for i, content in enumerate(contents):
        assert_whole(results[i], content)
        assert server.bytes_sent(f"{i}/{NAME}") == len(content)


@pytest.mark.fault("two downloads to one name", "never mixed")
def test_two_downloads_to_the_same_name_do_not_mix(server, tmp_path):
    arrived, over = threading.Event(), threading.Event()

    def pause() -> None:
        arrived.set()
        over.wait()

    slow = server.put(NAME, CONTENT, first(lambda exchange: exchange.serve(pause_at=(50_000, pause))))
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(fetch, slow, tmp_path)
        assert arrived.wait(20)
        try:
            with pytest.raises(Unreachable, match="another process"):
                fetch(slow, tmp_path)
        finally:
            over.set()
        assert_whole(result.result())


@pytest.mark.fault("killed while renaming", "no wrong record")
def test_a_process_killed_while_the_file_gets_its_name_leaves_no_wrong_record(server, tmp_path, monkeypatch):
    url = server.put("spots.csv", TEXT, first(lambda exchange: exchange.serve(OTHER_TEXT)))
    target = fetch(url, tmp_path).path
    replace = Path.replace

    def killed(self: Path, to: Path) -> Path:
        if to == target:
            raise KeyboardInterrupt
        return replace(self, to)

    monkeypatch.setattr(Path, "replace", killed)
    checksum = f"sha256:{hashlib.sha256(TEXT).hexdigest()}"
    with pytest.raises(KeyboardInterrupt):
        fetch(url, tmp_path, checksum)
    monkeypatch.undo()
    assert_whole(fetch(url, tmp_path), TEXT)
    assert server.statuses("spots.csv") == [200, 200]


CHILD = """
import sys
from pathlib import Path
from spotweave.sources import https
from spotweave.transfer import http
from spotweave.transfer import disk
from spotweave.transfer.files import FetchSettings, Wanted
append = disk.Partial.append
def told(self, data):
    append(self, data)
    print(self.size, flush=True)
disk.Partial.append = told
https.fetch(Wanted("counts", sys.argv[1]), Path(sys.argv[2]), FetchSettings())
"""


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "workflow"), "NO_PROXY": "*", **more}


@pytest.mark.fault("kill -9 in the middle", "resumed, no byte sent twice")
def test_a_killed_download_is_resumed_and_no_byte_is_sent_twice(server, tmp_path):
    over = threading.Event()
    url = server.put(
        NAME, CONTENT, first(lambda exchange: exchange.serve(pause_at=(80_000, over.wait), stop_at=80_000))
    )
    command = [sys.executable, "-c", CHILD, url, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as child:
        assert child.stdout
        assert any(int(line) == 80_000 for line in child.stdout)
        child.kill()
    over.set()
    assert visible(tmp_path) == []
    assert_whole(fetch(url, tmp_path))
    assert server.statuses(NAME) == [200, 206]
    assert server.bytes_sent(NAME) == len(CONTENT)


@pytest.fixture
def unused_url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/{NAME}"


@pytest.fixture
def run_script(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(given: dict[str, dict[str, str]], source: str, *more: str) -> subprocess.CompletedProcess[str]:
        request = {"sample": "S1", "reader": "st_v1", "source": source, "given": given}
        command = [sys.executable, str(ROOT / "scripts/fetch_sample.py"), "--folder=raw/S1"]
        command += [
            "--manifest=raw.json",
            "--record=fetch.json",
            f"--request={json.dumps(request)}",
            "--backoff-s=0",
            *more,
        ]
        return subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)

    return run


ROLES = ("counts", "spots", "image")


def test_the_script_writes_a_manifest_without_machine_paths(server, tmp_path, run_script):
    contents = dict(zip(ROLES, [CONTENT, OTHER, JPEG], strict=True))
    names = {"counts": NAME, "spots": NAME, "image": "slide.jpg"}
    urls = {role: server.put(f"{role}/{names[role]}", content) for role, content in contents.items()}
    given = {role: {"location": url, "checksum": ""} for role, url in urls.items()}
    given["counts"]["checksum"] = f"sha256:{SHA256}"
    for _ in range(2):
        done = run_script(given, "https", "--licence=CC-BY-4.0")
        assert done.returncode == 0, done.stderr
        manifest = json.loads((tmp_path / "raw.json").read_text())
        assert manifest == {
            "sample": "S1",
            "licence": "CC-BY-4.0",
            "files": [
                {
                    "role": role,
                    "name": names[role],
                    "location": urls[role],
                    "path": f"raw/S1/{role}/{names[role]}",
                    "bytes": len(content),
                    "sha256": hashlib.sha256(content).hexdigest(),
                }
                for role, content in sorted(contents.items())
            ],
        }
        measures = json.loads((tmp_path / "fetch.json").read_text())["measures"]
        assert (measures["files"], measures["bytes"]) == (3, sum(map(len, contents.values())))
    assert server.statuses(f"counts/{NAME}") == [200]


def test_the_script_refuses_a_file_that_is_gone_and_ends_well(server, tmp_path, run_script):
    url = server.put(NAME, CONTENT, answers(404))
    done = run_script({"counts": {"location": url}}, "https")
    assert done.returncode == 0, done.stderr
    assert is_refused(tmp_path / "raw.json")
    record = json.loads((tmp_path / "fetch.json").read_text())
    assert (record["status"], record["measured"]) == ("refused", 404)


def test_the_script_fails_when_the_connection_is_refused(tmp_path, run_script, unused_url):
    done = run_script({"counts": {"location": unused_url}}, "https", "--attempts=2")
    assert done.returncode != 0
    assert "Connection refused" in done.stderr
    assert not (tmp_path / "raw.json").exists()
    assert not (tmp_path / "fetch.json").exists()


def test_the_script_uses_local_files_where_they_are(tmp_path, run_script):
    (tmp_path / "given").mkdir()
    for name, content in ((NAME, CONTENT), ("spots.csv", b"x,y\n1,1\n"), ("slide.jpg", JPEG)):
        (tmp_path / "given" / name).write_bytes(content)
    names = dict(zip(ROLES, (NAME, "spots.csv", "slide.jpg"), strict=True))
    done = run_script({role: {"location": f"given/{name}"} for role, name in names.items()}, "file")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "raw.json").read_text())["files"][0]["path"] == f"given/{NAME}"
    assert not (tmp_path / "raw").exists()


def test_the_script_refuses_a_row_without_a_file_it_needs(tmp_path, run_script, server):
    done = run_script({"counts": {"location": server.put(NAME, CONTENT)}}, "https")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "fetch.json").read_text())
    assert record["status"] == "refused"
    assert "no file for image, spots or transform" in record["reason"]


@pytest.mark.fault("a .netrc with other logins", "not used, not sent on")
def test_logins_of_a_netrc_are_neither_used_nor_sent_to_another_host(server, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with FaultServer() as other:
        there = other.put("counts.tsv.gz", CONTENT).replace("127.0.0.1", "localhost")
        url = server.put(NAME, b"", lambda exchange: exchange.reply(302, Location=there))
        wanted = Wanted("counts", url)
        http.download(
            wanted,
            tmp_path / "raw",
            FetchSettings(2, 5, 0),
            url=url,
            name=NAME,
            headers={"Authorization": "Bearer token"},
        )
        assert [one.get("Authorization") for one in server.requests(NAME)] == ["Bearer token"]
        assert [one.get("Authorization") for one in other.requests("counts.tsv.gz")] == [None]
        plain = other.put("plain.tsv.gz", CONTENT)
        https.fetch(Wanted("counts", plain), tmp_path / "raw", FetchSettings(2, 5, 0))
        assert [one.get("Authorization") for one in other.requests("plain.tsv.gz")] == [None]
