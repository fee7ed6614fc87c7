"""Whom a download may talk to: a redirect, or an address that a publisher's answer hands out, must not reach
into this machine or its network.

An address is judged by what its host resolves to (which covers names, IPv6 and numbers in any spelling), before the
connection and once more by the peer it was made to. Not public are loopback, link-local, private and reserved
addresses (`ipaddress`, after the registries of IANA), also where an IPv6 address carries them.

Allowed nevertheless is what the user has named: the hosts of `SPOTWEAVE_MIRRORS` and `HF_ENDPOINT`; and where a row's
own address, or its mirror, is a private (loopback, link-local) host, it may be sent on to another of its kind. Behind a
proxy, which connects in our stead, hosts are judged only where they can be resolved here.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from spotweave.errors import Refusal

MIRRORS_VARIABLE = "SPOTWEAVE_MIRRORS"
ENDPOINT_VARIABLE = "HF_ENDPOINT"
PORTS = {"http": 80, "https": 443}
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def kind_of_address(text: str) -> str | None:
    """Why an IP address is not a public one: `loopback`, `link-local`, `private` or `reserved`; None for a public one.

    Parameters
    ----------
    text
        As the system writes addresses; a zone behind `%` is ignored.
    """
    address: Address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if address in NAT64 or (int(address) >> 32 == 0 and int(address) > 1):  # ::a.b.c.d, the old form
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        address = inner or address
    if address.is_loopback or address.is_unspecified:
        return "loopback"
    if address.is_link_local:
        return "link-local"
    if address.is_private:
        return "private"
    return None if address.is_global and not address.is_multicast else "reserved"


class Guard:
    """What one session may reach.

    Parameters
    ----------
    named
        An address that the row or the user names, if the session starts with one.
    """

    def __init__(self, named: str | None = None) -> None:
        mirrors = [entry.partition("=")[2] for entry in os.environ.get(MIRRORS_VARIABLE, "").split()]
        chosen = [*mirrors, os.environ.get(ENDPOINT_VARIABLE, "")]
        self.trusted = {place for place in map(_place, chosen) if place}
        self.kinds: set[str] = set()
        own = _place(named) if named else None
        if own:
            with contextlib.suppress(OSError, UnicodeError):
                self.kinds = {kind for kind in map(kind_of_address, _resolved(*own)) if kind}

    def check_host(self, host: str, port: int) -> None:
        """Refuse a host by what its name resolves to; one that cannot be resolved is the connection's business."""
        with contextlib.suppress(OSError, UnicodeError):
            for address in _resolved(host, port):
                self.check_address(address, host, port)

    def check_address(self, address: str, host: str, port: int) -> None:
        """Refuse an IP address that is not public, unless it is allowed."""
        kind = kind_of_address(address)
        if kind and kind not in self.kinds and (host.strip("[]").lower(), port) not in self.trusted:
            raise Refusal(
                f"the address leads to {host}, a {kind} address of this machine or its network, which the row does not"
                " name: give the address of the file itself, or download it by hand and use the source 'file'",
                measured=kind,
                threshold="public",
            )


class GuardedAdapter(HTTPAdapter):
    """Sends nothing to a host that its guard refuses."""

    def __init__(self, guard: Guard, **options: Any) -> None:
        self.guard = guard
        super().__init__(**options)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Connections look at the peer they were made to: a name may resolve anew in between."""
        super().init_poolmanager(*args, **options)
        guard = self.guard

        def checked(connection: Any, made: socket.socket) -> socket.socket:
            try:
                guard.check_address(made.getpeername()[0], connection.host, connection.port)
            except Refusal:
                made.close()
                raise
            return made

        class HTTPConnection(urllib3.connection.HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return checked(self, super()._new_conn())

        class HTTPSConnection(urllib3.connection.HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return checked(self, super()._new_conn())

        class PlainPool(urllib3.HTTPConnectionPool):
            ConnectionCls = HTTPConnection

        class SecurePool(urllib3.HTTPSConnectionPool):
            ConnectionCls = HTTPSConnection

        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Refused before a packet leaves."""
        place = _place(str(request.url))
        if place:
            self.guard.check_host(*place)
        return super().send(request, *args, **options)


def _place(url: str) -> tuple[str, int] | None:
    """Host and port of an http address; None for another."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or parts.scheme.lower() not in PORTS:
        return None
    return host.lower(), port if port is not None else PORTS[parts.scheme.lower()]


def _resolved(host: str, port: int) -> list[str]:
    """The IP addresses of a host; a numeric one, in any spelling, is its own."""
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
