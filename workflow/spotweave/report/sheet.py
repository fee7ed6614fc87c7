"""The sheet of patches that a person judges a sample's patches by."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

SHEET_COLUMNS = 8
SHEET_ROWS = 6
SHEET_TILE_PX = 112
PADDED_COLOUR = (214, 39, 40)


def shown_on_sheet(count: int) -> list[int]:
    """Which of `count` patches go onto a sheet: up to 48, evenly drawn."""
    most = min(count, SHEET_COLUMNS * SHEET_ROWS)
    return [int(row) for row in np.unique(np.linspace(0, count - 1, most).astype(int))]


def contact_sheet(target: Path, patches: Iterable[tuple[np.ndarray, bool]]) -> None:
    """A sheet of the patches of `shown_on_sheet`, (S, S, 3) uint8; padded ones (True) have a red border."""
    sheet = Image.new("RGB", (SHEET_COLUMNS * SHEET_TILE_PX, SHEET_ROWS * SHEET_TILE_PX), "white")
    for number, (patch, is_padded) in enumerate(patches):
        tile = np.array(Image.fromarray(patch).resize((SHEET_TILE_PX - 4, SHEET_TILE_PX - 4)))
        if is_padded:
            tile[:4], tile[-4:], tile[:, :4], tile[:, -4:] = (PADDED_COLOUR,) * 4
        row, column = divmod(number, SHEET_COLUMNS)
        sheet.paste(Image.fromarray(tile), (column * SHEET_TILE_PX + 2, row * SHEET_TILE_PX + 2))
    sheet.save(target, quality=88)
