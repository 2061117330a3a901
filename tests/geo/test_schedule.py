"""Hours of activity."""

from __future__ import annotations

import pytest

from core.errors import InputError
from core.units import rfc3339_to_ns
from geo.schedule import Period, Schedule


def hours(*texts: str) -> list[int]:
    return [rfc3339_to_ns(text) for text in texts]


@pytest.mark.parametrize(
    ("period", "time", "active"),
    [
        (Period(), "2026-01-05T00:00:00Z", True),
        (Period(from_ns=10), "1970-01-01T00:00:00Z", False),
        (Period(to_ns=0), "1970-01-01T00:00:00Z", False),  # the end is not part of it
        (Period(days=("MON",)), "2026-01-05T23:59:59Z", True),
        (Period(days=("MON",)), "2026-01-06T00:00:00Z", False),
        (Period(start_s=3600, end_s=7200), "2026-01-05T01:00:00Z", True),
        (Period(start_s=3600, end_s=7200), "2026-01-05T02:00:00Z", False),
        (Period(days=("MON",), start_s=79_200, end_s=7200), "2026-01-05T23:00:00Z", True),
        (Period(days=("MON",), start_s=79_200, end_s=7200), "2026-01-06T01:00:00Z", True),
        (Period(days=("MON",), start_s=79_200, end_s=7200), "2026-01-05T01:00:00Z", False),
        (Period(days=("THU",)), "1969-12-25T12:00:00Z", True),
    ],
)
def test_periods(period: Period, time: str, active: bool) -> None:
    assert Schedule([period]).active(hours(time)).tolist() == [active]


def test_any_period_counts_and_none_is_always() -> None:
    both = Schedule([Period(days=("MON",)), Period(days=("WED",))])
    times = hours("2026-01-05T00:00:00Z", "2026-01-06T00:00:00Z", "2026-01-07T00:00:00Z")
    assert both.active(times).tolist() == [True, False, True]
    assert Schedule().active([]).tolist() == []


@pytest.mark.parametrize("text", ["always", '[{"days":["FUN"]}]', "{}"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="a JSON list of periods was wanted"):
        Schedule.parse(text)
