"""Every layout of Visium files that deposits use, each written from one truth, which a reader has to find in it."""

from __future__ import annotations

from spotweave.simulate.visium_layouts import contents, counts, positions, samples, slides
from spotweave.simulate.visium_layouts.variant import LISTS, Variant

__all__ = ["LISTS", "VARIANTS", "Variant"]

VARIANTS: dict[str, Variant] = {
    **positions.LAYOUTS,
    **counts.LAYOUTS,
    **samples.LAYOUTS,
    **contents.LAYOUTS,
    **slides.LAYOUTS,
}
