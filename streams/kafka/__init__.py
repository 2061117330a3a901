"""The Kafka transport of Faust, with safe commits."""

from __future__ import annotations

__all__ = ["register"]


def register() -> None:
    """Make Faust use our driver for ``kafka://``. Call before the app is built; repeatable."""
    from faust.transport.drivers import TRANSPORTS

    TRANSPORTS.aliases["kafka"] = "streams.kafka.driver:Transport"
