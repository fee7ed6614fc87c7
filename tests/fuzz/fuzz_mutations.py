"""Seeded mutations of one file: of its bytes, and of the structure that its container has.

`mutate(rng, path, target, ...)` writes a mutated copy and says what it did. `CANARY` stands for a file that lies
outside the deposit: what names it must never be followed.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Rng = np.random.Generator
Bytes = Callable[[Rng, bytes], bytes]

WEIRD_TEXT = (
    "",
    " ",
    "NA",
    "nan",
    "NaN",
    "inf",
    "-inf",
    "-1",
    "0",
    "1e400",
    "1e19",
    "99999999999999999999",
    "0.5",
    "TRUE",
    "x",
    '"',
    "'",
    "=1+1",
    "\0",
    "\x1b[31m",
    "é",
    "1,5",
    "0x10",
    "1_000",
    "\u0661",
    "A" * 300_000,
    "9" * 5000,
)
WEIRD_JSON = (
    "null",
    "true",
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-1",
    "0",
    "1e-300",
    "1e300",
    '"x"',
    '""',
    '"0.5"',
    '"\\u0000"',
    '"\\ud800"',
    "[]",
    "{}",
    "[130.0]",
    "[[1]]",
    "9" * 400,
    "9" * 20,
    "[" * 100_000 + "]" * 100_000,
    '{"a":' * 50_000 + "1" + "}" * 50_000,
)


# --- bytes ----------------------------------------------------------------------------------------


def _span(rng: Rng, data: bytes, most: int = 4096) -> tuple[int, int]:
    at = int(rng.integers(0, max(1, len(data))))
    return at, min(len(data), at + int(2 ** rng.uniform(0, np.log2(most))))


def _flip(rng: Rng, data: bytes, bits: int, within: int | None = None) -> bytes:
    changed = bytearray(data)
    for _ in range(bits if changed else 0):
        changed[int(rng.integers(0, min(len(changed), within or len(changed))))] ^= 1 << int(rng.integers(0, 8))
    return bytes(changed)


def _replace_span(rng: Rng, data: bytes, make: Callable[[int], bytes]) -> bytes:
    start, end = _span(rng, data)
    return data[:start] + make(end - start) + data[end:]


BYTES: dict[str, Bytes] = {
    "cut": lambda rng, data: data[: int(rng.integers(0, len(data) + 1))],
    "cut short": lambda rng, data: data[: int(rng.integers(0, 64))],
    "cut by a few": lambda rng, data: data[: -int(rng.integers(1, 9))],
    "empty": lambda rng, data: b"",
    "one bit": lambda rng, data: _flip(rng, data, 1),
    "bits": lambda rng, data: _flip(rng, data, 16),
    "bits of the head": lambda rng, data: _flip(rng, data, 3, 512),
    "zeros": lambda rng, data: _replace_span(rng, data, bytes),
    "all zeros": lambda rng, data: bytes(len(data)),
    "noise": lambda rng, data: _replace_span(rng, data, rng.bytes),
    "inserted": lambda rng, data: _replace_span(rng, data, lambda n: rng.bytes(n + int(rng.integers(1, 64)))),
    "deleted": lambda rng, data: _replace_span(rng, data, lambda n: b""),
    "repeated": lambda rng, data: _replace_span(rng, data, lambda n: data[:n] * 2),
    "appended": lambda rng, data: data + rng.bytes(int(rng.integers(1, 512))),
}


# --- gzip -----------------------------------------------------------------------------------------


def _packed(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


def _bomb() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    block = bytes(1 << 20)
    return b"".join(packer.compress(block) for _ in range(160)) + packer.flush()


GZIP: dict[str, Bytes] = {
    "wrong checksum": lambda rng, data: data[:-8] + rng.bytes(4) + data[-4:],
    "wrong length": lambda rng, data: data[:-4] + rng.bytes(4),
    "no trailer": lambda rng, data: data[:-8],
    "two members": lambda rng, data: _packed(gzip.decompress(data)[:100]) + data,
    "cut second member": lambda rng, data: data + data[: len(data) // 2],
    "zeros behind": lambda rng, data: data + bytes(512),
    "packed twice": lambda rng, data: _packed(data),
    "bomb": lambda rng, data: _bomb(),
    "bomb behind": lambda rng, data: data + _bomb(),
}


# --- tables of text -------------------------------------------------------------------------------


def _mark(text: str) -> str:
    return max(("\t", ",", ";", " "), key=text[:2000].count)


def _rows(data: bytes) -> tuple[list[list[str]], str]:
    text = data.decode("utf-8", "replace")
    mark = _mark(text)
    return [line.split(mark) for line in text.splitlines()], mark


def _table(change: Callable[[Rng, list[list[str]]], list[list[str]] | None]) -> Bytes:
    def apply(rng: Rng, data: bytes) -> bytes:
        rows, mark = _rows(data)
        rows = change(rng, rows) or rows
        return "".join(mark.join(row) + "\n" for row in rows).encode("utf-8", "surrogatepass")

    return apply


def _pick(rng: Rng, items: Any) -> Any:
    return items[int(rng.integers(0, len(items)))]


def _cell(rng: Rng, rows: list[list[str]]) -> None:
    row = _pick(rng, rows)
    row[int(rng.integers(0, len(row)))] = _pick(rng, WEIRD_TEXT)


def _cells(rng: Rng, rows: list[list[str]]) -> None:
    column = int(rng.integers(0, max(map(len, rows))))
    value = _pick(rng, WEIRD_TEXT[:-2])
    for row in rows[int(rng.integers(0, 2)) :]:
        if column < len(row):
            row[column] = value


def _digit(rng: Rng, rows: list[list[str]]) -> None:
    """One number moved by one: nobody can tell, unless the table says it twice."""
    for _ in range(50):
        row = _pick(rng, rows[1:] or rows)
        at = int(rng.integers(0, len(row)))
        if row[at].isdigit():
            row[at] = str(int(row[at]) + 1)
            return


def _drop_row(rng: Rng, rows: list[list[str]]) -> None:
    del rows[int(rng.integers(0, len(rows)))]


def _double_row(rng: Rng, rows: list[list[str]]) -> None:
    rows.insert(int(rng.integers(0, len(rows))), list(_pick(rng, rows)))


def _blank_rows(rng: Rng, rows: list[list[str]]) -> None:
    for _ in range(3):
        rows.insert(int(rng.integers(0, len(rows))), [""] * int(rng.integers(0, len(rows[0]))))


def _drop_column(rng: Rng, rows: list[list[str]]) -> None:
    at = int(rng.integers(0, max(map(len, rows))))
    for row in rows:
        del row[at : at + 1]


def _double_column(rng: Rng, rows: list[list[str]]) -> None:
    at = int(rng.integers(0, max(map(len, rows))))
    for row in rows:
        row.extend(row[at : at + 1])


def _swap_columns(rng: Rng, rows: list[list[str]]) -> None:
    a, b = rng.integers(0, len(rows[0]), 2)
    for row in rows:
        if max(a, b) < len(row):
            row[a], row[b] = row[b], row[a]


def _shuffle(rng: Rng, rows: list[list[str]]) -> list[list[str]]:
    return [rows[0], *(rows[int(i)] for i in 1 + rng.permutation(len(rows) - 1))]


def _header(rng: Rng, rows: list[list[str]]) -> None:
    at = int(rng.integers(0, len(rows[0])))
    rows[0][at] = _pick(rng, (*WEIRD_TEXT[:-2], _pick(rng, rows[0]), rows[0][at].upper(), f" {rows[0][at]}"))


def _extra_field(rng: Rng, rows: list[list[str]]) -> None:
    _pick(rng, rows).append(_pick(rng, WEIRD_TEXT[:-2]))


def _short_row(rng: Rng, rows: list[list[str]]) -> None:
    row = _pick(rng, rows)
    del row[int(rng.integers(0, len(row))) :]


def _separator(rng: Rng, data: bytes) -> bytes:
    rows, mark = _rows(data)
    other = _pick(rng, [m for m in ("\t", ",", ";", "|", " ", ", ") if m != mark])
    return "\n".join(other.join(row) for row in rows).encode()


def _some_separators(rng: Rng, data: bytes) -> bytes:
    rows, mark = _rows(data)
    return "\n".join((";" if rng.random() < 0.1 else mark).join(row) for row in rows).encode()


def _transposed(rng: Rng, rows: list[list[str]]) -> list[list[str]]:
    width = min(map(len, rows))
    return [[row[column] for row in rows] for column in range(width)]


TABLE: dict[str, Bytes] = {
    "cell": _table(_cell),
    "cells of a column": _table(_cells),
    "number by one": _table(_digit),
    "row deleted": _table(_drop_row),
    "row doubled": _table(_double_row),
    "blank rows": _table(_blank_rows),
    "column deleted": _table(_drop_column),
    "column doubled": _table(_double_column),
    "columns exchanged": _table(_swap_columns),
    "rows shuffled": _table(_shuffle),
    "header cell": _table(_header),
    "header deleted": _table(lambda rng, rows: rows[1:]),
    "header alone": _table(lambda rng, rows: rows[:1]),
    "header doubled": _table(lambda rng, rows: [rows[0], *rows]),
    "extra field": _table(_extra_field),
    "short row": _table(_short_row),
    "transposed": _table(_transposed),
    "other separator": _separator,
    "mixed separators": _some_separators,
    "CR alone": lambda rng, data: data.replace(b"\r\n", b"\n").replace(b"\n", b"\r"),
    "CRLF": lambda rng, data: data.replace(b"\n", b"\r\n"),
    "one line": lambda rng, data: data.replace(b"\n", b" "),
    "UTF-16": lambda rng, data: data.decode("utf-8", "replace").encode("utf-16"),
    "UTF-16 without mark": lambda rng, data: data.decode("utf-8", "replace").encode("utf-16-le"),
    "mark": lambda rng, data: b"\xef\xbb\xbf" + data,
    "latin-1": lambda rng, data: _replace_span(rng, data, lambda n: b"\xe9" * n),
    "NULs": lambda rng, data: _replace_span(rng, data, lambda n: bytes(min(n, 8))),
    "open quote": lambda rng, data: _replace_span(rng, data, lambda n: b'"' * min(n, 1)),
    "quoted": lambda rng, data: _quoted(data),
    "a comment before": lambda rng, data: b"# made by hand\n" + data,
    "sep=": lambda rng, data: b"sep=,\n" + data,
}


def _quoted(data: bytes) -> bytes:
    rows, mark = _rows(data)
    return "".join(mark.join(f'"{cell}"' for cell in row) + "\n" for row in rows).encode()


# --- Market Exchange ------------------------------------------------------------------------------


def _mtx(change: Callable[[Rng, list[str]], None]) -> Bytes:
    def apply(rng: Rng, data: bytes) -> bytes:
        lines = data.decode("utf-8", "replace").splitlines()
        change(rng, lines)
        return ("\n".join(lines) + "\n").encode()

    return apply


def _size_line(lines: list[str]) -> int:
    return next((at for at, line in enumerate(lines) if not line.startswith("%")), 0)


def _mtx_banner(rng: Rng, lines: list[str]) -> None:
    lines[0] = _pick(
        rng,
        (
            "%%MatrixMarket matrix array integer general",
            "%%MatrixMarket matrix coordinate pattern general",
            "%%MatrixMarket matrix coordinate complex general",
            "%%MatrixMarket matrix coordinate integer symmetric",
            "%%MatrixMarket matrix coordinate real general",
            "%%MatrixMarket vector coordinate integer general",
            "%%MatrixMarket",
            "",
            "%",
        ),
    )


def _mtx_size(rng: Rng, lines: list[str]) -> None:
    at = _size_line(lines)
    fields = lines[at].split()
    which = int(rng.integers(0, len(fields) or 1))
    fields[which : which + 1] = [
        _pick(rng, ("0", "-1", "1", "x", "", "1e3", "99999999999", "9" * 30, f"{int(fields[which]) + 1}", "2147483648"))
    ]
    lines[at] = " ".join(fields)


def _mtx_entry(rng: Rng, lines: list[str]) -> None:
    first = _size_line(lines) + 1
    at = int(rng.integers(first, len(lines)))
    fields = lines[at].split()
    which = int(rng.integers(0, 3))
    fields[which] = _pick(rng, ("0", "-1", "99999999", "1.5", "nan", "inf", "x", "", "1e10", "9" * 30, "2", "é", "\0"))
    lines[at] = " ".join(fields)


def _mtx_value(rng: Rng, lines: list[str]) -> None:
    at = int(rng.integers(_size_line(lines) + 1, len(lines)))
    fields = lines[at].split()
    lines[at] = " ".join([*fields[:2], f"{int(float(fields[2])) + 1}"])


def _mtx_double(rng: Rng, lines: list[str]) -> None:
    first = _size_line(lines) + 1
    lines[int(rng.integers(first, len(lines)))] = _pick(rng, lines[first:])


def _mtx_drop(rng: Rng, lines: list[str]) -> None:
    del lines[int(rng.integers(0, len(lines)))]


MTX: dict[str, Bytes] = {
    "banner": _mtx(_mtx_banner),
    "sizes": _mtx(_mtx_size),
    "entry": _mtx(_mtx_entry),
    "value by one": _mtx(_mtx_value),
    "entry doubled in place of another": _mtx(_mtx_double),
    "line deleted": _mtx(_mtx_drop),
    "line added": _mtx(lambda rng, lines: lines.append(_pick(rng, ("1 1 1", "", "x", "1 1", "0 0 0")))),
    "CRLF": TABLE["CRLF"],
    "CR alone": TABLE["CR alone"],
    "UTF-16": TABLE["UTF-16"],
    "commas": lambda rng, data: data.replace(b" ", b","),
}


# --- JSON -----------------------------------------------------------------------------------------

HOLE = "\u0001hole\u0001"


def _places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys)[:50]:
        found.append((value, key))
        _places(value[key], found)
    return found


def _json_value(rng: Rng, data: bytes) -> bytes:
    content = json.loads(data)
    holder, key = _pick(rng, _places(content, []))
    holder[key] = HOLE
    return json.dumps(content).replace(json.dumps(HOLE), _pick(rng, WEIRD_JSON)).encode()


def _json_near(rng: Rng, data: bytes) -> bytes:
    """A number a tenth larger: only another number in the deposit can tell."""
    content = json.loads(data)
    numbers = [(h, k) for h, k in _places(content, []) if isinstance(h[k], (int, float)) and not isinstance(h[k], bool)]
    if numbers:
        holder, key = _pick(rng, numbers)
        holder[key] = type(holder[key])(holder[key] * 1.1 + 1)
    return json.dumps(content).encode()


def _json_drop(rng: Rng, data: bytes) -> bytes:
    content = json.loads(data)
    holder, key = _pick(rng, _places(content, []))
    del holder[key]
    return json.dumps(content).encode()


def _json_key(rng: Rng, data: bytes) -> bytes:
    content = json.loads(data)
    named = [(h, k) for h, k in _places(content, []) if isinstance(h, dict)]
    if named:
        holder, key = _pick(rng, named)
        holder[_pick(rng, ("", "x", "\0", key.upper(), "__class__"))] = holder.pop(key)
    return json.dumps(content).encode()


def _json_twice(rng: Rng, data: bytes) -> bytes:
    content = json.loads(data)
    named = [(h, k) for h, k in _places(content, []) if isinstance(h, dict)]
    if not named:
        return data
    holder, key = _pick(rng, named)
    holder[HOLE] = holder[key]
    return json.dumps(content).replace(json.dumps(HOLE), json.dumps(key)).encode()


JSON: dict[str, Bytes] = {
    "value": _json_value,
    "number a tenth larger": _json_near,
    "key deleted": _json_drop,
    "key renamed": _json_key,
    "key twice": _json_twice,
    "other root": lambda rng, data: _pick(rng, WEIRD_JSON).encode(),
    "wrapped": lambda rng, data: b"[" + data + b"]",
    "one after another": lambda rng, data: data + data,
    "single quotes": lambda rng, data: data.replace(b'"', b"'"),
    "a comma too many": lambda rng, data: data.replace(b"}", b",}"),
    "UTF-16": TABLE["UTF-16"],
    "mark": TABLE["mark"],
    "latin-1": TABLE["latin-1"],
    "NULs": TABLE["NULs"],
    "the canary": lambda rng, data: _json_canary(rng, data),  # noqa: PLW0108 - defined below
}

CANARY = "CANARY-PATH"


def _json_canary(rng: Rng, data: bytes) -> bytes:
    content = json.loads(data)
    holder, key = _pick(rng, _places(content, []))
    holder[key] = _pick(rng, (CANARY, f"file://{CANARY}"))
    return json.dumps(content).encode()


# --- HDF5 -----------------------------------------------------------------------------------------


def mutate_hdf5(rng: Rng, path: Path, canary: Path) -> str:
    """Change one thing in the tree of an HDF5 file, in place; says what."""
    import h5py

    kinds = list(HDF5)
    kind = _pick(rng, kinds)
    with h5py.File(path, "a", locking=False) as file:
        nodes: list[str] = []
        file.visit(nodes.append)
        try:
            HDF5[kind](rng, file, nodes, canary)
        except (KeyError, ValueError, TypeError, OSError, RuntimeError, OverflowError):
            return "not applicable"  # h5py itself does not write this
    return kind


def _datasets(file: Any, nodes: list[str]) -> list[str]:
    import h5py

    return [name for name in nodes if isinstance(file.get(name), h5py.Dataset)]


def _put(file: Any, name: str, value: Any, **more: Any) -> None:
    attributes = dict(file[name].attrs) if name in file else {}
    if name in file:
        del file[name]
    made = file.create_dataset(name, data=value, **more)
    made.attrs.update(attributes)


def _h5_delete(rng: Rng, file: Any, nodes: list[str], canary: Path) -> None:
    del file[_pick(rng, nodes)]


def _h5_type(rng: Rng, file: Any, nodes: list[str], canary: Path) -> None:
    import h5py

    name = _pick(rng, _datasets(file, nodes))
    length = file[name].shape[0] if file[name].shape else 1
    whole = rng.integers(0, 5, length)
    values = (
        np.full(length, np.nan),
        np.full(length, np.inf),
        whole + 0.5,
        -whole - 1,
        whole.astype(np.uint8),
        whole.astype(">i2"),
        whole.astype(np.uint64) + (1 << 63),
        whole.astype(complex),
        whole.astype(bool),
        whole.astype(np.float16),
        whole.astype("S"),
        np.array([f"é{v}".encode("latin-1") for v in whole], dtype="S"),
        np.zeros(length, dtype=[("a", "i4"), ("b", "S3")]),
        np.full(length, b"\xff\xfe\x00x", dtype="S4"),
        h5py.Empty("f8"),
        "text",
        3,
    )
    _put(file, name, _pick(rng, values))


def _h5_strings(rng: Rng, file: Any, nodes: list[str], canary: Path) -> None:
    import h5py

    name = _pick(rng, _datasets(file, nodes))
    length = file[name].shape[0] if file[name].shape else 1
    text = _pick(rng, ("", "same", "\x1b[31m", "A" * 70000, "é", "a\nb", "nan", canary.as_posix()))
    _put(file, name, np.array([text] * length, dtype=object), dtype=h5py.string_dtype())


def _h5_shape(rng: Rng, file: Any, nodes: list[str], canary: Path) -> None:
    name = _pick(rng, _datasets(file, nodes))
    values = file[name][()]
    flat = np.atleast_1d(values)
    forms = (flat[:-1], flat[:0], np.concatenate([flat, flat]), flat[None], flat[:, None], flat[::-1], flat[0])
    _put(file, name, _pick(rng, forms))


def _h5_value(rng: Rng, file: Any, nodes: list[str], canary: Path) -> None:
    numeric = [name for name in _datasets(file, nodes) if file[name].dtype.kind in "iuf" and file[name].shape]
    node = file[_pick(rng, numeric)]
    values = node[()]
    flat = values.reshape(-1)
    limits = np.iinfo(values.dtype) if values.dtype.kind in "iu" else np.finfo(values.dtype)
    extremes = [limits.min, limits.max, 0, len(flat), len(flat) + 1]
    if values.dtype.kind == "f":
        extremes += [np.nan, np.inf, 0.5]
    with np.errstate(all="ignore"):
        flat[int(rng.integers(0, len(flat)))] = _pick(rng, extremes)
    node[...] = values


def _h5_by_one(rng: Rng, file: Any, nodes: list[str], canary: Path) -> None:
    numeric = [name for name in _datasets(file, nodes) if file[name].dtype.kind in "iuf" and file[name].shape]
    node = file[_pick(rng, numeric)]
    values = node[()]
    values.reshape(-1)[int(rng.integers(0, values.size))] += 1
    node[...] = values


def _h5_order(rng: Rng, file: Any, nodes: list[str], canary: Path) -> None:
    name = _pick(rng, _datasets(file, nodes))
    values = file[name][()]
    _put(file, name, rng.permutation(values))


def _h5_attribute(rng: Rng, file: Any, nodes: list[str], canary: Path) -> None:
    import h5py

    with_attributes = [name for name in ["/", *nodes] if len(file[name].attrs)]
    node = file[_pick(rng, with_attributes)]
    name = _pick(rng, list(node.attrs))
    values = (None, "x", "", -1, 1.5, np.nan, [1, 2, 3], [], h5py.Empty("f8"), [1 << 40, 1 << 40], b"\xff\xfe", "csr")
    values += ("csr_matrix", "csc_matrix", "array", "categorical", "string-array", "dict", "0.3.0", canary.as_posix())
    value = _pick(rng, values)
    if value is None:
        del node.attrs[name]
    else:
        node.attrs[name] = value


def _h5_rename(rng: Rng, file: Any, nodes: list[str], canary: Path) -> None:
    name = _pick(rng, nodes)
    file.move(name, f"{name}{_pick(rng, ('x', ' ', 'é', '/y'))}")


def _h5_exchange(rng: Rng, file: Any, nodes: list[str], canary: Path) -> None:
    one, other = _pick(rng, nodes), _pick(rng, nodes)
    if one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/"):
        raise ValueError(one)
    file.move(one, "exchanged")
    file.move(other, one)
    file.move("exchanged", other)


def _h5_group(rng: Rng, file: Any, nodes: list[str], canary: Path) -> None:
    """A group where a dataset is expected, or the other way round."""
    name = _pick(rng, nodes)
    is_dataset = name in _datasets(file, nodes)
    del file[name]
    if is_dataset:
        file.create_group(name)
    else:
        file[name] = np.arange(3)


def _h5_soft(rng: Rng, file: Any, nodes: list[str], canary: Path) -> None:
    import h5py

    name = _pick(rng, nodes)
    del file[name]
    file[name] = h5py.SoftLink(_pick(rng, ("/nowhere", f"/{name}", "/", ".", f"/{_pick(rng, nodes)}")))


def _h5_hard(rng: Rng, file: Any, nodes: list[str], canary: Path) -> None:
    name = _pick(rng, nodes)
    other = file[_pick(rng, ["/", *nodes])]
    del file[name]
    file[name] = other


def _h5_external_link(rng: Rng, file: Any, nodes: list[str], canary: Path) -> None:
    import h5py

    name = _pick(rng, nodes)
    kind = f"/{name}" if name in _datasets(file, nodes) else "/"
    del file[name]
    file[name] = h5py.ExternalLink(canary.with_suffix(".h5").as_posix(), _pick(rng, (kind, "/data", "/", "/nowhere")))


def _h5_external_storage(rng: Rng, file: Any, nodes: list[str], canary: Path) -> None:
    name = _pick(rng, _datasets(file, nodes))
    shape, dtype = file[name].shape or (1,), file[name].dtype
    dtype = np.dtype("S8") if dtype.kind == "O" else dtype
    del file[name]
    file.create_dataset(name, shape, dtype, external=[(canary.as_posix(), 0, int(np.prod(shape)) * dtype.itemsize)])


def _h5_virtual(rng: Rng, file: Any, nodes: list[str], canary: Path) -> None:
    import h5py

    name = _pick(rng, _datasets(file, nodes))
    shape = file[name].shape or (1,)
    dtype = file[name].dtype if file[name].dtype.kind != "O" else np.dtype("S8")
    layout = h5py.VirtualLayout(shape, dtype)
    layout[: min(4, shape[0])] = h5py.VirtualSource(canary.with_suffix(".h5").as_posix(), "data", (min(4, shape[0]),))
    del file[name]
    file.create_virtual_dataset(name, layout)


def _h5_announced(rng: Rng, file: Any, nodes: list[str], canary: Path) -> None:
    """Sizes without content."""
    name = _pick(rng, _datasets(file, nodes))
    dtype = file[name].dtype if file[name].dtype.kind != "O" else np.dtype("S16")
    length = int(_pick(rng, (1 << 28, 1 << 33, 1 << 40)))
    del file[name]
    file.create_dataset(name, (length,), dtype, chunks=(int(_pick(rng, (1024, 1 << 26))),), compression="gzip")


def _h5_deep(rng: Rng, file: Any, nodes: list[str], canary: Path) -> None:
    file.create_group("/".join(["d"] * 1500))


def _h5_wide(rng: Rng, file: Any, nodes: list[str], canary: Path) -> None:
    for number in range(3000):
        file.create_group(f"{_pick(rng, ('', 'matrix/'))}w{number}")


def _h5_packed_zeros(rng: Rng, file: Any, nodes: list[str], canary: Path) -> None:
    """A thousandth of what it unpacks to."""
    name = _pick(rng, _datasets(file, nodes))
    _put(file, name, np.zeros(1 << 24, np.int64), compression="gzip", chunks=(1 << 20,))


HDF5: dict[str, Callable[[Rng, Any, list[str], Path], None]] = {
    "deleted": _h5_delete,
    "other type": _h5_type,
    "other text": _h5_strings,
    "other shape": _h5_shape,
    "extreme value": _h5_value,
    "value by one": _h5_by_one,
    "other order": _h5_order,
    "attribute": _h5_attribute,
    "renamed": _h5_rename,
    "exchanged": _h5_exchange,
    "group for dataset": _h5_group,
    "soft link": _h5_soft,
    "hard link": _h5_hard,
    "external link": _h5_external_link,
    "external storage": _h5_external_storage,
    "virtual dataset": _h5_virtual,
    "announced size": _h5_announced,
    "deep groups": _h5_deep,
    "many groups": _h5_wide,
    "packed zeros": _h5_packed_zeros,
}


# --- parquet --------------------------------------------------------------------------------------


def _parquet(change: Callable[[Rng, Any], Any]) -> Bytes:
    def apply(rng: Rng, data: bytes) -> bytes:
        import pyarrow as pa
        import pyarrow.parquet

        table = pyarrow.parquet.ParquetFile(io.BytesIO(data)).read()
        target = io.BytesIO()
        try:
            pyarrow.parquet.write_table(change(rng, table), target)
        except (pa.ArrowException, ValueError, TypeError, KeyError, OverflowError):
            return data  # Arrow itself does not write this
        return target.getvalue()

    return apply


def _at(rng: Rng, table: Any) -> int:
    return int(rng.integers(0, table.num_columns))


def _pq_type(rng: Rng, table: Any) -> Any:
    import decimal

    import pyarrow as pa

    at, length = _at(rng, table), table.num_rows
    values = (
        lambda: pa.nulls(length),
        lambda: pa.array([None] * length, pa.float64()),
        lambda: pa.array([float("nan")] * length),
        lambda: pa.array([float("inf")] * length),
        lambda: pa.array(["x"] * length),
        lambda: pa.array([b"\xff\xfe"] * length),
        lambda: pa.array([[1, 2]] * length),
        lambda: pa.array([{"a": 1}] * length),
        lambda: pa.array([True] * length),
        lambda: pa.array([1 << 60] * length, pa.timestamp("us")),
        lambda: pa.array([decimal.Decimal("1.5")] * length),
        lambda: pa.array(["a"] * length).dictionary_encode(),
        lambda: pa.array([-1] * length, pa.int8()),
        lambda: pa.array([(1 << 64) - 1] * length, pa.uint64()),
        lambda: table.column(at).cast(pa.string()),
        lambda: table.column(at).cast(pa.large_string()),
        lambda: table.column(at).cast(pa.float32()),
        lambda: pa.array(["A" * 100_000] * min(length, 200) + [""] * max(0, length - 200)),
    )
    return table.set_column(at, table.column_names[at], _pick(rng, values)())


def _pq_value(rng: Rng, table: Any) -> Any:
    import pyarrow as pa

    at, row = _at(rng, table), int(rng.integers(0, table.num_rows))
    column = table.column(at)
    values = column.to_pylist()
    extremes: list[Any] = [None, values[int(rng.integers(0, len(values)))]]
    if pa.types.is_floating(column.type):
        extremes += [float("nan"), float("inf"), -1e30, 0.0]
    elif pa.types.is_integer(column.type):
        extremes += [0, 1, 127]
    else:
        extremes += ["", "\0", "é" * 1000]
    values[row] = _pick(rng, extremes)
    return table.set_column(at, table.column_names[at], pa.array(values, column.type))


def _pq_names(rng: Rng, table: Any) -> Any:
    names = list(table.column_names)
    at = _at(rng, table)
    names[at] = _pick(rng, (_pick(rng, names), "", "é", names[at].upper(), "x\0y", f" {names[at]}", "a.b"))
    return table.rename_columns(names)


def _pq_footer(rng: Rng, data: bytes) -> bytes:
    """Flips in the footer, its length kept."""
    length = int.from_bytes(data[-8:-4], "little")
    footer = bytearray(data[-8 - length : -8])
    for _ in range(int(rng.integers(1, 4))):
        footer[int(rng.integers(0, length))] = int(rng.integers(0, 256))
    return data[: -8 - length] + bytes(footer) + data[-8:]


def _pq_not_utf8(rng: Rng, data: bytes) -> bytes:
    import pyarrow.parquet

    names = pyarrow.parquet.ParquetFile(io.BytesIO(data)).schema_arrow.names
    name = _pick(rng, names).encode()
    return data.replace(name, name[:-1] + b"\xff") if name else data


PARQUET: dict[str, Bytes] = {
    "column deleted": _parquet(lambda rng, table: table.remove_column(_at(rng, table))),
    "column doubled": _parquet(
        lambda rng, table: table.append_column((at := _pick(rng, table.column_names)), table.column(at))
    ),
    "column renamed": _parquet(_pq_names),
    "other type": _parquet(_pq_type),
    "value": _parquet(_pq_value),
    "rows shuffled": _parquet(lambda rng, table: table.take(rng.permutation(table.num_rows))),
    "rows deleted": _parquet(lambda rng, table: table.slice(int(rng.integers(0, table.num_rows)))),
    "rows doubled": _parquet(lambda rng, table: _doubled(table)),
    "no rows": _parquet(lambda rng, table: table.slice(0, 0)),
    "no columns": _parquet(lambda rng, table: table.select([])),
    "footer": _pq_footer,
    "footer length": lambda rng, data: data[:-8] + rng.bytes(4) + data[-4:],
    "encrypted": lambda rng, data: data[:-4] + b"PARE",
    "name not UTF-8": _pq_not_utf8,
}


def _doubled(table: Any) -> Any:
    import pyarrow as pa

    return pa.concat_tables([table, table])


# --- pictures -------------------------------------------------------------------------------------


def _tiff_tag(rng: Rng, data: bytes) -> bytes:
    """One field of one tag of the first page: its code, type, count or value."""
    order = "<" if data.startswith(b"II") else ">"
    is_big = struct.unpack(f"{order}H", data[2:4])[0] == 43
    start = struct.unpack(f"{order}Q", data[8:16])[0] if is_big else struct.unpack(f"{order}I", data[4:8])[0]
    head, size = (8, 20) if is_big else (2, 12)
    number = struct.unpack(f"{order}{'Q' if is_big else 'H'}", data[start : start + head])[0]
    entry = start + head + size * int(rng.integers(0, number))
    fields = ((0, 2), (2, 2), (4, 8), (12, 8)) if is_big else ((0, 2), (2, 2), (4, 4), (8, 4))
    at, width = fields[int(rng.choice(4, p=(0.1, 0.1, 0.2, 0.6)))]
    value = int(_pick(rng, (0, 1, 2, 3, 7, 16, 255, 4096, 65535, 1 << 30, (1 << 31) - 1, (1 << 32) - 1, start)))
    value %= 1 << (8 * width)
    packed = struct.pack(f"{order}{ {2: 'H', 4: 'I', 8: 'Q'}[width] }", value)
    return data[: entry + at] + packed + data[entry + at + width :]


def _tiff_loop(rng: Rng, data: bytes) -> bytes:
    """Pages that lead back to the first, or to nowhere."""
    order = "<" if data.startswith(b"II") else ">"
    if struct.unpack(f"{order}H", data[2:4])[0] == 43:
        return _tiff_tag(rng, data)
    start = struct.unpack(f"{order}I", data[4:8])[0]
    number = struct.unpack(f"{order}H", data[start : start + 2])[0]
    end = start + 2 + 12 * number
    target = int(_pick(rng, (start, len(data) + 100, 1, 8)))
    return data[:end] + struct.pack(f"{order}I", target) + data[end + 4 :]


def _png_size(rng: Rng, data: bytes) -> bytes:
    """Header fields with a right checksum."""
    body = bytearray(data[16:29])
    if rng.random() < 0.6:
        at = int(_pick(rng, (0, 4)))
        body[at : at + 4] = int(_pick(rng, (0, 1, 259, 5000, 60000, 1 << 30, (1 << 32) - 1))).to_bytes(4, "big")
    else:
        body[int(rng.integers(8, 13))] = int(rng.integers(0, 20))
    return data[:16] + bytes(body) + zlib.crc32(b"IHDR" + bytes(body)).to_bytes(4, "big") + data[33:]


def _png_chunk(rng: Rng, data: bytes) -> bytes:
    """A chunk more: text that unpacks to 64 MB, a profile that is none, transparency, an early end."""
    kind, body = _pick(
        rng,
        (
            (b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 26))),
            (b"iCCP", b"a\0\0" + zlib.compress(b"no profile")),
            (b"tRNS", bytes(6)),
            (b"IEND", b""),
            (b"gAMA", bytes(4)),
            (b"eXIf", b"MM\0*" + rng.bytes(30)),
            (b"XXXX", b"critical"),
        ),
    )
    made = len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
    return data[:33] + made + data[33:]


def _jpeg_size(rng: Rng, data: bytes) -> bytes:
    at = next((at for at in range(2, len(data) - 9) if data[at] == 0xFF and data[at + 1] in (0xC0, 0xC2)), None)
    if at is None:
        return data
    changed = bytearray(data)
    where = int(_pick(rng, (4, 5, 7, 9, 10)))
    width = 2 if where in (5, 7) else 1
    value = int(_pick(rng, (0, 1, 2, 8, 12, 255, 65500))) % (1 << (8 * width))
    changed[at + where : at + where + width] = value.to_bytes(width, "big")
    return bytes(changed)


def _foreign(rng: Rng, data: bytes) -> bytes:
    """Something else under the name of a picture, some of which leads to other files."""
    return _pick(
        rng,
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:x="http://www.w3.org/1999/xlink" width="90" height="90">'
            f'<image x:href="file://{CANARY}.png" width="90" height="90"/></svg>',
            f"%PDF-1.4\n%{CANARY}\n",
            f'<?xml version="1.0"?><image><read filename="{CANARY}"/></image>',
            f'<!DOCTYPE r [<!ENTITY e SYSTEM "file://{CANARY}">]><r>&e;</r>',
            f"push graphic-context\nimage over 0,0 0,0 'text:{CANARY}'\n",
            "P6\n100000 100000\n255\n",
            "P3 2 2 255 1 2 3",
            "id=ImageMagick columns=9 rows=9\n\f\n:\x1a",
            "SIMPLE  =                    T / fits",
            "a,b\n1,2\n",
        ),
    ).encode()


def _ome_of_other_files(rng: Rng, data: bytes) -> bytes:
    """A description of the same length that says the pixels lie in another file."""
    start = data.find(b"<?xml")
    end = data.find(b"</OME>", start)
    if start < 0 or end < 0:
        return _foreign(rng, data)
    text = _pick(
        rng,
        (
            f'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY e SYSTEM "file://{CANARY}">]><OME>&e;</OME>',
            f'<?xml version="1.0"?><OME><BinaryOnly MetadataFile="{CANARY}" UUID="urn:uuid:0"/></OME>',
            '<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><OME>&b;</OME>',
            f'<?xml version="1.0"?><OME><Image><Pixels><TiffData><UUID FileName="{CANARY}">0</UUID></TiffData></Pixels>'
            "</Image></OME>",
        ),
    ).encode()
    room = end + 6 - start
    return data[:start] + text[:room].ljust(room) + data[end + 6 :]


TIFF: dict[str, Bytes] = {"tag": _tiff_tag, "page order": _tiff_loop, "description": _ome_of_other_files}
PNG: dict[str, Bytes] = {"header": _png_size, "chunk": _png_chunk}
JPEG: dict[str, Bytes] = {"size": _jpeg_size}
FOREIGN: dict[str, Bytes] = {"something else": _foreign}

STRUCTURE: dict[str, dict[str, Bytes]] = {
    "table": TABLE,
    "mtx": MTX,
    "json": JSON,
    "parquet": PARQUET,
    "tiff": {**TIFF, **FOREIGN},
    "png": {**PNG, **FOREIGN},
    "jpeg": {**JPEG, **FOREIGN},
}


def mutate(rng: Rng, path: Path, container: str, target: Path, others: list[Path], canary: Path) -> str:
    """Write a mutated copy of `path` to `target` and say what was done.

    Parameters
    ----------
    rng
        Draws everything; the same state makes the same file.
    container
        What `fuzz_deposits.container_of` says.
    others
        Files that may be put in its place.
    canary
        A file that must not be read; beside it lie others of its name (`.h5`, `.png`).
    """
    data = path.read_bytes()
    inner = container.removesuffix(".gz")
    is_packed = inner != container
    draw = rng.random()
    if draw < 0.05:
        target.write_bytes(_pick(rng, others).read_bytes())
        return "another file"
    if draw < 0.35 and not (is_packed and rng.random() < 0.5):
        kind = _pick(rng, list(BYTES))
        target.write_bytes(BYTES[kind](rng, data))
        return kind
    if is_packed and draw < 0.55:
        kind = _pick(rng, list(GZIP))
        target.write_bytes(GZIP[kind](rng, data))
        return f"gzip: {kind}"
    plain = gzip.decompress(data) if is_packed else data
    if inner in ("hdf5", "h5ad"):
        target.write_bytes(plain)
        kind = mutate_hdf5(rng, target, canary)
        plain = target.read_bytes()
    else:
        kinds = STRUCTURE[inner]
        kind = _pick(rng, list(kinds))
        plain = kinds[kind](rng, plain).replace(CANARY.encode(), canary.as_posix().encode())
    target.write_bytes(_packed(plain) if is_packed else plain)
    return f"{inner}: {kind}"
