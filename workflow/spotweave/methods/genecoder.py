"""GeneCodeR (Banh et al.): the pixels of a patch and its genes as two linear faces of one code of `components` numbers.

No network and nothing deep: blocks of least squares, each fitted while the others stand, swept over `epochs` times. In
the largest preset it has 75,656,500 loadings at 785 genes. Made from a description of what it computes.

Mended against the description, and back with `behaviour` published: both data sets estimate the code, after which
pictures and genes never share a basis; pixels as bright as can be become dark; sweeps end by a tolerance that depends
on the units of counts. Not brought back: patches that begin where a spot's middle is, and the failure with fewer spots
than components, of which there are then fewer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from spotweave.methods import Job, Training

if TYPE_CHECKING:
    from spotweave.learning.fitted import Fitted

NEEDS = ("patches",)
LEARNED = True
ENCODER = "its code is linear in pixels, which have no trunk to be replaced"
PRESETS = {
    "published": {"size_px": 224, "components": 500, "epochs": 20, "tolerance": 5.0, "standardise": False},
    "reduced": {"size_px": 32, "components": 50, "epochs": 20, "tolerance": 5.0, "standardise": True},
    "tiny": {"size_px": 16, "components": 8, "epochs": 5, "tolerance": 5.0, "standardise": True},
}


def fit(training: Training, row: Mapping[str, str], job: Job) -> Fitted:
    """Fit to the patches of training spots."""
    from spotweave.learning import coded

    return coded.fit(training, row, job, PRESETS)


def load(folder: Path) -> Fitted:
    """A fitted one from the folder that it was saved in."""
    from spotweave.learning import coded

    return coded.load(folder)
