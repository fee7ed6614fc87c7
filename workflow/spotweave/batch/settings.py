"""What the configuration says of batch effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

GENES = "stable_human"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The block `batches:`, its genes aside; each is described in `config/config.yaml`.

    Attributes
    ----------
    labels
        Columns of the cohort tables, `cohort` among them, whose values are taken for batches, one column at a time.
    biology
        Columns whose values should stay apart.
    corrections
        Modules of `batch/corrections`.
    nuclei_class
        Of the nuclei that choose the spots.
    share_min, nuclei_min
        A spot is chosen where more than this share of its nuclei, and this many at least, are of that class.
    spots_min
        A sample with fewer chosen spots is left out.
    spots_max
        Of all samples together, the same number of each at most, drawn.
    """

    labels: Sequence[str] = ("cohort", "technology", "donor")
    biology: Sequence[str] = ("organ",)
    corrections: Sequence[str] = ("combat", "harmony", "mnn")
    nuclei_class: str = "Connective"
    share_min: float = 0.7
    nuclei_min: int = 3
    spots_min: int = 5
    spots_max: int = 5000
