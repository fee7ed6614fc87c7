"""An HTTP server on 127.0.0.1 that misbehaves on cue, and counts what it sends.

    with FaultServer() as server:
        url = server.put("counts.tsv.gz", content, drops_at(0.3, 0.6))

A behaviour is a function of one `Exchange`; it is called for each request to its path.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

PIECE_BYTES = 1 << 14


class Exchange:
    """One request and the means to answer it. `number` counts the requests to this path from 0."""

    def __init__(self, handler: _Handler, content: bytes, number: int) -> None:
        self.handler = handler
        self.content = content
        self.number = number

    def header(self, name: str) -> str | None:
        """A header of the request."""
        return self.handler.headers.get(name)

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer with a status, headers (`Content_Type` for `Content-Type`) and a short body."""
        self._head(status, {"Content-Length": str(len(body)), **headers})
        self._send(body)

    def serve(
        self,
        content: bytes | None = None,
        *,
        stop_at: int | None = None,
        ranges: bool = True,
        etag: str | None = '"first"',
        obeys_if_range: bool = True,
        content_range: str | None = None,
        length: int | None = None,
        chunked: bool = False,
        pause_at: tuple[int, Callable[[], None]] | None = None,
        **headers: str,
    ) -> None:
        """Send the file, or the part asked for.

        Parameters
        ----------
        content
            Another content than the one put on this path.
        stop_at
            Close the connection once the byte at this offset of the file is reached.
        ranges, etag, obeys_if_range
            Whether the server knows ranges; its version of the file; whether it compares `If-Range` with it.
        content_range, length
            Lies for `Content-Range` and `Content-Length`.
        chunked
            Send in chunks, without a length.
        pause_at
            Call a function at this offset of the file, before going on.
        """
        content = self.content if content is None else content
        if etag:
            headers["ETag"] = etag
        start, end = self._range(len(content)) if ranges else (None, len(content))
        if start is not None and obeys_if_range and self.header("If-Range") not in (None, etag):
            start, end = None, len(content)
        if start is not None and start >= len(content):
            self.reply(416, Content_Range=f"bytes */{len(content)}")
            return
        if start is not None:
            headers["Content-Range"] = content_range or f"bytes {start}-{end - 1}/{len(content)}"
        first = start or 0
        if chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif length != 0:
            headers["Content-Length"] = str(end - first if length is None else length)
        else:
            self.handler.close_connection = True
        self._head(200 if start is None else 206, headers)
        if pause_at:
            self._send(content[first : pause_at[0]], chunked)
            pause_at[1]()
            first = max(first, pause_at[0])
        self._send(content[first : end if stop_at is None else min(end, stop_at)], chunked)
        if stop_at is not None and stop_at < len(content):
            self.drop()
        elif chunked:
            self.handler.wfile.write(b"0\r\n\r\n")

    def drop(self) -> None:
        """Close the connection now; what was sent arrives."""
        self.handler.close_connection = True

    def _range(self, size: int) -> tuple[int | None, int]:
        """Start of the part asked for, None for the whole file, and where it ends."""
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.header("Range") or "")
        if not match:
            return None, size
        return int(match[1]), min(int(match[2]) + 1, size) if match[2] else size

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.handler.server.statuses.setdefault(self.handler.path, []).append(status)
        self.handler.send_response(status)
        for name, value in headers.items():
            self.handler.send_header(name.replace("_", "-"), value)
        self.handler.end_headers()

    def _send(self, body: bytes, chunked: bool = False) -> None:
        for start in range(0, len(body), PIECE_BYTES):
            piece = body[start : start + PIECE_BYTES]
            framed = b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece
            # Counted first: a client that has the last piece may look at the count before this thread goes on.
            self.handler.server.count(self.handler.path, len(piece))
            try:
                self.handler.wfile.write(framed)
            except OSError:
                self.handler.server.count(self.handler.path, -len(piece))
                raise


Behaviour = Callable[[Exchange], None]


def fine(exchange: Exchange) -> None:
    """Send the file, or the part asked for."""
    exchange.serve()


def drops_at(*fractions: float, **options) -> Behaviour:
    """Close the connection at these fractions of the file, one a request; then behave."""

    def behave(exchange: Exchange) -> None:
        left = fractions[exchange.number :]
        exchange.serve(stop_at=int(left[0] * len(exchange.content)) if left else None, **options)

    return behave


def always_drops_at(fraction: float, **options) -> Behaviour:
    """Never get beyond this fraction of the file."""

    def behave(exchange: Exchange) -> None:
        exchange.serve(stop_at=int(fraction * len(exchange.content)), **options)

    return behave


def answers(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    """Always the same short answer."""
    return lambda exchange: exchange.reply(status, body, **headers)


def first(*behaviours: Behaviour, then: Behaviour = fine) -> Behaviour:
    """These, one a request, and another one ever after."""

    def behave(exchange: Exchange) -> None:
        (behaviours[exchange.number] if exchange.number < len(behaviours) else then)(exchange)

    return behave


class FaultServer:
    """The server; a context manager."""

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def address(self) -> str:
        """`http://127.0.0.1:<port>`."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def put(self, name: str, content: bytes, behaviour: Behaviour = fine) -> str:
        """Put a file on a path; returns its URL."""
        self._server.files[f"/{name}"] = (content, behaviour)
        return f"{self.address}/{name}"

    def statuses(self, name: str) -> list[int]:
        """Status codes that were answered on a path, in order."""
        return self._server.statuses.get(f"/{name}", [])

    def requests(self, name: str) -> list[dict[str, str]]:
        """Headers of the requests to a path, in order."""
        return self._server.seen.get(f"/{name}", [])

    def bytes_sent(self, name: str) -> int:
        """Body bytes that were sent on a path, all requests together."""
        return self._server.sent.get(f"/{name}", 0)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.files: dict[str, tuple[bytes, Behaviour]] = {}
        self.seen: dict[str, list[dict[str, str]]] = {}
        self.statuses: dict[str, list[int]] = {}
        self.sent: dict[str, int] = {}
        self._lock = threading.Lock()

    def count(self, path: str, size: int) -> None:
        with self._lock:
            self.sent[path] = self.sent.get(path, 0) + size

    def note(self, path: str, headers: dict[str, str]) -> int:
        with self._lock:
            seen = self.seen.setdefault(path, [])
            seen.append(headers)
            return len(seen) - 1

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has gone is part of the play."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        number = self.server.note(path, dict(self.headers))
        self.path = path
        if path not in self.server.files:
            Exchange(self, b"", number).reply(404)
            return
        content, behaviour = self.server.files[path]
        behaviour(Exchange(self, content, number))

    def log_message(self, *_: object) -> None:
        """Silent."""
