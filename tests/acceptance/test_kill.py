"""``kill -9`` of the city, again and again: every alarm becomes one incident."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from running_city import City, Device, wait_for

from core.units import NS_PER_S, ns_to_rfc3339
from ingest.broker import EmbeddedBroker, MosquittoBroker, find_mosquitto

KILLS = 3
THINGS = [f"smoke-{number:04d}" for number in range(1, 7)]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_every_alarm_once_whatever_is_killed(tmp_path: Path) -> None:
    chance = random.Random(11)
    (tmp_path / "broker").mkdir()
    broker = (MosquittoBroker if find_mosquitto() else EmbeddedBroker)(tmp_path / "broker")
    broker.start()
    try:
        city = City(tmp_path / "data", broker.address)
        device = Device(broker.address)
        start_ns = time.time_ns() - 600 * NS_PER_S  # noqa: TID251 (a device's own clock)
        sent = 0

        def report(step: int) -> None:
            """Each device in turn alarms for a minute, 80 s apart, and says so every 5 s."""
            nonlocal sent
            for position, thing in enumerate(THINGS):
                since_s = 5 * step - 80 * position
                device.publish(
                    f"qn/qingdao/sensor/{thing}",
                    {
                        "kind": "smoke",
                        "time": ns_to_rfc3339(start_ns + 5 * step * NS_PER_S),
                        "seq": step,
                        "measures": {"smoke_db_per_m": 0.5 if 0 <= since_s < 60 else 0.02},
                    },
                )
                sent += 1

        step, steps = 0, 110
        for _ in range(KILLS):
            upto = step + steps // (KILLS + 1)
            while step < upto:
                report(step)
                step += 1
                time.sleep(chance.random() * 0.02)  # load at an uneven pace
            children = psutil.Process(city.process.pid).children(recursive=True)
            city.kill()
            _, alive = psutil.wait_procs(children, timeout=5)
            assert not alive, "a killed city leaves no process behind"
            city = City(tmp_path / "data", broker.address)
        while step < steps:
            report(step)
            step += 1
        device.wait()

        wait_for(
            "incident of each device",
            lambda: len(city.incidents(scenario="smoke-alarm")) >= len(THINGS),
            60,
        )
        # A last thing, after which all before it has been decided on.
        wait_for("clear of the last alarm", lambda: _all_cleared(city), 60)
        per_thing = Counter(
            evidence["thing_id"]
            for one in city.incidents(scenario="smoke-alarm")
            for evidence in city.get(f"/incidents/{one['id']}")["evidence"]
            if evidence["edge"] == "raise"
        )
        assert per_thing == Counter(THINGS)
        assert len(city.incidents(scenario="smoke-alarm")) == len(THINGS)
        assert city.rejections() == {}
        wait_for("archive of the last reading", lambda: len(_archived(city)) >= sent, 30)
        assert Counter(_archived(city)) == Counter(
            (thing, number) for thing in THINGS for number in range(steps)
        )
        # Not one observation is missing in the books, through every kill.
        wait_for("settled ledger", lambda: _ledger(city).get("in_flight") == 0, 30)
        assert city.get("/ledger")["differences"] == []
        books = _ledger(city)
        assert (books["accepted"], books["archived"], books["missing"]) == (sent, sent, 0)
        assert books["received"] == sent + books["duplicate"]
        # Nor does a device have a number that never came.
        numbered = city.get("/ledger/devices")
        assert numbered["gaps"] == []
        assert numbered["totals"] == [
            {
                "source": "plain",
                "things": len(THINGS),
                "archived": sent,
                "missing": 0,
                "restarts": 0,
            }
        ]
        device.close()
        assert city.stop() == 0
    finally:
        broker.stop()


def _ledger(city: City) -> dict[str, int]:
    """The books of the devices' source."""
    found = [one for one in city.get("/ledger")["totals"] if one["source"] == "plain"]
    return found[0] if found else {}


def _archived(city: City) -> list[tuple[str, int]]:
    """Thing and number of every observation in the archive."""
    found: list[tuple[str, int]] = []
    cursor: dict[str, str] = {}
    while True:
        page = city.get("/observations", limit=1000, kind="smoke", **cursor)
        found += [(one["thing_id"], one["device_sequence"]) for one in page["observations"]]
        if page["next"] is None:
            return found
        cursor = {"cursor": page["next"]}


def _all_cleared(city: City) -> bool:
    incidents = city.incidents(scenario="smoke-alarm")
    return len(incidents) >= len(THINGS) and all(one.get("cleared_at") for one in incidents)
