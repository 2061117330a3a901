"""The embedded Faust transport: topics on a durable local log, with no server."""

from __future__ import annotations

from streams.embedded.log import EmbeddedLog, LogOptions, read_topic

__all__ = ["EmbeddedLog", "LogOptions", "read_topic", "register"]


def register() -> None:
    """Make Faust know ``embedded://`` broker URLs. Call before the app is built; repeatable."""
    from faust.transport.drivers import TRANSPORTS

    TRANSPORTS.aliases["embedded"] = "streams.embedded.driver:Transport"
