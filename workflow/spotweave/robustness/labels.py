"""Biology, centre and independent group of patches: of their sample's metadata, or of a table somebody made."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spotweave.errors import Refusal

SAMPLE, SPOT, BIOLOGY, CENTRE, GROUP = "sample_id", "barcode", "label", "centre", "group"
NEEDED = (SAMPLE, BIOLOGY, CENTRE)
# Column of the dataset's metadata for each, where no table is given.
FROM_METADATA = {BIOLOGY: "oncotree_code", CENTRE: "cohort", GROUP: "donor"}

# Sample and, where patches have labels of their own, spot -> label, centre and group.
Known = Mapping[tuple[str, str], tuple[str, str, str]]


@dataclass(frozen=True)
class Labels:
    """One text a patch for each: what tissue it is, where it was made, and what it is not independent of."""

    biology: Sequence[str]
    centres: Sequence[str]
    groups: Sequence[str]

    def fault(self) -> str:
        """Why no index can be had of these patches; empty where it can."""
        pairs = set(zip(self.biology, self.centres, strict=True))
        across = Counter(biology for biology, _ in pairs)
        within = Counter(centre for _, centre in pairs)
        if not pairs:
            return "no patch has a label and a centre"
        if max(across.values()) < 2:
            return "no label comes from two centres: biology and centre cannot be told apart"
        if max(within.values()) < 2:
            return "no centre has two labels: biology and centre cannot be told apart"
        return ""


def of_metadata(metadata: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], tuple[str, str, str]]:
    """Sample id -> its metadata, to what is known of all its spots; samples without label or centre are left out."""
    found = {}
    for sample, said in metadata.items():
        biology, centre, group = (str(said.get(name) or "") for name in FROM_METADATA.values())
        if biology and centre:
            found[sample, ""] = (biology, centre, group or sample)
    return found


def of_table(path: Path) -> dict[tuple[str, str], tuple[str, str, str]]:
    """Read a table: `sample_id`, `label`, `centre`; `barcode` where spots have labels of their own; `group`.

    Raises
    ------
    Refusal
        If a column or a cell is missing, or a row is there twice.
    """
    with open(path, encoding="utf-8-sig", newline="") as handle:
        reader = csv.DictReader(handle)
        lacking = [name for name in NEEDED if name not in (reader.fieldnames or ())]
        if lacking:
            raise Refusal(f"{path}: no column {lacking[0]}; it needs {', '.join(NEEDED)}, and may have {SPOT}, {GROUP}")
        found: dict[tuple[str, str], tuple[str, str, str]] = {}
        for number, row in enumerate(reader, 2):
            blank = next((name for name in NEEDED if not row[name]), None)
            if blank:
                raise Refusal(f"{path}:{number}: {blank} is blank")
            key = (row[SAMPLE], row.get(SPOT) or "")
            if key in found:
                raise Refusal(f"{path}:{number}: {' '.join(key).strip()} is there twice")
            found[key] = (row[BIOLOGY], row[CENTRE], row.get(GROUP) or row[SAMPLE])
    return found


def of_spots(known: Known, sample: str, spots: Sequence[str]) -> list[tuple[str, str, str] | None]:
    """What is known of each spot: its own row, else its sample's, else None."""
    of_sample = known.get((sample, ""))
    return [known.get((sample, spot), of_sample) for spot in spots]
