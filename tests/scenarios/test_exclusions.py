"""What an exclusion leaves out: scope, interval, kind, and what the rule accepts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from core.errors import InputError
from core.events import Edge, Event, Place
from core.exclusions import (
    Circle,
    Exclusion,
    ExclusionKind,
    check_exclusion,
    decode_exclusion,
    encode_exclusion,
)
from scenarios.exclusions import excludes
from scenarios.loader import load_packs

PACKS = {one.id: one for one in load_packs()}
SITE = (120.38, 36.06)
#: About ten metres of longitude and latitude here.
EAST_10M, NORTH_10M = 0.000111, 0.00009


def an_event(scenario: str = "night-work", **changes: Any) -> Event:
    given: dict[str, Any] = {
        "id": "e",
        "scenario": scenario,
        "rule": PACKS[scenario].rules[0].id,
        "edge": Edge.RAISE,
        "source": "plain",
        "thing_id": "site-1",
        "kind": "site_air",
        "began_ns": 100,
        "at_ns": 500,
        "place": Place(lon_deg=SITE[0], lat_deg=SITE[1], district_code="370202"),
    }
    return Event(**(given | changes))


def a_permit(**changes: Any) -> Exclusion:
    given: dict[str, Any] = {
        "id": "p-1",
        "kind": ExclusionKind.PERMIT,
        "subject": "night_work",
        "from_ns": 0,
        "until_ns": 1000,
        "at_ns": 0,
        "reason": "",
        "actor": "desk",
        "things": ("site-1",),
    }
    return Exclusion(**(given | changes))


SQUARE = tuple(
    (SITE[0] + east * EAST_10M, SITE[1] + north * NORTH_10M)
    for east, north in ((-1, -1), (1, -1), (1, 1), (-1, 1))
)
BESIDE = Place(lon_deg=SITE[0] + 2 * EAST_10M, lat_deg=SITE[1])


@pytest.mark.parametrize(
    ("exclusion", "event", "left_out"),
    [
        (a_permit(), an_event(), True),
        (a_permit(), an_event(at_ns=1000), False),
        (a_permit(from_ns=501), an_event(), False),
        (a_permit(subject="occupation"), an_event(), False),
        (a_permit(), an_event(thing_id="site-10"), False),
        (a_permit(), an_event(rule="night-work/report", thing_id="site-1"), False),
        (a_permit(kind=ExclusionKind.WORKS), an_event(), False),
        (a_permit(things=(), area_code="3702"), an_event(), True),
        (a_permit(things=(), area_code="370203"), an_event(), False),
        (a_permit(things=(), polygon=SQUARE), an_event(), True),
        (a_permit(things=(), polygon=SQUARE), an_event(place=BESIDE), False),
        (
            a_permit(things=(), polygon=SQUARE),
            an_event(place=msgspec.structs.replace(BESIDE, error_major_m=11.0)),
            True,
        ),
        (a_permit(things=(), polygon=SQUARE), an_event(place=Place(unplaced="x")), False),
        (
            a_permit(things=(), circle=Circle(lon_deg=SITE[0], lat_deg=SITE[1], radius_m=9.0)),
            an_event(place=BESIDE),
            False,
        ),
        (
            a_permit(kind=ExclusionKind.MAINTENANCE, subject="", things=("camera-1",)),
            an_event(thing_id="camera-1/17"),
            True,
        ),
        (
            a_permit(kind=ExclusionKind.MAINTENANCE, subject="", things=(), sources=("dji",)),
            an_event(),
            False,
        ),
        (
            a_permit(kind=ExclusionKind.SILENCE, subject="", things=(), scenarios=("night-work",)),
            an_event(rule="night-work/report", thing_id="report/1"),
            True,
        ),
        (
            a_permit(kind=ExclusionKind.SILENCE, subject="", things=(), scenarios=("gas-leak",)),
            an_event(),
            False,
        ),
    ],
)
def test_scope(exclusion: Exclusion, event: Event, left_out: bool) -> None:
    check_exclusion(exclusion)
    assert excludes(exclusion, event, PACKS["night-work"]) is left_out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"subject": ""}, "subject"),
        ({"until_ns": 0}, "interval"),
        ({"until_ns": 401 * 86400 * 10**9}, "interval"),
        ({"actor": ""}, "actor"),
        ({"things": ()}, "scope"),
        ({"kind": ExclusionKind.SILENCE}, "subject: none"),
        ({"kind": ExclusionKind.MAINTENANCE, "subject": "", "things": ()}, "maintained"),
        ({"polygon": SQUARE[:2]}, "corners"),
        ({"polygon": ((0.0, 91.0), *SQUARE)}, "degrees"),
        ({"polygon": SQUARE * 20}, "2000 bytes"),
        ({"circle": Circle(lon_deg=0.0, lat_deg=0.0, radius_m=0.0)}, "radius_m"),
        ({"circle": Circle(lon_deg=0.0, lat_deg=0.0, radius_m=1.0), "polygon": SQUARE}, "both"),
        ({"reason": "a\0b"}, "NUL"),
    ],
)
def test_what_cannot_be(changes: dict[str, Any], words: str) -> None:
    bad = a_permit(**changes)
    with pytest.raises(InputError, match=words):
        check_exclusion(bad)
    with pytest.raises(InputError, match=words):
        decode_exclusion(encode_exclusion(bad))


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(InputError, match="scope"):
        decode_exclusion(encode_exclusion(a_permit()).replace(b'"things"', b'"scope"'))
    assert decode_exclusion(encode_exclusion(a_permit())) == a_permit()
