"""Reads recordings: MCAP files, folders of them, and JSON lines; whole, cut off or damaged."""

from __future__ import annotations

import logging
import struct
from collections import Counter
from collections.abc import Container, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO, NamedTuple

from mcap.data_stream import ReadDataStream
from mcap.exceptions import EndOfFile, McapError
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Attachment, Channel, Chunk, Message, Metadata, Schema
from mcap.stream_reader import CRCValidationError, StreamReader, get_chunk_data_stream
from mcap.summary import Summary
from zstandard import ZstdError

from core.errors import DecodeError, InputError
from core.ports import RawMessage
from ingest.recording import layout
from ingest.recording.jsonl import read_messages
from ingest.recording.pictures import read_picture
from ingest.recording.rounds import MAX_ROUND, Round, by_time, with_ticks

log = logging.getLogger(__name__)

#: A longer record is damage or an attack; a chunk of ours has 1 MiB, a foreign one may be larger.
MAX_RECORD_BYTES = 512 * 1024 * 1024

#: Where a recording has no ticks of its own, silence is told at this interval.
TICK_INTERVAL_S = 5.0

#: MCAP files of others know no rounds; what came within this time goes together.
FOREIGN_ROUND_NS = 250_000_000

#: What a damaged file makes the readers raise.
_DAMAGE = (
    McapError,
    CRCValidationError,
    ZstdError,
    RuntimeError,
    struct.error,
    UnicodeDecodeError,
    EOFError,
    MemoryError,
    ValueError,
    OverflowError,
)


#: Head of a record; a message with all that stands before its data (https://mcap.dev/spec).
_RECORD, _MESSAGE = struct.Struct("<BQ"), struct.Struct("<BQHIQQ")
_NUMBER = struct.Struct("<H")

#: A message as it lies in a chunk: channel, sequence, time of receipt (ns), data. A bare tuple:
#: a day has millions.
Stored = tuple[int, int, int, bytes]


#: How frames lie in a recording; other topics may use these schemas for what they like.
_FRAME_SCHEMAS = frozenset({layout.IMAGE_SCHEMA[0], layout.REFERENCE_SCHEMA[0]})


class _ChannelInfo(NamedTuple):
    """A channel; ``schema`` where it carries frames, else empty."""

    topic: str
    qos: int
    retained: bool
    duplicate: bool
    schema: str


class Recording:
    """A recording on disk; may be read any number of times.

    Args:
        path: An MCAP file, a folder of MCAP files (read by name), or a file of JSON lines
            ``{"ts": Unix seconds, "topic": …, "data": …}``.

    Attributes:
        cut_off: Files of which something is missing, and why: their writer was killed before
            the index, or they are damaged. All else of them is read. Known after a reading.
        frames_gone: Frames of the last reading that were only referenced and whose pictures are
            no longer beside the recording, or damaged, by reason; they are left out.

    Raises:
        InputError: There is no such recording.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cut_off: dict[Path, str] = {}
        self.frames_gone: Counter[str] = Counter()
        if path.is_dir():
            self.files = sorted(path.glob("*.mcap"))
            if not self.files:
                raise InputError(f"{path}: no recording in this folder; *.mcap files are wanted")
        elif path.is_file():
            self.files = [path]
        else:
            raise InputError(
                f"{path}: no such recording; an MCAP file, a folder of them, or JSON lines of "
                "ts, topic, data wanted"
            )
        self.is_mcap = all(_is_mcap(one) for one in self.files)

    def rounds(
        self, *, since_ns: int | None = None, until_ns: int | None = None
    ) -> Iterator[Round]:
        """The rounds in order; those of JSON lines are messages of equal time.

        Args:
            since_ns: What is before need not be read; it may still come.
            until_ns: Likewise what is from here on.

        Raises:
            InputError: A file cannot be opened, or is no recording at all.
        """
        self.frames_gone.clear()
        if self.is_mcap:
            for path in self.files:
                yield from self._mcap_rounds(path, since_ns, until_ns)
            return
        for path in self.files:
            with _open(path) as file:
                yield from with_ticks(by_time(read_messages(file)), TICK_INTERVAL_S)

    def about(self) -> dict[str, str]:
        """What the recording says of itself: its city and more; empty where it says nothing."""
        for name, told in self._extras(Metadata):
            assert isinstance(told, Metadata)
            if name == layout.METADATA:
                return dict(told.metadata)
        return {}

    def attachments(self) -> dict[str, bytes]:
        """The files of other kinds in it, by name."""
        found = {}
        for name, told in self._extras(Attachment):
            assert isinstance(told, Attachment)
            found[name] = told.data
        return found

    def _extras(self, wanted: type[Metadata] | type[Attachment]) -> Iterator[tuple[str, object]]:
        for path in self.files if self.is_mcap else ():
            with _open(path) as file:
                reader = StreamReader(file, emit_chunks=True, record_size_limit=MAX_RECORD_BYTES)
                try:
                    for record in reader.records:
                        if isinstance(record, wanted):
                            yield record.name, record
                except _DAMAGE:
                    continue

    def _mcap_rounds(
        self, path: Path, since_ns: int | None, until_ns: int | None
    ) -> Iterator[Round]:
        if not _is_ours(path):
            messages = (one for _, one in self._messages(path, since_ns, until_ns))
            yield from by_time(messages, FOREIGN_ROUND_NS)
            return
        held: list[RawMessage] = []
        held_round = -1
        for number, message in self._messages(path, since_ns, until_ns):
            is_tick = message.topic == layout.TICK_TOPIC
            if held and (is_tick or number != held_round or len(held) >= MAX_ROUND):
                yield Round(held[-1].received_ns, held)
                held = []
            if is_tick:
                yield Round(message.received_ns, [])
            else:
                held.append(message)
                held_round = number
        if held:
            yield Round(held[-1].received_ns, held)

    def _messages(
        self, path: Path, since_ns: int | None, until_ns: int | None
    ) -> Iterator[tuple[int, RawMessage]]:
        with _open(path) as file:
            summary = _summary(file)
            if summary is None:
                self.cut_off[path] = "it has no index; its writer was killed"
            damaged: list[str] = []
            infos: dict[int, _ChannelInfo] = {}
            schemas: dict[int, str] = {}
            if summary is not None:
                schemas = {number: one.name for number, one in summary.schemas.items()}
                infos = {number: _info(one, schemas) for number, one in summary.channels.items()}
            try:
                for record in _records(file, summary, since_ns, until_ns, infos, damaged):
                    if isinstance(record, Schema):
                        schemas[record.id] = record.name
                        continue
                    if isinstance(record, Channel):
                        infos[record.id] = _info(record, schemas)
                        continue
                    channel_id, sequence, log_ns, payload = record
                    info = infos.get(channel_id)
                    if info is None:
                        continue
                    if info.schema:
                        try:
                            payload = _frame(payload, info.schema, path.parent)
                        except DecodeError as exc:
                            self.frames_gone[exc.reason] += 1
                            continue
                    yield (
                        sequence >> 16,
                        RawMessage(
                            topic=info.topic,
                            payload=payload,
                            received_ns=log_ns,
                            qos=info.qos,
                            retained=info.retained,
                            duplicate=info.duplicate,
                            packet_id=sequence & 0xFFFF,
                        ),
                    )
            except _DAMAGE as exc:
                where = f"it ends at byte {file.tell()}"
                self.cut_off[path] = f"{where}: {type(exc).__name__} {exc}".strip()
                log.warning("%s: %s", path, self.cut_off[path])
            if damaged:
                self.cut_off[path] = f"{len(damaged)} damaged chunks left out: {damaged[0]}"
                log.warning("%s: %s", path, self.cut_off[path])


def _records(
    file: IO[bytes],
    summary: Summary | None,
    since_ns: int | None,
    until_ns: int | None,
    known: Container[int],
    damaged: list[str],
) -> Iterator[Stored | Schema | Channel]:
    """What is in the chunks, in the order of the file; ``known`` channels are not told again.

    With an index only the chunks of the span are read, and one that is damaged is left out and
    named in ``damaged``; without, the reading ends there.
    """
    if summary is not None and summary.chunk_indexes:
        for index in sorted(summary.chunk_indexes, key=lambda one: one.chunk_start_offset):
            if (since_ns is not None and index.message_end_time < since_ns) or (
                until_ns is not None and index.message_start_time >= until_ns
            ):
                continue
            file.seek(index.chunk_start_offset + 9)  # behind opcode and length
            try:
                chunk = _read_chunk(file, index.chunk_length - 9)
                records = chunk_records(chunk, known)
            except _DAMAGE as exc:
                damaged.append(f"at byte {index.chunk_start_offset}: {type(exc).__name__} {exc}")
                continue
            yield from records
        return
    file.seek(0)
    reader = StreamReader(file, emit_chunks=True, record_size_limit=MAX_RECORD_BYTES)
    for record in reader.records:
        if isinstance(record, Chunk):
            yield from chunk_records(record, known)
        elif isinstance(record, Message):
            yield record.channel_id, record.sequence, record.log_time, record.data
        elif isinstance(record, Schema | Channel):
            yield record


def chunk_records(chunk: Chunk, known: Container[int]) -> list[Stored | Schema | Channel]:
    """What is in a chunk; its messages by one look at each, where the library takes ten.

    Args:
        chunk: As read.
        known: Numbers of channels that need not be read again.

    Raises:
        CRCValidationError: Its check sum is wrong.
        McapError: It is compressed in a way that nobody knows.
        struct.error: A record is cut off.
        RuntimeError: Likewise, in text.
    """
    stream, size = get_chunk_data_stream(chunk, validate_crc=True)
    data = stream.read(size)
    records: list[Stored | Schema | Channel] = []
    at, end = 0, len(data)
    while at < end:
        if data[at] == Opcode.MESSAGE:
            _, length, channel_id, sequence, log_ns, _ = _MESSAGE.unpack_from(data, at)
        else:
            _, length = _RECORD.unpack_from(data, at)
        start = at + _RECORD.size
        if length > end - start:
            raise EndOfFile
        if data[at] == Opcode.MESSAGE:
            payload = data[at + _MESSAGE.size : start + length]
            records.append((channel_id, sequence, log_ns, payload))
        elif data[at] == Opcode.CHANNEL:
            if _NUMBER.unpack_from(data, start)[0] not in known:
                records.append(Channel.read(ReadDataStream(BytesIO(data[start : start + length]))))
        elif data[at] == Opcode.SCHEMA:
            records.append(Schema.read(ReadDataStream(BytesIO(data[start : start + length]))))
        at = start + length
    return records


def _read_chunk(file: IO[bytes], length: int) -> Chunk:
    if length > MAX_RECORD_BYTES:
        raise ValueError(f"chunk of {length} bytes, at most {MAX_RECORD_BYTES}")
    chunk: Chunk = Chunk.read(ReadDataStream(file))
    return chunk


def _summary(file: IO[bytes]) -> Summary | None:
    try:
        summary = SeekingReader(file, record_size_limit=MAX_RECORD_BYTES).get_summary()
    except (*_DAMAGE, OSError):
        return None
    finally:
        file.seek(0)
    return summary


def _info(channel: Channel, schemas: dict[int, str]) -> _ChannelInfo:
    told = channel.metadata
    qos = told.get("qos", "0")
    schema = schemas.get(channel.schema_id, "")
    is_frame = schema in _FRAME_SCHEMAS and layout.is_frame_topic(channel.topic)
    return _ChannelInfo(
        topic=channel.topic,
        qos=int(qos) if qos in {"0", "1", "2"} else 0,
        retained=told.get("retained") == "true",
        duplicate=told.get("duplicate") == "true",
        schema=schema if is_frame else "",
    )


def _frame(recorded: bytes, schema: str, folder: Path) -> bytes:
    """A camera frame as it was carried.

    Raises:
        DecodeError: Its picture was only referenced and is no longer there.
    """
    if schema == layout.REFERENCE_SCHEMA[0]:
        return layout.referenced_frame(recorded, partial(read_picture, folder))
    try:
        return layout.frame_of(recorded)
    except DecodeError:
        return recorded  # the vision worker rejects it


def _is_ours(path: Path) -> bool:
    with _open(path) as file:
        try:
            return SeekingReader(file).get_header().profile == layout.PROFILE
        except _DAMAGE:
            return False


def _is_mcap(path: Path) -> bool:
    with _open(path) as file:
        return file.read(5) == b"\x89MCAP"


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as exc:
        raise InputError(f"{path}: {exc.strerror}") from exc
