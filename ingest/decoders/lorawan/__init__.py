"""Codecs of LoRaWAN payloads, and the choice among them.

A codec is chosen by what the network server tells of the device: the names of its profile, the
device and the application, and its tags. Where no model is known, the fields that the server's
own codec has named are read, and then the payload by its type codes if it came on the port that
such devices use.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from core.errors import DecodeError
from ingest.decoders.lorawan import cayenne, milesight, named
from ingest.decoders.lorawan.tlv import Decoded

#: What a measure says of the thing that sends it, where no model does; the first that is there.
_KIND_OF_MEASURE = {
    "water_level_m": "water_level",
    "leak": "leak",
    "gas_lel_ratio": "gas",
    "gas_alarm": "gas",
    "smoke_alarm": "smoke",
    "smoke_db_per_m": "smoke",
    "tilt_deg": "manhole",
    "cover_open": "manhole",
    "occupied": "occupancy",
    "people_count": "people_count",
    "people_total_in_count": "people_count",
    "distance_m": "distance",
    "noise_db": "noise",
    "co2_ppm": "air",
    "pm10_ug_m3": "air",
    "pm2_5_ug_m3": "air",
    "nh3_ppm": "gas",
    "h2s_ppm": "gas",
    "humidity_ratio": "air",
    "temperature_c": "temperature",
}

DEFAULT_KIND = "lorawan"

#: Field names by which occupancy is that of a parking bay.
_BAY = re.compile(r"park|vehicle|car_?(present|status)|slot", re.IGNORECASE)


def find_model(names: Iterable[str]) -> str | None:
    """The first model that one of the texts names.

    Example:
        >>> find_model(["underpass 3", "Milesight EM500-SWL"]), find_model([])
        ('em500-swl', None)
    """
    return next((model for name in names if (model := milesight.canonical_model(name))), None)


def decode(
    payload: bytes | None,
    port: int | None,
    fields: Mapping[str, Any] | None,
    names: Iterable[str] = (),
) -> tuple[Decoded, str, str]:
    """Read an uplink with the codec of its device.

    Args:
        payload: The bytes, where there are any.
        port: The LoRaWAN port.
        fields: What the network server's own codec made of it, where it has one.
        names: Texts that may name the model, the surest first.

    Returns:
        What it says, the kind of thing, and the codec that read it.

    Raises:
        DecodeError: ``no_codec`` where nothing can read it; ``short_payload``,
            ``unknown_payload``, ``bad_checksum`` of the codec that should.

    Example:
        >>> read, kind, codec = decode(bytes.fromhex("03771e00"), 85, None, ["EM500-SWL"])
        >>> read.measures, kind, codec
        ({'water_level_m': 0.3}, 'water_level', 'em500-swl')
        >>> read, kind, codec = decode(None, 2, {"leak": True})
        >>> read.measures, kind, codec
        ({'leak': 1.0}, 'leak', 'object')
    """
    texts = list(names)
    model = find_model(texts)
    squeezed = " ".join(texts).lower()
    try:
        if payload and model is not None:
            decoded, kind = milesight.decode_payload(payload, model)
            return decoded, kind, model
        if payload and ("cayenne" in squeezed or "lpp" in squeezed.split()):
            decoded = cayenne.decode_payload(payload)
            return decoded, _kind(decoded), "cayenne"
    except DecodeError:
        if not fields:
            raise
    if fields:
        decoded, kind = _from_fields(fields, model)
        return decoded, kind, "object" if model is None else f"{model} object"
    if payload and (port == milesight.DEFAULT_PORT or "milesight" in squeezed):
        decoded, _ = milesight.decode_payload(payload)
        return decoded, _kind(decoded), "milesight"
    raise DecodeError(
        "no_codec",
        f"no codec for port {port}, payload {(payload or b'')[:32].hex() or 'none'}; name the "
        f"model in the device profile or in a tag, or give the profile a codec; got {texts[:4]}",
    )


def _from_fields(fields: Mapping[str, Any], model: str | None) -> tuple[Decoded, str]:
    """Fields of the model by the maker's names, the others by what names mean."""
    decoded = named.read_object(fields)
    if model is None or model not in milesight.MODELS:
        return decoded, _kind(decoded)
    own = milesight.read_object(fields, model)
    rest = named.read_object({k: v for k, v in fields.items() if k not in own.fields})
    own.measures = {**rest.measures, **own.measures}
    own.labels = {**rest.labels, **own.labels}
    return own, milesight.MODELS[model].kind


def _kind(decoded: Decoded) -> str:
    if "occupied" in decoded.measures and any(_BAY.search(name) for name in decoded.fields):
        return "parking"
    return next(
        (kind for name, kind in _KIND_OF_MEASURE.items() if name in decoded.measures), DEFAULT_KIND
    )
