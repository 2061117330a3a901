"""Decoders: one file per wire format, and the table from topic to decoder.

Formats of others are connectors (:mod:`ingest.connectors`), added at start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

from core.errors import DecodeError
from core.ledger import UNKNOWN_SOURCE
from core.observations import Columns, Observation
from core.ports import RawMessage
from core.topics import OBSERVATIONS, topic_matches
from ingest.decoders import (
    chirpstack,
    dji,
    frigate,
    opendroneid,
    owntracks,
    plain,
    remote_id,
    senml,
    set_aside,
)

#: Reads a message into observations, one by one or as columns; raises DecodeError with a reason.
Decoder = Callable[[RawMessage], list[Observation] | Columns]

#: A longer topic is refused: it is kept with every observation. Ids have at most 256.
MAX_TOPIC_CHARS = 512

#: Third level of ``qn/{city}/…/{id}`` to decoder.
_OWN: dict[str, Decoder] = {
    "sensor": plain.decode,
    "detection": plain.decode,
    "report": plain.decode_report,
    "exclusion": plain.decode_exclusion_record,
    "senml": senml.decode,
    "senml-cbor": senml.decode,
    "remote-id": opendroneid.decode,
}


#: What observations of the shipped decoders name as their source.
SOURCES = frozenset(
    {"chirpstack", "dji", "frigate", "opendroneid", "owntracks", "plain", "remote_id", "senml"}
)


class AddedDecoder(NamedTuple):
    """A decoder of others: what its observations are called, what it reads, and how."""

    source: str
    filters: tuple[str, ...]
    decode: Decoder


#: Set once at start; a process serves one city.
_added: tuple[AddedDecoder, ...] = ()


def use_added(decoders: Sequence[AddedDecoder]) -> None:
    """Read these formats too, instead of those added before; the shipped ones come first."""
    global _added
    _added = tuple(decoders)
    decoder_for.cache_clear()


@lru_cache(maxsize=16_384)
def decoder_for(topic: str) -> Decoder:
    """The decoder of a topic.

    Raises:
        DecodeError: ``unknown_topic``.

    Example:
        >>> decoder_for("qn/qingdao/senml/w-1").__module__
        'ingest.decoders.senml'
        >>> decoder_for("qn/qingdao/frame/c-1")
        Traceback (most recent call last):
        ...
        core.errors.DecodeError: unknown_topic: no decoder reads 'qn/qingdao/frame/c-1'
    """
    if topic.startswith(f"{OBSERVATIONS}["):
        return set_aside.decode
    decoder: Decoder | None = None
    match topic.split("/") if len(topic) <= MAX_TOPIC_CHARS else []:
        case ["qn", city, family, thing] if city and thing:
            decoder = _OWN.get(family)
        case ["thing", "product", sn, leaf] if sn:
            decoder = dji.BY_LEAF.get(leaf)
        case ["sys", "product", sn, "status"] if sn:
            decoder = dji.decode_status
        case ["dronetag"]:
            decoder = remote_id.decode_dronetag
        case ["application", _, "device", dev_eui, "event", _] if dev_eui:
            decoder = chirpstack.decode
        case ["frigate", "events" | "reviews" | "tracked_object_update" | "triggers" | "available"]:
            decoder = frigate.decode
        case ["owntracks", user, device, *_] if user and device:
            decoder = owntracks.decode
    if decoder is None and len(topic) <= MAX_TOPIC_CHARS:
        decoder = next((one.decode for one in _added if _reads(one, topic)), None)
    if decoder is None:
        raise DecodeError("unknown_topic", f"no decoder reads {topic[:256]!r}")
    return decoder


def decode(message: RawMessage) -> list[Observation] | Columns:
    """Read a message with the decoder of its topic.

    Raises:
        DecodeError: The message cannot be read; ``reason`` is what it is counted under.
    """
    return decoder_for(message.topic)(message)


def source_of(topic: str) -> str:
    """What a message of a topic is counted under where it gave no observation.

    Example:
        >>> source_of("qn/qingdao/senml/w-1"), source_of("what/is/this")
        ('senml', 'unknown')
    """
    try:
        decoder = decoder_for(topic)
    except DecodeError:
        return UNKNOWN_SOURCE
    added = next((one.source for one in _added if one.decode is decoder), None)
    return added or decoder.__module__.rpartition(".")[2]


def _reads(added: AddedDecoder, topic: str) -> bool:
    return any(topic_matches(one, topic) for one in added.filters)
