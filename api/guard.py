"""What every request meets before a route: size limit, security headers, token, rate."""

from __future__ import annotations

import hmac
import math
import time
from collections import OrderedDict
from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import TooLargeError, TooManyError, UnauthorizedError, error_response

#: Largest body accepted; 10,000 points of a tagging request are about 400 kB.
MAX_BODY_BYTES = 1024 * 1024

#: MapLibre makes its workers and some pictures from blobs.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "child-src blob:",
        "style-src 'self' 'unsafe-inline'",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)

_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})

_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=(self)"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Guard:
    """ASGI middleware: refuses large bodies before they are read, adds security headers.

    Args:
        app: What it guards.
        max_body_bytes: Largest body accepted.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        declared = dict(scope["headers"]).get(b"content-length", b"")
        if declared.isdigit() and int(declared[:20]) > self._max_body_bytes:
            error = self._too_large(declared[:20].decode())
            await error_response(error, scope["path"])(scope, receive, with_headers)
            return
        if not declared and scope["method"] in _WITH_BODY:
            # No length was declared: take it in here, so that a route is never cut off midway.
            body = await self._take_in(receive)
            if body is None:
                error = self._too_large(f"more than {self._max_body_bytes}")
                await error_response(error, scope["path"])(scope, receive, with_headers)
                return
            receive = _replay(body, receive)
        await self._app(scope, receive, with_headers)

    async def _take_in(self, receive: Receive) -> bytes | None:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            part = message.get("body", b"")
            size += len(part)
            if size > self._max_body_bytes:
                return None
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

    def _too_large(self, got: str) -> TooLargeError:
        return TooLargeError(f"body: at most {self._max_body_bytes} bytes are accepted, got {got}")


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed


def check_token(authorization: str | None, token: str) -> None:
    """Refuse a request without the right bearer token; takes the same time for every wrong one.

    Raises:
        UnauthorizedError: There is none, or another.

    Example:
        >>> check_token("Bearer secret", "secret")
        >>> check_token(None, "secret")
        Traceback (most recent call last):
        ...
        api.errors.UnauthorizedError: header Authorization: `Bearer <token>` was wanted, got none
    """
    if authorization is None:
        raise UnauthorizedError("header Authorization: `Bearer <token>` was wanted, got none")
    scheme, _, given = authorization.partition(" ")
    right = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode())
    if scheme.lower() != "bearer" or not token or not right:
        raise UnauthorizedError(
            "header Authorization: `Bearer <token>` was wanted, got another scheme or token; "
            "the token is printed when the platform starts, or set as QINGNIAO_API__TOKEN"
        )


class RateLimit:
    """A token bucket per client.

    Memory: at most ``max_clients`` buckets; beyond it the one idle longest is forgotten, which
    is as if that client had waited.

    Args:
        per_s: Requests a second that are accepted in the long run.
        burst: Requests that are accepted at once.
        max_clients: Most buckets.
    """

    def __init__(self, per_s: float, burst: int, max_clients: int = 4096) -> None:
        self._per_s = per_s
        self._burst = burst
        self._max_clients = max_clients
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, now_s: float | None = None) -> None:
        """Count a request.

        Args:
            client: Whose.
            now_s: Monotonic seconds; the machine's unless given.

        Raises:
            TooManyError: The client's bucket is empty; says when to come back.

        Example:
            >>> limit = RateLimit(per_s=1.0, burst=1)
            >>> limit.take("a", 0.0)
            >>> limit.take("a", 0.5)
            Traceback (most recent call last):
            ...
            api.errors.TooManyError: at most 1 requests a second are accepted; try again in 1 s
        """
        now_s = time.monotonic() if now_s is None else now_s
        left, then_s = self._buckets.get(client, (float(self._burst), now_s))
        left = min(float(self._burst), left + (now_s - then_s) * self._per_s)
        allowed = left >= 1.0
        self._buckets[client] = (left - 1.0 if allowed else left, now_s)
        self._buckets.move_to_end(client)
        if len(self._buckets) > self._max_clients:
            self._buckets.popitem(last=False)
        if not allowed:
            wait_s = math.ceil((1.0 - left) / self._per_s)
            raise TooManyError(
                f"at most {self._per_s:g} requests a second are accepted; try again in {wait_s} s",
                retry_after_s=wait_s,
            )


def client_of(scope: MutableMapping[str, Any]) -> str:
    """The address a request comes from."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"
