"""Frigate, the camera recorder (topics ``frigate/…``, JSON).

``frigate/events`` gives ``detection.camera_object`` under ``frigate/{camera}/{event id}``,
``frigate/reviews`` ``detection.camera_review``, ``frigate/tracked_object_update``
``detection.camera_object_update``, ``frigate/triggers`` ``detection.camera_trigger``,
``frigate/available`` ``device_state``.

Names of persons and licence plates that Frigate recognizes are not taken over: the city's
tasks do not need them, and our own pictures are blurred for the same reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from core.errors import DecodeError
from core.observations import Observation
from core.ports import RawMessage
from core.units import NS_PER_S
from ingest.decoders.common import (
    MAX_INSTANT_NS,
    MAX_LABEL_CHARS,
    check_size,
    checked,
    decode_json,
    is_past,
)

SOURCE = "frigate"

Number = int | float

#: Labels of things a sub-label names; that of a person is a name.
_NAMELESS = frozenset({"person", "face"})


class _Object(msgspec.Struct):
    """The fields of a tracked object that we read."""

    id: str
    camera: str
    label: str = ""
    sub_label: Any = None
    frame_time: Number | None = None
    start_time: Number | None = None
    end_time: Number | None = None
    score: Number | None = None
    top_score: Number | None = None
    false_positive: bool | None = False
    box: list[Number] | None = None
    area: Number | None = None
    current_zones: list[str] | None = None
    entered_zones: list[str] | None = None
    has_snapshot: bool | None = False
    has_clip: bool | None = False
    active: bool | None = None
    stationary: bool | None = None
    position_changes: Number | None = None
    velocity_angle: Number | None = None
    attributes: Any = None


class _Change(msgspec.Struct):
    type: str
    after: _Object


class _ReviewData(msgspec.Struct):
    detections: list[str] = []
    objects: list[str] = []
    zones: list[str] = []
    audio: list[str] = []


class _Review(msgspec.Struct):
    id: str
    camera: str
    start_time: Number | None = None
    end_time: Number | None = None
    severity: str = ""
    data: _ReviewData = msgspec.field(default_factory=_ReviewData)


class _ReviewChange(msgspec.Struct):
    type: str
    after: _Review


class _Update(msgspec.Struct):
    type: str
    id: str
    camera: str | None = None
    timestamp: Number | None = None
    score: Number | None = None
    model: str | None = None
    sub_label: str | None = None
    attribute: str | None = None
    description: str | None = None


class _Trigger(msgspec.Struct):
    name: str
    camera: str
    event_id: str
    type: str = ""
    score: Number | None = None


_CHANGE = msgspec.json.Decoder(_Change)
_REVIEW = msgspec.json.Decoder(_ReviewChange)
_UPDATE = msgspec.json.Decoder(_Update)
_TRIGGER = msgspec.json.Decoder(_Trigger)
_PHASES = frozenset({"new", "update", "end", "genai"})


def _instant(seconds: Number | None, topic: str) -> int | None:
    """Unix seconds as nanoseconds; a float64 of them is good to a quarter of a microsecond."""
    if seconds is None:
        return None
    instant = round(float(seconds) * 1e6) * 1000
    if not 0 < instant < MAX_INSTANT_NS:
        raise DecodeError("bad_time", f"Unix seconds wanted, got {seconds} on {topic}")
    return instant


def _observe(
    message: RawMessage,
    thing_id: str,
    kind: str,
    *,
    observed_ns: int | None,
    measures: Mapping[str, Number | bool | None],
    labels: Mapping[str, str | None],
) -> Observation:
    if observed_ns is not None and is_past(observed_ns, message.received_ns):
        kind, measures = f"{kind}.history", {**measures, "measured_unix_s": observed_ns / NS_PER_S}
    return checked(
        Observation(
            source=SOURCE,
            thing_id=thing_id,
            kind=kind,
            observed_ns=message.received_ns if observed_ns is None else observed_ns,
            received_ns=message.received_ns,
            has_device_time=observed_ns is not None,
            repeated=message.duplicate,
            measures={k: float(v) for k, v in measures.items() if v is not None},
            labels={k: v.replace("\x00", "")[:MAX_LABEL_CHARS] for k, v in labels.items() if v},
            topic=message.topic,
        )
    )


def _decode_event(message: RawMessage) -> list[Observation]:
    change = decode_json(message, _CHANGE)
    if change.type not in _PHASES:
        raise DecodeError(
            "unknown_method", f"type new, update or end wanted, got {change.type[:64]!r}"
        )
    one = change.after
    ended = change.type == "end" or one.end_time is not None
    now = one.end_time if ended and one.end_time is not None else one.frame_time
    seen_s = None
    if now is not None and one.start_time is not None:
        seen_s = max(0.0, float(now) - float(one.start_time))
    box = one.box if one.box is not None and len(one.box) == 4 else [None] * 4
    return [
        _observe(
            message,
            f"frigate/{one.camera}/{one.id}",
            "detection.camera_object",
            observed_ns=_instant(now if now is not None else one.start_time, message.topic),
            measures={
                "score_ratio": one.score,
                "top_score_ratio": one.top_score,
                # 0 at the end, so that a rule on the dwell time clears.
                "dwell_s": 0.0 if ended else seen_s,
                "seen_s": seen_s,
                "stationary": one.stationary,
                "active": one.active,
                "false_positive": one.false_positive,
                "position_change_count": one.position_changes,
                "area_px": one.area,
                "box_left_px": box[0],
                "box_top_px": box[1],
                "box_right_px": box[2],
                "box_bottom_px": box[3],
                "has_snapshot": one.has_snapshot,
                "has_clip": one.has_clip,
                "velocity_angle_deg": one.velocity_angle,
            },
            labels={
                "phase": "end" if ended else "update" if change.type == "genai" else change.type,
                "camera": one.camera,
                "label": one.label,
                "sub_label": None if one.label in _NAMELESS else _sub_label(one.sub_label),
                "zone": one.current_zones[-1] if one.current_zones else None,
                "zones": ",".join(one.current_zones or []),
                "entered_zones": ",".join(one.entered_zones or []),
            },
        )
    ]


def _sub_label(value: Any) -> str | None:
    """The sub-label alone; Frigate gives it with its score."""
    if isinstance(value, list) and value:
        value = value[0]
    return value if isinstance(value, str) else None


def _decode_review(message: RawMessage) -> list[Observation]:
    change = decode_json(message, _REVIEW)
    one = change.after
    ended = change.type == "end" or one.end_time is not None
    seen_s = None
    if one.end_time is not None and one.start_time is not None:
        seen_s = float(one.end_time) - float(one.start_time)
    # A review that goes on says when it began, not when it was last seen.
    at_ns = _instant(one.end_time if ended else None, message.topic)
    return [
        _observe(
            message,
            f"frigate/{one.camera}/review/{one.id}",
            "detection.camera_review",
            observed_ns=at_ns,
            measures={"detection_count": len(one.data.detections), "seen_s": seen_s},
            labels={
                "phase": "end" if ended else change.type,
                "camera": one.camera,
                "severity": one.severity,
                "objects": ",".join(one.data.objects),
                "zones": ",".join(one.data.zones),
                "zone": one.data.zones[-1] if one.data.zones else None,
                "audio": ",".join(one.data.audio),
                "detections": ",".join(one.data.detections),
            },
        )
    ]


def _decode_update(message: RawMessage) -> list[Observation]:
    one = decode_json(message, _UPDATE)
    named = one.type in {"face", "lpr"}
    return [
        _observe(
            message,
            f"frigate/{one.camera}/{one.id}" if one.camera else f"frigate/{one.id}",
            "detection.camera_object_update",
            observed_ns=_instant(one.timestamp, message.topic),
            measures={"score_ratio": one.score},
            labels={
                "update": one.type,
                "camera": one.camera,
                "model": one.model,
                "sub_label": None if named else one.sub_label,
                "attribute": one.attribute,
                "text": one.description,
            },
        )
    ]


def _decode_trigger(message: RawMessage) -> list[Observation]:
    one = decode_json(message, _TRIGGER)
    return [
        _observe(
            message,
            f"frigate/{one.camera}/{one.event_id}",
            "detection.camera_trigger",
            observed_ns=None,
            measures={"score_ratio": one.score},
            labels={"camera": one.camera, "trigger": one.name, "trigger_type": one.type},
        )
    ]


def _decode_available(message: RawMessage) -> list[Observation]:
    check_size(message, 64)
    word = message.payload.decode("ascii", "replace").strip().strip('"').lower()
    if word not in {"online", "offline", "stopped"}:
        raise DecodeError("wrong_type", f"online, offline or stopped wanted, got {word[:32]!r}")
    return [
        _observe(
            message,
            "frigate",
            "device_state",
            observed_ns=None,
            measures={"online": word == "online"},
            labels={"status": word},
        )
    ]


_BY_LEAF: dict[str, Callable[[RawMessage], list[Observation]]] = {
    "events": _decode_event,
    "reviews": _decode_review,
    "tracked_object_update": _decode_update,
    "triggers": _decode_trigger,
    "available": _decode_available,
}


def decode(message: RawMessage) -> list[Observation]:
    """Read a message of Frigate by the last level of its topic.

    Raises:
        DecodeError: ``unknown_topic``, ``unknown_method``, ``bad_time``, and those of
            :func:`ingest.decoders.common.decode_json` and
            :func:`ingest.decoders.common.checked`.

    Example:
        >>> body = b'{"type": "end", "before": null, "after": {"id": "7.5-ab", "camera": "gate", '
        >>> body += b'"label": "car", "start_time": 7.5, "end_time": 9.0, "score": 0.8}}'
        >>> [one] = decode(RawMessage(topic="frigate/events", payload=body, received_ns=10**10))
        >>> one.thing_id, one.labels["phase"], one.measures["dwell_s"], one.measures["seen_s"]
        ('frigate/gate/7.5-ab', 'end', 0.0, 1.5)
    """
    leaf = message.topic.rsplit("/", 1)[-1]
    reader = _BY_LEAF.get(leaf)
    if reader is None:
        raise DecodeError("unknown_topic", f"no decoder reads {message.topic[:256]!r}")
    return reader(message)
