"""iStar (Zhang et al. 2024): expression of squares of 16 px, learned from spots that are the mean of theirs.

Several members, four hidden layers each, predict a superpixel from its features; a spot is the mean over its disk of
the median over members. Genes are learned from 0 to 1 over training spots, by squared error; Adam.

Otherwise than in the original: the features. Its own come from two transformers over the whole slide (HIPT). Here they
are tokens of the first one over a patch (`feature_weights` names the file of its weights; without, they are random),
or, in the smaller presets, statistics of colour; a prediction says which. It predicts samples that it was not trained
on, where the original fills in its own section. The disk is as wide as half the distance between training spots,
unless `spot_um` says otherwise, and ends where the patch does.

Mended against the original, and back again with `behaviour` published: features are not scaled, and fewer than 16 spots
make batches of none (it then stands as not run).
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
ENCODER = "it says of every square of a patch what it says, and an encoder gives a spot one vector"
COLUMNS = {
    "feature_weights": {
        "description": "Weights of HIPT's 256 px transformer (vit256_small_dino), for tokens; blank for random ones",
        "allowed": "the path of a state-dict file",
        "type": "string",
        "pattern": "^[^\\n]{1,1000}$",
    },
    "spot_um": {
        "description": "Diameter of a spot, um; blank for half the distance between neighbouring training spots",
        "allowed": "a number from 1 to 999",
        "type": "string",
        "pattern": "^[1-9][0-9]{0,2}(\\.[0-9]+)?$",
    },
}
PRESETS = {
    "published": {
        "size_px": 224, "features": "tokens", "hidden": 256, "n_hidden": 4, "members": 5, "epochs": 400, "rate": 1e-4,
    },
    "reduced": {
        "size_px": 224, "features": "colour", "hidden": 128, "n_hidden": 4, "members": 3, "epochs": 100, "rate": 5e-4,
        "patience": 20,
    },
    "tiny": {
        "size_px": 32, "features": "colour", "hidden": 32, "n_hidden": 4, "members": 2, "epochs": 60, "rate": 3e-3,
    },
}  # fmt: skip


def fit(training: Training, row: Mapping[str, str], job: Job) -> Fitted:
    """Train on the superpixels under training spots."""
    from spotweave.learning import superpixelwise

    return superpixelwise.fit(training, row, job, PRESETS)


def load(folder: Path) -> Fitted:
    """A fitted one from the folder that it was saved in."""
    from spotweave.learning import superpixelwise

    return superpixelwise.load(folder)
