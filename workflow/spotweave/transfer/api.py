"""What repositories say of themselves: small JSON and text answers, politely asked for.

Passing trouble (429, 503, …) is waited out by the session, `Retry-After` included; a connection that breaks is tried
again. A repository that counts requests down (`X-RateLimit-Remaining`) is not asked again before its counter starts
anew.

A source that lists has locations `<accession>/<name>`. Both may hold slashes: the accession is what the source's
pattern takes at the start, the name is all behind the next slash (`spelled`).
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import requests
import tenacity
import urllib3.exceptions

from spotweave.errors import Refusal
from spotweave.transfer.content import HTML_STARTS
from spotweave.transfer.digests import check
from spotweave.transfer.files import HEX_DIGITS, Checksum, Fetched, FetchSettings, Listed, Listing, Unreachable, Wanted
from spotweave.transfer.http import (
    LONGEST_NAME,
    LONGEST_WAIT_S,
    MIRRORS_VARIABLE,
    ask,
    download,
    mirrored,
    redacted,
    session,
)

log = logging.getLogger("spotweave")

LARGEST_ANSWER = 64 << 20
GONE = {404: "does not exist (or is not public)", 410: "has been withdrawn"}
DENIED = (401, 403)
# The question itself is wrong, as with an accession in another spelling: asked again, it gets the same answer.
MISUNDERSTOOD = (400, 405, 422)
LONGEST_SAID = 200
LARGEST_EXPLANATION = 1 << 14
QUOTA_SPENT = (403, 429)
# Set by the firewalls of Amazon and Cloudflare where they want a browser to prove itself.
CHALLENGE_HEADERS = ("x-amzn-waf-action", "cf-mitigated")
UNSAFE = re.compile(r"[^\w.+=@,()-]")
DOI = r"(?:doi:\s*|(?:https?://)?(?:dx\.)?doi\.org/)?"
NEAR = 3


@dataclass(frozen=True)
class Located:
    """Where a file is now, under which name it is kept, what to send with the request, what its bytes must be."""

    url: str
    name: str
    headers: Mapping[str, str] = field(default_factory=dict)
    checksum: Checksum = field(default_factory=Checksum)


class Locating(Protocol):
    """A source that looks addresses up: `locate` takes what its `fetch` takes as a location."""

    def locate(self, location: str, settings: FetchSettings) -> Located:
        """Where a file is now."""
        ...


@dataclass(frozen=True)
class _Question:
    """What is asked, and the words for messages: `label` names it, `denied` says what to do about 401 and 403."""

    method: str
    url: str
    label: str
    denied: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    is_named: bool = True


class _Broken(Unreachable):
    """The connection failed: worth another attempt at once."""


def get_text(
    url: str,
    settings: FetchSettings,
    *,
    label: str,
    headers: Mapping[str, str] | None = None,
    denied: str = "access is denied",
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """One small text answer in UTF-8.

    Parameters
    ----------
    url, headers
        What is asked, and what is sent besides the usual headers.
    label
        What is asked for, in words, for messages.
    denied
        What to do where access is denied.
    sleep
        How to wait.

    Raises
    ------
    Refusal
        There is no such thing, access is denied, the question is not understood, or the answer is none.
    Unreachable
        The repository is in trouble, or cannot be reached.
    """
    return _ask(_Question("GET", url, label, denied, headers or {}), settings, sleep=sleep)


def get_json(
    url: str,
    settings: FetchSettings,
    *,
    label: str,
    headers: Mapping[str, str] | None = None,
    denied: str = "access is denied",
    received: dict[str, str] | None = None,
    is_named: bool = True,
    sleep: Callable[[float], None] = time.sleep,
) -> Any:
    """One small JSON answer; raises as `get_text` does.

    `received` is filled with the headers of the answer; `is_named` is False for an address that an answer handed out.
    """
    accepted = {"Accept": "application/json", **(headers or {})}
    question = _Question("GET", url, label, denied, accepted, is_named=is_named)
    text = _ask(question, settings, sleep=sleep, received=received)
    return _parsed(text, label)


def get_about(url: str, settings: FetchSettings, *, label: str, denied: str = "access is denied") -> Any:
    """What is good to know and not needed, such as title and licence: None, and logged, where it is refused."""
    try:
        return get_json(url, settings, label=f"{label}, title and licence", denied=denied)
    except Refusal as refusal:
        log.warning("%s", refusal.reason)
        return None


def post_json(
    url: str,
    body: Any,
    settings: FetchSettings,
    *,
    label: str,
    headers: Mapping[str, str] | None = None,
    denied: str = "access is denied",
    sleep: Callable[[float], None] = time.sleep,
) -> Any:
    """The JSON answer to a question sent as JSON; raises as `get_text` does."""
    accepted = {"Accept": "application/json", **(headers or {})}
    return _parsed(_ask(_Question("POST", url, label, denied, accepted, body), settings, sleep=sleep), label)


def _ask(
    question: _Question,
    settings: FetchSettings,
    *,
    sleep: Callable[[float], None],
    received: dict[str, str] | None = None,
) -> str:
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_Broken),
        stop=tenacity.stop_after_attempt(settings.attempts),
        wait=tenacity.wait_exponential(multiplier=settings.backoff_s, max=LONGEST_WAIT_S),
        sleep=sleep,
        reraise=True,
    )
    with session(settings, question.headers, first=question.url, is_named=question.is_named) as own:
        answer: bytes = retrying(_answer, own, question, settings, sleep, received)
    try:
        return answer.decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal(
            f"{question.label}: the answer of {redacted(question.url)} is no text; report it, and"
            " meanwhile download by hand"
        ) from None


def _answer(
    own: requests.Session,
    question: _Question,
    settings: FetchSettings,
    sleep: Callable[[float], None],
    received: dict[str, str] | None,
) -> bytes:
    """One answer; asked for twice where the first was that no requests are left for now."""
    for is_last in (False, True):
        with _request(own, question, settings) as response:
            if response.status_code in QUOTA_SPENT and not is_last and _wait_for_quota(response, question.label, sleep):
                continue
            _refuse_status(response, question)
            answer = _read(response, question)
            if received is not None:
                received.update(response.headers)
            _wait_for_quota(response, question.label, sleep)
            return answer
    raise AssertionError("the second answer is returned or refused")


def _request(own: requests.Session, question: _Question, settings: FetchSettings) -> requests.Response:
    address = mirrored(question.url, os.environ.get(MIRRORS_VARIABLE, ""))
    where = f"{question.label}: {redacted(question.url)} cannot be reached"
    try:
        return ask(own, question.method, address, label=where, timeout_s=settings.timeout_s, body=question.body)
    except Unreachable as error:
        raise _Broken(f"{error}; run again later") from None


def _read(response: requests.Response, question: _Question) -> bytes:
    try:
        answer = bytes(response.raw.read(LARGEST_ANSWER + 1, decode_content=True))
    except urllib3.exceptions.HTTPError as error:
        raise _Broken(_unreached(question, error)) from None
    if response.status_code == requests.codes.accepted or not answer:
        raise Unreachable(
            f"{question.label}: an empty answer ({response.status_code}), as robots are given; run again later, or"
            " download by hand and use the source 'file'"
        )
    if len(answer) > LARGEST_ANSWER:
        raise Refusal(
            f"{question.label}: an answer of over {LARGEST_ANSWER:,} bytes is no listing",
            measured=len(answer),
            threshold=LARGEST_ANSWER,
        )
    return answer


def _unreached(question: _Question, error: Exception) -> str:
    return f"{question.label}: {redacted(question.url)} cannot be reached ({type(error).__name__}); run again later"


def _parsed(text: str, label: str) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        start = text.removeprefix("\ufeff").lstrip()[:200].lower().encode()
        if start.startswith(HTML_STARTS):
            raise Unreachable(
                f"{label}: a web page in place of an answer, as robots are given; run again later"
            ) from None
        raise Unreachable(f"{label}: the answer breaks off or is no JSON; run again") from None


def _refuse_status(response: requests.Response, question: _Question) -> None:
    status, label = response.status_code, question.label
    if any(name in response.headers for name in CHALLENGE_HEADERS):
        raise Unreachable(
            f"{label}: the repository takes us for a robot and wants a browser ({status}); run again later, or download"
            " by hand and use the source 'file'"
        )
    if status == requests.codes.too_many_requests:
        raise Unreachable(
            f"{label}: no requests are left for now ({status}); run again later, with fewer downloads side by side or"
            " with a token"
        )
    if status in GONE:
        raise Refusal(f"{label}: {GONE[status]}; correct the accession in the row", measured=status, threshold=200)
    if status in DENIED:
        raise Refusal(f"{label}: {question.denied} ({status})", measured=status, threshold=200)
    if status in MISUNDERSTOOD:
        raise Refusal(
            f"{label}: {redacted(question.url)} does not understand what it is asked ({status}{_explained(response)});"
            " correct the accession in the row",
            measured=status,
            threshold=200,
        )
    if status >= 400:
        raise Unreachable(f"{label}: the repository answers {status}; run again later")


def _explained(response: requests.Response) -> str:
    """What a repository says of its status, for a message in brackets: one line without markup, tokens or addresses'
    queries; empty where it says nothing, or only shows a web page."""
    try:
        body = bytes(response.raw.read(LARGEST_EXPLANATION, decode_content=True))
    except (OSError, urllib3.exceptions.HTTPError):
        return ""
    words = " ".join(body.decode("utf-8", errors="replace").split())
    if not words or words[:LONGEST_SAID].lower().encode().startswith(HTML_STARTS):
        return ""
    _, _, token = str(response.request.headers.get("Authorization", "")).partition(" ")
    if token:
        words = words.replace(token, "…")
    words = re.sub(r"https?://[^\s\"'<>]+", lambda match: redacted(match[0]), words)
    words = "".join(letter for letter in words if letter.isprintable())
    return f": '{words[:LONGEST_SAID]}{'…' if len(words) > LONGEST_SAID else ''}'"


def _wait_for_quota(response: requests.Response, label: str, sleep: Callable[[float], None]) -> bool:
    """Wait until the counter of a repository starts anew, where it has reached zero; whether there was a wait."""
    remaining, reset = (response.headers.get(f"X-RateLimit-{name}", "") for name in ("Remaining", "Reset"))
    if remaining != "0" or not reset.isdecimal():
        return False
    # Either seconds from now or, for most, seconds since 1970.
    wait_s = int(reset) - (time.time() if int(reset) > 10**8 else 0)
    if wait_s <= 0:
        return False
    wait_s = min(wait_s, LONGEST_WAIT_S)
    log.info("%s: no requests left, waiting %.0f s", label, wait_s)
    sleep(wait_s)
    return True


def expect(content: Any, *keys: str | int, label: str) -> Any:
    """`content[key1][key2]…`; refused in one line where a publisher's format has changed."""
    for key in keys:
        try:
            content = content[key]
        except (KeyError, IndexError, TypeError):
            raise _changed(label, keys) from None
    return content


def entries(content: Any, *keys: str | int, label: str) -> list[dict[str, Any]]:
    """The list of objects at `content[key1][key2]…`; refused in one line where a publisher's format has changed."""
    found = expect(content, *keys, label=label)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise _changed(label, keys or ("list of objects",))
    return found


def _changed(label: str, keys: tuple[str | int, ...]) -> Refusal:
    return Refusal(
        f"{label}: the answer has no '{'.'.join(map(str, keys))}': the repository's format has changed; report it, and"
        " meanwhile download by hand and use the source 'file'"
    )


def said(content: Any, *keys: str) -> str | None:
    """The text at `content[key1][key2]…`; None where there is none, for what is good to know but not needed."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, str) and content else None


def size_of(value: Any) -> int | None:
    """A size in bytes as repositories write it; None where there is none."""
    return int(value) if str(value).isdecimal() and int(value) > 0 else None


def checksum_of(size: Any = None, **hashes: Any) -> Checksum:
    """What a publisher says of a file, as `md5=` or `sha256=`; what is no such hash is left out, and logged."""
    found: dict[str, str] = {}
    for kind, value in hashes.items():
        digest = str(value or "").strip().lower()
        if re.fullmatch(rf"[0-9a-f]{{{HEX_DIGITS[kind]}}}", digest):
            found[kind] = digest
        elif digest:
            log.warning("a publisher states '%s', which is no %s: not used", digest, kind)
    return Checksum(found.get("sha256"), found.get("md5"), size_of(size))


def safe_name(path: str) -> str:
    """A path within an accession as one file name: files of one name in two folders stay apart.

    A name that is too long keeps its end, with the beginning of its hash before it.
    """
    name = UNSAFE.sub("_", path.replace("/", "--")).lstrip(".") or "_"
    if len(name.encode()) <= LONGEST_NAME:
        return name
    mark = f"{hashlib.sha256(path.encode()).hexdigest()[:8]}-"
    while len((mark + name).encode()) > LONGEST_NAME:
        name = name[1:]
    return mark + name


def spelled(text: str, spelling: str) -> tuple[re.Match[str], str] | None:
    """Split a text into the accession it starts with, as matched by `spelling`, and the name of a file behind it.

    The name is empty if there is none; a query or fragment of an address is no name. None if the text starts with no
    accession. The pattern's groups must have names; case does not matter.
    """
    match = re.match(rf"\s*(?:{spelling})(?:/(?P<behind>.+)|/?\s*|/?[?#].*)$", text, re.IGNORECASE)
    return (match, match["behind"] or "") if match else None


def find(listing: Listing, name: str) -> Listed:
    """The file of that name in a listing, whole path or, if there is only one, last part."""
    exact = [file for file in listing.files if file.name == name]
    found = exact or [file for file in listing.files if file.name.rpartition("/")[2] == name]
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(file.name for file in found[:NEAR]) + (", …" if len(found) > NEAR else "")
        raise Refusal(
            f"{listing.accession}: {len(found)} files are called {name}; give one with its folder: {shown}",
            measured=len(found),
            threshold=1,
        )
    near = _near(name, [file.name for file in listing.files])
    hint = f"did you mean {', '.join(near)}?" if near else f"it has {len(listing.files)} files"
    raise Refusal(f"{listing.accession}: there is no file {name}; {hint}", measured=0, threshold=1)


def _near(name: str, names: list[str]) -> list[str]:
    """The names most like one, by their whole path or by their last part, whatever their case."""
    forms: dict[str, str] = {}
    for one in names:
        forms.setdefault(one.rpartition("/")[2].lower(), one)
        forms[one.lower()] = one
    found = difflib.get_close_matches(name.lower(), list(forms), n=NEAR, cutoff=0.5)
    return list(dict.fromkeys(forms[form] for form in found))


def merged(label: str, row: Checksum, published: Checksum) -> Checksum:
    """What both the row and the publisher ask; refused where they contradict each other."""
    check(f"{label} (the publisher's own figures against the row's)", row, published)
    parts = {
        field.name: getattr(row, field.name) or getattr(published, field.name) for field in dataclasses.fields(Checksum)
    }
    return Checksum(**parts)


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token; none where the token is empty. It is not sent on to another host."""
    return {"Authorization": f"Bearer {token.strip()}"} if token.strip() else {}


def fetch_located(
    wanted: Wanted,
    folder: Path,
    settings: FetchSettings,
    locate: Callable[[str, FetchSettings], Located],
    source: str,
    denied: str | None = None,
) -> Fetched:
    """Bring a file whose address its source has to look up: what `fetch` is for a source that lists.

    `denied` says what to do where the file itself is denied (401, 403).
    """
    located = locate(wanted.location, settings)
    label = f"{wanted.role}: {wanted.location}"
    checksum = merged(label, wanted.checksum, located.checksum)
    known_as = dataclasses.replace(wanted, location=f"{source}:{wanted.location}", checksum=checksum)
    try:
        return download(known_as, folder, settings, url=located.url, name=located.name, headers=located.headers)
    except Refusal as refusal:
        if denied is None or refusal.measured not in DENIED or refusal.threshold != requests.codes.ok:
            raise
        raise Refusal(f"{label}: {denied} ({refusal.measured})", measured=refusal.measured, threshold=200) from None
