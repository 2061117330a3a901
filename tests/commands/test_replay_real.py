"""Real logs and captures through the whole platform, with their known numbers."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from recordings import AIR_MAPPING, UAV_MAPPING
from rich.console import Console

from commands.imports import ImportPlan, run_import
from commands.playing import Played, play
from core.settings import load_settings
from core.units import NS_PER_S
from geo.city import City, load_city
from ingest.recording.reader import Recording


@pytest.fixture(scope="module")
def city() -> City:
    return load_city("generated", seed=7)


async def played_twice(
    folder: Path, city: City, source: Path, *, most: int | None = None, **plan: object
) -> Played:
    """Import and replay a log; again gives the same bytes, and nothing is lost on the way."""
    recording = folder / "recording"
    given = {"thing": "u-1", "start": "2026-01-01T00:00:00Z"} | plan
    run_import(ImportPlan(source, recording, **given), Console(quiet=True))  # type: ignore[arg-type]
    first, second = [
        await play(
            load_settings(data_dir=folder / name), city, islice(Recording(recording).rounds(), most)
        )
        for name in "ab"
    ]
    assert first.canonical == second.canonical
    assert first.rejections == {}
    assert sum(first.observations.values()) + first.duplicates == first.messages
    return first


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("path", "count", "datum", "highest_m"),
    [
        # What a height is measured from, these two models do not say.
        ("dji_srt/m2zoom.SRT", 7113, "", None),
        ("dji_srt/mavic_air2.srt", 25, "", None),
        ("dji_srt/matrice_300.srt", 381, "alt_takeoff_m", 87.9),
        ("dji_srt/p4p_sample.SRT", 5, "alt_takeoff_m", 45.6),
        ("px4_ulog/sample_log_small.ulg", 32, "alt_msl_m", 66.8),
        ("px4_ulog/sample_px4_events.ulg", 583, "alt_msl_m", 490.2),
    ],
)
async def test_flight_logs(
    realdata: Path, tmp_path: Path, city: City, path: str, count: int, datum: str,
    highest_m: float | None,
) -> None:  # fmt: skip
    played = await played_twice(tmp_path, city, realdata / "drone" / path)
    assert played.messages == count
    (track,) = played.tracks.values()
    assert track["observations"] + played.duplicates == count
    assert track["highest"].get(datum) == (highest_m and pytest.approx(highest_m, abs=0.05))


@pytest.mark.realdata
async def test_a_track_as_csv(realdata: Path, tmp_path: Path, city: City) -> None:
    mapping = tmp_path / "uav.yaml"
    mapping.write_text(UAV_MAPPING)
    source = realdata / "drone" / "uav_tracks" / "UAV_Rot.csv"
    played = await played_twice(tmp_path, city, source, mapping=mapping)
    assert played.messages == len(source.read_text().splitlines()) - 1
    assert played.tracks["uav-1"]["positions"] == played.tracks["uav-1"]["observations"]


@pytest.mark.realdata
async def test_hours_of_air(realdata: Path, tmp_path: Path, city: City) -> None:
    """Where a log is silent for an hour, an import has the ticks that ingest would have written."""
    mapping = tmp_path / "air.yaml"
    mapping.write_text(AIR_MAPPING)
    (source,) = (realdata / "iot" / "beijing_air").glob("*.csv")
    ticks = 3 * 3600 // 5
    played = await played_twice(tmp_path, city, source, most=ticks, mapping=mapping)
    assert played.observations == {"site_air": 3}
    assert played.until_ns - played.since_ns == (ticks - 1) * 5 * NS_PER_S
