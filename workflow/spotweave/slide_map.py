"""The map from an instrument's own coordinates (um) to the slide: a matrix and, where it was found to help, a field.

`to_slide` is the matrix, then the field: p' = p + field(p) with p = matrix @ (x, y, 1) in slide px. The field is known
at the nodes of a square lattice over the slide and linear between them; beyond its last nodes it stays as it is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotweave.geometry import Points, apply
from spotweave.io import read_json

INVERSE_STEPS = 30
INVERSE_TOLERANCE_PX = 1e-3


@dataclass(frozen=True)
class SlideMap:
    """Instrument um -> slide px.

    Attributes
    ----------
    matrix
        (3, 3) float64, (x, y, 1) um -> slide px.
    field_px
        (H, W, 2) float32, displacement (x, y) in slide px at node (row i, column j), which is slide px
        (j * spacing_px, i * spacing_px); None for a map that is the matrix alone.
    spacing_px
        Slide px between nodes.
    """

    matrix: NDArray[np.float64]
    field_px: NDArray[np.float32] | None = None
    spacing_px: float = 1.0

    @property
    def pixel_size_um(self) -> float:
        """um per slide px, 1 / sqrt(|det|) of the matrix."""
        return float(1 / np.sqrt(abs(np.linalg.det(self.matrix[:2, :2]))))

    @property
    def anisotropy(self) -> float:
        """Ratio of the matrix's singular values less 1; 0 for a similarity."""
        largest, smallest = np.linalg.svd(self.matrix[:2, :2], compute_uv=False)
        return float(largest / smallest - 1)

    def to_slide(self, points_um: Points) -> Points:
        """Positions (N, 2) of the instrument, um, as slide px."""
        flat = apply(self.matrix, points_um)
        return flat if self.field_px is None else flat + self._field(flat)

    def to_um(self, points_px: Points) -> Points:
        """Slide px (N, 2) as positions of the instrument, um; a field is undone by fixed-point steps."""
        flat = points_px
        if self.field_px is not None:
            for _ in range(INVERSE_STEPS):
                following = points_px - self._field(flat)
                step = float(np.abs(following - flat).max(initial=0.0))
                flat = following
                if step < INVERSE_TOLERANCE_PX:
                    break
        return apply(np.asarray(np.linalg.inv(self.matrix), dtype=np.float64), flat)

    def _field(self, points_px: Points) -> Points:
        """The displacement (N, 2) at slide px, between nodes linear along both axes."""
        assert self.field_px is not None
        rows, columns = self.field_px.shape[:2]
        x = np.clip(points_px[:, 0] / self.spacing_px, 0, columns - 1)
        y = np.clip(points_px[:, 1] / self.spacing_px, 0, rows - 1)
        j, i = np.minimum(x.astype(np.intp), columns - 2), np.minimum(y.astype(np.intp), rows - 2)
        u, v = (x - j)[:, None], (y - i)[:, None]
        near = self.field_px[i, j] * (1 - u) + self.field_px[i, j + 1] * u
        far = self.field_px[i + 1, j] * (1 - u) + self.field_px[i + 1, j + 1] * u
        return np.asarray(near * (1 - v) + far * v, dtype=np.float64)

    def content(self) -> dict[str, Any]:
        """As JSON has it; the field is a file of its own."""
        return {"matrix_um_to_slide_px": self.matrix.tolist(), "field_spacing_px": self.spacing_px}

    def write_field(self, path: Path) -> None:
        """Write the field as a NumPy array, one of shape (0, 0, 2) for a map that is the matrix alone."""
        field = np.zeros((0, 0, 2), dtype=np.float32) if self.field_px is None else self.field_px
        with open(path, "wb") as handle:
            np.save(handle, field, allow_pickle=False)

    @classmethod
    def read(cls, registration: Path, field: Path) -> SlideMap:
        """From `registration.json`, which holds `content`, and the file of `write_field`."""
        content = read_json(registration)
        values = np.load(field, allow_pickle=False)
        return cls(
            np.array(content["matrix_um_to_slide_px"], dtype=np.float64),
            values if values.size else None,
            float(content["field_spacing_px"]),
        )
