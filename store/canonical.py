"""All incidents of a case store in their canonical form (core.canonical)."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from core.canonical import canonical_json
from core.incidents import Evidence, Incident
from store.cases import CaseStore
from store.filters import IncidentFilter
from store.rows import Detail

_EVIDENCE = msgspec.json.Decoder(Evidence)
_PAGE = 1000


class _Id(msgspec.Struct):
    id: str


_ID = msgspec.json.Decoder(_Id)


def case_of(detail: Detail) -> tuple[Incident, list[Evidence]]:
    """An incident and its evidence as values."""
    return detail.incident, [_EVIDENCE.decode(body) for body in detail.evidence]


def all_cases(store: CaseStore) -> Iterator[tuple[Incident, list[Evidence]]]:
    """Every incident with its evidence, the last opened first."""
    cursor: str | None = None
    while True:
        page = store.list_incidents(IncidentFilter(), limit=_PAGE, cursor=cursor)
        for row in page.rows:
            yield case_of(store.detail(_ID.decode(row.body).id))
        cursor = page.next
        if cursor is None:
            return


def canonical_cases(store: CaseStore) -> bytes:
    """What the store holds, as :func:`core.canonical.canonical_json` writes it."""
    return canonical_json(all_cases(store))
