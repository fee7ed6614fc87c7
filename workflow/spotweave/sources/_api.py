"""What repositories say of themselves: small JSON and text answers, politely asked for.

Passing trouble (429, 503, …) is waited out by the session, `Retry-After` included. A repository that counts
requests down (`X-RateLimit-Remaining`) is not asked again before its counter starts anew.
"""

from __future__ import annotations

import dataclasses
import difflib
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

from spotweave.errors import Refusal
from spotweave.sources import Checksum, Fetched, FetchSettings, Listed, Listing, Unreachable, Wanted
from spotweave.sources._content import HTML_STARTS
from spotweave.sources._digests import check
from spotweave.sources.https import LONGEST_WAIT_S, MIRRORS_VARIABLE, download, mirrored, redacted, session

log = logging.getLogger("spotweave")

LARGEST_ANSWER = 64 << 20
GONE = {404: "does not exist (or is not public)", 410: "has been withdrawn"}
DENIED = (401, 403)
UNSAFE = re.compile(r"[^\w.+=@,()-]")


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
        There is no such thing, access is denied, or the answer is none.
    Unreachable
        The repository is in trouble, or cannot be reached.
    """
    return _ask("GET", url, settings, label, headers, denied, sleep=sleep)


def _ask(
    method: str,
    url: str,
    settings: FetchSettings,
    label: str,
    headers: Mapping[str, str] | None,
    denied: str,
    body: Any = None,
    sleep: Callable[[float], None] = time.sleep,
    received: dict[str, str] | None = None,
) -> str:
    address = mirrored(url, os.environ.get(MIRRORS_VARIABLE, ""))
    with session(settings, headers) as own:
        try:
            with own.request(method, address, json=body, stream=True, timeout=settings.timeout_s) as response:
                _refuse_status(response, label, denied)
                answer = response.raw.read(LARGEST_ANSWER + 1, decode_content=True)
                if received is not None:
                    received.update(response.headers)
                _wait_for_quota(response, label, sleep)
                if response.status_code == requests.codes.accepted or not answer:
                    raise Unreachable(
                        f"{label}: an empty answer ({response.status_code}), as robots get; run again later"
                    )
        except requests.RequestException as error:
            raise Unreachable(f"{label}: {redacted(url)} cannot be reached ({type(error).__name__})") from None
    if len(answer) > LARGEST_ANSWER:
        raise Refusal(f"{label}: an answer of over {LARGEST_ANSWER:,} bytes is no listing", measured=len(answer))
    try:
        return str(answer.decode("utf-8"))
    except UnicodeDecodeError:
        raise Refusal(f"{label}: the answer of {redacted(url)} is no text") from None


def get_json(
    url: str,
    settings: FetchSettings,
    *,
    label: str,
    headers: Mapping[str, str] | None = None,
    denied: str = "access is denied",
    received: dict[str, str] | None = None,
) -> Any:
    """One small JSON answer; raises as `get_text` does. `received` is filled with the headers of the answer."""
    accepted = {"Accept": "application/json", **(headers or {})}
    return _parsed(_ask("GET", url, settings, label, accepted, denied, received=received), label)


def post_json(
    url: str,
    body: Any,
    settings: FetchSettings,
    *,
    label: str,
    headers: Mapping[str, str] | None = None,
    denied: str = "access is denied",
) -> Any:
    """The JSON answer to a question sent as JSON; raises as `get_text` does."""
    accepted = {"Accept": "application/json", **(headers or {})}
    return _parsed(_ask("POST", url, settings, label, accepted, denied, body), label)


def _parsed(text: str, label: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        start = text.lstrip()[:200].lower().encode()
        if start.startswith(HTML_STARTS):
            raise Unreachable(f"{label}: a web page in place of an answer, as robots get; run again later") from None
        raise Unreachable(f"{label}: the answer breaks off or is no JSON; run again") from None


def _refuse_status(response: requests.Response, label: str, denied: str) -> None:
    status = response.status_code
    if status in GONE:
        raise Refusal(f"{label}: {GONE[status]}; correct the accession in the row", measured=status, threshold=200)
    if status in DENIED:
        raise Refusal(f"{label}: {denied} ({status})", measured=status, threshold=200)
    if status >= 400:
        raise Unreachable(f"{label}: the repository answers {status}; run again later")


def _wait_for_quota(response: requests.Response, label: str, sleep: Callable[[float], None]) -> None:
    """Wait until the counter of a repository starts anew, where it has reached zero."""
    remaining, reset = (response.headers.get(f"X-RateLimit-{name}", "") for name in ("Remaining", "Reset"))
    if remaining != "0" or not reset.isdigit():
        return
    # Either seconds from now or, for most, seconds since 1970.
    wait_s = int(reset) - (time.time() if int(reset) > 10**8 else 0)
    if wait_s > 0:
        wait_s = min(wait_s, LONGEST_WAIT_S)
        log.info("%s: no requests left, waiting %.0f s", label, wait_s)
        sleep(wait_s)


def expect(content: Any, *keys: str | int, label: str) -> Any:
    """`content[key1][key2]…`; refused in one line where a publisher's format has changed."""
    for key in keys:
        try:
            content = content[key]
        except (KeyError, IndexError, TypeError):
            where = ".".join(map(str, keys))
            raise Refusal(
                f"{label}: the answer has no '{where}': the repository's format has changed; report it, and meanwhile"
                " download by hand and use the source 'file'"
            ) from None
    return content


def size_of(value: Any) -> int | None:
    """A size in bytes as repositories write it; None where there is none."""
    return int(value) if str(value).isdigit() and int(value) > 0 else None


def safe_name(path: str) -> str:
    """A path within an accession as one file name: files of one name in two folders stay apart."""
    return UNSAFE.sub("_", path.replace("/", "--")).lstrip(".")[-180:]


def find(listing: Listing, name: str) -> Listed:
    """The file of that name in a listing, whole path or, if there is only one, last part."""
    exact = [file for file in listing.files if file.name == name]
    found = exact or [file for file in listing.files if file.name.rpartition("/")[2] == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise Refusal(f"{listing.accession}: {len(found)} files are called {name}; give one with its folder")
    near = difflib.get_close_matches(name, [file.name for file in listing.files], n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else f"it has {len(listing.files)} files"
    raise Refusal(f"{listing.accession}: there is no file {name}; {hint}", measured=0, threshold=1)


def merged(label: str, row: Checksum, published: Checksum) -> Checksum:
    """What both the row and the publisher ask; refused where they contradict each other."""
    check(f"{label} (the publisher's own figures against the row's)", row, published)
    parts = {
        field.name: getattr(row, field.name) or getattr(published, field.name) for field in dataclasses.fields(Checksum)
    }
    return Checksum(**parts)


def fetch_located(
    wanted: Wanted, folder: Path, settings: FetchSettings, locate: Callable[[str, FetchSettings], Located], source: str
) -> Fetched:
    """Bring a file whose address its source has to look up: what `fetch` is for a source that lists."""
    located = locate(wanted.location, settings)
    label = f"{wanted.role}: {wanted.location}"
    checksum = merged(label, wanted.checksum, located.checksum)
    known_as = dataclasses.replace(wanted, location=f"{source}:{wanted.location}", checksum=checksum)
    return download(known_as, folder, settings, url=located.url, name=located.name, headers=located.headers)
