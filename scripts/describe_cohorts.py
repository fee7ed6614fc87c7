"""Write docs/cohorts.md: what the catalogue holds, and how far the places of its files are known."""

from pathlib import Path

import _stage  # noqa: F401 (puts the library on the path)
from spotweave.io import write_text
from spotweave.plan.catalogue import catalogue, describe

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/cohorts.md"

if __name__ == "__main__":
    known = catalogue(ROOT)
    write_text(PAGE, describe(known))
    print(f"{PAGE.relative_to(ROOT)}: {len(known.samples)} samples of {len(known.cohorts)} tables")
