"""Counters of ingest, for Prometheus. Labels have few values: reasons, kinds we know."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from ingest.decoders.common import KIND_OF_MEASURE

MESSAGES = Counter("qingniao_ingest_messages_total", "Messages taken from the source")
OBSERVATIONS = Counter(
    "qingniao_ingest_observations_total", "Observations written to the log", ["kind"]
)
REJECTIONS = Counter(
    "qingniao_ingest_rejections_total", "Messages or parts that could not be taken", ["reason"]
)
CLOCK_SKEW = Counter(
    "qingniao_ingest_clock_skew_total",
    "Observations whose device time was not believed",
    ["reason"],
)
REPEATS = Counter(
    "qingniao_ingest_repeats_total", "Messages that MQTT marked as repeats and that were known"
)
RECORDS = Counter("qingniao_ingest_records_total", "Records written to the log", ["topic"])
CONNECTS = Counter("qingniao_ingest_connects_total", "Connections to the broker", ["result"])
BACKPRESSURE = Counter(
    "qingniao_ingest_backpressure_total", "Times reading stopped because the queue was full"
)
SESSIONS_LOST = Counter(
    "qingniao_ingest_sessions_lost_total", "Reconnects at which the broker had no session for us"
)
BROKER_DROPPED = Gauge(
    "qingniao_ingest_broker_dropped", "Messages that the broker says it dropped, all clients"
)
UNACKNOWLEDGED = Gauge(
    "qingniao_ingest_unacknowledged", "Messages taken and not yet acknowledged to the broker"
)
CONNECTORS = Gauge("qingniao_ingest_connectors", "Connectors found at the start", ["state"])
LAG = Gauge("qingniao_ingest_lag_seconds", "City time from receipt to the log, newest batch")

_KINDS = frozenset(KIND_OF_MEASURE.values()) | {
    "aircraft",
    "dock",
    "detection.static_object",
    "detection.moving_count",
    "report",
    "senml",
}


def kind_label(kind: str) -> str:
    """A kind as a metric label; those that devices make up are one."""
    return kind if kind in _KINDS else "other"
