"""Placed by registering the instrument's own picture with the H&E (cells of Xenium): not built yet."""

from __future__ import annotations

from typing import NoReturn

from spotweave.errors import Refusal
from spotweave.placing import Deposit

LIMITS = ()


def place(deposit: Deposit) -> NoReturn:
    """Refuse the sample: it is read and goes no further."""
    raise Refusal("the sample is read, but cells cannot be placed on the H&E yet; its counts are in expression.h5ad")
