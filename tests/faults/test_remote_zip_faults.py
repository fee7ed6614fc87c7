"""Single members of a zip on a server that misbehaves: a member is whole and of one version, or there is none."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from faults.fault_server import Behaviour, Exchange, FaultServer, answers
from spotweave.deposits import archives
from spotweave.errors import Refusal
from spotweave.intake.ingest import ingest
from spotweave.intake.request import Request
from spotweave.transfer.files import Checksum, FetchSettings, Unreachable
from spotweave.transfer.remote_zip import NoRanges, open_zip

NAME = "run_outs.zip"
SETTINGS = FetchSettings(attempts=4, timeout_s=20, backoff_s=0)
BEFORE, WANTED, OTHER = (random.Random(seed).randbytes(1_500_000) for seed in range(3))
GIB = 1 << 30


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), content, compression)
    return buffer.getvalue()


ZIP = zipped({"before.bin": BEFORE, "cells.bin": WANTED})
OTHER_ZIP = zipped({"before.bin": BEFORE, "cells.bin": OTHER})
MEMBER_AT = ZIP.index(WANTED)
DIRECTORY_AT = ZIP.index(b"PK\x01\x02")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("SPOTWEAVE_MIRRORS", raising=False)
    with FaultServer() as running:
        yield running


def take(url: str, folder: Path) -> bytes:
    target = folder / "cells.bin"
    archives.extract_zip(open_zip(url, SETTINGS), {"cells.bin": target}, NAME)
    return target.read_bytes()


def assert_nothing_left(folder: Path) -> None:
    assert list(folder.iterdir()) == []


def in_turn(member: Behaviour, *, until_member: Behaviour = Exchange.serve) -> Behaviour:
    """One behaviour for the table of contents at the archive's end, another one for requests of the member itself."""

    def behave(exchange: Exchange) -> None:
        start = int((exchange.header("Range") or "bytes=0-").partition("=")[2].partition("-")[0])
        is_member = 0 < start <= len(exchange.content) - len(WANTED) // 2
        (member if is_member else until_member)(exchange)

    return behave


@pytest.mark.fault("remote zip, cut in its table of contents", "asked again, whole")
def test_a_connection_that_breaks_in_the_table_of_contents_is_asked_again(server, tmp_path):
    def breaks_once(exchange: Exchange) -> None:
        exchange.serve(stop_at=DIRECTORY_AT + 20 if exchange.number == 1 else None)

    assert take(server.put(NAME, ZIP, breaks_once), tmp_path) == WANTED


@pytest.mark.fault("remote zip, cut in the member", "asked again, whole")
@pytest.mark.parametrize("times", [1, 3])
def test_a_connection_that_breaks_in_the_member_is_asked_again(server, tmp_path, times):
    broken: list[int] = []

    def breaks(exchange: Exchange) -> None:
        broken.append(exchange.number)
        exchange.serve(stop_at=MEMBER_AT + 200_000 if len(broken) <= times else None)

    assert take(server.put(NAME, ZIP, in_turn(breaks)), tmp_path) == WANTED
    assert len(broken) > times
    assert set(server.statuses(NAME)) == {206}


@pytest.mark.fault("remote zip, always cut in the member", "a failure, nothing left")
def test_a_member_that_never_comes_whole_is_a_failure(server, tmp_path):
    url = server.put(NAME, ZIP, in_turn(lambda exchange: exchange.serve(stop_at=MEMBER_AT + 200_000)))
    with pytest.raises(Unreachable, match=r"broke off|bytes came"):
        take(url, tmp_path)
    assert_nothing_left(tmp_path)


@pytest.mark.fault("remote zip, server down after the table of contents", "a failure, nothing left")
def test_a_server_that_falls_silent_after_the_table_of_contents_is_a_failure(server, tmp_path):
    with pytest.raises(Unreachable, match="the server answers 503"):
        take(server.put(NAME, ZIP, in_turn(answers(503))), tmp_path)
    assert_nothing_left(tmp_path)


@pytest.mark.fault("remote zip, ranges ignored", "known at once, fetched whole")
@pytest.mark.parametrize("how", [{"ranges": False}, {"content_range": "bytes 0-0/*"}, {"content_range": "pages 1-2/3"}])
def test_a_server_without_ranges_is_known_by_its_first_answer(server, how):
    url = server.put(NAME, ZIP, lambda exchange: exchange.serve(**how))
    with pytest.raises(NoRanges):
        open_zip(url, SETTINGS)
    assert len(server.statuses(NAME)) == 1


def test_an_archive_on_a_server_without_ranges_is_fetched_whole_once(server, tmp_path):
    jpeg = b"\xff\xd8\xff\xe0 a picture \xff\xd9"
    content = zipped({"counts.tsv": b"g\tA\nX\t7\n", "spots.tsv": b"x\ty\n1\t2\n"})
    url = server.put(NAME, content, lambda exchange: exchange.serve(ranges=False))
    given = {
        "counts": (f"{url}!counts.tsv", Checksum()),
        "spots": (f"{url}!spots.tsv", Checksum()),
        "image": (server.put("slide.jpg", jpeg), Checksum()),
    }
    got = ingest(Request("S1", "st_v1", "https", given=given), tmp_path / "raw", SETTINGS)
    found = {one.role: one.file.path.read_bytes() for one in got.files}
    assert found == {"counts": b"g\tA\nX\t7\n", "spots": b"x\ty\n1\t2\n", "image": jpeg}
    assert server.bytes_sent(NAME) < 2 * len(content) + 1
    assert server.statuses(NAME) == [200, 200]


@pytest.mark.fault("remote zip, ranges ignored from the member on", "a failure, nothing left")
def test_a_server_that_ignores_ranges_later_is_not_taken_for_the_member(server, tmp_path):
    url = server.put(NAME, ZIP, in_turn(lambda exchange: exchange.serve(ranges=False)))
    with pytest.raises(Unreachable, match="changed while it was read"):
        take(url, tmp_path)
    assert_nothing_left(tmp_path)


@pytest.mark.fault("remote zip, another part sent than asked for", "asked again, whole")
def test_another_part_than_was_asked_for_is_not_taken(server, tmp_path):
    lied: list[int] = []

    def lying(exchange: Exchange) -> None:
        lied.append(exchange.number)
        if len(lied) == 1:
            exchange.serve(ZIP[::-1], content_range=f"bytes 7-1000/{len(ZIP)}")
        else:
            exchange.serve()

    assert take(server.put(NAME, ZIP, in_turn(lying)), tmp_path) == WANTED
    assert len(lied) > 1


@pytest.mark.fault("remote zip, wrong CRC of a member ({compression})", "refused, nothing left")
@pytest.mark.parametrize("compression", ["stored", "deflated"])
def test_a_member_with_another_crc_is_refused(server, tmp_path, compression):
    method = {"stored": zipfile.ZIP_STORED, "deflated": zipfile.ZIP_DEFLATED}[compression]
    content = bytearray(zipped({"before.bin": b"x", "cells.bin": WANTED}, method))
    crc_at = content.rindex(b"PK\x01\x02") + 16
    content[crc_at] ^= 1
    with pytest.raises(Refusal, match=r"run_outs\.zip: ") as caught:
        take(server.put(NAME, bytes(content)), tmp_path)
    assert "\n" not in caught.value.reason
    assert_nothing_left(tmp_path)


@pytest.mark.fault("remote zip, one byte of a member changed on the way", "refused, nothing left")
def test_a_byte_that_changed_on_the_way_is_told_by_the_crc(server, tmp_path):
    content = bytearray(ZIP)
    content[MEMBER_AT + 777_777] ^= 1
    with pytest.raises(Refusal, match=r"damaged|CRC"):
        take(server.put(NAME, bytes(content)), tmp_path)
    assert_nothing_left(tmp_path)


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], bytes]] = {
    "obeying If-Range": ({}, {"etag": '"second"'}, OTHER_ZIP),
    "ignoring If-Range": ({}, {"etag": '"second"', "obeys_if_range": False}, OTHER_ZIP),
    "with a date only": (
        {"etag": None, "Last_Modified": "Mon, 01 Jan 2024 00:00:00 GMT"},
        {"etag": None, "Last_Modified": "Tue, 02 Jan 2024 00:00:00 GMT", "obeys_if_range": False},
        OTHER_ZIP,
    ),
    "told by its size only": ({"etag": None}, {"etag": None}, OTHER_ZIP + b"\0"),
}


@pytest.mark.fault("remote zip, replaced before the member, {change}", "a failure, nothing left")
@pytest.mark.parametrize("change", CHANGES)
def test_a_zip_that_changed_after_its_table_of_contents_is_not_mixed(server, tmp_path, change):
    before, after, content = CHANGES[change]
    replaced = in_turn(
        lambda exchange: exchange.serve(content, **after), until_member=lambda exchange: exchange.serve(**before)
    )
    with pytest.raises(Unreachable, match="changed while it was read"):
        take(server.put(NAME, ZIP, replaced), tmp_path)
    assert_nothing_left(tmp_path)


@pytest.mark.fault("remote zip, replaced before the member, by no sign at all", "refused by its CRC, nothing left")
def test_a_change_that_nothing_announces_is_told_by_the_crc(server, tmp_path):
    replaced = in_turn(
        lambda exchange: exchange.serve(OTHER_ZIP, etag=None), until_member=lambda exchange: exchange.serve(etag=None)
    )
    with pytest.raises(Refusal):
        take(server.put(NAME, ZIP, replaced), tmp_path)
    assert_nothing_left(tmp_path)


@pytest.mark.fault("remote zip, gone after the table of contents", "a failure, nothing left")
@pytest.mark.parametrize("status", [403, 404, 416])
def test_an_address_that_runs_out_between_is_a_failure_and_no_refusal(server, tmp_path, status):
    with pytest.raises(Unreachable):
        take(server.put(NAME, ZIP, in_turn(answers(status))), tmp_path)
    assert_nothing_left(tmp_path)


class SparseFile:
    """What is written at some offsets, zeros between: a file of any size, for `zipfile` to write and a server to read.

    Parts are given out as `bytes` are; nothing but what was written is held.
    """

    def __init__(self) -> None:
        self.parts: dict[int, bytes] = {}
        self.position = 0
        self.size = 0

    def write(self, data: bytes) -> int:
        self.parts[self.position] = bytes(data)
        self.position += len(data)
        self.size = max(self.size, self.position)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        self.position = offset + (0, self.position, self.size)[whence]
        return self.position

    def tell(self) -> int:
        return self.position

    def flush(self) -> None:
        """Nothing is held back."""

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, where: slice) -> bytes:
        start, stop, _ = where.indices(self.size)
        found = bytearray(max(0, stop - start))
        for offset, data in self.parts.items():  # in the order in which they were written
            low, high = max(start, offset), min(stop, offset + len(data))
            if low < high:
                found[low - start : high - start] = data[low - offset : high - offset]
        return bytes(found)


def zip_beyond_4_gib(big_bytes: int) -> SparseFile:
    """A stored member of `big_bytes` zeros and a small one behind it, as Python's zipfile files them in zip64."""
    file = SparseFile()
    with zipfile.ZipFile(cast(Any, file), "w") as archive:
        big = zipfile.ZipInfo("outs/morphology.ome.tif", (2020, 1, 1, 0, 0, 0))
        big.file_size = big.compress_size = big_bytes
        big.CRC = big.header_offset = 0
        file.write(big.FileHeader(zip64=True))
        archive.filelist.append(big)
        archive.start_dir = file.seek(big_bytes, 1)
        archive.writestr(zipfile.ZipInfo("cells.bin", (2020, 1, 1, 0, 0, 0)), WANTED)
    return file


@pytest.mark.fault("remote zip beyond 4 GiB (zip64)", "the member alone is fetched")
@pytest.mark.parametrize("big_bytes", [4 * GIB - 100, 5 * GIB, 70 * GIB], ids=lambda size: f"{size / GIB:.3g} GiB")
def test_a_member_beyond_4_gib_is_fetched_alone(server, tmp_path, big_bytes):
    content = zip_beyond_4_gib(big_bytes)
    assert len(content) > 4 * GIB
    assert content[len(content) - 98 : len(content) - 94] == b"PK\x06\x06"  # zip64 end of central directory record
    url = server.put(NAME, cast(bytes, content))
    archive = open_zip(url, SETTINGS)
    assert archive.getinfo("outs/morphology.ome.tif").file_size == big_bytes
    assert archive.getinfo("cells.bin").header_offset > big_bytes
    assert take(url, tmp_path) == WANTED
    assert server.bytes_sent(NAME) < 4 * len(WANTED)


@pytest.mark.fault("remote zip beyond 4 GiB, cut in the member", "asked again, whole")
def test_a_member_beyond_4_gib_survives_a_broken_connection(server, tmp_path):
    content = zip_beyond_4_gib(5 * GIB)
    broken: list[int] = []

    def breaks(exchange: Exchange) -> None:
        broken.append(exchange.number)
        exchange.serve(stop_at=5 * GIB + 100_000 if len(broken) <= 2 else None)

    assert take(server.put(NAME, cast(bytes, content), in_turn(breaks)), tmp_path) == WANTED
    assert len(broken) > 2


@pytest.mark.fault("remote zip beyond 4 GiB, its zip64 record damaged", "refused")
def test_a_zip64_record_that_leads_nowhere_is_refused(server):
    content = zip_beyond_4_gib(5 * GIB)
    content.seek(len(content) - 98)
    content.write(b"XX")
    with pytest.raises(Refusal, match="damaged zip archive"):
        open_zip(server.put(NAME, cast(bytes, content)), SETTINGS)
