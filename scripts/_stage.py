"""Puts the library on the path, so that scripts run by hand and in any environment, and spares short jobs some CPU."""

import atexit
import gc
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from spotweave.stage import Stage

__all__ = ["Stage"]

# Importing makes some hundred thousand objects that live until the end. Looking through them for garbage again and
# again while they are made, and once more before the process ends, is a fifth of what importing costs.
gc.set_threshold(100_000, 20, 20)
atexit.register(gc.freeze)
