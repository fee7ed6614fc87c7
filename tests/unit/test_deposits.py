"""A deposit reads no other file, holds what it announces, and is refused in one line; a bug of ours stays a failure."""

from __future__ import annotations

import errno
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from spotweave.deposits import opening as deposits
from spotweave.deposits.opening import open_hdf5, parses, parsing, read_json
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.matrices import hdf5
from spotweave.matrices.read import read_matrix
from spotweave.matrices.reading import Reading
from spotweave.registry import Registry
from spotweave.simulate import visium
from spotweave.simulate.count_files import write_h5_layout_2, write_h5_layout_3, write_h5ad
from spotweave.simulate.visium_layouts import VARIANTS
from spotweave.visium.loupe import read_loupe
from spotweave.visium.positions import read_positions
from spotweave.visium.scalefactors import read_scalefactors
from spotweave.visium_hd import software

CANARY = np.arange(7, 7 + 64, dtype=np.int32)
ROOT = Path(__file__).resolve().parents[2]


def raw(path: Path) -> RawFile:
    return RawFile(path.name, path)


@pytest.fixture
def truth() -> visium.Truth:
    return VARIANTS["space_ranger_2"].truth()


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """Another file of the machine: as bytes, and as HDF5 with a whole matrix in it."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "secret.bin").write_bytes(CANARY.tobytes())
    return folder


def whole(path: Path, truth: visium.Truth, kind: str) -> Path:
    write = {"h5": write_h5_layout_3, "h5_2": write_h5_layout_2, "h5ad": write_h5ad}[kind]
    return write(path, visium.block_of(truth, truth.tissue))


VALUES = {"h5": "matrix/data", "h5_2": "GRCh38/data", "h5ad": "X/data"}


def put_in_place(path: Path, key: str, how: str, secret: Path, other: Path) -> None:
    with h5py.File(path, "r+") as file:
        length, dtype = file[key].shape[0], file[key].dtype
        del file[key]
        if how == "external storage":
            file.create_dataset(key, (length,), dtype=dtype, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
        elif how == "external link":
            file[key] = h5py.ExternalLink(str(other), key)
        elif how == "group behind an external link":
            del file[key.rpartition("/")[0]]
            file[key.rpartition("/")[0]] = h5py.ExternalLink(str(other), key.rpartition("/")[0])
        elif how == "soft link over an external link":
            file["far"] = h5py.ExternalLink(str(other), "/")
            file[key] = h5py.SoftLink(f"/far/{key}")
        elif how == "virtual dataset":
            layout = h5py.VirtualLayout((length,), dtype=dtype)
            layout[:] = h5py.VirtualSource(str(other), key, (length,))
            file.create_virtual_dataset(key, layout)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize(
    "how",
    [
        "external storage",
        "external link",
        "group behind an external link",
        "soft link over an external link",
        "virtual dataset",
    ],
)
def test_hdf5_reads_no_other_file(how, kind, packed, truth, canary, tmp_path) -> None:
    other = whole(canary / "other.h5", truth, kind)
    path = whole(tmp_path / f"a.{kind}", truth, kind)
    with h5py.File(path) as file:
        key = VALUES[kind] if VALUES[kind] in file else next(f"{name}/data" for name in file if "data" in file[name])
    put_in_place(path, key, how, canary / "secret.bin", other)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(Refusal, match=r"another file.*without links"):
        read_matrix(raw(path))


@pytest.mark.parametrize("key", ["obs/array_row", "obsm/spatial", "uns/picture"])
def test_an_h5ad_reads_no_other_file_as_positions(key, truth, canary, tmp_path) -> None:
    path = tmp_path / "a.h5ad"
    with h5py.File(whole(path, truth, "h5ad"), "r+") as file:
        if key in file:
            del file[key]
        file.create_dataset(key, (8,), dtype="i4", external=[(str(canary / "secret.bin"), 0, 32)])
    with pytest.raises(Refusal, match="another file"):
        read_positions(raw(path))


def announce(path: Path, shape: tuple[int, ...], **options) -> Path:
    with h5py.File(path, "w") as file:
        matrix = file.create_group("matrix")
        matrix.create_dataset("data", shape, dtype="i4", **options)
        for key in ("indices", "indptr", "shape", "barcodes", "features"):
            matrix.create_dataset(key, (1,), dtype="i8")
    return path


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((1 << 40,), {"chunks": (1 << 20,)}),
        ((1 << 33,), {"chunks": (1 << 16,), "compression": "gzip"}),
        ((1 << 20, 1 << 20), {"chunks": (1 << 10, 1 << 10)}),
        ((4,), {"chunks": (1 << 26,), "maxshape": (None,)}),
    ],
)
def test_sizes_that_a_file_cannot_hold_are_refused_before_memory_is_asked_for(shape, options, tmp_path) -> None:
    with pytest.raises(Refusal, match=r"says it has [\d,]+ bytes, and [\d,]+ are in the file"):
        read_matrix(raw(announce(tmp_path / "a.h5", shape, **options)))


def test_a_gzip_bomb_is_refused_in_every_container(tmp_path) -> None:
    bomb = tmp_path / "bomb.gz"
    head = {"table": b"gene\tA\n", "mtx": b"%%MatrixMarket matrix coordinate integer general\n", "json": b"{"}
    readers: dict[str, Callable[[RawFile], object]] = {"table": read_matrix, "json": read_loupe}
    readers["mtx"] = lambda file: read_matrix(file, features=file, barcodes=file)
    for kind, read in readers.items():
        with gzip.open(bomb, "wb") as handle:
            handle.write(head[kind])
            for _ in range(80):
                handle.write(b" " * (1 << 20))
        with pytest.raises(Refusal, match=r"bomb.gz: more than [\d,]+ bytes when unpacked"):
            read(raw(bomb))


def test_a_matrix_market_header_is_held_against_the_file(tmp_path) -> None:
    path = tmp_path / "matrix.mtx"
    path.write_text("%%MatrixMarket matrix coordinate integer general\n1000000 1000000 900000000000\n1 1 1\n")
    with pytest.raises(Refusal, match="900,000,000,000 entries, which a file of its size cannot hold"):
        read_matrix(raw(path), features=raw(path), barcodes=raw(path))


def test_a_parquet_table_of_more_rows_than_its_bytes_is_refused(tmp_path) -> None:
    path = tmp_path / "positions.parquet"
    rows = 2 << 20
    names = ("barcode", "in_tissue", "array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres")
    pyarrow.parquet.write_table(pa.table({name: pa.array(np.zeros(rows, dtype=np.int8)) for name in names}), path)
    assert path.stat().st_size < 100_000
    with pytest.raises(Refusal, match=r"2,097,152 rows in [\d,]+ bytes"):
        read_positions(raw(path))


NUMBERS = ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400, "9" * 5000]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda text: text[:9])
def test_json_has_no_number_that_is_none(number, tmp_path) -> None:
    path = tmp_path / "scalefactors_json.json"
    path.write_text(f'{{"spot_diameter_fullres": {number}, "tissue_hires_scalef": 0.5}}')
    assert read_json(raw(path)) == {"spot_diameter_fullres": None, "tissue_hires_scalef": 0.5}
    numbers, notes = read_scalefactors(raw(path))
    assert numbers == {"tissue_hires_scalef": 0.5}
    assert len(notes) == 1
    path.write_text(f'{{"oligo": [{{"row": {number}, "col": 1, "imageX": 1, "imageY": {number}}}]}}')
    with pytest.raises(Refusal, match="lack row, col, imageX or imageY"):
        read_loupe(raw(path))


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, "[" * 200_000 + "]" * 200_000])
def test_deep_json_is_refused(text, tmp_path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(Refusal, match="nested deeper"):
        read_json(raw(path))


def test_duplicate_columns_of_parquet_are_refused(tmp_path) -> None:
    path = tmp_path / "positions.parquet"
    names = ("barcode", "in_tissue", "array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres", "array_col")
    pyarrow.parquet.write_table(pa.table([pa.array([1])] * len(names), names=list(names)), path)
    with pytest.raises(Refusal, match="two columns are called 'array_col'"):
        read_positions(raw(path))


def test_a_long_field_and_a_nul_in_a_list_are_refusals(tmp_path) -> None:
    matrix = tmp_path / "matrix.mtx"
    matrix.write_text("%%MatrixMarket matrix coordinate integer general\n1 1 1\n1 1 1\n")
    for content in ("A" * 140_000 + "\tB\n", '"' + "A" * 140_000):
        (tmp_path / "features.tsv").write_text(content)
        with pytest.raises(Refusal, match=r"features.tsv: .*field larger than field limit"):
            read_matrix(raw(matrix), features=raw(tmp_path / "features.tsv"), barcodes=raw(tmp_path / "features.tsv"))


def _of_our_code(source: str) -> Callable[[], None]:
    """A function that stands in a module of the library."""
    names: dict = {"__name__": "spotweave.readers.fake", "pd": pd, "np": np, "h5py": h5py, "json": json}
    exec(f"def run():\n    {source}", names)
    return names["run"]


@pytest.mark.parametrize(
    "source",
    [
        "{}['no such key']",
        "len(3)",
        "int('abc')",
        "[][0]",
        "None.shape",
        "pd.DataFrame({'a': [1]})['b']",
        "np.zeros(3) + np.zeros(4)",
        "raise RuntimeError('ours')",
        "raise MemoryError",
    ],
)
def test_a_bug_stays_a_failure(source) -> None:
    with pytest.raises(Exception) as error, parsing("a.h5"):
        _of_our_code(source)()
    assert not isinstance(error.value, Refusal)


@pytest.mark.parametrize("number", sorted(deposits.OF_THE_WORLD))
def test_a_full_disk_or_a_vanished_file_stays_a_failure(number) -> None:
    for error in (OSError(number, os.strerror(number)), OSError(f"read failed: errno = {number}, error message = '…'")):
        with pytest.raises(OSError, match=r".") as raised, parsing("a.h5"):
            raise error
        assert raised.value is error
    with pytest.raises(FileNotFoundError), parsing("gone.h5"):
        h5py.File("/no/such/folder/gone.h5", "r")
    with pytest.raises(OSError, match=os.strerror(errno.ENOENT)):
        read_json(RawFile("gone.json", Path("/no/such/folder/gone.json")))


@pytest.mark.parametrize(
    "source",
    [
        "json.loads('{')",
        "b'\\xff'.decode()",
        "pd.read_csv(__import__('io').StringIO('a,b\\n1,2,3\\n4,5,6,7,8'))",
        "next(__import__('csv').reader(['A' * 140_000]))",
        "__import__('zlib').decompress(b'no')",
        "__import__('pyarrow.parquet').parquet.ParquetFile(__import__('io').BytesIO(b'PAR1 no PAR1'))",
        "__import__('struct').unpack('<q', b'1')",
    ],
)
def test_what_a_library_cannot_read_is_a_refusal_that_names_the_file(source) -> None:
    with pytest.raises(Refusal, match=r"^a\.bin: ") as refusal, parsing("a.bin"):
        _of_our_code(source)()
    assert "\n" not in refusal.value.reason


def test_a_library_may_be_reached_through_another(truth, tmp_path) -> None:
    """An attribute with a default is read through `Mapping.get`, which is no library for files."""
    path = write_h5_layout_3(tmp_path / "a.h5", visium.block_of(truth, truth.tissue))
    with h5py.File(path, "r+") as file:
        file.attrs["software_version"] = "spaceranger-3.1.2"
    content = path.read_bytes()
    assert content.count(b"GCOL")
    path.write_bytes(content.replace(b"GCOL", b"LOCG"))
    with pytest.raises(Refusal, match="global heap"):
        software.describe(raw(path))


def test_a_group_in_place_of_a_list_is_a_refusal(truth, tmp_path) -> None:
    for key in ("data", "indices", "indptr", "shape", "barcodes", "features/name", "features/id"):
        path = write_h5_layout_3(tmp_path / "a.h5", visium.block_of(truth, truth.tissue))
        for put in ("group", "matrix of text", "floats"):
            with h5py.File(path, "r+") as file:
                del file[f"matrix/{key}"]
                if put == "group":
                    file.create_group(f"matrix/{key}")
                else:
                    value = np.full((2, 2), b"x") if put == "matrix of text" else np.full(3, np.nan)
                    file[f"matrix/{key}"] = value
            with pytest.raises(Refusal):
                read_matrix(raw(path))


@parses
def _reads(file: RawFile, number: int, *, word: str = "") -> str:
    return f"{file.name} {number} {word}"


def test_parses_hands_on_arguments() -> None:
    assert _reads(raw(Path("a")), 3, word="b") == "a 3 b"


# Every pattern of the modules that read deposits, on names that are long in the worst ways. A quadratic one would take
# minutes of processor time, a linear one takes milliseconds; the limit is between, far from both.
LONG_NAMES = """
import importlib, pkgutil, re, resource, spotweave
resource.setrlimit(resource.RLIMIT_CPU, (25, 25))
READING = "matrices readers barcodes positions visium_hd xenium scalefactors barcode_lists gene_names".split()
SEARCHED = {"BARCODE", "COUNT_LAYER", "NO_COUNT_LAYER", "VERSION", "OTHER_TYPES", "METADATA", "FEATURES"}
seen = set()
for info in pkgutil.walk_packages(spotweave.__path__, "spotweave."):
    if info.name.split(".")[1] not in READING:
        continue
    for name, pattern in vars(importlib.import_module(info.name)).items():
        if not isinstance(pattern, re.Pattern) or pattern in seen:
            continue
        seen.add(pattern)
        for part in ("A", "1", "_", "a1_", " ", "1.", "ENS", "x1", "\\t", "s_", "{"):
            text = (part * 100_000)[:100_000] + "!"
            text = text.encode() if isinstance(pattern.pattern, bytes) else text
            pattern.fullmatch(text)
            if name in SEARCHED:
                pattern.search(text)
        print(info.name, name, flush=True)
print(len(seen))
"""


def test_names_of_100_000_characters_cost_no_more_than_their_length() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LONG_NAMES],
        env={**os.environ, "PYTHONPATH": str(ROOT / "workflow")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout[-300:], done.stderr[-800:])
    assert int(done.stdout.split()[-1]) > 15


def test_a_heap_of_texts_with_zeros_in_it_is_refused_and_not_walked_for_ever(tmp_path: Path) -> None:
    """The HDF5 library stands still in free space of no size; a right heap has free space too, and is read."""
    path = tmp_path / "a.h5"
    names = [f"barcode-{number}" for number in range(300)]
    with h5py.File(path, "w") as file:
        file.create_dataset("names", data=np.array(names, dtype=object), dtype=h5py.string_dtype())
    raw = RawFile(path.name, path)
    with open_hdf5(raw) as file:
        assert hdf5.text(raw.name, file, "names") == names
    content = bytearray(path.read_bytes())
    middle = content.find(b"GCOL") + 16 + 32 * 20
    content[middle : middle + 200] = bytes(200)
    path.write_bytes(content)
    with pytest.raises(Refusal, match=r"a\.h5: a damaged HDF5 file"), open_hdf5(raw):
        pass


@pytest.mark.parametrize("broken", ["G\0NE", "G\udc80NE"])
def test_names_that_no_table_can_hold_are_refused(tmp_path: Path, monkeypatch: Any, broken: str) -> None:
    import anndata

    from spotweave import readers

    genes = pd.DataFrame({"gene_id": ["", ""]}, index=pd.Index(["A", broken], dtype=object))
    reading = Reading(anndata.AnnData(np.ones((1, 2), np.float32), var=genes), pd.DataFrame(), {})
    fake = SimpleNamespace(read=lambda files, member: reading)
    monkeypatch.setattr(Registry, "load", lambda self, name, part: fake)
    with pytest.raises(Refusal, match=r"counts\.tsv: the name .* has a character that no file can hold"):
        readers.read_sample("st_v1", {"counts": RawFile("counts.tsv", tmp_path)})
