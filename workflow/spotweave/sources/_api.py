"""What repositories say of themselves over HTTP: small JSON and text answers, politely asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spotweave.sources import FetchSettings


def get_text(url: str, settings: FetchSettings, *, label: str, headers: Mapping[str, str] | None = None) -> str:
    """One small text answer, UTF-8."""
    raise NotImplementedError


def get_json(url: str, settings: FetchSettings, *, label: str, headers: Mapping[str, str] | None = None) -> Any:
    """One small JSON answer."""
    raise NotImplementedError
