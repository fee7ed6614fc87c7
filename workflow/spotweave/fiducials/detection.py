"""What a corner detector finds; apart from the detector, so that the fit needs no network library."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Detection:
    """One corner shape.

    Attributes
    ----------
    shape
        Index in `fiducials.array.SHAPES`.
    x_px, y_px
        Centre of its box, from the picture's top-left corner.
    width_px, height_px
        Of its box, around the dots' outer edges.
    score
        The detector's, 0 to 1.
    """

    shape: int
    x_px: float
    y_px: float
    width_px: float
    height_px: float
    score: float

    def enlarged(self, scale: tuple[float, float]) -> Detection:
        """In px of the picture that this one's was reduced from, by `scale` along x and y."""
        return replace(
            self,
            x_px=self.x_px * scale[0],
            y_px=self.y_px * scale[1],
            width_px=self.width_px * scale[0],
            height_px=self.height_px * scale[1],
        )
