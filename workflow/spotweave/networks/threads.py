"""How many threads numerical libraries use."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


def limit_threads(threads: int) -> None:
    """Let numerical libraries use so many threads; call it before they are imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """torch's number of threads as it was, whatever a library inside does to it.

    numba, which scanpy uses, sets that of the OpenMP library they share: threads beyond the job's then wait for each
    other at every operation.
    """
    import torch

    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
