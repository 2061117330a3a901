"""Milesight's LoRaWAN sensors: per model which channel and type carries which field.

The tables follow the maker's published payload descriptions. A model that is not here is read
by what its type codes mean in most models (:data:`BY_TYPE`). Field names and words are the
maker's, misspellings included, so that what others decode compares equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple

from core.errors import DecodeError
from ingest.decoders.lorawan.tlv import (
    Decoded,
    Entry,
    PastReading,
    Reader,
    Table,
    keep,
    keep_named,
    need,
    parse_spec,
    read_entry,
    read_payload,
    unpack,
)

#: The LoRaWAN port on which these devices send unless told otherwise.
DEFAULT_PORT = 85


class Model(NamedTuple):
    """A model: the kind of thing it is, and its table."""

    kind: str
    table: Table


# -- what every device says of itself ----


def _text(name: str, size: int, form: str) -> Reader:
    """A reader of a version of some bytes; ``form`` says how it is written."""

    def read(payload: bytes, at: int, into: Decoded) -> int:
        need(payload, at, size)
        data = payload[at : at + size]
        first, last = data[0], data[-1]
        into.add(
            name,
            {
                "nibbles": f"v{first >> 4}.{first & 15}",
                "hardware": f"v{first}.{last >> 4}",
                "hex": f"v{first:x}.{last:x}",
                "plain": f"{first}.{last}",
                "dotted": ".".join(str(one) for one in data),
            }[form],
        )
        return at + size

    return read


def _bits(size: int, names: Mapping[str, tuple[int, str, str]]) -> Reader:
    """A reader of flags: name to bit, word for 0, word for 1."""

    def read(payload: bytes, at: int, into: Decoded) -> int:
        need(payload, at, size)
        value = int.from_bytes(payload[at : at + size], "little")
        for name, (bit, off, on) in names.items():
            into.add(name, on if value >> bit & 1 else off)
        return at + size

    return read


_CLASSES = "{0:Class A,1:Class B,2:Class C,3:Class CtoB}"
ATTRIBUTES: dict[tuple[int, int], Entry] = {
    (0xFF, 0x01): _text("ipso_version", 1, "nibbles"),
    (0xFF, 0x09): _text("hardware_version", 2, "hardware"),
    (0xFF, 0x0A): _text("firmware_version", 2, "hex"),
    (0xFF, 0xFF): _text("tsl_version", 2, "hex"),
    (0xFF, 0x16): "sn:hex8",
    (0xFF, 0x08): "sn:hex6",
    (0xFF, 0x0F): f"lorawan_class:u8{_CLASSES}",
    (0xFF, 0xFE): "reset_event:u8{0:normal,1:reset}",
    (0xFF, 0x0B): "device_status:u8{0:off,1:on,255:on}",
    # Echoes of settings: their lengths matter, so that what follows is found.
    **{
        (0xFF, kind): f"_:{size}"
        for kind, size in {
            0x02: 2, 0x03: 2, 0x06: 9, 0x10: 1, 0x11: 4, 0x17: 2, 0x18: 2, 0x1C: 2, 0x24: 2,
            0x25: 2, 0x26: 1, 0x27: 1, 0x28: 1, 0x2C: 1, 0x2F: 1, 0x3E: 1, 0x4A: 1, 0x5E: 1,
            0x67: 1, 0x68: 1, 0x69: 1, 0x6A: 3, 0x6D: 1, 0x74: 1, 0x95: 2, 0xBD: 2, 0xEA: 3,
            0xF2: 2, 0xF3: 2, 0xF5: 1,
        }.items()
    },
    (0xFE, 0x02): "_:2",
    (0xFE, 0x03): "_:2",
}  # fmt: skip

# -- fields that many models share ----

BATTERY = "battery:u8@%"
TEMPERATURE = "temperature:i16/10@Cel"
HUMIDITY = "humidity:u8/2@%RH"
CO2 = "co2:u16@ppm"
PRESSURE = "pressure:u16/10@hPa"
DISTANCE = "distance:u16@mm"
LEAK = "leakage_status:u8=leak{0:normal,1:leak}"
MAGNET = "magnet_status:u8=opened{0:close,1:open}"
OCCUPANCY = "occupancy:u8=occupied{0:vacant,1:occupied}"
POSITION = "position:u8=tilted{0:normal,1:tilt}"
PIR = "pir:u8=motion{0:idle,1:trigger}"
THRESHOLD = "{0:threshold alarm release,1:threshold alarm}"
TIME = "history|timestamp:u32"

_COMMON: dict[tuple[int, int], Entry] = {
    **ATTRIBUTES,
    (0x01, 0x75): BATTERY,
    (0x03, 0x67): TEMPERATURE,
    (0x04, 0x68): HUMIDITY,
}


def _table(extra: Mapping[tuple[int, int], Entry]) -> Table:
    return {**_COMMON, **extra}


def _bare(extra: Mapping[tuple[int, int], Entry]) -> Table:
    """A table without temperature and humidity on channels 3 and 4."""
    return {**ATTRIBUTES, (0x01, 0x75): BATTERY, **extra}


# -- air ----

_AM10X = _table({(0x20, 0xCE): f"{TIME} + {TEMPERATURE} + {HUMIDITY}"})
_AM103 = _table({(0x07, 0x7D): CO2, (0x20, 0xCE): f"{TIME} + {TEMPERATURE} + {HUMIDITY} + {CO2}"})
_AM107 = _table(
    {
        (0x05, 0x6A): "activity:u16=activity_count",
        (0x06, 0x65): "illumination:u16@lx + infrared_and_visible:u16 + infrared:u16",
        (0x07, 0x7D): CO2,
        (0x08, 0x7D): "tvoc:u16@ppb",
        (0x09, 0x73): PRESSURE,
    }
)
_PAST_AIR = (
    f"{TIME} + {TEMPERATURE} + humidity:u16/2@%RH + {PIR} + light_level:u8 + {CO2} + TVOC + "
    f"{PRESSURE}"
)
_IAQ, _TVOC_MASS = "tvoc:u16/100@iaq", "tvoc:u16@ug/m3"
_PM = "pm2_5:u16@ug/m3 + pm10:u16@ug/m3"


def _am300(*last: str) -> Table:
    """An ambience monitor of the 300 series with what follows the pressure in its history."""
    past = " + ".join([_PAST_AIR, *last])
    return _table(
        {
            (0x05, 0x00): PIR,
            (0x06, 0xCB): "light_level:u8",
            (0x07, 0x7D): CO2,
            (0x08, 0x7D): _IAQ,
            (0x08, 0xE6): _TVOC_MASS,
            (0x09, 0x73): PRESSURE,
            (0x0A, 0x7D): "hcho:u16/100@mg/m3",
            (0x0B, 0x7D): "pm2_5:u16@ug/m3",
            (0x0C, 0x7D): "pm10:u16@ug/m3",
            (0x0D, 0x7D): "o3:u16/100@ppm",
            (0x0E, 0x01): "buzzer_status:u8=buzzer_on{0:off,1:on}",
            (0x20, 0xCE): past.replace("TVOC", _IAQ),
            (0x21, 0xCE): past.replace("TVOC", _TVOC_MASS),
        }
    )


def _pir_count(payload: bytes, at: int, into: Decoded) -> int:
    """Status in the highest bit, how often in the others."""
    value = unpack("u16", payload, at)
    into.fields["pir_status"] = "trigger" if value >> 15 else "vacant"
    into.measures["motion"] = float(value >> 15)
    into.add("pir_count", value & 0x7FFF)
    return at + 2


_BAND_ALARMS = (
    "{16:below alarm released,17:below alarm,18:above alarm released,19:above alarm,"
    "20:within alarm released,21:within alarm,22:exceed tolerance alarm released,"
    "23:exceed tolerance alarm}"
)
_COLLECT = "{0:collect abnormal,1:collect out of range}"
_AM30X = _table(
    {
        (0x05, 0x9F): _pir_count,
        (0x05, 0x00): "pir_status:u8=motion{0:vacant,1:trigger}",
        (0x06, 0xCB): "illuminance_level:u8",
        (0x06, 0x9D): "illuminance:u16@lx",
        (0x07, 0x7D): CO2,
        (0x83, 0x67): f"{TEMPERATURE} + temperature_alarm:u8{_BAND_ALARMS}",
        (0x86, 0x9D): "illuminance:u16@lx + illuminance_alarm:u8{16:dim,17:bright}",
        (0x87, 0x7D): f"{CO2} + co2_alarm:u8"
        "{16:polluted alarm released,17:polluted alarm,18:bad alarm released,19:bad alarm}",
        (0xB3, 0x67): f"temperature_exception:u8{_COLLECT}",
        (0xB4, 0x68): f"humidity_exception:u8{_COLLECT}",
        (0xB6, 0xCB): f"illuminance_exception:u8{_COLLECT}",
        (0xB6, 0x9D): f"illuminance_exception:u8{_COLLECT}",
        (0xB7, 0x7D): f"co2_exception:u8{_COLLECT}",
    }
)

# -- leaks, water, tanks, valves ----


def _em300(status: str, channel: int) -> Table:
    return _table(
        {
            (channel, 0x00): status,
            (0x20, 0xCE): f"{TIME} + {TEMPERATURE} + {HUMIDITY} + {status}",
        }
    )


def _liquid(payload: bytes, at: int, into: Decoded) -> int:
    """Full or too low; an uncalibrated sensor or one in error measures neither."""
    need(payload, at, 1)
    words = {0: "uncalibrated", 1: "full", 2: "critical liquid level alert", 0xFF: "error"}
    into.add("liquid", words.get(payload[at], "unknown"))
    if payload[at] in {1, 2}:
        into.measures["liquid_low"] = float(payload[at] == 2)
    return at + 1


def _liquid_alarm(payload: bytes, at: int, into: Decoded) -> int:
    words = "{0:critical liquid level alarm release,1:critical liquid level alarm}"
    at = _liquid(payload, at, into)
    return read_entry(f"liquid_alarm:u8{words}", payload, at, into)


_EM300_CL = _bare(
    {
        (0x03, 0xED): _liquid,
        (0x04, 0xEE): "calibration_result:u8{0:failed,1:success}",
        (0x83, 0xED): _liquid_alarm,
    }
)
_WATER = "water_conv:u16/10 + pluse_conv:u16/10 + water:f32"
_WATER_ALARMS = (
    "{0:none,1:water outage timeout alarm,2:water outage timeout alarm release,"
    "3:water flow timeout alarm,4:water flow timeout alarm release,5:gpio alarm,"
    "6:gpio alarm release}"
)
_GPIO = "gpio:u8{0:low,1:high}"
_EM300_DI = _table(
    {
        (0x05, 0x00): _GPIO,
        (0x05, 0xC8): "pulse:u32=pulse_count",
        (0x05, 0xE1): _WATER,
        (0x06, 0xE1): _WATER,
        (0x85, 0x00): f"{_GPIO} + gpio_alarm:u8{{0:gpio alarm release,1:gpio alarm}}",
        (0x85, 0xE1): f"{_WATER} + water_alarm:u8{_WATER_ALARMS}",
        (0x20, 0xCE): f"{TIME} + {TEMPERATURE} + {HUMIDITY} + gpio_type:u8{{1:gpio,2:pulse}} + "
        f"{_GPIO} + pulse:u32=pulse_count",
        (0x21, 0xCE): f"{TIME} + {TEMPERATURE} + {HUMIDITY} + alarm:u8{_WATER_ALARMS} + "
        f"gpio_type:u8{{1:gpio,2:pulse}} + {_GPIO} + {_WATER}",
    }
)


def _place(payload: bytes, at: int, into: Decoded) -> int:
    """Longitude and latitude, then motion and geofence status."""
    need(payload, at, 9)
    first, second = unpack("i32", payload, at) / 1e6, unpack("i32", payload, at + 4) / 1e6
    # The maker's pages differ in which comes first; a value beyond 90 can only be a longitude.
    lon, lat = (second, first) if abs(second) > 90 else (first, second)
    into.fields["longitude"], into.fields["latitude"] = lon, lat
    if abs(lon) <= 180 and abs(lat) <= 90 and (lon, lat) != (0, 0):
        into.lon_deg, into.lat_deg = lon, lat
    status = payload[at + 8]
    motions = ("unknown", "start moving", "moving", "stop moving")
    fences = ("inside", "outside", "unset", "unknown")
    into.add("motion_status", motions[status & 15] if status & 15 < 4 else "unknown")
    into.add("geofence_status", fences[status >> 4] if status >> 4 < 4 else "unknown")
    return at + 9


_EM400 = _bare(
    {
        (0x03, 0x67): TEMPERATURE,
        (0x04, 0x82): DISTANCE,
        (0x05, 0x00): POSITION,
        (0x06, 0x88): _place,
        (0x83, 0x67): f"{TEMPERATURE} + temperature_abnormal:u8{{0:normal,1:abnormal}}",
        (0x84, 0x82): f"{DISTANCE} + distance_alarm:u8{{0:normal,1:alarm}}",
    }
)
_DISTANCE_ALARMS = "{0:threshold alarm release,1:threshold alarm,2:mutation alarm}"
_EM410 = _bare(
    {
        (0x03, 0x67): TEMPERATURE,
        (0x04, 0x82): DISTANCE,
        (0x05, 0x00): POSITION,
        (0x06, 0xC7): "radar_signal_rssi:i16/100",
        (0x84, 0x82): f"{DISTANCE} + distance_alarm:u8{_DISTANCE_ALARMS}",
        (0x94, 0x82): f"{DISTANCE} + distance_mutation:i16@mm + "
        f"distance_alarm:u8{_DISTANCE_ALARMS}",
        (0xB4, 0x82): f"{DISTANCE} + distance_exception:u8"
        "{0:blind alarm release,1:blind alarm,2:no target,3:sensor exception}",
        (0x20, 0xCE): f"{TIME} + {DISTANCE} + {TEMPERATURE} + distance_mutation:i16@mm + _:1",
    }
)
_TEMPERATURE_CHANGE = (
    f"{TEMPERATURE} + temperature_change:i16/10 + temperature_alarm:u8"
    "{0:threshold alarm release,1:threshold alarm,2:mutation alarm}"
)

# -- people ----

_TOTAL = "total_in:u16=people_total_in_count + total_out:u16=people_total_out_count"
_PERIOD = "period_in:u16=people_period_in_count + period_out:u16=people_period_out_count"


def _past_people(payload: bytes, at: int, into: Decoded) -> int:
    """Counts of a past period; a byte says whether the totals follow."""
    need(payload, at, 5)
    totals = f" + {_TOTAL}" if payload[at + 4] else ""
    return read_entry(f"{TIME} + _:1 + {_PERIOD}{totals}", payload, at, into)


def _counts(total_word: str, extra: Mapping[tuple[int, int], Entry]) -> Table:
    """A counter of people who pass; models write the alarm's word differently."""
    return {
        **ATTRIBUTES,
        (0x01, 0x75): BATTERY,
        (0x04, 0xCC): _TOTAL,
        (0x05, 0xCC): _PERIOD,
        (0x0A, 0xEF): "timestamp:u32",
        (0x84, 0xCC): f"{_TOTAL} + total_count_alarm:u8{{1:{total_word}}}",
        (0x85, 0xCC): f"{_PERIOD} + period_count_alarm:u8{{1:{total_word}}}",
        (0x20, 0xCE): _past_people,
        **extra,
    }


_VS35X = _counts(
    "threshold alarm",
    {
        (0x03, 0x67): TEMPERATURE,
        (0x83, 0x67): f"{TEMPERATURE} + temperature_alarm:u8{{0:threshold alarm release,"
        "1:threshold alarm,3:high temperature alarm,4:high temperature alarm release}",
    },
)
_VS360 = _counts(
    "Threshold Alarm",
    {
        (0x01, 0x75): "battery_main:u8@%=battery",
        (0x02, 0x75): "battery_node:u8@%",
        (0x03, 0xF4): "event|type:u8{0:Counting Anomaly,1:Node Device Without Response,"
        "2:Devices Misaligned} + status:u8{0:Alarm Release,1:Alarm}",
    },
)
_DWELL = "dwell_id:u8 + dwell_time_avg:u16=dwell_mean_s + dwell_time_max:u16=dwell_max_s"


#: The lines of VS133 and VS135 have three channels each: in, out, and both of a period. Children
#: are counted apart, on the same channels 14 further on.
_LINES, _CHILDREN = 4, 14


def _line_fields(line: int, child: str) -> tuple[str, str, str]:
    name = f"line_{line}{child}"
    period_out = f"{name}_period_out:u16={name}_period_out_count"
    return (
        f"{name}_total_in:u32={name}_total_in_count",
        f"{name}_total_out:u32={name}_total_out_count",
        f"{name}_period_in:u16={name}_period_in_count + {period_out}",
    )


def _region_counts(child: str = "", first: int = 1) -> str:
    return " + ".join(f"region_{n}{child}_count:u8" for n in range(first, first + 4))


def _region_dwell(child: str) -> Reader:
    """How long people stay in a region whose number the payload says."""

    def read(payload: bytes, at: int, into: Decoded) -> int:
        need(payload, at, 1)
        name = f"region_{payload[at]}{child}"
        spec = f"{name}_avg_dwell:u16={name}_dwell_mean_s + {name}_max_dwell:u16={name}_dwell_max_s"
        return read_entry(spec, payload, at + 1, into)

    return read


def _occlusion(payload: bytes, at: int, into: Decoded) -> int:
    """Whether a lens of the counter is covered."""
    need(payload, at, 3)
    name = f"node_{payload[at + 1]}" if payload[at + 1] else "master"
    spec = f"{name}_occlusion_alarm:u8{{0:alarm_released,1:alarm_triggered}}"
    return read_entry(spec, payload, at + 2, into)


def _past_lines(payload: bytes, at: int, into: Decoded) -> int:
    """One kept reading; a byte says which, by the channel that it has in the present."""
    need(payload, at, 6)
    code, region = payload[at + 4], payload[at + 5]
    spec = {0x0F: _region_counts()}.get(code)
    if 3 <= code < 3 + 3 * _LINES:
        line, field = divmod(code - 3, 3)
        spec = _line_fields(line + 1, "")[field]
    elif code in {0x10, 0x20}:
        word, measure = ("avg", "mean") if code == 0x10 else ("max", "max")
        name = f"region_{region}"
        spec = f"_:1 + {name}_{word}_dwell:u16={name}_dwell_{measure}_s"
    if spec is None:
        raise DecodeError("unknown_payload", f"no kept reading {code:#04x}: {payload[:48].hex()}")
    return read_entry(f"{TIME} + _:1 + {spec}", payload, at, into)


def _people_lines() -> Table:
    table: dict[tuple[int, int], Entry] = {
        **ATTRIBUTES,
        (0xFF, 0x01): "protocol_version:u8",
        (0xFF, 0x1F): _text("firmware_version", 4, "dotted"),
        (0x50, 0xFC): _occlusion,
        (0x20, 0xCE): _past_lines,
    }
    for child, further in (("", 0), ("_child", _CHILDREN)):
        table[0x0F + further, 0xE3] = _region_counts(child)
        table[0x10 + further, 0xE4] = _region_dwell(child)
        for line in range(_LINES):
            channel = 3 + 3 * line + further
            total_in, total_out, period = _line_fields(line + 1, child)
            table[channel, 0xD2] = total_in
            table[channel + 1, 0xD2] = total_out
            table[channel + 2, 0xCC] = period
    return table


def _occupied_regions(payload: bytes, at: int, into: Decoded) -> int:
    need(payload, at, 4)
    into.add("people_count_all", payload[at])
    into.add("region_count", payload[at + 1])
    mask = int.from_bytes(payload[at + 2 : at + 4], "big")
    for region in range(min(payload[at + 1], 16)):
        into.add(f"region_{region + 1}", mask >> region & 1, f"region_{region + 1}_occupied")
    return at + 4


_VS121_IN_OUT = "people_in:u16=people_period_in_count + people_out:u16=people_period_out_count"
_VS121_TOTAL = (
    "people_total_in:u16=people_total_in_count + people_total_out:u16=people_total_out_count"
)
_VS121_LINE = "line_in:u16=line_period_in_count + line_out:u16=line_period_out_count"


def _ways(row: str, columns: str) -> str:
    return " + ".join(f"{row}_to_{to}:u16" for to in columns)


#: Kept readings of a VS121 by their code; how many are in which regions is 1.
_VS121_KEPT = {
    0x02: _VS121_IN_OUT,
    0x03: "people_count_max:u8",
    **{0x04 + part: _region_counts("", 1 + 4 * part) for part in range(4)},
    **{
        0x08 + 2 * row + half: _ways("abcd"[row], ("ab", "cd")[half])
        for row in range(4)
        for half in range(2)
    },
    0x10: _VS121_TOTAL,
    0x11: "_:1 + dwell_time_avg:u16=dwell_mean_s + dwell_time_max:u16=dwell_max_s",
    0x12: _VS121_LINE,
}


def _kept(read: Reader, payload: bytes, at: int, into: Decoded) -> int:
    """A kept reading that a reader reads, behind its time and its code."""
    found = Decoded()
    end = read(payload, at + 5, found)
    found.fields["timestamp"] = found.measures["timestamp"] = unpack("u32", payload, at)
    keep(parse_spec(TIME), found, into)
    return end


def _past_vs121(payload: bytes, at: int, into: Decoded) -> int:
    """One kept reading; a byte says which."""
    need(payload, at, 5)
    code = payload[at + 4]
    if code == 0x01:
        return _kept(_occupied_regions, payload, at, into)
    spec = _VS121_KEPT.get(code)
    if spec is None:
        raise DecodeError("unknown_payload", f"no kept reading {code:#04x}: {payload[:48].hex()}")
    return read_entry(f"{TIME} + _:1 + {spec}", payload, at, into)


_VS121: Table = {
    **ATTRIBUTES,
    (0xFF, 0x01): "protocol_version:u8",
    (0xFF, 0x09): _text("hardware_version", 2, "plain"),
    (0xFF, 0x1F): _text("firmware_version", 4, "dotted"),
    (0x04, 0xC9): _occupied_regions,
    (0x05, 0xCC): _VS121_IN_OUT,
    (0x06, 0xCD): "people_count_max:u8",
    (0x07, 0xD5): " + ".join(_region_counts("", first) for first in (1, 5)),
    (0x08, 0xD5): " + ".join(_region_counts("", first) for first in (9, 13)),
    **{(0x09 + row, 0xDA): _ways("abcd"[row], "abcd") for row in range(4)},
    (0x0D, 0xCC): _VS121_TOTAL,
    (0x0E, 0xE4): _DWELL,
    (0x0F, 0x85): "timestamp:u32",
    (0x10, 0xF7): _VS121_LINE,
    (0x20, 0xCE): _past_vs121,
}
_VS132: Table = {
    **ATTRIBUTES,
    (0xFF, 0x01): "protocol_version:u8",
    (0xFF, 0x16): "sn:hex8",
    (0xFF, 0x09): _text("hardware_version", 2, "plain"),
    (0xFF, 0x1F): _text("firmware_version", 4, "dotted"),
    (0x03, 0xD2): "total_counter_in:u32=people_total_in_count",
    (0x04, 0xD2): "total_counter_out:u32=people_total_out_count",
    (0x05, 0xCC): "periodic_counter_in:u16=people_period_in_count + "
    "periodic_counter_out:u16=people_period_out_count",
}
#: Regions of a VS321.
_VS321_REGIONS = 10
_VS321_ALARM = "{0:threshold_alarm_release,1:threshold_alarm}"


def _watched_regions(payload: bytes, at: int, into: Decoded) -> int:
    """Two masks: which regions are watched, and in which somebody is."""
    need(payload, at, 4)
    watched, taken = unpack("u16", payload, at), unpack("u16", payload, at + 2)
    for number in range(_VS321_REGIONS):
        is_watched, is_taken = watched >> number & 1, taken >> number & 1
        name = f"region_{number + 1}"
        into.fields[f"{name}_enable"] = "enable" if is_watched else "disable"
        into.fields[name] = "occupied" if is_taken else "vacant"
        if is_watched:
            into.measures[f"{name}_occupied"] = float(is_taken)
    return at + 4


def _past_presence(payload: bytes, at: int, into: Decoded) -> int:
    """A kept reading: how many, or in which regions."""
    need(payload, at, 5)
    if payload[at + 4] == 0:
        spec = f"{TIME} + _:1 + people_total_counts:u16=people_count"
        return read_entry(spec, payload, at, into)
    return _kept(_watched_regions, payload, at, into)


_VS321: Table = _table(
    {
        (0x05, 0xFD): "people_total_counts:u16=people_count",
        (0x06, 0xFE): _watched_regions,
        (0x08, 0xF4): "_:1 + detection_status:u8{0:normal,1:unavailable}",
        (0x83, 0x67): f"{TEMPERATURE} + temperature_alarm:u8{_VS321_ALARM}",
        (0x84, 0x68): f"{HUMIDITY} + humidity_alarm:u8{_VS321_ALARM}",
        (0x20, 0xCE): _past_presence,
        (0x07, 0xFF): "illuminance_status:u8{0:dim,1:bright}",
        (0x0A, 0xEF): "timestamp:u32",
    }
)
_REGION = "{0:occupied,1:vacant}"
_VS373: Table = {
    **ATTRIBUTES,
    (0x03, 0xF8): "detection_status:u8{0:normal,1:vacant,2:in bed,3:out of bed,4:fall} + "
    "target_status:u8{0:normal,1:motionless,2:abnormal} + use_time_now:u16 + use_time_today:u16",
    (0x04, 0xF9): " + ".join(f"region_{n}_occupancy:u8{_REGION}" for n in range(1, 5)),
    (0x05, 0xFA): " + ".join(f"region_{n}_out_of_bed_time:u16@s" for n in range(1, 5)),
    (0x06, 0xFB): "alarm_id:u16 + alarm_type:u8{0:normal,1:motionless,2:dwell,3:out of bed,"
    "4:occupied,5:vacant} + alarm_status:u8{0:alarm triggered,1:alarm deactivated,"
    "2:alarm ignored} + alarm_region_id:u8",
    (0x20, 0xCE): f"{TIME} + alarm_id:u16 + alarm_type:u8{{0:normal,1:motionless,2:dwell,"
    "3:out of bed,4:occupied,5:vacant} + alarm_status:u8{0:alarm triggered,"
    "1:alarm deactivated,2:alarm ignored} + alarm_region_id:u8",
}

# -- electric current ----


def _current(name: str, kind: str, divisor: int) -> Reader:
    """Amperes, or 0xFFFF for a sensor that cannot be read."""

    def read(payload: bytes, at: int, into: Decoded) -> int:
        if unpack("u16", payload, at) == 0xFFFF:
            into.add(f"{name}_sensor_status", "read failed")
            return at + 2
        return read_entry(f"{name}:{kind}/{divisor}@A", payload, at, into)

    return read


def _current_alarm(name: str, divisor: int) -> Reader:
    amperes = " + ".join(f"{name}{end}:u16/{divisor}@A" for end in ("_max", "_min", ""))
    words = (
        "current_threshold_alarm", "current_threshold_alarm_release",
        "current_over_range_alarm", "current_over_range_alarm_release",
    )  # fmt: skip

    def read(payload: bytes, at: int, into: Decoded) -> int:
        at = read_entry(amperes, payload, at, into)
        need(payload, at, 1)
        flags = {
            word.replace("current", name): "yes" if payload[at] >> bit & 1 else "no"
            for bit, word in enumerate(words)
        }
        into.fields[f"{name}_alarm"] = flags
        into.labels |= flags
        return at + 1

    return read


_CURRENT_TEMPERATURE: dict[tuple[int, int], Entry] = {
    **ATTRIBUTES,
    (0x09, 0x67): TEMPERATURE,
    (0x89, 0x67): f"{TEMPERATURE} + temperature_alarm:u8{THRESHOLD}",
}
_CT10X: Table = {
    **_CURRENT_TEMPERATURE,
    (0x03, 0x97): "total_current:u32/100@Ah",
    (0x04, 0x98): _current("current", "u16", 100),
    (0x84, 0x98): _current_alarm("current", 100),
}


def _current_channels() -> Table:
    table = dict(_CURRENT_TEMPERATURE)
    for channel in (1, 2, 3):
        name, code = f"current_chn{channel}", 2 * channel + 2
        table[code - 1, 0x97] = f"{name}_total:u32/100@Ah"
        table[code, 0x99] = _current(name, "u16", 10)
        table[0x80 + code, 0x99] = _current_alarm(name, 10)
    return table


# -- switches, sockets, buttons, heating ----


def _switches(count: int) -> Table:
    bits = {f"switch_{n + 1}": (n, "off", "on") for n in range(count)}
    bits |= {f"switch_{n + 1}_change": (n + 4, "no", "yes") for n in range(count)}
    power = {**_POWER, (0x05, 0x81): "power_factor:u8@%", (0x08, 0x29): _bits(1, bits)}
    return {**ATTRIBUTES, **power, (0xFF, 0x29): _bits(1, bits)}


_POWER: dict[tuple[int, int], Entry] = {
    **ATTRIBUTES,
    (0x03, 0x74): "voltage:u16/10@V",
    (0x04, 0x80): "active_power:u32@W",
    (0x05, 0x81): "power_factor:u8@%",
    (0x06, 0x83): "power_consumption:u32@Wh",
    (0x07, 0xC9): "current:u16@mA",
}
_SOCKET_ALARM = "{0:threshold alarm release,1:threshold alarm,2:overheat alarm}"
_SOCKET: Table = {
    **_POWER,
    (0x08, 0x70): "socket_status:u8=switched_on{0:off,1:on}",
    (0x09, 0x67): TEMPERATURE,
    (0x89, 0x67): f"{TEMPERATURE} + temperature_alarm:u8{_SOCKET_ALARM}",
    (0x99, 0x67): f"{TEMPERATURE} + temperature_mutation:i16/10 + temperature_alarm:u8"
    "{2:mutation alarm}",
    (0x87, 0xC9): "current:u16@mA + current_alarm:u8{0:overcurrent alarm release,"
    "1:overcurrent alarm}",
    (0x88, 0x29): "device_abnormal:u8{1:abnormal}",
}


def _lights(payload: bytes, at: int, into: Decoded) -> int:
    """Eight switches: which changed, then which are on."""
    need(payload, at, 2)
    for n in range(8):
        into.add(f"switch_{n + 1}", "on" if payload[at + 1] >> n & 1 else "off")
        into.add(f"switch_{n + 1}_change", "yes" if payload[at] >> n & 1 else "no")
    return at + 2


def _press_event(payload: bytes, at: int, into: Decoded) -> int:
    need(payload, at, 1)
    words = {1: "short press", 2: "long press", 3: "double press"}
    word = words.get(payload[at], "unknown")
    into.fields["button_event"] = {"status": word}
    into.labels["button_event"] = word
    return at + 1


_HEAT_MODES = ("heat", "em heat", "cool", "auto", "occupied", "vacant", "eco")
_HEAT_STATES = (
    "standby", "stage-1 heat", "stage-2 heat", "stage-3 heat", "stage-4 heat", "em heat",
    "stage-1 cool", "stage-2 cool",
)  # fmt: skip
_FAN_MODES = ("auto", "on", "circulate", "disable")
_FAN_STATES = ("standby", "high speed", "low speed", "on")


def _thermostat(target: str, control: str) -> Table:
    """A thermostat; its two generations name the target and the control differently."""

    def past(payload: bytes, at: int, into: Decoded) -> int:
        need(payload, at, 8)
        first, second = unpack("u16", payload, at + 4), unpack("u16", payload, at + 6)
        entry = Decoded()
        entry.add("fan_mode", _FAN_MODES[first & 3])
        entry.add("fan_status", _FAN_STATES[first >> 2 & 3])
        entry.add("system_status", "on" if first >> 4 & 1 else "off")
        entry.add("temperature", ((first >> 5) - 1000) / 10, "temperature_c")
        entry.add(f"{control}_mode", _HEAT_MODES[second & 3])
        entry.add(f"{control}_status", _HEAT_STATES[second >> 2 & 7])
        entry.add(target, ((second >> 5) - 1000) / 10, "target_temperature_c")
        stamp = unpack("u32", payload, at)
        entry.fields["timestamp"] = stamp
        into.fields.setdefault("history", []).append(entry.fields)
        into.history.append(PastReading(stamp, entry.measures, entry.labels))
        return at + 8

    def state(payload: bytes, at: int, into: Decoded) -> int:
        need(payload, at, 1)
        mode, status = payload[at] & 15, payload[at] >> 4
        into.add(f"{control}_mode", _HEAT_MODES[mode] if mode < 7 else "unknown")
        into.add(f"{control}_status", _HEAT_STATES[status] if status < 8 else "unknown")
        return at + 1

    def fan(payload: bytes, at: int, into: Decoded) -> int:
        need(payload, at, 1)
        into.add("fan_mode", _FAN_MODES[payload[at] & 3])
        into.add("fan_status", _FAN_STATES[payload[at] >> 2 & 3])
        return at + 1

    return {
        **ATTRIBUTES,
        (0x03, 0x67): TEMPERATURE,
        (0x04, 0x67): f"{target}:i16/10@Cel=target_temperature",
        (0x05, 0xE7): state,
        (0x06, 0xE8): fan,
        (0x07, 0xBC): "plan_event:u8{0:not executed,1:wake,2:away,3:home,4:sleep,5:occupied,"
        "6:vacant,7:eco}",
        (0x08, 0x8E): "system_status:u8=switched_on{0:off,1:on}",
        (0x09, 0x68): HUMIDITY,
        (0x0A, 0x6E): "_:1",
        (0x83, 0x67): f"{TEMPERATURE} + temperature_alarm:u8{{1:emergency heating timeout,"
        "2:auxiliary heating timeout,3:persistent low temperature,"
        "4:persistent low temperature release,5:persistent high temperature,"
        "6:persistent high temperature release,7:freeze protection,8:freeze protection release,"
        "9:threshold,10:threshold release}",
        (0xB3, 0x67): "temperature_exception:u8{1:read failed,2:out of range}",
        (0xB9, 0x68): "humidity_exception:u8{1:read failed,2:out of range}",
        (0x20, 0xCE): past,
    }


_WT101 = _bare(
    {
        (0x03, 0x67): TEMPERATURE,
        (0x04, 0x67): "target_temperature:i16/10@Cel",
        (0x05, 0x92): "valve_opening:u8@%",
        (0x06, 0x00): "install_status:u8{0:installed,1:uninstalled}",
        (0x07, 0x00): "window_detection:u8{0:normal,1:open}",
        (0x08, 0xE5): "motor_calibration_result:u8{0:success,1:fail: out of range,"
        "2:fail: uninstalled,3:calibration cleared,4:temperature control disabled}",
        (0x09, 0x90): "motor_stroke:u16",
        (0x0A, 0x00): "freeze_protection:u8{0:normal,1:triggered}",
        (0x0B, 0x90): "motor_position:u16",
    }
)

# -- controllers ----

#: Modbus data types of the UC300, and of the UC501 and its family: format, bytes.
_UC300_TYPES = {
    0: "u8", 1: "u8", 2: "i16", 3: "i16", 4: "i32", 5: "f32", 6: "i32", 7: "f32",
    8: "i32", 9: "i32", 10: "i32", 11: "i32",
}  # fmt: skip
_UC50X_TYPES = {0: "u8", 1: "u8", 2: "i16", 3: "i16", 4: "i32", 5: "f32", 6: "i32", 7: "f32"}


def _modbus_value(kind: str, signed: bool, payload: bytes, at: int) -> float:
    if kind[0] == "i" and not signed:
        kind = "u" + kind[1:]
    value: float = unpack(kind, payload, at)
    return value


def _uc300_modbus(payload: bytes, at: int, into: Decoded) -> int:
    need(payload, at, 3)
    channel, size, code = payload[at] + 1, payload[at + 1], payload[at + 2]
    need(payload, at + 3, size)
    kind = _UC300_TYPES.get(code & 0x7F)
    if kind is not None and int(kind[1:]) // 8 <= size:
        name = f"modbus_chn_{channel}"
        into.add(name, _modbus_value(kind, bool(code & 0x80), payload, at + 3))
    return at + 3 + size


def _uc50x_modbus(payload: bytes, at: int, into: Decoded) -> int:
    need(payload, at, 2)
    channel, code = payload[at] - 6, payload[at + 1]
    size = code >> 3
    need(payload, at + 2, size)
    kind = _UC50X_TYPES[code & 7]
    if int(kind[1:]) // 8 <= size:
        into.add(f"modbus_chn_{channel}", _modbus_value(kind, False, payload, at + 2))
    return at + 2 + size


def _modbus_error(offset: int) -> Reader:
    def read(payload: bytes, at: int, into: Decoded) -> int:
        need(payload, at, 1)
        into.add(f"modbus_chn_{payload[at] + offset}_alarm", "read error")
        return at + 1

    return read


def _uc300() -> Table:
    table: dict[tuple[int, int], Entry] = {
        **ATTRIBUTES,
        (0xFF, 0x19): _uc300_modbus,
        (0xFF, 0x15): _modbus_error(1),
        (0x07, 0x01): "gpio_output_1:u8{0:off,1:on}",
        (0x08, 0x01): "gpio_output_2:u8{0:off,1:on}",
    }
    for n in range(1, 5):
        table[n + 2, 0x00] = f"gpio_input_{n}:u8{{0:off,1:on}}"
        table[n + 2, 0xC8] = f"gpio_counter_{n}:u32"
    for code, name, number in (
        (0x09, "pt100_1", "i16/10@Cel"), (0x0A, "pt100_2", "i16/10@Cel"),
        (0x0B, "adc_1", "u32/100"), (0x0C, "adc_2", "u32/100"),
        (0x0D, "adv_1", "u32/100"), (0x0E, "adv_2", "u32/100"),
    ):  # fmt: skip
        table[code, 0x67 if name.startswith("pt") else 0x02] = f"{name}:{number}"
        table[code, 0xE2] = " + ".join(f"{name}{end}:f16" for end in ("", "_max", "_min", "_avg"))
    return table


def _uc50x() -> Table:
    table: dict[tuple[int, int], Entry] = {
        **ATTRIBUTES,
        (0x01, 0x75): BATTERY,
        (0xFF, 0x14): "_:1",
        (0xFF, 0x0E): _uc50x_modbus,
        (0xFF, 0x15): _modbus_error(-6),
        (0x08, 0xDB): "_:37",
        (0x20, 0xDC): "_:22",
    }
    for n in (1, 2):
        table[n + 2, 0x00] = f"gpio_{n}:u8{{0:low,1:high}}"
        table[n + 2, 0x01] = f"gpio_{n}:u8{{0:low,1:high}}"
        table[n + 2, 0xC8] = f"gpio_counter_{n}:u32"
        ends = ("", "_min", "_max", "_avg")
        table[n + 4, 0x02] = " + ".join(f"adc_{n}{end}:i16/1000" for end in ends)
        halves = " + ".join(f"adc_{n}{end}:f16" for end in ends)
        table[n + 4, 0xE2] = halves
        table[n + 0x84, 0xE2] = f"{halves} + adc_{n}_alarm:u8{{0:threshold,1:value change}}"
    return table


def _valves(kind: str) -> Table:
    table: dict[tuple[int, int], Entry] = {
        **ATTRIBUTES,
        (0x01, 0x75): BATTERY,
        (0xFF, 0x12): "custom_message:text8",
        (0xFE, 0x55): "_:28",
        (0x20, 0xCE): f"{TIME} + status:u8 + pulse:u32=pulse_count",
        (0x21, 0xCE): f"{TIME} + pressure:u16@kPa",
        (0x0D, 0xE3): "_:3 + valve_calibration_result:u8{0:failed,1:success}",
        (0x0E, 0x01): "valve_1_opening_duration:u8@s",
        (0x0F, 0x01): "valve_2_opening_duration:u8@s",
    }
    for n in (1, 2):
        table[2 * n + 1, 0x01] = f"valve_{n}:u8=valve_{n}_open{{0:close,1:open}}"
        table[2 * n + 1, 0xF6] = (
            f"valve_{n}_type:u8{{0:2-way ball valve,1:3-way ball valve}} + valve_{n}_opening:u8@%"
        )
        table[2 * n + 2, 0xC8] = f"valve_{n}_pulse:u32=valve_{n}_pulse_count"
        table[n + 6, 0x01] = f"gpio_{n}:u8{{0:off,1:on}}"
        table[n + 8, 0x7B] = f"pressure_{n}:u16@kPa" if kind == "uc521" else "pressure:u16@kPa"
        table[n + 10, 0xF5] = (
            f"_:6 + pressure_{n}:u16@kPa + pressure_{n}_alarm:u8{{0:alarm release,1:alarm}}"
        )
        table[0xB1 + 2 * n, 0xF6] = (
            f"_:1 + valve_{n}_sensor_status:u8{{0:low battery power,"
            "1:shutdown after getting io feedback,2:incorrect opening time,3:timeout,"
            "4:valve stall}"
        )
        table[0xB8 + n, 0x7B] = f"pressure_{n}_sensor_status:u8{{1:abnormal}}"
    return table


def _templates(payload: bytes, at: int, into: Decoded) -> int:
    """Texts of an electronic label: block and template, length, UTF-8."""
    need(payload, at, 2)
    block, size = payload[at], payload[at + 1]
    need(payload, at + 2, size)
    text = payload[at + 2 : at + 2 + size].decode("utf-8", "replace")
    number = block & 0x3F
    name = f"text_{number + 1}" if number < 10 else "qrcode"
    template = f"template_{(block >> 6) + 1}"
    into.fields.setdefault(template, {})[name] = text
    into.labels[f"{template}_{name}"] = text
    return at + 2 + size


# -- temperature probes ----


def _probes() -> Table:
    table: dict[tuple[int, int], Entry] = {**ATTRIBUTES, (0x01, 0x75): BATTERY}
    alarm = "u8{0:threshold release,1:threshold,2:mutation}"
    for n in (1, 2):
        name, code = f"temperature_chn{n}", n + 2
        one = f"{name}:i16/10@Cel"
        table[code, 0x67] = one
        table[code, 0x00] = f"magnet_chn{n}:u8=opened_chn{n}{{0:closed,1:opened}}"
        table[code + 0x80, 0x67] = f"{one} + {name}_alarm:{alarm}"
        table[code + 0x90, 0xD7] = f"{one} + {name}_change:i16/100 + {name}_alarm:{alarm}"
    return table


def _ts201(status: str, words: str, alarms: str) -> Table:
    return _table(
        {
            (0x83, 0x67): f"event+|{TEMPERATURE} + temperature_alarm:u8{alarms}",
            (0x84, 0x68): f"event+|{HUMIDITY} + humidity_alarm:u8{alarms}",
            (0x93, 0x67): f"event+|{TEMPERATURE} + temperature_mutation:i16/10 + "
            f"temperature_alarm:u8{alarms}",
            (0x94, 0x68): f"event+|{HUMIDITY} + humidity_mutation:u8/10 + "
            f"humidity_alarm:u8{alarms}",
            (0xB3, 0x67): f"event|temperature_{status}:u8{words}",
            (0xB4, 0x68): f"event|humidity_{status}:u8{words}",
            (0xFF, 0xA0): "_:1 + sensor_id:hex8",
            (0x20, 0xCE): f"{TIME} + _:1 + {TEMPERATURE}"
            + (f" + {HUMIDITY} + _:1" if status == "sensor_status" else ""),
        }
    )


_TS201 = _ts201(
    "exception",
    "{0:Read Error,1:Out of Range}",
    "{0:Threshold Alarm Release,1:Threshold Alarm,2:Mutation Alarm}",
)
_TS201_V2 = _ts201(
    "sensor_status",
    "{0:read error,1:out of range}",
    "{0:threshold alarm release,1:threshold alarm,2:mutation alarm}",
)


def _tilt_flags(payload: bytes, at: int, into: Decoded) -> int:
    """Angles in hundredths of a degree, and which of them are beyond their threshold."""
    need(payload, at, 7)
    for n, axis in enumerate("xyz"):
        into.add(f"angle_{axis}", unpack("i16", payload, at + 2 * n) / 100, f"angle_{axis}_deg")
        into.add(f"threshold_{axis}", "trigger" if payload[at + 6] >> n & 1 else "normal")
    return at + 7


def _tilt_bits(payload: bytes, at: int, into: Decoded) -> int:
    """Angles in hundredths of a degree whose lowest bit says "beyond the threshold"."""
    need(payload, at, 6)
    for n, axis in enumerate("xyz"):
        raw = unpack("i16", payload, at + 2 * n)
        into.add(f"angle_{axis}", (raw >> 1) / 100, f"angle_{axis}_deg")
        into.add(f"threshold_{axis}", "trigger" if raw & 1 else "normal")
    return at + 6


def _sound(payload: bytes, at: int, into: Decoded) -> int:
    """Weighting, and level, mean and highest level in tenths of a decibel."""
    need(payload, at, 7)
    into.labels["sound_weighting"] = {1: "A", 2: "C"}.get(payload[at] & 3, "Z")
    for n, (name, measure) in enumerate(
        (("l", "sound_level_db"), ("leq", "noise_db"), ("lmax", "noise_max_db"))
    ):
        into.add(name, unpack("u16", payload, at + 1 + 2 * n) / 10, measure)
    return at + 7


_WIND = "wind_speed:u16/10@m/s"
_RAIN = "rainfall_total:u32/100=rainfall_total_mm + rainfall_counter:u8"
_WEATHER = _table(
    {
        (0x05, 0x84): "wind_direction:u16/10@deg",
        (0x06, 0x73): PRESSURE,
        (0x07, 0x92): _WIND,
        (0x08, 0x77): "rainfall_total:u16/100=rainfall_total_mm + rainfall_counter:u8",
        (0x08, 0xEC): _RAIN,
        (0x83, 0x67): f"{TEMPERATURE} + temperature_alarm:u8{THRESHOLD}",
        (0x86, 0x73): f"{PRESSURE} + pressure_alarm:u8{THRESHOLD}",
        (0x87, 0x92): f"{_WIND} + wind_speed_alarm:u8{THRESHOLD}",
        (0x88, 0xEC): f"{_RAIN} + rainfall_alarm:u8{THRESHOLD}",
        (0x20, 0xCE): f"{TIME} + {TEMPERATURE} + {HUMIDITY} + {PRESSURE} + "
        f"wind_direction:u16/10@deg + {_WIND} + rainfall_total:u16/100=rainfall_total_mm",
        (0x21, 0xCE): f"{TIME} + {TEMPERATURE} + {HUMIDITY} + {PRESSURE} + "
        f"wind_direction:u16/10@deg + {_WIND} + rainfall_total:u32/100=rainfall_total_mm",
    }
)
_WS203 = _table(
    {
        (0x05, 0x00): OCCUPANCY,
        (0x83, 0x67): f"{TEMPERATURE} + temperature_abnormal:u8{{0:normal,1:abnormal}}",
        (0x20, 0xCE): f"{TIME} + report_type:u8{{0:temperature resume,1:temperature threshold,"
        f"2:pir idle,3:pir occupancy,4:period}} + {OCCUPANCY} + {TEMPERATURE} + {HUMIDITY}",
    }
)
_DEPTH = "depth:u16@cm=water_level"
_SWITCHED = "{0:off,1:on}"
_GAS_ALARMS = (
    "{0:power off,1:power on,2:sensor fault,3:sensor fault recovered,"
    "4:sensor will be invalid soon,5:device invalid}"
)
_AT101 = _bare(
    {
        (0x03, 0x67): TEMPERATURE,
        (0x04, 0x88): _place,
        (0x84, 0x88): _place,
        (0x05, 0x00): POSITION,
        (0x06, 0xD9): "_:9",
        (0x07, 0x00): "tamper_status:u8{0:install,1:uninstall}",
        (0x83, 0x67): f"{TEMPERATURE} + temperature_abnormal:u8{{0:normal,1:abnormal}}",
        (0x20, 0xCE): "_:12",
    }
)

# -- the models ----

MODELS: dict[str, Model] = {
    **dict.fromkeys(("am102", "am102l"), Model("air", _AM10X)),
    **dict.fromkeys(("am103", "am103l"), Model("air", _AM103)),
    **dict.fromkeys(("am104", "am107"), Model("air", _AM107)),
    **dict.fromkeys(("am304l", "am305l"), Model("air", _AM30X)),
    **dict.fromkeys(("am307", "am307l"), Model("air", _am300())),
    **dict.fromkeys(("am308", "am308l"), Model("air", _am300(_PM))),
    **dict.fromkeys(
        ("am319", "am319l", "am319-hcho", "am319-hcho-ir", "am319-hcho-well", "am319l-hcho-ir"),
        Model("air", _am300(_PM, "hcho:u16/100@mg/m3")),
    ),
    **dict.fromkeys(("am319-o3", "am319l-o3"), Model("air", _am300(_PM, "o3:u16/100@ppm"))),
    "at101": Model("asset", _AT101),
    **dict.fromkeys(("ct101", "ct103", "ct105"), Model("electric_current", _CT10X)),
    **dict.fromkeys(("ct303", "ct305", "ct310"), Model("electric_current", _current_channels())),
    "ds3604": Model(
        "label",
        _bare(
            {
                (0xFB, 0x01): _templates,
                (0xFF, 0x2E): "button_status:u8{0:single click,1:double click,2:short press,"
                "3:long press}",
                (0xFF, 0x73): "current_template_id:u8",
            }
        ),
    ),
    "em300-cl": Model("liquid", _EM300_CL),
    **dict.fromkeys(("em300-di", "em300-di-hall"), Model("water_meter", _EM300_DI)),
    "em300-mcs": Model("door", _em300(MAGNET, 0x06)),
    "em300-mld": Model(
        "leak",
        _bare({(0x05, 0x00): LEAK, (0x06, 0x00): LEAK, (0x20, 0xCE): f"{TIME} + _:3 + {LEAK}"}),
    ),
    **dict.fromkeys(("em300-sld", "em300-zld"), Model("leak", _em300(LEAK, 0x05))),
    "em300-th": Model("air", _table({(0x20, 0xCE): f"{TIME} + {TEMPERATURE} + {HUMIDITY} + _:1"})),
    "em310-tilt": Model("tilt", _bare({(0x03, 0xCF): _tilt_flags})),
    "em310-udl": Model("distance", _bare({(0x03, 0x82): DISTANCE, (0x04, 0x00): POSITION})),
    "em320-th": Model("air", _AM10X),
    "em320-tilt": Model("tilt", _bare({(0x03, 0xD4): _tilt_bits})),
    **dict.fromkeys(("em400-mud", "em400-tld", "em400-udl"), Model("distance", _EM400)),
    **dict.fromkeys(("em410-rdl", "em411-rdl"), Model("distance", _EM410)),
    "em500-co2": Model(
        "air",
        _table(
            {
                (0x05, 0x7D): CO2,
                (0x06, 0x73): PRESSURE,
                (0x83, 0xD7): _TEMPERATURE_CHANGE,
                (0x20, 0xCE): f"{TIME} + {CO2} + {PRESSURE} + {TEMPERATURE} + {HUMIDITY}",
            }
        ),
    ),
    "em500-lgt": Model(
        "light",
        _bare(
            {
                (0x03, 0x94): "illumination:u32@lx",
                (0x20, 0xCE): f"{TIME} + illumination:u32@lx",
            }
        ),
    ),
    "em500-pp": Model(
        "pipe_pressure",
        _bare({(0x03, 0x7B): "pressure:u16@kPa", (0x20, 0xCE): f"{TIME} + pressure:u16@kPa"}),
    ),
    "em500-pt100": Model(
        "temperature",
        _bare(
            {
                (0x03, 0x67): TEMPERATURE,
                (0x83, 0xD7): _TEMPERATURE_CHANGE,
                (0x20, 0xCE): f"{TIME} + {TEMPERATURE}",
            }
        ),
    ),
    "em500-smtc": Model(
        "soil",
        _bare(
            {
                (0x03, 0x67): TEMPERATURE,
                (0x04, 0x68): "moisture:u8/2@%",
                (0x04, 0xCA): "moisture:u16/100@%",
                (0x05, 0x7F): "ec:u16@uS/cm",
                (0x83, 0xD7): _TEMPERATURE_CHANGE,
                (0x20, 0xCE): f"{TIME} + ec:u16@uS/cm + {TEMPERATURE} + moisture:u16/100@%",
            }
        ),
    ),
    "em500-swl": Model(
        "water_level", _bare({(0x03, 0x77): _DEPTH, (0x20, 0xCE): f"{TIME} + {_DEPTH}"})
    ),
    "em500-udl": Model(
        "distance",
        _bare(
            {
                (0x03, 0x82): DISTANCE,
                (0x83, 0xE9): f"{DISTANCE} + distance_mutation:i16@mm + "
                f"distance_alarm:u8{_DISTANCE_ALARMS}",
                (0x20, 0xCE): f"{TIME} + {DISTANCE}",
            }
        ),
    ),
    "gs101": Model(
        "gas",
        {
            **ATTRIBUTES,
            (0x05, 0x8E): "gas_status:u8=gas_alarm{0:normal,1:alarm}",
            (0x06, 0x01): f"valve_status:u8=valve_open{_SWITCHED}",
            (0x07, 0x01): f"relay_output_status:u8=relay_on{_SWITCHED}",
            (0x08, 0x90): "life_remain:u32@s",
            (0xFF, 0x3F): f"alarm:u8{_GAS_ALARMS}",
        },
    ),
    "gs301": Model(
        "gas",
        _bare(
            {
                (0x02, 0x67): TEMPERATURE,
                (0x03, 0x68): HUMIDITY,
                (0x04, 0x7D): "nh3:u16/100@ppm",
                (0x05, 0x7D): "h2s:u16/100@ppm",
                (0x06, 0x7D): "h2s:u16/1000@ppm",
                (0x07, 0xEA): "_:5",
            }
        ),
    ),
    "ts101": Model("temperature", _bare({(0x03, 0x67): TEMPERATURE})),
    "ts201": Model("temperature", _TS201),
    "ts201-v2": Model("temperature", _TS201_V2),
    **dict.fromkeys(("ts301", "ts302"), Model("temperature", _probes())),
    "uc300": Model("controller", _uc300()),
    **dict.fromkeys(("uc501", "uc502"), Model("controller", _uc50x())),
    **dict.fromkeys(("uc511", "uc512"), Model("valve", _valves("uc511"))),
    "uc521": Model("valve", _valves("uc521")),
    "vs121": Model("people_count", _VS121),
    "vs132": Model("people_count", _VS132),
    **dict.fromkeys(("vs133", "vs135"), Model("people_count", _people_lines())),
    "vs321": Model("people_count", _VS321),
    "vs330": Model(
        "occupancy",
        _bare(
            {
                (0x02, 0x82): DISTANCE,
                (0x03, 0x8E): OCCUPANCY,
                (0x04, 0x8E): "calibration_status:u8{0:failed,1:success}",
            }
        ),
    ),
    **dict.fromkeys(("vs340", "vs341"), Model("occupancy", _bare({(0x03, 0x00): OCCUPANCY}))),
    **dict.fromkeys(("vs350", "vs351"), Model("people_count", _VS35X)),
    "vs360": Model("people_count", _VS360),
    "vs370": Model(
        "occupancy",
        _bare(
            {
                (0x03, 0x00): OCCUPANCY,
                (0x04, 0x00): "illuminance:u8{0:dim,1:bright,0xFE:disable}",
            }
        ),
    ),
    "vs373": Model("occupancy", _VS373),
    "ws101": Model("button", _bare({(0xFF, 0x2E): _press_event})),
    **dict.fromkeys(
        ("ws136", "ws156"),
        Model(
            "button",
            _bare(
                {
                    (0xFF, 0x2E): "press:u8{1:short,2:long,3:double}",
                    (0xFF, 0x34): "button:u8 + _:1 + press:u8{1:short,2:double,3:long}",
                }
            ),
        ),
    ),
    "ws201": Model("fill_level", _bare({(0x03, 0x82): DISTANCE, (0x04, 0xD6): "remaining:u8@%"})),
    "ws202": Model(
        "motion",
        _bare(
            {
                (0x03, 0x00): "pir:u8=motion{0:normal,1:trigger}",
                (0x04, 0x00): "daylight:u8=daylight{0:dark,1:light}",
            }
        ),
    ),
    "ws203": Model("occupancy", _WS203),
    "ws301": Model(
        "door",
        _bare({(0x03, 0x00): MAGNET, (0x04, 0x00): "tamper_status:u8{0:installed,1:uninstalled}"}),
    ),
    "ws302": Model("noise", _bare({(0x05, 0x5B): _sound})),
    "ws303": Model("leak", _bare({(0x03, 0x00): LEAK})),
    **dict.fromkeys(
        ("ws501", "ws501-cn", "ws502", "ws502-cn", "ws503", "ws503-cn"),
        Model("switch", _switches(3)),
    ),
    **dict.fromkeys(("ws501-eu", "ws502-eu", "ws502-us"), Model("switch", _switches(2))),
    "ws501-us": Model("switch", _switches(1)),
    **dict.fromkeys(("ws513", "ws515", "ws523", "ws525"), Model("switch", _SOCKET)),
    "ws558": Model("switch", {**_POWER, (0x08, 0x31): _lights}),
    "wt101": Model("heating", _WT101),
    "wt201": Model("heating", _thermostat("target_temperature", "temperature_control")),
    **dict.fromkeys(
        ("wt201-v2", "wt211"),
        Model("heating", _thermostat("temperature_target", "temperature_ctl")),
    ),
    "wts506": Model("weather", _WEATHER),
}

# -- models that are not in the list ----

#: What a type code means in most models, where the model is not known.
BY_TYPE: Mapping[int, str] = {
    0x67: TEMPERATURE,
    0x68: HUMIDITY,
    0x73: PRESSURE,
    0x75: BATTERY,
    0x77: "depth:u16@cm",
    0x7B: "pressure:u16@kPa",
    0x82: DISTANCE,
    0x94: "illumination:u32@lx",
    0xC8: "pulse:u32=pulse_count",
    0xCB: "light_level:u8",
    0xED: "liquid:u8=liquid_state",
    0x00: "status:u8",
    0x01: "switch:u8",
    0x8E: "status:u8",
    0x7D: "value:u16",
    0xD2: "counter:u32",
    0xCC: "count_in:u16 + count_out:u16",
    0x02: "analog:u32/100",
    0x80: "active_power:u32@W",
    0x74: "voltage:u16/10@V",
    0x83: "power_consumption:u32@Wh",
    0x81: "power_factor:u8@%",
    0xC9: "current:u16@mA",
    0x97: "total_current:u32/100@Ah",
    0x84: "wind_direction:u16/10@deg",
    0x92: "wind_speed:u16/10@m/s",
    0x6A: "activity:u16=activity_count",
    0xEF: "timestamp:u32",
}


def _by_type(channel: int, kind: int) -> Entry | None:
    """What a channel means in a model that is not known; values carry their channel's number."""
    if channel in {0xFE, 0xFF}:
        return ATTRIBUTES.get((channel, kind))
    spec = BY_TYPE.get(kind)
    if spec is None or channel & 0x80:
        return None
    if kind in {0x67, 0x68, 0x75, 0x73} and channel <= 0x09:
        return spec
    name, rest = spec.split(":", 1)
    return f"{name}_ch{channel}:{rest.split('=')[0]}" if kind != 0x82 else spec


def _nothing(channel: int, kind: int) -> Entry | None:
    return None


# -- frames that are not channel, type and value ----


def _smoke_frame(payload: bytes) -> Decoded:
    """GS524N: six bytes that add up to zero."""
    need(payload, 0, 6)
    if sum(payload[:6]) & 0xFF:
        raise DecodeError("bad_checksum", f"six bytes that add up to 0 wanted: {payload[:6].hex()}")
    decoded = Decoded()
    words = {
        1: "alarm", 2: "silent", 4: "low battery", 5: "failover", 7: "normal", 10: "removed",
        11: "installed", 14: "testing alarm with normal battery",
        15: "testing alarm with low battery",
    }  # fmt: skip
    message = payload[1] & 15
    decoded.add("protocol_version", payload[0] & 15)
    decoded.add("message_type", words.get(message, "unknown"))
    decoded.add("battery", payload[2])
    decoded.measures["battery_ratio"] = decoded.measures.pop("battery") / 100
    decoded.add("concentration", payload[3], "smoke_concentration_percent")
    decoded.add("temperature", unpack("i8", payload, 4), "temperature_c")
    decoded.measures["smoke_alarm"] = float(message == 1)
    return decoded


#: Why a GS601 sends an alarm; the last two come with the value.
_GS601_ALARMS = {
    0x00: "collection_error",
    0x01: "lower_range_error",
    0x02: "over_range_error",
    0x20: "interference_alarm_deactivation",
    0x21: "interference_alarm_trigger",
    0x30: "burning_alarm_deactivation",
    0x31: "burning_alarm_trigger",
    0x10: "alarm_deactivation",
    0x11: "alarm_trigger",
}


def _gs601_alarm(spec: str) -> Reader:
    """The alarm about a value; its word is a label, the value counts as any other."""
    name = parse_spec(spec).fields[0].name

    def read(payload: bytes, at: int, into: Decoded) -> int:
        code = unpack("u8", payload, at)
        word = _GS601_ALARMS.get(code)
        if word is None:
            raise DecodeError("unknown_payload", f"alarm {code:#04x}: {payload[:48].hex()}")
        at += 1
        told: dict[str, Any] = {}
        if code in {0x10, 0x11}:
            at = read_entry(spec, payload, at, into)
            told[name] = into.fields[name]
        into.fields[f"{name}_alarm"] = {"type": code, word: told}
        into.labels[f"{name}_alarm"] = word
        return at

    return read


_GS601_VALUES = {
    0x01: "vaping_index:u8",
    0x03: "pm1_0:u16@ug/m3",
    0x05: "pm2_5:u16@ug/m3",
    0x07: "pm10:u16@ug/m3",
    0x09: TEMPERATURE,
    0x0D: "tvoc:u16",
}

#: GS601: one byte says what follows; an alarm's is one more than its value's.
_GS601: Mapping[int, Entry] = {
    0x00: BATTERY,
    **_GS601_VALUES,
    **{code + 1: _gs601_alarm(spec) for code, spec in _GS601_VALUES.items()},
    0x0B: "humidity:u16/10@%RH",
    0x0F: "tamper_status:u8=tampered{0:normal,1:triggered}",
    0x11: "buzzer:u8=buzzer_on{0:normal,1:triggered}",
    0x12: OCCUPANCY,
    **dict.fromkeys(range(32, 43), "_:8"),
    0x2B: "pm_sensor_working_time:u32",
    0xDA: "_:8",
    0xDB: "sn:hex8",
    0xFE: "_:1",
}


def _one_byte_frame(payload: bytes, table: Mapping[int, Entry]) -> Decoded:
    decoded = Decoded()
    at = 0
    while at < len(payload) and payload[at] in table:
        at = read_entry(table[payload[at]], payload, at + 1, decoded)
    if at == 0:
        raise DecodeError("unknown_payload", f"no table reads {payload[:48].hex()}")
    if at < len(payload):
        decoded.add("undecoded", payload[at:].hex())
    return decoded


_NB_IOT_HEAD = 86


def _nb_iot_frame(payload: bytes, table: Table) -> Decoded:
    """The frame in which the same data travel over NB-IoT: who sends, then the channels."""
    need(payload, 0, _NB_IOT_HEAD)

    def number(at: int, size: int) -> int:
        return int.from_bytes(payload[at : at + size], "big")

    def text(at: int, size: int) -> str:
        return payload[at : at + size].decode("ascii", "replace")

    size = number(84, 2)
    need(payload, _NB_IOT_HEAD, size)
    inner = read_payload(payload[_NB_IOT_HEAD : _NB_IOT_HEAD + size], table, _nothing)
    head = {
        "startFlag": number(0, 1), "id": number(1, 2), "length": number(3, 2),
        "flag": number(5, 1), "frameCnt": number(6, 2), "protocolVersion": number(8, 1),
        "firmwareVersion": text(9, 4), "hardwareVersion": text(13, 4), "sn": text(17, 16),
        "imei": text(33, 15), "imsi": text(48, 15), "iccid": text(63, 20), "csq": number(83, 1),
        "data_length": size,
    }  # fmt: skip
    inner.fields = {**head, "data": [inner.fields]}
    inner.labels["sn"] = text(17, 16)
    return inner


@lru_cache(maxsize=4096)
def canonical_model(name: str) -> str | None:
    """The model's name in :data:`MODELS` that a text holds, e.g. of a device profile.

    Example:
        >>> canonical_model("Milesight EM500-SWL (CN470)"), canonical_model("EM300SLD-868M")
        ('em500-swl', 'em300-sld')
        >>> canonical_model("CT101-V2"), canonical_model("WS501 v4"), canonical_model("pump")
        ('ct101', 'ws501', None)
    """
    squeezed = "".join(one for one in name.lower() if one.isalnum())
    found = [key for key in _SQUEEZED if key in squeezed]
    return _SQUEEZED[max(found, key=len)] if found else None


_SQUEEZED = {name.replace("-", ""): name for name in (*MODELS, "gs524n", "gs601")}


@cache
def _fields_of(model: str) -> dict[str, str]:
    """The text of each field that a model's table names."""
    known: dict[str, str] = {}
    for entry in MODELS[model].table.values() if model in MODELS else ():
        if isinstance(entry, str):
            for text in entry.rpartition("|")[2].split(" + "):
                known.setdefault(text.split(":", 1)[0], text)
    return known


def read_object(fields: Mapping[str, Any], model: str) -> Decoded:
    """Read fields that the maker's decoder has already named, as :func:`decode_payload` would.

    Args:
        fields: Names of the maker to numbers and words.
        model: A name in :data:`MODELS`.

    Example:
        >>> read_object({"distance": 1200, "position": "tilt"}, "em310-udl").measures
        {'distance_m': 1.2, 'tilted': 1.0}
    """
    decoded = Decoded()
    known = _fields_of(model)
    for name, value in fields.items():
        if name in known and isinstance(value, int | float | str):
            keep_named(known[name], value, decoded)
    return decoded


def decode_payload(payload: bytes, model: str | None = None) -> tuple[Decoded, str]:
    """Read a payload; returns what it says and the kind of thing that says it.

    Args:
        payload: The bytes of an uplink.
        model: A name in :data:`MODELS`; None reads by type codes alone.

    Raises:
        DecodeError: ``short_payload``, ``unknown_payload``, ``bad_checksum``.

    Example:
        >>> read, kind = decode_payload(bytes.fromhex("03771e00"), "em500-swl")
        >>> kind, read.fields, read.measures
        ('water_level', {'depth': 30}, {'water_level_m': 0.3})
        >>> decode_payload(bytes.fromhex("0175640367f100"))[0].measures
        {'battery_ratio': 1.0, 'temperature_c': 24.1}
    """
    if model == "gs524n":
        return _smoke_frame(payload), "smoke"
    if model == "gs601":
        return _one_byte_frame(payload, _GS601), "air"
    if model is None:
        return read_payload(payload, {}, _by_type), "lorawan"
    kind, table = MODELS[model]
    if model.startswith("em400") and len(payload) > _NB_IOT_HEAD and payload[0] == 2:
        return _nb_iot_frame(payload, table), kind
    return read_payload(payload, table, _nothing), kind
