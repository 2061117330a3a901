"""Records what a broker passes on, as a listener beside the platform."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from core.clock import Clock
from core.ports import RawMessage
from core.topics import FRAME_FILTERS
from core.units import seconds_to_ns
from ingest.broker import BrokerAddress
from ingest.mqtt_source import MqttSource
from ingest.recording.layout import is_frame_topic
from ingest.recording.writer import FLUSH_S, RecordingWriter
from vision.anonymise import FrameBlurrer


class FramePolicy(StrEnum):
    """What becomes of camera frames in a recording."""

    NONE = "none"  #: they are not asked for
    BLURRED = "blurred"  #: whoever moves is blurred
    RAW = "raw"  #: as they are: personal data, needs a legal ground


class Recorder:
    """Listens to a broker and writes rounds and ticks until stopped.

    Args:
        address: The broker and who we are there.
        clock: Stamps the time of receipt: city time where the platform has one.
        writer: Takes the messages.
        filters: MQTT filters to record, with their quality of service.
        frames: What becomes of camera frames.
        tick_interval_s: After so much silence, in the clock's seconds, a tick is written.

    Attributes:
        blurrer: Counts frames that were blurred whole or dropped.
    """

    def __init__(
        self,
        address: BrokerAddress,
        clock: Clock,
        writer: RecordingWriter,
        filters: Sequence[tuple[str, int]],
        *,
        frames: FramePolicy = FramePolicy.BLURRED,
        tick_interval_s: float = 5.0,
    ) -> None:
        wanted = dict(filters)
        if frames is not FramePolicy.NONE:
            wanted |= dict(FRAME_FILTERS)
        self.source = MqttSource(
            address,
            clock,
            client_id=f"qingniao-record-{secrets.token_hex(4)}",
            filters=tuple(wanted.items()),
            persistent=False,
        )
        self.blurrer = FrameBlurrer()
        self._clock = clock
        self._writer = writer
        self._frames = frames
        self._tick_ns = seconds_to_ns(tick_interval_s)
        self._last_ns = clock.now_ns()

    async def run(self) -> None:
        """Record until cancelled; what came until then is in the file.

        Raises:
            ServiceError: The broker refuses us, or the disk.
        """
        await self.source.start()
        ticking = asyncio.create_task(self._tick())
        carrying = asyncio.create_task(self._carry())
        try:
            done, _ = await asyncio.wait({ticking, carrying}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (ticking, carrying):
                task.cancel()
            await asyncio.gather(ticking, carrying, return_exceptions=True)
            await self.source.stop()
            self._writer.close()

    async def _carry(self) -> None:
        async for batch in self.source.batches():
            self._last_ns = self._clock.now_ns()
            kept = batch
            if any(is_frame_topic(message.topic) for message in batch):
                kept = await asyncio.to_thread(self._treat_frames, batch)
            self._writer.write(kept)
            self.source.acknowledge(batch)

    async def _tick(self) -> None:
        factor = max(float(getattr(self._clock, "factor", 1.0)), 1e-6)
        nap_s = min(FLUSH_S, max(0.01, self._tick_ns / 1e9 / factor))
        while True:
            await asyncio.sleep(nap_s)
            now_ns = self._clock.now_ns()
            if self.source.live and now_ns - self._last_ns >= self._tick_ns:
                self._writer.tick(now_ns)
                self._last_ns = now_ns
            self._writer.flush()

    def _treat_frames(self, batch: Sequence[RawMessage]) -> list[RawMessage]:
        kept = []
        for message in batch:
            if not is_frame_topic(message.topic) or self._frames is FramePolicy.RAW:
                kept.append(message)
            elif self._frames is FramePolicy.BLURRED and (
                (payload := self.blurrer.blur(message.payload)) is not None
            ):
                kept.append(msgspec.structs.replace(message, payload=payload))
        return kept
