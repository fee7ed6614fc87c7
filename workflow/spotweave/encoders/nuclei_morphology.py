"""How many nuclei a patch shows, and how large and round they are: `classical` nuclei and their features. No weights.

What a pathologist would measure first, and a floor that says what a learned encoder adds to it. Each patch is measured
by itself, its stain too, so that its numbers do not depend on the slide's other patches.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from spotweave.networks.spec import EncoderSpec, parse_arguments

if TYPE_CHECKING:
    from spotweave.encoders._nuclei_morphology import NucleiMorphology

SCALE = "um_per_px"


def check(row: Mapping[str, str]) -> list[tuple[str, str]]:
    """No weights, and the scale of the patches, which lengths need."""
    weights, arguments = row.get("weights"), parse_arguments(row.get("arguments", ""))
    faults = []
    if weights != "none":
        faults.append(("weights", f"{weights!r}, measures of nuclei have none, allowed: none"))
    scale = arguments.get(SCALE)
    if set(arguments) != {SCALE} or not isinstance(scale, int | float) or not 0.1 <= scale <= 2:
        said = row.get("arguments", "")
        faults.append(("arguments", f"{said!r}, allowed: {SCALE}=0.5, the pixel size of the patches, .1 to 2"))
    return faults


def patch_fault(row: Mapping[str, str], size_px: int) -> str | None:
    """Patches in which a nucleus fits."""
    scale = parse_arguments(row.get("arguments", "")).get(SCALE, 0.5)
    if size_px * scale >= 20:
        return None
    return f"a patch of {size_px * scale:g} um holds no whole nucleus: set patch.size_px to {20 / scale:.0f} or more"


def build(spec: EncoderSpec, *, folder: Path | None, seed: int, device: str = "auto") -> NucleiMorphology:
    """There is nothing to build: no weights, no randomness, no device.

    Raises
    ------
    ValueError
        If the table states another dimension.
    """
    from spotweave.encoders._nuclei_morphology import NucleiMorphology

    if spec.dim != NucleiMorphology.dim:
        raise ValueError(f"encoder {spec.encoder}: dim {spec.dim} in the table, it has {NucleiMorphology.dim}")
    return NucleiMorphology(float(parse_arguments(spec.arguments)[SCALE]))
