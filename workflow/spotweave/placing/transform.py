"""Placed by a map that the deposit states (bins of Visium HD): not built yet."""

from __future__ import annotations

from typing import NoReturn

from spotweave.errors import Refusal
from spotweave.placing import Deposit

LIMITS = ()


def place(deposit: Deposit) -> NoReturn:
    """Refuse the sample: it is read and goes no further."""
    raise Refusal(
        "the sample is read, but bins and cells cannot be placed on the H&E yet; its counts are in expression.h5ad"
    )
