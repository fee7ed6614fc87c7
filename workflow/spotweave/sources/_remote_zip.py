"""Single members of a zip on a web server, by ranges: a cell table of 50 MB without the bundle of 50 GB around it.

A zip ends with its table of contents, and every member has its offset and CRC there: `zipfile` reads it from a file
object that fetches the blocks it is asked for. Every block must come from the same version of the file.
"""

from __future__ import annotations

import io
import logging
import os
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import requests
import tenacity
import urllib3.exceptions

from spotweave.errors import Refusal
from spotweave.sources import FetchSettings, Unreachable
from spotweave.sources.https import MIRRORS_VARIABLE, mirrored, redacted, session

log = logging.getLogger("spotweave")

# The table of contents takes small requests; a member that is read on is asked for in ever larger ones.
FIRST_BYTES = 256 << 10
MOST_BYTES = 32 << 20


class NoRanges(Exception):
    """The server hands out whole files only."""


class RemoteFile(io.RawIOBase):
    """A file on a web server, read by ranges (RFC 9110, section 14); to be wrapped in `io.BufferedReader`.

    Parameters
    ----------
    url, headers
        Where it is, and what is sent besides the usual headers.
    settings
        How patiently it is asked.

    Raises
    ------
    NoRanges
        The server ignores ranges.
    Unreachable
        It cannot be had now.
    """

    def __init__(self, url: str, settings: FetchSettings, headers: Mapping[str, str] | None = None) -> None:
        self.url = mirrored(url, os.environ.get(MIRRORS_VARIABLE, ""))
        self.settings = settings
        self.session = session(settings, headers)
        self.position = 0
        self.validator: str | None = None
        self.size = 0
        self.size = self._size()
        self._start = 0
        self._window = b""

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
            self._window = self._block(self.position, min(length, self.size - self.position))
            self._start = self.position
        offset = self.position - self._start
        data = self._window[offset : offset + len(buffer)]
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)

    def close(self) -> None:
        self.session.close()
        super().close()

    def _size(self) -> int:
        with self._ask(0, 1) as answer:
            return self._total(answer)

    def _block(self, start: int, length: int) -> bytes:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Unreachable),
            stop=tenacity.stop_after_attempt(self.settings.attempts),
            wait=tenacity.wait_exponential(multiplier=self.settings.backoff_s, max=600),
            reraise=True,
        )
        for attempt in retrying:
            with attempt:
                return self._try_block(start, length)
        raise AssertionError("tenacity returns or raises")

    def _try_block(self, start: int, length: int) -> bytes:
        with self._ask(start, length) as answer:
            if self._total(answer) != self.size:
                raise Refusal(f"{redacted(self.url)}: the file changed while it was read; run again")
            try:
                data = bytes(answer.raw.read(length))
            except (OSError, requests.RequestException, urllib3.exceptions.HTTPError) as error:
                raise Unreachable(f"{redacted(self.url)}: broke off ({type(error).__name__})") from None
        if len(data) != length:
            raise Unreachable(f"{redacted(self.url)}: {len(data):,} of {length:,} bytes came")
        return data

    def _ask(self, start: int, length: int) -> requests.Response:
        headers = {"Range": f"bytes={start}-{start + length - 1}"}
        if self.validator:
            headers["If-Range"] = self.validator
        try:
            answer = self.session.get(self.url, headers=headers, stream=True, timeout=self.settings.timeout_s)
        except requests.RequestException as error:
            raise Unreachable(f"{redacted(self.url)}: cannot be reached ({type(error).__name__})") from None
        if answer.status_code == requests.codes.partial_content:
            etag = answer.headers.get("ETag", "")
            self.validator = self.validator or (etag if etag and not etag.startswith("W/") else None)
            return answer
        answer.close()
        if answer.status_code == requests.codes.ok:
            if self.size:
                raise Refusal(f"{redacted(self.url)}: the file changed while it was read; run again")
            raise NoRanges(redacted(self.url))
        if answer.status_code in (401, 403, 404, 410):
            raise Refusal(
                f"{redacted(self.url)}: {answer.status_code}, there is no such file, or access is denied",
                measured=answer.status_code,
                threshold=206,
            )
        raise Unreachable(f"{redacted(self.url)}: the server answers {answer.status_code}; run again later")

    def _total(self, answer: requests.Response) -> int:
        total = re.fullmatch(r"bytes \d+-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        if not total:
            raise NoRanges(redacted(self.url))
        return int(total[1])


def open_zip(url: str, settings: FetchSettings, headers: Mapping[str, str] | None = None) -> zipfile.ZipFile:
    """The zip at an address; its members are fetched as they are read.

    Raises
    ------
    NoRanges
        The server hands out whole files only.
    Refusal
        It is no zip, or a hostile one (`archives.check_zip`).
    """
    from spotweave.archives import check_zip, check_zip_end

    remote = RemoteFile(url, settings, headers)
    buffered = io.BufferedReader(remote, FIRST_BYTES)
    label = redacted(url)
    check_zip_end(buffered, label)
    try:
        archive = zipfile.ZipFile(buffered)
    except zipfile.BadZipFile as error:
        raise Refusal(f"{label}: no zip archive, or a damaged one ({error})") from error
    check_zip(archive, remote.size, label)
    return archive
