from __future__ import annotations

from pathlib import Path

import pytest
from builders import an_event, an_event_batch, at_s
from msgspec.structs import replace
from rich.console import Console

from commands.inspect import print_check, print_explanation, print_quarantine
from commands.parts import api_token, ingest_id, open_store
from commands.sharing import clock_text, parse_clock
from core.clock import HeldClock, ManualClock, ScaledClock
from core.errors import NotFoundError
from core.ports import Rejection
from core.settings import Settings, load_settings
from geo.city import City, load_city
from scenarios.loader import load_packs
from scenarios.model import PartOf


@pytest.fixture(scope="module")
def city() -> City:
    return load_city("generated", seed=7)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path / "data")


def _console() -> Console:
    return Console(record=True, width=200, force_terminal=False)


def test_quarantine_lists_and_counts(settings: Settings, city: City) -> None:
    store = open_store(settings, city, load_packs())
    store.add_rejections(
        [
            Rejection(
                topic="qn/qingdao/sensor/w-1",
                reason="bad_json",
                detail="byte 0",
                payload=b"{oops",
                payload_bytes=5,
                received_ns=at_s(n),
            )
            for n in range(3)
        ]
    )
    store.close()
    console = _console()
    print_quarantine(settings, None, 10, console)
    text = console.export_text()
    assert "bad_json" in text
    assert "qn/qingdao/sensor/w-1" in text
    assert "{oops" in text
    assert " 3 " in text


def test_explain_tells_the_story_by_case_number(settings: Settings, city: City) -> None:
    store = open_store(settings, city, load_packs())
    (change,) = store.apply([an_event_batch(an_event())], at_s(0))
    store.close()
    console = _console()
    print_explanation(settings, change.incident.case_number, console)
    text = console.export_text()
    assert change.incident.case_number in text
    assert "道路积水" in text
    assert "water-0001" in text
    assert "dispatch" in text


def test_explain_names_the_parent_and_the_parts(settings: Settings, city: City) -> None:
    part_of = PartOf(scenario="gas-leak", radius_m=300.0, within_s=3600.0)
    packs = tuple(
        replace(one, part_of=part_of) if one.id == "road-flooding" else one for one in load_packs()
    )
    store = open_store(settings, city, packs)
    leak = an_event(scenario="gas-leak", rule="gas-leak/sensor", thing_id="gas-1")
    parent, part = (
        change.incident for change in store.apply([an_event_batch(leak, an_event(5))], at_s(9))
    )
    store.close()
    for wanted, told in (
        (parent, f"Has part: {part.case_number}"),
        (part, f"Part of: {parent.case_number}"),
    ):
        console = _console()
        print_explanation(settings, wanted.case_number, console)
        assert told in console.export_text()


def test_what_is_not_there_is_told(settings: Settings, city: City) -> None:
    with pytest.raises(NotFoundError, match=r"no case store at .*--data"):
        print_quarantine(settings, None, 10, _console())
    open_store(settings, city, load_packs()).close()
    with pytest.raises(NotFoundError, match="'QI-1'"):
        print_explanation(settings, "QI-1", _console())


def test_check_prints_no_secret() -> None:
    console = _console()
    print_check(load_settings(api={"token": "hush"}), console)
    text = console.export_text()
    assert "hush" not in text
    assert "EPSG:4549" in text
    assert "road-flooding" in text


def test_the_token_is_made_once_and_private(settings: Settings) -> None:
    first = api_token(settings)
    assert api_token(settings) == first
    assert len(first) >= 16
    assert (settings.data_dir / "token").stat().st_mode & 0o077 == 0


def test_each_start_of_ingest_has_its_own_name(tmp_path: Path) -> None:
    assert [ingest_id(tmp_path), ingest_id(tmp_path)] == ["ingest/000001", "ingest/000002"]


def test_a_held_clock_is_started_by_one_process_for_all(tmp_path: Path) -> None:
    clock = HeldClock(5, 20.0, tmp_path / "city-start")
    child = parse_clock(clock_text(clock))
    assert (clock.now_ns(), child.now_ns()) == (5, 5)
    child.start()  # type: ignore[attr-defined]
    started_ns = child.started_ns
    clock.start()
    assert not clock.held
    assert clock.started_ns == started_ns
    assert clock.now_ns() > 5
    assert [one.name for one in tmp_path.iterdir()] == ["city-start"]


def test_a_clock_survives_the_way_to_a_child() -> None:
    clock = ScaledClock(5, 20.0, started_ns=7)
    again = parse_clock(clock_text(clock))
    assert (again.epoch_ns, again.factor, again.started_ns) == (5, 20.0, 7)
    assert parse_clock(clock_text(ManualClock(9))).epoch_ns == 9
