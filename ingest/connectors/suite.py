"""The conformance suite of a connector: what every decoder must do, on its own samples.

Each check gives the lines that say what fails and why; none where it passes.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from core.errors import ConnectorError, DecodeError
from core.observations import Observation
from core.ports import RawMessage
from core.topics import topic_matches
from ingest.connectors.connector import Connector
from ingest.connectors.load import load_connector, run_sample, samples_path
from ingest.connectors.samples import Sample, read_samples

#: A message may take so much processor time (milliseconds, median over its repetitions).
MAX_MS = 5.0

#: Damaged copies of each sample.
COPIES = 200


class Check(NamedTuple):
    """One check: its name, and what runs it."""

    name: str
    run: Callable[[], list[str]]


def checks(path: Path) -> list[Check]:
    """The suite for a decoder file; whatever prevents loading is the only check's failure.

    Example:
        >>> [one.name for one in checks(Path("not_there.py"))]
        ['loads']
    """
    try:
        connector, samples = load_connector(path), read_samples(samples_path(path))
    except ConnectorError as exc:
        why = str(exc)
        return [Check("loads", lambda: [why])]
    named = [
        (f"sample {sample.name}", lambda sample=sample: _as_said(connector, sample))
        for sample in samples
    ]
    return [
        Check("loads", list),
        *(Check(name, run) for name, run in named),
        Check("covers its topics", lambda: _covers(connector, samples)),
        Check("refuses what is damaged", lambda: _refuses_damage(connector, samples)),
        Check("gives the same again", lambda: _same_again(connector, samples)),
        Check("is quick", lambda: _is_quick(connector, samples)),
    ]


def _as_said(connector: Connector, sample: Sample) -> list[str]:
    wrong = run_sample(connector, sample)
    return [] if wrong is None else [f"{sample.where}: {wrong}"]


def _covers(connector: Connector, samples: list[Sample]) -> list[str]:
    filters = [name for name, _ in connector.filters]
    found = [
        f"{one.where}: topic {one.topic!r} is read by none of {filters}"
        for one in samples
        if not any(topic_matches(name, one.topic) for name in filters)
    ]
    table = samples_path(connector.path)
    found += [
        f"{table}: no sample gives observations on filter {name!r}; add one"
        for name in filters
        if not any(one.gives and topic_matches(name, one.topic) for one in samples)
    ]
    if not any(one.rejected for one in samples):
        found.append(f"{table}: no sample is rejected; add one of a message that cannot be read")
    return found


def damaged(sample: Sample) -> Iterator[RawMessage]:
    """Copies of a sample as networks and faulty devices make them; the same every time."""
    message = sample.message
    whole = message.payload
    rng = random.Random(7)  # noqa: S311 (damage, no secret)
    fixed = [b"", b"\x00", b"\xff" * 64, b"null", b"[]", b"{}", b'""', b"1e999", b"[" * 50_000]
    for payload in fixed:
        yield msgspec.structs.replace(message, payload=payload)
    for _ in range(COPIES if whole else 0):
        copy = bytearray(whole[: rng.randint(1, len(whole))] if rng.random() < 0.5 else whole)
        copy[rng.randrange(len(copy))] = rng.randrange(256)
        yield msgspec.structs.replace(message, payload=bytes(copy))


def _refuses_damage(connector: Connector, samples: list[Sample]) -> list[str]:
    """Damage may be read as something else or be refused; it never breaks the decoder."""
    found: dict[str, str] = {}
    for sample in samples:
        for message in damaged(sample):
            outcome = _outcome(connector, message)
            if isinstance(outcome, DecodeError) and outcome.reason in {"decoder_failed", "other"}:
                where = outcome.detail.split(" on ")[0]
                found.setdefault(
                    where,
                    f"{outcome.reason}: {where}: on payload {message.payload[:80]!r} "
                    f"(from {sample.where}); raise DecodeError(reason, detail) there",
                )
    return list(found.values())


def _same_again(connector: Connector, samples: list[Sample]) -> list[str]:
    """A replay gives the same, whatever came in between."""
    first = [_outcome(connector, one.message) for one in samples]
    again = [_outcome(connector, one.message) for one in reversed(samples)][::-1]
    return [
        f"{sample.where}: the same message gave {one} first and {other} then; "
        "decode may only depend on its message"
        for sample, one, other in zip(samples, first, again, strict=True)
        if str(one) != str(other)
    ]


def _is_quick(connector: Connector, samples: list[Sample]) -> list[str]:
    found = []
    for sample in samples:
        message, taken = sample.message, []
        for _ in range(9):
            began = time.process_time()
            _outcome(connector, message)
            taken.append(1000 * (time.process_time() - began))
        if (median := statistics.median(taken)) > MAX_MS:
            found.append(f"{sample.where}: {median:.1f} ms of processor; {MAX_MS:g} ms at most")
    return found


def _outcome(connector: Connector, message: RawMessage) -> list[Observation] | DecodeError:
    try:
        return connector.decode(message)
    except DecodeError as exc:
        return exc
