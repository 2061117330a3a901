"""One case in the hands of a writer: the incident, the raises it holds, its new history."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from core.incidents import OPEN_STATUSES, HistoryEntry, Incident
from scenarios.correlation import CaseRaise, OpenCase, independent_source
from scenarios.model import Scenario
from store.documents import area_code_of, fields, incident_body, levels_of

#: Who acts where no person does.
SYSTEM = "system"

#: Lines of history that one version of a case can have.
_LINES_PER_VERSION = 8

_MSGPACK = msgspec.msgpack.Encoder()
_JSON = msgspec.json.Encoder()


class RaiseKey(NamedTuple):
    """What makes a raise: one condition of one thing from one instant on."""

    rule: str
    thing_id: str
    began_ns: int


class HeldRaise(NamedTuple):
    """What a case knows of a raise it holds."""

    source: str
    active: bool
    confidence_ratio: float


class Case:
    """An incident in the hands of a transaction."""

    def __init__(self, incident: Incident, last_event_ns: int, process_version: int) -> None:
        self.incident = incident
        self.last_event_ns = last_event_ns
        self.process_version = process_version
        self.raises: dict[RaiseKey, HeldRaise] = {}
        self.changed_raises: set[RaiseKey] = set()
        self.new_history: list[tuple[int, HistoryEntry]] = []
        self.changed = False

    def change(self, **changes: Any) -> None:
        """Replace fields of the incident; one call is one version."""
        version = self.incident.version + 1
        self.incident = msgspec.structs.replace(self.incident, **changes, version=version)
        self.changed = True

    def record(self, *entries: HistoryEntry) -> None:
        """Add lines to the history of the present version, which somebody's decision made."""
        first = self.incident.version * _LINES_PER_VERSION
        self.new_history.extend(enumerate(entries, first))
        self.process_version = self.incident.version

    def as_candidate(self) -> OpenCase:
        """The case as far as correlation asks."""
        one = self.incident
        return OpenCase(
            incident_id=one.id,
            scenario=one.scenario,
            status=one.status,
            began_ns=one.began_ns,
            last_ns=self.last_event_ns,
            lon_deg=one.place.lon_deg,
            lat_deg=one.place.lat_deg,
            error_major_m=one.place.error_major_m,
            error_minor_m=one.place.error_minor_m,
            error_azimuth_deg=one.place.error_azimuth_deg,
            cleared_ns=one.cleared_ns,
            closed_ns=one.closed_ns,
            raises=tuple(
                CaseRaise(
                    source=held.source,
                    rule=key.rule,
                    thing_id=key.thing_id,
                    began_ns=key.began_ns,
                    active=held.active,
                )
                for key, held in self.raises.items()
            ),
        )

    def row(self) -> dict[str, Any]:
        """The row of the table of incidents."""
        one = self.incident
        area_code = area_code_of(one.place)
        return {
            "id": one.id,
            "case_number": one.case_number,
            "scenario": one.scenario,
            "domain": one.domain,
            "department_zh": one.department.zh,
            "department_en": one.department.en,
            "severity": one.severity.value,
            "status": one.status.value,
            "is_open": one.status in OPEN_STATUSES,
            "area_code": area_code,
            **levels_of(area_code),
            "lon_deg": one.place.lon_deg,
            "lat_deg": one.place.lat_deg,
            "began_ns": one.began_ns,
            "opened_ns": one.opened_ns,
            "last_event_ns": self.last_event_ns,
            "cleared_ns": one.cleared_ns,
            "closed_ns": one.closed_ns,
            "deadline_ns": one.deadline_ns,
            "next_alert_ns": one.next_alert_ns,
            "unit_id": one.unit_id,
            "worker_id": one.worker_id,
            "parent_id": one.parent_id,
            "version": one.version,
            "process_version": self.process_version,
            "record": _MSGPACK.encode(one),
            "body": incident_body(one),
        }

    def is_over(self, scenario: Scenario) -> bool:
        """Whether every source that can say so said that it is over; a report never can."""
        can_say = [
            held.active for key, held in self.raises.items() if key.rule != scenario.report_rule
        ]
        return bool(can_say) and not any(can_say)

    def confidences(self) -> dict[str, float]:
        """The best confidence of each independent source: a camera is one, whatever it tracks."""
        best: dict[str, float] = {}
        for key, held in self.raises.items():
            source = independent_source(key.thing_id)
            best[source] = max(best.get(source, 0.0), min(1.0, held.confidence_ratio))
        return best

    def raise_rows(self) -> Iterable[dict[str, Any]]:
        """Rows of the raises that changed."""
        for key in sorted(self.changed_raises):
            yield {
                "incident_id": self.incident.id,
                **key._asdict(),
                **self.raises[key]._asdict(),
            }

    def history_rows(self) -> Iterable[dict[str, Any]]:
        """Rows of the history that is new."""
        for position, entry in self.new_history:
            yield {
                "incident_id": self.incident.id,
                "position": position,
                "at_ns": entry.at_ns,
                "body": _JSON.encode(fields(entry)),
            }
