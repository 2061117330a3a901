"""Weather and night before a camera: the truth stays, the picture gets harder, bytes repeat."""

from __future__ import annotations

from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from core.errors import InputError
from core.frames import decode_frame
from core.units import NS_PER_S
from geo.city import City, generate_city
from simulators.cameras import CameraSimulator
from simulators.environment import Environment
from simulators.feed import FrameMaker, frames_due
from simulators.labelled import LABELS_FILE, FrameLabel, labelled_frames, write_labelled
from simulators.rendering import CityPainter
from simulators.views import CONDITIONS, Conditions, conditions_at, conditions_of, shake
from simulators.world import World

EPOCH = 1_763_942_400 * NS_PER_S
AT = EPOCH + 300 * NS_PER_S


@pytest.fixture(scope="module")
def city() -> City:
    return generate_city(7)


@pytest.fixture(scope="module")
def world(city: City) -> World:
    return World(city, seed=7, epoch_ns=EPOCH)


@pytest.fixture(scope="module")
def painter(city: City) -> CityPainter:
    return CityPainter(city, 7)


def camera(world: World, painter: CityPainter, now: Conditions | None) -> CameraSimulator:
    actors = world.block(0).actors
    conditions = None if now is None else lambda _: now
    return CameraSimulator("camera-1", world.city, actors, 7, painter, conditions=conditions)


@pytest.fixture(scope="module")
def clear(world: World, painter: CityPainter) -> np.ndarray:
    return camera(world, painter, None).picture(AT)


def test_a_calm_day_changes_no_byte(world: World, painter: CityPainter) -> None:
    plain = camera(world, painter, CONDITIONS["clear"]).frame(AT)
    assert plain.jpeg == camera(world, painter, None).frame(AT).jpeg


@pytest.mark.parametrize("name", sorted(set(CONDITIONS) - {"clear"}))
def test_weather_repeats_itself_and_is_seen(
    world: World, painter: CityPainter, clear: np.ndarray, name: str
) -> None:
    one, again = (camera(world, painter, CONDITIONS[name]).picture(AT) for _ in range(2))
    assert np.array_equal(one, again)
    change = np.abs(one.astype(int) - clear).mean()
    assert change > (0.3 if name == "sun" else 2.0)


def test_nights_are_dark_and_noisy_and_fog_is_flat(
    world: World, painter: CityPainter, clear: np.ndarray
) -> None:
    night = camera(world, painter, CONDITIONS["night"]).picture(AT)
    fog = camera(world, painter, CONDITIONS["fog"]).picture(AT)
    assert night.mean() < 0.4 * clear.mean()
    assert fog.std() < 0.8 * clear.std()
    flat = cv2.GaussianBlur(night, (0, 0), 2.0)
    calm = cv2.GaussianBlur(clear, (0, 0), 2.0)
    assert (night.astype(float) - flat).std() / night.mean() > 1.5 * (
        (clear.astype(float) - calm).std() / clear.mean()
    )


@pytest.mark.parametrize("name", ["clear", "sun", "rain", "night", "flood"])
def test_what_is_labelled_is_in_the_picture(
    city: City, world: World, painter: CityPainter, name: str
) -> None:
    now = CONDITIONS[name]
    full = camera(world, painter, now)
    bare = CameraSimulator("camera-1", city, (), 7, painter, conditions=lambda _: now)
    bare.weather_seed = full.weather_seed
    boxes = [box for actor, box in full.boxes(AT) if actor.kind == "car"]
    assert boxes
    apart = np.abs(full.picture(AT).astype(int) - bare.picture(AT)).max(axis=2)
    for left, top, right, bottom in boxes:
        # Some of the box is the thing; elsewhere the two pictures are alike.
        assert (apart[top:bottom, left:right] > 12).mean() > 0.15, name


def test_a_swaying_pole_moves_the_picture_by_what_it_says(
    world: World, painter: CityPainter, clear: np.ndarray
) -> None:
    swaying = camera(world, painter, CONDITIONS["shake"])
    moves = [shake(CONDITIONS["shake"], AT + n, swaying.weather_seed) for n in range(40)]
    assert len(set(moves)) > 5
    number = next(n for n, (right, down) in enumerate(moves) if abs(right) == 2 and abs(down) <= 1)
    right, down = moves[number]
    moved = swaying.picture(AT + number)[20:-20, 20:-20].astype(int)
    height, width = clear.shape[:2]
    there = clear[20 - down : height - 20 - down, 20 - right : width - 20 - right]
    assert np.abs(moved - there).mean() < 0.6 * np.abs(moved - clear[20:-20, 20:-20]).mean()


def test_labels_are_written_beside_the_frames(world: World, tmp_path: Path) -> None:
    frames = labelled_frames(world, "camera-1", CONDITIONS["rain"], start_ns=AT, count=3)
    assert write_labelled(tmp_path, frames) == 3
    lines = (tmp_path / LABELS_FILE).read_bytes().splitlines()
    labels = [msgspec.json.decode(line, type=FrameLabel) for line in lines]
    truth = {one.truth_id for one in world.block(0).things}
    for label in labels:
        picture = cv2.imread(str(tmp_path / label.file))
        assert picture is not None
        assert label.conditions == CONDITIONS["rain"]
        assert set(label.things) <= truth
    parked = [box for box in labels[0].boxes if box.kind == "car" and box.still]
    assert parked
    assert labels[0].things
    same = [box for box in labels[2].boxes if box.object_id == parked[0].object_id]
    assert same[0].still


def test_the_city_s_weather_is_the_camera_s() -> None:
    world = Environment(7, EPOCH)
    storm = world.storm(0)
    wet = conditions_at(world, storm.start_ns + int(storm.duration_s * NS_PER_S / 3))
    night = conditions_at(world, world.local_ns(hour=1))
    noon = conditions_at(world, world.local_ns(hour=12))
    assert wet.rain > 0.5
    assert night.daylight == 0.0
    assert night.sun == 0.0
    assert noon.daylight == 1.0


def test_frames_of_the_feed_have_the_weather_that_is_asked_for(world: World) -> None:
    due = next(one for one in frames_due(world, AT, AT + 60 * NS_PER_S)
               if one.camera_id == "camera-1")  # fmt: skip

    def brightness(name: str | None) -> float:
        conditions = None if name is None else conditions_of(name, 7, EPOCH)
        frame = decode_frame(FrameMaker(world, conditions).take(due))
        picture = cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
        return float(picture.mean())

    assert brightness("night") < 0.5 * brightness(None)
    assert brightness("clear") == brightness(None)
    with pytest.raises(InputError, match=r"night.*got 'snow'"):
        conditions_of("snow", 7, EPOCH)
