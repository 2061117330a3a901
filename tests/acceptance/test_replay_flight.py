"""A real flight's MQTT capture through the whole pipeline, under a city profile of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from geo.distance import distance_m

AIRCRAFT = "1748FEV3HMM825451479"

PROFILE = """
name: espoo
title: {zh: 埃斯波, en: Espoo}
crs: 3067
layers:
  - id: airspace
    role: airspace
    path: airspace.geojson
    crs: EPSG:4326
    title: {zh: 保护空域, en: Protected airspace}
"""


def _volume(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {
                    "feature_id": "protected-1",
                    "name": "over the path",
                    "kind": "protected",
                    "floor_m": 0,
                    "ceiling_m": 150,
                    "datum": "agl",
                },
                "geometry": {"type": "Polygon", "coordinates": [ring]},
            }
        ],
    }


@pytest.fixture(scope="module")
def recording(realdata: Path) -> Path:
    return realdata / "drone" / "autel_flight1_mqtt.jsonl"


@pytest.fixture(scope="module")
def track(recording: Path) -> list[tuple[float, float, float]]:
    """Longitude, latitude and height above take-off, read out of the capture by hand."""
    points = []
    for line in recording.read_text().splitlines():
        row = json.loads(line)
        if row["topic"] == f"thing/product/{AIRCRAFT}/osd":
            data = row["data"]
            points.append((data["longitude"], data["latitude"], data["elevation"]))
    return points


def _replay(tmp_path: Path, recording: Path, volume: dict[str, Any]) -> dict[str, Any]:
    city = tmp_path / "city"
    city.mkdir()
    (city / "city.yaml").write_text(PROFILE, encoding="utf-8")
    (city / "airspace.geojson").write_text(json.dumps(volume))
    result = tmp_path / "result.json"
    command = [sys.executable, "-m", "cli", "replay", str(recording)]
    subprocess.run(
        [*command, "--city", str(city), "--data", str(tmp_path / "data"), "--json", str(result)],
        check=True,
        timeout=120,
    )
    return json.loads(result.read_text())  # type: ignore[no-any-return]


@pytest.mark.realdata
def test_track_highest_point_and_one_intrusion(
    tmp_path: Path, recording: Path, track: list[tuple[float, float, float]]
) -> None:
    highest = max(range(len(track)), key=lambda n: track[n][2])
    lon, lat, _ = track[highest]
    result = _replay(tmp_path, recording, _volume(lon - 5e-4, lat - 2e-4, lon + 5e-4, lat + 2e-4))

    assert result["messages"] == 1678
    aircraft = result["aircraft"][AIRCRAFT]
    assert aircraft["highest_m"]["alt_takeoff_m"] == pytest.approx(110.9, abs=0.05)
    # The remote control relays the aircraft's position too: each comes twice.
    assert aircraft["positions"] == 2 * len(track)
    intrusions = [one for one in result["incidents"] if one["scenario"] == "airspace-intrusion"]
    assert len(intrusions) == 1
    # Two systems saw it, the aircraft itself and a beacon on it; it began where it flew in.
    inside = [p for p in track if abs(p[0] - lon) <= 5e-4 and abs(p[1] - lat) <= 2e-4]
    away_m = distance_m(
        inside[0][0], inside[0][1], intrusions[0]["lon_deg"], intrusions[0]["lat_deg"]
    )
    assert float(away_m) < 30
    # What is not understood is in quarantine with a reason, and counted.
    assert sum(result["rejections"].values()) > 0
    assert all(reason for reason in result["rejections"])


@pytest.mark.realdata
def test_twice_the_same_incidents(
    tmp_path: Path, recording: Path, track: list[tuple[float, float, float]]
) -> None:
    lon, lat, _ = track[len(track) // 2]
    volume = _volume(lon - 1e-3, lat - 5e-4, lon + 1e-3, lat + 5e-4)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = _replay(tmp_path / "a", recording, volume)
    second = _replay(tmp_path / "b", recording, volume)
    assert first == second
    assert first["incidents"]
