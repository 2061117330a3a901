"""DJI Cloud API 1.11 to 1.14, and devices that speak like it (topics ``thing/product/…``).

The envelope (``tid``, ``bid``, ``timestamp``, ``gateway``, ``method``, ``data``) is optional:
real devices also send the bare body. A dock splits its telemetry over several messages, so an
observation holds only what its message said. Understood messages become observations; others
are refused as ``unknown_topic``, ``unknown_method``, ``unknown_properties`` or ``empty``.

Kinds: ``aircraft``, ``dock``, ``remote_control``, ``dock_topology``, ``dock_task``,
``dock_job``, ``dock_request``, ``device_health``, ``device_state``, ``device_notice``,
``crewed_aircraft`` (heard by the aircraft's ADS-B receiver), ``onboard_detection``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from core.errors import DecodeError
from core.observations import Observation
from core.ports import RawMessage
from ingest.decoders.common import (
    MAX_LABEL_CHARS,
    checked,
    decode_json,
    instant_ns,
    position_or_none,
)

SOURCE = "dji"

#: What the devices send for "no value" in number fields.
UNKNOWN_NUMBER = 32767

Number = int | float


class _Envelope(msgspec.Struct):
    """The envelope, or a bare body, of which only the envelope's keys are read."""

    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    timestamp: Any = None
    gateway: str | None = None
    method: str | None = None
    tid: str | None = None
    bid: str | None = None


class _Battery(msgspec.Struct):
    capacity_percent: Number | None = None
    remain_flight_time: Number | None = None


class _Aircraft(msgspec.Struct):
    """What an aircraft tells of its flight; the fields of ``osd`` that we read."""

    latitude: Number | None = None
    longitude: Number | None = None
    height: Number | None = None
    elevation: Number | None = None
    horizontal_speed: Number | None = None
    vertical_speed: Number | None = None
    attitude_head: Number | None = None
    home_distance: Number | None = None
    height_limit: Number | None = None
    mode_code: Number | None = None
    battery: _Battery | None = None
    sn: str | None = None


class _SubDevice(msgspec.Struct):
    device_sn: str | None = None
    device_online_status: Number | None = None


class _ChargeState(msgspec.Struct):
    state: Number | None = None
    capacity_percent: Number | None = None


class _Network(msgspec.Struct):
    quality: Number | None = None


class _Media(msgspec.Struct):
    remain_upload: Number | None = None


class _Dock(msgspec.Struct):
    latitude: Number | None = None
    longitude: Number | None = None
    height: Number | None = None
    mode_code: Number | None = None
    flighttask_step_code: Number | None = None
    cover_state: Number | None = None
    putter_state: Number | None = None
    drone_in_dock: Number | None = None
    emergency_stop_state: Number | None = None
    alarm_state: Number | None = None
    wind_speed: Number | None = None
    rainfall: Number | None = None
    environment_temperature: Number | None = None
    temperature: Number | None = None
    humidity: Number | None = None
    heading: Number | None = None
    job_number: Number | None = None
    working_voltage: Number | None = None
    working_current: Number | None = None
    network_state: _Network | None = None
    drone_charge_state: _ChargeState | None = None
    media_file_detail: _Media | None = None
    sub_device: _SubDevice | None = None


class _RemoteControl(msgspec.Struct):
    latitude: Number | None = None
    longitude: Number | None = None
    height: Number | None = None
    capacity_percent: Number | None = None
    drone_list: list[_Aircraft] = []


#: Keys that only an aircraft, a dock, a remote control sends.
_AIRCRAFT_KEYS = frozenset({"attitude_head", "elevation", "horizontal_speed", "home_distance"})
_DOCK_KEYS = frozenset(
    {
        "cover_state", "putter_state", "drone_in_dock", "flighttask_step_code", "job_number",
        "network_state", "drone_charge_state", "media_file_detail", "working_voltage",
        "environment_temperature", "emergency_stop_state", "alarm_state", "sub_device",
        "electric_supply_voltage", "backup_battery", "drone_battery_maintenance_info",
    }
)  # fmt: skip
_REMOTE_CONTROL_KEYS = frozenset({"drone_list", "device_list"})

#: Scalar properties that arrive on ``state``, when they change, and what we call them.
_STATE_MEASURES: Mapping[str, str] = {
    "mode_code_reason": "mode_code_reason",
    "low_battery_warning_threshold": "low_battery_warning_percent",
    "serious_low_battery_warning_threshold": "serious_low_battery_warning_percent",
    "night_lights_state": "night_lights_state",
    "height_limit": "height_limit_m",
    "rth_altitude": "return_altitude_takeoff_m",
    "rc_lost_action": "rc_lost_action",
    "home_latitude": "home_lat_deg",
    "home_longitude": "home_lon_deg",
    "rid_state": "rid_state",
    "silent_mode": "silent_mode",
    "user_experience_improvement": "user_experience_improvement",
}
_STATE_LABELS = ("control_source", "firmware_version", "country", "track_id")
#: Properties of ``state`` that are understood to say nothing a city needs.
_STATE_IGNORED = frozenset(
    {
        "live_capacity", "live_status", "payloads", "cameras", "firmware_upgrade_status",
        "compatible_status", "dongle_infos", "wireless_link_topo", "wpmz_version",
        "camera_watermark_settings", "obstacle_avoidance", "distance_limit_status",
        "global_target_list",
        "datetime_enable", "drone_sn_enable", "drone_type_enable", "global_enable",
    }
)  # fmt: skip

#: Events that report how a job goes: {output: {status, progress: {percent}}, result}.
_TASK_EVENTS = frozenset(
    {"flighttask_progress", "fly_to_point_progress", "takeoff_to_point_progress"}
)
_JOB_EVENTS = frozenset(
    {
        "cover_open", "cover_close", "cover_force_close", "putter_open", "putter_close",
        "charge_open", "charge_close", "drone_open", "drone_close", "drone_format",
        "device_format", "device_reboot", "ota_progress", "fileupload_progress",
        "esim_activate", "esim_operator_switch", "camera_photo_take_progress",
        "cloud_control_auth_notify", "speaker_audio_play_start_progress",
        "speaker_tts_play_start_progress",
    }
)  # fmt: skip
#: Events whose scalar fields are kept as they are.
_NOTICE_EVENTS = frozenset(
    {
        "drc_status_notify", "joystick_invalid_notify", "poi_status_notify",
        "flight_areas_sync_progress", "device_exit_homing_notify", "return_home_info",
        "flighttask_ready", "highest_priority_upload_flighttask_media",
        "flight_setup_exception_notify", "file_upload_callback",
        "flight_areas_drone_location",
    }
)  # fmt: skip
_REQUESTS = frozenset(
    {
        "config", "airport_bind_status", "airport_organization_get", "airport_organization_bind",
        "storage_config_get", "flighttask_resource_get", "flight_areas_get",
        "flighttask_progress_get", "offline_map_get",
    }
)  # fmt: skip

_ENVELOPE = msgspec.json.Decoder(_Envelope)
_ANY: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Any)


class _Body:
    """A message with its envelope taken off."""

    def __init__(self, message: RawMessage) -> None:
        self.message = message
        self.sn = message.topic.split("/")[2]
        envelope = decode_json(message, _ENVELOPE)
        wrapped = envelope.data is not msgspec.UNSET and (
            envelope.tid is not None or envelope.bid is not None or envelope.timestamp is not None
        )
        if wrapped and isinstance(envelope.data, msgspec.Raw):
            self.raw = bytes(envelope.data)
            self.method = envelope.method
            self.gateway = envelope.gateway
        else:
            self.raw = message.payload
            self.method = envelope.method
            self.gateway = None
        self.observed_ns = _device_time(envelope.timestamp)

    def parse(self) -> Any:
        """The body as JSON, of any shape."""
        return decode_json(msgspec.structs.replace(self.message, payload=self.raw), _ANY)

    def object(self) -> dict[str, Any]:
        """The body as a JSON object; a missing one is empty."""
        body = self.parse()
        if body is None:
            return {}
        if not isinstance(body, dict):
            raise DecodeError(
                "wrong_type",
                f"data: an object was wanted, got {type(body).__name__} on {self.message.topic}",
            )
        return body

    def observe(
        self,
        kind: str,
        *,
        thing_id: str | None = None,
        lon: Number | None = None,
        lat: Number | None = None,
        measures: Mapping[str, float | None] | None = None,
        labels: Mapping[str, str | None] | None = None,
    ) -> Observation:
        """An observation with what is known; None and the devices' "no value" are left out."""
        lon_deg, lat_deg = position_or_none(_known(lon), _known(lat))
        return checked(
            Observation(
                source=SOURCE,
                thing_id=thing_id or self.sn,
                kind=kind,
                observed_ns=self.observed_ns or self.message.received_ns,
                received_ns=self.message.received_ns,
                has_device_time=self.observed_ns is not None,
                repeated=self.message.duplicate,
                lon_deg=lon_deg,
                lat_deg=lat_deg,
                measures={k: float(v) for k, v in (measures or {}).items() if v is not None},
                labels={k: v[:MAX_LABEL_CHARS] for k, v in (labels or {}).items() if v},
                topic=self.message.topic,
            )
        )


def _device_time(timestamp: Any) -> int | None:
    """The envelope's Unix milliseconds; misprinted ones (they occur) count as none."""
    if isinstance(timestamp, bool) or not isinstance(timestamp, int | float):
        return None
    try:
        return instant_ns(timestamp, "timestamp")
    except (DecodeError, OverflowError):
        return None


def _known(value: Number | None) -> float | None:
    if value is None or value == UNKNOWN_NUMBER:
        return None
    try:
        return float(value)
    except OverflowError as exc:
        raise DecodeError("not_finite", "an integer beyond float64") from exc


def _scaled(value: Number | None, factor: float) -> float | None:
    known = _known(value)
    return None if known is None else known * factor


def _as(body: dict[str, Any], kind: type[Any], topic: str) -> Any:
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as exc:
        raise DecodeError("wrong_type", f"{exc} on {topic}") from exc


def _heading(value: Number | None) -> float | None:
    known = _known(value)
    return None if known is None else known % 360.0


def _aircraft(body: _Body, osd: _Aircraft, *, via: str | None = None) -> Observation:
    lon, lat = position_or_none(_known(osd.longitude), _known(osd.latitude))
    battery = osd.battery or _Battery()
    return body.observe(
        "aircraft",
        thing_id=osd.sn if via else None,
        lon=lon,
        lat=lat,
        measures={
            "alt_takeoff_m": _known(osd.elevation),
            # Without a fix the height above the ellipsoid is whatever was there before.
            "alt_wgs84_m": None if lon is None else _known(osd.height),
            "speed_mps": _known(osd.horizontal_speed),
            "vertical_speed_mps": _known(osd.vertical_speed),
            "heading_deg": _heading(osd.attitude_head),
            "battery_ratio": _scaled(battery.capacity_percent, 0.01),
            "remaining_flight_s": _known(battery.remain_flight_time),
            "home_distance_m": _known(osd.home_distance),
            "height_limit_m": _known(osd.height_limit),
            "mode_code": _known(osd.mode_code),
        },
        labels={"via": via} if via else {"gateway": body.gateway},
    )


def _dock(body: _Body, osd: _Dock) -> Observation:
    charge = osd.drone_charge_state or _ChargeState()
    sub_device = osd.sub_device or _SubDevice()
    lon, _ = position_or_none(_known(osd.longitude), _known(osd.latitude))
    return body.observe(
        "dock",
        lon=osd.longitude,
        lat=osd.latitude,
        measures={
            "mode_code": _known(osd.mode_code),
            "flighttask_step_code": _known(osd.flighttask_step_code),
            "cover_state": _known(osd.cover_state),
            "putter_state": _known(osd.putter_state),
            "drone_in_dock": _known(osd.drone_in_dock),
            "emergency_stop_state": _known(osd.emergency_stop_state),
            "alarm_state": _known(osd.alarm_state),
            "wind_speed_mps": _known(osd.wind_speed),
            "rainfall_level": _known(osd.rainfall),
            "environment_temperature_c": _known(osd.environment_temperature),
            "inside_temperature_c": _known(osd.temperature),
            "humidity_ratio": _scaled(osd.humidity, 0.01),
            "heading_deg": _heading(osd.heading),
            "alt_wgs84_m": None if lon is None else _known(osd.height),
            "job_count": _known(osd.job_number),
            "working_voltage_v": _scaled(osd.working_voltage, 0.001),
            "working_current_a": _scaled(osd.working_current, 0.001),
            "network_quality": _known((osd.network_state or _Network()).quality),
            "media_waiting_count": _known((osd.media_file_detail or _Media()).remain_upload),
            "aircraft_charging": _known(charge.state),
            "aircraft_battery_ratio": _scaled(charge.capacity_percent, 0.01),
            "aircraft_online": _known(sub_device.device_online_status),
        },
        labels={"aircraft_sn": sub_device.device_sn},
    )


def decode_osd(message: RawMessage) -> list[Observation]:
    """Read periodic telemetry of an aircraft, a dock or a remote control.

    A remote control's telemetry may hold that of the aircraft it flies; both are returned.

    Raises:
        DecodeError: ``unknown_properties``, ``empty``, ``wrong_type`` and those of
            :func:`ingest.decoders.common.decode_json`.
    """
    body = _Body(message)
    osd = body.object()
    if not osd:
        raise DecodeError("empty", f"no property on {message.topic}")
    if osd.keys() & _AIRCRAFT_KEYS:
        return [_aircraft(body, _as(osd, _Aircraft, message.topic))]
    if osd.keys() & _DOCK_KEYS:
        return [_dock(body, _as(osd, _Dock, message.topic))]
    if osd.keys() & _REMOTE_CONTROL_KEYS:
        control: _RemoteControl = _as(osd, _RemoteControl, message.topic)
        return [
            body.observe(
                "remote_control",
                lon=control.longitude,
                lat=control.latitude,
                measures={"battery_ratio": _scaled(control.capacity_percent, 0.01)},
            ),
            *(_aircraft(body, one, via=body.sn) for one in control.drone_list if one.sn),
        ]
    raise DecodeError("unknown_properties", f"{sorted(osd)[:12]} on {message.topic}")


def decode_state(message: RawMessage) -> list[Observation]:
    """Read properties that a device sends when they change.

    Raises:
        DecodeError: ``unknown_properties``, ``empty``, ``wrong_type`` and those of
            :func:`ingest.decoders.common.decode_json`.
    """
    body = _Body(message)
    state = body.object()
    if not state:
        raise DecodeError("empty", f"no property on {message.topic}")
    if isinstance(state.get("objs"), list):
        return _onboard_detections(body, state)
    if state.keys() & _AIRCRAFT_KEYS:
        return [_aircraft(body, _as(state, _Aircraft, message.topic))]
    if state.keys() & _DOCK_KEYS:
        return [_dock(body, _as(state, _Dock, message.topic))]
    measures = {name: _scalar(state[key]) for key, name in _STATE_MEASURES.items() if key in state}
    labels = {key: _word(state[key]) for key in _STATE_LABELS if key in state}
    if not measures and not labels and not state.keys() & _STATE_IGNORED:
        raise DecodeError("unknown_properties", f"{sorted(state)[:12]} on {message.topic}")
    return [body.observe("device_state", measures=measures, labels=labels)]


def _onboard_detections(body: _Body, state: dict[str, Any]) -> list[Observation]:
    """Objects that the aircraft's own detector put on the ground; seen from Autel aircraft."""
    carrier = _word(state.get("uav_id")) or body.sn
    seen = []
    for row, found in enumerate(state["objs"]):
        if not isinstance(found, dict) or not isinstance(found.get("pos"), dict):
            continue
        number = _word(found.get("tracker_id")) or str(row)
        place = found["pos"]
        seen.append(
            body.observe(
                "onboard_detection",
                thing_id=f"{carrier}/{number}",
                lon=_scalar(place.get("longitude")),
                lat=_scalar(place.get("latitude")),
                labels={"class_id": _word(found.get("cls_id"))},
            )
        )
    return seen or [body.observe("device_state", measures={"detection_count": 0.0})]


def _scalar(value: Any) -> float | None:
    """A JSON number or boolean as a number; anything else, and "no value", is unknown."""
    if not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return None if not math.isfinite(number) or number == UNKNOWN_NUMBER else number


def _word(value: Any) -> str | None:
    if isinstance(value, str):
        return value or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 2**63 else None
    return None


def decode_events(message: RawMessage) -> list[Observation]:
    """Read what a dock or an aircraft announces.

    Raises:
        DecodeError: ``unknown_method``, ``wrong_type`` and those of
            :func:`ingest.decoders.common.decode_json`.
    """
    body = _Body(message)
    if body.method == "airsense_warning":
        return _crewed_aircraft(body)
    data = body.object()
    method = body.method or _method_by_shape(data)
    if method == "hms":
        return [_health(body, data)]
    if method in _TASK_EVENTS:
        return [_progress(body, "dock_task", method, data)]
    if method in _JOB_EVENTS:
        return [_progress(body, "dock_job", method, data)]
    if method in _NOTICE_EVENTS:
        return [_notice(body, "device_notice", method, data)]
    raise DecodeError("unknown_method", f"{str(method)[:64]!r} on {message.topic}")


def _method_by_shape(data: dict[str, Any]) -> str | None:
    """Bare bodies carry no method; these two were seen."""
    if isinstance(data.get("list"), list):
        return "hms"
    if "drc_state" in data:
        return "drc_status_notify"
    return None


def _health(body: _Body, data: dict[str, Any]) -> Observation:
    """The complete list of present alarms; a code that is no longer in it is over."""
    alarms = [one for one in _list(data, "list", body) if isinstance(one, dict)]
    levels = [level for one in alarms if (level := _scalar(one.get("level"))) is not None]
    codes = [code for one in alarms if (code := _word(one.get("code"))) is not None]
    return body.observe(
        "device_health",
        measures={
            "alarm_count": float(len(alarms)),
            "alarm_level": max(levels, default=None),
            "imminent_count": float(sum(_scalar(one.get("imminent")) == 1 for one in alarms)),
        },
        labels={"codes": " ".join(sorted(codes))},
    )


def _list(data: dict[str, Any], key: str, body: _Body) -> list[Any]:
    value = data.get(key)
    if not isinstance(value, list):
        raise DecodeError(
            "wrong_type",
            f"{key}: a list was wanted, got {type(value).__name__} on {body.message.topic}",
        )
    return value


def _progress(body: _Body, kind: str, method: str, data: dict[str, Any]) -> Observation:
    output = data.get("output")
    output = output if isinstance(output, dict) else data
    progress = output.get("progress")
    progress = progress if isinstance(progress, dict) else {}
    extra = output.get("ext")
    extra = extra if isinstance(extra, dict) else {}
    return body.observe(
        kind,
        measures={
            "result_code": _scalar(data.get("result")),
            "progress_ratio": _scaled(_scalar(progress.get("percent")), 0.01),
            "step_code": _scalar(progress.get("current_step")),
            "waypoint_index": _scalar(
                extra.get("current_waypoint_index", output.get("way_point_index"))
            ),
            "media_count": _scalar(extra.get("media_count")),
            "mission_state": _scalar(extra.get("wayline_mission_state")),
            "remaining_distance_m": _scalar(output.get("remaining_distance")),
            "remaining_s": _scalar(output.get("remaining_time")),
        },
        labels={
            "method": method,
            "status": _word(output.get("status")),
            "step": _word(progress.get("step_key")),
            "flight_id": _word(
                extra.get("flight_id") or output.get("flight_id") or output.get("fly_to_id")
            ),
        },
    )


def _notice(body: _Body, kind: str, method: str, data: dict[str, Any]) -> Observation:
    """A message whose own scalar fields are all there is to know."""
    measures: dict[str, float | None] = {}
    labels: dict[str, str | None] = {"method": method}
    for key, value in list(data.items())[:24]:
        if not key.isidentifier() or not key.isascii() or key.startswith("_") or len(key) > 60:
            continue
        if isinstance(value, str):
            labels.setdefault(key, value)
        elif "time" not in key:  # Unix milliseconds are no measure
            measures[key] = _scalar(value)
    return body.observe(kind, measures=measures, labels=labels)


def _crewed_aircraft(body: _Body) -> list[Observation]:
    """Crewed aircraft that the drone's ADS-B receiver hears."""
    reports = body.parse()
    if not isinstance(reports, list):
        raise DecodeError(
            "wrong_type",
            f"data: a list was wanted, got {type(reports).__name__} on {body.message.topic}",
        )
    heard = []
    for one in reports:
        if not isinstance(one, dict) or not (icao := _word(one.get("icao"))):
            raise DecodeError("wrong_type", f"icao: a string was wanted on {body.message.topic}")
        altitude_m = _scalar(one.get("altitude"))
        above_sea = _scalar(one.get("altitude_type")) == 1
        heard.append(
            body.observe(
                "crewed_aircraft",
                thing_id=icao,
                lon=_scalar(one.get("longitude")),
                lat=_scalar(one.get("latitude")),
                measures={
                    "alt_msl_m" if above_sea else "alt_wgs84_m": altitude_m,
                    "heading_deg": _heading(_scalar(one.get("heading"))),
                    "distance_m": _scalar(one.get("distance")),
                    "above_aircraft_m": _scalar(one.get("relative_altitude")),
                    "warning_level": _scalar(one.get("warning_level")),
                },
                labels={"heard_by": body.sn},
            )
        )
    return heard


def decode_requests(message: RawMessage) -> list[Observation]:
    """Read what a dock asks the cloud; that it asks, and for which devices.

    Raises:
        DecodeError: ``unknown_method``, ``wrong_type`` and those of
            :func:`ingest.decoders.common.decode_json`.
    """
    body = _Body(message)
    data = body.object()
    if body.method not in _REQUESTS:
        raise DecodeError("unknown_method", f"{str(body.method)[:64]!r} on {message.topic}")
    devices = data.get("devices") or data.get("bind_devices")
    if isinstance(devices, list):
        return [_topology(body, devices, method=body.method)]
    return [_notice(body, "dock_request", body.method, data)]


def decode_status(message: RawMessage) -> list[Observation]:
    """Read that a gateway came online, with its sub-devices; none means that they are offline.

    Raises:
        DecodeError: ``unknown_method``, ``wrong_type`` and those of
            :func:`ingest.decoders.common.decode_json`.
    """
    body = _Body(message)
    data = body.object()
    if body.method not in {None, "update_topo"} or "sub_devices" not in data:
        raise DecodeError("unknown_method", f"{str(body.method)[:64]!r} on {message.topic}")
    return [_topology(body, _list(data, "sub_devices", body), method="update_topo")]


def _topology(body: _Body, devices: list[Any], *, method: str) -> Observation:
    found = [one for one in devices if isinstance(one, dict)]
    serials = [sn for one in found if (sn := _word(one.get("sn") or one.get("device_sn")))]
    return body.observe(
        "dock_topology",
        measures={"device_count": float(len(serials))},
        labels={"method": method, "devices": " ".join(serials)},
    )


#: Last level of the topic to decoder, for ``thing/product/{sn}/…``.
BY_LEAF: dict[str, Callable[[RawMessage], list[Observation]]] = {
    "osd": decode_osd,
    "state": decode_state,
    "events": decode_events,
    "requests": decode_requests,
}
