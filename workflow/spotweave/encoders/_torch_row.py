"""What rows of all torch networks have to say, whichever library builds them."""

from __future__ import annotations

from collections.abc import Mapping

NEEDED = ("architecture", "resize", "mean", "std", "pool")


def faults(row: Mapping[str, str], what: str) -> list[tuple[str, str]]:
    """(column, "what is wrong, what is allowed") for each fault; `what` is the kind of network in words."""
    found = [(column, f"empty, {what} needs it") for column in NEEDED if not row.get(column)]
    if row.get("weights") == "none":
        found.append(("weights", f"'none', {what} allows: hub, random, file, package"))
    resize_px, input_px = row.get("resize", "").partition(" ")[2], int(row["input_px"])
    if resize_px and int(resize_px) < input_px:
        found.append(("resize", f"to {resize_px} px, too few to cut {input_px} px out of, allowed: input_px or more"))
    return found


def patch_fault(row: Mapping[str, str], size_px: int) -> str | None:
    """Without a resize, patches must be of the network's own size."""
    if row["resize"] != "none" or size_px == int(row["input_px"]):
        return None
    return (
        f"its input_px is {row['input_px']} and its resize none: set patch.size_px to {row['input_px']}, or resize to"
        " bilinear or bicubic in its row"
    )
