"""Single members of a zip on a web server, by ranges: a cell table of 50 MB without the bundle of 50 GB around it.

A zip ends with its table of contents, and every member has its offset and CRC there: `zipfile` reads it from a file
object that fetches the blocks it is asked for. Every block must come from the same version of the file.
"""

from __future__ import annotations

import bisect
import io
import logging
import os
import zipfile
from collections.abc import Mapping
from typing import Any

import requests
import tenacity
import urllib3.exceptions

from spotweave.errors import Refusal
from spotweave.transfer.disk import Version
from spotweave.transfer.files import FetchSettings, Unreachable
from spotweave.transfer.http import (
    ADVICE,
    LONGEST_WAIT_S,
    MIRRORS_VARIABLE,
    ask,
    content_range,
    mirrored,
    redacted,
    session,
    version_of,
)

log = logging.getLogger("spotweave")

# The table of contents takes small requests; a member that is read on is asked for in ever larger ones.
FIRST_BYTES = 256 << 10
MOST_BYTES = 32 << 20


class NoRanges(Exception):
    """The server hands out whole files only."""


class _BrokeOff(Unreachable):
    """A block that did not come, or not whole: worth another attempt at once."""


class RemoteFile(io.RawIOBase):
    """A file on a web server, read by ranges (RFC 9110, section 14); to be wrapped in `io.BufferedReader`.

    At most two blocks of `MOST_BYTES` are held. No block of what is read on reaches beyond the next of `stops`.

    Parameters
    ----------
    url, headers
        Where it is, and what is sent besides the usual headers.
    settings
        How patiently it is asked.
    label
        How messages name it; without it, by its address.
    is_named
        Whether the address is a row's own.

    Raises
    ------
    NoRanges
        The server ignores ranges.
    Refusal
        It is gone (401, 403, 404, 410), or empty.
    Unreachable
        It cannot be had now, or changed while it was read.
    """

    def __init__(
        self,
        url: str,
        settings: FetchSettings,
        headers: Mapping[str, str] | None = None,
        label: str | None = None,
        *,
        is_named: bool = True,
    ) -> None:
        self.url = mirrored(url, os.environ.get(MIRRORS_VARIABLE, ""))
        self.label = label or redacted(url)
        self.settings = settings
        self.session = session(settings, headers, first=url, is_named=is_named)
        self.position = 0
        self.version = Version()
        self.size = 0
        self.stops: list[int] = []
        self._start = 0
        self._window = b""
        self._block(0, 1)
        self.size = self.version.total or 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        return self.position

    def readinto(self, buffer: Any) -> int:
        if self.position >= self.size:
            return 0
        end = self._start + len(self._window)
        if not self._start <= self.position < end:
            is_read_on = self.position == end and len(self._window) > 0
            length = min(2 * len(self._window), MOST_BYTES) if is_read_on else FIRST_BYTES
            self._window = self._block(self.position, min(length, self._stop() - self.position))
            self._start = self.position
        offset = self.position - self._start
        data = self._window[offset : offset + len(buffer)]
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)

    def close(self) -> None:
        self.session.close()
        super().close()

    def _stop(self) -> int:
        """Where the member that is being read ends."""
        after = bisect.bisect_right(self.stops, self.position)
        return self.stops[after] if after < len(self.stops) else self.size

    def _block(self, start: int, length: int) -> bytes:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_BrokeOff),
            stop=tenacity.stop_after_attempt(self.settings.attempts),
            wait=tenacity.wait_exponential(multiplier=self.settings.backoff_s, max=LONGEST_WAIT_S),
            reraise=True,
        )
        for attempt in retrying:
            with attempt:
                return self._try_block(start, length)
        raise AssertionError("tenacity returns or raises")

    def _try_block(self, start: int, length: int) -> bytes:
        with self._ask(start, length) as answer:
            self._refuse_other_than_the_block(answer, start)
            try:
                data = bytes(answer.raw.read(length, decode_content=False))
            except (OSError, requests.RequestException, urllib3.exceptions.HTTPError) as error:
                raise _BrokeOff(f"{self.label}: broke off ({type(error).__name__})") from None
        if len(data) != length:
            raise _BrokeOff(f"{self.label}: {len(data):,} of {length:,} bytes came")
        return data

    def _ask(self, start: int, length: int) -> requests.Response:
        headers = {"Range": f"bytes={start}-{start + length - 1}"}
        if self.version.validator:
            headers["If-Range"] = self.version.validator
        try:
            return ask(
                self.session, "GET", self.url, label=self.label, timeout_s=self.settings.timeout_s, headers=headers
            )
        except Unreachable as error:
            raise _BrokeOff(f"{error}: cannot be reached") from None

    def _refuse_other_than_the_block(self, answer: requests.Response, start: int) -> None:
        status = answer.status_code
        if status == requests.codes.partial_content:
            self._refuse_another_version(answer, start)
        elif status == requests.codes.ok and not self.size:
            raise NoRanges(self.label)
        elif status in (requests.codes.ok, requests.codes.requested_range_not_satisfiable) and self.size:
            raise Unreachable(f"{self.label}: the file changed while it was read; run again")
        elif status == requests.codes.requested_range_not_satisfiable:
            raise Refusal(
                f"{self.label}: the file is empty; replace it, or correct its address in the row",
                measured=0,
                threshold=1,
            )
        elif status in ADVICE and not self.size:
            raise Refusal(f"{self.label}: {status}: {ADVICE[status]}", measured=status, threshold=206)
        else:  # an address that was good a moment ago may have run out
            raise Unreachable(f"{self.label}: the server answers {status}; run again later")

    def _refuse_another_version(self, answer: requests.Response, start: int) -> None:
        first, total = content_range(answer)
        if total is None or first is None:
            raise NoRanges(self.label)
        if first != start:
            raise _BrokeOff(f"{self.label}: the server sent another part than it was asked for")
        version = version_of(answer)
        if not version.agrees_with(self.version):
            raise Unreachable(f"{self.label}: the file changed while it was read; run again")
        if not self.size:
            self.version = version


def open_zip(
    url: str,
    settings: FetchSettings,
    headers: Mapping[str, str] | None = None,
    label: str | None = None,
    *,
    is_named: bool = True,
) -> zipfile.ZipFile:
    """The zip at an address, which may be a row's own; its members are fetched as they are read.

    Raises
    ------
    NoRanges
        The server hands out whole files only.
    Refusal
        It is no zip, or a hostile one (`archives.check_zip`).
    Unreachable
        It cannot be had now, or changed while it was read.
    """
    from spotweave.deposits.archives import read_zip_table

    remote = RemoteFile(url, settings, headers, label, is_named=is_named)
    buffered = io.BufferedReader(remote, FIRST_BYTES)
    archive = read_zip_table(buffered, remote.size, remote.label)
    remote.stops = sorted({*(info.header_offset for info in archive.infolist()), archive.start_dir})
    return archive
