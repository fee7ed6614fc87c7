"""Weights under the names that a published network gives them, under ours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor


def renamed(state: Mapping[str, Tensor], names: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    """A state under other names: of the pairs (pattern, replacement) the first whose pattern leads a name, up to a dot.

    Raises
    ------
    KeyError
        If no pattern leads a name.
    """
    out: dict[str, Tensor] = {}
    for name, tensor in state.items():
        fits = next((pair for pair in names if re.match(pair[0] + r"(?=\.|$)", name)), None)
        if fits is None:
            raise KeyError(f"{name!r} is no name of the published network")
        out[re.sub("^" + fits[0], fits[1], name)] = tensor
    return out
