"""Names of patch sizes: `<side>um_<px>px`, such as `512um_256px`."""

from __future__ import annotations

import re
from dataclasses import dataclass

NAME = re.compile(r"(?P<side>[1-9][0-9]{0,3})um_(?P<px>[1-9][0-9]{0,3})px")


@dataclass(frozen=True)
class PatchSize:
    """A square of `side_um`, `size_px` a side."""

    side_um: float
    size_px: int

    @property
    def pixel_size_um(self) -> float:
        """um per px of the patch."""
        return self.side_um / self.size_px

    @classmethod
    def named(cls, name: str) -> PatchSize:
        """The size of that name, whose form the schema of the configuration has checked."""
        found = NAME.fullmatch(name)
        if found is None:
            raise ValueError(f"{name!r} is no size of patches, such as 512um_256px")
        return cls(float(found["side"]), int(found["px"]))
