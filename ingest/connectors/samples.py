"""The table of samples beside a connector: JSON lines, one message each with what it must give.

``{"name": "dry", "topic": "acme/7/up", "payload": {"level": 3}, "gives": [{"thing_id": "7"}]}``.
``payload`` is text, or JSON that is sent as compact text; ``payload_hex`` is bytes. ``gives``
names the fields of the observations that are looked at, ``time`` among them as RFC 3339;
``rejected`` is the reason instead. ``received`` is the time of receipt.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from core.errors import ConnectorError, DecodeError
from core.observations import Observation
from core.ports import RawMessage
from core.units import ns_to_rfc3339, rfc3339_to_ns

_FIELDS = frozenset(Observation.__struct_fields__)


class Sample(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of the table; ``where`` is its file and line."""

    name: str
    topic: str
    payload: Any = None
    payload_hex: str | None = None
    received: str = "2026-07-01T01:00:00Z"
    gives: list[dict[str, Any]] | None = None
    rejected: str | None = None
    where: str = ""

    @property
    def message(self) -> RawMessage:
        """The message as ingest would get it."""
        if self.payload_hex is not None:
            payload = bytes.fromhex(self.payload_hex)
        elif isinstance(self.payload, str):
            payload = self.payload.encode()
        else:
            payload = msgspec.json.encode(self.payload)
        return RawMessage(
            topic=self.topic, payload=payload, received_ns=rfc3339_to_ns(self.received), qos=1
        )


def read_samples(path: Path) -> list[Sample]:
    """Read the table.

    Raises:
        ConnectorError: Says file, line, what was found and what is accepted.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConnectorError(f"{path}: a table of samples was wanted beside it: {exc}") from exc
    samples = [
        _read(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()
    ]
    if not samples:
        raise ConnectorError(f"{path}:1: no sample was found; one JSON object a line is accepted")
    return samples


def _read(line: str, where: str) -> Sample:
    try:
        sample = msgspec.json.decode(line, type=Sample)
        sample = msgspec.structs.replace(sample, where=where)
        _ = sample.message
        unknown = {key for one in sample.gives or () for key in one} - _FIELDS - {"time"}
        for one in sample.gives or ():
            if "time" in one:
                rfc3339_to_ns(one["time"])
    except (msgspec.MsgspecError, ValueError, TypeError, AttributeError, OverflowError) as exc:
        raise ConnectorError(f"{where}: not a sample: {exc}") from exc
    if unknown:
        raise ConnectorError(
            f"{where}: gives: {sorted(unknown)} is no field of an observation; "
            f"{', '.join(sorted(_FIELDS))} and time are accepted"
        )
    if (sample.gives is None) == (sample.rejected is None):
        raise ConnectorError(f'{where}: either "gives" or "rejected" is accepted')
    return sample


def difference(sample: Sample, outcome: list[Observation] | DecodeError) -> str | None:
    """What a sample wanted and did not get; None where all is as it says."""
    if isinstance(outcome, DecodeError):
        if outcome.reason == sample.rejected:
            return None
        wanted = f"rejected as {sample.rejected}" if sample.rejected else "observations"
        return f"{wanted} wanted, got rejected as {outcome}"
    if sample.gives is None:
        return f"rejected as {sample.rejected} wanted, got {len(outcome)} observations"
    if len(outcome) != len(sample.gives):
        return f"{len(sample.gives)} observations wanted, got {len(outcome)}"
    for number, (wanted_one, got_one) in enumerate(zip(sample.gives, outcome, strict=True)):
        for field, value in wanted_one.items():
            got, want = _got(got_one, field), value
            if field == "time":
                got, want = ns_to_rfc3339(got_one.observed_ns), ns_to_rfc3339(rfc3339_to_ns(value))
            if not _same(got, want):
                return f"observation {number}: {field}: {want!r} wanted, got {got!r}"
    return None


def _got(one: Observation, field: str) -> Any:
    return None if field == "time" else getattr(one, field)


def _same(got: Any, want: Any) -> bool:
    if isinstance(want, Mapping) and isinstance(got, Mapping):
        return got.keys() == want.keys() and all(_same(got[key], want[key]) for key in want)
    if isinstance(want, int | float) and isinstance(got, int | float):
        return math.isclose(got, want, rel_tol=1e-9, abs_tol=1e-12)
    return bool(got == want or (isinstance(got, tuple) and list(got) == want))
