"""Connections to public addresses, and to no others.

A name is resolved once, every address that it has is checked, and the connection goes to a checked address, never to
the name: what a name server says the next time doesn't matter.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

import httpcore2

from .errors import RequestError

_GLOBAL = ip_network("2000::/3")  # of IPv6; the rest is local, or has an IPv4 address inside
_SPECIAL = tuple(  # what Python's versions don't agree on, and IPv6 that leads to IPv4 of any kind
    map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
)
# Not the event loop's own threads: a slow name server would hold up whatever else waits for one.
_resolvers = ThreadPoolExecutor(8, "resolver")


def is_public(address: str) -> bool:
    """Return whether an address, of IPv4 or IPv6, is one of the Internet: not private, loopback, link-local, multicast,
    reserved or unspecified, nor one that carries another address inside."""
    ip = ip_address(address)
    if isinstance(ip, IPv6Address) and ip not in _GLOBAL:
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or any(ip in network for network in _SPECIAL))


class CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to public addresses; `private`: to any. No proxies, and nothing of the environment, take part.

    Raises RequestError, 403 `address_not_allowed`, where one of a name's addresses is refused.
    """

    def __init__(self, private: bool) -> None:
        self._private = private
        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first of the addresses that answers. timeout: seconds for each of them."""
        try:
            async with asyncio.timeout(timeout):
                addresses = await asyncio.get_running_loop().run_in_executor(_resolvers, _resolve, host, port)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout("the name server doesn't answer") from error
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError("the name is not known") from error
        if not self._private and not all(map(is_public, addresses)):
            raise RequestError(
                "video: found an address that is not public; expected one on the Internet. Upload the video instead.",
                status=403,
                code="address_not_allowed",
                param="video",
            )
        failure: Exception = httpcore2.ConnectError("the name has no address")
        for address in addresses:
            try:
                return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure


def _resolve(host: str, port: int) -> list[str]:
    """Return each address of a host once, in the system's order."""
    places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[0]) for *_, place in places))
