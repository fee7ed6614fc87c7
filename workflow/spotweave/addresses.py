"""Addresses without what opens doors: for logs, records and tables.

Users, passwords, tokens and signatures stand before the host or in the query of an address. Nothing but the request
itself may hold them. Only the standard library is used.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl, urlencode

HIDDEN = "…"
# Names of query fields that hold or belong to a secret: tokens, keys, and the signatures of Amazon, Google and Azure.
SECRET_NAME = re.compile(
    r"token|secret|passw|pwd|key|sig|auth|cred|session|policy|jwt|ticket|^code$|^x-(amz|goog)-|^s[a-z]{1,3}$|expires?$",
    re.IGNORECASE,
)
SECRET_VALUE = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[A-Za-z0-9+/=_.-]{32,}")
# The scheme is bounded, so that a long word without one costs no more than its length.
ADDRESS = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]{0,20}://[^\s\"'<>]+")


def redacted(url: str) -> str:
    """A URL fit for a log: without user, password, query and fragment, which may hold tokens."""
    without_tail = re.sub(r"[?#].*", f"?{HIDDEN}" if "?" in url else "", url, flags=re.DOTALL)
    return re.sub(r"^([a-zA-Z][\w+.-]{0,20}://)[^/]*@", r"\1", without_tail)


def identity(location: str) -> str:
    """What a record calls a file by: its address without secrets, and a hash of the rest of its query.

    Addresses that differ by more than tokens stay apart; a fresh token is no new file. What is no http address, or has
    been through here, stays as it is.
    """
    if not re.match("https?://", location, re.IGNORECASE) or f"?{HIDDEN}" in location:
        return location
    shown = redacted(location)
    query = location.partition("#")[0].partition("?")[2]
    fields = [pair for pair in parse_qsl(query, keep_blank_values=True) if not _is_secret(*pair)]
    if not fields:
        return shown
    return f"{shown}#{hashlib.sha256(urlencode(fields).encode()).hexdigest()[:16]}"


def without_secrets(text: str) -> str:
    """A text in which addresses keep their query, save for the values of fields that hold secrets."""
    return ADDRESS.sub(lambda match: _masked(match[0]), text)


def public_place(cell: str) -> str:
    """A cell that says where a file is, as `identity` has it; `!member` behind it stays."""
    address, mark, member = cell.partition("!")
    return identity(address) + mark + member if address != cell or "://" in cell else cell


def public_row(row: Mapping[str, str], places: Collection[str]) -> dict[str, str]:
    """A row of a table without secrets; `places` are the columns that say where files are."""
    return {name: public_place(cell) if name in places else without_secrets(cell) for name, cell in row.items()}


def _masked(url: str) -> str:
    head, question, query = url.partition("?")
    head = re.sub(r"^([a-zA-Z][\w+.-]{0,20}://)[^/]*@", r"\1", head)
    if not question:
        return head
    query, mark, fragment = query.partition("#")
    parts = []
    for part in query.split("&"):
        name, equals, value = part.partition("=")
        parts.append(f"{name}{equals}{HIDDEN}" if equals and _is_secret(name, value) else part)
    return head + question + "&".join(parts) + mark + fragment


def _is_secret(name: str, value: str) -> bool:
    return bool(SECRET_NAME.search(name) or SECRET_VALUE.fullmatch(value))
