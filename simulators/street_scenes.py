"""Scenes in the street: parked cars, blocked fire lanes, waste, and who only passes by."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from core.city import Camera, Device
from simulators.actors import Actor, ActorKind, Waypoint
from simulators.places import FAR_M, Spot
from simulators.scribe import Rise, Scribe, place_of
from simulators.sensors import Excursion

CAR = (4.6, 1.9, 1.5)
_VAN = (5.2, 2.0, 2.2)
WASTE = (1.4, 1.2, 0.9)
_PERSON = (0.6, 0.6, 1.7)
_CAR_COLOURS = ((40, 40, 190), (200, 200, 205), (150, 60, 30), (30, 130, 200), (60, 60, 60))
_WASTE_COLOUR = (35, 70, 105)
_PERSON_COLOUR = (150, 80, 40)


class StreetScenes(Scribe):
    """Writes what parking sensors and street cameras see, and what only nearly happens."""

    def _lane_sensors(self) -> tuple[list[tuple[Device, Camera]], list[Device]]:
        """Parking sensors in fire lanes: those a street camera sees whole, and the others."""
        seen: list[tuple[Device, Camera]] = []
        unseen: list[Device] = []
        watched: set[str] = set()
        for device in self.places.devices("parking"):
            zone = self.places.zone_of(device, "fire_lane")
            if zone is None:
                continue
            camera = self._seeing(device)
            if camera is not None:
                seen.append((device, camera))
                watched.add(zone.feature_id)
            else:
                unseen.append(device)
        far = []
        for device in unseen:
            zone = self.places.zone_of(device, "fire_lane")
            if zone is not None and zone.feature_id not in watched:
                far.append(device)
        return seen, far

    def _seeing(self, device: Device) -> Camera | None:
        east, north = self.places.metres(device)
        around = [(east + a, north + b) for a in (-2.4, 2.4) for b in (-2.4, 2.4)]
        for _, camera in sorted(self.places.city.cameras.items()):
            if camera.pose is None:
                continue
            foot = self.places.frame.to_metres(camera.pose.lon_deg, camera.pose.lat_deg)
            if math.dist(foot, (east, north)) <= FAR_M and bool(
                self.places.visible(
                    camera.pose,
                    np.array([one[0] for one in around]),
                    np.array([one[1] for one in around]),
                ).all()
            ):
                return camera
        return None

    def _occupy(self, device: Device, start_s: float, stay_s: float) -> Excursion:
        return self.excursion(device, "occupied", Rise(start_s, stay_s, 0.0, 1.0))

    def write_fire_lane_by_sensor(self) -> None:
        """A fire lane that only parking sensors watch, and legal bays with long stays."""
        _, far = self._lane_sensors()
        order = self.turned(far, 1)
        for device in order[:1]:
            one = self._occupy(device, self.between(110, 170), self.between(330, 460))
            self.happens(
                "fire-lane-blocked",
                place_of(device),
                one.start_ns,
                one.end_ns,
                "a car stands in a fire lane that no camera watches",
                devices=(device.thing_id,),
            )
        for device in order[1:2]:
            one = self._occupy(device, self.between(1150, 1300), self.between(38, 58))
            self.nearly(
                "fire-lane-blocked",
                place_of(device),
                one.start_ns,
                one.end_ns,
                "a car lets somebody out in a fire lane",
                devices=(device.thing_id,),
            )
        legal = [
            one
            for one in self.places.devices("parking")
            if self.places.zone_of(one, "fire_lane") is None
        ]
        for number, device in enumerate(self.turned(legal, 1)):
            one = self._occupy(device, self.between(90, 600), self.between(500, 1000))
            if number == 0:
                self.nearly(
                    "fire-lane-blocked",
                    place_of(device),
                    one.start_ns,
                    one.end_ns,
                    "a car stands for long in a bay where it may",
                    devices=(device.thing_id,),
                    radius_m=4.0,
                )

    def write_camera(self, camera: Camera) -> None:
        """What happens before a street camera, by the zones it looks at."""
        pose = camera.pose
        if pose is None:
            return
        cars = self.places.spots(pose, "no_parking", length_m=CAR[0], width_m=CAR[1])
        lane = self.places.spots(pose, "fire_lane", length_m=CAR[0], width_m=CAR[1])
        heaps = self.places.spots(pose, "pavement", length_m=WASTE[0], width_m=WASTE[1])
        # Waste lies while no car stands there: a car can hide it.
        if cars:
            self._parked_cars(camera, cars, (self.between(125, 165), self.between(640, 680)))
            waste_s, person_s = self.between(830, 880), self.between(1340, 1390)
        else:
            waste_s, person_s = self.between(210, 260), self.between(1390, 1430)
        if lane:
            self._lane_cars(camera, lane, (self.between(900, 950), self.between(710, 750)))
        if heaps:
            heap, other = two_spots(heaps, 6.0, self.index)
            self.waste(camera.camera_id, heap, waste_s, self.between(320, 370), thing=True)
            if cars:
                self.waste(camera.camera_id, other, person_s, self.between(60, 75), thing=False)
            else:
                self._waiting_person(camera.camera_id, other, person_s)

    def _parked_cars(
        self, camera: Camera, spots: Sequence[Spot], starts_s: tuple[float, float]
    ) -> None:
        one, other = two_spots(spots, 8.0, self.index)
        self.stopping_car(
            "illegal-parking",
            one,
            starts_s[0],
            self.between(320, 380),
            "a car is parked where parking is forbidden",
            thing=True,
            cameras=(camera.camera_id,),
        )
        self.stopping_car(
            "illegal-parking",
            other,
            starts_s[1],
            self.between(55, 62),
            "a car stops for a minute and leaves in time",
            thing=False,
            cameras=(camera.camera_id,),
        )

    def _lane_cars(
        self, camera: Camera, spots: Sequence[Spot], starts_s: tuple[float, float]
    ) -> None:
        """Cars in a watched fire lane stand on its parking sensors, where it has any."""
        sensors = [one for one, by in self._lane_sensors()[0] if by.camera_id == camera.camera_id]
        on_sensor: list[tuple[Spot, Device | None]] = []
        for device in self.turned(sensors, 1):
            east, north = self.places.metres(device)
            near = min(spots, key=lambda spot: math.dist(spot[:2], (east, north)))
            on_sensor.append((near._replace(east_m=east, north_m=north), device))
        if len(on_sensor) < 2:
            one, other = two_spots(spots, 8.0, self.index)
            on_sensor += [(one, None), (other, None)]
        (one, under), (other, other_under) = on_sensor[:2]
        self.stopping_car(
            "fire-lane-blocked",
            one,
            starts_s[0],
            self.between(320, 380),
            "a car stands in a fire lane; a camera and a parking sensor see it",
            thing=True,
            cameras=(camera.camera_id,),
            sensor=under,
        )
        self.stopping_car(
            "fire-lane-blocked",
            other,
            starts_s[1],
            self.between(38, 46),
            "a car stops in a fire lane and drives on",
            thing=False,
            cameras=(camera.camera_id,),
            sensor=other_under,
        )

    def stopping_car(
        self,
        scenario: str,
        spot: Spot,
        start_s: float,
        stay_s: float,
        note: str,
        *,
        thing: bool,
        cameras: tuple[str, ...],
        sensor: Device | None = None,
    ) -> None:
        """A car comes along the road, stands on a spot, and drives on."""
        size = CAR if thing else _VAN
        colour = _CAR_COLOURS[int(self.rng.integers(len(_CAR_COLOURS)))]
        self.actors.append(self._car(spot, size, colour, start_s, stay_s))
        if sensor is not None:
            self._occupy(sensor, start_s, stay_s)
        tell = self.happens if thing else self.nearly
        tell(
            scenario,
            self.places.frame.to_degrees(spot.east_m, spot.north_m),
            self.at(start_s),
            self.at(start_s + stay_s),
            note,
            devices=(sensor.thing_id,) if sensor is not None else (),
            cameras=cameras,
        )

    def _car(
        self,
        spot: Spot,
        size: tuple[float, float, float],
        colour: tuple[int, int, int],
        start_s: float,
        stay_s: float,
    ) -> Actor:
        """Way points: along the lane beside the spot, in, out, and along the lane again."""
        heading = math.radians(spot.heading_deg)
        # Ahead and left of the spot, in metres, with the seconds from standing still.
        path = (
            (-75.0, 3.6, -17.0),
            (-13.0, 3.4, -7.0),
            (-5.5, 1.0, -3.0),
            (0.0, 0.0, 0.0),
            (0.0, 0.0, stay_s),
            (6.0, 1.2, stay_s + 3.0),
            (14.0, 3.4, stay_s + 6.0),
            (75.0, 3.6, stay_s + 15.0),
        )
        points = []
        for number, (ahead, left, after_s) in enumerate(path):
            east = spot.east_m + ahead * math.sin(heading) - left * math.cos(heading)
            north = spot.north_m + ahead * math.cos(heading) + left * math.sin(heading)
            onward = path[min(number + 1, len(path) - 1)]
            turn = math.degrees(math.atan2(left - onward[1], max(onward[0] - ahead, 1e-9)))
            still = onward[:2] == (ahead, left)
            points.append(
                Waypoint(
                    self.at(start_s + after_s),
                    *self.places.frame.to_degrees(east, north),
                    (spot.heading_deg + (0.0 if still else turn)) % 360.0,
                )
            )
        return Actor(
            kind="car",
            length_m=size[0],
            width_m=size[1],
            height_m=size[2],
            colour_bgr=colour,
            waypoints=tuple(points),
        )

    def _standing(
        self,
        kind: ActorKind,
        size: tuple[float, float, float],
        colour: tuple[int, int, int],
        spot: Spot,
        start_s: float,
        end_s: float,
    ) -> Actor:
        lon, lat = self.places.frame.to_degrees(spot.east_m, spot.north_m)
        return Actor(
            kind=kind,
            length_m=size[0],
            width_m=size[1],
            height_m=size[2],
            colour_bgr=colour,
            waypoints=(
                Waypoint(self.at(start_s), lon, lat, spot.heading_deg),
                Waypoint(self.at(end_s), lon, lat, spot.heading_deg),
            ),
        )

    def waste(
        self, camera_id: str, spot: Spot, start_s: float, stay_s: float, *, thing: bool
    ) -> None:
        """Waste lies on a spot for a while."""
        end_s = start_s + stay_s
        self.actors.append(self._standing("waste", WASTE, _WASTE_COLOUR, spot, start_s, end_s))
        tell = self.happens if thing else self.nearly
        tell(
            "exposed-waste",
            self.places.frame.to_degrees(spot.east_m, spot.north_m),
            self.at(start_s),
            self.at(end_s),
            "a heap of waste is left on the pavement"
            if thing
            else "bags are put down on the pavement and carried on",
            cameras=(camera_id,),
        )

    def _waiting_person(self, camera_id: str, spot: Spot, start_s: float) -> None:
        heading = math.radians(spot.heading_deg)
        stay_s = self.between(55, 70)
        walk = ((-24.0, -20.0), (0.0, 0.0), (0.0, stay_s), (24.0, stay_s + 20.0))
        self.actors.append(
            Actor(
                kind="person",
                length_m=_PERSON[0],
                width_m=_PERSON[1],
                height_m=_PERSON[2],
                colour_bgr=_PERSON_COLOUR,
                waypoints=tuple(
                    Waypoint(
                        self.at(start_s + after_s),
                        *self.places.frame.to_degrees(
                            spot.east_m + ahead * math.sin(heading),
                            spot.north_m + ahead * math.cos(heading),
                        ),
                        spot.heading_deg,
                    )
                    for ahead, after_s in walk
                ),
            )
        )
        self.nearly(
            "exposed-waste",
            self.places.frame.to_degrees(spot.east_m, spot.north_m),
            self.at(start_s),
            self.at(start_s + stay_s),
            "somebody waits on the pavement for a minute",
            cameras=(camera_id,),
        )


def two_spots(spots: Sequence[Spot], apart_m: float, turn: int) -> tuple[Spot, Spot]:
    """Two good spots apart from each other (as far as there is room); they swap by turns."""
    one = spots[0]
    other = next(
        (spot for spot in spots if math.dist(spot[:2], one[:2]) >= apart_m),
        max(spots, key=lambda spot: math.dist(spot[:2], one[:2])),
    )
    return (other, one) if turn % 2 else (one, other)
