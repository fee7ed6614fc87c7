"""CellViT (Hoerst et al. 2024) with a published checkpoint: nuclei of PanNuke's five classes, at 0.25 um/px."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from spotweave.nuclei import NucleiSpec

if TYPE_CHECKING:
    from spotweave.nuclei.cellvit.model import CellViTModel

PUBLISHED = {"256": "CellViT-256-x40-AMP.pth", "SAM-H": "CellViT-SAM-H-x40-AMP.pth"}
ALLOWED = ("256", "SAM-B", "SAM-L", "SAM-H")
RECORD = "https://zenodo.org/records/15094831"
UM_PER_PX = 0.25


def check(row: Mapping[str, str]) -> list[tuple[str, str]]:
    """It takes a variant of the networks, weights from a file, and the pixel size that they were trained at."""
    faults = []
    if row.get("variant") not in ALLOWED:
        faults.append(("variant", f"{row.get('variant', '')!r}, allowed: {', '.join(ALLOWED)}"))
    if row.get("weights") != "file":
        faults.append(("weights", f"{row.get('weights', '')!r}, allowed: file"))
    if float(row["um_per_px"]) != UM_PER_PX:
        faults.append(("um_per_px", f"{row['um_per_px']}, allowed: {UM_PER_PX}; the checkpoints are of 40x slides"))
    return faults


def load(spec: NucleiSpec, *, folder: Path | None, device: str, seed: int) -> CellViTModel:
    """The network of a row.

    Raises
    ------
    NucleiUnavailable
        If the file is not here, or not what the row says.
    """
    from spotweave.nuclei.cellvit.checkpoint import load as load_checkpoint
    from spotweave.nuclei.cellvit.model import CellViTModel
    from spotweave.nuclei.weights import weights_file

    name = PUBLISHED.get(spec.variant)
    fetch = f"download {RECORD}/files/{name}" if name else f"ask the authors for CellViT-{spec.variant}"
    steps = [f"{fetch} (its licence: docs/nuclei.md) and put it at {spec.source}"]
    path, sha256 = weights_file(spec, folder, steps)
    return CellViTModel(load_checkpoint(path, spec), device=device, weights_sha256=sha256)
