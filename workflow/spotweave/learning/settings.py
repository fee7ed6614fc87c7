"""Settings of a learned method: those of a preset, and what its row says otherwise.

A kind's module has `PRESETS`, name -> setting -> number or word: `published`, the sizes and settings of its paper;
`reduced`, what two cores train in minutes; `tiny`, for tests. It is a literal: the check before the first job reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The columns of every learned kind.
COLUMNS: dict[str, dict[str, Any]] = {
    "preset": {
        "description": "Sizes and settings: published, as in its paper; reduced, for two cores; tiny, for tests",
        "allowed": "published, reduced, tiny",
        "type": "string",
        "enum": ["published", "reduced", "tiny"],
    },
    "behaviour": {
        "description": "mended, or published: with the defects of the original that its page lists; blank for mended",
        "allowed": "mended, published",
        "type": "string",
        "enum": ["mended", "published"],
    },
    "epochs": {
        "description": "Times that it sees the training spots; blank for the preset's",
        "allowed": "a whole number from 1 to 9999",
        "type": "string",
        "pattern": "^[1-9][0-9]{0,3}$",
    },
    "patch_um": {
        "description": "Side of the square of tissue that it sees of a spot, um, out of the patch; blank for all of it",
        "allowed": "a number from 10 to 9999",
        "type": "string",
        "pattern": "^[1-9][0-9]{1,3}(\\.[0-9]+)?$",
    },
}
# The column of those kinds that can do without a trunk of their own.
ENCODER: dict[str, dict[str, Any]] = {
    "encoder": {
        "description": "A frozen encoder whose embeddings take the place of its own trunk; blank for its own",
        "allowed": "a name of the table of encoders",
        "type": "string",
        "pattern": "^[a-z0-9][a-z0-9.-]{0,39}$",
    },
}
# Cells that say how a trunk of its own is made or shown pictures.
OF_ITS_TRUNK = ("patch_um", "trunk_weights", "feature_weights")
REQUIRED = ("preset",)
MENDED, PUBLISHED = "mended", "published"


def settings_of(row: Mapping[str, str], presets: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The settings of a method's row: its preset's, `epochs` and `patch_um` of its own, `behaviour`."""
    found = {"patch_um": None, "behaviour": row.get("behaviour", MENDED), **presets[row["preset"]]}
    if row.get("epochs"):
        found["epochs"] = int(row["epochs"])
    if row.get("patch_um"):
        found["patch_um"] = float(row["patch_um"])
    return found
