"""Archives that mean harm, or are damaged: each is refused in one line, and nothing is left behind."""

from __future__ import annotations

import gzip
import io
import os
import resource
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spotweave.deposits import archives
from spotweave.deposits.archives import ArchiveLimits
from spotweave.errors import Refusal

GIB = 1 << 30


def tar_of(path: Path, *entries: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:
        for info, content in entries:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def entry(name: str, content: bytes = b"content", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def zip_of(path: Path, files: dict[str, bytes], **fields: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.filename = name  # as given: ZipInfo would make it harmless
            info.compress_type = zipfile.ZIP_DEFLATED
            for field, value in fields.items():
                setattr(info, field, value)
            archive.writestr(info, content)
    return path


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, b"", type=kind, linkname=target)


def overlapping(path: Path) -> Path:
    """Two entries of the table of contents that share one stored file (as in a bomb of overlapping files)."""
    zip_of(path, {"a": b"x" * 1000, "b": b"y"})
    data = bytearray(path.read_bytes())
    second = data.rindex(b"PK\x01\x02")
    data[second + 42 : second + 46] = struct.pack("<I", 0)
    path.write_bytes(bytes(data))
    return path


def encrypted(path: Path) -> Path:
    zip_of(path, {"a": b"secret"})
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    path.write_bytes(bytes(data))
    return path


def cut(path: Path, share: float) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def shortened(path: Path, size: int) -> Path:
    path.write_bytes(path.read_bytes()[:-size])
    return path


def flipped(path: Path, offset: int) -> Path:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(bytes(data))
    return path


NOISE = os.urandom(300_000)


def padded(path: Path) -> Path:
    """A tar with more zeros behind its end than are read at once: its checksum comes long after its last member."""
    plain = tar_of(path.with_name("plain.tar"), entry("a", NOISE), mode="w")
    path.write_bytes(gzip.compress(plain.read_bytes() + bytes(3 << 20), mtime=0))
    plain.unlink()
    return path


HOSTILE: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "tar, path traversal": ("leads out", lambda path: tar_of(path / "a.tar.gz", entry("../../evil"))),
    "tar, traversal in the middle": ("leads out", lambda path: tar_of(path / "a.tar", entry("a/../../evil"), mode="w")),
    "tar, absolute path": ("leads out", lambda path: tar_of(path / "a.tar.gz", entry("/etc/passwd"))),
    "tar, drive letter": ("leads out", lambda path: tar_of(path / "a.tar.gz", entry("C:evil"))),
    "tar, backslashes": ("unusable name", lambda path: tar_of(path / "a.tar.gz", entry("..\\evil"))),
    "tar, newline in a name": ("unusable name", lambda path: tar_of(path / "a.tar.gz", entry("a\nb"))),
    "tar, name that is no text": ("no text", lambda path: tar_of(path / "a.tar.gz", entry("a\udcff"))),
    "tar, symlink out": ("leads out of the archive", lambda path: tar_of(path / "a.tar.gz", link("a", "../../x"))),
    "tar, absolute symlink": ("leads out of the archive", lambda path: tar_of(path / "a.tar.gz", link("a", "/etc"))),
    "tar, hard link out": (
        "leads out of the archive",
        lambda path: tar_of(path / "a.tar.gz", link("a", "../x", tarfile.LNKTYPE)),
    ),
    "tar, device file": ("device", lambda path: tar_of(path / "a.tar.gz", entry("null", b"", type=tarfile.CHRTYPE))),
    "tar, block device": ("device", lambda path: tar_of(path / "a.tar.gz", entry("sda", b"", type=tarfile.BLKTYPE))),
    "tar, pipe": ("pipe", lambda path: tar_of(path / "a.tar.gz", entry("fifo", b"", type=tarfile.FIFOTYPE))),
    "tar, a name twice": ("two members", lambda path: tar_of(path / "a.tar.gz", entry("a"), entry("./a"))),
    "tar, cut off": ("damaged", lambda path: cut(tar_of(path / "a.tar.gz", entry("a", NOISE)), 0.6)),
    "tar, wrong checksum behind it": (
        "damaged",
        lambda path: flipped(padded(path / "a.tar.gz"), -8),
    ),
    "tar, wrong size behind it": (
        "damaged",
        lambda path: flipped(padded(path / "a.tar.gz"), -1),
    ),
    "tar, checksum cut off": (
        "damaged",
        lambda path: shortened(padded(path / "a.tar.gz"), 8),
    ),
    "tar, no tar inside": ("damaged", lambda path: _written(path / "a.tar.gz", gzip.compress(NOISE))),
    "zip, path traversal": ("leads out", lambda path: zip_of(path / "a.zip", {"../evil": b"x"})),
    "zip, absolute path": ("leads out", lambda path: zip_of(path / "a.zip", {"/etc/passwd": b"x"})),
    "zip, backslashes": ("unusable name", lambda path: zip_of(path / "a.zip", {"..\\evil": b"x"})),
    "zip, NUL in a name": ("unusable name", lambda path: zip_of(path / "a.zip", {"a\0.h5": b"x"})),
    "zip, symlink": (
        "link or a device",
        lambda path: zip_of(path / "a.zip", {"a": b"/etc/passwd"}, external_attr=0o120777 << 16),
    ),
    "zip, overlapping entries": ("shares its bytes", lambda path: overlapping(path / "a.zip")),
    "zip, encrypted": ("encrypted", lambda path: encrypted(path / "a.zip")),
    "zip, cut off": ("ends too early", lambda path: cut(zip_of(path / "a.zip", {"a": NOISE}), 0.6)),
    "7z": ("7z archive", lambda path: _written(path / "a.7z", b"7z\xbc\xaf\x27\x1c" + NOISE)),
    "RAR": ("RAR archive", lambda path: _written(path / "a.rar", b"Rar!\x1a\x07\x01" + NOISE)),
}


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_hostile_archive_is_refused_in_one_line(kind: str, tmp_path: Path, fault: Callable[..., None]) -> None:
    message, make = HOSTILE[kind]
    archive = make(tmp_path)
    out = tmp_path / "out"
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(Refusal, match=message) as refusal:
        archives.extract(archive, {"a": out / "a"}, archive.name)
    assert refusal.value.reason.startswith(archive.name)
    assert "\n" not in refusal.value.reason
    assert sorted(path for path in tmp_path.rglob("*") if path != out) == before
    assert not out.exists() or not list(out.glob("*"))
    fault(kind, "refused")


@pytest.fixture(scope="module")
def packed_gib() -> bytes:
    """Raw deflate of one GiB of zeros that can be written again and again (it ends at a byte boundary)."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = bytes(1 << 20)
    parts = [packer.compress(block) for _ in range(1024)]
    return b"".join(parts) + packer.flush(zlib.Z_FULL_FLUSH)


def memory_of(work: Callable[[], object]) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def test_ten_gigabytes_of_zeros_in_a_tar_are_refused_by_their_header(
    tmp_path: Path, packed_gib: bytes, fault: Callable[..., None]
) -> None:
    path = tmp_path / "bomb.tar.gz"
    info = tarfile.TarInfo("zeros.tif")
    info.size = 10 * GIB
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    header = packer.compress(info.tobuf()) + packer.flush(zlib.Z_FULL_FLUSH)
    with open(path, "wb") as handle:
        handle.write(b"\x1f\x8b\x08\x00" + bytes(6) + header)
        for _ in range(10):
            handle.write(packed_gib)
    reason = _refused(lambda: archives.members(path, path.name))
    assert "10,737,418,240 bytes unpacked from so small an archive" in reason
    fault("tar, a 10 GB bomb by its header", "refused")


def test_a_gzip_of_ten_gigabytes_is_refused_while_it_is_counted(
    tmp_path: Path, packed_gib: bytes, fault: Callable[..., None]
) -> None:
    path = tmp_path / "slide.tif.gz"
    with open(path, "wb") as handle:
        handle.write(b"\x1f\x8b\x08\x00" + bytes(6))
        for _ in range(10):
            handle.write(packed_gib)
    assert path.stat().st_size < 20 << 20
    target = tmp_path / "out/slide.tif"
    grown = memory_of(
        lambda: (
            pytest.raises(Refusal, match="from so small an archive").__exit__
            and _refused(lambda: archives.decompress(path, target, path.name))
        )
    )
    assert grown < 200 << 20
    assert not list(target.parent.glob("*"))
    fault("gzip, a 10 GB bomb", "refused")


def _refused(work: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as refusal:
        work()
    return refusal.value.reason


def test_a_zip_that_lies_about_its_size_is_stopped(
    tmp_path: Path, packed_gib: bytes, fault: Callable[..., None]
) -> None:
    # The table of contents says 100 bytes; the stream holds a GiB. zipfile stops at the size that was announced.
    path = tmp_path / "a.zip"
    stream = packed_gib + b"\x03\x00"
    crc, name = 0, b"a"
    local = struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 20, 0, 8, 0, 33, crc, len(stream), 100, 1, 0) + name
    central = (
        struct.pack(
            "<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 20, 20, 0, 8, 0, 33, crc, len(stream), 100, 1, 0, 0, 0, 0, 0, 0
        )
        + name
    )
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1, 1, len(central), len(local) + len(stream), 0)
    path.write_bytes(local + stream + central + end)
    reason = _refused(lambda: archives.extract(path, {"a": tmp_path / "out/a"}, path.name))
    assert "damaged" in reason
    assert not (tmp_path / "out/a").exists()
    fault("zip, lies about its size", "refused")


def test_ten_gigabytes_announced_by_a_small_zip_are_refused(tmp_path: Path, fault: Callable[..., None]) -> None:
    path = zip_of(tmp_path / "a.zip", {"a": b"x"})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 0xFFFFFFF0)
    path.write_bytes(bytes(data))
    assert "from so small an archive" in _refused(lambda: archives.members(path, path.name))
    fault("zip, 4 GB announced by 100 bytes", "refused")


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A zip of a million empty files, written without a million objects."""
    path = tmp_path_factory.mktemp("million") / "many.zip"
    count = 1_000_000
    with open(path, "wb") as handle:
        central = bytearray()
        for number in range(count):
            name = b"%07d" % number
            central += struct.pack(
                "<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0
            )
            central += name
        handle.write(central)
        size = len(central)
        handle.write(struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, 0))
        handle.write(struct.pack("<4sIQI", b"PK\x06\x07", 0, size, 1))
        handle.write(struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0))
    yield path


def test_a_zip_with_a_million_entries_is_refused_before_they_are_loaded(
    million: Path, fault: Callable[..., None]
) -> None:
    grown = memory_of(lambda: _refused(lambda: archives.members(million, million.name)))
    assert "1,000,000 entries" in _refused(lambda: archives.members(million, million.name))
    assert grown < 50 << 20  # zipfile would need some 800 MB
    fault("zip, a million entries", "refused")


def test_more_entries_than_allowed_in_a_tar_are_refused(tmp_path: Path, fault: Callable[..., None]) -> None:
    path = tar_of(tmp_path / "a.tar.gz", *(entry(f"{number}", b"") for number in range(20)))
    limits = ArchiveLimits(members=10)
    with pytest.raises(Refusal, match="11 entries") as refusal:
        archives.members(path, path.name, limits)
    assert (refusal.value.measured, refusal.value.threshold) == (11, 10)
    fault("tar, too many entries", "refused")


def test_links_inside_an_archive_stand_for_what_they_lead_to(tmp_path: Path, fault: Callable[..., None]) -> None:
    # The previews of square_016um are links to those of square_002um.
    path = tar_of(
        tmp_path / "binned_outputs.tar.gz",
        entry("square_002um/spatial/tissue.png", b"picture"),
        link("square_016um/spatial/tissue.png", "square_002um/spatial/tissue.png", tarfile.LNKTYPE),
        link("square_016um/spatial/again.png", "tissue.png"),
    )
    out = tmp_path / "out"
    wanted = {f"square_016um/spatial/{name}": out / name for name in ("tissue.png", "again.png")}
    archives.extract(path, wanted, path.name)
    assert {name: (out / name).read_bytes() for name in ("tissue.png", "again.png")} == {
        "tissue.png": b"picture",
        "again.png": b"picture",
    }
    assert not any(file.is_symlink() for file in out.iterdir())
    fault("tar, links inside", "resolved")


def test_links_in_a_circle_and_to_nothing_are_refused(tmp_path: Path, fault: Callable[..., None]) -> None:
    circle = tar_of(tmp_path / "a.tar.gz", link("a", "b"), link("b", "a"))
    assert "leads to itself" in _refused(lambda: archives.extract(circle, {"a": tmp_path / "out"}, "a.tar.gz"))
    nothing = tar_of(tmp_path / "b.tar.gz", link("a", "gone"))
    assert "not in the archive" in _refused(lambda: archives.extract(nothing, {"a": tmp_path / "out"}, "b.tar.gz"))
    fault("tar, links in a circle", "refused")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_member_is_taken_out_whole_and_alone(tmp_path: Path, mode: str) -> None:
    path = tar_of(tmp_path / "a.tar", entry("x/a", NOISE), entry("x/b", b"other"), mode=mode)
    archives.extract(path, {"x/a": tmp_path / "out/deep/a"}, path.name)
    assert (tmp_path / "out/deep/a").read_bytes() == NOISE
    assert [file.name for file in (tmp_path / "out").rglob("*") if file.is_file()] == ["a"]


def test_a_wrong_crc_in_a_zip_is_damage(tmp_path: Path, fault: Callable[..., None]) -> None:
    path = zip_of(tmp_path / "a.zip", {"a": NOISE})
    data = bytearray(path.read_bytes())
    data[5000] ^= 0xFF
    path.write_bytes(bytes(data))
    assert "damaged" in _refused(lambda: archives.extract(path, {"a": tmp_path / "out/a"}, path.name))
    assert not list((tmp_path / "out").glob("*"))
    fault("zip, a flipped byte", "refused")


def test_a_member_that_is_not_there_is_refused_with_what_is(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {"a": b"x", "b": b"y"})
    assert "'c' is not in the archive; it has a, b" in _refused(
        lambda: archives.extract(path, {"c": tmp_path / "c"}, path.name)
    )


@pytest.mark.parametrize("at", [-8, -1], ids=["checksum", "length"])
def test_a_packed_tar_whose_trailer_is_wrong_is_damage(at: int, tmp_path: Path, fault: Callable[..., None]) -> None:
    """The members are all there; only gzip's checksum tells, blocks of zeros behind the end of the tar."""
    plain = tar_of(tmp_path / "a.tar", entry("a", NOISE), entry("b", b"1"), mode="w").read_bytes()
    data = bytearray(gzip.compress(plain.ljust(3 * archives.CHUNK_BYTES, b"\0")))
    data[at] ^= 0xFF
    archive = _written(tmp_path / "a.tar.gz", bytes(data))
    with pytest.raises(Refusal, match="damaged"):
        archives.members(archive, "a.tar.gz")
    fault("tar, wrong gzip trailer", "refused")


def test_the_bytes_of_all_members_count_together(tmp_path: Path) -> None:
    limits = ArchiveLimits(total_bytes=100_000)
    one = tar_of(tmp_path / "one.tar", entry("a", NOISE[:60_000]), mode="w")
    assert [member.bytes for member in archives.members(one, "one", limits)] == [60_000]
    two = tar_of(tmp_path / "two.tar", entry("a", NOISE[:60_000]), entry("b", NOISE[:60_000]), mode="w")
    with pytest.raises(Refusal, match="bytes unpacked"):
        archives.members(two, "two", limits)


def test_a_bomb_is_measured_by_the_bytes_it_is_packed_in(tmp_path: Path) -> None:
    limits = ArchiveLimits(ratio=10, free_bytes=50_000)
    _written(tmp_path / "a.gz", gzip.compress(bytes(200_000)))
    with pytest.raises(Refusal, match="from so small an archive"):
        archives.decompress(tmp_path / "a.gz", tmp_path / "a", "a.gz", limits)
    assert not (tmp_path / "a").exists()
    _written(tmp_path / "b.gz", gzip.compress(NOISE[:200_000]))
    archives.decompress(tmp_path / "b.gz", tmp_path / "b", "b.gz", limits)
    assert (tmp_path / "b").read_bytes() == NOISE[:200_000]


def test_a_hard_link_names_its_member_from_the_top_and_a_symbolic_one_from_its_folder(tmp_path: Path) -> None:
    entries = (entry("sub/a", b"right"), entry("sub/sub/a", b"wrong"))
    archive = tar_of(
        tmp_path / "a.tar", *entries, link("sub/h", "sub/a", tarfile.LNKTYPE), link("sub/s", "a"), mode="w"
    )
    archives.extract(archive, {name: tmp_path / name[-1] for name in ("sub/h", "sub/s")}, "a.tar")
    assert [(tmp_path / name).read_bytes() for name in "hs"] == [b"right", b"right"]


def test_members_of_a_zip_that_begin_within_another_are_refused(tmp_path: Path) -> None:
    """The second starts behind the first one's header, in the middle of its bytes."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w", zipfile.ZIP_STORED) as hidden:
            hidden.writestr("b", b"hidden")
        archive.writestr("a", inner.getvalue())
        archive.writestr("b", b"hidden")
    data = bytearray(path.read_bytes())
    second = data.rindex(b"PK\x01\x02")
    data[second + 42 : second + 46] = struct.pack("<I", 30 + len("a"))
    path.write_bytes(bytes(data))
    with pytest.raises(Refusal, match="shares its bytes"):
        archives.members(path, "a.zip")
