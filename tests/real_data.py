"""The real sections and lists that some tests are held against, where a copy of them lies beside the project.

`SPOTWEAVE_SHARED` names another place than `../shared`. Tests reach them through `real` or `needs_real` only, so that
those that are not run are counted at the end of a run (`tests/conftest.py`).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("SPOTWEAVE_SHARED", Path(__file__).resolve().parents[1].parent / "shared"))
DATA = SHARED / "data"
NOT_HERE = "real data are not here: "


def real(*parts: str) -> Path:
    """A file or folder of the real data; skips the test that asks for it where it is not there."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{NOT_HERE}{'/'.join(parts)}")
    return path


def needs_real(*parts: str) -> pytest.MarkDecorator:
    """The mark of a test that is only run where a file or folder of the real data is there."""
    return pytest.mark.skipif(not SHARED.joinpath(*parts).exists(), reason=f"{NOT_HERE}{'/'.join(parts)}")
