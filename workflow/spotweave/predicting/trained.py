"""A model's folder as a person hands it in: read, checked, and what it may be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spotweave import methods
from spotweave.errors import Refusal
from spotweave.io import file_hash, read_json
from spotweave.methods import METHODS, SECTION, Method

NETWORK, MODEL = "network.safetensors", "model.json"
# Of `trained_on`: without these no patch can be cut.
NEEDED = ("row", "scale", "samples", "donors", "spots", "patches", "pixel_size_um", "array")
# Patches of a slide this many times coarser than the coarsest it learned from hold too little of what it looks at; of
# one this many times finer, the size of a pixel is the likelier mistake.
COARSER_MAX, FINER_MAX = 2.0, 4.0


@dataclass(frozen=True)
class Trained:
    """A trained method.

    Attributes
    ----------
    kind
        Its module of `methods`.
    method
        Ready to predict.
    genes
        G names.
    said
        What its file says it was trained on.
    settings, details
        Its sizes, and what was chosen in training.
    digest
        SHA-256 of its network, hex.
    """

    kind: str
    method: Method
    genes: Sequence[str]
    said: Mapping[str, Any]
    settings: Mapping[str, Any]
    details: Mapping[str, Any]
    digest: str

    @property
    def sees_section(self) -> bool:
        """Whether what it says of a spot depends on the others."""
        return bool(METHODS.constant(self.kind, "SEES", "spot") == SECTION)

    @property
    def patch_um(self) -> float:
        """Side of the patches that it was given, um."""
        return float(self.said["patches"]["size_px"] * self.said["patches"]["um_per_px"])

    def given(self, size_px: int | None, um_per_px: float | None) -> Trained:
        """The same, given patches of another side (px) or size of a pixel than it learned from; None leaves either."""
        asked = {"size_px": size_px, "um_per_px": um_per_px}
        patches = {**self.said["patches"], **{name: value for name, value in asked.items() if value is not None}}
        return replace(self, said={**self.said, "patches": patches})

    def require_pixel_size(self, pixel_size_um: float) -> None:
        """Refuse a slide whose pixels are of another size than those it learned from."""
        finest, coarsest = self.said["pixel_size_um"]
        low, high = finest / FINER_MAX, coarsest * COARSER_MAX
        if not low <= pixel_size_um <= high:
            raise Refusal(
                f"a pixel of the slide is {pixel_size_um:.4g} um, and the model was trained on slides of {finest:.4g}"
                f" to {coarsest:.4g} um: {low:.3g} to {high:.3g} um are allowed. Is the pixel size right? Else take"
                " a scan of another magnification, or a model trained on such",
                measured=pixel_size_um,
                threshold=high if pixel_size_um > high else low,
            )


def read_trained(folder: Path) -> Trained:
    """Read and load a model's folder.

    Raises
    ------
    Refusal
        If it is no such folder, lacks what it takes to cut patches, or its network is not that of its settings.
    """
    said = _described(folder)
    try:
        fitted = methods.load(said["kind"]).load(folder)  # type: ignore[attr-defined]  # learned kinds have it
    except (RuntimeError, ValueError, KeyError, TypeError, OSError) as error:
        raise Refusal(
            f"{folder / NETWORK} is not the network that {MODEL} describes ({error}): copy the folder again, or fit the"
            " method again"
        ) from error
    except Exception as error:  # safetensors has an exception of its own
        if type(error).__module__.partition(".")[0] != "safetensors":
            raise
        raise Refusal(f"{folder / NETWORK} is no file of tensors ({error}): copy the folder again") from error
    return Trained(
        said["kind"],
        fitted,
        said["genes"],
        said["trained_on"],
        said["settings"],
        said["details"],
        file_hash(folder / NETWORK),
    )


def _described(folder: Path) -> dict[str, Any]:
    for name in (MODEL, NETWORK):
        if not (folder / name).is_file():
            raise Refusal(
                f"{folder}: no {name}; a model's folder is results/<dataset>/models/<task>/<protocol>/<method>/fold<k>"
            )
    try:
        said = read_json(folder / MODEL)
    except ValueError as error:
        raise Refusal(f"{folder / MODEL} is no JSON ({error}): copy the folder again") from error
    if not isinstance(said, dict):
        raise Refusal(f"{folder / MODEL} describes no model: copy the folder again")
    learned = sorted(kind for kind in METHODS.names() if METHODS.constant(kind, "LEARNED", False))
    if said.get("kind") not in learned:
        raise Refusal(
            f"{folder / MODEL}: kind {said.get('kind')!r} is none of this version, which knows {', '.join(learned)}"
        )
    lacking = [name for name in ("settings", "genes", "trained_on", "details") if name not in said]
    trained_on = said.get("trained_on")
    lacking += [f"trained_on: {name}" for name in NEEDED if name not in (trained_on or {})]
    if lacking:
        raise Refusal(
            f"{folder / MODEL} lacks {', '.join(lacking)}: it was written by another version; fit the method again"
        )
    if said["settings"].get("encoder"):
        raise Refusal(
            f"{folder / MODEL}: it takes the embeddings of {said['settings']['encoder']}, and slides are predicted by"
            " methods that look at patches themselves: take one whose row names no encoder"
        )
    return said
