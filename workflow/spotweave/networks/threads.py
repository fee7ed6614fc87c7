"""How many threads numerical libraries use."""

from __future__ import annotations

import os
import sys


def limit_threads(threads: int) -> None:
    """Let numerical libraries use so many threads; call it before they are imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
