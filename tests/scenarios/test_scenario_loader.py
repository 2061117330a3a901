"""Scenario files: what is read, and how each known mistake is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import RuleError
from core.units import parse_duration_s
from scenarios.loader import load_packs, parse_scenario
from scenarios.model import Comparison, DeadlineClock, GroupBy, Receiver

DATA = Path(__file__).parent / "data"
GOOD = (DATA / "good.yaml").read_text(encoding="utf-8")
BAD = sorted(DATA.glob("bad-*.yaml"))


def test_defaults_and_values() -> None:
    one = parse_scenario(GOOD, "good.yaml")
    (rule,) = one.rules
    assert (rule.id, rule.kind, rule.measures) == (
        "wet-road/level",
        "water_level",
        ("water_level_m",),
    )
    assert (rule.comparison, rule.threshold, rule.clear_level) == (Comparison.AT_LEAST, 0.25, 0.15)
    assert (rule.for_s, rule.clear_for_s, rule.confirm) == (60.0, 0.0, False)
    assert one.still_every_s == parse_duration_s("10min")
    assert one.correlate.group_by is GroupBy.SPOT
    assert one.deadline.clock is DeadlineClock.WORKING
    assert one.route.receiver is Receiver.WORKER
    assert one.category.code == "01004"
    assert not one.accepts_reports


def test_every_condition_is_read() -> None:
    text = GOOD.replace(
        "      for: 60s\n",
        "      for: 1min30s\n      clear_for: 5s\n      confirm: true\n      gone_after: 1h\n"
        "      labels: {object: vehicle}\n      in_zone: site\n      in_airspace: protected\n"
        '      registered: false\n      time_of_day: {from: "22:00", until: "06:30"}\n',
    ).replace("measure: water_level_m", "measure: [depth_m, water_level_m]")
    (rule,) = parse_scenario(text, "x.yaml").rules
    assert rule.measures == ("depth_m", "water_level_m")
    assert (rule.for_s, rule.clear_for_s, rule.gone_after_s) == (90.0, 5.0, 3600.0)
    assert rule.confirm
    assert rule.registered is False
    assert (rule.labels, rule.in_zone, rule.in_airspace) == (
        {"object": ("vehicle",)},
        ("site",),
        "protected",
    )
    assert rule.time_of_day is not None
    assert (rule.time_of_day.from_s, rule.time_of_day.until_s) == (79200, 23400)


@pytest.mark.parametrize("path", BAD, ids=[path.stem for path in BAD])
def test_mistakes_are_refused_with_file_line_path_and_what_is_accepted(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    expected = text.splitlines()[0].removeprefix("# ")
    with pytest.raises(RuleError) as refused:
        parse_scenario(text, path.name)
    assert str(refused.value) == expected


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RuleError, match="cannot be read as UTF-8"):
        load_packs(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="no scenario file"):
        load_packs(tmp_path)


def test_two_files_with_one_id_are_refused(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(GOOD, encoding="utf-8")
    with pytest.raises(RuleError, match=r"b\.yaml: id: 'wet-road' is taken by .*a\.yaml"):
        load_packs(tmp_path)
