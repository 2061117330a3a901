"""Recorded camera frames through vision again: losslessly the same, live as it comes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from commands.replay import ReplayPlan, run_replay
from core.frames import encode_frame
from core.ports import RawMessage
from core.settings import load_settings
from core.topics import detection_topic, frame_topic
from core.units import NS_PER_S, ns_to_rfc3339, rfc3339_to_ns
from geo.city import load_city
from ingest.recording.pictures import PictureStore
from ingest.recording.writer import RecordingWriter
from ingest.vision_worker import zones_of
from simulators.actors import Actor, Waypoint
from simulators.cameras import CameraSimulator

START_NS = rfc3339_to_ns("2026-07-01T09:00:00+08:00")
FRAMES = 110
_EVERY_NS = 2 * NS_PER_S


@pytest.fixture(scope="module")
def parking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A car stops where it must not, in referenced frames, with a detection of that day."""
    city = load_city("generated", seed=7)
    zone = next(one for one in zones_of(city) if one.zone_id == "no-parking-1")
    lon, lat = (sum(point[axis] for point in zone.ring) / len(zone.ring) for axis in (0, 1))
    stays = [Waypoint(START_NS + second * NS_PER_S, lon, lat, 78.0) for second in (12, 400)]
    car = Actor(
        kind="car", length_m=4.6, width_m=1.8, height_m=1.5, colour_bgr=(50, 50, 190),
        waypoints=tuple(stays),
    )  # fmt: skip
    camera = CameraSimulator("camera-1", city, [car], 7)
    folder = tmp_path_factory.mktemp("parking")
    writer = RecordingWriter(
        folder,
        about={"city": "generated", "city_seed": "7", "city_name": city.name},
        pictures=PictureStore(folder),
    )
    for number in range(FRAMES):
        at_ns = START_NS + number * _EVERY_NS
        frame = encode_frame(camera.frame(at_ns))
        topic = frame_topic(city.name, "camera-1")
        writer.write([RawMessage(topic=topic, payload=frame, received_ns=at_ns)])
    recorded = {"kind": "detection.static_object", "time": ns_to_rfc3339(at_ns), "track_id": "1"}
    writer.write(
        [
            RawMessage(
                topic=detection_topic(city.name, "camera-1"),
                payload=json.dumps(recorded).encode(),
                received_ns=at_ns,
                qos=1,
            )
        ]
    )
    writer.tick(at_ns + 60 * NS_PER_S)
    writer.close()
    return folder


async def replayed(tmp_path: Path, recording: Path, **plan: Any) -> tuple[dict[str, Any], str]:
    console = Console(record=True, width=200, force_terminal=False)
    path = tmp_path / "result.json"
    whole = ReplayPlan(recording, json_path=path, **plan)
    assert await run_replay(load_settings(data_dir=tmp_path / "data"), whole, console) == 0
    return json.loads(path.read_text()), console.export_text()


def counts(told: str) -> dict[str, int]:
    line = re.search(r"frames: (\{.*\})", told)
    assert line is not None, told
    found: dict[str, int] = json.loads(line[1].replace("'", '"'))
    return found


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_every_frame_is_looked_at_and_the_incidents_are_the_same(
    tmp_path: Path, parking: Path
) -> None:
    result, told = await replayed(tmp_path, parking, frames="lossless", loop=2)
    assert counts(told) == {"frames": FRAMES}
    assert [one["scenario"] for one in result["incidents"]] == ["illegal-parking"]
    assert "pass 2: the same incidents, byte for byte" in told
    assert "identity does not hold" not in told


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_live_frames_are_dropped_as_in_a_live_run_and_it_is_said(
    tmp_path: Path, parking: Path
) -> None:
    result, told = await replayed(tmp_path, parking, frames="live")
    found = counts(told)
    assert found["frames"] + found["dropped"] + found["left"] == FRAMES
    assert found["dropped"] > 0  # vision cannot look at 110 pictures at once
    assert "identity does not hold" in told
    assert "--frames lossless" in told
    assert result["messages"] <= FRAMES


async def test_without_frames_what_was_detected_that_day_counts(
    tmp_path: Path, parking: Path
) -> None:
    result, told = await replayed(tmp_path, parking)
    assert result["messages"] == 1
    assert "frames:" not in told
