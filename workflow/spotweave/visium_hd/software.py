"""The version of Space Ranger that wrote a matrix, and what is known of that version."""

from __future__ import annotations

import re
from typing import Any

from spotweave.deposits.opening import HDF5_MAGIC, first_bytes, loads, open_hdf5
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.matrices import mex

VERSION = re.compile(r"(?<!\d)(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?")
METADATA = re.compile(rb"^%metadata_json:\s*(\{.*\})\s*$", re.MULTILINE)
# With new firmware of the CytAssist, versions before this one shift the counts by 16 um against the picture.
WITHOUT_SHIFT_FROM = (3, 1, 2)


def describe(counts: RawFile) -> dict[str, Any]:
    """`software` as the file has it, empty if not given, and `cytassist_shift_possible`, None if it cannot be told."""
    software = _stated(counts)
    match = VERSION.search(software)
    version = tuple(int(part or 0) for part in match.groups()) if match else None
    return {
        "software": software,
        "cytassist_shift_possible": None if version is None else version < WITHOUT_SHIFT_FROM,
    }


def _stated(counts: RawFile) -> str:
    """What HDF5 keeps in an attribute and Market Exchange in a comment."""
    head, _ = first_bytes(counts)
    if head.startswith(HDF5_MAGIC):
        with open_hdf5(counts) as file:
            value = file.attrs.get("software_version", "")
        return value.decode() if isinstance(value, bytes) else str(value)
    if not head.startswith(mex.MAGIC):
        return ""
    found = METADATA.search(head)
    try:
        content = loads(counts.name, found[1].decode()) if found else None
    except (Refusal, UnicodeDecodeError):
        return ""
    return str(content.get("software_version", "")) if isinstance(content, dict) else ""
