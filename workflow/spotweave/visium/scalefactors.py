"""Scale factors as Space Ranger and copies of its file write them (`scalefactors_json.json`), for every reader.

The file is optional: what cannot be read of it is passed over and noted, and never refuses a sample.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from spotweave.deposits.opening import read_json
from spotweave.deposits.raw import RawFile
from spotweave.deposits.values import plain_number
from spotweave.errors import Refusal

# What the names of diameters, scales and sizes end with; all of them are above 0.
KNOWN = re.compile(r".*(_scalef|_fullres)|bin_size_um|microns_per_pixel")


def read_scalefactors(raw: RawFile | None) -> tuple[dict[str, float], list[str]]:
    """Numbers by name, sorted, and notes on what was passed over, one line each; nothing without a file.

    R writes a number as a list of one (`[130.0]`), spreadsheets as text, with a point or a comma.
    """
    if raw is None:
        return {}, []
    try:
        content = read_json(raw)
    except Refusal as refusal:
        return {}, [f"{refusal.reason.split(';')[0]}; passed over"]
    if isinstance(content, list) and len(content) == 1:
        content = content[0]
    if not isinstance(content, Mapping):
        return {}, [f"{raw.name}: no scale factors, but a JSON {type(content).__name__}; passed over"]
    numbers: dict[str, float] = {}
    wrong: list[str] = []
    for key, value in content.items():
        if not KNOWN.fullmatch(str(key)):
            continue
        number = plain_number(value)
        if number is None or not number > 0:
            wrong.append(f"{key} = {str(value)[:40]!r}")
        else:
            numbers[str(key)] = number
    notes = [f"{raw.name}: no number above 0: {', '.join(sorted(wrong))[:400]}; passed over"] if wrong else []
    if not numbers and not wrong:
        notes = [f"{raw.name}: no scale factors in it; passed over"]
    return dict(sorted(numbers.items())), notes
