"""Frames: the atoms of the embedded log, as values and bytes.

A segment file is a head and then frames. A frame is written whole or not at all: its head
carries the length and the CRC-32 of the rest. In it are the records of any topics and
partitions and the offsets groups have committed, so both become true together::

    frame   = magic (4) | length u32 | CRC-32 u32 | durable_before u64 | payload
    payload = MessagePack [blocks, commits, topics]
    block   = [topic, partition, first, last, max_timestamp_ms, [record, …]]
    record  = [offset, timestamp_ms, key, value, headers]

``durable_before`` is how much of the segment had been forced to disk when the frame was
written. It tells a torn tail from damage: when a bad frame lies before what a later, whole
frame knew to be durable, acknowledged data is gone and the log must not pass over it.

Nothing here touches a file.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Mapping, Sequence

import msgspec

from core.errors import ServiceError

FRAME_MAGIC = b"\xabQn1"
SEGMENT_MAGIC = b"QNLOG01\n"

#: No frame is longer; a longer length field is damage, not a frame.
MAX_FRAME_BYTES = 256 << 20

_FRAME_HEAD = struct.Struct("<4sIIQ")
_SEGMENT_HEAD = struct.Struct("<8sQQI")
_DURABLE = struct.Struct("<Q")

FRAME_HEAD_BYTES = _FRAME_HEAD.size
SEGMENT_HEAD_BYTES = _SEGMENT_HEAD.size

#: A topic and one of its partitions.
TopicPartition = tuple[str, int]

#: Names and values a producer put beside a record.
Headers = tuple[tuple[str, bytes], ...]

Buffer = bytes | bytearray | memoryview | mmap.mmap


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One record of one partition. ``value`` None deletes the key in a compacted topic."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers | None = None


class TopicInfo(msgspec.Struct, frozen=True, array_like=True):
    """What is declared of a topic.

    ``compact`` keeps the last record of every key; ``delete`` lets whole old segments of it
    go, after ``retention_ms`` when that is set.
    """

    name: str
    partitions: int
    compact: bool = False
    delete: bool = True
    retention_ms: int | None = None


class Commit(msgspec.Struct, frozen=True, array_like=True):
    """The next offset a group wants of a partition."""

    group: str
    topic: str
    partition: int
    offset: int


class Block(msgspec.Struct, frozen=True, array_like=True):
    """The records of one partition in a frame, not yet decoded."""

    topic: str
    partition: int
    first: int
    last: int
    max_timestamp_ms: int
    records: msgspec.Raw

    @property
    def key(self) -> TopicPartition:
        """Whose records these are."""
        return self.topic, self.partition

    @property
    def n_bytes(self) -> int:
        """Encoded size of the records."""
        return memoryview(self.records).nbytes

    def decode(self) -> list[Record]:
        """The records, in order of offset."""
        return _RECORDS.decode(self.records)


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """What one frame holds."""

    blocks: list[Block]
    commits: list[Commit]
    topics: list[TopicInfo]


_ENCODER = msgspec.msgpack.Encoder()
_FRAME = msgspec.msgpack.Decoder(Frame)
_RECORDS = msgspec.msgpack.Decoder(list[Record])


def encode_frame(
    records: Mapping[TopicPartition, Sequence[Record]],
    commits: Sequence[Commit] = (),
    topics: Sequence[TopicInfo] = (),
    *,
    blocks: Sequence[Block] = (),
    durable_before: int = 0,
) -> bytearray:
    """One frame as bytes.

    Args:
        records: Records by partition, each list in order of offset and not empty.
        commits: Offsets that become true with the records.
        topics: Declarations.
        blocks: Blocks of other frames, taken over as they are (cleaning).
        durable_before: Bytes of the segment already forced to disk.

    Raises:
        ServiceError: The frame would be longer than ``MAX_FRAME_BYTES``.

    Example:
        >>> frame = encode_frame({("events", 0): [Record(7, 0, None, b"v")]})
        >>> end = check_frame(frame, 0)
        >>> decode_frame(frame, 0, end).blocks[0].decode()[0].value
        b'v'
        >>> check_frame(frame[:-1], 0)
        'the frame is cut off'
    """
    out: list[object] = list(blocks)
    for (topic, partition), run in records.items():
        newest = max(record.timestamp_ms for record in run)
        out.append((topic, partition, run[0].offset, run[-1].offset, newest, run))
    buffer = bytearray(FRAME_HEAD_BYTES)
    _ENCODER.encode_into((out, commits, topics), buffer, FRAME_HEAD_BYTES)
    length = len(buffer) - FRAME_HEAD_BYTES
    if length > MAX_FRAME_BYTES:
        raise ServiceError(f"a frame holds at most {MAX_FRAME_BYTES} bytes, got {length}")
    _FRAME_HEAD.pack_into(buffer, 0, FRAME_MAGIC, length, 0, durable_before)
    with memoryview(buffer) as view:
        checksum = zlib.crc32(view[FRAME_HEAD_BYTES:], _head_crc(length, durable_before))
    _FRAME_HEAD.pack_into(buffer, 0, FRAME_MAGIC, length, checksum, durable_before)
    return buffer


def check_frame(data: Buffer, position: int) -> int | str:
    """Where the frame that starts here ends, or in words why it is none."""
    size = len(data)
    if size - position < FRAME_HEAD_BYTES:
        return "the frame is cut off"
    magic, length, checksum, durable_before = _FRAME_HEAD.unpack_from(data, position)
    if magic != FRAME_MAGIC:
        return "no frame starts here"
    if length > MAX_FRAME_BYTES:
        return f"the frame claims {length} bytes"
    start = position + FRAME_HEAD_BYTES
    end = start + length
    if end > size:
        return "the frame is cut off"
    with memoryview(data) as view, view[start:end] as payload:
        if zlib.crc32(payload, _head_crc(length, durable_before)) != checksum:
            return "the checksum is wrong"
    return int(end)


def decode_frame(data: Buffer, position: int, end: int) -> Frame:
    """The frame between two positions that ``check_frame`` has found good.

    Raises:
        ServiceError: The bytes are whole but mean nothing: another version wrote them.
    """
    # A copy: blocks keep the buffer they were decoded from alive.
    payload = bytes(memoryview(data)[position + FRAME_HEAD_BYTES : end])
    try:
        return _FRAME.decode(payload)
    except msgspec.MsgspecError as error:
        raise ServiceError(
            f"the frame at byte {position} is whole but cannot be read ({error}); "
            "another version of the platform wrote this log"
        ) from error


def durable_after(data: bytes | mmap.mmap, position: int) -> int:
    """How far whole frames behind a bad one say that the segment was on disk; 0 for no frame.

    Example:
        >>> good = encode_frame({}, durable_before=500)
        >>> durable_after(b"rubbish" + bytes(good), 0)
        500
    """
    known = 0
    found = data.find(FRAME_MAGIC, position + 1)
    while found >= 0:
        end = check_frame(data, found)
        if isinstance(end, int):
            known = max(known, int(_FRAME_HEAD.unpack_from(data, found)[3]))
        found = data.find(FRAME_MAGIC, end if isinstance(end, int) else found + 1)
    return known


def encode_segment_head(first: int, last: int) -> bytes:
    """Head of a segment file that stands for the segments numbered first to last."""
    body = _SEGMENT_HEAD.pack(SEGMENT_MAGIC, first, last, 0)[:-4]
    return body + struct.pack("<I", zlib.crc32(body))


def check_segment_head(data: Buffer, first: int, last: int) -> str:
    """Why these bytes are not the head of that segment; empty when they are."""
    if len(data) < SEGMENT_HEAD_BYTES:
        return "the head is cut off"
    if bytes(data[:SEGMENT_HEAD_BYTES]) != encode_segment_head(first, last):
        return "the head is not that of this segment"
    return ""


def _head_crc(length: int, durable_before: int) -> int:
    return zlib.crc32(_DURABLE.pack(durable_before), length)
