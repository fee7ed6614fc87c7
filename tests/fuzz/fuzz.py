"""Mutated deposits through the readers: each is read right, or refused in one line, in bounded memory and time.

    python tests/fuzz/fuzz.py --cases 5000 --seed 0

Every simulated layout of every technology is written once; a case changes one of its files. A worker reads many cases,
within a limit of memory for itself and of time for each case. Counted by what the file was: refused, same data,
different data, traceback, out of memory, out of time.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import itertools
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workflow"))

from spotweave import readers
from spotweave.errors import Refusal
from spotweave.raw import RawFile

LAYOUTS = {"st_v1": "st_v1_layouts", "visium": "visium", "visium_hd": "visium_hd", "xenium": "xenium"}
PICTURE = "picture"
MEMORY_BYTES = 6 << 30
SECONDS_A_CASE = 20
WORDS = (
    b"NaN",
    b"Infinity",
    b"-1",
    b"1e999",
    b"9" * 400,
    b"\x00",
    b"\r",
    b"\xff\xfe",
    b'"',
    b",",
    b"\t",
    b"\n",
    b"[" * 3000,
)
Rng = np.random.Generator
Bytes = Callable[[Rng, bytes], bytes]


def _cut(rng: Rng, content: bytes) -> bytes:
    return content[: int(rng.integers(0, max(1, len(content))))]


def _flip(rng: Rng, content: bytes) -> bytes:
    changed = bytearray(content)
    for at in rng.integers(0, len(content), int(rng.integers(1, 9))):
        changed[at] ^= 1 << int(rng.integers(0, 8))
    return bytes(changed)


def _replace(rng: Rng, content: bytes) -> bytes:
    at, length = int(rng.integers(0, len(content))), int(rng.integers(1, 200))
    return content[:at] + rng.bytes(length) + content[at + length :]


def _insert(rng: Rng, content: bytes) -> bytes:
    at = int(rng.integers(0, len(content)))
    return content[:at] + WORDS[int(rng.integers(0, len(WORDS)))] + content[at:]


def _cell(rng: Rng, content: bytes) -> bytes:
    """Something else in the place of a word of text."""
    at = int(rng.integers(0, len(content)))
    ends = [end for mark in b",\t\n:} " if (end := content.find(mark, at)) > 0]
    return content[:at] + WORDS[int(rng.integers(0, len(WORDS)))] + content[min(ends, default=at) :]


def _repeat(rng: Rng, content: bytes) -> bytes:
    start, end = sorted(int(at) for at in rng.integers(0, len(content) + 1, 2))
    return content[:end] + content[start:end] + content[end:]


MUTATIONS: tuple[Bytes, ...] = (_cut, _flip, _replace, _insert, _cell, _repeat)


def mutate(rng: Rng, path: Path) -> None:
    """Change one file; of a packed one, as often what is packed as the stream itself."""
    content = path.read_bytes()
    change = MUTATIONS[int(rng.integers(0, len(MUTATIONS)))]
    if content.startswith(b"\x1f\x8b") and rng.random() < 0.5:
        path.write_bytes(gzip.compress(change(rng, gzip.decompress(content)), 1, mtime=0))
    else:
        path.write_bytes(change(rng, content))


def read_picture(raws: dict[str, RawFile]) -> str:
    """What the stages that open a picture have of it: the header, and all pixels."""
    from spotweave.reduced import read_reduced
    from spotweave.slide.pyramid import read_header

    path = raws["image"].path
    header = read_header(path)
    pixels, _ = read_reduced(path, 1.0)
    return hashlib.sha256(repr(header).encode() + pixels.tobytes()).hexdigest()


def read(reader: str, member: str | None, raws: dict[str, RawFile]) -> str:
    """Digest of one sample, or of one picture."""
    return read_picture(raws) if reader == PICTURE else digest(readers.read_sample(reader, raws, member))


def digest(reading: readers.Reading) -> str:
    """Of everything that a reading hands on but its report."""
    parts = hashlib.sha256(reading.adata.X.tobytes() if hasattr(reading.adata.X, "tobytes") else b"")
    for array in (reading.adata.X.data, reading.adata.X.indices, reading.adata.X.indptr):
        parts.update(np.ascontiguousarray(array).tobytes())
    for table in (reading.adata.obs, reading.adata.var, reading.spots):
        parts.update(table.to_csv().encode("utf-8", "surrogatepass"))
    return parts.hexdigest()


def container(path: Path) -> str:
    """What a file is, by its first bytes."""
    head = path.read_bytes()[:8]
    packed = head.startswith(b"\x1f\x8b")
    if packed:
        with gzip.open(path) as stream:
            head = stream.read(8)
    kinds = {
        b"\x89HDF": "HDF5",
        b"PAR1": "parquet",
        b"%%Matrix"[:4]: "MTX",
        b"{": "JSON",
        b"II": "TIFF",
        b"\xff\xd8": "JPEG",
        b"\x89PNG": "PNG",
    }
    name = next((kind for magic, kind in kinds.items() if head.startswith(magic)), "text")
    return f"{name}.gz" if packed else name


def layouts(folder: Path) -> Iterator[tuple[str, str | None, dict[str, Path]]]:
    """Every simulated layout: reader, member, files by role."""
    for reader, module_name in LAYOUTS.items():
        module = import_module(f"spotweave.simulate.{module_name}")
        for name, variant in module.VARIANTS.items():
            where = folder / reader / name
            where.mkdir(parents=True)
            truth = variant.truth() if hasattr(variant, "truth") else module.draw_truth()
            yield reader, getattr(variant, "member", None), variant.write(where, truth)


def pictures(folder: Path) -> Iterator[tuple[str, str | None, dict[str, Path]]]:
    """A small picture in the formats of slides."""
    drawn = Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8))
    folder.mkdir()
    for suffix, options in (("tif", {"compression": "tiff_lzw"}), ("tiff", {}), ("jpg", {}), ("png", {})):
        path = folder / f"a.{suffix}"
        drawn.save(path, **options)
        yield PICTURE, None, {"image": path}


def _out_of_time(*_: object) -> None:
    raise TimeoutError


def run(cases: int, seed: int) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Verdicts by container, and what was neither read nor refused."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGALRM, _out_of_time)
    verdicts: Counter[tuple[str, str]] = Counter()
    found: list[str] = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        usable = []
        for reader, member, files in itertools.chain(layouts(folder), pictures(folder / PICTURE)):
            raws = {role: RawFile(path.name, path) for role, path in files.items()}
            try:
                usable.append((reader, member, raws, read(reader, member, raws)))
            except Refusal:  # a layout that needs what the workflow brings, such as a list of barcodes
                continue
        for case in range(cases):
            rng = np.random.default_rng((seed, case))
            reader, member, raws, right = usable[int(rng.integers(0, len(usable)))]
            role = sorted(raws)[int(rng.integers(0, len(raws)))]
            kind, path, kept = container(raws[role].path), raws[role].path, folder / "kept"
            shutil.copyfile(path, kept)
            try:
                mutate(rng, path)
                signal.alarm(SECONDS_A_CASE)
                verdict = "same" if read(reader, member, raws) == right else "different"
            except Refusal as refusal:
                verdict = "refused" if "\n" not in refusal.reason else "traceback"
            except TimeoutError:
                verdict = "out of time"
            except MemoryError:
                verdict = "out of memory"
            except Exception as error:
                verdict = "traceback"
                trace = error.__traceback__
                while trace is not None and trace.tb_next is not None:
                    trace = trace.tb_next
                where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
                found.append(f"case {case}: {reader} {role} {kind}: {error!r:.160} at {where}")
            finally:
                signal.alarm(0)
                shutil.copyfile(kept, path)
            verdicts[kind, verdict] += 1
    return verdicts, found


def main() -> int:
    """Print the table; 1 if anything was neither read nor refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    verdicts, found = run(args.cases, args.seed)
    columns = ("refused", "same", "different", "traceback", "out of memory", "out of time")
    print("container".ljust(12), *(column.rjust(14) for column in columns))
    for kind in sorted({kind for kind, _ in verdicts}):
        print(kind.ljust(12), *(str(verdicts[kind, column]).rjust(14) for column in columns))
    print("\n".join(found))
    print("peak memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "MiB")
    return int(any(verdicts[key] for key in verdicts if key[1] in columns[3:]))


if __name__ == "__main__":
    sys.exit(main())
