"""Writes MQTT traffic to MCAP files in a folder: rotated, indexed, with bounded memory.

A file is readable up to the last flush however its writer ended: chunks are written whole,
at the latest every second. The index at its end only makes seeking faster.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from core.errors import DecodeError, InputError, ServiceError
from core.frames import decode_frame
from core.ports import RawMessage
from core.units import NS_PER_S, ns_to_rfc3339
from ingest.recording import layout
from ingest.recording.mcap_file import McapFile
from ingest.recording.pictures import PictureStore

#: Uncompressed bytes of a chunk; with a city's readings some 5,000 messages.
CHUNK_BYTES = 1024 * 1024
MAX_FILE_BYTES = 256 * 1024 * 1024
MAX_FILE_S = 3600.0

#: What was written is in the file at the latest after so many wall seconds.
FLUSH_S = 1.0

#: Entries of the file's index held in memory, one per chunk and channel in it: about 40 MB.
MAX_INDEX_ENTRIES = 250_000
#: MCAP numbers channels with 16 bits.
MAX_CHANNELS = 60_000

_NAME = re.compile(r"(\d{6})-.*\.mcap")

_Flags = tuple[str, int, bool, bool, str]


class RecordingWriter:
    """Writes rounds of messages and ticks; call from one thread at a time.

    Args:
        folder: Made if missing; files already there stay, numbers go on.
        about: What is recorded, e.g. the city; kept as metadata of every file.
        max_file_bytes: A new file is begun after so many bytes.
        max_file_s: A new file is begun after so many seconds of recorded time.
        keep_files: The oldest files of the folder are removed beyond this number; None keeps
            all.
        pictures: Takes the pictures of camera frames, which are then only referenced; without
            it they are in the files.

    Raises:
        ServiceError: The folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        about: Mapping[str, str] | None = None,
        max_file_bytes: int = MAX_FILE_BYTES,
        max_file_s: float = MAX_FILE_S,
        keep_files: int | None = None,
        pictures: PictureStore | None = None,
    ) -> None:
        if keep_files is not None and keep_files < 1:
            raise InputError(f"keep_files must be 1 or more, got {keep_files}")
        self.folder = folder
        self.messages = 0
        self.ticks = 0
        self.files = 0
        self.bytes = 0  # of files that are complete
        self._about = dict(about or {})
        self._max_file_bytes = max_file_bytes
        self._max_file_ns = round(max_file_s * NS_PER_S)
        self._keep_files = keep_files
        self._pictures = pictures
        self._round = 0
        self._stream: IO[bytes] | None = None
        self._file: McapFile
        self._channels: dict[_Flags, int] = {}
        self._schemas: dict[str, int] = {}
        self._began_ns = 0
        self._flushed_s = time.monotonic()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            numbers = [int(m[1]) for one in folder.iterdir() if (m := _NAME.fullmatch(one.name))]
        except OSError as exc:
            raise ServiceError(f"recording folder {folder}: {exc.strerror}") from exc
        self._number = max(numbers, default=0)

    def write(self, messages: Sequence[RawMessage]) -> None:
        """Write messages that were carried together.

        Raises:
            ServiceError: The disk refused.
        """
        if not messages:
            return
        self._round = (self._round + 1) & 0xFFFF
        try:
            self._make_room(messages[-1].received_ns)
            for message in messages:
                self._write_one(message)
            self._flush_if_due()
        except OSError as exc:
            raise ServiceError(f"recording in {self.folder}: {exc.strerror}") from exc
        self.messages += len(messages)

    def tick(self, instant_ns: int) -> None:
        """Write that only time has passed.

        Raises:
            ServiceError: The disk refused.
        """
        self._round = (self._round + 1) & 0xFFFF
        try:
            self._make_room(instant_ns)
            channel = self._channel((layout.TICK_TOPIC, 0, False, False, layout.JSON))
            self._add(channel, instant_ns, b"{}", instant_ns)
            self._flush_if_due()
        except OSError as exc:
            raise ServiceError(f"recording in {self.folder}: {exc.strerror}") from exc
        self.ticks += 1

    def attach(self, name: str, media_type: str, data: bytes, instant_ns: int) -> None:
        """Put a file of another kind into the recording."""
        self._make_room(instant_ns)
        self._file.flush()
        self._file.add_attachment(name, media_type, data, instant_ns)

    def flush(self) -> None:
        """Bring what was written to the file; a later kill cannot take it back.

        Raises:
            ServiceError: The disk refused.
        """
        if self._stream is None:
            return
        try:
            self._file.flush()
        except OSError as exc:
            raise ServiceError(f"recording in {self.folder}: {exc.strerror}") from exc
        self._flushed_s = time.monotonic()

    def close(self) -> None:
        """Write the index and close the file."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            try:
                self._file.finish()
                self.bytes += stream.tell()
            finally:
                stream.close()

    def _make_room(self, instant_ns: int) -> None:
        """Begin a file where there is none, or the present one has grown enough."""
        if self._stream is not None and (
            self._stream.tell() >= self._max_file_bytes
            or instant_ns - self._began_ns >= self._max_file_ns
            or self._file.index_entries >= MAX_INDEX_ENTRIES
            or len(self._channels) >= MAX_CHANNELS
        ):
            self.close()
        if self._stream is None:
            self._open(instant_ns)

    def _open(self, instant_ns: int) -> None:
        self._number += 1
        began = ns_to_rfc3339(instant_ns)
        safe = began.replace(":", "").replace("-", "").partition(".")[0]
        path = self.folder / f"{self._number:06d}-{safe}Z.mcap"
        # Buffered by chunks, not by the file: MCAP writes a chunk at once.
        self._stream = path.open("xb")
        self._file = McapFile(
            self._stream, profile=layout.PROFILE, library=layout.LIBRARY, chunk_bytes=CHUNK_BYTES
        )
        self._file.add_metadata(layout.METADATA, {"began": began, **self._about})
        self._channels.clear()
        self._schemas.clear()
        self._began_ns = instant_ns
        self.files += 1
        if self._keep_files is not None:
            mine = sorted(one for one in self.folder.iterdir() if _NAME.fullmatch(one.name))
            for old in mine[: -self._keep_files]:
                old.unlink(missing_ok=True)

    def _write_one(self, message: RawMessage) -> None:
        received_ns, payload = message.received_ns, message.payload
        encoding, published_ns = layout.encoding_and_time(payload, received_ns)
        if encoding == layout.BYTES and layout.is_frame_topic(message.topic):
            try:
                frame = decode_frame(payload)
            except DecodeError:
                pass  # kept as the bytes it is: a replay rejects it as that day
            else:
                published_ns = frame.time_ns
                if self._pictures is None:
                    encoding, payload = "image", layout.image_of(frame)
                else:
                    encoding = "reference"
                    payload = layout.reference_to(frame, self._pictures.put(frame.jpeg))
        flags = (message.topic, message.qos, message.retained, message.duplicate, encoding)
        self._add(
            self._channel(flags), received_ns, payload, published_ns, message.packet_id & 0xFFFF
        )

    def _add(
        self, channel: int, log_ns: int, data: bytes, publish_ns: int, packet_id: int = 0
    ) -> None:
        sequence = self._round << 16 | packet_id
        self._file.add_message(channel, log_ns, data, max(0, publish_ns), sequence)

    def _channel(self, flags: _Flags) -> int:
        channel = self._channels.get(flags)
        if channel is None:
            topic, qos, retained, duplicate, encoding = flags
            schema = 0
            if topic == layout.TICK_TOPIC:
                schema = self._schema(layout.TICK_SCHEMA)
            elif encoding == "image":
                schema, encoding = self._schema(layout.IMAGE_SCHEMA), layout.JSON
            elif encoding == "reference":
                schema, encoding = self._schema(layout.REFERENCE_SCHEMA), layout.JSON
            elif encoding == layout.JSON:
                schema = self._schema(layout.ANY_SCHEMA)
            channel = self._channels[flags] = self._file.add_channel(
                topic,
                encoding,
                schema,
                {
                    "qos": str(qos),
                    "retained": "true" if retained else "false",
                    "duplicate": "true" if duplicate else "false",
                },
            )
        return channel

    def _schema(self, schema: layout.Schema) -> int:
        number = self._schemas.get(schema[0])
        if number is None:
            number = self._schemas[schema[0]] = self._file.add_schema(
                schema[0], "jsonschema", layout.schema_bytes(schema)
            )
        return number

    def _flush_if_due(self) -> None:
        if time.monotonic() - self._flushed_s >= FLUSH_S:
            self.flush()
