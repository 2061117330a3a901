"""Days off and days worked: the library's, the city's own, and years that neither has."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml

from core.errors import SettingsError
from core.units import ns_to_rfc3339, rfc3339_to_ns
from scenarios.calendar import MAX_DAYS, day_kinds, is_decreed, load_calendar, use_calendar
from scenarios.deadlines import deadline_ns, is_working_day
from scenarios.model import DayKind, Deadline, DeadlineClock

OFF = frozenset({DayKind.RESTDAY, DayKind.HOLIDAY})
WEEKEND = frozenset({DayKind.RESTDAY})
WORKED = frozenset({DayKind.WORKDAY})

DOCS = Path(__file__).resolve().parents[2] / "docs" / "writing-scenarios.md"


@pytest.fixture(autouse=True)
def library_only() -> Iterator[None]:
    use_calendar(None)
    yield
    use_calendar(None)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "calendar.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_year_that_is_not_known_has_weekends_only_and_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Far enough ahead that no release of the library has it."""
    first = date(2090, 1, 1)
    with caplog.at_level(logging.WARNING, "scenarios.calendar"):
        for number in range(365):
            day = first + timedelta(days=number)
            assert day_kinds(day) == (WEEKEND if day.weekday() >= 5 else WORKED)
    [warning] = caplog.records
    assert "no holidays are known for 2090" in warning.getMessage()
    assert not is_decreed(2090)


def test_the_year_after_the_last_that_is_known_still_has_deadlines() -> None:
    last = max(year for year in range(2026, 2090) if is_decreed(year))
    eve = rfc3339_to_ns(f"{last}-12-31T23:00:00+08:00")
    due_ns = deadline_ns(eve, Deadline(duration_s=8 * 3600, clock=DeadlineClock.WORKING))
    weekdays = [day for n in range(9) if (day := date(last + 1, 1, 1 + n)).weekday() < 5]
    assert ns_to_rfc3339(due_ns) == f"{weekdays[0]}T09:00:00.000Z"


def test_a_citys_own_calendar(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The one in the documentation."""
    text = DOCS.read_text(encoding="utf-8").split("## Days", 1)[1]
    text = text.split("```yaml\n", 1)[1].split("```", 1)[0]
    assert yaml.safe_load(text)["holidays"][0]["name"] == "元旦"
    use_calendar(load_calendar(written(tmp_path, text)))
    assert is_decreed(2027)
    with caplog.at_level(logging.WARNING, "scenarios.calendar"):
        assert [day_kinds(date(2027, 1, day)) for day in (1, 2, 3, 4)] == [OFF, OFF, OFF, WORKED]
        assert is_working_day(date(2027, 2, 20))
        assert not is_working_day(date(2027, 2, 21))
    assert caplog.records == []


def test_it_counts_instead_of_the_library(tmp_path: Path) -> None:
    assert day_kinds(date(2026, 10, 1)) == OFF
    assert day_kinds(date(2026, 10, 9)) == WORKED
    use_calendar(
        load_calendar(
            written(
                tmp_path,
                "source: 本市\nworkdays: [{from: 2026-10-01}]\nholidays: [{from: 2026-10-09}]\n",
            )
        )
    )
    assert day_kinds(date(2026, 10, 1)) == WORKED
    assert day_kinds(date(2026, 10, 9)) == OFF
    assert day_kinds(date(2026, 10, 2)) == OFF
    use_calendar(None)
    assert day_kinds(date(2026, 10, 1)) == OFF


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("holidays: []\n", "source"),
        ("source: x\nholidys: []\n", "line 2: unknown key 'holidys'; accepted: source, holidays"),
        ("source: x\nholidays: [{from: 2027-13-01}]\n", "line 2: Invalid RFC3339 encoded date"),
        ("source: x\nholidays: [{from: 2027-01-03, until: 2027-01-01}]\n", "1 to 31 days"),
        ("source: x\nholidays: [{from: 2027-01-01, until: 2027-02-01}]\n", f"1 to {MAX_DAYS}"),
        (
            "source: x\nholidays: [{from: 2027-01-01}]\nworkdays: [{from: 2027-01-01}]\n",
            "2027-01-01 is both off and worked",
        ),
    ],
)
def test_what_is_no_calendar(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load_calendar(written(tmp_path, text))
    with pytest.raises(SettingsError, match="cannot be read"):
        load_calendar(tmp_path / "none.yaml")
