"""Names of bins (`s_016um_00012_00345-1`) and cells (`cellid_000000001-1`), taken apart all at once.

A capture area has eleven million bins of 2 um, so names are worked on in Arrow, a block at a time. What a name carries
before and after the unit tells the samples of a joint matrix apart; its meaning is that of
`spotweave.matrices.barcodes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from spotweave.errors import Refusal

UNIT = r"^(?P<before>|.*[^A-Za-z])(?P<core>s_\d{3}um_\d{5}_\d{5}|cellid_\d+)(?P<after>|\D.*)$"
PLAIN = b"s_000um_00000_00000-1"
BIN_FIELDS = {"size_um": (2, 5), "row": (8, 13), "col": (14, 19)}  # places of the digits in s_016um_00012_00345
NAMES_AT_ONCE = 1 << 18
ARRAY_LIMIT = 100_000  # rows and columns have five digits


@dataclass(frozen=True)
class Units:
    """Names of one file, taken apart.

    Attributes
    ----------
    kind
        `bin` or `cell`.
    size_um, row, col
        (n,) int32 of bins; empty for cells.
    cores
        (n,) names of cells without what is around them; empty for bins.
    group
        (n,) int32 index into `groups`.
    groups
        What stands before and after the units, each pair once.
    """

    kind: str
    size_um: NDArray[np.int32]
    row: NDArray[np.int32]
    col: NDArray[np.int32]
    cores: pa.ChunkedArray
    group: NDArray[np.int32]
    groups: list[tuple[str, str]]

    def __len__(self) -> int:
        return len(self.group)

    @property
    def key(self) -> NDArray[np.int64]:
        """(n,) one number per place of bins, in the order of (row, col)."""
        return self.row.astype(np.int64) * ARRAY_LIMIT + self.col


def take_apart(file: str, names: Sequence[str] | pd.Series) -> Units:
    """Take names apart.

    Raises
    ------
    Refusal
        There are none, one is neither bin nor cell, or there are both.
    """
    cores: list[pa.Array] = []
    numbers: dict[str, list[NDArray[np.int32]]] = {name: [] for name in BIN_FIELDS}
    groups: dict[tuple[str, str], int] = {}
    codes: list[NDArray[np.int32]] = []
    kinds: set[str] = set()
    for block in _blocks(names):
        plain = _plain_bins(block)
        if plain is not None:
            for name, (start, stop) in BIN_FIELDS.items():
                numbers[name].append(plain[:, start:stop] @ 10 ** np.arange(stop - start - 1, -1, -1, dtype=np.int32))
            kinds.add("bin")
            codes.append(np.full(len(block), groups.setdefault(("", "-1"), len(groups)), dtype=np.int32))
            continue
        found = pc.extract_regex(block, UNIT)
        if found.null_count:
            _refuse_foreign(file, block.filter(found.is_null()))
        before, core, after = found.flatten()
        is_bin = pc.starts_with(core, "s_")
        kinds |= {"bin" if flag else "cell" for flag in pc.unique(is_bin).to_pylist()}
        if kinds == {"bin"}:
            for name, (start, stop) in BIN_FIELDS.items():
                digits = pc.cast(pc.utf8_slice_codeunits(core, start, stop), pa.int32())
                numbers[name].append(np.asarray(digits))
        elif kinds == {"cell"}:
            cores.append(core)
        codes.append(_code_groups(before, after, groups))
    if not codes:
        raise Refusal(f"{file}: there are no bins and no cells in it; download the file again")
    if len(kinds) > 1:
        raise Refusal(f"{file}: bins and cells in one file; give the file of one folder, such as square_016um")
    size_um, row, col = (np.concatenate(parts) if parts else np.empty(0, np.int32) for parts in numbers.values())
    return Units(
        kinds.pop(), size_um, row, col, pa.chunked_array(cores, pa.string()), np.concatenate(codes), list(groups)
    )


def _blocks(names: Sequence[str] | pd.Series) -> Iterator[pa.Array]:
    for start in range(0, len(names), NAMES_AT_ONCE):
        block = pa.array(names[start : start + NAMES_AT_ONCE], pa.string())
        yield block.combine_chunks() if isinstance(block, pa.ChunkedArray) else block


def _plain_bins(block: pa.Array) -> NDArray[np.int32] | None:
    """(n, 21) digits of names that are all as Space Ranger writes bins, None for any other: the pattern is slower."""
    if block.null_count or not len(block):
        return None
    offsets = np.frombuffer(block.buffers()[1], dtype=np.int32)[block.offset : block.offset + len(block) + 1]
    if (np.diff(offsets) != len(PLAIN)).any():
        return None
    letters = np.frombuffer(block.buffers()[2], dtype=np.uint8)[offsets[0] : offsets[-1]].reshape(-1, len(PLAIN))
    plain = np.frombuffer(PLAIN, dtype=np.uint8)
    is_digit = plain == ord("0")
    if (letters[:, ~is_digit] != plain[~is_digit]).any():
        return None
    digits = letters - ord("0")  # what is below wraps around to large numbers
    return None if (digits[:, is_digit] > 9).any() else digits.astype(np.int32)


def _refuse_foreign(file: str, foreign: pa.Array) -> None:
    raise Refusal(
        f"{file}: {foreign[0].as_py()!r} is neither a bin such as s_016um_00012_00345-1 nor a cell such as "
        f"cellid_000000001-1 ({len(foreign):,} such names at least); spots with nucleotide barcodes are read as the "
        "technology Visium",
        measured=len(foreign),
        threshold=0,
    )


def _code_groups(before: pa.Array, after: pa.Array, groups: dict[tuple[str, str], int]) -> NDArray[np.int32]:
    """Index of each name's (before, after); new pairs are added."""
    sides = []
    for side in (before, after):
        coded = side.dictionary_encode()
        sides.append((coded.dictionary.to_pylist(), np.asarray(coded.indices).astype(np.int64)))
    (befores, at_before), (afters, at_after) = sides
    pairs, code = np.unique(at_before * len(afters) + at_after, return_inverse=True)
    index = []
    for pair in pairs.tolist():
        names = (befores[pair // len(afters)], afters[pair % len(afters)])
        index.append(groups.setdefault(names, len(groups)))
    return np.array(index, dtype=np.int32)[code]


def bin_names(size_um: int, row: NDArray[np.int64], col: NDArray[np.int64]) -> pa.Array:
    """Names of bins as Space Ranger writes them for a lone sample."""
    digits = [pc.utf8_lpad(pc.cast(pa.array(number), pa.string()), 5, "0") for number in (row, col)]
    named = pc.binary_join_element_wise(pa.scalar(f"s_{size_um:03d}um"), *digits, "_")
    return pc.binary_join_element_wise(named, pa.scalar("1"), "-")


def cell_name(cell: str | int) -> str:
    """Name of a cell as the matrix has it, from its number or its name in an outline."""
    if isinstance(cell, int) or cell.isdigit():
        return f"cellid_{int(cell):09d}-1"
    return cell if "-" in cell else f"{cell}-1"
