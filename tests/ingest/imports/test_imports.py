"""Imports of real logs with their known numbers, and of wrong ones with a clear word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from recordings import AIR_MAPPING, UAV_MAPPING
from rich.console import Console

from commands.imports import ImportPlan, import_rounds, run_import
from core.errors import InputError
from core.observations import Observation
from core.units import rfc3339_to_ns
from ingest.imports.gpx import read_gpx
from ingest.imports.srt import read_srt
from ingest.pipeline import decode_messages
from ingest.recording.reader import Recording


def observed(source: Path, folder: Path, **given: Any) -> tuple[list[Observation], Counter[str]]:
    """Import, read the recording back, decode."""
    run_import(ImportPlan(source, folder, **given), Console(quiet=True))
    observations, reasons = [], Counter[str]()
    for one in Recording(folder).rounds():
        good, bad = decode_messages(one.messages)
        observations += good
        reasons.update(each.reason for each in bad)
    return observations, reasons


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "count", "lon", "lat", "first", "measure", "highest"),
    [
        ("m2zoom.SRT", 7113, 74.398751, 31.452012, "2020-04-02T07:19:58.720Z",
         "alt_unknown_datum_m", None),
        ("mavic_air2.srt", 25, 2.162162, 41.420684, "2022-05-01T07:01:58.531Z",
         "alt_unknown_datum_m", 29.2),
        # Jerez in Spain: latitude first. Switzerland: longitude first.
        ("matrice_300.srt", 381, -6.1120, 36.6146, "2022-06-21T08:06:17.000Z",
         "alt_takeoff_m", 87.9),
        ("p4p_sample.SRT", 5, 8.2090, 47.4692, "2026-01-01T00:00:00.000Z",
         "alt_takeoff_m", 45.6),
    ],
)  # fmt: skip
def test_dji_srt_of_four_models(
    realdata: Path, tmp_path: Path, name: str, count: int, lon: float, lat: float, first: str,
    measure: str, highest: float | None,
) -> None:  # fmt: skip
    path = realdata / "drone" / "dji_srt" / name
    got, reasons = observed(path, tmp_path / "r", thing="u-1", start="2026-01-01T00:00:00Z")
    assert not reasons
    assert len(got) == count
    assert {one.kind for one in got} == {"aircraft"}
    assert (got[0].lon_deg, got[0].lat_deg) == (lon, lat)
    assert got[0].observed_ns // 10**6 == rfc3339_to_ns(first) // 10**6
    heights = [one.measures[measure] for one in got]
    if highest is not None:
        assert max(heights) == pytest.approx(highest, abs=0.75)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "count", "lon", "lat", "msl"),
    [("sample_log_small.ulg", 32, 10.4082151, 63.4170622, 66.814),
     ("sample_px4_events.ulg", 583, 8.545594, 47.3977422, 487.993)],
)  # fmt: skip
def test_px4_ulog_old_and_new_units(
    realdata: Path, tmp_path: Path, name: str, count: int, lon: float, lat: float, msl: float
) -> None:
    got, reasons = observed(realdata / "drone" / "px4_ulog" / name, tmp_path / "r")
    assert not reasons
    assert len(got) == count
    placed = [one for one in got if one.lon_deg is not None]
    assert placed[0].lon_deg == pytest.approx(lon, abs=1e-5)
    assert placed[0].lat_deg == pytest.approx(lat, abs=1e-5)
    assert placed[0].measures["alt_msl_m"] == pytest.approx(msl, abs=0.5)
    if name == "sample_px4_events.ulg":
        assert len(placed) < count  # no fix is no position, though the log has numbers there


@pytest.mark.realdata
def test_csv_of_four_years_of_air(realdata: Path, tmp_path: Path) -> None:
    mapping = tmp_path / "air.yaml"
    mapping.write_text(AIR_MAPPING)
    (source,) = (realdata / "iot" / "beijing_air").glob("*.csv")
    plan = ImportPlan(source, tmp_path / "r", mapping=mapping)
    messages = [m for one in import_rounds(plan) for m in one.messages]
    assert len(messages) == 35_064  # every hour from 2013-03-01 to 2017-02-28
    assert messages[0].received_ns == rfc3339_to_ns("2013-03-01T00:00:00+08:00")
    assert messages[-1].received_ns == rfc3339_to_ns("2017-02-28T23:00:00+08:00")
    bodies = [msgspec.json.decode(one.payload)["measures"] for one in messages]
    # NA is no zero: what is missing is not there.
    assert any("pm25_ug_m3" not in one for one in bodies)
    good, bad = decode_messages(messages[:500])
    assert (len(good), len(bad)) == (500, 0)


@pytest.mark.realdata
def test_csv_of_a_real_flight(realdata: Path, tmp_path: Path) -> None:
    mapping = tmp_path / "uav.yaml"
    mapping.write_text(UAV_MAPPING)
    source = realdata / "drone" / "uav_tracks" / "UAV_Rot.csv"
    got, reasons = observed(source, tmp_path / "r", mapping=mapping)
    assert not reasons
    assert len(got) == len(source.read_text().splitlines()) - 1
    assert got[0].lat_deg == pytest.approx(50.2973285)


@pytest.mark.realdata
def test_a_json_lines_capture_keeps_its_rounds(realdata: Path, tmp_path: Path) -> None:
    source = realdata / "drone" / "autel_flight1_mqtt.jsonl"
    run_import(ImportPlan(source, tmp_path / "r"), Console(quiet=True))
    before, after = list(Recording(source).rounds()), list(Recording(tmp_path / "r").rounds())
    assert sum(len(one.messages) for one in after) == 1678
    assert after == before


def some_gpx(body: str) -> str:
    return (
        '<gpx version="1.1" creator="t" xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>'
        f"{body}</trkseg></trk></gpx>"
    )


def test_gpx_points_with_time_and_height() -> None:
    text = some_gpx(
        '<trkpt lat="36.06" lon="120.38"><ele>31.5</ele><time>2026-07-01T01:00:00.5Z</time></trkpt>'
        '<trkpt lat="36.07" lon="120.39"><time>2026-07-01T01:00:01Z</time></trkpt>'
        '<trkpt lat="36.08" lon="120.40"></trkpt>'
    )
    good, bad = decode_messages(list(read_gpx(text, city="c", thing="u")))
    assert not bad
    assert [(one.lon_deg, one.measures.get("alt_msl_m")) for one in good] == [
        (120.38, 31.5), (120.39, None),
    ]  # fmt: skip
    assert good[0].observed_ns == rfc3339_to_ns("2026-07-01T01:00:00.5Z")


def test_newer_srt_names_its_heights_and_no_fix_is_no_position() -> None:
    text = (
        "1\n00:00:00,000 --> 00:00:00,033\n2024-05-01 10:00:00.123\n[latitude: 0.000000] "
        "[longitude: 0.000000] [rel_alt: 1.300 abs_alt: 36.500] [ct: 5500]\n\n"
    )
    (one,), bad = decode_messages(list(read_srt(text, city="c", thing="u")))
    assert not bad
    assert one.measures == {"alt_takeoff_m": 1.3, "alt_msl_m": 36.5}
    assert one.lon_deg is None


def wrong_files(folder: Path) -> Iterator[tuple[Path, str]]:
    for name, text, told in (
        ("a.srt", "hello", "no cue"), ("b.gpx", "hello", "b.gpx"), ("c.ulg", "hello", "no ULog"),
        ("d.csv", "a,b\n1,2\n", "--mapping"), ("e.txt", "", "wanted, got '.txt'"),
        ("f.srt", "1\n00:00:00,000 --> 00:00:01,000\nGPS(1,2,3)\n", "--start"),
        ("g.gpx", some_gpx('<trkpt lat="1" lon="2"></trkpt>'), "no track point with a time"),
    ):  # fmt: skip
        (folder / name).write_text(text)
        yield folder / name, told


def test_wrong_files_are_told(tmp_path: Path) -> None:
    for path, told in wrong_files(tmp_path):
        with pytest.raises(InputError, match=told):
            list(import_rounds(ImportPlan(path, tmp_path / "r")))


def test_a_mapping_is_strict_and_a_bad_row_is_kept(tmp_path: Path) -> None:
    source, mapping = tmp_path / "t.csv", tmp_path / "m.yaml"
    source.write_text("time,x\n2026-07-01T00:00:00Z,1\nyesterday,2\n2026-07-01T00:00:02Z,three\n")
    mapping.write_text(
        "thing: {value: a}\nkind: k\ntime: {column: time}\nmeasures: {x_m: {column: x, scale: 2}}\n"
    )
    plan = ImportPlan(source, tmp_path / "r", mapping=mapping)
    messages = [m for one in import_rounds(plan) for m in one.messages]
    good, bad = decode_messages(messages)
    assert [one.measures for one in good] == [{"x_m": 2.0}]
    assert [one.reason for one in bad] == ["unknown_topic"] * 2
    assert b"line 3" in bad[0].payload
    mapping.write_text(mapping.read_text() + "colour: red\n")
    with pytest.raises(InputError, match="colour"):
        list(import_rounds(plan))
    mapping.write_text("thing: {value: a}\nkind: k\ntime: {column: t}\nmeasures: {}\n")
    with pytest.raises(InputError, match="no column t; it has time, x"):
        list(import_rounds(plan))
