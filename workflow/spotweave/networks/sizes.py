"""Which sizes of images an architecture takes, as far as its row tells; nothing is built to find out."""

from __future__ import annotations

import re
from collections.abc import Mapping

from spotweave.networks.spec import parse_arguments


def input_fault(row: Mapping[str, str], input_px: int) -> str | None:
    """Why the architecture cannot take images of `input_px` px, as far as its name and arguments tell; None if it can.

    Transformers with patches of P px (`…_patchP_…`) take one size: `img_size`, else the number their name ends in;
    with `dynamic_img_size`, any multiple of P. Convolutional networks take any.
    """
    architecture, arguments = row.get("architecture", ""), parse_arguments(row.get("arguments", ""))
    patch = re.search(r"_patch(\d+)(_|$)", architecture)
    if patch is None or arguments.get("dynamic_img_pad") is True or arguments.get("strict_img_size") is False:
        return None
    if arguments.get("dynamic_img_size") is True:
        if input_px % int(patch[1]):
            return f"{input_px}, {architecture} allows: a multiple of {patch[1]}"
        return None
    named = re.search(r"_(\d+)$", architecture)
    size = arguments.get("img_size", int(named[1]) if named and named.start() > patch.start() else input_px)
    if size == input_px:
        return None
    return f"{input_px}, {architecture} allows: {size}, or another size with img_size={input_px} among its arguments"
