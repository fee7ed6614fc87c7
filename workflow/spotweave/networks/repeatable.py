"""torch's algorithms, the same bits every time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """torch picks algorithms that give the same bits every time, or says that it has none."""
    memory: Any = torch.utils.deterministic
    was = torch.are_deterministic_algorithms_enabled(), memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    # Nothing here reads memory that it has not written; filling it would only take time.
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(was[0])
        memory.fill_uninitialized_memory = was[1]
