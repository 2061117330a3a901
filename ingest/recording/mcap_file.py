"""An MCAP file written in chunks, with the index by which readers seek (https://mcap.dev/spec).

Byte for byte what the mcap library's writer gives with its defaults. That one makes objects and
some ten small writes of every message and channel; a city has hundreds of them in a second, so
here each is one ``pack``. What is rare is left to the library.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
import zstandard
from mcap import records
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.writer import MCAP0_MAGIC

_HEAD = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<BQHIQQ")
_CHANNEL = struct.Struct("<HH")
_LENGTH = struct.Struct("<I")
_ENTRY = struct.Struct("<QQ")
_MESSAGE_INDEX = struct.Struct("<BQHI")
_PLACE = struct.Struct("<HQ")
_FOOTER = struct.Struct("<BQQQ")


class McapFile:
    """One file; its stream is the caller's to close.

    Args:
        stream: Where it is written to, from its beginning.
        profile: What the channels of the file hold to.
        library: Who writes it.
        chunk_bytes: Uncompressed, after which a chunk is ended.

    Attributes:
        index_entries: What the index holds so far: one entry for each chunk and channel in it.
    """

    def __init__(
        self, stream: IO[bytes], *, profile: str, library: str, chunk_bytes: int = 1024 * 1024
    ) -> None:
        self.index_entries = 0
        self._stream = stream
        self._most_bytes = chunk_bytes
        self._compress = zstandard.ZstdCompressor().compress
        self._chunk = bytearray()
        #: Of each channel in the chunk: when its messages were logged, and where they begin.
        self._index: dict[int, bytearray] = {}
        self._schemas: list[bytes] = []
        self._channels: list[bytes] = []
        self._chunks: list[bytes] = []
        self._attachments: list[bytes] = []
        self._metadata: list[bytes] = []
        self._counts: dict[int, int] = {}
        self._spans: list[tuple[int, int]] = []  # of the chunks: first and last instant
        stream.write(MCAP0_MAGIC + _record(records.Header(profile=profile, library=library)))

    def add_schema(self, name: str, encoding: str, data: bytes) -> int:
        """Announce a schema; gives its number."""
        number = len(self._schemas) + 1
        schema = _record(records.Schema(id=number, data=data, encoding=encoding, name=name))
        self._schemas.append(schema)
        self._announce(schema)
        return number

    def add_channel(
        self, topic: str, encoding: str, schema_id: int, metadata: Mapping[str, str]
    ) -> int:
        """Announce a channel; gives its number."""
        number = len(self._channels) + 1
        told = b"".join(_text(text) for pair in metadata.items() for text in pair)
        body = _CHANNEL.pack(number, schema_id) + _text(topic) + _text(encoding)
        body += _LENGTH.pack(len(told)) + told
        channel = _HEAD.pack(Opcode.CHANNEL, len(body)) + body
        self._channels.append(channel)
        self._announce(channel)
        return number

    def add_metadata(self, name: str, told: Mapping[str, str]) -> None:
        """Write what the file says of itself."""
        record = _record(records.Metadata(name=name, metadata=dict(told)))
        index = records.MetadataIndex(offset=self._stream.tell(), length=len(record), name=name)
        self._metadata.append(_record(index))
        self._stream.write(record)

    def add_attachment(self, name: str, media_type: str, data: bytes, instant_ns: int) -> None:
        """Write a file of another kind."""
        about: dict[str, Any] = {
            "create_time": instant_ns,
            "log_time": instant_ns,
            "name": name,
            "media_type": media_type,
        }
        record = _record(records.Attachment(data=data, **about))
        index = records.AttachmentIndex(
            offset=self._stream.tell(), length=len(record), data_size=len(data), **about
        )
        self._attachments.append(_record(index))
        self._stream.write(record)

    def add_message(
        self, channel: int, log_ns: int, data: bytes, publish_ns: int, sequence: int
    ) -> None:
        """Write a message to the chunk, and the chunk to the file where it is full."""
        chunk = self._chunk
        entries = self._index.get(channel)
        if entries is None:
            entries = self._index[channel] = bytearray()
        entries += _ENTRY.pack(log_ns, len(chunk))
        chunk += _MESSAGE.pack(
            Opcode.MESSAGE, 22 + len(data), channel, sequence, log_ns, publish_ns
        )
        chunk += data
        if len(chunk) > self._most_bytes:
            self.end_chunk()

    def end_chunk(self) -> None:
        """Write the chunk in progress, if it has messages, and their index."""
        if not self._index:
            return
        begin = self._stream.tell()
        packed = self._compress(self._chunk)
        times = np.frombuffer(b"".join(self._index.values()), np.uint64)[::2]
        self._spans.append((int(times.min()), int(times.max())))
        span = _ENTRY.pack(*self._spans[-1])
        size, checksum = len(self._chunk), zlib.crc32(self._chunk)
        body = span + struct.pack("<QI", size, checksum) + _text("zstd")
        body += struct.pack("<Q", len(packed))
        head = _HEAD.pack(Opcode.CHUNK, len(body) + len(packed))
        chunk_length = len(head) + len(body) + len(packed)
        parts: list[bytes | bytearray] = [head, body, packed]
        places = bytearray()
        at = begin + chunk_length
        for channel, entries in self._index.items():
            places += _PLACE.pack(channel, at)
            length = len(entries)
            parts.append(_MESSAGE_INDEX.pack(Opcode.MESSAGE_INDEX, 6 + length, channel, length))
            parts.append(entries)
            at += _MESSAGE_INDEX.size + length
            self._counts[channel] = self._counts.get(channel, 0) + length // _ENTRY.size
        self._stream.write(b"".join(parts))
        index = span + _ENTRY.pack(begin, chunk_length) + _LENGTH.pack(len(places)) + places
        index += struct.pack("<Q", at - begin - chunk_length) + _text("zstd")
        index += _ENTRY.pack(len(packed), size)
        self._chunks.append(_HEAD.pack(Opcode.CHUNK_INDEX, len(index)) + index)
        self.index_entries += len(self._index)
        self._chunk, self._index = bytearray(), {}

    def flush(self) -> None:
        """Bring all that was written to the file; it is not told to the disk."""
        self.end_chunk()
        self._stream.flush()

    def finish(self) -> None:
        """End the file with its index."""
        self.end_chunk()
        self._stream.write(_record(records.DataEnd(data_section_crc=0)))
        begin = self._stream.tell()
        summary, offsets = bytearray(), bytearray()
        for opcode, group in (
            (Opcode.SCHEMA, self._schemas),
            (Opcode.CHANNEL, self._channels),
            (Opcode.STATISTICS, [_record(self._statistics())]),
            (Opcode.CHUNK_INDEX, self._chunks),
            (Opcode.ATTACHMENT_INDEX, self._attachments),
            (Opcode.METADATA_INDEX, self._metadata),
        ):
            start = len(summary)
            summary += b"".join(group)
            offset = records.SummaryOffset(
                group_opcode=opcode, group_start=begin + start, group_length=len(summary) - start
            )
            offsets += _record(offset)
        footer = records.Footer(begin, begin + len(summary), 0)
        summary += offsets
        # The check sum covers the footer up to itself.
        head = _FOOTER.pack(Opcode.FOOTER, 20, footer.summary_start, footer.summary_offset_start)
        footer.summary_crc = zlib.crc32(head, zlib.crc32(summary))
        self._stream.write(summary + _record(footer) + MCAP0_MAGIC)

    def _announce(self, record: bytes) -> None:
        self._chunk += record
        if len(self._chunk) > self._most_bytes:
            self.end_chunk()

    def _statistics(self) -> records.Statistics:
        return records.Statistics(
            attachment_count=len(self._attachments),
            channel_count=len(self._channels),
            channel_message_counts=self._counts,
            chunk_count=len(self._chunks),
            message_count=sum(self._counts.values()),
            message_start_time=min((first for first, _ in self._spans), default=0),
            message_end_time=max((last for _, last in self._spans), default=0),
            metadata_count=len(self._metadata),
            schema_count=len(self._schemas),
        )


def _text(text: str) -> bytes:
    data = text.encode()
    return _LENGTH.pack(len(data)) + data


def _record(record: Any) -> bytes:
    builder = RecordBuilder()
    record.write(builder)
    return bytes(builder.end())  # type: ignore[no-untyped-call]
