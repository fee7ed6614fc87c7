"""Write docs/layouts.md: every layout of raw files that is simulated and read to the same counts."""

from __future__ import annotations

import sys
from pathlib import Path

import _stage  # noqa: F401 (puts the library on the path)

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/layouts.md"
REAL = """
## Real layouts
Read in the tests where the files are at hand: a Space Ranger 1 `outs` folder with Market Exchange counts (mouse brain,
posterior), an HDF5 matrix beside positions without a header (mouse brain, anterior) and its dense table with 16,440
genes, positions called `.txt` (four DLPFC sections), the files of a `square_002um` folder of Visium HD, transcripts and
nucleus outlines of a Xenium run and the cells of another, count and selection tables of HER2+ sections and of the
olfactory bulb.
"""


def main() -> int:
    """Write the page; returns the exit code."""
    PAGE.write_text(describe(), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {sum(len(variants) for variants in registries().values())} layouts")
    return 0


def registries() -> dict[str, dict[str, str]]:
    """Technology -> name of a layout -> what it is."""
    from spotweave.simulate import st_v1_layouts, visium, visium_hd, xenium

    return {
        title: {name: variant.description for name, variant in module.VARIANTS.items()}
        for title, module in (
            ("Spatial Transcriptomics", st_v1_layouts),
            ("Visium", visium),
            ("Visium HD", visium_hd),
            ("Xenium", xenium),
        )
    }


def describe() -> str:
    """The page as Markdown."""
    known = registries()
    lines = [
        "# Raw layouts",
        "",
        "Each of these is written by the project's own simulator from one known sample and read back to the same",
        "counts, names and places, exactly. Joins are by key: rows may be shuffled, missing or too many, and are",
        "counted.",
        "This page is written by `scripts/describe_layouts.py`.",
    ]
    for technology, variants in known.items():
        lines += ["", f"## {technology} ({len(variants)})", "", "| layout | |", "|---|---|"]
        lines += [f"| `{name}` | {description} |" for name, description in variants.items()]
    return "\n".join(lines) + "\n" + REAL


if __name__ == "__main__":
    sys.exit(main())
