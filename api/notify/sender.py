"""Calls a receiver over HTTP, and nothing else than the receiver.

The address is looked up once, checked, and that very address is connected to, so that a name
cannot point elsewhere between check and use. No proxy, no cookie, no redirect is followed;
time and bytes are bounded both ways.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import httpcore

from core.errors import InputError, ServiceError

#: Largest body sent; CloudEvents asks receivers to take 64 KiB.
MAX_BODY_BYTES = 256 * 1024

#: What is read of an answer; the rest is not waited for.
MAX_ANSWER_BYTES = 2048

#: Longest wait that a receiver can ask for, in seconds.
MAX_RETRY_AFTER_S = 3600.0

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Answer(NamedTuple):
    """What a receiver answered."""

    status: int
    text: str
    retry_after_s: float

    @property
    def taken(self) -> bool:
        """Whether it took the event."""
        return 200 <= self.status < 300


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks such as ``10.0.0.0/8``.

    Raises:
        InputError: One is none.
    """
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError as exc:
            raise InputError(
                f"notify.allow_networks: a network such as 10.0.0.0/8 was wanted, got {text!r}"
            ) from exc
    return tuple(found)


def may_call(address: Address, *, secure: bool, allowed: Sequence[Network]) -> bool:
    """Whether an address may be called: public ones over TLS, loopback, and what is allowed.

    Args:
        address: Where the name leads.
        secure: Whether over TLS.
        allowed: Networks that the settings name, such as the city's own (政务外网).

    Example:
        >>> at = ipaddress.ip_address
        >>> [may_call(at(one), secure=True, allowed=()) for one in ("1.1.1.1", "10.0.0.1")]
        [True, False]
        >>> may_call(at("1.1.1.1"), secure=False, allowed=())
        False
        >>> may_call(at("10.0.0.1"), secure=False, allowed=parse_networks(["10.0.0.0/8"]))
        True
        >>> may_call(at("::ffff:169.254.169.254"), secure=True, allowed=())
        False
    """
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback or any(address in network for network in allowed):
        return True
    return secure and address.is_global and not address.is_multicast


class _CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects only where it may."""

    def __init__(self, secure: bool, allowed: Sequence[Network]) -> None:
        self._secure = secure
        self._allowed = allowed
        self._real = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (httpcore's own)
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            raise httpcore.ConnectError(f"{host}: {exc}") from exc
        addresses = [str(one[4][0]) for one in found]
        for one in addresses:
            # All of them: which is taken must not depend on their order.
            if not may_call(ipaddress.ip_address(one), secure=self._secure, allowed=self._allowed):
                raise httpcore.ConnectError(
                    f"{host} leads to {one}, which may not be called"
                    f"{'' if self._secure else ' without TLS'}; see notify.allow_networks"
                )
        for one in addresses[:-1]:
            with contextlib.suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await self._real.connect_tcp(
                    one, port, timeout, local_address, socket_options
                )
        return await self._real.connect_tcp(
            addresses[-1], port, timeout, local_address, socket_options
        )


class Sender:
    """Connections to one receiver; close it at the end.

    Args:
        url: Where to.
        timeout_s: For the whole of a request.
        concurrency: Most requests at once.
        allowed: Networks that may be called though they are private.
        tls: The certificates that are trusted; the system's where it is None.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float,
        concurrency: int,
        allowed: Sequence[Network],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls or ssl.create_default_context(),
            max_connections=concurrency,
            max_keepalive_connections=concurrency,
            keepalive_expiry=30.0,
            network_backend=_CheckedNetwork(urlsplit(url).scheme == "https", allowed),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.aclose()

    async def post(self, headers: dict[str, str], body: bytes) -> Answer:
        """Send one event.

        Raises:
            ServiceError: It could not be sent, or no answer came in time.
        """
        if len(body) > MAX_BODY_BYTES:
            raise ServiceError(f"{len(body)} bytes, at most {MAX_BODY_BYTES} are sent")
        given = {**headers, "user-agent": "qingniao", "content-length": str(len(body))}
        host = urlsplit(self._url).netloc
        wire = [("host", host), *given.items()]
        try:
            async with asyncio.timeout(self._timeout_s):
                async with self._pool.stream(
                    "POST",
                    self._url,
                    headers=[(name.encode(), value.encode()) for name, value in wire],
                    content=body,
                ) as response:
                    return Answer(
                        response.status,
                        await _beginning(response),
                        _retry_after_s(response.headers),
                    )
        except TimeoutError as exc:
            raise ServiceError(f"no answer within {self._timeout_s:g} s") from exc
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as exc:
            raise ServiceError(str(exc) or type(exc).__name__) from exc
        except (OSError, ssl.SSLError) as exc:
            raise ServiceError(str(exc)) from exc


async def _beginning(response: httpcore.Response) -> str:
    taken = b""
    async for chunk in response.aiter_stream():
        taken += chunk
        if len(taken) >= MAX_ANSWER_BYTES:
            break
    return taken[:MAX_ANSWER_BYTES].decode("utf-8", "replace")


def _retry_after_s(headers: Sequence[tuple[bytes, bytes]]) -> float:
    """The wait that an answer asks for in seconds; 0 where it names none or a date."""
    for name, value in headers:
        if name.lower() == b"retry-after" and value.isdigit():
            return min(float(value), MAX_RETRY_AFTER_S)
    return 0.0
