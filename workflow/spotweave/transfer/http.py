"""http and https addresses: resumed downloads that are verified before they get their name.

A status code that may pass (429, 503, …) is retried by urllib3, which honours `Retry-After`; a body that breaks
off is taken up again with `Range` and `If-Range` (RFC 9110, sections 13.1.5 and 14). A server that ignores
the range starts over, and a version that changed meanwhile is never joined to the old bytes.

`SPOTWEAVE_MIRRORS` (`prefix=replacement` pairs, separated by blanks) sends addresses to another server;
the file stays known by the address of its row.
"""

from __future__ import annotations

import errno
import http.client
import logging
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import requests
import tenacity
import urllib3.exceptions
from tqdm import tqdm
from urllib3.util import Retry

from spotweave.addresses import redacted
from spotweave.errors import Refusal
from spotweave.transfer.content import HEAD_BYTES, check_head, check_whole, kind_of
from spotweave.transfer.digests import BIG_BYTES, check
from spotweave.transfer.disk import Partial, Version, kept
from spotweave.transfer.files import Checksum, Fetched, FetchSettings, Unreachable, Wanted
from spotweave.transfer.guard import MIRRORS_VARIABLE, Guard, GuardedAdapter

log = logging.getLogger("spotweave")

# Some publishers answer 403 to agents that do not look like a browser; the comment says who we are.
USER_AGENT = "Mozilla/5.0 (compatible; spotweave)"
PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
# Answers that say nothing against ranges: the parts, the whole, and a server that has no time for anyone.
TAKES_RANGES = frozenset({200, 206, 408, 416, 425, 429, 503})
LONGEST_WAIT_S = 600
SPACE_BYTES = 16 << 20  # free space is looked at whenever so much has come
MOST_REDIRECTS = 10
LONGEST_NAME = 180  # leaves room for our prefixes and suffixes in the 255 bytes of a file name
ADVICE = {
    401: "it needs a login: download it by hand and give its path with the source 'file'",
    403: "access is denied: if it needs a login, download it by hand and give its path with the source 'file'",
    404: "there is no such file: correct the address in the row",
    410: "the publisher removed it: find its new address, or remove the row",
    451: "the publisher may not hand it out here",
}


def download(
    wanted: Wanted,
    folder: Path,
    settings: FetchSettings,
    *,
    url: str,
    name: str,
    headers: Mapping[str, str] | None = None,
) -> Fetched:
    """Download `url` as the file `wanted`: what `fetch` does, for sources that learn the address elsewhere.

    Parameters
    ----------
    wanted
        Its location names the file in the record beside the download; the address may change, this may not.
    url
        Where it is now.
    name
        The name it gets in `folder`; safe on any file system.
    headers
        Sent besides the usual ones, such as a token; never logged, never sent on to another host.
    """
    label = f"{wanted.role}: {redacted(wanted.location)}"
    if not re.match("https?://", url, re.IGNORECASE):
        raise Refusal(f"{label}: only http and https addresses can be fetched; most ftp servers offer https as well")
    target = folder / name
    there = kept(target, wanted)
    if there:
        log.info("%s: already here, %s bytes", label, f"{there.bytes:,}")
        return there
    with (
        Partial(target, wanted) as partial,
        session(settings, headers, first=url, is_named=url == wanted.location) as own,
    ):
        _Transfer(own, partial, settings, label, url).run()
        fetched = partial.publish()
    log.info("%s: %s bytes", label, f"{fetched.bytes:,}")
    return fetched


def file_name(url: str) -> str:
    """The last part of a URL's path as a name that is safe on any file system.

    Raises
    ------
    Refusal
        The address names no file.
    """
    try:
        last = unquote(urlsplit(url).path.rpartition("/")[2])
    except ValueError as error:
        raise Refusal(f"{redacted(url)}: not an address: {error}") from None
    name = re.sub(r"[^\w.+=@,()-]", "_", last).lstrip(".")
    if not name.strip("._"):
        raise Refusal(f"{redacted(url)}: the address names no file; give one that ends in the name of a file")
    while len(name.encode()) > LONGEST_NAME:
        name = name[1:]
    return name.lstrip(".")


def mirrored(url: str, mirrors: str) -> str:
    """The address that is really asked: the longest prefix that matches is replaced.

    Raises
    ------
    ValueError
        An entry of `mirrors` is not `prefix=replacement`.
    """
    pairs = [entry.partition("=") for entry in mirrors.split()]
    for prefix, equals, replacement in pairs:
        if not (prefix and equals and replacement):
            raise ValueError(f"{MIRRORS_VARIABLE}: '{redacted(prefix)}' is not prefix=replacement")
    fitting = [(prefix, replacement) for prefix, _, replacement in pairs if url.startswith(prefix)]
    if not fitting:
        return url
    prefix, replacement = max(fitting, key=lambda pair: len(pair[0]))
    return replacement + url.removeprefix(prefix)


def session(
    settings: FetchSettings,
    headers: Mapping[str, str] | None = None,
    *,
    first: str | None = None,
    is_named: bool = True,
) -> requests.Session:
    """A session that waits out passing status codes and reaches no private host that nobody named.

    Broken connections are the business of `_Transfer`. `first` is the address that it will ask first; `is_named` says
    whether a row or our own code names it, rather than a publisher's answer.
    """
    retry = Retry(
        total=None,
        connect=0,
        read=0,
        other=0,
        redirect=0,
        status=settings.attempts - 1,
        status_forcelist=PASSING_STATUS,
        backoff_factor=settings.backoff_s,
        backoff_max=LONGEST_WAIT_S,
        retry_after_max=LONGEST_WAIT_S,
        raise_on_status=False,
    )
    made = _Session()
    made.max_redirects = MOST_REDIRECTS
    # Compressed on the way, a file has another size and other offsets.
    made.headers.update({"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"})
    made.headers.update(headers or {})
    asked = mirrored(first, os.environ.get(MIRRORS_VARIABLE, "")) if first else None
    guard = Guard(asked if is_named or asked != first else None)
    for scheme in ("http://", "https://"):
        made.mount(scheme, GuardedAdapter(guard, max_retries=retry))
    # Its warnings hold whole addresses, tokens included.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    return made


def ask(
    own: requests.Session,
    method: str,
    url: str,
    *,
    label: str,
    timeout_s: float,
    headers: Mapping[str, str] | None = None,
    body: Any = None,
) -> requests.Response:
    """One answer, its body still to be read; every way in which there is none is one line here.

    Parameters
    ----------
    label
        What is asked for, in words, for messages.
    body
        Sent as JSON.

    Raises
    ------
    Refusal
        The address, or one it redirects to, is malformed, of a host that may not be reached, or leads in circles.
    Unreachable
        Nobody answers.
    """
    try:
        return own.request(
            method, url, headers=headers, json=body, stream=True, timeout=timeout_s, allow_redirects=True
        )
    except Refusal as refusal:
        raise Refusal(f"{label}: {refusal.reason}", measured=refusal.measured, threshold=refusal.threshold) from None
    except requests.TooManyRedirects:
        raise Refusal(
            f"{label}: the server redirects in circles; open the address in a browser to see what it wants",
            measured=MOST_REDIRECTS,
            threshold=MOST_REDIRECTS,
        ) from None
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise Refusal(f"{label}: not an address that can be fetched: {_said(error)}") from None
    except requests.Timeout:
        raise Unreachable(f"{label}: no answer within {timeout_s:g} s") from None
    except requests.RequestException as error:
        raise Unreachable(f"{label}: {_said(error)}") from None
    except (urllib3.exceptions.LocationValueError, ValueError) as error:  # what the libraries let through
        raise Refusal(
            f"{label}: not an address that can be fetched ({type(error).__name__}): correct the address in the row"
        ) from None
    except (urllib3.exceptions.HTTPError, http.client.HTTPException) as error:
        raise Unreachable(f"{label}: no answer that can be understood ({type(error).__name__})") from None


class _Session(requests.Session):
    """A session that sends the login it was given and no other: requests would take one from ~/.netrc instead."""

    def __init__(self) -> None:
        super().__init__()
        self.auth = _as_it_is

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Where an answer sends us: an http address, and from https to no other than https. Its body is not read."""
        try:
            target = super().get_redirect_target(resp)
            if target is None:
                return None
            parts = urlsplit(urljoin(str(resp.url), target))
            is_address = bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_address = False
        resp.close()  # unread, with its connection
        resp._content, resp._content_consumed = b"", True  # type: ignore[attr-defined]
        if not is_address or parts.scheme.lower() not in ("http", "https"):
            raise Refusal(
                "the server redirects to an address that is neither http nor https; give the address of the file itself"
            )
        if str(resp.url).lower().startswith("https:") and parts.scheme.lower() == "http":
            raise Refusal(
                f"the server redirects from https to http ({parts.hostname}), where anyone on the way can change the"
                " file; give an https address, or download it by hand and use the source 'file'"
            )
        return target

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """On the way to another host, take the login off and put none on."""
        if "Authorization" in prepared_request.headers and self.should_strip_auth(
            str(response.request.url), str(prepared_request.url)
        ):
            del prepared_request.headers["Authorization"]


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


class _BrokeOff(Exception):
    """The body ended before its time, or did not fit the bytes at hand."""


class _GaveUp(Unreachable):
    """The server stayed in trouble; there is no use in asking at once again."""


def _is_worth_another_attempt(error: BaseException) -> bool:
    return isinstance(error, (_BrokeOff, Unreachable)) and not isinstance(error, _GaveUp)


class _Transfer:
    """One download: attempts until the partial file is whole, then the checks."""

    def __init__(
        self, session: requests.Session, partial: Partial, settings: FetchSettings, label: str, url: str
    ) -> None:
        self.session = session
        self.partial = partial
        self.settings = settings
        self.label = label
        self.url = mirrored(url, os.environ.get(MIRRORS_VARIABLE, ""))
        self.asked = partial.wanted.checksum
        self.name = partial.target.name
        self.content_type: str | None = None
        self.has_known_end = True
        self.takes_ranges = True

    def run(self) -> None:
        """Bring the partial file to its end and verify it; a wrong one is removed.

        One that may be wrong by the way it came gets a second chance from the first byte on: one made of several
        pieces, or one whose end was only the end of the connection.
        """
        for is_last in (False, True):
            if not self.partial.is_complete:
                self._receive_all()
            try:
                self._verify()
                return
            except Refusal as refusal:
                may_be_the_way = self.partial.is_pieced or not self.has_known_end
                self.partial.discard()
                if is_last or not may_be_the_way:
                    raise
                log.warning("%s; fetching it once more from the start", refusal.reason)

    def _verify(self) -> None:
        check_head(self.label, self.name, self.partial.head, self.content_type)
        check(self.label, self.asked, self.partial.found)
        if not self.asked.has_hash:
            check_whole(self.label, self.partial.path, self.name)

    def _receive_all(self) -> None:
        """Attempt until all bytes are here. Attempts count as long as they bring less than a chunk of new bytes."""
        attempts, in_vain, furthest = 0, 0, self.partial.size

        def gives_up(_: tenacity.RetryCallState) -> bool:
            return in_vain >= self.settings.attempts

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_worth_another_attempt),
            stop=gives_up,
            wait=tenacity.wait_exponential(multiplier=self.settings.backoff_s, max=LONGEST_WAIT_S),
            before_sleep=self._log_attempt,
            reraise=True,
        )
        try:
            for attempt in retrying:
                with attempt:
                    attempts += 1
                    try:
                        self._receive()
                    finally:
                        has_progressed = self.partial.size >= furthest + self.settings.chunk_bytes
                        in_vain = 1 if has_progressed else in_vain + 1
                        furthest = max(furthest, self.partial.size)
        except _BrokeOff:
            raise Refusal(
                f"{self.label}: the download stays incomplete, {self._progress()} after {attempts} attempts; "
                "ask the publisher, or fetch it elsewhere and give its path with the source 'file'",
                measured=self.partial.size,
                threshold=self.partial.version.total,
            ) from None

    def _log_attempt(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning("attempt %s: %s; %s are here, trying again", state.attempt_number, error, self._progress())

    def _progress(self) -> str:
        total = self.partial.version.total
        return f"{self.partial.size:,} of {total:,} bytes" if total is not None else f"{self.partial.size:,} bytes"

    def _receive(self) -> None:
        """One request: from where the bytes at hand end, if that is safe, else from the start."""
        headers: dict[str, str] = {}
        if self.partial.can_resume() and self.takes_ranges:
            headers["Range"] = f"bytes={self.partial.size}-"
            if self.partial.version.validator:
                headers["If-Range"] = self.partial.version.validator
        with self._ask(headers) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable and headers:
                self._settle_unsatisfied_range(response)
                return
            if not headers or response.status_code in TAKES_RANGES:
                self._refuse_other_than_a_file(response)
                self._join(response)
                self._read_body(response)
                return
        # It may be the range that the server stumbles over: what is here must not block, and goes once the whole comes.
        self.takes_ranges = False
        self._receive()

    def _ask(self, headers: dict[str, str]) -> requests.Response:
        return ask(self.session, "GET", self.url, label=self.label, timeout_s=self.settings.timeout_s, headers=headers)

    def _settle_unsatisfied_range(self, response: requests.Response) -> None:
        """416: there is nothing after the bytes at hand, either because they are all or because they are wrong."""
        _, total = content_range(response)
        if (total or self.partial.version.total) == self.partial.size:
            self.partial.learn_total(self.partial.size)
            return
        self.partial.discard()
        raise _BrokeOff("the server has fewer bytes than are here")

    def _refuse_other_than_a_file(self, response: requests.Response) -> None:
        status = response.status_code
        phrase = http.client.responses.get(status, "")
        if status in PASSING_STATUS or status >= 500:
            raise _GaveUp(f"{self.label}: the server answers {status} {phrase}; {self._progress()} are here, run again")
        if status not in (requests.codes.ok, requests.codes.partial_content):
            advice = ADVICE.get(status, "no file came with it: give the address of a direct download")
            raise Refusal(f"{self.label}: {status} {phrase}: {advice}", measured=status, threshold=200)
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        kind = kind_of(self.name)
        if encoding != "identity" and not (kind and kind.title == "a gzip file"):
            raise Refusal(f"{self.label}: sent with the encoding '{encoding}' though asked not to: use another server")
        self.content_type = response.headers.get("Content-Type")

    def _join(self, response: requests.Response) -> None:
        """Place the answer after the bytes at hand, or in their stead."""
        version = version_of(response, self.asked.size)
        if response.status_code == requests.codes.partial_content:
            start, _ = content_range(response)
            if start != self.partial.size or version.total is None or not version.agrees_with(self.partial.version):
                self.partial.discard()
                raise _BrokeOff("the server sent another part, or a part of another version")
            self.partial.continue_with(version)
        else:
            self.partial.restart(version)
        if version.total is not None:
            check(self.label, Checksum(size=self.asked.size), Checksum(size=version.total))
            self._check_space(version.total - self.partial.size)
        self.has_known_end = version.total is not None or response.raw.chunked
        if not self.has_known_end and not self.asked.has_hash:
            raise Refusal(
                f"{self.label}: the server does not tell its size, so that a broken download would look whole; "
                "add 'bytes:<number>' or 'sha256:<hex>' to the checksum of the row"
            )

    def _read_body(self, response: requests.Response) -> None:
        total = self.partial.version.total
        is_small = total is not None and total < BIG_BYTES
        with tqdm(
            total=total,
            initial=self.partial.size,
            desc=self.name,
            unit="B",
            unit_scale=True,
            disable=True if is_small else None,
        ) as bar:
            is_checked, unwatched = False, SPACE_BYTES if total is None else 0
            while data := self._next_bytes(response):
                self._check_bounds(self.partial.size + len(data))
                unwatched += len(data)
                if unwatched >= SPACE_BYTES:
                    self._check_space(len(data) if total is None else total - self.partial.size)
                    unwatched = 0
                self.partial.append(data)
                bar.update(len(data))
                if not is_checked and len(self.partial.head) == HEAD_BYTES:
                    self._check_head_early()
                    is_checked = True
        if total is None:
            self.partial.learn_total(self.partial.size)
        elif self.partial.size < total:
            raise _BrokeOff("the server ended the body early")

    def _check_bounds(self, size: int) -> None:
        """No more than was announced, or asked for; without either, no more than is bearable."""
        total, most = self.partial.version.total, self.settings.unannounced_max_bytes
        if total is not None and size > total:
            self.partial.discard()
            check(self.label, Checksum(size=self.asked.size), Checksum(size=size))
            raise _BrokeOff("the server sent more than it announced")
        if total is None and size > most:
            self.partial.discard()
            raise Refusal(
                f"{self.label}: the server does not tell its size and sent over {most:,} bytes; if the file is as large"
                " as that, add 'bytes:<number>' to the checksum of the row",
                measured=size,
                threshold=most,
            )

    def _check_space(self, needed_bytes: int) -> None:
        """A full disk is a failure, said before it is full."""
        folder, kept_free = self.partial.path.parent, self.settings.free_min_bytes
        free = shutil.disk_usage(folder).free
        if needed_bytes + kept_free > free:
            raise OSError(
                errno.ENOSPC,
                f"{self.label}: {needed_bytes:,} bytes are needed beside {kept_free:,} that stay free, {free:,} are"
                " free: make room, and run again",
                str(folder),
            )

    def _next_bytes(self, response: requests.Response) -> bytes:
        """What has come in, as it comes in: bytes that wait for a full chunk would be lost with the connection."""
        try:
            return response.raw.read1(self.settings.chunk_bytes, decode_content=False) or b""
        except urllib3.exceptions.ReadTimeoutError:
            raise Unreachable(
                f"{self.label}: not a byte for {self.settings.timeout_s:g} s, {self._progress()} are here"
            ) from None
        except urllib3.exceptions.HTTPError:
            raise _BrokeOff("the connection broke off") from None

    def _check_head_early(self) -> None:
        """Do not fetch gigabytes of the wrong thing."""
        try:
            check_head(self.label, self.name, self.partial.head, self.content_type)
        except Refusal:
            was_pieced = self.partial.is_pieced
            self.partial.discard()
            if was_pieced:
                raise _BrokeOff("what was here is the start of another file") from None
            raise


def content_range(response: requests.Response) -> tuple[int | None, int | None]:
    """First byte and total size from `bytes 100-199/200` or `bytes */200` (RFC 9110, 14.4)."""
    match = re.fullmatch(
        r"bytes (?:([0-9]{1,18})-[0-9]{1,18}|\*)/([0-9]{1,18}|\*)", response.headers.get("Content-Range", "").strip()
    )
    if not match:
        return None, None
    start, total = match.groups()
    return int(start) if start else None, int(total) if total != "*" else None


def version_of(response: requests.Response, asked_size: int | None = None) -> Version:
    """What the server says about the file it is sending; where it does not tell the size, the row's counts."""
    headers = response.headers
    if response.status_code == requests.codes.partial_content:
        _, total = content_range(response)
    else:
        length = headers.get("Content-Length", "")
        is_told = re.fullmatch(r"[0-9]{1,18}", length) and not response.raw.chunked
        total = int(length) if is_told else asked_size
    return Version(headers.get("ETag"), headers.get("Last-Modified"), total)


def _said(error: requests.RequestException) -> str:
    """What went wrong, without the address: it may hold a token, and a redirect may have led anywhere."""
    reason: object = error.args[0] if error.args else error
    reason = getattr(reason, "reason", None) or reason
    text = f"{type(reason).__name__}: {reason}" if isinstance(reason, BaseException) else type(error).__name__
    return re.sub(r"//[^/@\s]+@", "//", re.sub(r"\?[^\s'\")]+", "?…", text))
