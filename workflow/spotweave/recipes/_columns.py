"""Columns that several kinds of recipe share, and what they all ask of the encoder they start from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spotweave.networks.sizes import input_fault

# Builders whose networks can be trained further (`networks.bases`).
TRAINABLE = ("timm_model", "transformers_model", "vision_language")
WHOLE = {"allowed": "a whole number above 0", "type": "string", "pattern": "^[1-9][0-9]*$", "maxLength": 9}
SEVERAL = {"allowed": "a whole number above 1", "type": "string", "pattern": "^([2-9]|[1-9][0-9]+)$", "maxLength": 9}
RATE: dict[str, Any] = {
    "allowed": "a number above 0, e.g. 1e-4",
    "type": "string",
    "pattern": r"^(?=.*[1-9].*(e|$))[0-9]*\.?[0-9]+(e-?[0-9]+)?$",
    "maxLength": 40,
}
SHARE = {"allowed": "a number from 0 to 1", "type": "string", "pattern": r"^(0(\.[0-9]+)?|1(\.0+)?)$"}
INPUT_PX = {
    "description": "Edge of the images in training and in use, px; patches are shrunk to it. It sets the cost",
    "allowed": "a whole number from 16 to 999",
    "type": "string",
    "pattern": "^(1[6-9]|[2-9][0-9]|[1-9][0-9]{2})$",
}
EPOCHS = {"description": "Passes over the training pairs", **WHOLE}
BATCH = {
    "description": "Pairs at a time, each the others' negatives; batches are cut to equal sizes at most this large",
    **SEVERAL,
}
AT_ONCE = {
    "description": "Pairs whose activations are held at a time, with the gradients of the whole batch; blank for all",
    **WHOLE,
}
LR_IMAGE = {
    "description": "Learning rate of the topmost layer of the base encoder, at the start of the cosine",
    **RATE,
}
LAYER_DECAY = {
    "description": "Factor of the learning rate from one layer of the base encoder to the one below; 1 for none",
    "allowed": "a number above 0, at most 1",
    "type": "string",
    "pattern": r"^(0\.[0-9]*[1-9][0-9]*|1(\.0+)?)$",
}
WEIGHT_DECAY = {
    "description": "Weight decay of the optimiser",
    "allowed": "a number, 0 or above",
    "type": "string",
    "pattern": r"^[0-9]*\.?[0-9]+(e-?[0-9]+)?$",
    "maxLength": 40,
}
AUGMENT = {
    "description": "What may happen to a training patch - flip (mirrored), rot90 (turned), crop (a part enlarged)",
    "allowed": "flip, rot90, crop, one or several with a space between",
    "type": "string",
    "pattern": "^(flip|rot90|crop)( (flip|rot90|crop)){0,2}$",
}
JITTER = {
    "description": "Strength of colour changes: share by which gain and (half of it) offset of a channel vary",
    **SHARE,
}
UNFROZEN = {
    "description": "Layers of the base encoder that learn - all, none, or the last N layer groups (blocks)",
    "allowed": "all, none, or last N",
    "type": "string",
    "pattern": "^(all|none|last [1-9][0-9]*)$",
}
WARMUP_EPOCHS = {
    "description": "Epochs in which learning rates grow to what they are; blank for none",
    "allowed": "a whole number, 0 or above",
    "type": "string",
    "pattern": "^[0-9]{1,4}$",
}
NEGATIVES = {
    "description": "What a pair is told from - any (pairs of all samples), sample (of its own only); blank is any",
    "allowed": "any, sample",
    "type": "string",
    "enum": ["any", "sample"],
}
PRECISION = {
    "description": "Of the networks on a GPU; a CPU computes in float32, and so does a blank cell",
    "allowed": "float32, bfloat16",
    "type": "string",
    "enum": ["float32", "bfloat16"],
}


def base_faults(row: Mapping[str, str], base: Mapping[str, str]) -> list[tuple[str, str]]:
    """What is wrong with the encoder that a recipe starts from, or with the size it would get."""
    if base.get("builder") not in TRAINABLE:
        allowed = f"{', '.join(TRAINABLE[:-1])} or {TRAINABLE[-1]}"
        return [("base_encoder", f"{row['base_encoder']!r} cannot be trained, allowed: a {allowed} encoder")]
    if base["builder"] == "vision_language" and row["input_px"] != base["input_px"]:
        own = f"{row['input_px']}, allowed: {base['input_px']}, which its positions are of"
        return [("input_px", f"of {row['base_encoder']}: {own}")]
    wrong = input_fault(base, int(row["input_px"])) if base["builder"] == "timm_model" else None
    return [("input_px", f"of {row['base_encoder']}: {wrong}")] if wrong else []
