"""Grid workers: they accept tasks or send them back, walk there, handle them, and report.

The crew is pure: what it knows of the cases and the time go in, steps of the case process and
positions come out. All chance follows from the seed and the case, so the same cases are worked
the same way whenever one looks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

from core.city import Worker
from core.units import NS_PER_S, seconds_to_ns
from simulators.flights import LocalFrame
from simulators.messages import ScheduledMessage, digest, share_of, to_json

#: On foot and on an electric bicycle, by distance.
WALK_MPS, RIDE_MPS, RIDE_FROM_M = 1.35, 4.2, 400.0
#: One task in so many is sent back, and one feedback in so many does not pass the check.
RETURN_RATIO, REWORK_RATIO = 0.07, 0.06
#: A phone tells where it is this often, and more often on the move.
IDLE_EVERY_S, MOVING_EVERY_S = 300, 30
#: One sigma of a phone's position.
PHONE_SIGMA_M = 4.0

#: Cases remembered; the oldest go first.
_REMEMBERED = 5_000

_REASONS = (
    "不在本网格范围内，请改派",
    "现场为产权单位负责，请改派",
    "需要专业设备，请派专业队伍",
)


class Doing(StrEnum):
    """What a worker is at."""

    IDLE = "idle"
    MOVING = "moving"
    HANDLING = "handling"


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A case as a phone shows it."""

    incident_id: str
    status: str
    version: int
    worker_id: str | None
    lon_deg: float | None
    lat_deg: float | None
    cleared: bool = False


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """A step that somebody wants to take; ``key`` makes it safe to ask twice."""

    incident_id: str
    action: str
    actor: str
    role: str
    version: int
    reason: str = ""

    @property
    def key(self) -> str:
        """The same step of the same version has the same key."""
        return f"{self.action}-{self.incident_id}-{self.version}"


class _Person(msgspec.Struct):
    worker: Worker
    lon_deg: float
    lat_deg: float
    doing: Doing = Doing.IDLE
    case_id: str = ""
    goal: tuple[float, float] | None = None
    left_ns: int = 0
    arrives_ns: int = 0
    done_ns: int = 0
    told_ns: int = 0
    battery: float = 1.0


class Crew:
    """All grid workers of a city, and the verifier at the desk.

    Args:
        city: Name of the city.
        workers: Who they are and where they stand.
        seed: Of the world.
        start_ns: When their shift begins.
    """

    def __init__(self, city: str, workers: Sequence[Worker], *, seed: int, start_ns: int) -> None:
        self._city = city
        self._seed = seed
        self._people = {
            one.worker_id: _Person(one, one.lon_deg, one.lat_deg, told_ns=start_ns)
            for one in workers
        }
        #: When each case was first seen in each status.
        self._since: dict[tuple[str, str], int] = {}
        self._now_ns = start_ns

    def doing(self, worker_id: str) -> Doing:
        """What a worker is at."""
        return self._people[worker_id].doing

    def where(self, worker_id: str) -> tuple[float, float]:
        """Where a worker is, at the time of the last :meth:`work`."""
        one = self._people[worker_id]
        return one.lon_deg, one.lat_deg

    def work(self, now_ns: int, cases: Iterable[Case]) -> list[Intent]:
        """Let time pass; the steps that fall due, one at most for each case.

        Args:
            now_ns: City time.
            cases: All that are dispatched, being handled, or fed back.
        """
        self._now_ns = max(self._now_ns, now_ns)
        known = {one.incident_id: one for one in cases}
        for person in self._people.values():
            self._move(person)
            case = known.get(person.case_id)
            if person.case_id and (case is None or case.worker_id != person.worker.worker_id):
                # Somebody closed it, or gave it to somebody else.
                person.doing, person.case_id, person.goal = Doing.IDLE, "", None
        intents = []
        for case in sorted(known.values(), key=lambda one: one.incident_id):
            waited_s = self._waited_s(case)
            if case.status == "feedback":
                intent = self._check(case, waited_s)
            else:
                intent = self._task(case, waited_s)
            if intent is not None:
                intents.append(intent)
        while len(self._since) > _REMEMBERED:
            del self._since[next(iter(self._since))]
        return intents

    def _draw(self, case: Case, word: str) -> float:
        return share_of(self._seed, word, case.incident_id, case.version)

    def _waited_s(self, case: Case) -> float:
        since = self._since.setdefault((case.incident_id, case.status), self._now_ns)
        return (self._now_ns - since) / NS_PER_S

    def _check(self, case: Case, waited_s: float) -> Intent | None:
        """The verifier looks at what was fed back."""
        if waited_s < 120 + 480 * self._draw(case, "check"):
            return None
        passes = self._draw(case, "rework") >= REWORK_RATIO
        self._since.pop((case.incident_id, case.status), None)
        return Intent(
            incident_id=case.incident_id,
            action="close" if passes else "return",
            actor="verifier-1",
            role="verifier",
            version=case.version,
            reason="" if passes else "照片看不清，请重新处理",
        )

    def _task(self, case: Case, waited_s: float) -> Intent | None:
        person = self._people.get(case.worker_id or "")
        if person is None:
            return None

        def intent(action: str, reason: str = "") -> Intent:
            self._since.pop((case.incident_id, case.status), None)
            return Intent(
                incident_id=case.incident_id,
                action=action,
                actor=person.worker.worker_id,
                role="worker",
                version=case.version,
                reason=reason,
            )

        if case.status == "dispatched":
            if waited_s < 20 + 240 * self._draw(case, "react"):
                return None
            if self._draw(case, "return") < RETURN_RATIO:
                which = int(self._draw(case, "why") * len(_REASONS))
                return intent("return", _REASONS[which])
            return intent("accept")
        if case.status != "handling":
            return None
        if not person.case_id:
            self._set_out(person, case)
            return None
        if person.case_id != case.incident_id:
            return None  # one thing after the other
        if person.doing is Doing.HANDLING and self._now_ns >= person.done_ns:
            person.doing, person.case_id, person.goal = Doing.IDLE, "", None
            return intent("feedback")
        return None

    def _set_out(self, person: _Person, case: Case) -> None:
        goal = (
            (person.lon_deg, person.lat_deg)
            if case.lon_deg is None or case.lat_deg is None
            else (case.lon_deg, case.lat_deg)
        )
        away_m = self._away_m(person, goal)
        speed = RIDE_MPS if away_m > RIDE_FROM_M else WALK_MPS
        person.doing, person.case_id, person.goal = Doing.MOVING, case.incident_id, goal
        person.left_ns = self._now_ns
        # Streets are not straight lines.
        person.arrives_ns = self._now_ns + seconds_to_ns(1.3 * away_m / speed)
        work_s = 180 + 900 * self._draw(case, "work")
        person.done_ns = person.arrives_ns + seconds_to_ns(work_s)

    def _away_m(self, person: _Person, goal: tuple[float, float]) -> float:
        frame = LocalFrame.at(lon_deg=goal[0], lat_deg=goal[1])
        return math.hypot(*frame.to_metres(person.lon_deg, person.lat_deg))

    def _move(self, person: _Person) -> None:
        if person.doing is not Doing.MOVING or person.goal is None:
            return
        if self._now_ns >= person.arrives_ns:
            person.lon_deg, person.lat_deg = person.goal
            person.doing = Doing.HANDLING
            return
        share = (self._now_ns - person.left_ns) / max(1, person.arrives_ns - person.left_ns)
        person.lon_deg += share * (person.goal[0] - person.lon_deg)
        person.lat_deg += share * (person.goal[1] - person.lat_deg)
        person.left_ns = self._now_ns

    def positions(self, now_ns: int) -> list[ScheduledMessage]:
        """What phones publish up to an instant (OwnTracks), one message for each that is due."""
        found = []
        for worker_id, person in sorted(self._people.items()):
            moving = person.doing is Doing.MOVING
            every_ns = (MOVING_EVERY_S if moving else IDLE_EVERY_S) * NS_PER_S
            if now_ns - person.told_ns < every_ns:
                continue
            person.told_ns = now_ns
            person.battery = max(0.08, person.battery - 0.0008)
            second = now_ns // NS_PER_S
            bits = digest(self._seed, "phone", worker_id, second)
            angle = (bits & 0xFFFF) / 65536 * 2 * math.pi
            error_m = PHONE_SIGMA_M * math.sqrt(-2 * math.log(((bits >> 16 & 0xFFFF) + 1) / 65537))
            frame = LocalFrame.at(lon_deg=person.lon_deg, lat_deg=person.lat_deg)
            lon, lat = frame.to_degrees(error_m * math.sin(angle), error_m * math.cos(angle))
            body = {
                "_type": "location",
                "lat": round(lat, 6),
                "lon": round(lon, 6),
                "tst": second,
                "acc": round(1.51 * PHONE_SIGMA_M),
                "batt": round(100 * person.battery),
                "bs": 1,
                "vel": 5 if moving else 0,
                "t": "v" if moving else "t",
                "tid": worker_id[-2:],
                "conn": "m",
            }
            topic = f"owntracks/{worker_id}/phone"
            found.append(
                ScheduledMessage(now_ns, topic, to_json(body), 1, topic, second * NS_PER_S)
            )
        return found
