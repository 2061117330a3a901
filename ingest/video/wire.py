"""What the decoding process writes to its parent: records of a header and a picture."""

from __future__ import annotations

import struct
from typing import NamedTuple

#: Kinds of record.
PICTURE, END, FAULT = 1, 2, 3

#: kind, number, time in nanoseconds, width, height, bytes that follow, dropped so far, promised.
_HEADER = struct.Struct("<IqqIIIqq")
HEADER_BYTES = _HEADER.size


class Header(NamedTuple):
    """Of one record.

    ``number`` counts the pictures of the source from 0, skipped ones too. ``time_ns`` is the
    source's own: since its beginning for files, UTC for live streams. ``dropped``: pictures of
    a live stream that nobody took in time. ``promised``: what the file's header says it has,
    0 where it says nothing. A fault carries its text instead of a picture.
    """

    kind: int
    number: int
    time_ns: int
    width_px: int
    height_px: int
    size_bytes: int
    dropped: int
    promised: int


def pack(header: Header) -> bytes:
    """Write a header.

    Example:
        >>> header = Header(PICTURE, 3, 40, 2, 1, 6, 0, 9)
        >>> unpack(pack(header)) == header
        True
    """
    return _HEADER.pack(*header)


def unpack(data: bytes) -> Header:
    """Read a header of ``HEADER_BYTES`` bytes."""
    return Header(*_HEADER.unpack(data))
