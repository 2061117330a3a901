"""Truth: what really happened, beside what was published and never in it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import msgspec

from core.errors import InputError


class Thing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="thing"):
    """One real thing that somebody must act on, so exactly one incident should come of it.

    ``began_ns`` is when it became a thing (a level passed the threshold, a car stood still, an
    aircraft crossed the border), ``ended_ns`` when it was over. The place is where it began.
    """

    truth_id: str
    scenario: str
    lon_deg: float
    lat_deg: float
    began_ns: int
    ended_ns: int
    note: str
    devices: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()


class NearMiss(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="near_miss"):
    """Something that looks like a thing and must not become an incident.

    ``radius_m`` is how far from the place it may be seen: aircraft move.
    """

    truth_id: str
    scenario: str
    lon_deg: float
    lat_deg: float
    began_ns: int
    ended_ns: int
    note: str
    devices: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()
    radius_m: float = 30.0


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="fault"):
    """What a network or a device did wrong; kinds are those of a fault plan.

    A fault of a message names its thing and time, and how long it was held back. A fault of a
    device lasts from ``observed_ns`` to ``ended_ns``; ``amount`` is what it is off by.
    """

    kind: str
    thing_id: str
    observed_ns: int
    delay_s: float = 0.0
    ended_ns: int = 0
    amount: float = 0.0


class Truth(NamedTuple):
    """A truth file, read."""

    things: list[Thing]
    near_misses: list[NearMiss]
    faults: list[Fault]


TruthRecord = Thing | NearMiss | Fault

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(TruthRecord)


class TruthWriter:
    """Appends records to a truth file, one JSON object a line; each write reaches the file.

    Args:
        path: The file; an existing one is replaced, missing folders are made.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb")

    def write(self, records: Iterable[TruthRecord]) -> None:
        """Append records."""
        lines = b"".join(_ENCODER.encode(record) + b"\n" for record in records)
        if lines:
            self._file.write(lines)
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> TruthWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_truth(path: Path) -> Truth:
    """Read a truth file; a last line that was cut off by a kill is left out.

    Raises:
        InputError: The file is missing, or a line is not a truth record; names the line.
    """
    truth = Truth([], [], [])
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as exc:
        raise InputError(f"truth file {path}: {exc.strerror}; run the simulators first") from exc
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = _DECODER.decode(line)
        except msgspec.MsgspecError as exc:
            if number == len(lines):  # no newline after it: the writer was killed
                break
            raise InputError(f"truth file {path}, line {number}: {exc}") from exc
        if isinstance(record, Thing):
            truth.things.append(record)
        elif isinstance(record, NearMiss):
            truth.near_misses.append(record)
        else:
            truth.faults.append(record)
    return truth
