"""Pixel sizes in words."""

from __future__ import annotations

BINS = ((0.1, 0.4, "40x"), (0.4, 0.8, "20x"), (0.8, 1.15, "10x"))


def magnification(pixel_size_um: float) -> str | None:
    """Magnification by the bins of HEST-1k, section 3.1: 40x (0.1, 0.4], 20x (0.4, 0.8], 10x (0.8, 1.15] um/px.

    None beyond the bins. HEST-1k's published table uses other bins; this is always computed, never copied.
    """
    for low, high, name in BINS:
        if low < pixel_size_um <= high:
            return name
    return None
