"""What stands before a camera is told of once, in time and in its place; what passes is not."""

from __future__ import annotations

from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from vision.pipeline import MOVING_COUNT

GREY_AS_ASPHALT = (90, 88, 86)
DARK = (58, 58, 60)
RED = (50, 50, 185)


@pytest.mark.parametrize(
    ("camera", "zone_kind", "share", "colour", "step_s"),
    [
        ("street", "no_parking", 0.1, RED, 1.0),
        ("street", "no_parking", 0.9, RED, 2.0),
        ("street", "no_parking", 0.6, DARK, 1.0),
        ("street", "no_parking", 0.5, GREY_AS_ASPHALT, 1.0),
        ("lane", "fire_lane", 0.1, DARK, 2.0),
        ("lane", "fire_lane", 0.9, (220, 220, 222), 1.0),
        ("lane", "fire_lane", 0.2, RED, 1.0),
    ],
)
def test_a_parked_car_is_told_of_once_in_its_place(
    request: Any, camera: str, zone_kind: str, share: float, colour: Any, step_s: float
):
    street = request.getfixturevalue(camera)
    car = street.stays("car", zone_kind, share=share, from_s=30, to_s=100, colour=colour)
    seen = street.watch([*street.traffic, car], 130, step_s=step_s)

    [new], [end], updates = seen.phases("new"), seen.phases("end"), seen.phases("update")
    assert street.away_m(car, new) < 3.0
    assert new.error_major_m is not None
    assert 0.1 < new.error_major_m < 5.0
    assert new.labels["object"] == "vehicle"
    assert new.labels["zone_kind"] == zone_kind
    assert 3.0 < new.measures["length_m"] < 6.5
    assert 20.0 <= new.measures["dwell_s"] <= 24.0
    assert 30 + 18 <= (new.observed_ns - street.EPOCH_NS) / street.S <= 30 + 25
    assert [one.thing_id for one in (*updates, end)] == [new.thing_id] * (len(updates) + 1)
    gaps_s = np.diff([one.observed_ns for one in (new, *updates)]) / street.S
    assert gaps_s.min() >= 10.0
    assert np.median(gaps_s) <= 10.0 + step_s
    truth_s = (updates[-1].observed_ns - street.EPOCH_NS) / street.S - 30
    assert updates[-1].measures["dwell_s"] == pytest.approx(truth_s, abs=3.0)
    assert end.measures["dwell_s"] == 0
    assert 100 + 10 <= (end.observed_ns - street.EPOCH_NS) / street.S <= 100 + 18


@pytest.mark.parametrize("weather", ["night", "wet-night"])
@pytest.mark.parametrize(("kind", "zone"), [("car", "no_parking"), ("waste", "pavement")])
def test_what_stands_in_the_dark_is_told_of_once(street: Any, weather: str, kind: Any, zone: str):
    thing = street.stays(kind, zone, share=0.55, from_s=22, to_s=90)
    seen = street.watch([*street.traffic, thing], 120, weather=weather)
    [new], [_] = seen.phases("new"), seen.phases("end")
    assert new.labels["zone_kind"] == zone
    assert street.away_m(thing, new) < 4.0


def test_a_car_that_leaves_after_a_minute_never_reaches_two(street: Any):
    car = street.stays("car", "no_parking", share=0.4, from_s=30, to_s=90)
    seen = street.watch([*street.traffic, car], 120)
    assert len(seen.phases("end")) == 1
    assert max(one.measures["dwell_s"] for one in seen.phases("update")) < 75


@pytest.mark.parametrize(("camera", "step_s"), [("street", 1.0), ("lane", 2.0)])
def test_twenty_minutes_of_traffic_leave_nothing_behind(request: Any, camera: str, step_s: float):
    street = request.getfixturevalue(camera)
    seen = street.watch(street.traffic, 1200, step_s=step_s)
    assert [one.labels for one in seen.observations if "phase" in one.labels] == []
    counts = [one for one in seen.observations if one.kind == MOVING_COUNT]
    assert 115 <= len(counts) <= 120
    assert {one.thing_id for one in counts} == {street.camera.camera_id}
    assert 0.2 < np.mean([one.measures["moving_count"] for one in counts]) < 10


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_waste_is_small_and_a_standing_person_is_nothing(street: Any, share: float):
    waste = street.stays("waste", "pavement", share=share, from_s=30, to_s=85)
    seen = street.watch([*street.traffic, waste], 110)
    [new] = seen.phases("new")
    assert new.labels["object"] == "small"
    assert new.labels["zone_kind"] == "pavement"
    assert 0.4 <= new.measures["length_m"] < 2.5
    assert street.away_m(waste, new) < 3.0
    assert len(seen.phases("end")) == 1

    person = street.stays("person", "pavement", share=share, from_s=30, to_s=85)
    assert street.watch([person], 110).phases("new") == []


@pytest.mark.parametrize("later_s", [0, 3, 25])
def test_two_cars_ten_metres_apart_are_two(street: Any, later_s: int):
    far = street.stays("car", "no_parking", share=0.65, from_s=30, to_s=100)
    near = street.stays(
        "car", "no_parking", share=0.2, from_s=30 + later_s, to_s=104, colour=street.WHITE
    )
    seen = street.watch([far, near], 130)
    assert len(seen.phases("new")) == len(seen.phases("end")) == 2
    for car in (far, near):
        assert min(street.away_m(car, one) for one in seen.phases("new")) < 3.0


def test_a_lorry_is_one_vehicle_in_its_place(street: Any):
    lorry = street.stays("truck", "no_parking", share=0.5, from_s=30, to_s=80)
    [new] = street.watch([*street.traffic, lorry], 80).phases("new")
    assert new.labels["object"] == "vehicle"
    assert street.away_m(lorry, new) < 3.0


def test_a_car_of_the_street_that_leaves_is_no_event_and_the_next_one_is(street: Any):
    first = street.stays("car", "no_parking", share=0.3, from_s=-60, to_s=40)
    second = street.stays("car", "no_parking", share=0.3, from_s=90, to_s=140, colour=street.WHITE)
    seen = street.watch([first, second], 130)
    [new] = seen.phases("new")
    assert (new.observed_ns - street.EPOCH_NS) / street.S > 105
    assert seen.pipeline.counts["refused_removed"] == 1


def test_one_car_takes_the_place_of_another(street: Any):
    one = street.stays("car", "no_parking", share=0.5, from_s=20, to_s=60)
    other = street.stays("car", "no_parking", share=0.5, from_s=72, to_s=200, colour=street.WHITE)
    seen = street.watch([one, other], 170)
    new = seen.phases("new")
    assert len({one.thing_id for one in new}) == 2
    assert seen.phases("end")[0].thing_id == new[0].thing_id


def test_a_passer_by_does_not_end_what_he_hides(street: Any):
    car = street.stays("car", "no_parking", share=0.5, from_s=20, to_s=200)
    lorry = street.stays("truck", "no_parking", share=0.15, from_s=60, to_s=75)
    seen = street.watch([car, lorry], 130)
    [new] = seen.phases("new")
    assert seen.phases("end") == []
    assert seen.phases("update")[-1].thing_id == new.thing_id


def relit(street: Any, frame: Any, gain: float, upto: float = 1.0) -> Any:
    """A frame in another light, in the left part of the picture only where told."""
    image = cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_COLOR)
    edge = round(image.shape[1] * upto)
    image[:, :edge] = np.clip(image[:, :edge] * gain, 0, 255).astype(np.uint8)
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
    return msgspec.structs.replace(frame, jpeg=jpeg)


@pytest.mark.parametrize(
    ("gain", "upto"), [(0.7, 1.0), (1.35, 1.0), (0.75, 0.55)], ids=["dusk", "sun", "half shade"]
)
def test_a_change_of_light_is_no_object(street: Any, gain: float, upto: float):
    seen = street.watch(
        street.traffic,
        120,
        change=lambda frame, at_s: relit(street, frame, gain, upto) if at_s >= 40 else frame,
    )
    assert seen.phases("new") == []


def test_a_parked_car_survives_a_change_of_light(street: Any):
    car = street.stays("car", "no_parking", share=0.5, from_s=20, to_s=150)
    seen = street.watch(
        [*street.traffic, car],
        180,
        change=lambda frame, at_s: relit(street, frame, 0.75) if at_s >= 70 else frame,
    )
    assert len(seen.phases("new")) == 1
    [end] = seen.phases("end")
    assert (end.observed_ns - street.EPOCH_NS) / street.S > 155


def test_the_same_frames_give_the_same_words(street: Any):
    car = street.stays("car", "no_parking", share=0.5, from_s=20, to_s=60)
    one, other = (street.watch([*street.traffic, car], 80) for _ in range(2))
    assert [seen.id for seen in one.observations] == [seen.id for seen in other.observations]
    assert one.snapshots == other.snapshots
