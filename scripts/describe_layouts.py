"""Write docs/layouts.md: every layout of raw files that is simulated and read to the same counts."""

from pathlib import Path

import _stage  # noqa: F401 (puts the library on the path)
from spotweave.io import write_text
from spotweave.simulate.layouts_page import describe, registries

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/layouts.md"

if __name__ == "__main__":
    write_text(PAGE, describe())
    print(f"{PAGE.relative_to(ROOT)}: {sum(len(variants) for variants in registries().values())} layouts")
