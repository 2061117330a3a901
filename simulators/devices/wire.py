"""Wire formats: a report of a device as the bytes that it, or its network, publishes."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple

import cbor2

from core.city import Device
from core.topics import senml_topic, sensor_topic
from core.units import NS_PER_S
from simulators.messages import digest, share_of, to_json


class Wire(StrEnum):
    """The formats that fixed devices speak."""

    PLAIN = "plain"
    SENML = "senml"
    SENML_CBOR = "senml-cbor"
    CHIRPSTACK = "chirpstack"


class Report(NamedTuple):
    """What a device reports, already cut to its steps.

    Attributes:
        number: Of the device in its group.
        at_ns: When it reads; its own clock may say something else.
        clock_ns: What its clock says, whole milliseconds.
        clock_text: The same as RFC 3339 text.
        sequence: Counter of its reports, from 1.
        values: Of its signals, in their order.
        battery_ratio: Told in some reports.
    """

    number: int
    at_ns: int
    clock_ns: int
    clock_text: str
    sequence: int
    values: Sequence[float]
    battery_ratio: float | None


class Encoded(NamedTuple):
    """A message; ``observed_ns`` is what a decoder will read out of it."""

    topic: str
    payload: bytes
    observed_ns: int


Encoder = Callable[[Report], Encoded]


def number_text(value: float) -> str:
    """A number as JSON, without a needless fraction.

    Example:
        >>> number_text(3.0), number_text(0.25)
        ('3', '0.25')
    """
    return str(int(value)) if value == int(value) else repr(value)


def plain_encoder(
    city: str,
    kind: str,
    measures: Sequence[str],
    devices: Sequence[Device],
    labels: Sequence[dict[str, str]],
) -> Encoder:
    """Plain JSON. Every second device tells its place; the register has it for the others."""
    heads, tails, topics = [], [], []
    for number, device in enumerate(devices):
        heads.append(f'{{"thing":"{device.thing_id}","kind":"{kind}","time":"')
        said = to_json(labels[number]).decode()
        place = ""
        if number % 2 == 0 and device.lon_deg is not None:
            place = f',"lon":{device.lon_deg!r},"lat":{device.lat_deg!r}'
        tails.append(f"}}{place}{f',{chr(34)}labels{chr(34)}:{said}' if labels[number] else ''}}}")
        topics.append(sensor_topic(city, device.thing_id))
    names = [f'"{name}":' for name in measures]

    def encode(report: Report) -> Encoded:
        parts = [
            name + number_text(value) for name, value in zip(names, report.values, strict=True)
        ]
        if report.battery_ratio is not None:
            parts.append(f'"battery_ratio":{report.battery_ratio!r}')
        said = ",".join(parts)
        number = report.number
        text = (
            f'{heads[number]}{report.clock_text}","seq":{report.sequence},"measures":{{{said}'
            f"{tails[number]}"
        )
        return Encoded(topics[number], text.encode(), report.clock_ns)

    return encode


def senml_encoder(
    city: str, measures: Sequence[tuple[str, str]], devices: Sequence[Device]
) -> Encoder:
    """SenML JSON (RFC 8428); its clock has whole seconds.

    Args:
        city: Name of the city, for the topic.
        measures: Name and unit of each record.
        devices: Who speaks.
    """
    heads = [f'[{{"bn":"{device.thing_id}/","bt":' for device in devices]
    topics = [senml_topic(city, device.thing_id) for device in devices]
    parts = [f'"n":"{name}","u":"{unit}","v":' for name, unit in measures]

    def encode(report: Report) -> Encoded:
        second = report.clock_ns // NS_PER_S
        records = "},{".join(
            [part + number_text(value) for part, value in zip(parts, report.values, strict=True)]
        )
        text = f"{heads[report.number]}{second},{records}}}]"
        return Encoded(topics[report.number], text.encode(), second * NS_PER_S)

    return encode


def senml_cbor_encoder(
    city: str, measures: Sequence[tuple[str, str]], devices: Sequence[Device]
) -> Encoder:
    """SenML CBOR (RFC 8428 section 6)."""
    names = [f"{device.thing_id}/" for device in devices]
    topics = [senml_topic(city, device.thing_id) for device in devices]

    def encode(report: Report) -> Encoded:
        second = report.clock_ns // NS_PER_S
        pack: list[dict[int, str | int | float]] = [
            {0: name, 1: unit, 2: int(value) if value == int(value) else value}
            for (name, unit), value in zip(measures, report.values, strict=True)
        ]
        pack[0] = {-2: names[report.number], -3: second, **pack[0]}
        return Encoded(topics[report.number], cbor2.dumps(pack), second * NS_PER_S)

    return encode


# -- LoRaWAN: what the maker's devices put into their payload, channel, type, value -----------


def _i16(value: float, scale: float) -> bytes:
    return struct.pack("<h", round(value * scale))


def _u16(value: float, scale: float) -> bytes:
    return struct.pack("<H", round(value * scale))


def _climate(values: Sequence[float]) -> bytes:
    return b"\x03\x67" + _i16(values[0], 10) + b"\x04\x68" + bytes([round(values[1] * 200)])


def _weather(values: Sequence[float]) -> bytes:
    wind, pressure = values[2], values[3]
    return (
        _climate(values)
        + b"\x05\x84" + _u16(200.0 + wind, 10)
        + b"\x06\x73" + _u16(pressure / 100, 10)
        + b"\x07\x92" + _u16(wind, 10)
    )  # fmt: skip


#: By model: the payload of a device's values, without its battery.
PAYLOADS: dict[str, Callable[[Sequence[float]], bytes]] = {
    "EM500-SWL": lambda v: b"\x03\x77" + _u16(v[0], 100),
    "EM500-PP": lambda v: b"\x03\x7b" + _u16(v[0], 0.001),
    "EM300-ZLD": lambda v: _climate(v) + b"\x05\x00" + bytes([round(v[2])]),
    "EM300-MCS": lambda v: _climate(v) + b"\x06\x00" + bytes([round(v[2])]),
    "WT101": lambda v: (
        b"\x03\x67" + _i16(v[0], 10) + b"\x04\x67" + _i16(v[1], 10)
        + b"\x05\x92" + bytes([round(v[2] * 100)])
    ),
    "VS321": lambda v: b"\x05\xfd" + _u16(v[0], 1),
    "WS201": lambda v: (
        b"\x03\x82" + _u16(1000 * (1.2 - v[0]), 1) + b"\x04\xd6" + bytes([round(v[0] * 100)])
    ),
    # The button says only that it lives; a press is 0xFF 0x2E.
    "WS101": lambda _: b"",
    "WTS506": _weather,
    "WS302": lambda v: (
        b"\x05\x5b\x01" + _u16(v[0] + 0.4, 10) + _u16(v[0], 10) + _u16(v[0] + 6.0, 10)
    ),
    "AM308": lambda v: _climate(v) + b"\x0b\x7d" + _u16(v[2], 1) + b"\x0c\x7d" + _u16(v[3], 1),
}  # fmt: skip


def chirpstack_encoder(
    seed: int, kind: str, model: str, devices: Sequence[Device], gateway_count: int
) -> Encoder:
    """An uplink as ChirpStack v4 publishes it."""
    payload_of = PAYLOADS[model]
    application = f"{digest('application', model):032x}"
    application = "-".join(
        (application[:8], application[8:12], application[12:16], application[16:20],
         application[20:])
    )  # fmt: skip
    heads, topics, gateways, seeds = [], [], [], []
    for device in devices:
        eui = f"24e124{digest(seed, 'eui', device.thing_id) % 2**40:010x}"
        info = {
            "tenantName": "qingdao",
            "applicationId": application,
            "applicationName": kind.replace("_", "-"),
            "deviceProfileName": model,
            "deviceName": device.name or device.thing_id,
            "devEui": eui,
            "deviceClassEnabled": "CLASS_A",
            "tags": {"thing": device.thing_id, "kind": kind},
        }
        heads.append(f'","deviceInfo":{to_json(info).decode()},"adr":true,"dr":5,"fCnt":')
        topics.append(f"application/{application}/device/{eui}/event/up")
        near = digest(seed, "gateway", device.thing_id) % gateway_count
        gateways.append(f"{0x24E124FFFE000000 + near:016x}")
        seeds.append(share_of(seed, "rssi", device.thing_id))

    def encode(report: Report) -> Encoded:
        number = report.number
        data = payload_of(report.values)
        if report.battery_ratio is not None or not data:
            battery = 1.0 if report.battery_ratio is None else report.battery_ratio
            data = bytes([0x01, 0x75, round(battery * 100)]) + data
        unique = (digest(topics[number], report.sequence)) % 2**128
        fade = (report.sequence * 7 + number) % 9
        rssi = -122 + round(58 * seeds[number]) + fade
        snr = (rssi + 118) / 4
        text = (
            f'{{"deduplicationId":"{unique:032x}","time":"{report.clock_text}{heads[number]}'
            f'{report.sequence},"fPort":85,"confirmed":false,'
            f'"data":"{base64.b64encode(data).decode()}",'
            f'"rxInfo":[{{"gatewayId":"{gateways[number]}","rssi":{rssi},"snr":{snr}}}],'
            f'"txInfo":{{"frequency":{470300000 + 200000 * (fade % 8)}}}}}'
        )
        return Encoded(topics[number], text.encode(), report.clock_ns)

    return encode
