"""Builders for the scenario tests: observations, a map that does as it is told, an engine's run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from core.events import Event, Place
from core.observations import Observation, ObservationBatch, Stamp, pack
from core.units import seconds_to_ns
from scenarios.engine import RuleEngine
from scenarios.loader import load_packs
from scenarios.model import Scenario

SHIPPED = load_packs()
_EPOCH_NS = 1_767_225_600_000_000_000


def at_ns(seconds: float) -> int:
    """An instant of the tests: seconds after 2026-01-01T00:00:00Z."""
    return _EPOCH_NS + seconds_to_ns(seconds)


class FakeTags:
    """A map on which a row lies where its labels `is_in_zone` and `is_in_airspace` say."""

    def __init__(self, batch: ObservationBatch) -> None:
        self._batch = batch

    def _mask(self, label: str, kind: str) -> np.ndarray:
        mask = np.zeros(len(self._batch), np.bool_)
        for row, text in self._batch.label(label).items():
            mask[row] = text == kind
        return mask

    def in_zone(self, kind: str) -> np.ndarray:
        return self._mask("is_in_zone", kind)

    def in_airspace(self, kind: str) -> np.ndarray:
        return self._mask("is_in_airspace", kind)

    def airspace_unsure(self, kind: str) -> np.ndarray:
        return self._mask("is_unsure_in", kind)

    def place(
        self,
        row: int,
        *,
        error_major_m: float | None = None,
        error_minor_m: float | None = None,
        error_azimuth_deg: float | None = None,
    ) -> Place:
        lon, lat = self._batch.place[row, :2].tolist()
        major = error_major_m if error_major_m == error_major_m else None
        if lon != lon:
            return Place(unplaced="no_position")
        return Place(lon_deg=lon, lat_deg=lat, error_major_m=major)


def an_observation(
    at_s: float,
    thing: str = "w-1",
    kind: str = "water_level",
    *,
    lon: float | None = 120.38,
    lat: float | None = 36.06,
    zone: str | None = None,
    airspace: str | None = None,
    labels: dict[str, str] | None = None,
    snapshots: Sequence[str] = (),
    source: str = "plain",
    **measures: float,
) -> Observation:
    """One observation; zone and airspace are what the fake map says of it."""
    told = dict(labels or {})
    if zone is not None:
        told["is_in_zone"] = zone
    if airspace is not None:
        told["is_in_airspace"] = airspace
    return Observation(
        source=source,
        thing_id=thing,
        kind=kind,
        observed_ns=at_ns(at_s),
        received_ns=at_ns(at_s),
        lon_deg=lon,
        lat_deg=lat,
        measures=measures,
        labels=told,
        snapshots=tuple(snapshots),
    )


def process(
    engine: RuleEngine, observations: Iterable[Observation], watermark_s: float | None = None
) -> list[Event]:
    """Hand the engine one batch; without a watermark, time is not said to have passed."""
    watermark_ns = 0 if watermark_s is None else at_ns(watermark_s)
    stamp = Stamp(
        ingest_id="i", sequence=1, partition=0, watermark_ns=watermark_ns, logged_ns=0, wall_ns=9
    )
    batch = pack(list(observations), stamp)
    return engine.process(batch, FakeTags(batch))


def shipped(scenario_id: str) -> Scenario:
    """A shipped scenario by id."""
    return next(one for one in SHIPPED if one.id == scenario_id)


def with_rule(scenario: Scenario, **changes: object) -> Scenario:
    """A scenario of which only the first rule is kept, changed."""
    rule = msgspec.structs.replace(scenario.rules[0], **changes)
    return msgspec.structs.replace(scenario, rules=(rule,))


def in_short(events: Iterable[Event]) -> list[tuple[str, float]]:
    """Edges and their seconds."""
    return [(str(one.edge), (one.at_ns - at_ns(0)) / 1e9) for one in events]


class Words(SimpleNamespace):
    """The builders above, by name; short in messages."""

    def __repr__(self) -> str:
        return "words"


@pytest.fixture(scope="session")
def words() -> Words:
    """The builders above, by name."""
    return Words(
        FakeTags=FakeTags,
        shipped_all=SHIPPED,
        at_ns=at_ns,
        an_observation=an_observation,
        process=process,
        shipped=shipped,
        with_rule=with_rule,
        in_short=in_short,
    )
