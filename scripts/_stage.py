"""Puts the library on the path, so that every script runs by hand and in any environment."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from spotweave.stage import Stage

__all__ = ["Stage"]
